"""A row of lines as a person reads it: one for each thing that was looked at, and the command that mends it. Pure.

`doctor` and `healthcheck` share it. A command is never wrapped: it is there to be copied.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

from keyrotor.core.checkup import Line, State

SYMBOLS: Mapping[State, str] = {State.WELL: "✓", State.ILL: "✗", State.UNKNOWN: "?", State.SKIPPED: "–"}
COLUMNS = 80
NAMES = 20  # columns; a longer name is told in full, and what is said of it begins behind it
_NOTABLE = 0.1  # seconds; a shorter look is not worth telling


def lines_of(lines: Sequence[Line], all_well: str) -> list[str]:
    """Each line with its symbol, the mend below an ill one; the last says `all_well`, or how much is to be mended."""
    width = min(NAMES, max((len(line.name) for line in lines), default=0))
    told = [text for line in lines for text in _told(line, width)]
    ill = sum(line.state is State.ILL for line in lines)
    return [*told, all_well if not ill else f"{ill} thing{'s' if ill > 1 else ''} to mend"]


def _told(line: Line, width: int) -> list[str]:
    spent = f" ({line.seconds:.1f} s)" if line.seconds >= _NOTABLE else ""
    name, said, mend = map(_printable, (line.name, line.said, line.mend))
    wrapped = textwrap.wrap(
        f"{said}{spent}",
        COLUMNS,
        initial_indent=f"{SYMBOLS[line.state]} {name:<{width}}  ",
        subsequent_indent=" " * (width + 4),
        break_long_words=False,
        break_on_hyphens=False,
    ) or [f"{SYMBOLS[line.state]} {name}"]
    return [*wrapped, f"  mend: {mend}"] if line.state is State.ILL and mend else wrapped


def _printable(text: str) -> str:
    """The text without what a terminal obeys: a name may come from anywhere."""
    return "".join(char if char.isprintable() else " " if char.isspace() else "" for char in text)
