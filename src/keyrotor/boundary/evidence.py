"""What is taken into evidence from files: the end of a log, packed or not, and a file's imprint, owner and times.

Rules: a file is read and never touched; what is read is bounded, and what was left out is told; an imprint is salted,
for a plain hash of a file that holds a key alone would be the key's.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BufferedReader
from pathlib import Path
from typing import Protocol

from keyrotor.boundary import reading
from keyrotor.errors import PlaceError

MOST = 16 * 1024 * 1024  # bytes of one log
UNPACKED = 1024 * 1024 * 1024  # bytes that a packed one may come to
_PIECE = 1024 * 1024
_GZIP, _BZIP2, _XZ, _ZSTD = b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd"


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Traits:
    """What a file is besides its content; "" for what is not known."""

    mode: str = ""
    owner: str = ""  # user:group
    changed: str = ""  # ISO 8601 in UTC


def imprint(path: Path, salt: str) -> str:
    """A salted digest of path, mode and content; "" where there is no file. Raises PlaceError."""
    if not reading.exists(path):
        return ""
    seen = reading.look(path)
    return reading.digest(bytes.fromhex(salt) + b"%b\0%o\0" % (bytes(seen.path), seen.mode) + seen.data)


def traits(path: Path) -> Traits:
    """Those of the file behind the path."""
    try:
        status = os.stat(path)
    except OSError:
        return Traits()
    changed = datetime.fromtimestamp(status.st_mtime, UTC).isoformat()
    return Traits(f"{stat.S_IMODE(status.st_mode):04o}", f"{_user(status.st_uid)}:{_group(status.st_gid)}", changed)


def tail(path: Path, most: int = MOST) -> tuple[bytes, int]:
    """The end of the file, unpacked if it is packed, and how many bytes before it are left out. Raises PlaceError."""
    try:
        with open(path, "rb", opener=reading.without_waiting) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise PlaceError(f"cannot read {path}: it is not a file")
            begin = file.peek(8)
            if begin.startswith(_ZSTD):
                raise PlaceError(f"cannot read {path}: it is packed by zstd, which is not unpacked here")
            if begin.startswith((_GZIP, _BZIP2, _XZ)):
                return _end_of(_pieces(_unpacked(begin, file), path), most)
            skipped = max(0, status.st_size - most)
            file.seek(skipped)
            return file.read(most), skipped
    except OSError as error:
        raise PlaceError(f"cannot read {path}: {reading.why(error)}") from None


def _unpacked(begin: bytes, file: BufferedReader) -> _Readable:
    if begin.startswith(_GZIP):
        import gzip

        return gzip.GzipFile(fileobj=file)
    if begin.startswith(_BZIP2):
        import bz2

        return bz2.BZ2File(file)
    import lzma

    return lzma.LZMAFile(file)


def _pieces(file: _Readable, path: Path) -> Iterator[bytes]:
    """All of it, piece by piece; what the packers' own errors say is told in our words."""
    from lzma import LZMAError
    from zlib import error as zlib_error

    count = 0
    try:
        while piece := file.read(_PIECE):
            yield piece
            if (count := count + len(piece)) > UNPACKED:
                raise PlaceError(f"cannot read {path}: it unpacks to more than {UNPACKED // 2**20} MiB")
    except (LZMAError, zlib_error, EOFError, ValueError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise PlaceError(f"cannot read {path}: it is packed, and broken") from None


def _end_of(pieces: Iterator[bytes], most: int) -> tuple[bytes, int]:
    kept, count = bytearray(), 0
    for piece in pieces:
        count += len(piece)
        kept += piece
        if len(kept) > 2 * most:
            del kept[:-most]
    return bytes(kept[-most:]), max(0, count - most)


def _user(number: int) -> str:
    import pwd

    with suppress(KeyError):
        return pwd.getpwuid(number).pw_name
    return str(number)


def _group(number: int) -> str:
    import grp

    with suppress(KeyError):
        return grp.getgrgid(number).gr_name
    return str(number)
