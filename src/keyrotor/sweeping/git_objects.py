"""The objects of one git repository: all that are there, also those that nothing leads to any more.

Rules:
1. git runs nothing that the repository configures, fetches nothing and writes nothing (boundary/git.py has the rules).
2. Memory is bounded, whatever an object's size: all of them stream by once, and what a value may stand in, or what is
   packed, is read once more by itself.
3. A repository that git will not read for us (another owner's) is told, and never read past git's refusal.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

from keyrotor.boundary.process import Processes, Streamed, environment
from keyrotor.errors import PlaceError
from keyrotor.sweeping.finder import Finder
from keyrotor.sweeping.unpacking import HEAD, PROGRAMS, STARTS, TAIL, ZIP_END, packing

# A monitor is a program that the repository names. A bare repository is looked at though its owner may not want git to
# come upon it by itself. No protocol is spoken, for whatever reason.
_GIT = ("git", "--no-pager", "--no-optional-locks", "-c", "core.fsmonitor=false", "-c", "safe.bareRepository=all")
_SHUT = {"GIT_NO_LAZY_FETCH": "1", "GIT_ALLOW_PROTOCOL": "none", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
_HEADER = re.compile(rb"([0-9a-f]{40,64}) ([a-z]+) (\d+)\n")
_ROOM = 128 + HEAD  # bytes: a header, and what tells a packing
_USTAR = 257  # where a tar says that it is one

# Where git may know an object from, the widest first; what is found by one way is not looked for by the next.
WAYS: Mapping[str, tuple[str, ...]] = {
    "a remote's branch": ("--remotes",),
    "a branch or a tag": ("--exclude=refs/stash", "--all"),
    "a stash": ("--glob=refs/stash", "--stdin"),
    "the reflog": ("--all", "--reflog"),
    "the index": ("--indexed-objects",),
}


class Objects:
    """The objects of the repository that git sees in this folder."""

    def __init__(self, processes: Processes, env: Mapping[str, str], folder: Path) -> None:
        self._processes = processes
        # Said here, for the work tree that is configured for a submodule may be gone.
        self._env = {**environment(env), **_SHUT, "GIT_WORK_TREE": str(folder)}
        self._folder = folder

    def common(self) -> Path:
        """The real path of the repository that git takes this folder for: it may be one further up. Raises
        PlaceError."""
        with self._git("rev-parse", "--git-common-dir") as streamed:
            said = b"".join(bytes(block) for block in streamed.blocks())
        return Path(os.path.realpath(self._folder / os.fsdecode(said.removesuffix(b"\n"))))

    def suspects(self, finder: Finder, looked: Callable[[int], None]) -> Iterator[str]:
        """The names of all objects in which a value may stand, some of them twice, and of those that are packed.
        Raises PlaceError where git does not come to the end."""
        keep = max(finder.longest - 1, _ROOM)
        tail, at, name, begun = b"", 0, "", 0  # `name` is the object whose bytes come, `begun` where they do
        with self._git("cat-file", "--batch-all-objects", "--unordered", "--buffer", "--batch") as streamed:
            for block in chain(map(bytes, streamed.blocks()), (b"",)):
                data = tail + block
                is_hit = finder.is_in(data)
                end = len(data) - _ROOM if block else len(data)
                while at < end:
                    if is_hit and name and finder.is_in(memoryview(data)[begun:at]):
                        yield name
                    header = _HEADER.match(data, at)
                    if header is None:
                        raise PlaceError("git says what is not understood")
                    name, begun = header[1].decode(), header.end()
                    at = begun + int(header[3]) + 1
                    if _is_packed(data, begun, at - 1):
                        yield name
                if is_hit and name and finder.is_in(memoryview(data)[begun:at]):
                    yield name
                looked(len(block))
                tail = data[-keep:]
                at -= len(data) - len(tail)
                begun = max(0, begun - len(data) + len(tail))

    def read(self, names: Iterable[str]) -> Iterator[tuple[str, str, int, Iterator[memoryview]]]:
        """Name, kind, size and bytes of each of these objects. Raises PlaceError where git does not come to the end."""
        asked = "".join(f"{name}\n" for name in names).encode()
        with self._git("cat-file", "--buffer", "--batch", stdin=asked) as streamed:
            reader = _Reader(streamed.blocks())
            while header := _HEADER.match(reader.line()):
                size = int(header[3])
                body = reader.bytes(size)
                yield header[1].decode(), header[2].decode(), size, body
                for _ in body:
                    pass
                reader.line()

    def known(self, names: Iterable[str]) -> dict[str, tuple[str, str]]:
        """Of these objects those to which anything leads: by which way, and under which path, "" for none."""
        wanted, found = {name.encode() for name in names}, dict[str, tuple[str, str]]()
        for way, options in WAYS.items():
            if not wanted:
                break
            stashed = self._stashed() if "--stdin" in options else b""
            listed = ("rev-list", "--objects", "--missing=allow-any", *options)
            with self._git(*listed, stdin=stashed, is_quiet=True) as streamed:
                for line in _lines(streamed):
                    name, _, path = line.partition(b" ")
                    if name in wanted:
                        wanted.discard(name)
                        found[name.decode()] = (way, path.decode("utf-8", "surrogateescape"))
                        if not wanted:
                            break
        return found

    def _stashed(self) -> bytes:
        """The commits of all stashes but the newest, which its reference leads to."""
        with self._git("rev-list", "--walk-reflogs", "refs/stash", is_quiet=True) as streamed:
            return b"".join(bytes(block) for block in streamed.blocks())

    @contextmanager
    def _git(self, *words: str, stdin: bytes = b"", is_quiet: bool = False) -> Iterator[Streamed]:
        """Raises PlaceError where git ends with a complaint, unless it `is_quiet`."""
        argv = [*_GIT, *words]
        with self._processes.streaming(argv, env=self._env, stdin=stdin, cwd=self._folder) as streamed:
            yield streamed
        if streamed.done and streamed.done.code and not is_quiet:
            raise PlaceError(*_complaint(streamed.done.err, streamed.done.code))


def _complaint(said: bytes, code: int) -> tuple[str]:
    lines = said.decode(errors="replace").splitlines()
    if any("dubious ownership" in line for line in lines):
        return ("it is another user's, and git reads it only once you trust it (git config safe.directory)",)
    return (lines[0] if lines else f"git ended with exit code {code}",)


def _is_packed(data: bytes, begun: int, end: int) -> bool:
    """Whether the object that begins here must be unpacked to tell what is in it."""
    if begun >= min(len(data), end):
        return False
    if data[begun] in STARTS or data.startswith(b"ustar", begun + _USTAR):
        return bool(packing(data[begun : min(begun + HEAD, end)]))
    if data.startswith(PROGRAMS, begun):  # a zip may be appended to it; how it ends may not be seen yet
        return end > len(data) or data.find(ZIP_END, max(begun, end - TAIL), end) >= 0
    return False


def _lines(streamed: Streamed) -> Iterator[bytes]:
    rest = b""
    for block in streamed.blocks():
        *whole, rest = (rest + block).split(b"\n")
        yield from whole


class _Reader:
    """Takes lines, and bytes of a known number, from blocks."""

    def __init__(self, blocks: Iterator[memoryview]) -> None:
        self._blocks = blocks
        self._held = memoryview(b"")

    def line(self) -> bytes:
        """The next line, with its end; "" where nothing comes any more."""
        line = b""
        while not line.endswith(b"\n") and self._fill():
            held = bytes(self._held[:_ROOM])
            taken = held.partition(b"\n")[0] + b"\n" if b"\n" in held else held
            self._held = self._held[len(taken) :]
            line += taken
        return line

    def bytes(self, size: int) -> Iterator[memoryview]:
        """The next bytes, as they come."""
        while size and self._fill():
            piece = self._held[:size]
            self._held = self._held[len(piece) :]
            size -= len(piece)
            yield piece

    def _fill(self) -> bool:
        if not len(self._held):
            self._held = next(self._blocks, memoryview(b""))
        return bool(len(self._held))
