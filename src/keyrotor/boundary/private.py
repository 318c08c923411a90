"""Whom a file belongs to and who may read it: what others must not read is taken from them before a value is in it.

A group that may read it was given it on purpose (root's file for a service's group); others never are.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from keyrotor.boundary.reading import why
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


def dress_like(descriptor: int, path: Path) -> None:
    """Owner first (it clears bits), then attributes and mode: never wider than the file it replaces.

    The folder may have given the new file a group (setgid) or readers (a default ACL) of its own.
    """
    status, given = os.stat(path), os.fstat(descriptor)
    if (status.st_uid, status.st_gid) != (given.st_uid, given.st_gid):
        os.fchown(descriptor, status.st_uid, status.st_gid)
    for name in set(os.listxattr(descriptor)) - set(os.listxattr(path)):
        os.removexattr(descriptor, name)
    for name in os.listxattr(path):
        try:
            os.setxattr(descriptor, name, os.getxattr(path, name))
        except OSError as error:
            if error.errno not in (errno.ENOTSUP, errno.EPERM, errno.EACCES):
                raise
    os.fchmod(descriptor, stat.S_IMODE(status.st_mode))
