"""A file as it was when it was read: what its next write is compared with."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from keyrotor.errors import PlaceError


@dataclass(frozen=True, slots=True)
class Look:
    """A file as it was when it was read."""

    path: Path  # real path
    data: bytes
    mode: int

    @property
    def digest(self) -> str:
        return digest(self.data)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def look(path: Path) -> Look:
    """The file behind the path, links followed. Raises PlaceError, FileNotFoundError never."""
    try:
        real = Path(os.path.realpath(path))
        with open(real, "rb", opener=without_waiting) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise PlaceError(f"cannot read {path}: it is not a file")
            return Look(real, file.read(), stat.S_IMODE(status.st_mode))
    except OSError as error:
        raise PlaceError(f"cannot read {path}: {why(error)}") from None


def without_waiting(path: str, flags: int) -> int:
    """A pipe would keep us waiting for its writer before we could see that it is one."""
    return os.open(path, flags | os.O_NONBLOCK)


def inode(path: Path | str) -> tuple[int, int] | None:
    """What tells a file from every other, whatever it is called; None where there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def exists(path: Path) -> bool:
    return os.path.exists(path)


def why(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()
