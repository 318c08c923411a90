"""What the record says: open incidents, runs that are owed, the key's age, a broken chain, a clock that jumped.

Ages are reckoned from the last rotation on record; what an older clock made of older runs is not told for ever.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

from keyrotor.boundary import files, proc
from keyrotor.core import due
from keyrotor.core.findings import Finding, found
from keyrotor.core.kinds import typed
from keyrotor.core.model import Outcome
from keyrotor.core.recorded import Past
from keyrotor.core.ways import ways
from keyrotor.errors import PlaceError
from keyrotor.formats import encrypted_dotenv
from keyrotor.ports import Seen

# By how much two clocks may differ before one of them counts as wrong: Kerberos has used five minutes for decades.
# A daemon that keeps the time stays within a second; a dead battery, a wrong zone or a restored machine does not.
TOLERANCE = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Record:
    state: Path  # the state folder

    def findings(self, seen: Seen) -> Iterator[Finding]:
        yield from self._readable()
        yield from self._believable(seen)
        yield from _leaks(seen)
        yield from _owed(seen)
        yield from self._values(seen)
        yield from _age(seen)
        yield from self._clock(seen)

    def _believable(self, seen: Seen) -> Iterator[Finding]:
        place, fault = str(self.state), seen.recorded.fault
        if not fault and files.exists(self.state) and not os.access(self.state, os.R_OK | os.X_OK):
            fault = f"we may not look into {self.state}"
        if fault:
            hint = seen.recorded.hint or f"ls -la {self.state}  (whose is it, and is it whole?)"
            yield found("record-unreadable", place, reason=fault, hint=hint)
        if seen.recorded.broken:
            yield found("record-broken", place, broken=seen.recorded.broken)

    def _readable(self) -> Iterator[Finding]:
        """One finding, at the first that others can read: what mends it mends them all."""
        for path in (self.state, *sorted(self.state.rglob("*"))):
            try:
                status = path.stat() if path == self.state else path.lstat()
            except OSError:  # it went meanwhile, or there is no record
                continue
            if not stat.S_ISLNK(status.st_mode) and status.st_mode & 0o077:
                mode = f"{stat.S_IMODE(status.st_mode):04o}"
                yield found("state-readable", str(path), mode=mode, path=os.path.realpath(self.state))
                return

    def _values(self, seen: Seen) -> Iterator[Finding]:
        """The present value, beside those on record."""
        source, known = seen.book.source, seen.lineage
        words = {"key": source.key, "playbook": seen.book.name}
        if known.is_partial and not known.present and not known.formers:
            yield found("fingerprints-lost", source.file, **words)
        if seen.fingerprint in known.formers:
            words |= {"run": known.formers[seen.fingerprint], "fingerprint": seen.fingerprint}
            kind = "leak-revived" if seen.fingerprint in known.leaked else "key-revived"
            yield found(kind, source.file, back=self._back(seen), **words)
        elif known.is_by_hand(seen.fingerprint):
            yield found("key-changed-by-hand", source.file, run=known.run, **words)

    def _back(self, seen: Seen) -> str:
        """What brings back the file with the value that should be present: the copy that its run keeps, or git."""
        file = Path(seen.book.source.file)
        past = next((past for past in seen.recorded.runs if past.run.plan.run == seen.lineage.run), None)
        if past is not None:
            name = "before.env" if past.run.outcome is Outcome.ROLLED_BACK else "after.env"  # what it left everywhere
            kept = self.state / "runs" / seen.lineage.run / name
            if files.exists(kept):
                return f"cp {typed(str(kept))} {typed(str(file))}"
        return f"git -C {typed(str(file.parent))} log -p -- {typed(file.name)}"

    def _clock(self, seen: Seen) -> Iterator[Finding]:
        last = seen.recorded.last_rotation(seen.book.source)
        stamps = seen.recorded.stamps
        latest = [at for _, at in stamps[-1:]] + ([last.closed] if last and last.closed else [])
        if latest and (ahead := max(latest) - seen.now) > TOLERANCE:
            yield found("clock-set-back", str(self.state), ahead=due.ago(ahead), playbook=seen.book.name)
        for (_, before), (entry, at) in pairwise(stamps):
            if last and entry > last.first and before - at > TOLERANCE:
                words = {"entry": entry, "by": due.ago(before - at), "playbook": seen.book.name}
                yield found("clock-jumped", str(self.state), **words)
                return


def _leaks(seen: Seen) -> Iterator[Finding]:
    source = seen.book.source
    for leak in seen.recorded.leaks_of(seen.book):
        if not seen.recorded.is_replaced(leak, source):
            yield found("key-leaked", source.file, key=source.key, case=leak.case)
        else:
            counted = ((leak.steps, "step", "to go"), (leak.tasks, "task", "for people"))
            left = ", ".join(f"{many} {what}{'s' if many != 1 else ''} {how}" for many, what, how in counted if many)
            yield found("incident-open", source.file, case=leak.case, left=left or "only to be closed")


def _owed(seen: Seen) -> Iterator[Finding]:
    source, book = seen.book.source, seen.book.name
    for past in seen.recorded.owed(source):
        run = past.run.plan.run
        if who := _at_work(past, seen.recorded.runs):
            yield found("run-going", source.file, run=run, how=who, playbook=book)
            continue
        on = ways(past.run)
        goal, state = past.run.goal if past.run.has_way_back else "present", str(past.outcome)
        if holder := proc.lock_holder(Path(source.file).parent):
            state += f", its lock held by {proc.name(holder.pid)} (process {holder.pid})"
            on += f"   once process {holder.pid} has ended"
        yield found("run-owed", source.file, run=run, state=state, goal=goal, ways=on)
    last = seen.recorded.last_rotation(source)
    if last and last.outcome is Outcome.OLD_ALIVE:
        yield found("old-key-alive", source.file, run=last.run.plan.run, playbook=book)


def _at_work(past: Past, runs: Iterable[Past]) -> str:
    """Who is at work on this run, for people: who was there when it made its last entry, and has not opened another run
    of a file in the same folder since; "" for nobody."""
    folder = Path(past.run.plan.source.file).parent
    beside = (other for other in runs if Path(other.run.plan.source.file).parent == folder)
    return "" if any(other.last > past.last for other in beside) else proc.at_work(folder, past.latest)


def _age(seen: Seen) -> Iterator[Finding]:
    book, now = seen.book, seen.now.astimezone()
    last, bound = _since(seen.recorded.last_rotation(book.source), Path(book.source.file))
    if last and last <= now and due.is_due(book.every, last.astimezone(), now):
        age = bound + due.ago(now - last)
        words = {"key": book.source.key, "age": age, "every": book.every, "playbook": book.name}
        yield found("key-overdue", book.source.file, **words)


def _since(last: Past | None, file: Path) -> tuple[datetime | None, str]:
    """Since when there is the present value; where no rotation is on record, since before the file's last change."""
    if last:
        return last.closed, ""
    try:
        return _changed(encrypted_dotenv.lines(files.look(file).data)), "at least "
    except PlaceError:
        return None, ""


def _changed(lines: Iterable[encrypted_dotenv.Line]) -> datetime | None:
    """When sops last wrote the file, by its own metadata (RFC 3339, in UTC)."""
    said = next((line.value.decode("ascii", "replace") for line in lines if line.key == b"sops_lastmodified"), "")
    whole = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)Z", said)
    try:
        return datetime.fromisoformat(whole[1]).replace(tzinfo=UTC) if whole else None
    except ValueError:
        return None
