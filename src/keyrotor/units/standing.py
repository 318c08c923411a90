"""How the gateway's unit and its socket stand: files, systemd's view of them, and what is in the way. Looks only."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from keyrotor.boundary import files, proc
from keyrotor.boundary.files import Look
from keyrotor.boundary.litellm_api import stranger
from keyrotor.boundary.proc import Listener
from keyrotor.boundary.systemd import Systemd
from keyrotor.boundary.unit_folder import UnitFolder
from keyrotor.boundary.unit_text import Managed, Unit
from keyrotor.core.serving import Wish
from keyrotor.errors import PlaceError, RefusedError
from keyrotor.formats import unit_files
from keyrotor.formats.former_unit import KEPT, Former, brought_back
from keyrotor.formats.unit_files import Origin, Wanted

WILD = ("0.0.0.0", "::")  # noqa: S104  compared, not bound


@dataclass(frozen=True, slots=True)
class One:
    """A unit file, what is kept of a former one, and what systemd has of it."""

    name: str
    seen: Look | None
    kept: Look | None
    managed: Managed
    folder: Path
    links: tuple[str, ...]
    is_there: bool  # whether anything stands at its path, be it a link

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
        is_other = self.seen is None and self.managed.load != "masked" and not self.is_orphan
        return self.managed.fragment if is_other else ""

    @property
    def is_orphan(self) -> bool:
        """Whether systemd still has a unit whose file was taken away from here, or has lost the file of one that is
        up."""
        is_lost = self.managed.load == "not-found" and self.managed.active in ("active", "activating")
        return not self.is_there and (self.managed.fragment == str(self.path) or is_lost)

    @property
    def may_run(self) -> bool:
        """Whether there is anything that could be stopped."""
        return self.managed.load not in ("", "not-found") or self.is_orphan

    @property
    def former(self) -> tuple[bytes, Former] | None:
        """What is kept of a former one: its file, and how it was. Raises RefusedError."""
        if self.kept is None:
            return None
        try:
            return brought_back(self.kept.data)
        except RefusedError as error:
            kept = self.kept.path
            hint = f"rm {shlex.quote(str(kept))}  (then nothing is brought back), and again"
            raise RefusedError(f"{error}: {kept}", hint=hint) from None

    @property
    def is_strange(self) -> bool:
        """Whether something is there that keyrotor has not made, or that somebody has changed since."""
        return self.origin in (Origin.FOREIGN, Origin.EDITED) or bool(self.elsewhere)

    @property
    def is_brought_back(self) -> bool:
        """Whether what is kept stands at its place again: a removal that was killed came so far."""
        if self.seen is None or self.kept is None or self.origin is not Origin.FOREIGN:
            return False
        return self.former is not None and self.former[0] == self.seen.data


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
    service, socket = (_one(folder, name, each) for name, each in zip(names, managed, strict=True))
    return Standing(service, socket, systemd.show(wanted.name))


def _one(folder: UnitFolder, name: str, managed: Managed) -> One:
    file, kept = _file(folder, name), _file(folder, name + KEPT)
    return One(name, file, kept, managed, folder.path, folder.links(name), folder.has(name))


def _file(folder: UnitFolder, name: str) -> Look | None:
    """The file; none where it is a link, which is told as a reason."""
    return None if (folder.path / name).is_symlink() else folder.seen(name)


def in_the_way(wanted: Wanted, url: str, seen: Standing, folder: UnitFolder, wish: Wish) -> Iterator[tuple[str, str]]:
    """Every reason why the gateway could not be installed and started, and the command that helps."""
    start = f"cannot install {wanted.name}"
    if "@" in wanted.stem or "/" in wanted.stem:
        yield f"{start}: only a plain unit can be installed, not an instance of a template", "give it another name"
    masked = [one.name for one in seen.both if one.managed.load == "masked"]
    for name in masked:
        yield f"{start}: {name} is masked", f"systemctl --{wanted.scope} unmask {name}"
    links = [one.path for one in seen.both if one.path.is_symlink()]
    away = f"systemctl --{wanted.scope} disable {shlex.join(path.name for path in links)}  (which takes the link away)"
    for reason in folder.refusals([one.name for one in seen.both if one.name not in masked]):
        yield reason, away if any(str(path) in reason for path in links) else ""
    for name in seen.unit.sockets:
        if name != wanted.socket:
            why = f"{name} starts it besides, and holds a port for it"
            yield f"{start}: {why}", f"systemctl --{wanted.scope} disable --now {name}"
    yield from _program(wanted, start, wish)
    yield from _missing(wanted, start, wish)
    if why := port_trouble(wanted, url, seen):
        yield f"{start}: {why}", "stop it, or write another url into the playbook"


def _program(wanted: Wanted, start: str, wish: Wish) -> Iterator[tuple[str, str]]:
    """Why LiteLLM could not be started from where it is."""
    more = ["--replace"] if wish.replace else []
    named = wish.command("install", *more, "--litellm", "PATH")
    if not wanted.program:
        yield f"{start}: there is no litellm on PATH", f"{named}  (pip install 'litellm[proxy]' makes one)"
    elif not os.access(wanted.program, os.X_OK) or not os.path.isfile(wanted.program):
        yield f"{start}: {wanted.program} is no program", named
    elif not os.access(wanted.server, os.X_OK):
        why = f"beside {wanted.program} there is no {Path(wanted.server).name}, which can be handed a port"
        plain = wish.command("install", *more, "--no-socket")
        yield f"{start}: {why}", f"{named}  (that of its virtual environment), or {plain}"
    elif any(sign in wanted.server for sign in "\"'\\"):
        yield f"{start}: systemd starts no program with a quote in its path: {wanted.server}", named


def _missing(wanted: Wanted, start: str, wish: Wish) -> Iterator[tuple[str, str]]:
    """Which files it would be started with, and are not there, or cannot be named."""
    for path in wanted.env_files:
        if not files.exists(Path(path)):
            yield f"{start}: its env file {path} is not there", f"keyrotor env {wish.book}"
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
    listening = in_reach(wanted)
    if not listening or _is_its_own(seen.unit, listening):
        return ""
    if who := stranger(url, seen.unit, listening):
        return who
    if seen.unit.is_active or seen.socket.managed.active == "active" or proc.holders(listening):
        return ""
    return f"port {wanted.port} is answered by a process of another user"


def in_reach(wanted: Wanted) -> list[Listener]:
    """Who listens at the gateway's address, or at every one."""
    every = proc.listening(wanted.port)
    if wanted.host in WILD or not wanted.host[:1].isdigit():
        return list(every)
    return [each for each in every if each.address in (wanted.host, f"::ffff:{wanted.host}", *WILD)]


def _is_its_own(unit: Unit, listening: Sequence[Listener]) -> bool:
    """Whether the unit's own processes have the port, also while it is still starting."""
    mine = proc.groups(unit.pid) if unit.pid else frozenset()
    owners = proc.holders(listening)
    return bool(mine and owners) and all(proc.groups(pid) == mine for pid in owners)


def read_installed(folder: UnitFolder, name: str) -> str:
    """The text of the unit where it is there and ours; "" otherwise. Raises PlaceError."""
    try:
        seen = _file(folder, name)
    except PlaceError:
        return ""
    text = "" if seen is None else seen.data.decode("utf-8", "surrogateescape")
    return text if unit_files.origin(text) is Origin.OURS else ""
