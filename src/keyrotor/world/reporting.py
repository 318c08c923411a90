"""What makes a text of the record one that may be shown to those who were not there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from keyrotor.boundary.cleaning import Cleaner
from keyrotor.core.model import printable
from keyrotor.errors import PlaceError
from keyrotor.secret import Secret

if TYPE_CHECKING:
    from keyrotor.world import RealWorld


def cleaner(
    world: RealWorld, secrets: Sequence[Secret], others: Sequence[Secret], known: frozenset[str]
) -> Callable[[str], str]:
    """Without the values, as boundary/cleaning.py has it, and without what would garble a page or a terminal."""
    try:
        prints = world.known_fingerprinter() if known else None
    except PlaceError:  # the keyring cannot be asked here; the values themselves are still looked for
        prints = None

    cleaner = Cleaner(secrets, others, (lambda word: prints[1](word) in known) if prints else None)

    def clean(text: str) -> str:
        shown = cleaner.over(text.encode(errors="replace")).decode(errors="replace")
        return "\n".join(map(printable, shown.expandtabs().split("\n")))

    return clean
