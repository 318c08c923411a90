"""Bytes that come in chunks, searched as they pass, and taken from the front by whoever unpacks them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from keyrotor.sweeping.finder import Block, Stream

PIECE = 64 * 1024  # bytes: what an unpacker is given at a time; what it does not need is copied


class BrokenArchiveError(Exception):
    """An archive is not what its first bytes promised; says why, and nothing of what is in it."""


@dataclass(frozen=True, slots=True)
class Member:
    """A part of what is packed."""

    name: str  # "" for the one thing that is compressed
    chunks: Iterator[Block]


@dataclass(slots=True)
class Source:
    """A chunk is searched once, when it is fetched; a chunk may be overwritten when the next one is fetched."""

    chunks: Iterator[Block]
    stream: Stream
    _held: memoryview = field(default_factory=lambda: memoryview(b""))
    _at: int = 0  # what of the held chunk has been taken

    def peek(self, size: int) -> bytes:
        """The next bytes, which stay; fewer where it ends."""
        while len(self._held) - self._at < size:
            rest = bytes(self._held[self._at :])
            if not self._fetch():
                self._held, self._at = memoryview(rest), 0
                break
            if rest:
                self._held = memoryview(rest + self._held)
        return bytes(self._held[self._at : self._at + size])

    def take(self, size: int) -> bytes:
        """The next bytes; fewer where it ends. For what is small: it is held whole."""
        taken = self.peek(size)
        self._at += len(taken)
        return taken

    def pieces(self, size: int | None = None) -> Iterator[memoryview]:
        """The next bytes, or all that are left, piece by piece. Raises BrokenArchiveError where it ends before."""
        while size is None or size > 0:
            if self._at == len(self._held) and not self._fetch():
                if size is not None:
                    raise BrokenArchiveError("it ends too early")
                return
            piece = self._held[self._at : self._at + (PIECE if size is None else min(PIECE, size))]
            self._at += len(piece)
            if size is not None:
                size -= len(piece)
            yield piece

    def give_back(self, size: int) -> None:
        """The last bytes of the last piece were not needed."""
        self._at -= size

    def skip_to(self, mark: bytes) -> bool:
        """Go on to where the mark stands next, if it does."""
        while self.peek(len(mark)) != mark:
            window = self.peek(PIECE)
            at = window.find(mark, 1)
            if at < 0 and len(window) < PIECE:
                return False
            self._at += at if at > 0 else len(window) - len(mark) + 1
        return True

    def drain(self) -> None:
        """Search all that is left."""
        while self._fetch():
            pass

    def _fetch(self) -> bool:
        for chunk in self.chunks:
            self.stream.feed(chunk)
            self._held, self._at = memoryview(chunk), 0
            if len(chunk):
                return True
        self._held, self._at = memoryview(b""), 0
        return False
