"""What a lab is made on: the folder, the home, the programs. And how a path is written down there."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from keyrotor import shelf
from keyrotor.boundary import files
from keyrotor.boundary.process import Processes
from keyrotor.boundary.sops import Sops
from keyrotor.boundary.systemd import Systemd
from keyrotor.core.founding import State, Step, Thing
from keyrotor.core.model import Playbook
from keyrotor.errors import PlaceError, RefusedError
from keyrotor.secret import Secret

PRIVATE, SHARED = (0o600, 0o700), (0o644, 0o755)  # of a file, and of the folders that are made for it


@dataclass(frozen=True, slots=True)
class Ground:
    """Reads what is there; nothing is written but by a step's `make`."""

    folder: Path  # the project: absolute
    home: Path
    env: Mapping[str, str]
    now: datetime
    processes: Processes
    manager: Callable[[str], Systemd]
    sops: Callable[[str], Sops]  # the one that uses this identity; "" leaves it to sops
    materialise: Callable[[Path], None]  # the env files of the playbook there
    may_stand: Callable[[str, Secret], bool]  # whether this name may have this value in an env file
    tracked: Callable[[Path], bool]  # whether git tracks the file
    ignored: Callable[[Sequence[str]], frozenset[str]]  # the paths below the project that git would not add
    is_macos: bool
    user_id: int

    def absolute(self, text: str) -> Path:
        """A path as somebody wrote it, from the project on."""
        text = str(self.home) + text[1:] if text == "~" or text.startswith("~/") else text
        return Path(os.path.normpath(self.folder / text))

    def typed(self, path: Path) -> str:
        """A path as a playbook says it: from the project or the home on, where it lies there. Raises RefusedError."""
        text = str(path)
        if path.is_relative_to(self.folder) and path != self.folder:
            text = str(path.relative_to(self.folder))
        elif path.is_relative_to(self.home) and str(self.home) != "/":
            text = f"~/{path.relative_to(self.home)}"
        if "${" in text or not text.isprintable():
            raise RefusedError(f"cannot name {text!r} in a playbook: it has `${{` or a character that is not printable")
        return text

    def exists(self, path: Path) -> bool:
        """Whether there is a file. Raises RefusedError for a link to nothing: what it led to may be there tomorrow."""
        if os.path.islink(path) and not files.exists(path):
            hint = f"ls -l {shlex.quote(str(path))}  (bring back what it leads to, or remove it)"
            raise RefusedError(f"cannot tell what {path} is: it is a link to nothing", hint=hint)
        return files.exists(path)

    def read(self, path: Path) -> bytes | None:
        """What is in the file; None where there is none. Raises RefusedError for one that cannot be read."""
        if not self.exists(path):
            return None
        try:
            return files.look(path).data
        except PlaceError as error:
            raise RefusedError(str(error), hint=error.hint) from None

    def lab_of(self, folder: Path) -> Path | None:
        """The lab, another than this one, that the folder is in. A home is none, whatever lies in it."""
        real = Path(os.path.realpath(folder))
        found = shelf.project_of(real)
        if found is None or found.is_relative_to(self.folder) or self.home.is_relative_to(found):
            return None
        return found

    def text(self, path: Path) -> str:
        return (self.read(path) or b"").decode(errors="replace")

    def new_file(
        self, name: str, path: Path, text: str, said: str = "", modes: tuple[int, int] = SHARED, *, id: str = ""
    ) -> Step:
        """A step that makes this file, which is not there."""

        def make() -> None:
            put_new(path, text.encode(), modes)

        return Step(Thing(id or name, self.typed(path), State.MAKE, said), make, str(path))


def put_new(path: Path, data: bytes, modes: tuple[int, int]) -> None:
    """A new file, durable and whole, with these modes whatever the umask, and the folders that it needs."""
    files.make_folder(path.parent, modes[1])
    files.create(path, data, modes[0])


def is_same(one: Path, other: Path) -> bool:
    """Whether both are names of one file that is there."""
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


@dataclass(frozen=True, slots=True)
class Book:
    """A playbook for the gateway's key that is there already."""

    path: Path
    playbook: Playbook
    others: tuple[Path, ...] = ()  # further ones for the same key

    def options(self, kind: str) -> Mapping[str, object]:
        """The settings of its first place of this kind; none if it has no such place."""
        return next((place.options for place in self.playbook.places if place.kind == kind), {})

    def paths(self, kind: str) -> list[Path]:
        return [Path(place.options["path"]) for place in self.playbook.places if place.kind == kind]
