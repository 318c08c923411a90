"""What the record says, read whole: for everything that has to know more than one run of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from keyrotor import source
from keyrotor.core.model import Source
from keyrotor.core.recorded import Leak, Past, Recorded
from keyrotor.core.report import outage
from keyrotor.errors import PlaybookError
from keyrotor.journal import Account, Journal

if TYPE_CHECKING:
    from keyrotor.casebook import Docket
    from keyrotor.core.incident_events import Case


def recorded(journal: Journal, env: Mapping[str, str]) -> Recorded:
    """The runs, the clock, the incidents that are open. Raises JournalError."""
    accounts = journal.accounts()
    stamps = sorted((entry.seq, entry.at) for account in accounts for entry in account.entries)
    return Recorded(tuple(map(_past, accounts)), tuple(stamps), leaks=_leaks(journal, accounts, env))


def _past(account: Account) -> Past:
    away = outage(account.run, ((entry.at, entry.event) for entry in account.entries))
    first, last = account.entries[0], account.entries[-1]
    return Past(account.run, first.seq, account.opened, account.closed, away, last.at, last.seq)


def _leaks(journal: Journal, accounts: Sequence[Account], env: Mapping[str, str]) -> tuple[Leak, ...]:
    if not journal.knows_incidents:
        return ()
    from keyrotor import casebook  # some ms, where there is no incident

    return tuple(_leak(docket, accounts, env) for docket in casebook.still_open(journal.state))


def _leak(docket: Docket, accounts: Sequence[Account], env: Mapping[str, str]) -> Leak:
    of, runs = docket.incident, [each.run for each in accounts if each.run.plan.incident == docket.id]
    tasks = [*of.open_tasks, *(task for run in runs for task in run.open_tasks)]
    return Leak(docket.id, docket.opened, tuple(_sources(of.case, env)), len(of.open_steps), len(tasks))


def _sources(case: Case, env: Mapping[str, str]) -> Iterator[Source]:
    for path in case.playbooks.values():
        with suppress(PlaybookError):  # it is gone, or broken; its runs tell
            yield source.load(Path(path), env)
