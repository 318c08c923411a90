"""Where a rotation keeps its record, and what stands there: the folder, the chain, runs owed, the clock, the keyring.

Looks, and makes nothing: a state folder that is not there yet stays absent.
"""

from __future__ import annotations

import os
import re
import shlex
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from keyrotor.boundary import files, keychain, plaintext, proc, writable
from keyrotor.boundary.process import Processes, environment
from keyrotor.core.checkup import Check, Line, State
from keyrotor.core.model import Source
from keyrotor.core.ways import ways
from keyrotor.errors import JournalError, PlaceError
from keyrotor.journal import Account, Journal

YEARS = range(2026, 2100)  # keyrotor is not older; a machine without a battery starts in 1970
_RECORD = "journal.sqlite3"
SLACK = timedelta(minutes=1)  # by which a synchronised clock may have been set back since the last entry
_REMOTE = re.compile(r"nfs|cifs|smb|9p|fuse\.sshfs|afs|ceph|gluster|virtiofs")  # where a file's locks may hold nobody


@dataclass(frozen=True, slots=True)
class Keeping:
    state: Path
    source: Source | None  # None without a playbook: then every run counts
    folders: Sequence[Path]  # where the other files that a rotation writes live
    now: datetime
    processes: Processes
    env: Mapping[str, str]

    def checks(self) -> Iterator[Check]:
        yield Check("state", self._state, "export KEYROTOR_STATE_DIR=…  (a folder of your own that can be written)")
        yield Check("record", self._record, self._record_mend)
        yield Check("owed", self._owed, needs=("record",))
        yield Check("disk", self._disk, f"df -h {' '.join(shlex.quote(str(folder)) for folder in self._on_disk())}")
        yield Check("clock", self._clock, "timedatectl  (is it synchronised? timedatectl set-ntp true)")
        yield Check("keyring", self._keyring, "unlock the keyring, or let [secret] identity name a file")

    @property
    def _record_mend(self) -> str:
        state = shlex.quote(str(self.state))
        return f"restore {state} from a backup; or, if no run is owed: mv {state} {shlex.quote(f'{self.state}.broken')}"

    def _state(self) -> Line | str:
        if refusals := writable.absent_refusals(self.state / "any"):
            raise PlaceError(refusals[0])
        told = str(self.state)
        if not files.exists(self.state):
            told += " (not there yet: the first run makes it)"
        else:
            status = os.stat(self.state)
            if os.geteuid() not in (0, status.st_uid):
                raise PlaceError(f"cannot keep the record in {self.state}: it belongs to user {status.st_uid}")
            if mode := stat.S_IMODE(status.st_mode) & 0o077:
                hint = f"chmod -R go-rwx {shlex.quote(str(self.state))}"
                raise PlaceError(f"others may look into {self.state} (mode {mode | 0o700:04o})", hint=hint)
            self._want_runs()
        kind = file_system(Path("/proc/self/mountinfo").read_text(), _existing(self.state))
        if _REMOTE.match(kind):
            return Line("state", State.UNKNOWN, f"{told} lies on {kind}: whether locks hold there cannot be told")
        return told

    def _want_runs(self) -> None:
        """The folder of the runs' copies: absent, or a folder that can be written."""
        runs = self.state / "runs"
        quoted = shlex.quote(str(runs))
        if os.path.lexists(runs) and not runs.is_dir():
            raise PlaceError(f"cannot keep copies in {runs}: it is not a folder", hint=f"mv {quoted} {quoted}.old")
        if os.path.lexists(runs) and not os.access(runs, os.W_OK | os.X_OK):
            raise PlaceError(f"cannot keep copies in {runs}: it is read-only", hint=f"chmod u+rwx {quoted}")

    def _record(self) -> str:
        path = self.state / _RECORD
        if files.exists(path) and not os.access(path, os.R_OK | os.W_OK):
            hint = f"ls -l {shlex.quote(str(path))}; chmod u+rw {shlex.quote(str(path))}"
            raise PlaceError(f"cannot write the record: {path} is read-only", hint=hint)
        with Journal.peek(self.state) as journal:
            count = len(journal.accounts())
            verdict = journal.verify()
        if verdict.fault:
            raise PlaceError(f"cannot believe the record: {verdict.fault.said}")
        if verdict.entries == 0:
            return "there is none yet"
        return f"{count} run{'' if count == 1 else 's'}, and {verdict.brief}"

    def _owed(self) -> Line | str:
        file = Path(self.source.file) if self.source else None
        with Journal.peek(self.state) as journal:
            owed = journal.owed(file)
        if not owed:
            return "no run is unfinished"
        run = owed[0]
        if proc.lock_holder(Path(run.run.plan.source.file).parent):
            return Line("owed", State.UNKNOWN, f"run {run.id} of {run.run.plan.playbook} is under way")
        raise PlaceError(
            f"cannot start another run: run {run.id} of {run.run.plan.playbook} is not finished",
            hint=ways(run.run),
        )

    def _disk(self) -> str:
        if reasons := [reason for folder in self._on_disk() for reason in writable.room_refusals(folder)]:
            raise PlaceError("; ".join(reasons))
        spaces = [os.statvfs(folder) for folder in self._on_disk()]
        least = min(space.f_bavail * space.f_frsize for space in spaces) / (1 << 20)
        return f"{least:,.0f} MiB are free, at least, wherever a rotation writes"

    def _on_disk(self) -> list[Path]:
        return list(dict.fromkeys(map(_existing, (*self.folders, self.state))))

    def _clock(self) -> Line | str:
        told = f"{self.now:%Y-%m-%d %H:%M} UTC"
        if self.now.year not in YEARS:
            raise PlaceError(f"cannot trust the clock: it says {told}")
        last = max((account.entries[-1].at for account in self._accounts()), default=None)
        if last and last > self.now + SLACK:
            raise PlaceError(
                f"cannot trust the clock: it says {told}, and the record's last entry is of {last:%Y-%m-%d}"
            )
        return self._synchronised(told)

    def _synchronised(self, told: str) -> Line | str:
        argv = ["timedatectl", "show", "--property=NTPSynchronized", "--value"]
        try:
            said = self.processes.run(argv, env=environment(self.env), within=10.0).out.strip()
        except PlaceError:
            said = b""
        if said == b"yes":
            return f"{told}, synchronised"
        # Guests whose host sets the clock say no, and are right all the same.
        why = (
            "timedatectl says it is not synchronised" if said == b"no" else "whether it is synchronised cannot be told"
        )
        return Line("clock", State.UNKNOWN, f"{told}; {why}")

    def _accounts(self) -> list[Account]:
        try:
            with Journal.peek(self.state) as journal:
                return journal.accounts()
        except JournalError:  # its own line tells
            return []

    def _keyring(self) -> Line | str:
        has_file = files.exists(self.state / keychain.FILE)
        key = keychain.known_fingerprint_key(self.state)
        if self.source and self.source.identity.startswith("keyring"):
            if name := keychain.answering():
                return f"{name} answers; the identity line tells whether it gave the identity"
            raise PlaceError(f"cannot take the identity from {self.source.identity}: no keyring answers here")
        if has_file:
            return Line("keyring", State.SKIPPED, f"not needed: the fingerprint key is {self.state / keychain.FILE}")
        wanted = [account.run.plan.fingerprint_key for account in self._accounts()][-1:]
        name = keychain.answering()
        if key is None and wanted:
            where = f"{name} answers, and has not" if name else "nothing here has"
            said = f"former values can no longer be recognised: {where} the key that their fingerprints were made with"
            return Line("keyring", State.UNKNOWN, said)
        if key is None:
            return "no fingerprint key yet: the first run makes one, in a file where no keyring answers"
        if wanted and plaintext.key_name(key) != wanted[0]:
            return Line("keyring", State.UNKNOWN, "answers, with another fingerprint key than the last run's")
        return f"{name} answers, and has the fingerprint key"


def file_system(mountinfo: str, path: Path) -> str:
    """The kind of file system that the path lies on, of those that /proc/self/mountinfo lists."""
    best, kind = -1, ""
    for line in mountinfo.splitlines():
        fields, _, rest = line.partition(" - ")
        mount = Path(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields.split()[4]))
        if path.is_relative_to(mount) and len(mount.parts) >= best:
            best, kind = len(mount.parts), rest.split()[0]
    return kind


def _existing(folder: Path) -> Path:
    """The folder, or the nearest above it that is there; links resolved, as a write would."""
    real = Path(os.path.realpath(folder))
    return next(parent for parent in (real, *real.parents) if os.path.isdir(parent))
