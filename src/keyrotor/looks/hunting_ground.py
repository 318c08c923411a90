"""The files in which a key may stand: those that clients are known to read, and all below folders that were named.

Rules:
1. Nothing is opened here that is not a file, no link to a folder is followed, no other file system is entered: it ends.
2. What is left out is counted, so that it can be told.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from keyrotor.boundary import reading
from keyrotor.errors import PlaceError

LARGEST = 1024 * 1024  # bytes; no settings file is larger
MOST = 200_000  # files; a home has as many
_HEAD = 8192  # bytes in which a nul tells a binary file, as for git
_ASIDE = frozenset((".git", ".hg", ".svn", ".jj", "node_modules", "__pycache__", ".tox", ".nox", ".venv", ".cache"))
_FOLDERS = "folders of version control, packages and caches"
_OTHERS = "folders on other file systems"
_LINKS = "links to folders"
_LARGE = "files larger than 1 MiB"
_BINARY = "binary files"
_REST = f"files beyond the first {MOST:,}"


@dataclass(slots=True)
class HuntingGround:
    """Gives every file once, by whichever name it was found first; remembers what it has left out."""

    ours: Iterable[Path]  # files and folders of keyrotor's own, never looked into
    raise_if_asked: Callable[[], None]  # raises InterruptedRun: a large folder takes a while
    skipped: Counter[str] = field(default_factory=Counter)
    unreadable: list[str] = field(default_factory=list)
    _seen: set[tuple[int, int]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._seen |= {at for path in self.ours if (at := reading.inode(path))}

    def known(self, paths: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Those of the paths at which there is a file, with what is in it."""
        for path in paths:
            if os.path.lexists(path):
                yield from self._read(path)

    def below(self, root: Path) -> Iterator[tuple[str, bytes]]:
        """Every file below the folder; or the file, if it is one."""
        if not root.is_dir():
            yield from self._read(str(root))
            return
        device = os.stat(root).st_dev
        folders = [str(root)]
        while folders:
            self.raise_if_asked()
            folder = folders.pop()
            if (at := reading.inode(folder)) is None or at in self._seen:
                continue
            self._seen.add(at)
            inner: list[str] = []
            for entry in self._listed(folder):
                self.raise_if_asked()
                is_folder = os.path.isdir(entry.path)  # of a link that leads to itself an entry cannot say it
                if is_folder and entry.is_symlink():
                    self.skipped[_LINKS] += 1
                elif is_folder:
                    inner += self._entered(entry, device)
                else:
                    yield from self._read(entry.path)
            folders += sorted(inner, reverse=True)

    def _listed(self, folder: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(folder) as entries:
                return sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            self.unreadable.append(f"{folder}: {reading.why(error)}")
            return []

    def _entered(self, entry: os.DirEntry[str], device: int) -> list[str]:
        try:
            status = entry.stat(follow_symlinks=False)
        except OSError:  # it is gone
            return []
        is_aside = entry.name in _ASIDE or os.path.exists(os.path.join(entry.path, "pyvenv.cfg"))
        if is_aside or status.st_dev != device:
            self.skipped[_FOLDERS if is_aside else _OTHERS] += 1
            return []
        return [entry.path]

    def _read(self, path: str) -> Iterator[tuple[str, bytes]]:
        try:
            status = os.stat(path)
        except FileNotFoundError:  # a link that leads nowhere
            return
        except OSError as error:
            self.unreadable.append(f"{path}: {reading.why(error)}")
            return
        at = (status.st_dev, status.st_ino)
        if not stat.S_ISREG(status.st_mode) or at in self._seen or _is_sibling(path):
            return
        self._seen.add(at)
        if len(self._seen) > MOST:
            self.skipped[_REST] += 1
        elif status.st_size > LARGEST:
            self.skipped[_LARGE] += 1
        else:
            yield from self._text(path)

    def _text(self, path: str) -> Iterator[tuple[str, bytes]]:
        try:
            data = reading.look(Path(path)).data
        except PlaceError as error:
            self.unreadable.append(f"{path}: {str(error).rpartition(': ')[2]}")
            return
        if b"\0" in data[:_HEAD]:
            self.skipped[_BINARY] += 1
        else:
            yield path, data


def _is_sibling(path: str) -> bool:
    """Whether it is what a killed writer of ours left."""
    name = os.path.basename(path)
    return name.startswith(".") and name.endswith(".keyrotor")
