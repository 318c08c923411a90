"""The head of the record: how many entries there are and the last one's hash, signed. What it makes of a record. Pure.

The chain alone cannot tell that its end was cut off, nor that all of it was written anew; the head that was signed
last can. The record names the key as well (`signed-by`, an entry of no run), so that a head that is gone shows, and
another key.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from keyrotor.core.hash_chain import Entry, Fault, Flaw, first_fault

FILE = "head.json"
SIGNED_BY = "signed-by"  # the entry that names the key, in the stream that is nobody's
_DOMAIN = "keyrotor: the head of a record"


@dataclass(frozen=True, slots=True)
class Head:
    """What was signed last."""

    entries: int
    chain: str  # the hash of the last of them
    at: str  # the time of the last of them
    key: str  # the public half of the key, in hex
    signature: str = ""

    @property
    def message(self) -> bytes:
        """What is signed. None of it holds a line's end."""
        return "\n".join((_DOMAIN, str(self.entries), self.chain, self.at, self.key)).encode()


@dataclass(frozen=True, slots=True)
class Known:
    """What there is beside the record to judge it by."""

    head: Head | None = None  # None: there is none
    fault: str = ""  # why it cannot be believed
    key: str = ""  # the public half of the key that signs here; "" where it was not asked for, or is not here


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a whole look at the record gave."""

    entries: int
    head: Head | None = None
    since: int = 0  # the entry from which on this key signs; 0 before that was recorded
    fault: Fault | None = None

    @property
    def unsigned(self) -> int:
        """The entries that were added after the head was signed: their writer is at work, or was killed."""
        return self.entries - min(self.head.entries if self.head else 0, self.entries)

    @property
    def brief(self) -> str:
        """A record without a fault, in half a line."""
        if self.head is None:
            return "the chain is whole; its head is not signed yet"
        late = f", but for the last {self.unsigned}" if self.unsigned else ""
        return f"the chain is whole and signed{late}"

    def as_json(self) -> dict[str, Any]:
        """For a program."""
        fault, entry = self.fault, self.fault.entry if self.fault else None
        return {
            "entries": self.entries,
            "signed": self.head.entries if self.head else 0,
            "head": self.head.chain if self.head else "",
            "key": self.head.key if self.head else "",
            "since": self.since,
            "fault": fault
            and {
                "flaw": str(fault.flaw),
                "seq": fault.seq,
                "said": fault.said,
                "run": entry.run if entry else "",
                "event": entry.kind if entry else "",
                "at": entry.stamp if entry else "",
            },
        }

    def lines(self) -> tuple[str, ...]:
        """A record without a fault, in words."""
        said = ["the record is whole: every entry follows from the one before it"]
        if self.head:
            since = f" since entry {self.since}" if self.since else ""
            said.append(f"{self.head.entries} of {self.entries} entries are signed by key {name(self.head.key)}{since}")
        if self.unsigned and self.head:
            how = "their writer is at work, was killed, or had no key"
            said.append(f"the last {self.unsigned} are not signed yet: {how}; the next one signs them")
        elif self.unsigned:
            said.append("it is not signed yet: the next command that records something signs it")
        return tuple(said)


def name(key: str) -> str:
    """What a key is called."""
    return key[:16]


def named(entries: Sequence[Entry]) -> tuple[int, str]:
    """The entry that names the key that signs, and the key; the last such entry counts."""
    return next(((entry.seq, _key(entry)) for entry in reversed(entries) if _names_key(entry)), (0, ""))


def naming(key: str) -> tuple[str, str]:
    """Kind and text of such an entry."""
    return SIGNED_BY, json.dumps({"key": key})


def judged(entries: Sequence[Entry], known: Known) -> Verdict:
    """The whole record against its head."""
    since, key = named(entries)
    fault = _of_chain(entries, known.head) or _of_head(entries, known, since, key)
    return Verdict(len(entries), known.head, since, fault)


def _of_chain(entries: Sequence[Entry], head: Head | None) -> Fault | None:
    fault = first_fault(entries)
    if fault and (last := fault.entry) and head and last.chain == head.chain and fault.seq == last.seq < head.entries:
        # The last one that was signed had a higher number then.
        said = f"{_those(fault.seq, head.entries - 1)} missing: {last} was numbered anew"
        return replace(fault, flaw=Flaw.DELETED, said=said, entry=None)
    return fault


def _of_head(entries: Sequence[Entry], known: Known, since: int, key: str) -> Fault | None:
    """What is wrong though every entry follows from the one before it."""
    head, count = known.head, len(entries)
    if known.fault:
        return Fault(Flaw.HEAD, count, known.fault)
    if head is None:
        gone = f"entry {since} says that its head is signed by key {name(key)}, and there is no {FILE}"
        return Fault(Flaw.HEAD, count, gone) if key else None
    if head.entries > count:
        signed = f"{head.entries} were signed, the last of {head.at}"
        return Fault(Flaw.TRUNCATED, count + 1, f"{_those(count + 1, head.entries)} missing at its end: {signed}")
    if (last := entries[head.entries - 1]).chain != head.chain:
        said = f"it was written anew, somewhere up to {last}: that is not entry {head.entries} as it was signed"
        return Fault(Flaw.REWRITTEN, head.entries, said, last)
    other = f"entry {since} names key {name(key)}" if key not in ("", head.key) else ""
    if not other and known.key not in ("", head.key):
        other = f"the key here is {name(known.key)}"
    return Fault(Flaw.KEY, since, f"its head is signed by key {name(head.key)}; {other}") if other else None


def _names_key(entry: Entry) -> bool:
    return entry.run == "" and entry.kind == SIGNED_BY


def _key(entry: Entry) -> str:
    """ "?" where it cannot be read: that is no key's name."""
    try:
        return str(json.loads(entry.data)["key"])
    except (ValueError, TypeError, KeyError):
        return "?"


def _those(first: int, last: int) -> str:
    return f"entry {first} is" if first == last else f"entries {first} to {last} are"
