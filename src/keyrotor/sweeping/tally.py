"""How many hits are told one by one: as many as people read; of the rest the number is kept, and no more.

Rule: what is no leak is told whatever there is of it, for there are few places.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from keyrotor.core.swept import MOST, Hit
from keyrotor.sweeping.finder import Counts

Judge = Callable[[str, Hit], Hit]  # says of the real path, which nobody can fake, whose a hit in it is
_ANY = Hit("file", "", (), 0)


@dataclass(slots=True)
class Tally:
    """Of what stands in files."""

    judge: Judge = lambda path, hit: hit
    more: int = 0  # leaks that are only counted
    _leaks: int = 0

    def told(self, path: str, hits: Iterable[Hit]) -> Iterator[Hit]:
        """Those of the hits at this path that are told."""
        for hit in hits:
            judged = self.judge(path, hit)
            if judged.whose or self._leaks < MOST:
                self._leaks += not judged.whose
                yield judged
            else:
                self.more += 1

    def is_only_counted(self, path: str, counts: Counts) -> bool:
        """Counts what stands at this path if nothing of it is told: to make a hit takes longer than to find it."""
        if self._leaks < MOST or self.judge(path, _ANY).whose:
            return False
        self.more += len({value for value, _ in counts})
        return True
