"""What a sweep has found. Pure data: no value, no piece of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

CURRENT = "current"  # the one value that may stand in a place
MOST = 2000  # hits of each kind that are told one by one: memory is bounded, and no kind crowds out another


@dataclass(frozen=True, slots=True)
class Hit:
    """One thing in which a value stands, in one form or another."""

    kind: str  # file, archive, git, journal, process
    where: str  # a path, `repository:object`, a unit, a process; printable, without a value
    forms: tuple[str, ...]  # "as it is", "base64", "hex", …
    count: int
    value: str = "former"  # which of the values: current, former, given; or a playbook's name in an incident
    whose: str = ""  # "" for a leak; else what it is: "place env-file", "keyrotor's own state"
    note: str = ""  # what tells more of it, or what to do there


@dataclass(frozen=True, slots=True)
class Swept:
    """All that a sweep has found, and what it has not looked into."""

    hits: tuple[Hit, ...]
    files: int
    size: int  # bytes that were looked through, as they are once unpacked
    seconds: float
    skipped: Mapping[str, int] = field(default_factory=dict)  # what was left out -> how many
    unreadable: tuple[str, ...] = ()  # paths, and why
    doubts: tuple[str, ...] = ()  # what could not be looked into at all, and why: "the journal: …"
    unread: int = 0  # bytes of what is unreadable, as far as that is known
    stopped: str = ""  # the signal that ended it before its end
    roots: tuple[str, ...] = ()  # where it has looked; printable, without a value
    more: int = 0  # leaks that were found beyond the MOST of their kind, and are only counted

    @property
    def leaks(self) -> tuple[Hit, ...]:
        return tuple(hit for hit in self.hits if not hit.whose)

    @property
    def leak_count(self) -> int:
        """How many leaks there are, those that are only counted as well."""
        return len(self.leaks) + self.more
