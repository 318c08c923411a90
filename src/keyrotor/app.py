"""The use case `rotate`. Decides nothing about places and prints nothing.

A run's life: lock, preflight, consent, `before` and `after` durable, `opened` durable, drive, close.
Until `opened` is durable nothing is owed; after it, everything is in the record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

from keyrotor import playbook, preflight, runs, shelf
from keyrotor.core import decide, due
from keyrotor.core.machine import Run
from keyrotor.core.model import Outcome, Playbook, Value
from keyrotor.core.report import Report
from keyrotor.errors import Exit, RefusedError
from keyrotor.forgetting import forget_expired
from keyrotor.journal import Journal
from keyrotor.ports import Place, World
from keyrotor.secret import Pair, Secret
from keyrotor.session import begin, discard_unopened, drive, locked, report_of, want_nothing_owed, what_to_commit


@dataclass(frozen=True, slots=True)
class Wish:
    """What the person who types `rotate` asks for besides."""

    if_due: bool = False
    commit: bool = False
    reason: str = ""
    value: Secret | None = None
    plan: Path | None = None  # a saved plan, which must still hold
    resume: bool = False  # go on with a run that was interrupted, in the stead of another one
    incident: str = ""  # the incident of which this is a step


def rotate(world: World, name: str | None, wish: Wish) -> Report:
    """Give every place a new value, or put all of them back. Raises what refuses before the first effect."""
    book, want_unchanged = _chosen(world, name, wish.plan)
    file = Path(book.source.file)
    interrupted = owed(world, book).interrupted if wish.resume else ""
    if interrupted:
        return runs.resume(world, interrupted, {})
    with locked(world, file):
        want_nothing_owed(world, file)
        found = judged(world, book) if wish.if_due else None
        if found and not found.is_now:
            return Report(Outcome.NOT_DUE, Exit.DONE, book.name, reason=found.reason)
        repository = world.repository(file)
        if wish.commit:
            repository.want_alone()
        ready = preflight.check(world, book, wish.value, want_unchanged)
        if wish.value is not None and world.are_same(wish.value, ready.pair.old):
            raise RefusedError(f"cannot rotate {book.source.key}: the value given is the present one")
        if not world.screen.consents(book, ready.rows):
            return Report(Outcome.NOTHING_CHANGED, Exit.FAILED, book.name, reason="not agreed to")
        want_unchanged(None)  # the question may have stood for an hour
        with Journal.open(world.state) as journal:
            forget_expired(world, journal, book.source)
            discard_unopened(journal)
            run, places, pair = _open(world, journal, book, ready, wish)
            ending = drive(world, journal, run, places, pair)
            return report_of(journal, ending, what_to_commit(repository, ending, file, wish.commit))


def respond(world: World, book: Playbook, incident: str, reason: str) -> Report:
    """Give every place a new value because the present one has leaked: nobody is asked, no client keeps it from being
    done, and from the unit's restart on nothing goes back by itself, nor before it where the unit is down or the former
    state could not be put back. Raises what refuses before the first effect."""
    file = Path(book.source.file)
    with locked(world, file):
        want_nothing_owed(world, file)
        ready = preflight.check(world, book, incident=incident)
        with Journal.open(world.state) as journal:
            run, places, pair = _open(world, journal, book, ready, Wish(reason=reason, incident=incident))
            ending = drive(world, journal, run, places, pair)
            return report_of(journal, ending, what_to_commit(world.repository(file), ending, file, False))


def _chosen(
    world: World, name: str | None, file: Path | None
) -> tuple[Playbook, Callable[[preflight.Found | None], None]]:
    """The playbook, by its name or by a saved plan's; and what refuses once that plan does not hold any more."""
    if file is None:
        return playbook.load(shelf.find(name, world.folder, world.env), world.env), lambda _: None
    from keyrotor import preview

    saved = preview.read(file)
    book = playbook.load(Path(preview.playbook_of(world, saved, file, name)), world.env)
    return book, lambda found: preview.want_unchanged(world, book, saved, file, found)


def _open(
    world: World, journal: Journal, book: Playbook, ready: preflight.Ready, wish: Wish
) -> tuple[Run, Mapping[str, Place], Pair]:
    """Choose the new value; make `before`, `after` and `opened` durable, in this order."""
    new, public = (wish.value, "") if wish.value is not None else world.generate(book)
    pair = replace(ready.pair, new=new)
    more: dict[str, Any] = {"skipped": ready.skipped, "todo": ready.todo, "reason": wish.reason, "public": public}
    if wish.incident:
        barrier = next((row.id for row in ready.rows if decide.takes_up(row)), "")
        more |= {"incident": wish.incident, "no_return": barrier, "no_way_back": ready.no_way_back}

    def prepare(folder: Path) -> Mapping[Value, bytes]:
        return world.prepare(book.source, ready.ciphertext, pair, folder)

    return *begin(world, journal, book, ready.rows, pair, prepare, **more), pair


def owed(world: World, book: Playbook) -> due.Owed:
    """What of this playbook's secret file is not finished. Raises JournalError."""
    with Journal.peek(world.state) as journal:
        found = [account.run for account in journal.owed(Path(book.source.file))]
    waiting = [run.plan.run for run in found if run.plan.incident or decide.is_stuck(run)]
    if waiting or not found:
        return due.Owed(waiting=waiting[0] if waiting else "")
    return due.Owed(interrupted=found[0].plan.run)


def judged(world: World, book: Playbook) -> due.Due:
    """Whether a rotation of this playbook is due now, and its window open. Raises JournalError."""
    return due.judged(book.every, book.window, _last_rotated(world, book), world.now(), datetime.astimezone, _begin)


def _begin(day: date) -> datetime:
    return datetime.combine(day, time.min).astimezone()


def _last_rotated(world: World, book: Playbook) -> datetime | None:
    ends = [
        account.closed
        for account in runs.accounts(world)
        if account.closed and account.run.has_rotated and account.run.plan.source.is_of(book.source)
    ]
    return ends[-1] if ends else None
