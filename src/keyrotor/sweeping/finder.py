"""Finds the forms of values in bytes: in a block that is whole, or in a stream, whatever its chunks.

Rules:
1. One occurrence counts once: of forms that overlap, the one that begins first, and of those the longest.
2. The values are counted apart: what holds both counts for both.
3. What is fed is never kept but for the last few bytes, so that memory is bounded.

Nearly all blocks hold nothing. So there is one quick question first (ahocorasick_rs looks for up to 60 needles at some
14 GB/s, for more at a twentieth of that), and the slow and exact count only where the answer is yes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from keyrotor.boundary.forms import Form, Veil
from keyrotor.core.swept import Hit

if TYPE_CHECKING:
    from ahocorasick_rs import BytesAhoCorasick

AT_ONCE = 60  # needles: aho-corasick's vectorised search takes 64 and no more
FIRST = 5  # matches whose offsets are remembered

Block = bytes | bytearray | memoryview
Counts = Mapping[tuple[str, str], int]  # (the value's name, the form's name) -> how often


def encoded(name: str) -> bytes:
    """The bytes of a name, whatever the locale: what is not UTF-8 in it comes out as it was."""
    return name.encode("utf-8", "surrogateescape")


class Finder:
    """The forms of some values, by the values' names, ready to be looked for."""

    def __init__(self, named: Mapping[str, Sequence[Form]]) -> None:
        from ahocorasick_rs import BytesAhoCorasick, MatchKind

        needles = list(dict.fromkeys(form.needle for forms in named.values() for form in forms))
        self.longest = max(map(len, needles), default=1)
        kind = MatchKind.LeftmostLongest  # the standard kind is not vectorised: 0.6 GB/s
        self._quick = [BytesAhoCorasick(needles[at : at + AT_ONCE], kind) for at in range(0, len(needles), AT_ONCE)]
        self._veil = Veil(named.values())
        self.values = [
            Value(
                name,
                tuple(form.name for form in forms),
                BytesAhoCorasick([form.needle for form in forms], kind),
            )
            for name, forms in named.items()
            if forms
        ]

    def is_in(self, block: Block) -> bool:
        """Whether any form of any value stands in the block."""
        return any(quick.find_matches_as_indexes(block) for quick in self._quick)

    def counts(self, block: Block) -> Counts:
        """What stands in a block that is whole."""
        if not self.is_in(block):
            return {}
        return Counter((value.name, form) for value in self.values for form, _, _ in value.found(block))

    def stream(self) -> Stream:
        return Stream(self)

    def hits(self, kind: str, name: str, counts: Counts, note: str = "") -> Iterator[Hit]:
        """What was counted in one thing: a hit for each value that stands there."""
        for value in self.values:
            forms = tuple(form for form in dict.fromkeys(value.forms) if counts.get((value.name, form), 0) > 0)
            if forms:
                count = sum(counts[value.name, form] for form in forms)
                yield Hit(kind, self.shown(name), forms, count, value.name, note=note)

    def is_plain(self, name: str) -> bool:
        """Whether nothing has to be hidden in a name when it is shown."""
        return self._veil.over(encoded(name)) == encoded(name)

    def shown(self, name: str) -> str:
        """A path, or another name from outside, as it can be shown: on one line, and without a value."""
        text = self._veil.over(encoded(name)).decode("utf-8", "backslashreplace")
        return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


@dataclass(frozen=True, slots=True)
class Value:
    """The forms of one value."""

    name: str
    forms: tuple[str, ...]
    automaton: BytesAhoCorasick

    def found(self, block: Block) -> Iterator[tuple[str, int, int]]:
        """The form's name, where it begins, and where it ends, in the order in which they stand."""
        for index, start, end in self.automaton.find_matches_as_indexes(block):
            yield self.forms[index], start, end


class Stream:
    """What stands in bytes that come in chunks: the same as if they had come at once."""

    def __init__(self, finder: Finder) -> None:
        self._finder = finder
        self._tail = b""  # the last bytes, in which a match may begin that goes on in the next chunk
        self._taken: list[int] = []  # for each value, how many bytes of the tail belong to a match that was counted
        self._counts: Counter[tuple[str, str]] = Counter()
        self._first: list[int] = []
        self.size = 0  # bytes that were fed

    def feed(self, chunk: Block) -> None:
        """The next bytes. The chunk may be overwritten afterwards."""
        keep = self._finder.longest - 1
        border = self._tail + chunk[:keep]
        if self._finder.is_in(chunk) or (self._tail and self._finder.is_in(border)):
            self._taken = self._taken or [0] * len(self._finder.values)
            self._count(b"".join((self._tail, chunk)), keep)
        whole = len(self._tail) + len(chunk)
        end = border if len(chunk) <= keep else bytes(chunk[len(chunk) - keep :])
        self._tail = end[max(0, len(end) - keep) :]
        if self._taken:
            left = whole - len(self._tail)
            self._taken = [max(0, taken - left) for taken in self._taken]
        self.size += len(chunk)

    @property
    def counts(self) -> Counts:
        """What has been found, if nothing more comes."""
        if not self._taken:  # nothing was ever found
            return {}
        counts = self._counts.copy()
        counts.update((value, form) for value, form, _ in self._pending())
        return counts

    @property
    def first(self) -> list[int]:
        """Where the first few matches begin, if nothing more comes."""
        return sorted([*self._first, *(at for _, _, at in self._pending())])[:FIRST]

    def _pending(self) -> Iterator[tuple[str, str, int]]:
        """What stands in the tail; a form that begins there may yet turn out to be a longer one."""
        before = self.size - len(self._tail)
        for value, taken in zip(self._finder.values, self._taken, strict=False):
            for form, start, _ in value.found(self._tail[taken:]):
                yield value.name, form, before + taken + start

    def _count(self, block: bytes, keep: int) -> None:
        """Count every match that begins where no later byte can change it, and remember how far it goes."""
        limit = max(0, len(block) - keep)
        before = self.size - len(self._tail)
        for index, value in enumerate(self._finder.values):
            skip, first = self._taken[index], list[int]()
            for form, start, end in value.found(memoryview(block)[skip:]):
                if skip + start >= limit:
                    break
                self._counts[value.name, form] += 1
                self._taken[index] = skip + end
                if len(first) < FIRST:
                    first.append(before + skip + start)
            self._first = sorted(self._first + first)[:FIRST]
