"""What each step of an incident has found out: the facts that its event records, and that the report tells.

Pure data, that a journal keeps as JSON: no value, no piece of one, no plain hash of one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from keyrotor.core.swept import Hit, Swept

MOST = 500  # hits that are recorded


@dataclass(frozen=True, slots=True)
class Exhibit:
    """One file of evidence, in the incident's folder."""

    name: str
    what: str  # what it is: "journal of litellm.service since …"
    sha256: str  # of the file as it is kept, which is redacted
    size: int  # bytes


@dataclass(frozen=True, slots=True)
class Witnessed:
    """One place, as it was before anything was changed."""

    playbook: str
    place: str
    label: str
    imprint: str  # a digest of its path, mode and content, salted; "" where there is no file
    mode: str = ""
    owner: str = ""
    changed: str = ""  # ISO 8601 in UTC: when its content was last written


@dataclass(frozen=True, slots=True)
class Frozen:
    """Of `freeze`."""

    folder: str
    salt: str  # of the imprints
    exhibits: tuple[Exhibit, ...] = ()
    places: tuple[Witnessed, ...] = ()
    missing: tuple[str, ...] = ()  # what could not be kept, and why


@dataclass(frozen=True, slots=True)
class Contained:
    """Of `contain`, one for each gateway."""

    playbook: str
    unit: str
    how: str  # stop, loopback or none
    listened: tuple[str, ...] = ()  # the addresses at which the unit listened before
    listens: tuple[str, ...] = ()  # and after
    doors: Mapping[str, str] = field(default_factory=dict)  # place -> url at which it is reached, where it is another
    restarts: bool = False  # whether its end needs a restart
    said: str = ""
    missed: str = ""  # why a gateway of several could not be contained
    hint: str = ""  # and what a person can do


@dataclass(frozen=True, slots=True)
class Lifted:
    """Of `lift`, one for each gateway."""

    playbook: str
    unit: str
    listens: tuple[str, ...] = ()
    said: str = ""


@dataclass(frozen=True, slots=True)
class Rotated:
    """Of `rotate`."""

    run: str
    outcome: str
    seconds: float
    outage: float | None
    old: str  # fingerprints
    new: str


@dataclass(frozen=True, slots=True)
class Listener:
    """One address at which the unit listens, and what it said to the old value."""

    address: str
    asked: int  # times
    refused: int
    said: str  # its last answer: "400 no_db_connection"
    is_dead: bool
    is_api: bool = True  # False: it speaks another language (a port of metrics), and is neither dead nor alive


@dataclass(frozen=True, slots=True)
class Proof:
    """Of `prove`."""

    listeners: tuple[Listener, ...]
    began: str  # ISO 8601 in UTC
    ended: str
    is_dead: bool  # at every listener, to the end
    said: str = ""
    is_moot: bool = False  # there is no gateway, and so nobody to ask


@dataclass(frozen=True, slots=True)
class Sought:
    """Of `sweep`."""

    hits: tuple[Hit, ...]
    own: int  # hits in keyrotor's own state, and in places
    files: int
    size: int  # bytes
    seconds: float
    left_out: tuple[str, ...] = ()  # what was not looked into, and how much
    more: int = 0  # hits that are not among these: a record is no place for a million


def sought(swept: Swept) -> Sought:
    """What a record keeps of a sweep: leaks first, some of each kind, and the number of all."""
    skipped = tuple(f"{what}: {count}" for what, count in swept.skipped.items())
    seen: dict[str, int] = {}
    turns = []
    for hit in swept.hits:
        seen[hit.kind] = seen.get(hit.kind, 0) + 1
        turns.append((bool(hit.whose), seen[hit.kind], hit))
    kept = tuple(hit for _, _, hit in sorted(turns, key=lambda turn: turn[:2])[:MOST])
    more, own = len(swept.hits) - len(kept) + swept.more, len(swept.hits) - len(swept.leaks)
    left_out = (*swept.doubts, *skipped, *swept.unreadable)
    return Sought(kept, own, swept.files, swept.size, swept.seconds, left_out, more)


@dataclass(frozen=True, slots=True)
class Made:
    """Something that was made at the gateway in the window."""

    kind: str  # key, user, team, model
    name: str  # alias or id, never a key
    at: str
    by: str = ""


@dataclass(frozen=True, slots=True)
class Exposure:
    """Of `exposure`, one for each gateway."""

    playbook: str
    since: str
    until: str
    is_known: bool  # False: nobody can say what was made, or used
    why: str = ""  # why it is not known
    made: tuple[Made, ...] = ()
    used: str = ""  # what is known of the key's use: "unknown: …" without a database


@dataclass(frozen=True, slots=True)
class Reached:
    """One upstream key that could be used through the gateway."""

    playbook: str
    provider: str
    name: str  # of the variable, or of the entry that holds it; never the key
    models: tuple[str, ...] = ()
