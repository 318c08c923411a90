"""What a sweep has not looked into, and why: it is told, for silence would say that nothing is there."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

MOST = 1000  # paths that are remembered; a person reads no more, and memory is bounded


@dataclass(slots=True)
class LeftOut:
    """Filled while a sweep goes on."""

    skipped: Counter[str] = field(default_factory=Counter)  # what was left out on purpose -> how many
    unreadable: list[str] = field(default_factory=list)  # the first of them: a path that can be shown, and why
    unreadable_count: int = 0
    unreadable_size: int = 0  # bytes, of those whose size is known

    def cannot_read(self, shown: str, why: str, size: int = 0) -> None:
        self.unreadable_count += 1
        self.unreadable_size += size
        if len(self.unreadable) < MOST:
            self.unreadable.append(f"{shown}: {why}")

    def add(self, other: LeftOut) -> None:
        self.skipped.update(other.skipped)
        self.unreadable += other.unreadable[: MOST - len(self.unreadable)]
        self.unreadable_count += other.unreadable_count
        self.unreadable_size += other.unreadable_size
