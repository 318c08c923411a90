"""The folders below some roots, each once, open, with the names of what is in them.

Rules:
1. No link is followed (a root may be one), so no loop is walked; a folder that is mounted twice is walked once.
2. Other file systems of this machine are entered, the kernel's and remote ones are counted; a remote root was named by
   a person, and is walked.
3. The objects of a git repository are left to git, which alone can unpack them; the repository is remembered. What
   else lies among them git never lists: that is given like any other file.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from keyrotor.boundary.reading import why
from keyrotor.sweeping.finder import Finder
from keyrotor.sweeping.left_out import LeftOut
from keyrotor.sweeping.mounts import Mounts

KERNELS = "file systems of the kernel's, such as /proc"
REMOTE = "remote file systems"
SPECIAL = "devices, sockets and pipes"
_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
GONE = frozenset((errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ESTALE))
_FAN = re.compile(r"[0-9a-f]{2}")
_LOOSE = re.compile(r"[0-9a-f]{38}|[0-9a-f]{62}")
_PACK = re.compile(r"(pack-[0-9a-f]{40,64})\.(pack|idx|rev|bitmap)")


def place(status: os.stat_result) -> int:
    """What tells a file from every other, whatever it is called; a number, for there are many to remember."""
    return status.st_dev << 64 | status.st_ino


@dataclass(frozen=True, slots=True)
class Folder:
    """An open folder; its descriptor is closed when the next one is asked for."""

    path: str
    descriptor: int
    inode: int
    owner: int
    files: tuple[str, ...]  # names of regular files
    links: tuple[str, ...]
    names: tuple[str, ...]  # of all that is in it
    is_whole: bool = True  # False where only one file in it was asked for

    def __truediv__(self, name: str) -> str:
        return os.path.join(self.path, name)

    def lead(self, link: str) -> str:
        """Where a link leads."""
        with suppress(OSError):
            return os.readlink(link, dir_fd=self.descriptor)
        return ""

    def inode_of(self, name: str) -> int:
        with suppress(OSError):
            return os.stat(name, dir_fd=self.descriptor, follow_symlinks=False).st_ino
        return 0


@dataclass(slots=True)
class Walk:
    """Gives folders and remembers what it has left out, and the repositories that it has passed."""

    finder: Finder
    left_out: LeftOut
    raise_if_asked: Callable[[], None]
    repositories: list[str] = field(default_factory=list)
    mounts: Mounts = field(default_factory=Mounts.now)
    _seen: set[int] = field(default_factory=set)
    _stores: set[str] = field(default_factory=set)  # folders of objects

    def folders(self, roots: Iterable[str | os.PathLike[str]]) -> Iterator[Folder]:
        """Every folder at and below the roots; first, for a root that is a file, its folder with this file only."""
        paths = list(dict.fromkeys(os.path.realpath(root) for root in roots))
        for path in paths:
            if not os.path.isdir(path):
                yield from self._only(path)
        for path in paths:
            if os.path.isdir(path):
                yield from self._below(path)

    def _only(self, path: str) -> Iterator[Folder]:
        folder, name = os.path.split(path)
        try:
            mode = os.lstat(path).st_mode
        except OSError as error:
            self._cannot_read(path, error)
            return
        if not stat.S_ISREG(mode):
            self.left_out.skipped[SPECIAL] += 1
            return
        with self._opened(folder) as descriptor:
            if descriptor is not None:
                status = os.fstat(descriptor)
                yield Folder(folder, descriptor, status.st_ino, status.st_uid, (name,), (), (name,), False)

    def _below(self, root: str) -> Iterator[Folder]:
        pending, device = [root], -1
        while pending:
            self.raise_if_asked()
            path = pending.pop()
            with self._opened(path) as descriptor:
                if descriptor is None:
                    continue
                status = os.fstat(descriptor)
                at = place(status)
                if at in self._seen:
                    continue
                self._seen.add(at)
                if status.st_dev != device and self._is_left_out(path, status.st_dev, pending, is_root=path == root):
                    continue
                device = status.st_dev if path == root else device
                folder, inner = self._listed(path, descriptor, status)
                yield folder
                pending += [folder / name for name in inner]

    def _is_left_out(self, path: str, device: int, pending: list[str], *, is_root: bool) -> bool:
        if self.mounts.is_kernels(device):
            self.left_out.skipped[KERNELS] += 1
            pending += self.mounts.below(path)
            return True
        if self.mounts.is_remote(device) and not is_root:
            self.left_out.skipped[REMOTE] += 1
            return True
        return False

    @contextmanager
    def _opened(self, path: str) -> Iterator[int | None]:
        """None where it cannot be opened; that it has been removed, or become another thing, since it was listed is
        nothing to tell."""
        try:
            descriptor = os.open(path, _FLAGS)
        except OSError as error:
            if error.errno not in GONE:
                self._cannot_read(path, error)
            yield None
            return
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _listed(self, path: str, descriptor: int, status: os.stat_result) -> tuple[Folder, list[str]]:
        """The folder, and the names of those in it that are to be walked."""
        files: list[str] = []
        links: list[str] = []
        folders: list[str] = []
        names: list[str] = []
        try:
            with os.scandir(descriptor) as entries:
                for entry in entries:
                    names.append(entry.name)
                    if entry.is_file(follow_symlinks=False):
                        files.append(entry.name)
                    elif entry.is_dir(follow_symlinks=False):
                        folders.append(entry.name)
                    elif entry.is_symlink():
                        links.append(entry.name)
                    else:
                        self.left_out.skipped[SPECIAL] += 1
        except OSError as error:
            self._cannot_read(path, error)
        if "HEAD" in (*files, *links) and {"objects", "refs"}.issubset((*folders, *links)):
            self.repositories.append(path)
            self._stores.add(os.path.join(path, "objects"))
        elif ".git" in files:  # of a further work tree, or a submodule: the repository may be anywhere
            self.repositories.append(path)
        files = self._not_left_to_git(path, files)
        inode, owner = status.st_ino, status.st_uid
        return Folder(path, descriptor, inode, owner, tuple(files), tuple(links), tuple(names)), folders

    def _not_left_to_git(self, path: str, files: list[str]) -> list[str]:
        """Those files in a folder that are no objects, and no packs of them that git can open."""
        store, name = os.path.split(path)
        if store not in self._stores:
            return files
        if name == "pack":
            whole = {file.removesuffix(".idx") for file in files if file.endswith(".idx")}
            return [file for file in files if not ((pack := _PACK.fullmatch(file)) and pack[1] in whole)]
        return [file for file in files if not _LOOSE.fullmatch(file)] if _FAN.fullmatch(name) else files

    def _cannot_read(self, path: str, error: OSError) -> None:
        self.left_out.cannot_read(self.finder.shown(path), why(error))
