"""How the gateway's unit and its socket stand, as lines. Looks only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from keyrotor.boundary import files
from keyrotor.boundary.systemd import Systemd
from keyrotor.core.checkup import Line, State
from keyrotor.formats import unit_files
from keyrotor.formats.unit_files import KEPT, Origin, Wanted
from keyrotor.units.standing import One, Standing, port_trouble


def lines(wanted: Wanted, url: str, playbook: str, seen: Standing, systemd: Systemd) -> Iterator[Line]:
    """A line for each thing that keeps the gateway up."""
    install = f"keyrotor service install {playbook}"
    yield _file(seen.service, unit_files.service(wanted), install)
    if wanted.has_socket or seen.socket.seen:
        yield _file(seen.socket, unit_files.socket(wanted), install)
    names = [seen.service, *([seen.socket] if wanted.has_socket else [])]
    yield _enabled(names, wanted.scope, install)
    yield _service(seen, wanted.scope)
    if wanted.has_socket:
        yield _socket(seen.socket, wanted, install)
    trouble = port_trouble(wanted, url, seen)
    yield Line("port", State.ILL, trouble, "stop it") if trouble else Line("port", State.WELL, f"{url}")
    for path in wanted.env_files:
        is_there = files.exists(Path(path))
        said = path if is_there else f"{path} is not there"
        yield Line("env file", State.WELL if is_there else State.ILL, said, f"keyrotor env {playbook}")
    yield from _linger(systemd, wanted.scope)
    yield from _besides(seen)


def _file(one: One, text: str, install: str) -> Line:
    said, more = {
        Origin.ABSENT: (f"{one.elsewhere} is not keyrotor's", "--replace") if one.elsewhere else ("not installed", ""),
        Origin.FOREIGN: (f"{one.path} is not keyrotor's", "--replace"),
        Origin.EDITED: (f"{one.path} was changed by hand", "--replace"),
        Origin.OURS: ("systemd has not read its file again", "") if one.managed.owes_reload else ("", ""),
    }[one.origin]
    if one.origin is Origin.OURS and one.text != text:
        said = f"{one.path} is not what an install would write today"
    if said:
        return Line(one.name, State.ILL, said, f"{install} {more}".strip())
    return Line(one.name, State.WELL, str(one.path))


def _enabled(names: list[One], scope: str, install: str) -> Line:
    missing = [one.name for one in names if not one.managed.is_enabled]
    if missing:
        is_there = all(one.seen or one.elsewhere for one in names)
        mend = f"systemctl --{scope} enable {' '.join(missing)}" if is_there else install
        return Line("enabled", State.ILL, f"{' and '.join(missing)} will not be started at boot", mend)
    return Line("enabled", State.WELL, "it is started at boot" if scope == "system" else "it is started with the user")


def _service(seen: Standing, scope: str) -> Line:
    managed = seen.service.managed
    if seen.unit.is_active:
        since = f" since {managed.since:%Y-%m-%d %H:%M:%S} UTC" if managed.since else ""
        return Line("service", State.WELL, f"active{since}, process {seen.unit.pid}")
    mend = f"systemctl --{scope} status {seen.service.name}   and   systemctl --{scope} start {seen.service.name}"
    return Line("service", State.ILL, f"{managed.active or 'inactive'} ({managed.result or managed.sub})", mend)


def _socket(one: One, wanted: Wanted, install: str) -> Line:
    if one.managed.active == "active":
        return Line("socket", State.WELL, f"holds port {wanted.port}; connections wait while the gateway restarts")
    mend = f"systemctl --{wanted.scope} restart {wanted.socket} {wanted.name}" if one.seen else install
    return Line("socket", State.ILL, f"{one.managed.active or 'inactive'} ({one.managed.result})", mend)


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
        if one.kept:
            yield Line("former", State.WELL, f"{one.name}{KEPT}, brought back by `keyrotor service remove`")
