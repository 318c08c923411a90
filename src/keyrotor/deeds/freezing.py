"""Evidence, kept as it is before anything is changed: logs, places, units, listeners, what git remembers.

Rules:
1. All of it is redacted: no value of the encrypted file, in any form, and nothing that looks like a key. But what is no
   secret stays (`_is_setting`), and in our own words, where no other value can stand, the rotated key alone is hidden:
   an imprint or an address with a hole in it is no evidence.
2. An exhibit that is kept stays as it is, whatever is done again; each is written whole or not at all.
3. What cannot be kept is told, and keeps nobody from the rest; where nothing at all can be written, the step fails.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path

from keyrotor.boundary import evidence, files, listeners, proc
from keyrotor.boundary.forms import redacted
from keyrotor.boundary.generate import new_key
from keyrotor.boundary.git import Git
from keyrotor.boundary.plaintext import unseal
from keyrotor.boundary.systemd import Systemd
from keyrotor.boundary.unit_text import Unit
from keyrotor.core.model import Act, Row, Source
from keyrotor.core.response import Exhibit, Frozen, Witnessed
from keyrotor.errors import PlaceError
from keyrotor.formats import contained_unit
from keyrotor.secret import Secret
from keyrotor.units import contained

LINES = 100_000  # of a journal
SHORTEST = 6  # characters of a value that is hidden beside the key: no port has so many, nor has `false`
PLACES = "places.json"
BLIND = "nothing could be decrypted, so that no value could be hidden in it"


@dataclass(frozen=True, slots=True)
class Of:
    """A unit of the playbook, and its manager."""

    place: str  # its id in the playbook
    name: str
    systemd: Systemd


@dataclass(slots=True)
class _Folder:
    """The exhibits that are kept so far, and what could not be."""

    path: Path
    exhibits: list[Exhibit] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def keep(self, name: str, what: str, make: Callable[[], bytes], secrets: Sequence[Secret]) -> bytes:
        """The exhibit, as it is kept, without these; empty where there is none."""
        path = self.path / name
        try:
            files.clear_leftover(path)  # of a kill: it would stay as a second name
            if not files.exists(path):
                files.create(path, redacted(make(), secrets))
            seen = files.look(path)
        except PlaceError as error:
            why = redacted(str(error).encode("utf-8", "replace"), secrets).decode(errors="replace")
            self.missing.append(f"{what}: {why}")
            return b""
        self.exhibits.append(Exhibit(name, what, seen.digest, len(seen.data)))
        return seen.data


@dataclass(frozen=True, slots=True)
class Freezing:
    """The evidence of one playbook."""

    playbook: str
    source: Source
    rows: Sequence[Row]
    units: Sequence[Of]
    git: Git
    secrets: Mapping[str, Secret] | None  # every value of the encrypted file; None where they are not known

    def freeze(self, folder: Path, since: datetime, logs: Sequence[Path]) -> Frozen:
        """Keep it in the folder. Raises PlaceError where nothing can be written."""
        files.make_folder(folder)
        kept, keys = _Folder(folder), self._keys()
        said = kept.keep(PLACES, "every place: imprint, mode, owner, time", self._places, keys)
        if not kept.exhibits:
            raise PlaceError(f"cannot keep any evidence in {folder}: {'; '.join(kept.missing)}")
        for of in self.units:
            what = f"where {of.name} listens, and its processes"
            kept.keep(f"listeners-{of.name}.txt", what, partial(_listening, of), keys)
        if self.secrets is None:
            kept.missing.append(f"logs, units and git: {BLIND}")
        else:
            secrets = [*keys, *(each for each in self.secrets.values() if not _is_setting(each))]
            for of in self.units:
                self._unit(kept, of, since, secrets)
            kept.keep("git.txt", f"what the git repository of {self.source.file} remembers", self._git, secrets)
            for log in logs:
                kept.keep(_named(log), f"access log {log}", partial(_end, log), secrets)
        salt, places = _read(said)
        return Frozen(str(folder), salt, tuple(kept.exhibits), places, tuple(kept.missing))

    def _keys(self) -> list[Secret]:
        """The rotated one, present and former."""
        own = self.source.key
        return [each for name, each in (self.secrets or {}).items() if name == own or name.startswith(f"{own} before ")]

    # -- places

    def _places(self) -> bytes:
        salt = new_key().hex()
        seen = list(self._witnessed(salt))
        encrypted = Path(self.source.file)
        digest = files.look(encrypted).digest if files.exists(encrypted) else ""
        told = {
            "salt": salt,
            "imprint": "SHA-256 of salt, real path, NUL, mode in octal, NUL, content",
            "encrypted_file": {"path": str(encrypted), "sha256": digest},
            "places": [asdict(each) for each in seen],
        }
        return json.dumps(told, indent=1).encode() + b"\n"

    def _witnessed(self, salt: str) -> Iterator[Witnessed]:
        for row in self.rows:
            if row.act is Act.RETIRE:  # the door is one place
                continue
            path = self.source.file if row.kind == "sops-file" else row.options.get("path", "")
            yield self._one(row.place, row.label, path, salt)
        for each in self.units:
            try:
                unit = each.systemd.show(each.name)
            except PlaceError:
                continue
            for path in (unit.fragment, *unit.drop_ins):
                yield self._one(each.place, path, path, salt)

    def _one(self, place: str, label: str, path: str, salt: str) -> Witnessed:
        try:
            imprint = evidence.imprint(Path(path), salt) if path else ""
        except PlaceError:
            imprint = ""
        traits = evidence.traits(Path(path)) if path else evidence.Traits()
        return Witnessed(self.playbook, place, label, imprint, traits.mode, traits.owner, traits.changed)

    # -- units

    def _unit(self, kept: _Folder, of: Of, since: datetime, secrets: Sequence[Secret]) -> None:
        kept.keep(f"unit-{of.name}.txt", f"what systemd says of {of.name}", partial(_shown, of), secrets)
        what = f"the journal of {of.name} since {since.isoformat(timespec='seconds')}"
        kept.keep(f"journal-{of.name}.txt", what, partial(_journal, of, since), secrets)
        try:
            unit = of.systemd.show(of.name)
            written = contained_unit.logs(contained.texts(unit))
        except PlaceError as error:
            kept.missing.append(f"the log files of {of.name}: {error}")
            return
        for path in written:
            if found := _specified(path, unit):
                kept.keep(_named(Path(found)), f"log of {of.name}: {found}", partial(_end, Path(found)), secrets)
            else:
                kept.missing.append(f"the log of {of.name}: {path} has a specifier that only systemd knows")

    # -- git

    def _git(self) -> bytes:
        said = list(self.git.testimony())
        if not said:
            raise PlaceError("there is no repository")
        return b"".join(b"$ %b\n%b\n" % (os.fsencode(command), out) for command, out in said)


def _is_setting(secret: Secret) -> bool:
    """Whether to hide it would take more from the evidence than it tells: it is short, or a path that is there."""
    value = unseal(secret)
    return len(value) < SHORTEST or (value.startswith(b"/") and os.path.exists(value))


def _shown(of: Of) -> bytes:
    """What `systemctl show` says, without the values of its environment."""
    lines = of.systemd.told(of.name).splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("Environment=")).encode("utf-8", "surrogateescape")


def _listening(of: Of) -> bytes:
    unit = of.systemd.show(of.name)
    lines = [f"listens at {at}" for at in listeners.of_unit(of.systemd, unit)] or ["listens nowhere"]
    pids = sorted(listeners.processes(of.systemd, unit))
    lines += [f"process {pid} {proc.name(pid)}{' (main)' if pid == unit.pid else ''}" for pid in pids]
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")


def _journal(of: Of, since: datetime) -> bytes:
    found = of.systemd.journal(of.name, since, LINES)
    if not found.strip():
        raise PlaceError("it has nothing of it")
    skipped = max(0, len(found) - evidence.MOST)
    cut = b"[keyrotor: only the last %d lines are kept]\n" % LINES if found.count(b"\n") >= LINES else b""
    return cut + (_left_out(skipped) if skipped else b"") + found[skipped:]


def _end(path: Path) -> bytes:
    data, skipped = evidence.tail(path)
    return (_left_out(skipped) if skipped else b"") + data


def _left_out(count: int) -> bytes:
    return b"[keyrotor: the first %d bytes are left out]\n" % count


def _specified(path: str, unit: Unit) -> str:
    """The path with systemd's specifiers put in; "" where one is not known here."""
    stem = unit.name.rpartition(".")[0]
    known: Mapping[str, str] = {"%%": "%", "%n": unit.name, "%N": stem, "%p": stem.partition("@")[0]}
    known = {**known, "%h": os.path.expanduser("~")}
    if any(each not in known for each in re.findall("%.", path)):
        return ""
    return re.sub("%.", lambda found: known[found[0]], path)


def _named(path: Path) -> str:
    """A name for what is kept of a file: its own, and what tells it from others of that name."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", path.name)[-80:]
    return f"log-{files.digest(os.fsencode(path.absolute()))[:8]}-{plain}.txt"


def _read(said: bytes) -> tuple[str, tuple[Witnessed, ...]]:
    """The salt and the places, by the exhibit that is kept."""
    try:
        told = json.loads(said)
        return str(told["salt"]), tuple(Witnessed(**each) for each in told["places"])
    except (ValueError, KeyError, TypeError):
        return "", ()
