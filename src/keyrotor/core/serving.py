"""What an install or a removal of the gateway's unit would do. Pure data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from keyrotor.errors import Exit, refused


class FileState(StrEnum):
    """What becomes of a file."""

    NEW = "new"
    CHANGED = "changed"
    SAME = "same"
    REPLACED = "replaced"  # somebody else's stood there, and is kept
    REMOVED = "removed"
    BROUGHT_BACK = "brought-back"


@dataclass(frozen=True, slots=True)
class Wish:
    """What the person who types `service` asks for besides."""

    book: str = ""  # the playbook as it was named, quoted for a shell
    is_system: bool = False
    replace: bool = False
    socket: bool | None = None  # None leaves it as it is installed, or takes one
    litellm: str = ""  # a path; "" leaves it to be found

    def command(self, verb: str, *options: str) -> str:
        """What to type for the same playbook and scope."""
        system = ["--system"] if self.is_system else []
        return " ".join(word for word in ("keyrotor service", verb, *system, *options, self.book) if word)


@dataclass(frozen=True, slots=True)
class Intent:
    """What would be done, before anything is."""

    unit: str
    scope: str
    files: Mapping[str, FileState]  # by path
    lines: tuple[str, ...]  # as a person reads it
    reasons: tuple[str, ...] = ()  # why it must not be
    hint: str = ""
    notes: tuple[str, ...] = ()
    is_none: bool = False  # there is nothing to do
    was_active: bool = False  # whether the unit that stands there now is up, or the one that would be brought back was
    keeps_former: bool = False  # whether an install before has put aside what stood there

    def want_possible(self) -> None:
        """Raises RefusedError where it must not be."""
        if self.reasons:
            raise refused(f"cannot go on with {self.unit}", self.reasons, self.hint)


class Installed(Protocol):
    """How an install or a removal ended."""

    @property
    def exit(self) -> Exit: ...
    def lines(self) -> Iterable[str]: ...
    def as_json(self) -> Mapping[str, Any]: ...


# The outcomes of an install or a removal, for people.
SAID = {
    "installed": "installed",
    "removed": "removed",
    "nothing-to-do": "nothing to do",
    "not-agreed": "not agreed to; nothing was changed",
    "dry-run": "nothing was changed",
}


@dataclass(frozen=True, slots=True)
class Removed:
    """How a removal ended, as far as it could not be told before."""

    is_started: bool  # whether the unit of before was
    notes: tuple[str, ...] = ()
