"""The journal as it streams by: entries, also those that are larger than what is kept."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from keyrotor.boundary.forms import forms
from keyrotor.secret import Secret
from keyrotor.sweeping import journals
from keyrotor.sweeping.finder import Finder

BLOCK = 1 << 20
VALUE = b"sk-" + b"no-key-of-anybody" * 2


class Printed:
    """What a child has printed; a stand-in for one that prints gigabytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def blocks(self) -> Iterator[memoryview]:
        for at in range(0, len(self._data), BLOCK):
            yield memoryview(self._data)[at : at + BLOCK]


@pytest.mark.parametrize("at", [4 * BLOCK - 60, 4 * BLOCK - 10, 4 * BLOCK, 5 * BLOCK - 5, 8 * BLOCK - 3])
def test_a_value_at_a_cut_of_a_large_entry_is_found(at: int) -> None:
    """An entry of 10 MiB is never kept whole, and nothing is lost where it is cut."""
    data = b"MESSAGE=" + b"x" * (at - 8) + VALUE + b"x" * (10 * BLOCK - at) + b"\n\n"
    finder = Finder({"it": forms(Secret(VALUE))})
    parts = list(journals._whole(Printed(data)))  # type: ignore[arg-type]
    assert max(map(len, parts)) < 6 * BLOCK
    assert any(finder.is_in(part) for part in parts)


def test_entries_come_whole_and_each_once() -> None:
    """Wherever the blocks end."""
    entries = [b"MESSAGE=%d %s\n\n" % (number, b"x" * (number % 997)) for number in range(5000)]
    parts = list(journals._whole(Printed(b"".join(entries))))  # type: ignore[arg-type]
    assert len(parts) > 1
    assert all(part.endswith(b"\n\n") for part in parts)
    assert b"".join(parts) == b"".join(entries)
