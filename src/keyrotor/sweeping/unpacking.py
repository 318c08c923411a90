"""Looks through what is packed: gzip, bzip2, xz, zip (jar, wheel, docx) and tar, one within the other.

Rules:
1. What a thing is, its first bytes say, not its name.
2. All is read from front to back, once, in pieces: memory is bounded whatever is unpacked, and so is what is unpacked.
   The directory at a zip's end is not needed for that: what was deleted from it is found as well.
3. The packed bytes themselves are searched, whatever becomes of the archive. What stands in both as it is (in a tar, or
   where nothing could be gained by packing) is told once, of the member.
4. What cannot be looked into is told.
"""

from __future__ import annotations

import bz2
import lzma
import re
import struct
import tarfile
import zlib
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from keyrotor.core.swept import Hit
from keyrotor.sweeping.finder import Block, Counts, Finder
from keyrotor.sweeping.left_out import LeftOut
from keyrotor.sweeping.source import BrokenArchiveError, Source

DEEPEST = 4  # a tar.gz counts as two
AT_LEAST = 1 << 30  # bytes that anything may unpack to …
FOLD = 200  # … or so many times its size: logs reach 100, bombs 1,000 and more
CHUNK = 1 << 20  # bytes: what is unpacked at a time
HEAD = 512  # bytes that tell what a thing is
_DICTIONARY = 128 << 20  # bytes of memory that an xz may ask for; `xz -9` asks for 65 MiB
_EXTRA = 64 * 1024  # bytes: a tar's or a zip's longest note about a member that is read
_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_BY_SIZE_LATER, _ENCRYPTED = 1 << 3, 1
_NO_DATA = frozenset(
    (tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE)
)
_NOTES = frozenset((tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE))
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


Note = Callable[[Sequence[int]], str]  # what is noted of a hit, told where its first few matches begin


def _nothing(_: Sequence[int]) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class _Member:
    name: str  # "" for the one thing that is compressed
    chunks: Iterator[Block]


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
    size: int = 0  # bytes that were unpacked
    _left: int = 0  # bytes that may yet be unpacked of the present thing
    _is_over: bool = False

    def search(self, source: Source, name: str, size: int, kind: str = "file", note: Note = _nothing) -> Iterator[Hit]:
        """What stands in a thing of this name and size, told as of this kind; and in all that is packed in it."""
        self._left, self._is_over = AT_LEAST + FOLD * size, False
        yield from self._look(source, name, kind, 0, note)

    def _look(
        self, source: Source, name: str, kind: str, depth: int, note: Note = _nothing
    ) -> Generator[Hit, None, Counts]:
        told: Counter[tuple[str, str]] = Counter()  # of members
        try:
            for member in self._members(source, depth):
                label = f"{name} › {member.name}" if member.name else name
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
        if counts and (left := Counter(counts) - told):
            yield from self.finder.hits(kind, name, left, note(() if depth else source.stream.first))
        return counts

    def _cannot_unpack(self, name: str, error: BrokenArchiveError) -> None:
        """A bomb is told once, not once for each layer of it."""
        if not self._is_over:
            self.left_out.cannot_read(self.finder.shown(name), f"not unpacked to its end: {error}")
        self._is_over = self._is_over or self._left < 0

    def _members(self, source: Source, depth: int) -> Iterator[_Member]:
        kind = packing(source.peek(HEAD))
        if not kind:
            return
        if depth >= DEEPEST:
            self.left_out.skipped[_TOO_DEEP] += 1
        elif kind == "zip":
            yield from self._in_zip(source)
        elif kind == "tar":
            yield from _in_tar(source)
        elif kind in _UNPACKERS:
            yield _Member("", self._all_unpacked(kind, source))
        else:
            self.left_out.skipped[f"{kind} archives"] += 1

    def _all_unpacked(self, kind: str, source: Source) -> Iterator[bytes]:
        """What is compressed, and what was appended to it in the same way; an xz may be padded."""
        while packing(source.peek(HEAD)) == kind:
            yield from self._unpacked(kind, source)
            while kind == "xz" and source.peek(4) == bytes(4):
                source.take(4)

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

    def _in_zip(self, source: Source) -> Iterator[_Member]:
        """Member by member; where one is damaged, or its size is not known, from where the next one begins."""
        while source.skip_to(b"PK\x03\x04"):
            header = source.take(_LOCAL.size)
            if len(header) < _LOCAL.size:
                return
            _, _, flags, method, _, _, _, packed, _, name_size, extra_size = _LOCAL.unpack(header)
            name = source.take(name_size).decode("utf-8", "surrogateescape")
            extra = source.take(extra_size)
            size = _long_size(extra) if packed == 0xFFFFFFFF else packed
            is_known = not flags & _BY_SIZE_LATER
            if flags & _ENCRYPTED:
                self.left_out.skipped[_ENCRYPTED_MEMBERS] += 1
            elif method == 0 and is_known:
                body = source.pieces(size)
                yield _Member(name, body)
                for _ in body:
                    pass
            elif method in _METHODS:
                yield _Member(name, self._unpacked(_METHODS[method], source, size if is_known else None))
            elif method:
                self.left_out.skipped[f"members of a zip packed by its method {method}"] += 1


def _long_size(extra: bytes) -> int:
    """The packed size of a member of more than 4 GiB."""
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<HH", extra)
        if kind == 1 and size >= 16:
            return int.from_bytes(extra[12:20], "little")
        extra = extra[4 + size :]
    return 0


def _in_tar(source: Source) -> Iterator[_Member]:
    noted: dict[str, bytes] = {}  # what stands before a member of it: a longer name, a larger size
    while (block := source.take(tarfile.BLOCKSIZE)).strip(b"\0"):
        try:
            about = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.HeaderError:
            raise BrokenArchiveError("its tar is damaged") from None
        if about.type in _NOTES:
            note = source.take(min(max(about.size, 0), _EXTRA))
            noted |= _noted(about.type, note)
            size = about.size
            body = source.pieces(size - len(note))
        else:
            is_extended = about.type == tarfile.GNUTYPE_SPARSE and block[482]
            while is_extended:
                is_extended = source.take(tarfile.BLOCKSIZE)[504:505] > b"\0"
            size = 0 if about.type in _NO_DATA else int(noted.get("size", about.size))
            body = source.pieces(size)
            name = noted["path"].decode("utf-8", "surrogateescape") if "path" in noted else about.name
            yield _Member(name, body)
            noted = {}
        for _ in body:
            pass
        source.take(-size % tarfile.BLOCKSIZE)


def _noted(kind: bytes, note: bytes) -> dict[str, bytes]:
    if kind == tarfile.GNUTYPE_LONGNAME:
        return {"path": note.rstrip(b"\0")}
    found: dict[str, bytes] = {}
    while kind == tarfile.XHDTYPE and (record := re.match(rb"(\d{1,9}) ([^=]+)=", note)):
        size = int(record[1])  # of the whole record, its newline too: what it says may hold newlines itself
        text = note[record.end() : size - 1]
        if record[2] == b"path" or (record[2] == b"size" and text.isdigit()):
            found[record[2].decode()] = text
        note = note[max(size, record.end()) :]
    return found
