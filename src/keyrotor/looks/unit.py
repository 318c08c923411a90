"""The gateway's unit as systemd has it: where its environment comes from, and what would override the env file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from glob import escape
from pathlib import Path

from keyrotor.boundary import files, proc
from keyrotor.boundary.plaintext import is_telling, unseal
from keyrotor.boundary.systemd import Systemd
from keyrotor.boundary.unit_environment import ignores, is_one_of, overriding, sets, sources
from keyrotor.boundary.unit_text import Unit
from keyrotor.core.findings import Finding, found
from keyrotor.core.model import Holds
from keyrotor.errors import PlaceError
from keyrotor.formats.former_unit import EDITED, KEPT
from keyrotor.ports import Seen


@dataclass(frozen=True, slots=True)
class UnitFile:
    row: str  # its id
    name: str
    scope: str
    variable: str
    env_files: Sequence[Path]  # those of the playbook
    systemd: Systemd

    def findings(self, seen: Seen) -> Iterator[Finding]:
        unit = self.systemd.seen(self.name)
        words = {"key": self.variable, "scope": self.scope, "playbook": seen.book.name}
        if state := _trouble(unit):
            yield found("unit-down", self.name, state=state, mend=self._start(unit, seen))
        elif seen.holds.get(self.row) is Holds.UNKNOWN:
            hint = f"systemctl --{self.scope} status {self.name}  (one that was started without {self.variable}?)"
            yield found("value-unknown", self.name, hint=hint, **words)
        if unit.owes_reload:
            yield found("unit-reload-owed", self.name, **words)
        if where := self._literal(unit, seen):
            yield found("unit-literal", self.name, where=where, **words)
        for path in _kept(unit):
            if seen.pair and is_telling(seen.pair.old) and unseal(seen.pair.old) in _text(path):
                yield found("unit-kept", self.name, path=path, **words)
        yield from self._environment(unit, words)

    def _start(self, unit: Unit, seen: Seen) -> str:
        """What brings it up again."""
        systemctl = f"systemctl --{self.scope}"
        if unit.load == "masked":
            return f"{systemctl} unmask {self.name}   and   {systemctl} start {self.name}"
        if unit.load != "loaded":
            return f"mend the unit's file, or its name in {seen.book.path}, then: {systemctl} daemon-reload"
        return f"{systemctl} status {self.name}   and   {systemctl} start {self.name}"

    def _literal(self, unit: Unit, seen: Seen) -> str:
        """Where the unit itself has the key in clear: by its name, or the present value anywhere; "" if nowhere."""
        if self.variable in unit.literals:
            return "Environment="
        if seen.pair is None or not is_telling(seen.pair.old):
            return ""
        value = unseal(seen.pair.old)
        texts = [Path(path) for path in (unit.fragment, *unit.drop_ins) if path]
        for path in texts:
            if value in _text(path):
                return str(path)
        return "its command line" if unit.pid and value in proc.command_line(unit.pid) else ""

    def _environment(self, unit: Unit, words: dict[str, str]) -> Iterator[Finding]:
        """What is wrong with the files that it reads, and with what comes after them."""
        for source in sources(unit):
            is_ours = is_one_of(source.path, self.env_files)
            if is_ours and ignores(source.path, self.variable):
                yield found("unit-env-ignored", self.name, path=source.path, **words)
            if source.is_optional and (is_ours or sets(source.path, self.variable)):
                yield found("unit-env-optional", self.name, path=source.path, **words)
        for path in overriding(unit, self.variable, self.env_files):
            yield found("unit-overridden", self.name, path=path, **words)


def _trouble(unit: Unit) -> str:
    """Why it is down, or would be after its next start; "" if it is up."""
    if unit.load != "loaded":
        return f"{unit.load or 'not known'} ({unit.active or 'not running'})"
    return "" if unit.active in ("active", "reloading") else f"{unit.active} ({unit.result or unit.sub})"


def _kept(unit: Unit) -> list[Path]:
    """What `service install` has put aside beside the unit's own file."""
    own = Path(unit.fragment)
    edited = own.parent.glob(f"{escape(own.name + EDITED)}*") if own.name else ()
    return [own.with_name(own.name + KEPT), *sorted(edited)] if own.name else []


def _text(path: Path) -> bytes:
    """A unit's own text; nothing of one that we may not read, which systemd has read all the same."""
    try:
        return files.look(path).data
    except PlaceError:
        return b""
