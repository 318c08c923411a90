"""A large file, chunk by chunk, without its holes; and the lines in which something stands."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Sequence

from keyrotor.sweeping.finder import Block

_HEAD_OF_TEXT = 8192  # bytes without a nul, as for git
_UNIT = 512  # bytes: what st_blocks counts, whatever the file system
_HOLES = 1 << 30  # bytes of holes that are read of an archive: `cp --sparse` makes some, nobody an exabyte
_INLINE = 1 << 20  # bytes: what is smaller may lie where no block is counted


def on_disk(status: os.stat_result) -> int:
    """The bytes of a file that are there to be read: the holes of a sparse one are not."""
    blocks = status.st_blocks * _UNIT
    return min(status.st_size, blocks) if blocks or status.st_size >= _INLINE else status.st_size


def chunks(descriptor: int, status: os.stat_result, room: memoryview, *, is_packed: bool) -> Iterator[memoryview]:
    """What is in the file, as far as it went when it was opened; each chunk stands where the one before stood.

    A hole of any size is one nul. Only of an archive some are read, for its parts are found by counting.
    """
    is_sparse = status.st_blocks * _UNIT < status.st_size
    at = until = 0
    holes = _HOLES if is_packed else 0  # what may yet be read of them
    while at < status.st_size:
        if at >= until:
            data, until = _stretch(descriptor, at, status.st_size) if is_sparse else (at, status.st_size)
            holes -= data - at
            if data > at and holes < 0:
                room[0] = 0
                yield room[:1]
                at, holes = data, 0
        size = os.preadv(descriptor, (room[: until - at],), at)
        if not size:
            return
        at += size
        yield room[:size]


def _stretch(descriptor: int, at: int, end: int) -> tuple[int, int]:
    """Where the next data begin, and where they end."""
    try:
        data = os.lseek(descriptor, at, os.SEEK_DATA)
    except OSError as error:
        if error.errno != errno.ENXIO:  # nothing but a hole is left
            raise
        return end, end
    return data, min(os.lseek(descriptor, data, os.SEEK_HOLE), end)


def lines(blocks: Iterable[Block], offsets: Sequence[int]) -> list[int]:
    """The numbers of the lines in which these offsets are; none if it is not text, or there are no offsets."""
    found: list[int] = []
    before, line = 0, 1
    for block in blocks if offsets else ():
        data = bytes(block)
        if not before and b"\0" in data[:_HEAD_OF_TEXT]:
            return []
        done = 0
        for offset in offsets[len(found) :]:
            if offset >= before + len(data):
                break
            line += data.count(b"\n", done, offset - before)
            done = offset - before
            found.append(line)
        if len(found) == len(offsets):
            break
        line += data.count(b"\n", done)
        before += len(data)
    return list(dict.fromkeys(found))
