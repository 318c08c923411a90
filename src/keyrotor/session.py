"""What every command about a run shares: the lock, the drive, the report, the commit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from keyrotor import lock
from keyrotor.core import machine, report
from keyrotor.core.machine import Event, Phase, Run
from keyrotor.core.model import Value
from keyrotor.core.report import Report
from keyrotor.engine import Ending, Engine
from keyrotor.errors import JournalError, OwedError, PlaceError
from keyrotor.journal import Journal
from keyrotor.ports import Place, Repository, World
from keyrotor.secret import Pair

# The two files in a run's folder: ciphertext, and the only other copies of either value.
KEPT: Mapping[Value, str] = {Value.OLD: "before.env", Value.NEW: "after.env"}


def report_of(journal: Journal, ending: Ending, notes: Sequence[str]) -> Report:
    """The report of a run that has come to rest, from its record."""
    entries = journal.account(ending.run.plan.run).entries
    timed = [(entry.at, entry.event) for entry in entries]
    return report.of_run(ending.run, timed, ending.outcome, ending.reason, notes)


@contextmanager
def locked(world: World, file: Path) -> Iterator[None]:
    """One run at a time for this secret file; children inherit the lock. Raises BusyError, RefusedError."""
    with lock.held(file) as descriptor:
        world.inherit(descriptor)
        yield


def drive(world: World, journal: Journal, run: Run, places: Mapping[str, Place], pair: Pair) -> Ending:
    """Let the engine go on with the run; each event is durable, then shown. Raises OwedError if it cannot be."""
    with world.screen.follow(run) as shown:

        def record(event: Event) -> None:
            nonlocal run
            journal.append(run.plan.run, event, world.now())
            run = machine.follow(run, event)
            shown(run, event)

        try:
            return Engine(run, places, pair, record, world.stop).drive()
        except JournalError as error:
            raise OwedError(f"cannot go on with run {run.plan.run}: {error}", run=run.plan.run) from None


def what_to_commit(repository: Repository, ending: Ending, file: Path, commit: bool) -> tuple[str, ...]:
    """The encrypted file has changed and git does not know yet. A commit that fails never fails a rotation."""
    if ending.run.goal is Value.OLD or ending.run.phase is not Phase.CLOSED or not repository.is_tracked():
        return ()
    message = f"rotate {ending.run.plan.source.key}"
    command = repository.command_to_commit(message)
    if not commit:
        return (f"{file.name} is changed and not committed: {command}",)
    try:
        repository.commit(message)
    except PlaceError as error:
        return (f"{error}; {file.name} is changed and not committed: {command}",)
    return (f"{file.name} is committed",)
