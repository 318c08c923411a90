"""The use cases: one short function for each command. Decides nothing about places and prints nothing.

A run's life: lock, preflight, consent, `before` and `after` durable, `opened` durable, drive, close.
Until `opened` is durable nothing is owed; after it, everything is in the record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from keyrotor import lock, playbook, preflight
from keyrotor.core import due, machine, report
from keyrotor.core.machine import Event, Phase, Run
from keyrotor.core.model import Outcome, Plan, Playbook, Row, Source, Value
from keyrotor.core.report import Report
from keyrotor.engine import Ending, Engine, Place, Stop
from keyrotor.errors import Exit, JournalError, KeyrotorError, OwedError, PlaceError, RefusedError, UsageError
from keyrotor.journal import Account, Journal
from keyrotor.secret import Pair, Secret

KEPT: Mapping[Value, str] = {Value.OLD: "before.env", Value.NEW: "after.env"}  # in a run's folder, ciphertext


class Screen(preflight.Screen, Protocol):
    """Whoever is shown what happens."""

    def consents(self, book: Playbook, rows: Sequence[Row]) -> bool:
        """Whether the person agrees to the first effect."""

    def follow(self, run: Run) -> AbstractContextManager[Callable[[Run, Event], None]]:
        """A context in which each event is shown once it is recorded."""


class Repository(Protocol):
    def command_to_commit(self, message: str) -> str: ...
    def is_tracked(self) -> bool: ...
    def want_nothing_else_staged(self) -> None: ...
    def commit(self, message: str) -> None: ...


class World(preflight.World, Protocol):
    """All that a use case needs of the world; `keyrotor.world` builds the real one."""

    env: Mapping[str, str]
    folder: Path
    @property
    def stop(self) -> Stop: ...

    @property
    def screen(self) -> Screen: ...
    def now(self) -> datetime: ...
    def inherit(self, lock: int) -> None: ...
    def read_copy(self, source: Source, copy: Path) -> dict[str, Secret]: ...
    def prepare(self, source: Source, ciphertext: bytes, pair: Pair, folder: Path) -> Mapping[Value, bytes]: ...
    def prepared(self, folder: Path) -> Mapping[Value, bytes]: ...
    def discard(self, folder: Path) -> None: ...
    def run_id(self) -> str: ...
    def generate(self, book: Playbook) -> tuple[Secret, str]: ...
    def fingerprinter(self) -> tuple[str, Callable[[Secret], str]]: ...
    def repository(self, file: Path) -> Repository: ...
    def digest(self, data: bytes) -> str: ...


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
    with _locked(world, file):
        _want_nothing_owed(world, file)
        if wish.if_due and not due.is_due(book.every, _last_rotated(world, book), world.now().astimezone()):
            return Report(Outcome.NOT_DUE, Exit.DONE, book.name, reason=f"rotated within this {book.every} already")
        repository = world.repository(file)
        if wish.commit:
            repository.want_nothing_else_staged()
        ready = preflight.check(world, book)
        if not world.screen.consents(book, ready.rows):
            return Report(Outcome.NOTHING_CHANGED, Exit.FAILED, book.name, reason="not agreed to")
        with _journal(world) as journal:
            forget_expired(world, journal)
            run, places, pair = _open(world, journal, book, ready, wish)
            ending = _drive(world, journal, run, places, pair)
            notes = _after(repository, ending, file, wish.commit) + _hints(ready)
            return _report(journal, ending, notes)


def plan_rotation(world: World, name: str | None) -> tuple[Playbook, preflight.Ready]:
    """Everything a rotation does before its first effect, and nothing else."""
    book = playbook.load(playbook.find(name, world.folder, world.env), world.env)
    _want_nothing_owed(world, Path(book.source.file))
    return book, preflight.check(world, book)


def resume(world: World, run_id: str | None, within: Mapping[str, float]) -> Report:
    """Finish the run that is owed, in its present direction; nothing owed is well too."""
    return _go_on(world, run_id, within, lambda run: machine.Resumed("resume"))


def rollback(world: World, run_id: str | None, consents: Callable[[Account], bool]) -> Report:
    """End all old: an owed run, or, by name, the newest closed one."""
    if run_id is not None:
        with _reading(world) as journal:
            account = journal.account(run_id)
            if not account.run.is_owed:
                _want_reversible(journal, account)
                if not consents(account):
                    return Report(Outcome.NOTHING_CHANGED, Exit.FAILED, account.run.plan.playbook, reason="not agreed to")

    def turned(run: Run) -> Event:
        return machine.Resumed("rollback") if run.phase is Phase.BACK else machine.TurnedBack("asked for")

    ended = _go_on(world, run_id, {}, turned)
    return replace(ended, exit=Exit.DONE) if ended.outcome is Outcome.ROLLED_BACK else ended


def abandon(world: World, run_id: str, reason: str) -> Report:
    """Close an owed run as it is."""
    with _reading(world) as journal:
        account = journal.account(run_id)
    with _locked(world, Path(account.run.plan.source.file)), _journal(world) as journal:
        account = journal.account(account.id)
        if not account.run.is_owed:
            raise UsageError(f"cannot abandon run {account.id}: it is closed", hint=f"keyrotor log {account.id}")
        event = machine.Closed(Outcome.ABANDONED, reason)
        journal.append(account.id, event, world.now())
        return _report(journal, Ending(machine.follow(account.run, event), Outcome.ABANDONED, reason), ())


def forget(world: World, run_id: str | None) -> list[str]:
    """Drop the former value's ciphertext of a closed run, or of every closed run; the ids of those forgotten."""
    with _journal(world) as journal:
        accounts = [journal.account(run_id)] if run_id else journal.accounts()
        if run_id and accounts[0].run.is_owed:
            raise UsageError(f"cannot forget run {accounts[0].id}: it is not finished", hint=f"keyrotor resume {accounts[0].id}")
        closed = [account for account in accounts if account.run.phase is Phase.CLOSED]
        return [_forget(world, journal, account) for account in closed]


def forget_expired(world: World, journal: Journal) -> None:
    """Forget the closed runs whose time to keep is over."""
    for account in journal.accounts():
        age = world.now() - (account.closed or world.now())
        if account.run.phase is Phase.CLOSED and age > timedelta(seconds=account.run.plan.keep):
            _forget(world, journal, account)


def accounts(world: World) -> list[Account]:
    """Every run on record, oldest first; none where there is no record."""
    with _reading(world, must=False) as journal:
        return journal.accounts() if journal else []


def _open(
    world: World, journal: Journal, book: Playbook, ready: preflight.Ready, wish: Wish
) -> tuple[Run, Mapping[str, Place], Pair]:
    """Choose the new value; make `before`, `after` and `opened` durable, in this order."""
    run_id = world.run_id()
    folder = journal.folder(run_id)
    _discard_unopened(world, journal)
    new, public = (wish.value, "") if wish.value else world.generate(book)
    pair = replace(ready.pair, new=new)
    fingerprint_key, fingerprint = world.fingerprinter()
    try:
        prepared = world.prepare(book.source, ready.ciphertext, pair, folder)
    except KeyrotorError:
        world.discard(folder)
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


def _discard_unopened(world: World, journal: Journal) -> None:
    """Folders of runs that were killed before they were opened: nothing is owed for them."""
    known = {account.id for account in journal.accounts()}
    runs = journal.folder("x").parent
    for folder in runs.iterdir() if runs.is_dir() else ():
        if folder.name not in known:
            world.discard(folder)


def _drive(world: World, journal: Journal, run: Run, places: Mapping[str, Place], pair: Pair) -> Ending:
    with world.screen.follow(run) as shown:

        def record(event: Event) -> None:
            nonlocal run
            journal.append(run.plan.run, event, world.now())
            run = machine.follow(run, event)
            shown(run, event)

        try:
            return Engine(run, places, pair, record, world.stop).drive()
        except JournalError as error:
            raise OwedError(f"cannot go on with run {run.plan.run}: {error}", hint=_two_ways(run.plan.run)) from None


def _go_on(
    world: World, run_id: str | None, within: Mapping[str, float], begin: Callable[[Run], Event]
) -> Report:
    account = _meant(world, run_id)
    if account is None or (account.run.phase, type(begin(account.run))) not in machine.TRANSITIONS:
        return Report(Outcome.NOTHING_CHANGED, Exit.DONE, reason="nothing is owed")
    source = account.run.plan.source
    with _locked(world, Path(source.file)), _journal(world) as journal:
        account = journal.account(account.id)  # again, now that nobody else can change it
        folder = journal.folder(account.id)
        prepared, pair = _reopened(world, account, folder)
        if unknown := within.keys() - {row.place for row in account.run.plan.rows}:
            raise UsageError(f"cannot set {unknown.pop()}.within: run {account.id} has no such place")
        rows = [replace(row, within=within.get(row.place, row.within)) for row in account.run.plan.rows]
        places = world.places(rows, source, prepared, folder)
        event = begin(account.run)
        journal.append(account.id, event, world.now())
        ending = _drive(world, journal, machine.follow(account.run, event), places, pair)
        return _report(journal, ending, _after(world.repository(Path(source.file)), ending, Path(source.file), False))


def _meant(world: World, run_id: str | None) -> Account | None:
    """The run that is meant: the named one, else the only one owed. Raises UsageError for several."""
    with _reading(world, must=run_id is not None) as journal:
        if journal is None:
            return None
        if run_id is not None:
            return journal.account(run_id)
        owed = journal.owed()
    if len(owed) > 1:
        raise UsageError(f"cannot choose a run: {', '.join(account.id for account in owed)} are owed", hint="keyrotor status")
    return owed[0] if owed else None


def _want_reversible(journal: Journal, account: Account) -> None:
    """Raises UsageError unless this closed run can be rolled back."""
    run = account.run
    if run.phase is Phase.FORGOTTEN:
        raise UsageError(f"cannot roll back run {account.id}: its former value is forgotten")
    if run.goal is Value.OLD:
        raise UsageError(f"cannot roll back run {account.id}: it ended {run.outcome} already")
    same = [other.id for other in journal.accounts() if other.run.plan.source == run.plan.source]
    if same[-1] != account.id:
        raise UsageError(f"cannot roll back run {account.id}: run {same[-1]} came after it")


def _reopened(world: World, account: Account, folder: Path) -> tuple[Mapping[Value, bytes], Pair]:
    """Both values of a run that was opened before. Raises OwedError; nothing is changed then."""
    plan_ = account.run.plan
    try:
        prepared = world.prepared(folder)
        if any(world.digest(prepared[value]) != plan_.ciphertexts[value] for value in Value):
            raise PlaceError(f"cannot trust {folder}: it is not what the run put there")
        before, after = (world.read_copy(plan_.source, folder / name) for name in KEPT.values())
    except KeyrotorError as error:
        why = error if not error.hint else f"{error} (hint: {error.hint})"
        raise OwedError(f"cannot go on with run {account.id}: {why}", hint=_two_ways(account.id)) from None
    key = plan_.source.key
    return prepared, Pair(before[key], after[key], {name: secret for name, secret in before.items() if name != key})


def _want_nothing_owed(world: World, file: Path) -> None:
    with _reading(world, must=False) as journal:
        owed = journal.owed(file) if journal else []
    if owed:
        first = owed[0]
        raise OwedError(
            f"cannot start: run {first.id} of {file.name} is not finished",
            hint=_two_ways(first.id),
        )


def _two_ways(run: str) -> str:
    return f"keyrotor resume {run}  (goes on)   or   keyrotor rollback {run}  (ends all old)"


def _last_rotated(world: World, book: Playbook) -> datetime | None:
    done = (Outcome.ROTATED, Outcome.OLD_ALIVE)
    ends = [
        account.closed.astimezone()
        for account in accounts(world)
        if account.closed and account.run.outcome in done
        and account.run.plan.source.file == book.source.file
        and account.run.plan.source.key == book.source.key
    ]
    return ends[-1] if ends else None


def _after(repository: Repository, ending: Ending, file: Path, commit: bool) -> tuple[str, ...]:
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


def _hints(ready: preflight.Ready) -> tuple[str, ...]:
    return tuple(f"{place}: {why}" for place, why in ready.skipped.items() if why.startswith("refers"))


def _forget(world: World, journal: Journal, account: Account) -> str:
    world.discard(journal.folder(account.id))
    journal.append(account.id, machine.Forgotten(), world.now())
    return account.id


def _report(journal: Journal, ending: Ending, notes: Sequence[str]) -> Report:
    entries = journal.account(ending.run.plan.run).entries
    timed = [(entry.at, entry.event) for entry in entries]
    return report.of_run(ending.run, timed, ending.outcome, ending.reason, notes)


def verify(world: World) -> None:
    """Raises JournalError, naming the first entry of the record that does not follow from the one before it."""
    with _reading(world, must=False) as journal:
        entry = journal.verify() if journal else None
    if entry:
        raise JournalError(
            f"cannot believe the record: entry {entry.seq} ({entry.kind} of run {entry.run}) was changed, or what "
            "stood before it is missing"
        )


@contextmanager
def _locked(world: World, file: Path) -> Iterator[None]:
    if not file.parent.is_dir():
        raise RefusedError(f"cannot read {file}: there is no such folder")
    with lock.held(file) as descriptor:
        world.inherit(descriptor)
        yield


@contextmanager
def _journal(world: World) -> Iterator[Journal]:
    journal = Journal.open(world.state)
    try:
        yield journal
    finally:
        journal.close()


@contextmanager
def _reading(world: World, must: bool = True) -> Iterator[Journal]:
    journal = Journal.peek(world.state)
    if journal is None and must:
        raise UsageError(f"cannot find a run: there is no record in {world.state}")
    try:
        yield journal  # type: ignore[misc]
    finally:
        if journal:
            journal.close()
