"""What every command about a run shares: the lock, the drive, the report, the commit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from keyrotor import lock
from keyrotor.core import machine, report
from keyrotor.core.machine import Event, Phase, Run
from keyrotor.core.model import Plan, Playbook, Row, Value
from keyrotor.core.report import Report
from keyrotor.core.ways import ways
from keyrotor.engine import Ending, Engine
from keyrotor.errors import (
    BusyError,
    InterruptedRun,
    JournalError,
    KeyrotorError,
    OwedError,
    PlaceError,
    UsageError,
    internal,
)
from keyrotor.journal import Account, Journal
from keyrotor.ports import Place, Repository, World
from keyrotor.secret import Pair

# The two files in a run's folder: ciphertext, and the only other copies of either value.
KEPT: Mapping[Value, str] = {Value.OLD: "before.env", Value.NEW: "after.env"}


def report_of(journal: Journal, ending: Ending, notes: Sequence[str]) -> Report:
    """The report of a run that has come to rest, from its record."""
    entries = journal.account(ending.run.plan.run).entries
    timed = [(entry.at, entry.event) for entry in entries]
    return report.of_run(ending.run, timed, ending.outcome, ending.reason, (*notes, *journal.sign()))


def signed_late(world: World) -> tuple[str, ...]:
    """Whoever was killed after the end of a run has not signed the record: done now. What is to be said of that."""
    try:
        with Journal.peek(world.state) as journal:
            is_empty = not journal.last()
        if is_empty:
            return ()
        with Journal.open(world.state) as journal:
            return journal.sign()
    except (JournalError, PlaceError) as error:
        return (f"the head of the record is not signed: {error}  (keyrotor log --verify)",)


@contextmanager
def locked(world: World, file: Path) -> Iterator[None]:
    """One run at a time for this secret file; children inherit the lock. Raises BusyError, RefusedError."""
    with lock.held(file) as descriptor:
        world.inherit(descriptor)
        try:
            yield
        finally:
            world.inherit(None)  # an incident goes on after it


def locked_if_there(world: World, account: Account) -> AbstractContextManager[None]:
    """The lock of the run's secret file; none where its folder is gone, and nobody else can hold it either."""
    file = Path(account.run.plan.source.file)
    return locked(world, file) if file.parent.is_dir() else nullcontext()


def at_work(accounts: Iterable[Account]) -> dict[str, str]:
    """Which of these runs are under way just now: the id -> whose process it is. Of one folder's, the newest."""
    newest = {
        Path(one.run.plan.source.file).parent: one for one in sorted(accounts, key=lambda one: one.entries[-1].seq)
    }
    owed = {folder: one for folder, one in newest.items() if one.run.is_owed}  # else there is no lock to look for
    found = {one.id: lock.at_work(folder, one.entries[-1].at) for folder, one in owed.items()}
    return {run: who for run, who in found.items() if who}


def held(accounts: Iterable[Account]) -> dict[str, str]:
    """Who holds the lock that an owed run needs to go on: the id -> whose process it is. A child that outlived a killed
    run still has it."""
    found = {one.id: lock.holder(Path(one.run.plan.source.file).parent) for one in accounts if one.run.is_owed}
    return {run: who for run, who in found.items() if who}


@contextmanager
def owing(run: Run) -> Iterator[None]:
    """Whatever ends this block early leaves the run owed: then that is what is told. Raises OwedError, BusyError."""
    try:
        yield
    except (OwedError, BusyError, UsageError):
        raise
    except InterruptedRun as asked:
        raise owed(run, f"interrupted by {asked}") from None
    except KeyrotorError as error:
        hint = f" (hint: {error.hint})" if error.hint else ""
        raise owed(run, f"{error}{hint}") from None
    except Exception as error:  # noqa: BLE001  a bug of ours must not hide that a run is owed
        raise owed(run, str(internal(error))) from None


def owed(run: Run, why: str) -> OwedError:
    """The run cannot be gone on with now."""
    message = f"cannot go on with run {run.plan.run}: {why}"
    return OwedError(message, run=run.plan.run, hint=ways(run))


def want_nothing_owed(world: World, file: Path) -> None:
    """Raises OwedError if a run of this secret file is not finished."""
    with Journal.peek(world.state) as journal:
        runs = [account.run for account in journal.owed(file)]
    if runs:
        message = f"cannot start: run {runs[0].plan.run} of {file.name} is not finished"
        raise OwedError(message, run=runs[0].plan.run, hint=ways(runs[0]))


def drive(world: World, journal: Journal, run: Run, places: Mapping[str, Place], pair: Pair) -> Ending:
    """Let the engine go on with the run; each event is durable, then shown. Raises OwedError if it cannot be."""
    with owing(run), world.screen.follow(run) as shown:

        def record(events: Sequence[Event]) -> None:
            nonlocal run
            journal.append_all(run.plan.run, events, world.now())
            for event in events:
                run = machine.follow(run, event)
                shown(run, event)

        return Engine(run, places, pair, record, world.stop).drive()


def begin(
    world: World,
    journal: Journal,
    book: Playbook,
    rows: tuple[Row, ...],
    pair: Pair,
    prepare: Callable[[Path], Mapping[Value, bytes]],
    *,
    has_old: bool = True,
    **more: Any,
) -> tuple[Run, Mapping[str, Place]]:
    """Make what `prepare` puts into the run's folder durable, then `opened`, in this order; the run and its places.

    `more` is what else the plan keeps. Raises KeyrotorError; then nothing is owed.
    """
    world.make_folder(journal.folders)
    with lock.shared(journal.folders):  # until it is on record nobody may take its folder for one that was left
        run_id = next(fresh for fresh in iter(world.run_id, "") if not journal.knows(fresh))
        folder = journal.folder(run_id)
        fingerprint_key, fingerprint = world.fingerprinter()
        try:
            prepared = prepare(folder)
        except KeyrotorError:
            journal.discard(run_id)
            raise
        opened = machine.Opened(
            Plan(
                run=run_id,
                playbook=book.name,
                source=book.source,
                rows=rows,
                fingerprints={Value.OLD: fingerprint(pair.old) if has_old else "", Value.NEW: fingerprint(pair.new)},
                fingerprint_key=fingerprint_key,
                ciphertexts={value: world.digest(data) for value, data in prepared.items()},
                stale=tuple(fingerprint(secret) for secret in pair.stale),
                keep=book.keep,
                **more,
            )
        )
        journal.append(run_id, opened, world.now())
    return machine.fold([opened]), world.places(rows, book.source, prepared, folder)


def discard_unopened(journal: Journal) -> None:
    """Drop what runs left that were killed before they were opened, unless one is being opened just now."""
    if journal.folders.is_dir():
        with lock.unshared(journal.folders) as nobody_opens:
            if nobody_opens:
                journal.discard_unopened()


def what_to_commit(repository: Repository, ending: Ending, file: Path, commit: bool) -> tuple[str, ...]:
    """What is to be said of git once a run is closed. It never fails a run: that is over."""
    if ending.run.phase is not Phase.CLOSED or not ending.run.has_way_back:  # a repair has not written it
        return ()
    message = f"rotate {ending.run.plan.source.key}"
    note = f"{file.name} is changed and not committed: {repository.command_to_commit(message)}"
    try:
        if not repository.is_changed():
            return ()
        if not commit or ending.run.goal is Value.OLD:
            return (note,)
        repository.commit(message)
    except PlaceError as error:
        return (f"{error}; {note}",)
    except InterruptedRun as asked:
        return (f"{asked} while git was asked; {note}",)
    return (f"{file.name} is committed",)
