"""What a sweep has come to so far: hits, what was looked through, what was left out. All that looks writes here.

Rule: every name from outside goes through `shown`, for a value may stand in a path, a command line, a unit's name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from keyrotor.core.swept import MOST, Hit
from keyrotor.sweeping.finder import Finder
from keyrotor.sweeping.left_out import LeftOut

Told = Callable[[str, int, int], None]  # what is being looked through, files so far, bytes so far


@dataclass(slots=True)
class Ledger:
    finder: Finder
    raise_if_asked: Callable[[], None] = lambda: None
    told: Told = lambda what, files, size: None
    hits: list[Hit] = field(default_factory=list)
    files: int = 0
    size: int = 0  # bytes
    left_out: LeftOut = field(default_factory=LeftOut)
    doubts: list[str] = field(default_factory=list)
    more: int = 0  # leaks that are only counted
    _kinds: Counter[str] = field(default_factory=Counter)

    def looked(self, what: str, size: int, files: int = 0) -> None:
        """So much more was looked through."""
        self.size += size
        self.files += files
        self.told(what, self.files, self.size)

    def found(self, hits: Iterable[Hit]) -> None:
        """What is no leak is kept whatever there is of it: there are few places."""
        for hit in hits:
            if hit.whose:
                self.hits.append(hit)
            elif self._kinds[hit.kind] < MOST:
                self._kinds[hit.kind] += 1
                self.hits.append(hit)
            else:
                self.more += 1

    def doubt(self, what: str) -> None:
        """Something could not be looked into at all, or not whole."""
        self.doubts.append(self.finder.shown(what))

    def cannot_read(self, where: str, why: str, size: int = 0) -> None:
        self.left_out.cannot_read(self.finder.shown(where), self.finder.shown(why), size)
