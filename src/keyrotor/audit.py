"""The use case `audit`: look at everything that a playbook names, and touch nothing.

What several looks need is read once, here: the record, the encrypted file, and what each place holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time

from keyrotor import drift, playbook, recall, shelf
from keyrotor.core import due, plan, stores
from keyrotor.core.audited import HELD, Audited, Held
from keyrotor.core.findings import Finding, found, ordered
from keyrotor.core.lineage import lineage
from keyrotor.core.model import Act, Holds, Playbook, Row, Value
from keyrotor.core.recorded import Past, Recorded
from keyrotor.errors import JournalError, PlaceError, RefusedError
from keyrotor.journal import Journal
from keyrotor.ports import Look, Place, Seen, World
from keyrotor.secret import Pair, Secret

Fingerprint = Callable[[Secret], str]
_HOLDING = (Act.FILE, Act.RESTART, Act.COMMAND, Act.STORE)  # a door only answers, and its own look asks it


@dataclass(frozen=True, slots=True)
class _Known:
    """What is read once for all playbooks of an audit."""

    now: datetime
    recorded: Recorded
    key: str  # the name of the fingerprint key; "" where there is none, or nothing to compare
    fingerprint: Fingerprint
    failed: tuple[Finding, ...]


def audit(world: World, names: Sequence[str]) -> list[Audited]:
    """Look at these playbooks, or at all of the project's. Raises UsageError, PlaybookError."""
    books = [playbook.load(path, world.env) for path in shelf.find_all(names, world.folder, world.env)]
    known = _known(world)
    return [_steady(world, book, known) for book in books]


def _steady(world: World, book: Playbook, known: _Known) -> Audited:
    """Looked at while no run of its file moved: what is seen of places is compared with what the record said before.
    A run that begins or ends meanwhile makes it look once more, and one that still goes on is told."""
    audited = _audited(world, book, known)
    if _is_as_read(world, known.recorded):
        return audited
    again = _known(world)
    if not _moved(book, known, again):
        return audited
    audited = _audited(world, book, again)
    after = _known(world)
    if not _moved(book, again, after) or any(one.id == "run-going" for one in audited.findings):
        return audited
    newest = max(after.recorded.about(book.source), key=lambda past: past.last)
    words = {"run": newest.run.plan.run, "how": "the record grew while it was looked at", "playbook": book.name}
    return replace(audited, findings=ordered([*audited.findings, found("run-going", book.source.file, **words)]))


def _is_as_read(world: World, recorded: Recorded) -> bool:
    """Whether no entry was added since; a record that cannot be read was read no better before."""
    try:
        with Journal.peek(world.state) as journal:
            return journal.last() == (recorded.stamps[-1][0] if recorded.stamps else 0)
    except JournalError:
        return bool(recorded.fault)


def _moved(book: Playbook, before: _Known, after: _Known) -> bool:
    told, now = (known.recorded.about(book.source) for known in (before, after))
    return bool(now) and told != now


def _audited(world: World, book: Playbook, known: _Known) -> Audited:
    world.foresee(book)
    pair, ciphertext, failed = _read(world, book)
    present = known.fingerprint(pair.old) if pair else ""
    rows = stores.with_recorded(plan.rows(book), known.recorded.of(book.source), known.key, present)
    places = world.places(rows, book.source, {Value.OLD: ciphertext}, world.state)
    seen = _seen(book, known, pair, _held(rows, places, pair))
    looks = world.looks(book, rows, places)
    findings = [*known.failed, *failed, *(one for look in looks for one in _looked(look, seen))]
    past, last = known.recorded.of(book.source), known.recorded.last_rotation(book.source)
    return Audited(
        book=book,
        at=known.now,
        places=tuple(_told(row, seen) for row in rows if row.act is not Act.RETIRE),
        fingerprint=seen.fingerprint,
        last=last,
        newest=past[-1] if past else None,
        owed=tuple(one.run.plan.run for one in known.recorded.owed(book.source)),
        due=_due(book, last, known.now),
        findings=ordered(findings),
    )


def _known(world: World) -> _Known:
    recorded = _recorded(world)
    nothing: tuple[str, Fingerprint] = ("", lambda _: "")
    try:  # only where a run is on record: where no file holds the fingerprint key, a keyring has to be asked
        name, fingerprint = (world.known_fingerprinter() if recorded.runs else None) or nothing
    except PlaceError as error:
        failed = found("cannot-look", str(world.state), reason=error, hint=error.hint)
        return _Known(world.now(), recorded, *nothing, (failed,))
    return _Known(world.now(), recorded, name, fingerprint, ())


def _recorded(world: World) -> Recorded:
    """The record, as far as it can be read."""
    broken = ""
    try:
        with Journal.peek(world.state) as journal:
            broken = fault.said if (fault := journal.verify().fault) else ""
            return replace(recall.recorded(journal, world.env), broken=broken)
    except JournalError as error:
        return Recorded(broken=broken, fault=str(error), hint=error.hint)


def _seen(book: Playbook, known: _Known, pair: Pair | None, holds: Mapping[str, Holds]) -> Seen:
    line = lineage((past.run for past in known.recorded.runs), book.source, known.key)

    present = known.fingerprint(pair.old) if pair else ""
    # Where a former value came back the file is wrong, and not the places that have what was put last; while a run is
    # owed they may have either of its values.
    is_moving = present in line.formers or bool(known.recorded.owed(book.source))
    formers = line.formers if is_moving else line.superseded(present)
    former = drift.among(formers, known.fingerprint)
    return Seen(book, known.now, pair, former, known.recorded, line, present, holds)


def _read(world: World, book: Playbook) -> tuple[Pair | None, bytes, list[Finding]]:
    """The present value and a decoy, the ciphertext they stand in; a finding in their stead if there are none."""
    source = book.source
    try:
        ciphertext, values = world.read_secret(source, to_set=False)
    except (PlaceError, RefusedError) as error:
        return None, b"", [found("not-decrypted", source.file, reason=error, hint=error.hint)]
    return Pair.read(values, source.key, world.decoy()), ciphertext, []


def _held(rows: Sequence[Row], places: Mapping[str, Place], pair: Pair | None) -> dict[str, Holds]:
    """What each place holds that holds a value; nothing where there is no value to compare it with."""
    return {row.id: places[row.id].holds(pair) for row in rows if row.act in _HOLDING} if pair else {}


def _told(row: Row, seen: Seen) -> Held:
    holds = HELD.get(seen.holds[row.id], "") if row.id in seen.holds else ""
    return Held(row.place, row.kind, row.label, holds)


def _looked(look: Look, seen: Seen) -> Iterator[Finding]:
    try:
        yield from look.findings(seen)
    except PlaceError as error:
        yield found("cannot-look", seen.book.name, reason=error, hint=error.hint)


def _due(book: Playbook, last: Past | None, now: datetime) -> datetime | None:
    """From when on the key is due, by the calendar of where we are."""
    if last is None or last.closed is None:
        return None
    return due.next_due(book.every, last.closed.astimezone(), now.astimezone(), _begin)


def _begin(day: date) -> datetime:
    return datetime.combine(day, time.min).astimezone()
