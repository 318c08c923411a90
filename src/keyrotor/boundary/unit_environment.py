"""Where a unit's variable comes from: which of its environment files sets it last, and wins.

Measured on systemd 252: files are read in the order they are shown in, a pattern's in sorted order, the last
that sets a variable wins, with an empty value too; all of them win over Environment= and PassEnvironment=;
UnsetEnvironment=NAME takes it away in the end. `export NAME=…` sets nothing, a blank before or after the name
is no part of it, a line that ends in a backslash goes on.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from glob import glob
from pathlib import Path

from keyrotor.boundary import files
from keyrotor.boundary.unit_text import Unit


@dataclass(frozen=True, slots=True)
class Source:
    """A file from which a unit's environment is read."""

    path: Path
    is_optional: bool


def sources(unit: Unit) -> Iterator[Source]:
    """Every environment file of the unit in the order in which they are read, patterns resolved."""
    for each in unit.environment_files:
        is_pattern = any(sign in each.path for sign in "*?[")
        for path in sorted(glob(each.path)) if is_pattern else [each.path]:
            yield Source(Path(path), each.is_optional)


def sets(path: Path, variable: str) -> bool:
    """Whether systemd would take the variable from this file, with whatever value. Raises PlaceError."""
    if not files.exists(path):
        return False
    text = files.look(path).data.replace(b"\\\r\n", b"").replace(b"\\\n", b"")
    return re.search(rb"^[ \t]*" + re.escape(variable.encode()) + rb"[ \t]*=", text, re.MULTILINE) is not None


def ignores(path: Path, variable: str) -> bool:
    """Whether the file is meant to set the variable, and systemd takes it for nothing. Raises PlaceError."""
    if not files.exists(path) or sets(path, variable):
        return False
    named = rb"^[ \t]*export[ \t]+" + re.escape(variable.encode()) + rb"[ \t]*="
    return re.search(named, files.look(path).data, re.MULTILINE) is not None


def overriding(unit: Unit, variable: str, ours: Sequence[Path]) -> list[str]:
    """What keeps the unit from taking the variable from the last of our env files: later files, UnsetEnvironment=.

    Nothing where none of ours sets it: then somebody else writes what the unit reads. Raises PlaceError.
    """
    read = [source.path for source in sources(unit)]
    at = [index for index, path in enumerate(read) if is_one_of(path, ours) and sets(path, variable)]
    if not at:
        return []
    later = [str(path) for path in read[at[-1] + 1 :] if sets(path, variable)]
    return later + (["UnsetEnvironment="] if variable in unit.removed else [])


def is_one_of(path: Path, others: Sequence[Path]) -> bool:
    """Whether it is one of these files, under whatever name."""
    real = os.path.realpath(path)
    return any(real == os.path.realpath(other) for other in others)
