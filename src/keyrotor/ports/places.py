"""The ports of what holds the secret: a place, a client, a file made from the encrypted one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from keyrotor.core.materialised import Compared
from keyrotor.core.model import Holds, Value
from keyrotor.core.preview import Change
from keyrotor.secret import Pair, Secret


class Place(Protocol):
    """Anything that holds the secret or answers to it."""

    def check(self, pair: Pair) -> list[str]:
        """Every reason why this place could not be changed, or changed back later. Writes nothing; never raises."""

    def holds(self, pair: Pair) -> Holds:
        """What it holds now. Writes nothing; what cannot be told is `unknown`."""

    def put(self, goal: Value, pair: Pair) -> str:
        """Make it hold that value, durably, and read it again; says in a word what was done.
        Must be safe after nothing, after half, and twice. Raises PlaceError."""

    def prepare(self, goal: Value, pair: Pair) -> None:
        """Work out in memory what a put would write, where that is slow. Raises PlaceError where it would fail."""

    def after(self, goal: Value, pair: Pair) -> str:
        """Once the goal is proven, of a place that was put: make what runs there take it up, if the playbook says how;
        says what a person must do besides, "" if nothing. Must be safe to call twice. Raises PlaceError."""

    def shows(self) -> Sequence[Secret]:
        """Every value that can be read there and might be this secret, of today or of before. Writes nothing; a place
        that cannot be read, or that only answers, shows none."""

    def changes(self, pair: Pair) -> Sequence[Change]:
        """What a put of the new value would do there, without a byte of it. Writes nothing. Raises PlaceError."""

    def inputs(self) -> Sequence[Path]:
        """The files that `changes` is told from, there or not. Writes nothing. Raises PlaceError."""


@runtime_checkable
class Client(Protocol):
    def broken(self, pair: Pair) -> Sequence[tuple[str, str]]:
        """Path and form of every reference to the key that this place's client sends as it is. Writes nothing."""


class Materialised(Protocol):
    """An env file that is made from the encrypted file. `only` names the keys in question; all, if there are none."""

    @property
    def has_leftover(self) -> bool:
        """Whether a killed writer left something beside it, which may hold values."""

    def tidy(self) -> None:
        """Finish or clear away what a killed writer left. Raises PlaceError."""

    def compared(self, values: Mapping[str, Secret], only: Sequence[str] = ()) -> Compared:
        """How it stands beside these values. Writes nothing. Raises PlaceError."""

    def materialise(self, values: Mapping[str, Secret], only: Sequence[str] = ()) -> None:
        """Make it hold them, durably, and read it again. Must be safe to call twice. Raises PlaceError."""

    def values(self) -> dict[str, Secret]:
        """Every value in it. Writes nothing. Raises PlaceError."""
