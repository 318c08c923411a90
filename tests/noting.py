"""A child that writes a note, for a test that must not go on before it has."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path


def until_noted(note: Path, words: int = 1) -> Callable[[float], None]:
    """A `rest` that lasts until a child has written so many words: a short `within` is over only then."""

    def rest(seconds: float) -> None:
        deadline = time.monotonic() + 100
        while not note.exists() or len(note.read_text().split()) < words:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        time.sleep(seconds)

    return rest
