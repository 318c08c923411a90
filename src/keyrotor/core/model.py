"""The nouns of a rotation: values, what a place holds, the rows of a plan, the outcomes.

Pure data. No clock, no randomness, no I/O, no secret: a value is one of the two words `old` and `new`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from keyrotor.core.addressee import Addressee
from keyrotor.core.kept import NEVER as NEVER  # noqa: PLC0414  everybody but `exec` knows them by this module
from keyrotor.core.kept import Source as Source  # noqa: PLC0414  as above

ALREADY = "held it already"  # what a put says that had nothing to do


def printable(text: str) -> str:
    """The text as it may be shown: without what would garble a terminal, or be no text there."""
    return "".join(char if char.isprintable() else "\ufffd" for char in text)


class Value(StrEnum):
    """The two values of a run."""

    OLD = "old"
    NEW = "new"

    @property
    def other(self) -> Value:
        return Value.NEW if self is Value.OLD else Value.OLD


class Holds(StrEnum):
    """What a place holds now."""

    OLD = "old"
    NEW = "new"
    BOTH = "both"
    NEITHER = "neither"  # something else, or nothing
    REFERS = "refers"  # a reference such as ${VAR}: never put
    UNKNOWN = "unknown"  # cannot be told

    @classmethod
    def seen(cls, *, old: bool, new: bool) -> Holds:
        """The answer for a place in which each value was looked for."""
        if old and new:
            return cls.BOTH
        return cls.OLD if old else cls.NEW if new else cls.NEITHER


class Act(StrEnum):
    """What putting a row does; this and nothing else decides how the machine treats it."""

    FILE = "file"  # writes a file; cheap to ask again
    RESTART = "restart"  # the outage begins
    ADMIT = "admit"  # proof: the goal is accepted
    RETIRE = "retire"  # proof: the other value is refused
    COMMAND = "command"  # a user's own command
    STORE = "store"  # asks somebody else's store to keep it: an API, a keyring

    @property
    def tries(self) -> int:
        """Puts in each direction before a failure counts (a restart costs an outage; a proof has a deadline)."""
        return 2 if self in (Act.FILE, Act.COMMAND, Act.STORE) else 1

    @property
    def is_proof(self) -> bool:
        return self in (Act.ADMIT, Act.RETIRE)


class Purpose(StrEnum):
    """What a run is for."""

    ROTATE = "rotate"  # a new value everywhere, or the old one back
    REPAIR = "repair"  # the present value where something else stands; there is no way back, for that is a mixture


class Outcome(StrEnum):
    """How a command about a run ended."""

    ROTATED = "rotated"
    REPAIRED = "repaired"
    NOT_DUE = "not-due"
    NOTHING_CHANGED = "nothing-changed"
    REFUSED = "refused"
    ROLLED_BACK = "rolled-back"
    STUCK = "stuck"
    INTERRUPTED = "interrupted"
    OLD_ALIVE = "old-alive"
    BUSY = "busy"
    ABANDONED = "abandoned"


@dataclass(frozen=True, slots=True)
class Declared:
    """A place as the playbook declares it."""

    id: str
    kind: str
    label: str  # what a person reads: a path, a unit, an address
    within: float  # seconds
    optional: bool
    options: Mapping[str, Any]  # the kind's own settings, paths absolute


@dataclass(frozen=True, slots=True)
class Playbook:
    """What is to be rotated, how often, and where it must arrive; top to bottom."""

    name: str
    path: str
    source: Source
    every: str
    keep: float  # seconds for which the former value's ciphertext stays after the close
    generate: Mapping[str, Any]
    places: tuple[Declared, ...]
    window: str = ""  # when `--if-due` may rotate: `Mon..Fri 02:00-05:00`; "" for always
    notify: tuple[Addressee, ...] = ()  # who is told how a command ended


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the plan: a place, and what satisfies it."""

    id: str
    place: str  # the id of the place in the playbook; the door is one place and two rows
    kind: str
    act: Act
    label: str  # what a person reads: a path, a unit, an address
    within: float  # seconds
    optional: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)  # the place's own settings, paths absolute

    def is_satisfied(self, goal: Value, holds: Holds) -> bool:
        """Whether the place needs nothing more. A door that accepts both values admits, but has not retired."""
        if self.act is Act.ADMIT and holds is Holds.BOTH:
            return True
        return holds is Holds(goal) or holds is Holds.REFERS


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run was opened with: enough to finish it without the playbook."""

    run: str
    playbook: str  # its name
    source: Source
    rows: tuple[Row, ...]
    fingerprints: Mapping[Value, str]
    fingerprint_key: str  # names the key they were made with: only those of one key can be compared
    ciphertexts: Mapping[Value, str]  # SHA-256 of the prepared files, so that a resume can trust them
    skipped: Mapping[str, str] = field(default_factory=dict)  # row id -> why (an optional place that is absent)
    todo: Mapping[str, str] = field(default_factory=dict)  # row id -> what a person must do at the end
    reason: str = ""
    public: str = ""  # the public half of a generated key pair
    keep: float = 7 * 86400.0  # seconds, as in the playbook
    purpose: Purpose = Purpose.ROTATE
    stale: tuple[str, ...] = ()  # fingerprints of all else that a repair replaces
    no_return: str = ""  # id of the row whose `moving` ends turning back by itself (an incident's unit)
    no_way_back: str = ""  # why the former state cannot be put back at all: an incident is begun all the same
    incident: str = ""  # the id of the incident that it is a step of; its former value is kept until that is closed

    def row(self, row_id: str) -> Row:
        return next(row for row in self.rows if row.id == row_id)


@dataclass(frozen=True, slots=True)
class Task:
    """Something that only a person can do, now that a run is over."""

    id: str  # what is typed to tick it off
    row: str
    text: str
