"""What would be different in a file that is left as it is. Pure.

Rule: of what stands there nothing is shown, for any of it may be a value; only what would be added.
"""

from __future__ import annotations

from collections.abc import Sequence


def added(lines: Sequence[str]) -> tuple[str, ...]:
    """Lines that would be added."""
    return tuple(f"+{line}" for line in lines)
