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


def make_private(path: Path) -> bool:
    """Where others may do anything with the file, only its owner may from now on; whether that was so."""
    try:
        mode = stat.S_IMODE(os.stat(path).st_mode)
        if mode & OTHERS:
            os.chmod(path, mode & 0o700)
    except OSError as error:
        raise PlaceError(f"cannot write {path}: {why(error)}") from None
    return bool(mode & OTHERS)
