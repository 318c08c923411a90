"""What the record says, read whole: for everything that has to know more than one run of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keyrotor.core.recorded import Leak, Past, Recorded
from keyrotor.core.report import outage
from keyrotor.journal import Account, Journal

if TYPE_CHECKING:
    from keyrotor.casebook import Docket


def recorded(journal: Journal) -> Recorded:
    """The runs, the clock, the incidents that are open. Raises JournalError."""
    accounts = journal.accounts()
    stamps = sorted((entry.seq, entry.at) for account in accounts for entry in account.entries)
    return Recorded(tuple(map(_past, accounts)), tuple(stamps), leaks=_leaks(journal))


def _past(account: Account) -> Past:
    away = outage(account.run, ((entry.at, entry.event) for entry in account.entries))
    first, last = account.entries[0], account.entries[-1]
    return Past(account.run, first.seq, account.opened, account.closed, away, last.at, last.seq)


def _leaks(journal: Journal) -> tuple[Leak, ...]:
    if not journal.knows_incidents:
        return ()
    from keyrotor import casebook  # some ms, where there is no incident

    return tuple(map(_leak, casebook.still_open(journal.state)))


def _leak(docket: Docket) -> Leak:
    of = docket.incident
    return Leak(docket.id, docket.opened, frozenset(of.case.playbooks.values()), len(of.open_steps), len(of.open_tasks))
