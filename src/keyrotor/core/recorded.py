"""What the record says of runs and of the clock, read once for everything that an audit looks at. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from keyrotor.core import decide, urgent
from keyrotor.core.machine import Run
from keyrotor.core.model import Outcome, Playbook, Source


@dataclass(frozen=True, slots=True)
class Past:
    """One run, and when it was."""

    run: Run
    first: int  # the number of its first entry
    opened: datetime
    closed: datetime | None  # when it came to its present end; None while it is owed
    outage: float | None  # seconds
    latest: datetime | None = None  # the time of its last entry
    last: int = 0  # the number of its last entry

    @property
    def outcome(self) -> Outcome:
        """How it ended; `stuck` or `interrupted` while it is owed."""
        if self.run.outcome and not self.run.is_owed:
            return self.run.outcome
        return Outcome.STUCK if decide.is_stuck(self.run) else Outcome.INTERRUPTED


@dataclass(frozen=True, slots=True)
class Leak:
    """An incident that is open."""

    case: str
    opened: datetime
    sources: tuple[Source, ...]  # of its playbooks, as far as they can be read
    steps: int  # to go
    tasks: int  # for people, those of its runs among them


@dataclass(frozen=True, slots=True)
class Recorded:
    """The whole record; empty where there is none."""

    runs: tuple[Past, ...] = ()  # oldest first
    stamps: tuple[tuple[int, datetime], ...] = ()  # every entry's number and time, in the order of the record
    broken: str = ""  # the first thing that is wrong with its chain or its signed head; "" if it is whole
    fault: str = ""  # why it cannot be read; "" if it can
    hint: str = ""
    leaks: tuple[Leak, ...] = ()  # oldest first

    def of(self, source: Source) -> tuple[Past, ...]:
        """The runs of this key, oldest first."""
        return tuple(past for past in self.runs if past.run.plan.source.is_of(source))

    def owed(self, source: Source) -> tuple[Past, ...]:
        """The runs of this encrypted file, whichever key, that were not finished."""
        return tuple(past for past in self.about(source) if past.run.is_owed)

    def about(self, source: Source) -> tuple[Past, ...]:
        """The runs of this encrypted file, whichever key: two looks at the record between which they did not change
        give the same."""
        return tuple(past for past in self.runs if past.run.plan.source.file == source.file)

    def leaks_of(self, book: Playbook) -> tuple[Leak, ...]:
        """The open incidents of this playbook's key."""
        runs = {past.run.plan.incident for past in self.of(book.source)}
        return tuple(leak for leak in self.leaks if leak.case in runs or any(map(book.source.is_of, leak.sources)))

    def is_replaced(self, leak: Leak, source: Source) -> bool:
        """Whether the key was replaced since the incident was opened, and nobody has brought it back. A repair replaces
        nothing."""
        since = (past.run for past in self.of(source) if past.opened >= leak.opened)
        return any(run.has_way_back and urgent.is_replaced(run) for run in since)

    def last_rotation(self, source: Source) -> Past | None:
        """The run from which the key's age is reckoned."""
        return next((past for past in reversed(self.of(source)) if past.closed and past.run.has_rotated), None)
