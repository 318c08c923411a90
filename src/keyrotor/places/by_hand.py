"""A place that only a person can change: a put does nothing, and what is left to do is told at the end."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from keyrotor.core.model import Holds, Value
from keyrotor.core.preview import Change
from keyrotor.secret import Pair, Secret


@dataclass(frozen=True, slots=True)
class ByHand:
    task: str

    def check(self, pair: Pair) -> list[str]:
        return []

    def holds(self, pair: Pair) -> Holds:
        return Holds.UNKNOWN

    def put(self, goal: Value, pair: Pair) -> str:
        return "left to a person"

    def prepare(self, goal: Value, pair: Pair) -> None:
        """Nothing: there is nothing to write."""

    def after(self, goal: Value, pair: Pair) -> str:
        return self.task

    def shows(self) -> list[Secret]:
        return []

    def changes(self, pair: Pair) -> list[Change]:
        return [Change(text=self.task, by_hand=True)]

    def inputs(self) -> list[Path]:
        return []
