"""The folder in which a manager's units are installed: what stands there, putting it there, and taking it away again.

Rules:
1. A unit file has no value in it and is for everybody to read; what is kept of a former one, which may hold a value,
   keeps its own mode, and nothing shows it.
2. A file that is a link, or has other names, belongs to whoever made it so, and is never written.
3. Another process's write in between is an error, never overwritten.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from keyrotor.boundary import files, writable
from keyrotor.boundary.files import ChangedMeanwhile, Look
from keyrotor.errors import PlaceError

if TYPE_CHECKING:
    from collections.abc import Iterator

MODE = 0o644  # systemd complains of a unit that others may write, and of one that nobody but its owner may read


@dataclass(frozen=True, slots=True)
class UnitFolder:
    path: Path

    def seen(self, name: str) -> Look | None:
        """The file as it is now; None where there is none. Raises PlaceError."""
        return files.look(self.path / name) if os.path.lexists(self.path / name) else None

    def refusals(self, names: Sequence[str]) -> list[str]:
        """Every reason why files of these names could not be put there, and taken away again."""
        reasons = writable.absent_refusals(self.path / "any")
        for name in names:
            path = self.path / name
            if path.is_symlink():
                reasons.append(f"cannot write {path}: it is a link to {os.readlink(path)}, which is not ours")
            elif os.path.lexists(path):
                reasons += writable.refusals(path)
                if not reasons and os.stat(path).st_nlink > 1:
                    reasons.append(f"cannot write {path}: the file has other names besides")
        return list(dict.fromkeys(reasons))

    def place(self, name: str, data: bytes, seen: Look | None, mode: int = MODE) -> None:
        """Make the file hold `data`, in place of what was seen there. Raises ChangedMeanwhile, PlaceError."""
        path = self.path / name
        files.make_folder(self.path)
        files.clear_leftover(path)
        if seen is None:
            files.create(path, data, mode)
            return
        if stat.S_IMODE(mode) & ~seen.mode == 0:
            _set_mode(path, mode)  # before what is not for everybody is in it
        files.replace(seen, data)
        _set_mode(path, mode)

    def remove(self, name: str, seen: Look) -> None:
        """Take the file away, if it is as it was seen. Raises ChangedMeanwhile, PlaceError."""
        path = self.path / name
        if files.look(path).digest != seen.digest:
            raise ChangedMeanwhile(f"cannot remove {path}: somebody else has just changed it")
        files.remove(path)
        files.clear_leftover(path)
        files.sync_folder(self.path)


def _set_mode(path: Path, mode: int) -> None:
    try:
        path.chmod(mode)
    except OSError as error:
        raise PlaceError(f"cannot write {path}: {files.why(error)}") from None


@contextmanager
def staged(folder: Path, texts: Mapping[str, str]) -> Iterator[list[Path]]:
    """Copies of these unit files in a private folder, for as long as the block lasts. Raises PlaceError."""
    files.remove_folder(folder)
    files.make_folder(folder)
    try:
        for name, text in texts.items():
            files.create(folder / name, text.encode(), MODE)
        yield [folder / name for name in texts]
    finally:
        files.remove_folder(folder)
