"""How long former values are kept, as ciphertext: until somebody asks, until their time is over, never while an open
incident looks for them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from keyrotor.core import machine
from keyrotor.core.machine import Phase
from keyrotor.core.model import Source
from keyrotor.errors import UsageError
from keyrotor.journal import Journal
from keyrotor.ports import World
from keyrotor.session import discard_unopened, locked_if_there


def forget(world: World, run_id: str | None) -> list[str]:
    """Drop the former value's ciphertext of a closed run, or of every closed run; the ids of those forgotten."""
    with Journal.open(world.state) as journal:
        accounts = [journal.account(run_id)] if run_id else journal.accounts()
        if run_id and accounts[0].run.is_owed:
            why = f"cannot forget run {accounts[0].id}: it is not finished"
            raise UsageError(why, hint=f"keyrotor resume {accounts[0].id}")
        kept = looked_for(journal)
        if run_id and (case := kept.get(accounts[0].id)):
            why = f"cannot forget run {accounts[0].id}: its former value is still looked for in incident {case}"
            raise UsageError(why, hint=f"keyrotor incident close {case} --cause …")
        discard_unopened(journal)
        return [each.id for each in accounts if each.id not in kept and _forget_alone(world, journal, each.id)]


def forget_expired(world: World, journal: Journal, source: Source) -> None:
    """Forget the closed runs of this secret whose time to keep is over: with its incident, if it is of one. The caller
    holds its lock."""
    accounts, kept = journal.accounts(), looked_for(journal)
    for account in accounts:
        plan, age = account.run.plan, world.now() - (account.closed or world.now())
        is_over = account.id not in kept and (bool(plan.incident) or age > timedelta(seconds=plan.keep))
        if plan.source.file == source.file and account.run.phase is Phase.CLOSED and is_over:
            _forget(world, journal, account.id)


def looked_for(journal: Journal) -> Mapping[str, str]:
    """The runs whose former value an open incident looks for: run -> incident. Its own, and those of the same keys that
    ended since the key is exposed; of any key, as long as nothing tells which it is of."""
    if not journal.knows_incidents:
        return {}
    from keyrotor import casebook  # some ms, which a rotation need not pay

    found, accounts = {}, journal.accounts()
    for docket in casebook.still_open(journal.state):
        case = docket.incident.case
        mine = [each.run.plan.source for each in accounts if each.run.plan.incident == case.id]
        since = datetime.fromisoformat(case.exposed or case.detected)
        for account in accounts:
            is_of = not mine or any(account.run.plan.source.is_of(source) for source in mine)
            if account.run.plan.incident == case.id or (is_of and (account.closed is None or account.closed >= since)):
                found[account.id] = case.id
    return found


def _forget_alone(world: World, journal: Journal, run_id: str) -> bool:
    """Forget the run if it is closed, under its secret's lock: a rollback may be using what is to go."""
    with locked_if_there(world, journal.account(run_id)):
        if journal.account(run_id).run.phase is not Phase.CLOSED:
            return False
        _forget(world, journal, run_id)
        return True


def _forget(world: World, journal: Journal, run_id: str) -> None:
    journal.discard(run_id)
    journal.append(run_id, machine.Forgotten(), world.now())
