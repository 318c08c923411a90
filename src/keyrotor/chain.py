"""The file of the record: one SQLite table of hash-chained rows, each of one stream. Knows nothing of what they mean.

Rules:
1. Rows are durable when `append` returns (rollback journal, synchronous=EXTRA: also the folder's names).
2. Rows are only ever added. Each carries the hash of the one before it, of whatever stream.
3. A reader writes nothing, not even a lock file's name.
4. Who has written has the head signed when it closes, and only if what was signed last is still part of the chain. That
   it could not be signed fails nobody. The head only ever goes forward: it is signed while nobody else can write.
"""

from __future__ import annotations

import os
import shlex
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from keyrotor.boundary import files, signing
from keyrotor.core.hash_chain import START, Entry, first_fault, linked
from keyrotor.core.head import Head, Verdict, judged, name, named, naming
from keyrotor.errors import JournalError, PlaceError

__all__ = ["SCHEMA", "Chain", "Entry"]

SCHEMA = 1
FILE = "journal.sqlite3"
TABLES = (
    """CREATE TABLE events (
        seq INTEGER PRIMARY KEY, run TEXT NOT NULL, at TEXT NOT NULL, kind TEXT NOT NULL, data TEXT NOT NULL,
        chain TEXT NOT NULL
    ) STRICT""",
    "CREATE INDEX events_of_run ON events (run)",
)
_COLUMNS = "seq, run, at, kind, data, chain"


class Chain:
    """The rows in one state folder."""

    def __init__(self, state: Path, database: sqlite3.Connection, *, is_writer: bool = False) -> None:
        self.state = state
        self._database = database
        self._is_writer = is_writer

    @classmethod
    def open(cls, state: Path) -> Chain:
        """For writing; made if there is none. Raises JournalError, PlaceError."""
        files.make_folder(state)
        path = state / FILE
        files.create_if_absent(path)
        chain = cls(state, _connected(f"file:{_quoted(path)}?mode=rw"), is_writer=True)
        with chain._telling("open"):
            chain._database.execute("PRAGMA synchronous=EXTRA")
            chain._make_tables()
        chain._want_version()
        return chain

    @classmethod
    def peek(cls, state: Path) -> Chain:
        """For reading only. Where there is no record yet it is empty. Raises JournalError."""
        path = state / FILE
        if not _is_there(path):
            return cls._empty(state)
        chain = cls(state, _connected(f"file:{_quoted(path)}?mode=ro"))
        try:
            version = chain._version()
        except sqlite3.OperationalError:
            if not files.exists(state / f"{FILE}-journal"):
                raise JournalError(f"cannot read the record in {state}") from None
            # A writer was killed in mid-write. Only a writer can mend that, and nobody may be kept from reading.
            chain = cls(state, _connected(f"file:{_quoted(path)}?mode=rw"))
            with chain._telling("read"):
                version = chain._version()
        except sqlite3.DatabaseError as error:
            raise JournalError(f"cannot read the record in {state}: {error}") from None
        if version == 0:  # its maker was killed before the first row
            return cls._empty(state)
        chain._want_version()
        return chain

    @classmethod
    def _empty(cls, state: Path) -> Chain:
        chain = cls(state, _connected("file::memory:"))
        chain._make_tables()
        return chain

    def __enter__(self) -> Chain:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.sign()
        self._database.close()

    def _make_tables(self) -> None:
        """Once, whoever comes first."""
        if self._version() == 0:
            self._database.execute("BEGIN IMMEDIATE")
            if self._version() == 0:
                for statement in (*TABLES, f"PRAGMA user_version={SCHEMA}"):
                    self._database.execute(statement)
            self._database.execute("COMMIT")

    def append(self, stream: str, rows: Sequence[tuple[str, str]], at: datetime) -> None:
        """Record these rows (kind, JSON text), durably: all of them, or none."""
        with self._writing("write"):
            self._add(stream, rows, at.isoformat())

    def _add(self, stream: str, rows: Sequence[tuple[str, str]], stamp: str) -> None:
        last = self._last()
        number, chain = (last.seq, last.chain) if last else (0, START)
        for seq, (kind, data) in enumerate(rows, number + 1):
            chain = linked(chain, seq, Entry(seq, stream, stamp, kind, data, ""))
            values = (seq, stream, stamp, kind, data, chain)
            self._database.execute(f"INSERT INTO events ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)", values)

    def entries(self, stream: str = "") -> Iterator[Entry]:
        """The rows of this stream, or of all, in their order."""
        clause = "WHERE run = ? ORDER BY seq" if stream else "ORDER BY seq"
        return self._entries(clause, *filter(None, (stream,)))

    def lasts(self) -> Iterator[Entry]:
        """The last row of each stream, in their order."""
        return self._entries("WHERE seq IN (SELECT max(seq) FROM events WHERE run != '' GROUP BY run) ORDER BY seq")

    def streams(self, prefix: str = "") -> list[str]:
        """The streams whose ids begin with it, oldest first."""
        query = "SELECT run FROM events WHERE run != '' AND substr(run, 1, ?) = ? GROUP BY run ORDER BY min(seq)"
        with self._telling("read"):
            return [str(row[0]) for row in self._database.execute(query, (len(prefix), prefix))]

    def verify(self, *, asks_keyring: bool = False) -> Verdict:
        """Every row against the one before it, and all of them against the head that was signed last."""
        for _ in range(2):  # the head is read first: it never knows of rows that are not there yet
            known, entries = signing.known(self.state, asks_keyring=asks_keyring), tuple(self.entries())
            if known.head or not named(entries)[1]:  # else the very first one may have been signed in between
                break
        return judged(entries, known)

    def sign(self) -> tuple[str, ...]:
        """Sign the head, if this is a writer. What is to be said: why it was not; the rows are durable all the same."""
        if not self._is_writer:
            return ()
        try:
            if private := self._key():
                with self._writing("sign"):
                    self._sign(private)
        except (JournalError, PlaceError, ImportError) as error:  # a cryptography that does not load, too
            return (f"the head of the record is not signed: {error}  (keyrotor log --verify)",)
        return ()

    def _key(self) -> bytes | None:
        """The key to sign with, which the record names from now on; None where nothing is to be signed.

        The first head is signed before its key is named, so that a record that names one has a head. A person who
        removes head and key begins anew with another one, and that stays on record. Raises JournalError, PlaceError.
        """
        with self._writing("sign"):
            signing.tidy(self.state)
            head, last = self._signed(), self._last()
            if last is None or (head and head.entries == last.seq):
                return None
            _, key = named(tuple(self._entries("WHERE run = '' ORDER BY seq")))
            if head is None and key and signing.key(self.state, key):
                raise JournalError(f"it is gone, and key {name(key)} had signed it")
            if head and key not in ("", head.key):
                raise JournalError(f"key {name(head.key)} signed it, and the record names key {name(key)}")
            private = signing.key(self.state, head.key) if head else signing.any_key(self.state)
            if private is None:
                raise JournalError(f"key {name(head.key if head else key)} is not here")
            if (public := signing.public(private)) != key:
                if not key:
                    self._sign(private)
                self._add("", (naming(public),), last.stamp)
        return private

    def _sign(self, private: bytes) -> None:
        if last := self._last():
            signing.sign(self.state, Head(last.seq, last.chain, last.stamp, signing.public(private)), private)

    def _signed(self) -> Head | None:
        """The head that was signed last, if what is on record follows from it. Raises JournalError, PlaceError."""
        head = signing.signed(self.state)
        seq, chain = (head.entries, head.chain) if head else (0, START)
        entries = tuple(self._entries("WHERE seq >= ? ORDER BY seq", seq))
        if head and (not entries or (entries[0].seq, entries[0].chain) != (seq, chain)):
            raise JournalError(f"entry {seq} is gone, or is not the one that was signed")
        if fault := first_fault(entries[1:] if head else entries, seq, chain):
            raise JournalError(fault.said)
        return head

    def _last(self) -> Entry | None:
        return next(self._entries("ORDER BY seq DESC LIMIT 1"), None)

    def _entries(self, clause: str, *values: str | int) -> Iterator[Entry]:
        with self._telling("read"):
            rows = self._database.execute(f"SELECT {_COLUMNS} FROM events {clause}", values).fetchall()
        for row in rows:
            yield Entry(*row)

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
    def _writing(self, verb: str) -> Iterator[None]:
        """All of it or none, and nobody else meanwhile."""
        with self._telling(verb), self._database:
            self._database.execute("BEGIN IMMEDIATE")
            yield

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
