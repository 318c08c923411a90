"""How the gateway's unit and its socket stand: files, systemd's view of them, and what is in the way. Looks only."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from keyrotor.boundary import files, proc
from keyrotor.boundary.files import Look
from keyrotor.boundary.litellm_api import stranger
from keyrotor.boundary.systemd import Systemd
from keyrotor.boundary.unit_folder import UnitFolder
from keyrotor.boundary.unit_text import Managed, Unit
from keyrotor.errors import PlaceError
from keyrotor.formats import unit_files
from keyrotor.formats.unit_files import KEPT, Origin, Wanted


@dataclass(frozen=True, slots=True)
class One:
    """A unit file, what is kept of a former one, and what systemd has of it."""

    name: str
    seen: Look | None
    kept: Look | None
    managed: Managed
    folder: Path

    @property
    def path(self) -> Path:
        return self.folder / self.name

    @property
    def origin(self) -> Origin:
        return unit_files.origin(self.text)

    @property
    def text(self) -> str | None:
        return None if self.seen is None else self.seen.data.decode("utf-8", "surrogateescape")

    @property
    def elsewhere(self) -> str:
        """The unit of this name in another folder, which ours would stand before; "" if there is none."""
        fragment = self.managed.fragment
        return fragment if fragment and self.seen is None and self.managed.load != "masked" else ""

    @property
    def is_strange(self) -> bool:
        """Whether something is there that keyrotor has not made, or that somebody has changed since."""
        return self.origin in (Origin.FOREIGN, Origin.EDITED) or bool(self.elsewhere)

    @property
    def is_brought_back(self) -> bool:
        """Whether what is kept stands at its place again: a removal that was killed came so far."""
        if self.seen is None or self.kept is None or self.origin is not Origin.FOREIGN:
            return False
        return unit_files.brought_back(self.kept.data)[0] == self.seen.data


@dataclass(frozen=True, slots=True)
class Standing:
    """One look at both."""

    service: One
    socket: One
    unit: Unit

    @property
    def both(self) -> tuple[One, One]:
        """The socket first: a service whose socket is missing could not start."""
        return (self.socket, self.service)


def standing(wanted: Wanted, folder: UnitFolder, systemd: Systemd) -> Standing:
    """Look at both. Raises PlaceError."""
    names = (wanted.name, wanted.socket)
    managed = systemd.managed(names)
    service, socket = (
        One(name, _file(folder, name), _file(folder, name + KEPT), each, folder.path)
        for name, each in zip(names, managed, strict=True)
    )
    return Standing(service, socket, systemd.show(wanted.name))


def _file(folder: UnitFolder, name: str) -> Look | None:
    """The file; none where it is a link, which is told as a reason."""
    return None if (folder.path / name).is_symlink() else folder.seen(name)


def in_the_way(
    wanted: Wanted, url: str, seen: Standing, folder: UnitFolder, playbook: str
) -> Iterator[tuple[str, str]]:
    """Every reason why the gateway could not be installed and started, and the command that helps."""
    start = f"cannot install {wanted.name}"
    if "@" in wanted.stem or "/" in wanted.stem:
        yield f"{start}: only a plain unit can be installed, not an instance of a template", "give it another name"
    masked = [one.name for one in seen.both if one.managed.load == "masked"]
    for name in masked:
        yield f"{start}: {name} is masked", f"systemctl --{wanted.scope} unmask {name}"
    for reason in folder.refusals([one.name for one in seen.both if one.name not in masked]):
        yield reason, ""
    yield from _program(wanted, start)
    yield from _missing(wanted, start, playbook)
    if why := port_trouble(wanted, url, seen):
        yield f"{start}: {why}", "stop it, or write another url into the playbook"


def _program(wanted: Wanted, start: str) -> Iterator[tuple[str, str]]:
    """Why LiteLLM could not be started from where it is."""
    named = "keyrotor service install --litellm PATH"
    if not wanted.program:
        yield f"{start}: there is no litellm on PATH", f"{named}  (pip install 'litellm[proxy]' makes one)"
    elif not os.access(wanted.program, os.X_OK) or not os.path.isfile(wanted.program):
        yield f"{start}: {wanted.program} is no program", named
    elif not os.access(wanted.server, os.X_OK):
        why = f"beside {wanted.program} there is no {Path(wanted.server).name}, which can be handed a port"
        yield f"{start}: {why}", f"{named}  (that of its virtual environment), or --no-socket"
    elif any(sign in wanted.server for sign in "\"'\\"):
        yield f"{start}: systemd starts no program with a quote in its path: {wanted.server}", named


def _missing(wanted: Wanted, start: str, playbook: str) -> Iterator[tuple[str, str]]:
    """Which files it would be started with, and are not there, or cannot be named."""
    for path in wanted.env_files:
        if not files.exists(Path(path)):
            yield f"{start}: its env file {path} is not there", f"keyrotor env {shlex.quote(playbook)}"
    if not wanted.config:
        yield f"{start}: the playbook's litellm place names no config", 'config = "…"  (the gateway\'s YAML file)'
    elif not files.exists(Path(wanted.config)):
        yield (
            f"{start}: the gateway's config {wanted.config} is not there",
            "write it, or mend its path in the playbook",
        )
    for path in (*wanted.env_files, wanted.project):
        if why := unit_files.cannot_stand(path):
            yield f"{start}: a unit cannot name {path!r}, for it has {why}", "give it another name"


def port_trouble(wanted: Wanted, url: str, seen: Standing) -> str:
    """Who has the port, if it is neither the unit nor its socket; "" if nobody has, or they have."""
    listening = proc.listening(wanted.port)
    if not listening:
        return ""
    if who := stranger(url, seen.unit, listening):
        return who
    if seen.unit.is_active or seen.socket.managed.active == "active" or proc.holders(listening):
        return ""
    return f"port {wanted.port} is answered by a process of another user"


def read_installed(folder: UnitFolder, name: str) -> str:
    """The text of the unit where it is there and ours; "" otherwise. Raises PlaceError."""
    try:
        seen = _file(folder, name)
    except PlaceError:
        return ""
    text = "" if seen is None else seen.data.decode("utf-8", "surrogateescape")
    return text if unit_files.origin(text) is Origin.OURS else ""
