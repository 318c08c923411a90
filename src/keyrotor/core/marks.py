"""How far a row of a plan is: what the record says of it in the run's present direction. Pure data."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from keyrotor.core.model import ALREADY

INCIDENT = "inc-"  # an incident's id begins so; a run's has six hex digits alone


class Step(StrEnum):
    """The tense of a row tells its state."""

    PENDING = "pending"
    MOVING = "moving"
    MOVED = "moved"
    FAILED = "failed"
    PASSED = "passed"


@dataclass(frozen=True, slots=True)
class Mark:
    """What the record says of one row, in the run's present direction."""

    step: Step = Step.PENDING
    failures: int = 0
    reason: str = ""
    detail: str = ""
    unproven: bool = False
    drifts: frozenset[str] = frozenset()
    has_begun: bool = False  # some `moving`, in either direction, stands in the record
    is_again: bool = False  # more than one: what it holds already may be what a killed put has written

    @property
    def was_put(self) -> bool:
        """Whether it holds the goal by a put of this run, and not by itself."""
        return self.has_begun and self.step is Step.MOVED and (self.is_again or self.detail != ALREADY)

    @property
    def is_done(self) -> bool:
        return self.step in (Step.MOVED, Step.PASSED)
