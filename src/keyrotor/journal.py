"""The runs on record: their events in the chain of chain.py, and a folder of ciphertext for each.

Rules:
1. An event is durable when `append` returns, and is only ever added.
2. There is no value in it: keyed fingerprints only. `before` and `after` in a run's folder are ciphertext.
3. A run's id is hex digits alone. Incidents are streams of the same chain (casebook.py), and no query here sees them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec

from keyrotor import chain
from keyrotor.boundary import files
from keyrotor.chain import SCHEMA, Chain
from keyrotor.core.head import Verdict
from keyrotor.core.machine import EVENTS, Event, Run, fold
from keyrotor.core.marks import INCIDENT
from keyrotor.errors import JournalError, UsageError

__all__ = ["SCHEMA", "Account", "Entry", "Journal"]

_KINDS = {kind: name for name, kind in EVENTS.items()}
_AFTER_THE_END = ("closed", "forgotten", "done")  # what is done after the end does not begin the run again


@dataclass(frozen=True, slots=True)
class Entry(chain.Entry):
    """One event of a run as it was recorded."""

    @property
    def event(self) -> Event:
        return msgspec.json.decode(self.data, type=EVENTS[self.kind])


@dataclass(frozen=True, slots=True)
class Account:
    """All that is recorded of one run."""

    entries: tuple[Entry, ...]
    run: Run

    @property
    def id(self) -> str:
        return self.entries[0].run

    @property
    def opened(self) -> datetime:
        return self.entries[0].at

    @property
    def closed(self) -> datetime | None:
        """When the run came to its present end; None while it is owed."""
        ends = [entry.at for entry in self.entries if entry.kind == "closed"]
        return ends[-1] if ends and not self.run.is_owed else None


class Journal:
    """The runs in one state folder."""

    def __init__(self, rows: Chain) -> None:
        self.rows = rows
        self.state = rows.state

    @classmethod
    def open(cls, state: Path) -> Journal:
        """For writing; made if there is none. Raises JournalError, PlaceError."""
        return cls(Chain.open(state))

    @classmethod
    def peek(cls, state: Path) -> Journal:
        """For reading only. Where there is no record yet it is empty. Raises JournalError."""
        return cls(Chain.peek(state))

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.rows.close()

    def append(self, run: str, event: Event, at: datetime) -> None:
        """Record one event, durably."""
        self.append_all(run, (event,), at)

    def append_all(self, run: str, events: Sequence[Event], at: datetime) -> None:
        """Record these events, durably: all of them, or none."""
        self.rows.append(run, [(_KINDS[type(event)], msgspec.json.encode(event).decode()) for event in events], at)

    @property
    def knows_incidents(self) -> bool:
        """Whether there ever was one."""
        return bool(self.rows.streams(INCIDENT))

    def account(self, run: str) -> Account:
        """The run of that id, or that it begins with. Raises UsageError for none or several."""
        ids = self._runs(run)
        if len(ids) != 1:
            known = "no such run" if not ids else f"several runs begin with it: {', '.join(ids)}"
            raise UsageError(f"cannot find run {run}: {known}", hint="keyrotor log")
        return self._account(ids[0])

    def accounts(self) -> list[Account]:
        """Every run, oldest first."""
        return [self._account(run) for run in self._runs()]

    def owed(self, secret_file: Path | None = None) -> list[Account]:
        """The runs that were not finished, oldest first; of one secret file, or of all."""
        ids = [last.run for last in self._lasts() if last.kind not in _AFTER_THE_END]
        owed = [account for account in map(self._account, ids) if account.run.is_owed]
        return [one for one in owed if secret_file is None or one.run.plan.source.file == str(secret_file)]

    def last(self) -> int:
        """The number of the last entry of any run; 0 if there is none."""
        return max((last.seq for last in self._lasts()), default=0)

    def knows(self, run: str) -> bool:
        """Whether a run of that id is on record, or is being opened."""
        return run in self._runs(run) or files.exists(self.folder(run))

    def folder(self, run: str) -> Path:
        """Where the run keeps `before` and `after`."""
        return self.folders / run

    @property
    def folders(self) -> Path:
        """Where those of all runs are."""
        return self.state / "runs"

    def discard(self, run: str) -> None:
        """Drop the run's ciphertext."""
        files.remove_folder(self.folder(run))

    def discard_unopened(self) -> None:
        """Drop what runs left that were killed before they were opened: nothing is owed for them. Nobody may be opening
        one just now."""
        known = set(self._runs())
        for folder in self.folders.glob("*"):
            if folder.name not in known:
                files.remove_folder(folder)

    def verify(self, *, asks_keyring: bool = False) -> Verdict:
        """The whole record, incidents and all, against itself and the head that was signed last."""
        return self.rows.verify(asks_keyring=asks_keyring)

    def sign(self) -> tuple[str, ...]:
        """Sign the head of the record; what is to be said of that. Closing signs it too, and says nothing."""
        return self.rows.sign()

    def _runs(self, prefix: str = "") -> list[str]:
        return [stream for stream in self.rows.streams(prefix) if not stream.startswith(INCIDENT)]

    def _lasts(self) -> list[chain.Entry]:
        return [last for last in self.rows.lasts() if not last.run.startswith(INCIDENT)]

    def _account(self, run: str) -> Account:
        rows = self.rows.entries(run)
        entries = tuple(Entry(row.seq, row.run, row.stamp, row.kind, row.data, row.chain) for row in rows)
        try:
            return Account(entries, fold(entry.event for entry in entries if entry.at))
        except (msgspec.DecodeError, KeyError, ValueError):
            hint = f"use the keyrotor that wrote it; or, if nothing is owed, move {self.state} away"
            raise JournalError(f"cannot read run {run}: its record is not of this version", hint=hint) from None
