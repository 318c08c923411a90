"""The files that hold the value in clear: who else can read them, whether git takes them along, and what was left of
them by a killed writer.

Rules:
1. A file counts as soon as the value stands in it, be it in a comment, or where its format cannot be read.
2. A mode is judged by itself, as ssh does: folders above that keep others out today may be opened tomorrow.
3. A thousand clients are the measure: only a file that others can read, or that git tracks, is read at all.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from keyrotor.boundary import files
from keyrotor.boundary.git import Git
from keyrotor.boundary.plaintext import is_telling, unseal
from keyrotor.core import clients
from keyrotor.core.findings import Finding, found
from keyrotor.core.model import Holds, Row
from keyrotor.errors import PlaceError
from keyrotor.ports import Place, Seen

READ_BY_OTHERS = stat.S_IRGRP | stat.S_IROTH


@dataclass(frozen=True, slots=True)
class HoldingFiles:
    rows: Sequence[Row]  # env files and client files; `options["path"]` is the path
    places: Mapping[str, Place]
    git: Git

    def findings(self, seen: Seen) -> Iterable[Finding]:
        for row in self.rows:
            for left in files.leftovers(Path(row.options["path"])):
                yield found("left-over", row.label, left=left, playbook=seen.book.name)
        folders: dict[str, str] = {}
        there = [(row, *at) for row in self.rows if (at := _file(row, folders))]
        tracked = self.git.tracked(path for _, path, _ in there)
        for row, path, mode in there:
            is_open, is_tracked = bool(mode & READ_BY_OTHERS), path in tracked
            if (is_open or is_tracked) and self._holds(row, path, seen):
                if is_open:
                    kind = "readable" if mode & stat.S_IROTH else "readable-by-group"
                    yield found(kind, row.label, key=seen.book.source.key, mode=f"{mode:04o}", path=path)
                if is_tracked:
                    yield self._tracked(row, path, seen)

    def _holds(self, row: Row, path: Path, seen: Seen) -> bool:
        """Whether the present value, or a former one, stands there."""
        if seen.pair and (_has(path, seen) or self._says(row, seen) in (Holds.OLD, Holds.BOTH)):
            return True
        return any(seen.former(secret) for secret in self.places[row.id].shows())

    def _tracked(self, row: Row, path: Path, seen: Seen) -> Finding:
        """A client can refer to the variable; the env file is where the variable comes from, and cannot."""
        words = {"key": seen.book.source.key, "playbook": seen.book.name}
        if clients.is_client(row.kind):
            return found("client-tracked", row.label, **words)
        return found("twin-tracked", row.label, **words, untrack=self.git.command_to_untrack(path))

    def _says(self, row: Row, seen: Seen) -> Holds:
        """What the place says that it holds; it may have been asked already."""
        known = seen.holds.get(row.id)
        if known is not None or seen.pair is None:
            return known or Holds.UNKNOWN
        return self.places[row.id].holds(seen.pair)


def _file(row: Row, folders: dict[str, str]) -> tuple[Path, int] | None:
    """The file behind the path, links followed, and its mode."""
    path = _real(row.options["path"], folders)
    try:
        status = os.stat(path)
    except OSError:
        return None
    return (Path(path), stat.S_IMODE(status.st_mode)) if stat.S_ISREG(status.st_mode) else None


def _real(path: str, folders: dict[str, str]) -> str:
    """The real path; each folder is followed once, for a look at every part of a path 1,000 times takes 100 ms."""
    folder, name = os.path.split(path)
    if folder not in folders:
        folders[folder] = os.path.realpath(folder)
    real = os.path.join(folders[folder], name)
    return os.path.realpath(real) if os.path.islink(real) else real


def _has(path: Path, seen: Seen) -> bool:
    """Whether the present value stands in the bytes as they are, wherever that is."""
    if seen.pair is None or not is_telling(seen.pair.old):
        return False
    try:
        return unseal(seen.pair.old) in files.look(path).data
    except PlaceError:
        return False
