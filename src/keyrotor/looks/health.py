"""What a healthcheck asks, all of it at once: how a question looks, and how its answers become lines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol

from keyrotor.boundary import network
from keyrotor.boundary.http import Asking
from keyrotor.core.checkup import Line


class Ask(Protocol):
    """Something that is asked over the network."""

    async def lines(self, asking: Asking) -> list[Line]:
        """What it said. Raises nothing of the world's."""

    def late(self, allowed: float) -> list[Line]:
        """What is told where it said nothing in so many seconds."""


def asked(
    items: Sequence[Ask | Line], within: float, rest: Callable[[float], None], told: Callable[[int, int], None]
) -> list[Line]:
    """Their lines, in their order; what is a line already stays where it stands."""
    asking = Asking()
    questions = [partial(item.lines, asking) for item in items if not isinstance(item, Line)]
    answers = iter(network.at_once(questions, within=within, rest=rest, told=told))
    lines: list[Line] = []
    for item in items:
        if isinstance(item, Line):
            lines.append(item)
            continue
        one = next(answers)
        first, *more = one.answer if one.answer is not None else item.late(one.allowed)
        lines += [replace(first, seconds=one.seconds), *more]
    return lines
