"""What a finding is: its kind, how much it matters, and the words of it. Pure data; the kinds are in `findings`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

ROTATE = "keyrotor rotate {playbook}"  # what mends whatever has been seen by others


class Severity(StrEnum):
    """How much it matters. `low`: worth knowing; `medium`: will hurt one day; `high`: hurts now."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"

    @property
    def rank(self) -> int:
        return list(Severity).index(self)


@dataclass(frozen=True, slots=True)
class Kind:
    """One row of the catalogue."""

    id: str
    severity: Severity
    text: str  # what was found; the place stands before it
    why: str  # why it matters
    mend: str  # the command to type, or what to do
    outdone_by: tuple[str, ...] = ()  # kinds of which this one only follows: where one is found, this is left out


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found at one place."""

    id: str
    severity: Severity
    place: str  # what a person reads: a path, a unit, an address, a key's name
    text: str
    why: str
    mend: str


def typed(path: str) -> str:
    """A path as it is typed in a shell; `~` stays in front of the quotes, where the shell still reads it."""
    if re.fullmatch(r"[A-Za-z0-9_@%+=:,./~-]+", path):
        return path
    home, rest = ("~/", path[2:]) if path.startswith("~/") else ("", path)
    return home + "'" + rest.replace("'", "'\\''") + "'"
