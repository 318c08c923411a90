"""What an install or a removal of the gateway's unit would do. Pure data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


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
    """What the person who types `service install` asks for besides."""

    is_system: bool = False
    replace: bool = False
    socket: bool = True
    litellm: str = ""  # a path; "" leaves it to be found


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
