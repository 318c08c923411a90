"""How the gateway's unit and its socket stand, as lines. Looks only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from keyrotor.boundary import files
from keyrotor.boundary.systemd import Systemd
from keyrotor.core.checkup import Line, State
from keyrotor.core.serving import Wish
from keyrotor.errors import RefusedError
from keyrotor.formats import unit_files
from keyrotor.formats.former_unit import KEPT
from keyrotor.formats.unit_files import Origin, Wanted
from keyrotor.units.standing import One, Standing, in_reach, port_trouble


def lines(wanted: Wanted, url: str, wish: Wish, seen: Standing, systemd: Systemd) -> Iterator[Line]:
    """A line for each thing that keeps the gateway up."""
    yield _file(seen.service, unit_files.service(wanted), wanted.scope, wish)
    if wanted.has_socket or seen.socket.seen:
        yield _file(seen.socket, unit_files.socket(wanted), wanted.scope, wish)
    install = wish.command("install")
    names = [seen.service, *([seen.socket] if wanted.has_socket else [])]
    yield _enabled(names, wanted.scope, install)
    yield _service(seen, wanted.scope)
    if wanted.has_socket:
        yield _socket(seen.socket, wanted, install)
    yield _port(wanted, url, seen)
    for path in wanted.env_files:
        is_there = files.exists(Path(path))
        said = path if is_there else f"{path} is not there"
        yield Line("env file", State.WELL if is_there else State.ILL, said, f"keyrotor env {wish.book}")
    yield from _linger(systemd, wanted.scope)
    yield from _besides(seen)


def _file(one: One, text: str, scope: str, wish: Wish) -> Line:
    if one.managed.load == "masked":
        return Line(one.name, State.ILL, "masked: nobody can start it", f"systemctl --{scope} unmask {one.name}")
    said, more = {
        Origin.ABSENT: (f"{one.elsewhere} is not keyrotor's", "--replace") if one.elsewhere else ("not installed", ""),
        Origin.FOREIGN: (f"{one.path} is not keyrotor's", "--replace"),
        Origin.EDITED: (f"{one.path} was changed by hand", "--replace"),
        Origin.OURS: ("systemd has not read its file again", "") if one.managed.owes_reload else ("", ""),
    }[one.origin]
    if one.is_orphan:
        said = f"{one.path} is not there any more, but systemd still has it"
    if one.origin is Origin.OURS and one.text != text:
        said = f"{one.path} is not what an install would write today"
    if said:
        return Line(one.name, State.ILL, said, wish.command("install", *([more] if more else [])))
    return Line(one.name, State.WELL, str(one.path))


def _enabled(names: list[One], scope: str, install: str) -> Line:
    missing = [one.name for one in names if not one.managed.is_enabled]
    if missing:
        is_there = all(one.seen or one.elsewhere for one in names)
        mend = f"systemctl --{scope} enable {' '.join(missing)}" if is_there else install
        until = ", only until the next one" if any(one.managed.enabled == "enabled-runtime" for one in names) else ""
        return Line("enabled", State.ILL, f"{' and '.join(missing)} will not be started at boot{until}", mend)
    return Line("enabled", State.WELL, "it is started at boot" if scope == "system" else "it is started with the user")


def _service(seen: Standing, scope: str) -> Line:
    managed = seen.service.managed
    if seen.unit.is_active:
        since = f" since {managed.since:%Y-%m-%d %H:%M:%S} UTC" if managed.since else ""
        return Line("service", State.WELL, f"active{since}, process {seen.unit.pid}")
    name, systemctl = seen.service.name, f"systemctl --{scope}"
    reset = f"{systemctl} reset-failed {name}   and   " if managed.result == "start-limit-hit" else ""
    mend = f"{systemctl} status {name}   and   {reset}{systemctl} start {name}"
    return Line("service", State.ILL, f"{managed.active or 'inactive'} ({managed.result or managed.sub})", mend)


def _socket(one: One, wanted: Wanted, install: str) -> Line:
    if one.managed.active == "active":
        held = unit_files.listens(one.text or "") or wanted.port
        return Line("socket", State.WELL, f"holds port {held}; connections wait while the gateway restarts")
    names = f"{wanted.socket} {wanted.name}"
    systemctl = f"systemctl --{wanted.scope}"
    mend = f"{systemctl} reset-failed {names}   and   {systemctl} restart {names}" if one.seen else install
    return Line("socket", State.ILL, f"{one.managed.active or 'inactive'} ({one.managed.result})", mend)


def _port(wanted: Wanted, url: str, seen: Standing) -> Line:
    if trouble := port_trouble(wanted, url, seen):
        return Line("port", State.ILL, trouble, "stop it")
    if in_reach(wanted):
        return Line("port", State.WELL, url)
    text = (seen.socket.text if wanted.has_socket else seen.service.text) or ""
    other = unit_files.listens(text) if Origin.OURS is unit_files.origin(text) else 0
    moved = f"; what is installed listens at port {other}" if other not in (0, wanted.port) else ""
    mend = f"systemctl --{wanted.scope} status {wanted.name}"
    return Line("port", State.ILL, f"nobody listens at {url}{moved}", mend)


def _linger(systemd: Systemd, scope: str) -> Iterator[Line]:
    if scope != "user":
        return
    match systemd.lingers():
        case True:
            yield Line("linger", State.WELL, "the gateway outlives your last logout")
        case False:
            yield Line("linger", State.ILL, "the gateway ends with your last logout", "loginctl enable-linger")
        case None:
            yield Line("linger", State.UNKNOWN, "no login manager tells whether the gateway outlives your logout")


def _besides(seen: Standing) -> Iterator[Line]:
    for one in seen.both:
        if one.managed.drop_ins:
            yield Line("drop-ins", State.UNKNOWN, f"{one.name}: {', '.join(one.managed.drop_ins)}")
        try:
            if one.former:
                yield Line("former", State.WELL, f"{one.name}{KEPT}, brought back by `keyrotor service remove`")
        except RefusedError as error:
            yield Line("former", State.ILL, str(error), error.hint or "")
