"""Looks through what is packed: gzip, bzip2, xz, zip (jar, wheel, docx) and tar, one within the other.

Rules:
1. What a thing is, its first bytes say, not its name; of a zip that begins with a program, its last ones.
2. All is read from front to back, once, in pieces: memory is bounded whatever is unpacked, and so is what is unpacked.
   The directory at a zip's end is not needed for that: what was deleted from it is found as well.
3. The packed bytes themselves are searched, whatever becomes of the archive. What stands in both as it is (in a tar, or
   where nothing could be gained by packing) is told once, of the member.
4. What cannot be looked into is told. What is found in more members than people read is told of the whole.
"""

from __future__ import annotations

import bz2
import lzma
import struct
import zlib
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from keyrotor.core.swept import MOST, Hit
from keyrotor.sweeping import tar
from keyrotor.sweeping.finder import Block, Counts, Finder
from keyrotor.sweeping.left_out import LeftOut
from keyrotor.sweeping.source import PIECE, BrokenArchiveError, Member, Source

DEEPEST = 4  # a tar.gz counts as two
AT_LEAST = 1 << 30  # bytes that anything may unpack to …
FOLD = 200  # … or so many times its size: logs reach 100, bombs 1,000 and more
CHUNK = 1 << 20  # bytes: what is unpacked at a time
HEAD = 512  # bytes that tell what a thing is
TAIL = 65557  # bytes in which the end of a zip stands, its comment included
ZIP_END = b"PK\x05\x06"
PROGRAMS = (b"#!", b"MZ", b"\x7fELF")  # what a zip may be appended to
MEMBERS = 200  # of one thing, that are told one by one
_LONGEST = 300  # characters of a member's name that are told
_DICTIONARY = 128 << 20  # bytes of memory that an xz may ask for; `xz -9` asks for 65 MiB
_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_BY_SIZE_LATER, _ENCRYPTED = 1 << 3, 1
_TOO_DEEP = f"archives more than {DEEPEST} deep"
_ENCRYPTED_MEMBERS = "encrypted members of archives"

_OPENED = (
    (b"\x1f\x8b\x08", "gzip"),
    (b"\xfd7zXZ\0", "xz"),
    (b"PK\x03\x04", "zip"),
)
_CLOSED = (  # known, and not looked into
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
    (b"Rar!\x1a\x07", "rar"),
    (b"\x1f\x9d", "compress"),
    (b"LZIP", "lzip"),
    (b"!<arch>\ndebian", "deb"),
    (b"\xed\xab\xee\xdb", "rpm"),
    (b"hsqs", "squashfs"),
    (b"MSCF", "cab"),
)
_BY_START = {
    first: [(start, name) for start, name in (*_OPENED, *_CLOSED) if start.startswith(first)]
    for first in {start[:1] for start, _ in (*_OPENED, *_CLOSED)}
}
STARTS = frozenset((ord("B"), *(first[0] for first in _BY_START)))  # first bytes; a tar may have any


class _Unpacker(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: Block, max_length: int) -> bytes: ...


class _Inflate:
    """zlib's, with the manners of bz2's and lzma's."""

    def __init__(self, window: int) -> None:
        self._inner = zlib.decompressobj(window)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: Block, max_length: int) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail or data, max_length)


_UNPACKERS: dict[str, Callable[[], _Unpacker]] = {
    "gzip": lambda: _Inflate(16 + zlib.MAX_WBITS),
    "bzip2": bz2.BZ2Decompressor,
    "xz": lambda: lzma.LZMADecompressor(memlimit=_DICTIONARY),
    "deflate": lambda: _Inflate(-zlib.MAX_WBITS),
}
_METHODS = {8: "deflate", 12: "bzip2", 95: "xz"}  # of a zip
_OTHER_METHODS = frozenset((*range(1, 21), *range(93, 100)))  # that a zip may have, and that are not looked into


Note = Callable[[Sequence[int]], str]  # what is noted of a hit, told where its first few matches begin


def _nothing(_: Sequence[int]) -> str:
    return ""


def packing(head: bytes) -> str:
    """What the first 512 bytes say: a packing, or "" for none that is known."""
    for start, name in _BY_START.get(head[:1], ()):
        if head.startswith(start):
            return name
    if head.startswith(b"BZh") and head[4:10] == b"1AY&SY":  # the first three alone could be a word
        return "bzip2"
    return "tar" if head[257:262] == b"ustar" else ""


@dataclass(slots=True)
class Unpacking:
    """Searches one thing after the other, and all that is packed in it."""

    finder: Finder
    left_out: LeftOut
    raise_if_asked: Callable[[], None] = lambda: None
    is_streamed: bool = False  # nobody can say how a thing ends: a zip may be appended to any program
    size: int = 0  # bytes that were unpacked
    _left: int = 0  # bytes that may yet be unpacked of the present thing
    _is_over: bool = False
    _told: int = 0  # hits
    _room: int = 0  # hits of the present thing that may yet be told one by one
    _rest: Counter[tuple[str, str]] = field(default_factory=Counter)  # what stands in all others
    _others: int = 0

    def search(
        self, source: Source, name: str, size: int, kind: str = "file", note: Note = _nothing, *, packed: str = ""
    ) -> Iterator[Hit]:
        """What stands in a thing of this name and size, told as of this kind; and in all that is packed in it. How it
        is packed may be known."""
        self._left, self._is_over = AT_LEAST + FOLD * size, False
        self._room = min(MEMBERS, MOST // 2 - self._told)  # the other half is for what is told of a whole
        yield from self._look(source, name, kind, 0, note, packed)
        if self._rest:
            rest, others, self._rest, self._others = self._rest, self._others, Counter(), 0
            yield from self.finder.hits("archive", name, rest, f"all that stands in {others:,} more of its members")

    def _look(
        self, source: Source, name: str, kind: str, depth: int, note: Note = _nothing, packed: str = ""
    ) -> Generator[Hit, None, Counts]:
        told: Counter[tuple[str, str]] = Counter()  # of members
        try:
            for member in self._members(source, depth, packed or packing(source.peek(HEAD))):
                label = f"{name} › {_cut(member.name)}" if member.name else name
                inner = Source(member.chunks, self.finder.stream())
                counts = yield from self._look(inner, label, "archive", depth + 1, note)
                told.update(counts)
        except BrokenArchiveError as error:
            self._cannot_unpack(name, error)
        try:
            source.drain()
        except BrokenArchiveError as error:
            self._cannot_unpack(name, error)
        counts = source.stream.counts
        if not counts or not (left := Counter(counts) - told):
            return counts
        if depth and self._room <= 0:
            self._rest += left
            self._others += 1
            return counts
        for hit in self.finder.hits(kind, name, left, note(() if depth else source.stream.first)):
            self._room -= 1
            self._told += 1
            yield hit
        return counts

    def _cannot_unpack(self, name: str, error: BrokenArchiveError) -> None:
        """A bomb is told once, not once for each layer of it."""
        if not self._is_over:
            self.left_out.cannot_read(self.finder.shown(name), f"not unpacked to its end: {error}")
        self._is_over = self._is_over or self._left < 0

    def _members(self, source: Source, depth: int, kind: str) -> Iterator[Member]:
        if not kind:
            if (depth or self.is_streamed) and depth < DEEPEST and source.peek(4).startswith(PROGRAMS):
                yield from self._in_zip(source)
            return
        if depth >= DEEPEST:
            self.left_out.skipped[_TOO_DEEP] += 1
        elif kind == "zip":
            yield from self._in_zip(source)
        elif kind == "tar":
            yield from tar.members(source)
        elif kind in _UNPACKERS:
            yield Member("", self._all_unpacked(kind, source))
        else:
            self.left_out.skipped[f"{kind} archives"] += 1

    def _all_unpacked(self, kind: str, source: Source) -> Iterator[bytes]:
        """What is compressed, and what was appended to it in the same way; an xz may be padded."""
        while packing(source.peek(HEAD)) == kind:
            yield from self._unpacked(kind, source)
            while kind == "xz" and (padding := _nuls(source.peek(PIECE))):
                source.take(padding)

    def _unpacked(self, kind: str, source: Source, size: int | None = None) -> Iterator[bytes]:
        unpacker = _UNPACKERS[kind]()
        for piece in source.pieces(size):
            data: Block = piece
            while True:
                self.raise_if_asked()
                try:
                    unpacked = unpacker.decompress(data, CHUNK)
                except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError):
                    raise BrokenArchiveError(f"its {kind} is damaged") from None
                self.size += len(unpacked)
                self._left -= len(unpacked)
                yield unpacked
                if self._left < 0:
                    raise BrokenArchiveError(f"more than {FOLD} times its size, and than 1 GiB, is packed in it")
                if unpacker.eof:
                    source.give_back(len(unpacker.unused_data))
                    return
                if unpacker.needs_input:
                    break
                data = b""
        raise BrokenArchiveError("it ends too early")

    def _in_zip(self, source: Source) -> Iterator[Member]:
        """Member by member; where one is damaged, or its size is not known, from where the next one begins."""
        while source.skip_to(b"PK\x03\x04"):
            header = source.peek(_LOCAL.size)
            if len(header) < _LOCAL.size:
                return
            _, version, flags, method, _, _, _, packed, _, name_size, extra_size = _LOCAL.unpack(header)
            if version > 0xFF or (method and method not in _METHODS and method not in _OTHER_METHODS):
                source.take(4)  # a program has this mark where it looks for it
                continue
            source.take(_LOCAL.size)
            name = source.take(name_size).decode("utf-8", "surrogateescape")
            extra = source.take(extra_size)
            size = _long_size(extra) if packed == 0xFFFFFFFF else packed
            is_known = not flags & _BY_SIZE_LATER
            if flags & _ENCRYPTED:
                self.left_out.skipped[_ENCRYPTED_MEMBERS] += 1
            elif method == 0 and is_known:
                body = source.pieces(size)
                yield Member(name, body)
                for _ in body:
                    pass
            elif method in _METHODS:
                yield Member(name, self._unpacked(_METHODS[method], source, size if is_known else None))
            elif method:
                self.left_out.skipped[f"members of a zip packed by its method {method}"] += 1


def _nuls(data: bytes) -> int:
    """How many nuls it begins with, in fours."""
    return (len(data) - len(data.lstrip(b"\0"))) // 4 * 4


def _cut(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[:_LONGEST]}…"


def _long_size(extra: bytes) -> int:
    """The packed size of a member of more than 4 GiB."""
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<HH", extra)
        if kind == 1 and size >= 16:
            return int.from_bytes(extra[12:20], "little")
        extra = extra[4 + size :]
    return 0
