"""The mode of a file that is there: what others must not read is taken from them before a value is put into it.

A group that may read it was given it on purpose (root's file for a service's group); others never are.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from keyrotor.boundary.files import why
from keyrotor.errors import PlaceError

OTHERS = 0o007


def make_private(path: Path) -> None:
    """Where others may do anything with the file, only its owner may from now on. Raises PlaceError."""
    try:
        mode = stat.S_IMODE(os.stat(path).st_mode)
    except OSError as error:
        raise PlaceError(f"cannot write {path}: {why(error)}") from None
    if mode & OTHERS:
        give_mode(path, mode & 0o700)


def give_mode(path: Path, mode: int) -> None:
    """The file with this mode. Raises PlaceError."""
    try:
        os.chmod(path, mode)
    except OSError as error:
        raise PlaceError(f"cannot write {path}: {why(error)}") from None
