"""Incidents on record: streams of the same chain as the runs, read by `core.incident.fold` and by nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec

from keyrotor.chain import Chain, Entry
from keyrotor.core import incident
from keyrotor.core.incident import Incident
from keyrotor.core.incident_events import EVENTS, PREFIX, Event
from keyrotor.errors import JournalError, UsageError

_KINDS = {kind: name for name, kind in EVENTS.items()}


@dataclass(frozen=True, slots=True)
class Docket:
    """All that is recorded of one incident."""

    timed: tuple[tuple[datetime, Event], ...]
    incident: Incident

    @property
    def id(self) -> str:
        return self.incident.case.id

    @property
    def opened(self) -> datetime:
        return self.timed[0][0]

    @property
    def closed(self) -> datetime | None:
        return self.timed[-1][0] if self.incident.is_closed else None


class Casebook:
    """The incidents of one state folder."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain

    @classmethod
    @contextmanager
    def open(cls, state: Path) -> Iterator[Casebook]:
        """For writing. Raises JournalError, PlaceError."""
        with Chain.open(state) as chain:
            yield cls(chain)

    @classmethod
    @contextmanager
    def peek(cls, state: Path) -> Iterator[Casebook]:
        """For reading only. Raises JournalError."""
        with Chain.peek(state) as chain:
            yield cls(chain)

    def append(self, case: str, event: Event, at: datetime) -> None:
        """Record one event, durably. Raises JournalError for one that cannot follow what is on record."""
        incident.fold([*map(_event, self._chain.entries(case)), event])
        self._chain.append(case, [(_KINDS[type(event)], msgspec.json.encode(event).decode())], at)

    def dockets(self) -> list[Docket]:
        """Every incident, oldest first."""
        return [self._docket(case) for case in self._chain.streams(PREFIX)]

    def docket(self, case: str) -> Docket:
        """The incident of that id, or that it begins with. Raises UsageError for none or several."""
        asked = case if case.startswith(PREFIX) else PREFIX + case
        found = [each for each in self._chain.streams(PREFIX) if each.startswith(asked)]
        if len(found) != 1:
            known = "no such incident" if not found else f"several begin with it: {', '.join(found)}"
            raise UsageError(f"cannot find incident {case}: {known}", hint="keyrotor incident status")
        return self._docket(found[0])

    def _docket(self, case: str) -> Docket:
        entries = tuple(self._chain.entries(case))
        try:
            timed = tuple((entry.at, _event(entry)) for entry in entries)
            return Docket(timed, incident.fold(event for _, event in timed))
        except (msgspec.DecodeError, KeyError, ValueError):
            hint = "use the keyrotor that wrote it"
            raise JournalError(f"cannot read incident {case}: its record is not of this version", hint=hint) from None


def dockets(state: Path) -> list[Docket]:
    """Every incident on record, oldest first."""
    with Casebook.peek(state) as casebook:
        return casebook.dockets()


def still_open(state: Path) -> list[Docket]:
    """Those that are not closed, oldest first."""
    return [docket for docket in dockets(state) if not docket.incident.is_closed]


def docket(state: Path, case: str) -> Docket:
    """The incident of that id, or that it begins with. Raises UsageError."""
    with Casebook.peek(state) as casebook:
        return casebook.docket(case)


def _event(entry: Entry) -> Event:
    return msgspec.json.decode(entry.data, type=EVENTS[entry.kind])
