"""The use cases `rotate` and `plan`. Decides nothing about places and prints nothing.

A run's life: lock, preflight, consent, `before` and `after` durable, `opened` durable, drive, close.
Until `opened` is durable nothing is owed; after it, everything is in the record.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from keyrotor import playbook, preflight, runs
from keyrotor.core import due, machine
from keyrotor.core.machine import Run
from keyrotor.core.model import Outcome, Plan, Playbook, Value
from keyrotor.core.report import Report
from keyrotor.errors import Exit, KeyrotorError, OwedError, RefusedError
from keyrotor.journal import Journal
from keyrotor.ports import Place, World
from keyrotor.secret import Pair, Secret
from keyrotor.session import drive, locked, report_of, what_to_commit


@dataclass(frozen=True, slots=True)
class Wish:
    """What the person who types `rotate` asks for besides."""

    if_due: bool = False
    commit: bool = False
    reason: str = ""
    value: Secret | None = None


def rotate(world: World, name: str | None, wish: Wish) -> Report:
    """Give every place a new value, or put all of them back. Raises what refuses before the first effect."""
    book = playbook.load(playbook.find(name, world.folder, world.env), world.env)
    file = Path(book.source.file)
    with locked(world, file):
        _want_nothing_owed(world, file)
        last = _last_rotated(world, book) if wish.if_due else None
        if last and not due.is_due(book.every, last, world.now().astimezone()):
            reason = f"last rotated {last:%Y-%m-%d %H:%M}, due every {book.every}"
            return Report(Outcome.NOT_DUE, Exit.DONE, book.name, reason=reason)
        repository = world.repository(file)
        if wish.commit:
            repository.want_alone()
        ready = preflight.check(world, book, wish.value)
        if wish.value is not None and world.are_same(wish.value, ready.pair.old):
            raise RefusedError(f"cannot rotate {book.source.key}: the value given is the present one")
        if not world.screen.consents(book, ready.rows):
            return Report(Outcome.NOTHING_CHANGED, Exit.FAILED, book.name, reason="not agreed to")
        with Journal.open(world.state) as journal:
            runs.forget_expired(world, journal, book.source)
            journal.discard_unopened(world.now())
            run, places, pair = _open(world, journal, book, ready, wish)
            ending = drive(world, journal, run, places, pair)
            notes = what_to_commit(repository, ending, file, wish.commit) + _hints(ready)
            return report_of(journal, ending, notes)


def plan_rotation(world: World, name: str | None) -> tuple[Playbook, preflight.Ready, str]:
    """Everything a rotation does before its first effect, and nothing else; and the id of a run owed first, or ""."""
    book = playbook.load(playbook.find(name, world.folder, world.env), world.env)
    with Journal.peek(world.state) as journal:
        owed = [account.id for account in journal.owed(Path(book.source.file))]
    try:
        return book, preflight.check(world, book), owed[0] if owed else ""
    except RefusedError as error:
        if not owed:
            raise
        raise RefusedError(f"{error}\nrun {owed[0]} is not finished", hint=f"keyrotor resume {owed[0]}") from None


def _open(
    world: World, journal: Journal, book: Playbook, ready: preflight.Ready, wish: Wish
) -> tuple[Run, Mapping[str, Place], Pair]:
    """Choose the new value; make `before`, `after` and `opened` durable, in this order."""
    run_id = next(fresh for fresh in iter(world.run_id, "") if not journal.knows(fresh))
    folder = journal.folder(run_id)
    new, public = (wish.value, "") if wish.value is not None else world.generate(book)
    pair = replace(ready.pair, new=new)
    fingerprint_key, fingerprint = world.fingerprinter()
    try:
        prepared = world.prepare(book.source, ready.ciphertext, pair, folder)
    except KeyrotorError:
        journal.discard(run_id)
        raise
    opened = machine.Opened(
        Plan(
            run=run_id,
            playbook=book.name,
            source=book.source,
            rows=ready.rows,
            fingerprints={value: fingerprint(pair[value]) for value in Value},
            fingerprint_key=fingerprint_key,
            ciphertexts={value: world.digest(data) for value, data in prepared.items()},
            skipped=ready.skipped,
            reason=wish.reason,
            public=public,
            keep=book.keep,
        )
    )
    journal.append(run_id, opened, world.now())
    return machine.fold([opened]), world.places(ready.rows, book.source, prepared, folder), pair


def _want_nothing_owed(world: World, file: Path) -> None:
    with Journal.peek(world.state) as journal:
        owed = journal.owed(file)
    if owed:
        first = owed[0]
        raise OwedError(f"cannot start: run {first.id} of {file.name} is not finished", run=first.id)


def _last_rotated(world: World, book: Playbook) -> datetime | None:
    done = (Outcome.ROTATED, Outcome.OLD_ALIVE)
    ends = [
        account.closed.astimezone()
        for account in runs.accounts(world)
        if account.closed
        and account.run.outcome in done
        and account.run.plan.source.file == book.source.file
        and account.run.plan.source.key == book.source.key
    ]
    return ends[-1] if ends else None


def _hints(ready: preflight.Ready) -> tuple[str, ...]:
    return tuple(f"{place}: {why}" for place, why in ready.skipped.items() if why.startswith("refers"))
