"""The use cases about runs on record: finish one, take one back, close one, forget one, tell of them all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from keyrotor import drift
from keyrotor.core import machine
from keyrotor.core.head import Verdict
from keyrotor.core.lineage import lineage
from keyrotor.core.machine import ASKED, Event, Phase, Run
from keyrotor.core.model import Outcome, Row, Source, Task, Value
from keyrotor.core.report import Report
from keyrotor.core.stores import with_begun
from keyrotor.core.urgent import NONE, at
from keyrotor.core.ways import brings_back_leaked
from keyrotor.engine import Ending
from keyrotor.errors import Exit, PlaceError, RefusedError, UsageError
from keyrotor.journal import Account, Journal
from keyrotor.ports import Place, World
from keyrotor.secret import Pair, Secret
from keyrotor.session import KEPT, drive, locked, locked_if_there, owing, report_of, signed_late, what_to_commit


def resume(world: World, run_id: str | None, within: Mapping[str, float], doors: Mapping[str, str] = NONE) -> Report:
    """Finish the run that is owed, in its present direction; nothing owed is well too. `doors` are those that are
    reached at another address than when it was opened: place -> url."""
    return _go_on(world, run_id, within, lambda run: machine.Resumed("resume"), doors)


def rollback(world: World, run_id: str | None, consents: Callable[[Account], bool]) -> Report:
    """End all old: an owed run, or, by name, the newest closed one. `consents` is asked for a closed run, and for one
    that would bring a leaked value back."""
    run_id = run_id or _leaking(world)
    if run_id is not None:
        with Journal.peek(world.state) as journal:
            account = journal.account(run_id)
            _want_way_back(account.run)
            if not account.run.is_owed:
                _want_reversible(journal, account)
            must_ask = not account.run.is_owed or brings_back_leaked(account.run)
            if must_ask and not consents(account):
                book = account.run.plan.playbook
                return Report(Outcome.NOTHING_CHANGED, Exit.FAILED, book, reason="not agreed to")

    def turned(run: Run) -> Event:
        _want_way_back(run)
        return machine.Resumed("rollback") if run.phase is Phase.BACK else machine.TurnedBack(ASKED)

    ended = _go_on(world, run_id, {}, turned)
    return replace(ended, exit=Exit.DONE) if ended.outcome is Outcome.ROLLED_BACK else ended


def _leaking(world: World) -> str | None:
    """The run that is owed, if its rollback must be confirmed."""
    account = _meant(world, None)
    return account.id if account and brings_back_leaked(account.run) else None


def abandon(world: World, run_id: str, reason: str) -> Report:
    """Close an owed run as it is."""
    with Journal.peek(world.state) as journal:
        account = journal.account(run_id)
    with locked_if_there(world, account), Journal.open(world.state) as journal:
        account = journal.account(account.id)
        if not account.run.is_owed:
            raise UsageError(f"cannot abandon run {account.id}: it is closed", hint=f"keyrotor log {account.id}")
        notes = _tidied(world, account.run)
        event = machine.Closed(Outcome.ABANDONED, reason)
        journal.append(account.id, event, world.now())
        return report_of(journal, Ending(machine.follow(account.run, event), Outcome.ABANDONED, reason), notes)


def _tidied(world: World, run: Run) -> tuple[str, ...]:
    """Nobody will put these files again: what a killed write left holds both values. Why it could not be cleared away,
    if so."""
    try:
        world.tidy(run.plan.rows)
    except PlaceError as error:
        return (f"{error}; what a killed write left beside it may hold a value (keyrotor audit)",)
    return ()


def done(world: World, name: str) -> Task:
    """Tick off what a person has done. Raises UsageError for what is not open."""
    with Journal.peek(world.state) as journal:
        account = journal.account(name.rpartition("-")[0] or name)
    with locked_if_there(world, account), Journal.open(world.state) as journal:
        tasks = journal.account(account.id).run.open_tasks
        task = next((task for task in tasks if task.id == f"{account.id}-{name.rpartition('-')[2]}"), None)
        if task is None:
            raise UsageError(f"cannot tick off {name}: nothing of that name is left to do", hint="keyrotor status")
        journal.append(account.id, machine.Done(task.row), world.now())
        return task


def accounts(world: World) -> list[Account]:
    """Every run on record, oldest first; none where there is no record."""
    with Journal.peek(world.state) as journal:
        return journal.accounts()


def verify(world: World) -> Verdict:
    """What a whole look at the record gives, with the key that signs it, if that is here. Raises JournalError."""
    with Journal.peek(world.state) as journal:
        return journal.verify(asks_keyring=True)


def _go_on(
    world: World,
    run_id: str | None,
    within: Mapping[str, float],
    begin: Callable[[Run], Event],
    doors: Mapping[str, str] = NONE,
) -> Report:
    account = _meant(world, run_id)
    if account is None or (account.run.phase, type(begin(account.run))) not in machine.TRANSITIONS:
        return Report(Outcome.NOTHING_CHANGED, Exit.DONE, reason="nothing is owed", notes=signed_late(world))
    file = Path(account.run.plan.source.file)
    owed = owing(account.run) if account.run.is_owed else nullcontext()
    with owed, locked(world, file), Journal.open(world.state) as journal:
        if account.run.is_owed and not journal.account(account.id).run.is_owed:  # nobody was asked to undo it
            raise UsageError(f"cannot go on with run {account.id}: it has just ended", hint="keyrotor status")
        ending = _taken_up(world, journal, account.id, within, begin, doors)
        notes = journal.sign()
    with Journal.peek(world.state) as journal:
        return report_of(journal, ending, (*what_to_commit(world.repository(file), ending, file, False), *notes))


def _taken_up(
    world: World,
    journal: Journal,
    run_id: str,
    within: Mapping[str, float],
    begin: Callable[[Run], Event],
    doors: Mapping[str, str],
) -> Ending:
    """Read the run again, now that nobody else can change it, and drive it on."""
    account = journal.account(run_id)
    plan = account.run.plan
    if not account.run.is_owed:
        _want_reversible(journal, account)
    if unknown := within.keys() - {row.place for row in plan.rows}:
        raise UsageError(f"cannot set {unknown.pop()}.within: run {run_id} has no such place")
    folder = journal.folder(run_id)
    prepared = _reopened(world, account, folder)
    rows = [
        replace(row, within=within.get(row.place, row.within), options={**row.options, **at(row.place, doors)})
        for row in with_begun(plan.rows, account.run)
    ]
    places = world.places(rows, plan.source, prepared, folder)
    pair = _pair(world, journal, account, rows, places)
    event = begin(account.run)
    run = machine.follow(account.run, event)
    journal.append(run_id, event, world.now())
    return drive(world, journal, run, places, pair)


def _meant(world: World, run_id: str | None) -> Account | None:
    """The run that is meant: the named one, else the only one owed. Raises UsageError for several."""
    with Journal.peek(world.state) as journal:
        if run_id is not None:
            return journal.account(run_id)
        owed = journal.owed()
    if len(owed) > 1:
        names = ", ".join(account.id for account in owed)
        raise UsageError(f"cannot choose a run: {names} are owed", hint="keyrotor status")
    return owed[0] if owed else None


def _want_way_back(run: Run) -> None:
    """Raises UsageError for a repair: what stood there before it was a mixture, and is not kept. And where an incident
    has begun with what could not be put back."""
    if why := run.plan.no_way_back if run.has_way_back else "a repair has no way back":
        hint = f"keyrotor resume {run.plan.run}" if run.is_owed else "keyrotor rotate"
        raise UsageError(f"cannot roll back run {run.plan.run}: {why}", hint=hint)


def _want_reversible(journal: Journal, account: Account) -> None:
    """Raises UsageError unless this closed run can be rolled back."""
    run = account.run
    if run.phase is Phase.FORGOTTEN:
        raise UsageError(f"cannot roll back run {account.id}: its former value is forgotten")
    if run.goal is Value.OLD:
        raise UsageError(f"cannot roll back run {account.id}: it ended {run.outcome} already")
    runs = [other.run for other in journal.accounts() if other.run.plan.source.is_of(run.plan.source)]
    later = runs[[other.plan.run for other in runs].index(account.id) + 1 :]
    if others := [other for other in later if not _keeps(other, run)]:
        raise UsageError(f"cannot roll back run {account.id}: run {others[-1].plan.run} came after it")


def _keeps(repair: Run, run: Run) -> bool:
    """Whether a later run has only put the value again that this one had left."""
    marks, known = repair.plan.fingerprints, run.plan.fingerprints
    is_same = (repair.plan.fingerprint_key, marks[Value.NEW]) == (run.plan.fingerprint_key, known[Value.NEW])
    return repair.outcome is Outcome.REPAIRED and is_same


def _reopened(world: World, account: Account, folder: Path) -> Mapping[Value, bytes]:
    """The ciphertexts of a run that was opened before. Raises PlaceError; nothing is changed then."""
    ciphertexts = account.run.plan.ciphertexts
    prepared = world.prepared(folder, ciphertexts)
    if any(world.digest(data) != ciphertexts[value] for value, data in prepared.items()):
        raise PlaceError(f"cannot trust {folder}: it is not what the run put there")
    return prepared


def _pair(world: World, journal: Journal, account: Account, rows: Sequence[Row], places: Mapping[str, Place]) -> Pair:
    """The values of a run that was opened before. A repair's former ones are looked for again, where they stand."""
    plan = account.run.plan
    source, folder = plan.source, journal.folder(account.id)
    held = {value: world.read_copy(source, folder / KEPT[value]) for value in plan.ciphertexts}
    new = held[Value.NEW][source.key]
    siblings = {name: one for name, one in _present(world, source, held[Value.NEW]).items() if name != source.key}
    if account.run.has_way_back:
        return Pair(held[Value.OLD][source.key], new, siblings, is_leaked=bool(plan.incident))
    known = lineage((each.run for each in journal.accounts()), source, plan.fingerprint_key)
    pair, _ = drift.pair_of(world, rows, places, new, siblings, known)
    if Value.OLD not in held:
        return pair
    # What the gateway had run with is kept, for the proof that it is dead; all else that was met is stale.
    old = held[Value.OLD][source.key]
    stale = [one for one in (pair.old, *pair.stale) if not world.are_same(one, old)]
    return replace(pair, old=old, stale=tuple(stale))


def _present(world: World, source: Source, kept: Mapping[str, Secret]) -> Mapping[str, Secret]:
    """Every value of the encrypted file as it is now: a person may have put another token there, so that the run can
    go on. As the run kept them where it cannot be read."""
    try:
        return world.read_secret(source, to_set=False)[1]
    except (PlaceError, RefusedError):
        return kept
