"""The encrypted file: can it be opened here, replaced, and its folder locked? Says names and paths, never content.

sops takes identities from many sources at once (facts: sops.md 4); only those that somebody chose are looked at.
"""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from keyrotor.boundary import files, proc, writable
from keyrotor.core.checkup import Check, Line, State
from keyrotor.core.model import Source
from keyrotor.errors import PlaceError
from keyrotor.formats import encrypted_dotenv

_FILES = ("SOPS_AGE_KEY_FILE", "SOPS_AGE_SSH_PRIVATE_KEY_FILE")
_BY_VALUE = ("SOPS_AGE_KEY", "SOPS_AGE_KEY_CMD", "SOPS_AGE_SSH_PRIVATE_KEY_CMD")  # never shown: they may hold a key


@dataclass(frozen=True, slots=True)
class Opening:
    source: Source
    env: Mapping[str, str]
    read: Callable[[], object]  # decrypts the file as a rotation would

    @property
    def file(self) -> Path:
        return Path(self.source.file)

    def checks(self) -> Iterator[Check]:
        yield Check("file", self._file, f"ls -l {shlex.quote(self.source.file)}")
        yield Check("lock", self._lock)
        for path in self._identity_files():
            yield Check("identity file", lambda path=path: _private(path))  # type: ignore[misc]
        yield Check("identity", self._identity, self._identity_mend, needs=("sops", "file"))

    def _file(self) -> str:
        data = files.look(self.file).data
        reasons = [f"cannot use {self.file}: {why}" for why in encrypted_dotenv.refusals(data, self.source.key)]
        folder = Path(os.path.realpath(self.file)).parent
        told_by_disk = writable.room_refusals(folder)
        reasons += [reason for reason in writable.refusals(self.file) if reason not in told_by_disk]
        if not os.access(folder, os.R_OK | os.X_OK):
            reasons.append(f"cannot lock {folder}: it cannot be opened")
        if reasons:
            raise PlaceError("; ".join(reasons))
        return f"{self.file} can be replaced"

    def _lock(self) -> Line | str:
        holder = proc.lock_holder(self.file.parent)
        if holder is None:
            return "nobody holds it: no other run is under way"
        since = f" since {holder.since.astimezone():%Y-%m-%d %H:%M:%S}" if holder.since else ""
        return Line("lock", State.UNKNOWN, f"another run (pid {holder.pid}) holds it{since}: a second one is refused")

    def _identity(self) -> str:
        self.read()
        return f"decrypts {self.file}; taken from {self._sources()}"

    @property
    def _identity_mend(self) -> str:
        if self.source.identity.startswith("keyring"):
            return "unlock the keyring, or let [secret] identity name a file"
        if self.source.identity:
            return f"ls -l {shlex.quote(self.source.identity)}"
        return f"sops decrypt {shlex.quote(self.source.file)} > /dev/null  (says more; it may print values)"

    def _sources(self) -> str:
        """Where sops may have found it; it tries them all and does not say which one it was."""
        stated = self.source.identity
        named = [f"{stated} (the playbook's)"] if stated else []
        replaced = ("SOPS_AGE_KEY_CMD" if stated.startswith("keyring") else "SOPS_AGE_KEY_FILE") if stated else ""
        named += [f"{name} ({self.env[name]})" for name in _FILES if self.env.get(name) and name != replaced]
        named += [name for name in _BY_VALUE if self.env.get(name) and name != replaced]
        usual = [str(path) for path in self._usual() if files.exists(path)]
        named += [path for path in usual if not any(path in name for name in named)]
        return " or ".join(named) or "where sops looks besides age"

    def _identity_files(self) -> list[Path]:
        """Those that somebody named, if they are to be read, and the one that sops reads unasked, if it is there."""
        stated = self.source.identity
        if stated.startswith("keyring"):
            return []
        named = [Path(stated)] if stated else [Path(self.env[name]) for name in _FILES if self.env.get(name)]
        usual = [path for path in self._usual()[:1] if not stated and files.exists(path)]
        return list(dict.fromkeys([*named, *usual]))

    def _usual(self) -> list[Path]:
        home = Path(self.env.get("HOME") or os.path.expanduser("~"))
        config = Path(self.env.get("XDG_CONFIG_HOME") or home / ".config")
        return [config / "sops" / "age" / "keys.txt", *(home / ".ssh" / name for name in ("id_ed25519", "id_rsa"))]


def _private(path: Path) -> Line | str:
    quoted = shlex.quote(str(path))
    try:
        status = os.stat(path)
    except OSError as error:
        raise PlaceError(f"cannot read {path}: {files.why(error)}", hint=f"ls -l {quoted}") from None
    if stat.S_ISDIR(status.st_mode):
        raise PlaceError(f"cannot read {path}: it is a folder", hint=f"ls -ld {quoted}")
    if not stat.S_ISREG(status.st_mode):
        return Line("identity file", State.UNKNOWN, f"{path} is a pipe or a device: who can read it cannot be told")
    if not os.access(path, os.R_OK):
        raise PlaceError(
            f"cannot read {path}: permission denied", hint=f"sudo chown $USER {quoted}; chmod 600 {quoted}"
        )
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        raise PlaceError(f"others may read {path} (mode {mode:04o})", hint=f"chmod 600 {quoted}")
    return f"{path} is private (mode {mode:04o})"
