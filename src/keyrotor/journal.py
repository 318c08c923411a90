"""The record: one SQLite file of hash-chained events, and a folder of ciphertext for each run.

Rules:
1. An event is durable when `append` returns (rollback journal, synchronous=EXTRA: also the folder's names).
2. Events are only ever added. Each carries the hash of the one before it.
3. There is no value in it: keyed fingerprints only. `before` and `after` in a run's folder are ciphertext.
4. A reader writes nothing, not even a lock file's name.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec

from keyrotor.boundary import files
from keyrotor.core.machine import EVENTS, Event, Run, fold
from keyrotor.errors import JournalError, UsageError

SCHEMA = 1
YOUNG = 3600.0  # seconds; opening a run takes less than one
_FILE = "journal.sqlite3"
_TABLES = (
    """CREATE TABLE events (
        seq INTEGER PRIMARY KEY, run TEXT NOT NULL, at TEXT NOT NULL, kind TEXT NOT NULL, data TEXT NOT NULL,
        chain TEXT NOT NULL
    ) STRICT""",
    "CREATE INDEX events_of_run ON events (run)",
)
_KINDS = {kind: name for name, kind in EVENTS.items()}
_COLUMNS = "seq, run, at, kind, data, chain"
_START = "0" * 64


@dataclass(frozen=True, slots=True)
class Entry:
    """One event as it was recorded."""

    seq: int
    run: str
    stamp: str
    kind: str
    data: str
    chain: str

    @property
    def at(self) -> datetime:
        return datetime.fromisoformat(self.stamp)

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
    """The record in one state folder."""

    def __init__(self, state: Path, database: sqlite3.Connection) -> None:
        self.state = state
        self._database = database

    @classmethod
    def open(cls, state: Path) -> Journal:
        """For writing; made if there is none. Raises JournalError, PlaceError."""
        files.make_folder(state)
        path = state / _FILE
        files.create_if_absent(path)
        journal = cls(state, _connected(f"file:{_quoted(path)}?mode=rw"))
        with journal._telling("open"):
            journal._database.execute("PRAGMA synchronous=EXTRA")
            journal._make_tables()
        journal._want_version()
        return journal

    @classmethod
    def peek(cls, state: Path) -> Journal:
        """For reading only. Where there is no record yet it is empty. Raises JournalError."""
        path = state / _FILE
        if not _is_there(path):
            return cls._empty(state)
        journal = cls(state, _connected(f"file:{_quoted(path)}?mode=ro"))
        try:
            version = journal._version()
        except sqlite3.OperationalError:
            if not files.exists(state / f"{_FILE}-journal"):
                raise JournalError(f"cannot read the record in {state}") from None
            # A writer was killed in mid-write. Only a writer can mend that, and nobody may be kept from reading.
            journal = cls(state, _connected(f"file:{_quoted(path)}?mode=rw"))
            with journal._telling("read"):
                version = journal._version()
        except sqlite3.DatabaseError as error:
            raise JournalError(f"cannot read the record in {state}: {error}") from None
        if version == 0:  # its maker was killed before the first event
            return cls._empty(state)
        journal._want_version()
        return journal

    @classmethod
    def _empty(cls, state: Path) -> Journal:
        journal = cls(state, _connected("file::memory:"))
        journal._make_tables()
        return journal

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def _make_tables(self) -> None:
        """Once, whoever comes first."""
        if self._version() == 0:
            self._database.execute("BEGIN IMMEDIATE")
            if self._version() == 0:
                for statement in (*_TABLES, f"PRAGMA user_version={SCHEMA}"):
                    self._database.execute(statement)
            self._database.execute("COMMIT")

    def append(self, run: str, event: Event, at: datetime) -> None:
        """Record one event, durably."""
        self.append_all(run, (event,), at)

    def append_all(self, run: str, events: Sequence[Event], at: datetime) -> None:
        """Record these events, durably: all of them, or none."""
        with self._telling("write"), self._database:
            self._database.execute("BEGIN IMMEDIATE")
            last = self._database.execute("SELECT seq, chain FROM events ORDER BY seq DESC LIMIT 1").fetchone()
            seq, chain = last or (0, _START)
            for event in events:
                seq += 1
                row = (seq, run, at.isoformat(), _KINDS[type(event)], msgspec.json.encode(event).decode())
                chain = _chained(chain, *row)
                self._database.execute(f"INSERT INTO events ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)", (*row, chain))

    def account(self, run: str) -> Account:
        """The run of that id, or that it begins with. Raises UsageError for none or several."""
        with self._telling("read"):
            query = "SELECT DISTINCT run FROM events WHERE substr(run, 1, ?) = ?"
            ids = [str(row[0]) for row in self._database.execute(query, (len(run), run))]
        if len(ids) != 1:
            known = "no such run" if not ids else f"several runs begin with it: {', '.join(ids)}"
            raise UsageError(f"cannot find run {run}: {known}", hint="keyrotor log")
        return self._account(ids[0])

    def accounts(self) -> list[Account]:
        """Every run, oldest first."""
        with self._telling("read"):
            ids = [
                str(row[0]) for row in self._database.execute("SELECT run FROM events GROUP BY run ORDER BY min(seq)")
            ]
        return [self._account(run) for run in ids]

    def owed(self, secret_file: Path | None = None) -> list[Account]:
        """The runs that were not finished, oldest first; of one secret file, or of all."""
        # What is done after the end does not begin the run again.
        query = """SELECT run FROM events WHERE seq IN (SELECT max(seq) FROM events GROUP BY run)
                   AND kind NOT IN ('closed', 'forgotten', 'done') ORDER BY seq"""
        with self._telling("read"):
            ids = [str(row[0]) for row in self._database.execute(query)]
        owed = [account for account in map(self._account, ids) if account.run.is_owed]
        return [one for one in owed if secret_file is None or one.run.plan.source.file == str(secret_file)]

    def last(self) -> int:
        """The number of the last entry; 0 if there is none."""
        with self._telling("read"):
            return int(self._database.execute("SELECT coalesce(max(seq), 0) FROM events").fetchone()[0])

    def knows(self, run: str) -> bool:
        """Whether a run of that id is on record, or is being opened."""
        with self._telling("read"):
            row = self._database.execute("SELECT 1 FROM events WHERE run = ? LIMIT 1", (run,)).fetchone()
        return row is not None or files.exists(self.folder(run))

    def folder(self, run: str) -> Path:
        """Where the run keeps `before` and `after`."""
        return self.state / "runs" / run

    def discard(self, run: str) -> None:
        """Drop the run's ciphertext."""
        files.remove_folder(self.folder(run))

    def discard_unopened(self, now: datetime) -> None:
        """Drop what runs left that were killed before they were opened: nothing is owed for them.

        A young folder may be a run of another secret file that is being opened just now.
        """
        with self._telling("read"):
            known = {str(row[0]) for row in self._database.execute("SELECT DISTINCT run FROM events")}
        for folder in self.folder("any").parent.glob("*"):
            if folder.name not in known and now.timestamp() - folder.stat().st_mtime > YOUNG:
                files.remove_folder(folder)

    def verify(self) -> Entry | None:
        """The first entry whose hash does not follow from the one before it; None if the chain is whole."""
        chain, seq = _START, 0
        for entry in self._entries("ORDER BY seq"):
            chain, seq = _chained(chain, entry.seq, entry.run, entry.stamp, entry.kind, entry.data), seq + 1
            if entry.chain != chain or entry.seq != seq:
                return entry
        return None

    def _account(self, run: str) -> Account:
        entries = tuple(self._entries("WHERE run = ? ORDER BY seq", run))
        try:
            return Account(entries, fold(entry.event for entry in entries if entry.at))
        except (msgspec.DecodeError, KeyError, ValueError):
            hint = f"use the keyrotor that wrote it; or, if nothing is owed, move {self.state} away"
            raise JournalError(f"cannot read run {run}: its record is not of this version", hint=hint) from None

    def _entries(self, clause: str, *values: str) -> Iterator[Entry]:
        with self._telling("read"):
            rows = self._database.execute(f"SELECT {_COLUMNS} FROM events {clause}", values).fetchall()
        for seq, run, at, kind, data, chain in rows:
            yield Entry(seq, run, at, kind, data, chain)

    def _version(self) -> int:
        return int(self._database.execute("PRAGMA user_version").fetchone()[0])

    def _want_version(self) -> None:
        with self._telling("read"):
            version = self._version()
        if version != SCHEMA:
            raise JournalError(
                f"cannot use the record in {self.state}: its schema is {version}, this keyrotor reads {SCHEMA}",
                hint="use the keyrotor that wrote it, or a newer one",
            )

    @contextmanager
    def _telling(self, verb: str) -> Iterator[None]:
        """Turns SQLite's errors into ours."""
        try:
            yield
        except sqlite3.Error as error:
            raise JournalError(f"cannot {verb} the record in {self.state}: {error}") from None


def _is_there(path: Path) -> bool:
    """Whether there is a record. One that we may not read is not none: runs may be owed in it. Raises JournalError."""
    try:
        os.stat(path)
        is_ours = os.access(path, os.R_OK, effective_ids=os.access in os.supports_effective_ids)
        why = "" if is_ours else "permission denied"
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        why = files.why(error)
    if why:
        hint = f"ls -ld {shlex.quote(str(path.parent))}  (run keyrotor as the user whose it is)"
        raise JournalError(f"cannot read the record in {path.parent}: {why}", hint=hint)
    return True


def _connected(uri: str) -> sqlite3.Connection:
    try:
        return sqlite3.connect(uri, uri=True, timeout=10.0, isolation_level=None)
    except sqlite3.Error as error:
        raise JournalError(f"cannot open the record: {error}") from None


def _quoted(path: Path) -> str:
    return str(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def _chained(chain: str, *row: object) -> str:
    return hashlib.sha256("\0".join((chain, *map(str, row))).encode()).hexdigest()
