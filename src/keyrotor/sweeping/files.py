"""Looks through every file below some roots, and their names.

Rules:
1. Each file is read once, whatever it is called. Nothing but a regular file is opened, and nothing waited for.
2. When it was last read stays as it was, wherever the kernel lets us: this is evidence.
3. Memory is bounded: one buffer, into which many small files are read so that one question is asked of all of them;
   a large or packed file goes through piece by piece.
4. A file that grows is read as far as it went when it was opened; one that has gone meanwhile is no finding.
"""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from keyrotor.boundary.forms import Form
from keyrotor.boundary.reading import why
from keyrotor.core.swept import Hit
from keyrotor.sweeping.beside import Beside
from keyrotor.sweeping.chunks import chunks, lines, on_disk
from keyrotor.sweeping.finder import Block, Finder, encoded
from keyrotor.sweeping.left_out import LeftOut
from keyrotor.sweeping.source import Source
from keyrotor.sweeping.tally import Tally
from keyrotor.sweeping.unpacking import HEAD, STARTS, TAIL, ZIP_END, Unpacking, packing
from keyrotor.sweeping.walking import GONE, SPECIAL, Folder, Walk, place

ROOM = 4 << 20  # bytes of the buffer; the processor's cache holds as many
LARGE = 1 << 20  # bytes: from here on a file goes through by itself
MANY = 4096  # files at most that share the buffer: a signal is answered after them
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC
_OTHERS = 0o004


@dataclass(frozen=True, slots=True)
class _Small:
    """A file in the buffer."""

    folder: Folder
    name: str
    status: os.stat_result
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Packed:
    """A small file that has to be unpacked."""

    folder: Folder
    name: str
    status: os.stat_result
    data: bytes
    packing: str


_Outcome = tuple[list[tuple[str, list[Hit]]], Unpacking]  # of unpacking some of them: what stands in each


@dataclass(slots=True)
class Files:
    """A sweep of files. `told` hears how many files and bytes, as they are on the disk, have been looked through."""

    finder: Finder
    left_out: LeftOut = field(default_factory=LeftOut)
    raise_if_asked: Callable[[], None] = lambda: None
    told: Callable[[int, int], None] = lambda files, size: None
    count: int = 0
    size: int = 0  # bytes, as they are on the disk
    tally: Tally = field(default_factory=Tally)
    repositories: list[str] = field(default_factory=list)  # of git, that were passed: their objects are left to it
    unpacked: int = 0  # bytes that were looked through besides, out of what is packed
    _buffer: memoryview = field(default_factory=lambda: memoryview(bytearray(ROOM)))
    _chunk: memoryview = field(default_factory=lambda: memoryview(bytearray(LARGE)))
    _held: list[_Small] = field(default_factory=list)
    _packed: list[_Packed] = field(default_factory=list)
    _packed_size: int = 0
    _seen: set[int] = field(default_factory=set)  # files that may be met again under another name
    _zip_ends: Finder = field(default_factory=lambda: Finder({"": [Form("", ZIP_END)]}))
    _user: int = field(default_factory=os.geteuid)

    def below(self, roots: Iterable[str | os.PathLike[str]]) -> Iterator[Hit]:
        """What stands in the files at and below the roots. Raises InterruptedRun."""
        walk = Walk(self.finder, self.left_out, self.raise_if_asked, self.repositories)
        with Beside[_Outcome](self.raise_if_asked) as beside:
            for folder in walk.folders(roots):
                yield from self._names(folder)
                for name in folder.files:
                    yield from self._file(folder, name)
                    if self._is_full():
                        yield from self._flushed()
                        yield from self._handed_over(beside)
            yield from self._flushed()
            yield from self._handed_over(beside)
            yield from self._unpacked(beside)

    def weight(self, roots: Iterable[str | os.PathLike[str]]) -> tuple[int, int]:
        """How many files and bytes are below the roots, roughly: a file with two names counts twice. Much quicker."""
        count = size = 0
        for folder in Walk(self.finder, LeftOut(), self.raise_if_asked).folders(roots):
            for name in folder.files:
                with suppress(OSError):
                    size += on_disk(os.stat(name, dir_fd=folder.descriptor, follow_symlinks=False))
            count += len(folder.files)
        return count, size

    # -- names -------------------------------------------------------------------------------------------------------

    def _names(self, folder: Folder) -> Iterator[Hit]:
        """A value may stand in a name, and in where a link leads."""
        leads = {name: folder.lead(name) for name in folder.links}
        if not self.finder.is_in(encoded("\0".join((*folder.names, *leads.values())))):
            return
        for name in folder.names:
            for text, what in ((name, "in its name"), (leads.get(name, ""), "in where the link leads")):
                if counts := self.finder.counts(encoded(text)):
                    note = "; ".join(filter(None, (what, self._way(folder, name, folder.inode_of(name)))))
                    yield from self.tally.told(folder / name, self.finder.hits("file", folder / name, counts, note))

    def _way(self, folder: Folder, name: str, inode: int) -> str:
        """How to find a file whose path cannot be shown, since a value stands in it."""
        if self.finder.is_plain(folder / name):
            return ""
        above = folder.path
        while self.finder.shown(above) != above:  # what is shown can be typed
            above = os.path.dirname(above)
        return f"find {shlex.quote(above)} -xdev -inum {inode}"

    # -- files -------------------------------------------------------------------------------------------------------

    def _file(self, folder: Folder, name: str) -> Iterable[Hit]:
        try:
            descriptor = self._opened(folder, name)
        except OSError as error:
            if error.errno not in GONE:
                self._cannot_read(folder, name, error)
            return ()
        try:
            return self._read(folder, name, descriptor)
        except OSError as error:
            self._cannot_read(folder, name, error)
            return ()
        finally:
            os.close(descriptor)

    def _opened(self, folder: Folder, name: str) -> int:
        """The kernel keeps the time of the last reading only for a file's owner and for root."""
        if self._user in (0, folder.owner):
            with suppress(PermissionError):
                return os.open(name, _FLAGS | os.O_NOATIME, dir_fd=folder.descriptor)
        return os.open(name, _FLAGS, dir_fd=folder.descriptor)

    def _read(self, folder: Folder, name: str, descriptor: int) -> Iterable[Hit]:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            self.left_out.skipped[SPECIAL] += 1
            return ()
        if status.st_nlink > 1 or not folder.is_whole or self._seen:
            at = place(status)
            if at in self._seen:
                return ()
            if status.st_nlink > 1 or not folder.is_whole:
                self._seen.add(at)
        self.count += 1
        if status.st_size >= LARGE:
            return self._large(folder, name, status, descriptor)
        self._small(folder, name, status, descriptor)
        return ()

    def _small(self, folder: Folder, name: str, status: os.stat_result, descriptor: int) -> None:
        """Into the buffer, whose rest is larger than any small file."""
        start = end = self._held[-1].end if self._held else 0
        while end < start + status.st_size:  # some file systems give less than they are asked for
            if not (size := os.readv(descriptor, (self._buffer[end : start + status.st_size],))):
                break
            end += size
        self.size += end - start
        magic = self._buffer[start + 257 : start + 262].tobytes()
        if end > start and (self._buffer[start] in STARTS or magic == b"ustar"):
            data = bytes(self._buffer[start:end])
            if kind := packing(data[:HEAD]):
                self._packed.append(_Packed(folder, name, status, data, kind))
                self._packed_size += len(data)
                return
        self._held.append(_Small(folder, name, status, start, end))

    def _is_full(self) -> bool:
        end = self._held[-1].end if self._held else 0
        return end + LARGE > ROOM or self._packed_size > ROOM or len(self._held) + len(self._packed) > MANY

    def _flushed(self) -> Iterator[Hit]:
        """What stands in the files in the buffer, which is free afterwards."""
        self.raise_if_asked()
        held, self._held = self._held, []
        filled = self._buffer[: held[-1].end] if held else self._buffer[:0]
        has_zips = self._zip_ends.is_in(filled)
        if has_zips or self.finder.is_in(filled):
            for each in held:
                data = filled[each.start : each.end]
                if has_zips and ZIP_END in bytes(data[-TAIL:]):
                    self._packed.append(_Packed(each.folder, each.name, each.status, bytes(data), "zip"))
                    self._packed_size += len(data)
                    continue
                stream = self.finder.stream()
                stream.feed(data)
                path = each.folder / each.name
                if (counts := stream.counts) and not self.tally.is_only_counted(path, counts):
                    note = self._note(each.folder, each.name, each.status, (data,), stream.first)
                    yield from self.tally.told(path, self.finder.hits("file", path, counts, note))
        self.told(self.count, self.size)

    # -- what is packed ----------------------------------------------------------------------------------------------

    def _handed_over(self, beside: Beside[_Outcome]) -> Iterator[Hit]:
        """Begin to unpack what is packed of the small files; what stood in the ones before."""
        if not self._packed:
            return
        yield from self._unpacked(beside)
        packed, self._packed, self._packed_size = self._packed, [], 0
        beside.start(lambda ask: self._unpack(packed, ask))

    def _unpack(self, packed: list[_Packed], ask: Callable[[], None]) -> _Outcome:
        """In the thread: it writes to nothing that is the main one's."""
        unpacking = Unpacking(self.finder, LeftOut(), ask)
        hits: list[tuple[str, list[Hit]]] = []
        for each in packed:
            path = each.folder / each.name
            note = partial(self._note, each.folder, each.name, each.status, ())
            source = Source(iter((each.data,)), self.finder.stream())
            found = unpacking.search(source, path, len(each.data), note=note, packed=each.packing)
            hits.append((path, list(found)))
        return hits, unpacking

    def _unpacked(self, beside: Beside[_Outcome]) -> Iterator[Hit]:
        if outcome := beside.outcome():
            hits, unpacking = outcome
            for path, several in hits:
                yield from self.tally.told(path, several)
            self._merge(unpacking)

    def _merge(self, unpacking: Unpacking) -> None:
        self.unpacked += unpacking.size
        self.left_out.add(unpacking.left_out)

    def _large(self, folder: Folder, name: str, status: os.stat_result, descriptor: int) -> list[Hit]:
        packed = packing(os.pread(descriptor, HEAD, 0))
        if not packed and ZIP_END in os.pread(descriptor, TAIL, status.st_size - min(TAIL, status.st_size)):
            packed = "zip"

        def read() -> Iterator[memoryview]:
            return chunks(descriptor, status, self._chunk, is_packed=bool(packed))

        def note(first: Sequence[int]) -> str:
            return self._note(folder, name, status, read(), first)

        unpacking = Unpacking(self.finder, LeftOut(), self.raise_if_asked)
        source = Source(self._as_far_as_it_can_be_read(folder, name, read()), self.finder.stream())
        path = folder / name
        hits = list(self.tally.told(path, unpacking.search(source, path, on_disk(status), note=note, packed=packed)))
        self._merge(unpacking)
        return hits

    def _as_far_as_it_can_be_read(self, folder: Folder, name: str, blocks: Iterable[memoryview]) -> Iterator[Block]:
        """A disk that fails half way takes nothing of what was found before."""
        try:
            for block in blocks:
                self.raise_if_asked()
                self.size += len(block)
                self.told(self.count, self.size)
                yield block
        except OSError as error:
            self._cannot_read(folder, name, error)

    # -- what is told ------------------------------------------------------------------------------------------------

    def _note(
        self, folder: Folder, name: str, status: os.stat_result, blocks: Iterable[Block], first: Sequence[int]
    ) -> str:
        """The lines of the first few matches, whether others may read it, and how to find what cannot be named."""
        found = lines(blocks, first)
        where = f"{'lines' if len(found) > 1 else 'line'} {', '.join(map(str, found))}" if found else ""
        mode = stat.S_IMODE(status.st_mode)
        readers = f"everybody may read it (mode {mode:o})" if mode & _OTHERS else ""
        return "; ".join(filter(None, (where, readers, self._way(folder, name, status.st_ino))))

    def _cannot_read(self, folder: Folder, name: str, error: OSError) -> None:
        size = 0
        with suppress(OSError):
            size = on_disk(os.stat(name, dir_fd=folder.descriptor, follow_symlinks=False))
        self.left_out.cannot_read(self.finder.shown(folder / name), why(error), size)
