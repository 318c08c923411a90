"""Where a unit listens: the listening sockets of its processes, and of the socket units that start it (Linux /proc).

Rules:
1. What the kernel says counts. From a reload on a socket unit whose addresses were changed tells the new ones and says
   that it is active, while systemd has let go of the old ones and holds none: only a service that was handed them still
   listens there (measured on systemd 252).
2. The tables are read as the unit's own process sees them: it may have a network of its own.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from keyrotor.boundary import proc
from keyrotor.boundary.systemd import Systemd
from keyrotor.boundary.unit_text import Unit

_LISTEN = "0A"  # TCP_LISTEN in /proc/net/tcp
_ACCEPTS = 0x10000  # __SO_ACCEPTCON in /proc/net/unix
_LISTEN_LINE = re.compile(r"^Listen=(.*) \((\w+)\)$", re.MULTILINE)
_ENDPOINT = re.compile(r"(?:\[?(?P<host>[^\]]*?)\]?:)?(?P<port>\d+)(?:%\S+)?")


@dataclass(frozen=True, slots=True)
class At:
    """An address at which something listens: a host and a port, or the path of a socket."""

    host: str
    port: int = 0
    path: str = ""  # `@…` for an abstract one

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Whether nobody on another machine reaches it, if nothing on this one hands on what comes."""
        return bool(self.path) or proc.is_loopback(self.host)


@dataclass(frozen=True, slots=True)
class Held:
    """One `Listen…=` of a socket unit, as systemd tells it."""

    address: str
    kind: str  # Stream, Datagram, SequentialPacket, FIFO, …

    @property
    def at(self) -> At | None:
        """None where it is no address to connect to."""
        if self.kind not in ("Stream", "SequentialPacket"):
            return None
        if self.address.startswith(("/", "@")):
            return At("", path=self.address)
        found = _ENDPOINT.fullmatch(self.address)
        return At(found["host"] or "::", int(found["port"])) if found else None


def parsed(text: str) -> At:
    """An address as it is told."""
    if text.startswith("unix:"):
        return At("", path=text.removeprefix("unix:"))
    host, _, port = text.rpartition(":")
    return At(host.strip("[]"), int(port))


def held(systemd: Systemd, socket: str) -> list[Held]:
    """What a socket unit is to hold, in its order. Raises PlaceError."""
    return [Held(address, kind) for address, kind in _LISTEN_LINE.findall(systemd.told(socket, ["Listen"]))]


def of_unit(systemd: Systemd, unit: Unit) -> tuple[At, ...]:
    """Every address at which the unit listens now, by its processes or by an active socket unit. Raises PlaceError."""
    found = list(_of_processes(processes(systemd, unit)))
    told = list(_of_sockets(systemd, unit))
    found += told if systemd.needs_root else _of_manager(told)
    return tuple(sorted(dict.fromkeys(found), key=lambda at: (bool(at.path), at.port, str(at))))


def stranger(systemd: Systemd, unit: Unit, url: str) -> str:
    """Who answers at an address of this machine that is neither the unit nor a socket of it; "" if it is, or if the
    address is not this machine's, as far as that can be told without asking a name server. Raises PlaceError.

    No key is to be shown there. One of whom is not known who has it is a stranger's.
    """
    address = urlsplit(url)
    host, number = address.hostname or "", address.port or (443 if address.scheme == "https" else 80)
    if not proc.is_own(host):
        return ""
    if not (sockets := _answering(host, number)):
        return f"nobody listens at port {number}"
    own = processes(systemd, unit)
    is_handed = any(at.port == number for at in _of_sockets(systemd, unit))
    for each in sockets:
        pids = proc.holders([each])
        if not (pids & own or (is_handed and any(map(_is_manager, pids)))):
            named = ", ".join(f"{proc.name(pid)} (pid {pid})" for pid in sorted(pids)) or "somebody else"
            return f"port {number} is answered by {named}, not by {unit.name}"
    return ""


def _answering(host: str, port: int) -> list[proc.Listener]:
    """The listening sockets that may take a connection to this address: the nearest to it, by the kernel's order."""
    found = proc.listening(port)
    taken: list[proc.Listener] = []
    for one in ("127.0.0.1", "::1") if host == "localhost" else (_plain(host),):
        names = ((one,), ("::",)) if ":" in one else ((one, f"::ffff:{one}"), ("0.0.0.0",), ("::",))  # noqa: S104
        taken += next((some for each in names if (some := [at for at in found if at.address in each])), [])
    return taken


def _plain(host: str) -> str:
    """The address as the kernel's table tells it; who connects to a wildcard comes to loopback."""
    address = ipaddress.ip_address(host.partition("%")[0])
    address = getattr(address, "ipv4_mapped", None) or address
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(str(address), str(address))  # noqa: S104  compared, not bound


def of_port(port: int) -> tuple[At, ...]:
    """Every address of this machine at which somebody listens on the port."""
    return tuple(dict.fromkeys(At(each.address, port) for each in proc.listening(port)))


def processes(systemd: Systemd, unit: Unit) -> frozenset[int]:
    """All that run for the unit: in its control group or below, and what its main process has started. Raises
    PlaceError."""
    group = systemd.told(unit.name, ["ControlGroup"]).strip().partition("=")[2]
    inside = (pid for pid in proc.pids() if any(_is_in(each, group) for each in proc.groups(pid))) if group else ()
    return frozenset(inside) | proc.family(unit.pid)


def is_apart(pid: int) -> bool:
    """Whether the process has a network of its own."""
    try:
        return os.readlink(f"/proc/{pid}/ns/net") != os.readlink("/proc/self/ns/net")
    except OSError:
        return False


def _is_in(group: str, of: str) -> bool:
    return group == of or group.startswith(f"{of}/")


def _of_sockets(systemd: Systemd, unit: Unit) -> Iterator[At]:
    """What its active socket units say that they hold."""
    for socket in unit.sockets:
        if "ActiveState=active" in systemd.told(socket, ["ActiveState"]).splitlines():
            yield from (each.at for each in held(systemd, socket) if each.at)


def _of_processes(pids: Iterable[int]) -> Iterator[At]:
    tables: dict[str, dict[str, At]] = {}
    for pid in pids:
        with contextlib.suppress(OSError):
            network = os.readlink(f"/proc/{pid}/ns/net")
            if network not in tables:
                tables[network] = dict(_table(pid))
            yield from (tables[network][name] for name in proc.opened(pid) if name in tables[network])


def _of_manager(wanted: Iterable[At]) -> Iterator[At]:
    """What systemd really holds on the ports of these."""
    for at in wanted:
        for each in proc.listening(at.port) if at.port else ():
            if any(_is_manager(pid) for pid in proc.holders([each])):
                yield At(each.address, at.port)
        if at.path:
            yield at


def _is_manager(pid: int) -> bool:
    return pid == 1 or proc.name(pid) == "systemd"


def _table(pid: int) -> Iterator[tuple[str, At]]:
    """Every listening socket in the process's network, by its name among what processes have open."""
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]:
                field = line.split()
                address, port = field[1].rsplit(":", 1)
                if field[3] == _LISTEN:
                    yield f"socket:[{field[9]}]", At(proc.address_of(address), int(port, 16))
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/net/unix").read_text(errors="surrogateescape").splitlines()[1:]:
            field = line.split(maxsplit=7)
            if len(field) == 8 and int(field[3], 16) & _ACCEPTS:
                yield f"socket:[{field[6]}]", At("", path=field[7])
