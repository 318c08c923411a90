"""The folder in which a manager's units are installed: what stands there, putting it there, and taking it away again.

Rules:
1. A unit file of ours has no value in it and is for everybody to read; what is kept of a former one may hold a value:
   it is private, whatever its mode was, and nothing shows it.
2. A file that is a link, or has other names, belongs to whoever made it so, and is never written.
3. Another process's write in between is an error, never overwritten.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count, takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from keyrotor.boundary import files, private, proc, writable
from keyrotor.boundary.files import ChangedMeanwhile, Look

if TYPE_CHECKING:
    from collections.abc import Iterator

PRIVATE = 0o600  # what is kept of another's unit: it may hold a value
MODE = 0o644  # systemd complains of a unit that others may write, and of one that nobody but its owner may read


@dataclass(frozen=True, slots=True)
class UnitFolder:
    path: Path

    def seen(self, name: str) -> Look | None:
        """The file as it is now; None where there is none. Raises PlaceError."""
        return files.look(self.path / name) if os.path.lexists(self.path / name) else None

    def has(self, name: str) -> bool:
        return os.path.lexists(self.path / name)

    def refusals(self, names: Sequence[str]) -> list[str]:
        """Every reason why files of these names could not be put there, and taken away again."""
        reasons = writable.absent_refusals(self.path / "any")
        for name in names:
            path = self.path / name
            if path.is_symlink():
                reasons.append(f"cannot write {path}: it is a link to {os.readlink(path)}, which is not ours")
            elif os.path.lexists(path):
                reasons += writable.refusals(path)
                if not reasons and files.has_other_names(path):
                    reasons.append(f"cannot write {path}: the file has other names besides")
        return list(dict.fromkeys(reasons))

    def links(self, name: str) -> tuple[str, ...]:
        """The folders in which a link makes another unit start this one: `default.target.wants`."""
        try:
            found = [each.name for each in os.scandir(self.path) if each.name.endswith((".wants", ".requires"))]
        except OSError:
            return ()
        return tuple(sorted(each for each in found if (self.path / each / name).is_symlink()))

    def numbered(self, name: str) -> list[Path]:
        """The files of this name, and of it with a number behind it."""
        return list(takewhile(os.path.lexists, self._numbers(name)))

    def free(self, name: str) -> str:
        """The first of these names that is not taken."""
        return next(path.name for path in self._numbers(name) if not os.path.lexists(path))

    def _numbers(self, name: str) -> Iterator[Path]:
        return (self.path / (f"{name}.{at}" if at > 1 else name) for at in count(1))

    def place(self, name: str, data: bytes, seen: Look | None, mode: int = MODE) -> None:
        """Make the file hold `data`, in place of what was seen there. Raises ChangedMeanwhile, PlaceError."""
        path = self.path / name
        files.make_folder(self.path)
        files.clear_leftover(path)
        if seen is None:
            files.create(path, data, mode)
            return
        if stat.S_IMODE(mode) & ~seen.mode == 0:
            private.give_mode(path, mode)  # before what is not for everybody is in it
        files.replace(seen, data)
        private.give_mode(path, mode)

    def tidy(self, name: str) -> None:
        """Clear away what a killed write left of the file, and of what is kept beside it. Raises PlaceError."""
        for path in self.path.glob(".*.keyrotor"):
            if path.name.startswith(f".{name}") and not path.is_dir():
                files.remove(path)

    def remove(self, name: str, seen: Look) -> None:
        """Take the file away, if it is as it was seen. Raises ChangedMeanwhile, PlaceError."""
        path = self.path / name
        if files.look(path).digest != seen.digest:
            raise ChangedMeanwhile(f"cannot remove {path}: somebody else has just changed it")
        files.remove(path)
        files.clear_leftover(path)
        files.sync_folder(self.path)


@contextmanager
def staged(folder: Path, texts: Mapping[str, str]) -> Iterator[list[Path]]:
    """Copies of these unit files in a private folder, for as long as the block lasts. Raises PlaceError."""
    clear_staged(folder)
    folder = folder.with_name(f"{folder.name}-{os.getpid()}-{time.monotonic_ns()}")  # nobody else's meanwhile
    files.make_folder(folder)
    try:
        for name, text in texts.items():
            files.create(folder / name, text.encode(), MODE)
        yield [folder / name for name in texts]
    finally:
        files.remove_folder(folder)


def clear_staged(folder: Path) -> None:
    """Remove such copies of processes that were killed. Raises PlaceError.

    Those of one whose number another process has by now wait for that one's end: there is no value in them.
    """
    for path in folder.parent.glob(f"{folder.name}-[0-9]*-[0-9]*"):
        if not proc.is_alive(int(path.name.split("-")[-2])):
            files.remove_folder(path)
