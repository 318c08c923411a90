"""What `bootstrap` finds and makes, one thing for each file or fact. Pure data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from keyrotor.errors import RefusedError

HOSTS = ("systemd", "compose", "launchd", "command")  # what may keep a gateway running
MASTER = "LITELLM_MASTER_KEY"
SALT = "LITELLM_SALT_KEY"


class State(StrEnum):
    """How a thing stands."""

    MAKE = "make"  # it is not there
    KEEP = "keep"  # it is there, and stays as it is
    DIFFERS = "differs"  # it is there, stays as it is, and would be made otherwise
    BY_HAND = "by-hand"  # a person has to do it


SYMBOLS = {State.MAKE: "+", State.KEEP: "=", State.DIFFERS: "~", State.BY_HAND: "!"}


@dataclass(frozen=True, slots=True)
class Asked:
    """What the person who types `bootstrap` asks for."""

    folder: str = ""  # absolute
    identity: str = ""  # `keyring` or a file
    host: str = ""
    url: str = ""
    command: str = ""  # how it is typed again, without an identity
    again: str = ""  # the same with it


@dataclass(frozen=True, slots=True)
class Thing:
    """One thing of a lab. Holds no value: neither in its words nor in its lines."""

    id: str
    label: str  # a path, a unit, a name
    state: State
    said: str = ""
    mend: str = ""  # the command to type
    diff: tuple[str, ...] = ()  # what would be different, without a value

    def lines(self) -> list[str]:
        """As a person reads it."""
        said = f": {self.said}" if self.said else ""
        mend = [f"    mend: {self.mend}"] if self.mend else []
        return [f"  {SYMBOLS[self.state]} {self.label}{said}", *mend, *(f"    {line}" for line in self.diff)]

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "label": self.label,
            "state": self.state,
            "said": self.said,
            "mend": self.mend,
            "diff": list(self.diff),
        }


@dataclass(frozen=True, slots=True)
class Step:
    """One thing, and what makes it; None where there is nothing to be made."""

    thing: Thing
    make: Callable[[], None] | None = None  # raises PlaceError, RefusedError
    path: str = ""  # the file that it makes, absolute


@dataclass(frozen=True, slots=True)
class Survey:
    """What there is of a lab and what is missing, in the order in which it is made."""

    steps: tuple[Step, ...]
    secret_file: str  # absolute
    host: str
    why: str  # it is this one
    next: tuple[str, ...] = ()  # the commands to type after it
    refused: RefusedError | None = None  # why nothing can be made; a run that is owed comes before that

    @property
    def things(self) -> tuple[Thing, ...]:
        return tuple(step.thing for step in self.steps)


def count(things: Sequence[Thing], state: State) -> int:
    return sum(thing.state is state for thing in things)
