"""What a killed writer left of a file: a hidden sibling, or the intent of a write in place. Looks, and changes nothing.

Both have fixed names, so that they are found; both may hold a value in clear.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from keyrotor.boundary import in_place
from keyrotor.boundary.reading import digest, exists, look

# Where an intent lies that its file's folder does not take: a private folder, which the world names when it begins.
aside: Path | None = None


def sibling_of(path: Path) -> Path:
    """The hidden name beside a file that its next content is written under."""
    real = Path(os.path.realpath(path))
    return real.with_name(f".{real.name}.keyrotor")


def has_other_names(path: Path) -> bool:
    """Whether the file has more names than its own, but for a sibling that a killed run left as its second."""
    status = os.stat(path)
    try:
        is_twin = os.path.samestat(os.lstat(sibling_of(path)), status)
    except FileNotFoundError:
        is_twin = False
    return status.st_nlink - is_twin > 1


def intents(path: Path) -> list[Path]:
    """Where the intent of a write in place may lie: beside the file, or aside, under a name made of its real path."""
    name = digest(os.fsencode(os.path.realpath(path)))
    return [sibling_of(path), *([aside / f"{name}.keyrotor"] if aside else [])]


def leftovers(path: Path) -> list[Path]:
    """What a killed run left of this file: its sibling, or the intent of a write in place. A folder is none of ours."""
    return [each for each in intents(path) if os.path.lexists(each) and not os.path.isdir(each)]


def begun(path: Path) -> Iterator[tuple[bytes, bytes]]:
    """Both contents of every write in place of this file that was begun, or was to be."""
    for leftover in leftovers(path):
        if exists(leftover) and (found := in_place.parsed(look(leftover).data)):
            yield found


def is_torn(path: Path, data: bytes) -> bool:
    """Whether `data` of this file is what a writer in place left that was killed, or is at it."""
    return _mended(path, data) != data


def whole(path: Path) -> bytes:
    """What the file holds; of a torn one, what the next put makes of it first. Raises PlaceError."""
    return _mended(path, look(path).data)


def _mended(path: Path, data: bytes) -> bytes:
    torn = (new for old, new in begun(path) if data not in (old, new) and in_place.is_torn(data, old, new))
    return next(torn, data)
