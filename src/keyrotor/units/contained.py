"""The drop-ins by which a gateway's unit and its sockets are contained: made, found again, taken away.

Rules:
1. Only files of our own name with our own first line are written or removed; any other is an error.
2. What a unit is to do is read from its file and its drop-ins, but ours, in the order in which systemd reads them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from keyrotor.boundary import files, listeners
from keyrotor.boundary.forms import redacted
from keyrotor.boundary.listeners import At, Held
from keyrotor.boundary.systemd import Systemd
from keyrotor.boundary.unit_folder import MODE, UnitFolder
from keyrotor.boundary.unit_text import Unit
from keyrotor.errors import PlaceError
from keyrotor.formats import contained_unit
from keyrotor.formats.contained_unit import NAME, Before
from keyrotor.secret import Secret


def texts(unit: Unit) -> list[str]:
    """The unit's file and its drop-ins but ours, in the order in which they count. Raises PlaceError."""
    paths = (path for path in (unit.fragment, *unit.drop_ins) if path and os.path.basename(path) != NAME)
    return [files.look(Path(path)).data.decode("utf-8", "surrogateescape") for path in paths]


@dataclass(frozen=True, slots=True)
class DropIns:
    """Those of one unit and its sockets."""

    name: str  # of the unit, in full
    systemd: Systemd
    loopback: str  # where clients of this machine look for it

    def kept(self, unit: Unit) -> dict[str, str]:
        """Ours, by the name of the unit they are of. Raises PlaceError for a file of that name that is not ours."""
        found: dict[str, str] = {}
        pending = [self.name, *unit.sockets]
        for name in pending:
            folder = self._folder(name)
            if (seen := folder.seen(NAME)) is None or name in found:
                continue
            text = seen.data.decode("utf-8", "surrogateescape")
            if (folder.path / NAME).is_symlink() or not contained_unit.is_ours(text):
                raise PlaceError(f"cannot use {folder.path / NAME}: somebody else has made it")
            found[name] = text
            pending += contained_unit.before(text).sockets  # systemd forgets a socket that is stopped
        return found

    def write(self, name: str, text: str) -> None:
        """Make it hold the text, durably. Raises PlaceError."""
        folder, data = self._folder(name), text.encode("utf-8", "surrogateescape")
        files.make_folder(folder.path, 0o755)
        seen = folder.seen(NAME)
        if seen is None or seen.data != data:
            folder.place(NAME, data, seen, MODE)

    def remove(self, names: Iterable[str]) -> None:
        """They are gone, and systemd knows. Raises PlaceError."""
        for name in names:
            folder = self._folder(name)
            if seen := folder.seen(NAME):
                folder.remove(NAME, seen)
            files.remove_if_empty(folder.path)
        self.systemd.do("daemon-reload")

    def on_loopback(self, unit: Unit, exposed: Sequence[At], before: Before, known: Sequence[Secret]) -> dict[str, str]:
        """The drop-ins that make it listen on loopback only, its own last. Raises PlaceError where it cannot be told
        how."""
        made: dict[str, str] = {}
        covered: set[int] = set()
        command = ""
        kept = {name: text for name, text in self.kept(unit).items() if contained_unit.inert(text) != text}
        for name in unit.sockets:
            held = listeners.held(self.systemd, name)
            if name in kept:  # written before a kill; it may tell the new addresses already
                covered |= {at.port for each in held if (at := each.at)}
                made[name] = kept[name]
            elif ports := {at.port for each in held if (at := each.at) and not at.is_local}:
                covered |= ports
                made[name] = contained_unit.socket(before, list(_moved(held, self.loopback)))
        if any(at.port not in covered for at in exposed) or not (exposed or unit.sockets):
            command = self.command(unit, known)
        return made | {self.name: contained_unit.service(before, command)}

    def command(self, unit: Unit, known: Sequence[Secret]) -> str:
        """Its command, listening on loopback. Raises PlaceError."""
        start = f"cannot make {self.name} listen on loopback only"
        if unit.is_active and listeners.is_apart(unit.pid):
            raise PlaceError(f"{start}: it has a network of its own")
        found = contained_unit.commands(texts(unit))
        new = contained_unit.on_loopback(found[0], self.loopback) if len(found) == 1 else None
        if new is None:
            why = "its command does not tell where it listens (a script, a container, more than one command)"
            raise PlaceError(f"{start}: {why}")
        data = new.encode("utf-8", "surrogateescape")
        if redacted(data, known) != data:
            raise PlaceError(f"{start}: a key stands in its command, which is not to be written once more")
        return new

    def _folder(self, name: str) -> UnitFolder:
        return UnitFolder(self.systemd.unit_folder() / f"{name}.d")


def _moved(held: Sequence[Held], host: str) -> Iterator[tuple[str, str]]:
    """What a socket unit is to hold, each once; what it hands on keeps its order, for a service knows it by number."""
    taken = {str(each.at) for each in held if each.at and each.at.is_local}
    for each in held:
        at = each.at
        if at is None or at.is_local:
            yield each.kind, each.address
            continue
        new = str(At(host, at.port))
        if new in taken and ":" in at.host and at.host != "::":
            new = str(At("::1", at.port))
        if new not in taken:
            taken.add(new)
            yield each.kind, new
