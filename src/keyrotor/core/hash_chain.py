"""The chain of the record: each entry carries the hash of the one before it. What breaks it, and which entry is first.

An entry keeps the hash that it was given, so where the chain breaks the hashes of the others tell what was done: which
entry follows which, whatever number it stands under now. Pure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

START = "0" * 64
_MISSING = 10_000  # entries at the most whose loss is counted where the others were numbered anew


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the record as it stands there."""

    seq: int
    run: str  # the stream: the id of a run or of an incident; "" for what the chain says of itself
    stamp: str
    kind: str
    data: str
    chain: str

    @property
    def at(self) -> datetime:
        return datetime.fromisoformat(self.stamp)

    def __str__(self) -> str:
        of = f" of {self.run}" if self.run else ""
        told = f"{self.kind}{of}, {self.stamp}"  # perhaps a stranger's words
        return f"entry {self.seq} ({''.join(filter(str.isprintable, told))[:120]})"


class Flaw(StrEnum):
    """What was done to the record."""

    EDITED = "edited"
    DELETED = "deleted"
    INSERTED = "inserted"
    REORDERED = "reordered"
    TRUNCATED = "truncated"  # the head that was signed knows of more
    REWRITTEN = "rewritten"  # all of it follows, and is not what was signed
    HEAD = "head"  # the head itself is gone, or was changed
    KEY = "key"  # another key has signed than the one that it should be


OF_HEAD = (Flaw.TRUNCATED, Flaw.REWRITTEN, Flaw.HEAD, Flaw.KEY)  # every entry follows, and all the same


@dataclass(frozen=True, slots=True)
class Fault:
    """The first thing that is wrong with a record."""

    flaw: Flaw
    seq: int  # from this number on it is not as it was written
    said: str
    entry: Entry | None = None  # the one that it is about, as it stands there; None where it is gone


def linked(chain: str, seq: int, entry: Entry) -> str:
    """The hash of this entry as number `seq`, behind the one that has the hash `chain`."""
    row = (chain, seq, entry.run, entry.stamp, entry.kind, entry.data)
    return hashlib.sha256("\0".join(map(str, row)).encode()).hexdigest()


def first_fault(entries: Sequence[Entry], seq: int = 0, chain: str = START) -> Fault | None:
    """What is wrong with the first entry that does not follow from the one before it; None if all follow.

    `seq` and `chain` are those of the entry that the first one should follow.
    """
    chains = [chain]
    for at, entry in enumerate(entries):
        if entry.seq != seq + 1 + at or not _follows(entry, chains[at], entry.seq):
            back = next((back for back in range(at) if _follows(entry, chains[back], seq + 1 + back)), at)
            if back < at:
                put_in = entries[back]
                said = f"{put_in} was put in: {entry} follows the one before it"
                return Fault(Flaw.INSERTED, put_in.seq, said, put_in)
            return _told(entries[at:], seq + 1 + at, chains[at])
        chains.append(entry.chain)
    return None


def _follows(entry: Entry, chain: str, number: int) -> bool:
    return entry.chain == linked(chain, number, entry)


def _told(entries: Sequence[Entry], number: int, chain: str) -> Fault:
    """What is wrong: these should go on with this number, behind this hash."""
    first = entries[0]
    traced = list(_traced(entries, number, chain))
    if not traced:
        return _unfollowed(entries, number, chain)
    moved = next(((true, entry) for true, entry in enumerate(traced, number) if entry.seq != true), None)
    if first not in traced or moved is None:
        said = f"{first} was put in: the entries around it follow each other without it"
        return Fault(Flaw.INSERTED, first.seq, said, first)
    true, entry = moved
    if entry is first and len(traced) == len(entries):
        return Fault(Flaw.EDITED, true, f"{entry} was changed: its number was {true}", entry)
    return Fault(Flaw.REORDERED, true, f"entry {true} was moved: it stands as {entry}", entry)


def _traced(entries: Sequence[Entry], number: int, chain: str) -> Iterator[Entry]:
    """Those that do follow, in their true order, wherever they stand now."""
    left = list(entries)
    at = 0
    while left:
        near = (*range(at, len(left)), *range(at))
        found = next((index for index in near if _follows(left[index], chain, number)), None)
        if found is None:
            return
        at, entry = found, left.pop(found)
        yield entry
        number, chain = number + 1, entry.chain


def _unfollowed(entries: Sequence[Entry], number: int, chain: str) -> Fault:
    """No entry has this number and follows this hash any more: it was changed, or it is gone."""
    first, after = entries[0], entries[1:2]
    if first.seq < number:
        return Fault(Flaw.INSERTED, first.seq, f"{first} was put in: the record begins with entry 1", first)
    if first.seq > number:
        return Fault(Flaw.DELETED, number, f"{_those(number, first.seq - 1)} missing: the next one is {first}")
    if after and (missing := _shifted(after[0], first)):
        said = f"{_those(number, number + missing - 1)} missing: {first}, and those after it, were numbered anew"
        return Fault(Flaw.DELETED, number, said)
    why = "its hash does not follow from it and the entry before it"
    if after and _follows(after[0], linked(chain, number, first), number + 1):
        why = "its hash is not what it was"
    return Fault(Flaw.EDITED, number, f"{first} was changed: {why}", first)


def _shifted(entry: Entry, before: Entry) -> int:
    """By how much its number has become smaller than it was when it was written behind `before`."""
    by = (by for by in range(_MISSING) if _follows(entry, before.chain, entry.seq + by))
    return next(by, 0)


def _those(first: int, last: int) -> str:
    return f"entry {first} is" if first == last else f"entries {first} to {last} are"
