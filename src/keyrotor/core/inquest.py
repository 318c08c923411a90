"""What an incident comes to, for those who must answer for it: the nouns of its report. Pure data, no value."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from keyrotor.core.response import Contained, Exhibit, Exposure, Lifted, Listener, Reached, Witnessed
from keyrotor.core.swept import Hit


class Fate(StrEnum):
    """What has become of a key that has leaked, the worst first."""

    ALIVE = "alive"  # no other value was put in its stead
    UNPROVEN = "unproven"  # another value is in force; not every listener has refused the old one to the end
    DEAD = "dead"  # every listener has refused it, past every cache


@dataclass(frozen=True, slots=True)
class Answer:
    """One of a rotation's own proofs: what a door said."""

    place: str
    label: str
    asked: str  # "accepts the new key", "refuses the old key"
    is_proven: bool
    said: str
    at: datetime | None


@dataclass(frozen=True, slots=True)
class Ran:
    """One run of the incident."""

    run: str
    playbook: str
    outcome: str
    opened: datetime
    closed: datetime | None
    outage: float | None  # seconds
    old: str  # fingerprints
    new: str
    answers: tuple[Answer, ...]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Key:
    """One key that has leaked."""

    playbook: str
    name: str  # LITELLM_MASTER_KEY; "" where no run has told it
    fate: Fate
    why: str = ""  # why it is not proven dead
    replaced: datetime | None = None  # when the gateway took up another value
    began: datetime | None = None  # of the proof at every listener
    ended: datetime | None = None  # and its end: from then on it is proven dead
    listeners: tuple[Listener, ...] = ()
    asked_again: datetime | None = None  # once the containment had ended
    again: tuple[Listener, ...] = ()  # what each said then


@dataclass(frozen=True, slots=True)
class Moment:
    """One line of the time line."""

    at: datetime
    what: str
    by: str  # the step, the run, or who
    began: datetime | None = None  # where it took a while
    is_ill: bool = False


@dataclass(frozen=True, slots=True)
class Stage:
    """How one step stands."""

    id: str
    state: str  # open, begun, done, failed
    said: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Todo:
    """What a person must still do."""

    text: str
    command: str  # what goes on with it, or ticks it off


@dataclass(frozen=True, slots=True)
class Search:
    """How far the old key was looked for."""

    files: int
    size: int  # bytes
    seconds: float
    own: int  # hits that are no leaks: places, and keyrotor's own state
    more: int = 0  # leaks that the record does not list


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was kept before anything was changed."""

    folders: tuple[str, ...] = ()
    exhibits: tuple[Exhibit, ...] = ()
    places: tuple[Witnessed, ...] = ()


@dataclass(frozen=True, slots=True)
class RecordState:
    """The record that all of this is told from."""

    last: int  # the number of its last entry
    head: str  # that entry's hash, which follows from all before it
    key: str  # the public half of the key that has signed it; "" where none has
    said: str  # what is wrong with it, or how far it is signed
    is_whole: bool


@dataclass(frozen=True, slots=True)
class Inquest:
    """All that is known of an incident, and what is not."""

    id: str
    title: str
    reason: str
    by: str  # who opened it
    contain: str
    opened: datetime
    detected: datetime
    contained_at: datetime | None  # from when on strangers were kept away; None where they were not
    lifted_at: datetime | None  # until when
    exposed: datetime | None  # since when others could use the key; None where nobody knows
    earliest: datetime | None  # before which the key was not in force; None where that is not on record
    closed: datetime | None
    cause: str
    forced: str  # why it was closed though something was open
    made: datetime  # when all of this was told
    keyrotor: str  # the version that tells it
    keys: tuple[Key, ...]
    steps: tuple[Stage, ...]
    moments: tuple[Moment, ...]
    runs: tuple[Ran, ...]
    contained: tuple[Contained, ...]
    lifted: tuple[Lifted, ...]
    search: Search | None  # None: not looked for yet
    leaks: tuple[Hit, ...]
    left_out: tuple[str, ...]  # what was not looked into
    exposures: tuple[Exposure, ...]
    reached: tuple[Reached, ...]
    unknown: tuple[str, ...]  # never empty
    todo: tuple[Todo, ...]
    evidence: Evidence
    record: RecordState

    @property
    def fate(self) -> Fate:
        """Of the key that fared worst."""
        return next(fate for fate in Fate if fate in {key.fate for key in self.keys} or fate is Fate.DEAD)

    @property
    def copies(self) -> int:
        """In how many places the old key was found, listed or not."""
        return len(self.leaks) + (self.search.more if self.search else 0)

    @property
    def until(self) -> datetime | None:
        """From when on every key is proven dead; None while one is not."""
        ends = [key.ended for key in self.keys if key.fate is Fate.DEAD and key.ended]
        return max(ends) if ends and len(ends) == len(self.keys) else None

    @property
    def window(self) -> timedelta | None:
        """How long the key could be used by others; None where an end of it is not known."""
        return self.until - self.exposed if self.until and self.exposed else None
