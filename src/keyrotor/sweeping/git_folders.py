"""How a git repository lies on the disk: what it is, whose objects it borrows, what git has not finished in it.

Rules:
1. Anybody may have planted it: nothing is opened that is no file, nothing waited for, and nothing followed that git
   would not follow.
2. What is said here to lie in a store is what git reads, or less: never more.
"""

from __future__ import annotations

import os
import stat
import zlib
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path

from keyrotor.boundary.reading import without_waiting
from keyrotor.errors import PlaceError
from keyrotor.sweeping.source import BrokenArchiveError
from keyrotor.sweeping.unpacking import AT_LEAST, FOLD

_PIECE = 64 * 1024  # bytes
_DEEPEST = 4  # stores that borrow from each other; git follows one or two more
_READ = frozenset(("objects", "refs", "logs", "info", "worktrees", "reftable"))  # where git opens whatever is there
_UNFINISHED = ("??/tmp_obj_*", "tmp_objdir-*/??/*", "incoming-*/??/*")
_UNFINISHED_PACKS = ("pack/tmp_pack_*", "tmp_objdir-*/pack/*pack*", "incoming-*/pack/*pack*")


@dataclass(frozen=True, slots=True)
class Repository:
    """A git repository, as it lies on the disk."""

    folder: Path  # where git sees it: a work tree, or the repository itself
    inner: Path  # the repository itself, or what a further work tree has of its own
    common: Path  # what all its work trees share; its real path
    stores: frozenset[Path]  # the folders that its objects lie in: its own, and those that it borrows from

    def pipe(self) -> str:
        """A pipe or a device that git would open, and wait at for ever; "" where there is none."""
        found = (_pipe(os.fspath(folder), _READ) for folder in dict.fromkeys((self.inner, self.common)))
        borrowed = (_pipe(os.fspath(store)) for store in self.stores)
        return next(filter(None, found), "") or next(filter(None, borrowed), "")


def repository_at(folder: Path) -> Repository | None:
    """The repository whose top folder this is; None for any other folder. Raises PlaceError for one that is broken."""
    inner = folder / ".git"
    if inner.is_dir():
        inner_is_one = _is_bare(inner)
    elif inner.is_file():
        inner, inner_is_one = _pointed_at(inner), True
    else:
        inner, inner_is_one = folder, _is_bare(folder)
    if not inner_is_one:
        return None
    common = Path(os.path.realpath(inner / _first_line(inner / "commondir")))
    seen_at = folder.parent if folder.name == ".git" and folder == inner else folder
    return Repository(seen_at, inner, common, frozenset(_stores(common / "objects")))


def unfinished(store: Path) -> Iterator[Path]:
    """Objects that git has begun to write, or has not yet taken for its own."""
    for pattern in _UNFINISHED:
        yield from sorted(store.glob(pattern))


def unfinished_packs(store: Path) -> int:
    """How many packs there are that git does not open."""
    packs = {path for pattern in _UNFINISHED_PACKS for path in store.glob(pattern) if path.suffix != ".idx"}
    packs |= {path for path in store.glob("pack/pack-*.pack") if not path.with_suffix(".idx").exists()}
    return len(packs)


def inflated(path: Path) -> Iterator[bytes]:
    """What is in a loose object, as far as it was written."""
    unpacker = zlib.decompressobj()
    with open(path, "rb", opener=lambda name, flags: without_waiting(name, flags | os.O_NOFOLLOW)) as file:
        status = os.fstat(file.fileno())
        left = AT_LEAST + FOLD * status.st_size
        while stat.S_ISREG(status.st_mode) and (data := unpacker.unconsumed_tail or file.read(_PIECE)):
            try:
                yield (piece := unpacker.decompress(data, _PIECE))
            except zlib.error:
                return
            left -= len(piece)
            if left < 0:
                raise BrokenArchiveError(f"more than {FOLD} times its size, and than 1 GiB, is packed in it")
            if unpacker.eof:
                return


def _is_bare(folder: Path) -> bool:
    """As git sees it; a HEAD may be a link that leads nowhere yet."""
    try:
        head = os.lstat(folder / "HEAD").st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    is_head = stat.S_ISREG(head) or stat.S_ISLNK(head)
    return is_head and (folder / "objects").is_dir() and (folder / "refs").is_dir()


def _pointed_at(link: Path) -> Path:
    """The repository that a `.git` file leads to. Raises PlaceError where it leads nowhere."""
    line = _first_line(link)
    if not line.startswith("gitdir: "):
        raise PlaceError("its .git is neither a repository nor leads to one")
    inner = link.parent / line.removeprefix("gitdir: ")
    if not inner.is_dir():
        raise PlaceError("the repository that its .git leads to is gone")
    return inner


def _stores(folder: Path) -> Iterator[Path]:
    """The folder of objects, and those that it borrows from."""
    pending, known = [(folder, 0)], set[Path]()
    while pending:
        path, depth = pending.pop()
        one = Path(os.path.realpath(path))
        if one in known or not one.is_dir():
            continue
        known.add(one)
        yield one
        lines = _text(one / "info" / "alternates").split("\n") if depth < _DEEPEST else []
        pending += [(one / line, depth + 1) for line in lines if line and not line.startswith(("#", '"'))]


def _first_line(path: Path) -> str:
    return _text(path).partition("\n")[0].rstrip("\r")


def _text(path: Path) -> str:
    """What is in a file of git's own; "" where there is none. Raises PlaceError for what is no file, or no path."""
    try:
        with open(path, "rb", opener=without_waiting) as file:
            is_file = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            data = file.read(_PIECE) if is_file else b"\0"
    except (FileNotFoundError, NotADirectoryError):
        return ""
    if b"\0" in data:
        raise PlaceError(f"its {path.name} is not what git writes")
    return os.fsdecode(data)


def _pipe(top: str, only: Container[str] = ()) -> str:
    """The first pipe or device in a folder and below, at its top only in these folders."""
    pending = [top]
    while pending:
        folder = pending.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        if folder != top or not only or entry.name in only:
                            pending.append(entry.path)
                    elif not entry.is_file() and _is_waited_at(entry.path):
                        return entry.path
        except OSError:  # git cannot open it either, and says so
            continue
    return ""


def _is_waited_at(path: str) -> bool:
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode) or stat.S_ISBLK(mode)
