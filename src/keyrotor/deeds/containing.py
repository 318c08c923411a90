"""Strangers kept away from a gateway while its key is leaked: it listens on loopback only, or not at all.

Rules:
1. What counts is where the unit's processes and sockets really listen, before and after; a setting proves nothing.
2. Only drop-ins of ours are written and taken away; what others have made stays as it is.
3. How things were stands in the drop-in, durable before the first effect: so each deed may be done again after a kill.
4. What cannot be contained is left as it was, and told with what a person can do instead.
`IPAddressDeny=` is not used, where systemd could: it cuts the gateway off from its providers as well, works for root
alone, leaves out a socket that another unit holds, and nobody could see from the listening sockets that it holds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from keyrotor.boundary import listeners, proc
from keyrotor.boundary.http import poll
from keyrotor.boundary.listeners import At
from keyrotor.boundary.litellm_api import port
from keyrotor.boundary.systemd import Systemd
from keyrotor.boundary.unit_text import Unit
from keyrotor.core.response import Contained, Lifted
from keyrotor.errors import PlaceError
from keyrotor.formats import contained_unit
from keyrotor.formats.contained_unit import Before
from keyrotor.secret import Pair, Secret
from keyrotor.units.contained import DropIns

EVERY = 0.1  # seconds between looks at who listens; a look takes 30 ms
MARGIN = 30.0  # seconds that systemctl has beyond the unit's own stop timeout
LONGEST = 600.0  # seconds, for a unit whose stop may take for ever
STOP = "keyrotor incident open --contain stop  (it is down then, until the key is rotated)"


@dataclass(frozen=True, slots=True)
class Containing:
    """One gateway: a unit, and the address of its door."""

    playbook: str
    name: str  # of the unit, in full
    url: str  # "" where the playbook has no door
    variable: str  # that holds the key
    within: float  # seconds until it must listen again
    systemd: Systemd
    rest: Callable[[float], None]

    def contain(self, how: str) -> Contained:
        """Keep strangers away: `stop`, `loopback` or `none`. Raises PlaceError."""
        if how == "none":
            return self._left_open()
        unit = self._unit()
        if how == "loopback" and unit.is_active and not self._listening(unit):
            self._await(lambda: bool(self._now()))  # it is starting
        now, kept = self._listening(unit), self._files.kept(unit)
        before = next((each for each in map(contained_unit.before, kept.values()) if each.listened), None)
        before = before or Before(tuple(map(str, now)), self._active(unit.sockets), unit.is_active)
        return self._stop(unit, before) if how == "stop" else self._on_loopback(unit, now, before)

    def lift(self) -> Lifted:
        """End the containment, and wait until it listens as before. Raises PlaceError."""
        if not (kept := self._files.kept(unit := self._unit())):
            return self._lifted(unit, f"{self.name} was not contained")
        was = next((each for each in map(contained_unit.before, kept.values()) if each.listened), Before())
        for name, text in kept.items():
            self._files.write(name, contained_unit.inert(text))
        self.systemd.do("daemon-reload")
        away = ""
        if not (was.listened and self._listens_as(was)):
            mine = list(dict.fromkeys((*was.sockets, *(name for name in kept if name != self.name))))
            began = time.monotonic()
            self._restart(unit, mine, Before())
            self._await(lambda: self._listens_as(was))
            away = f"; it was away for {time.monotonic() - began:.1f} s"
        unit = self.systemd.show(self.name)
        if not (unit.is_active and self._listening(unit)):
            why = f"it is {unit.active} ({unit.result}) and listens nowhere{self._last_words(unit)}"
            raise PlaceError(f"cannot lift the containment of {self.name}: {why}", hint=self._shows())
        self._files.remove(kept)
        missing = set(was.listened) - set(map(str, self._listening(unit)))
        note = f"; not at {', '.join(sorted(missing))} as before" if missing else ""
        return self._lifted(unit, f"{self.name} listens at {_told(self._listening(unit))} again{note}{away}")

    # -- none

    def _left_open(self) -> Contained:
        now = self._listening(self.systemd.show(self.name))
        told = tuple(map(str, now))
        said = f"{self.name} is left as it is: it listens at {_told(now)}"
        return Contained(self.playbook, self.name, "none", told, told, said=said)

    # -- loopback

    def _on_loopback(self, unit: Unit, now: Sequence[At], before: Before) -> Contained:
        exposed = [at for at in map(listeners.parsed, before.listened) if not at.is_local]
        is_up = bool(unit.is_active or now)
        if unit.is_active and not now:
            why = "none of its processes listens at any port (a container may have it)"
            raise PlaceError(f"cannot tell how to contain {self.name}: {why}", hint=self._instead())
        if is_up and all(at.is_local for at in now):
            return self._contained(before, "loopback", f"{self.name} listens on loopback only ({_told(now)})")
        try:
            texts = self._files.on_loopback(unit, exposed, before, self._values(unit))
        except PlaceError as error:
            raise PlaceError(str(error), hint=self._instead()) from None
        for name, text in texts.items():
            self._files.write(name, text)
        self.systemd.do("daemon-reload")
        if not (is_up or before.listened):  # it was down when the incident was opened
            said = f"{self.name} is {unit.active}; when it is started, it listens on loopback only"
            return self._contained(before, "loopback", said)
        began = time.monotonic()
        sockets = [name for name in texts if name != self.name]
        try:
            self._restart(unit, sockets, before)
            self._await(lambda: self._is_local(before))
            if not self._is_local(before):
                raise PlaceError(f"cannot keep strangers from {self.name}: {self._why_not()}")
        except PlaceError as error:
            self._withdraw(unit, sockets, before)
            raise PlaceError(f"{error}; it is as it was", hint=self._instead()) from None
        said = f"{self.name} listens at {_told(self._now())} only, and no more at {_told(exposed)}"
        return self._contained(before, "loopback", f"{said}; it was away for {time.monotonic() - began:.1f} s")

    def _is_local(self, before: Before) -> bool:
        """Whether it listens again, and on loopback only."""
        now, ports = self._now(), {at.port for at in map(listeners.parsed, before.listened)}
        door = {port(self.url)} & ports if self.url else set()  # a port that a process chooses is another each time
        return bool(now) and all(at.is_local for at in now) and (door or ports) <= {at.port for at in now}

    def _why_not(self) -> str:
        unit = self.systemd.show(self.name)
        if exposed := [at for at in self._listening(unit) if not at.is_local]:
            return f"it still listens at {_told(exposed)}"
        return f"it does not come up on loopback ({unit.active}){self._last_words(unit)}"

    def _withdraw(self, unit: Unit, sockets: Sequence[str], before: Before) -> None:
        """Everything as it was."""
        self._files.remove([self.name, *sockets])
        with suppress(PlaceError):
            self._restart(unit, sockets, before)

    # -- stop

    def _stop(self, unit: Unit, before: Before) -> Contained:
        """Stop it now. Its drop-in makes a start bring its sockets along, and lets it come back on loopback."""
        note = self._prepare_stop(unit, before)
        for name in (
            *dict.fromkeys((*unit.sockets, *before.sockets)),
            self.name,
        ):  # the socket first, or the next connection would start it again
            self._halt(name, unit.stop_timeout)
        self.systemd.do("daemon-reload")
        if left := self._now():
            raise PlaceError(f"cannot stop {self.name}: it listens at {_told(left)} all the same", hint=self._shows())
        what = "is stopped" if before.was_active or before.listened else "was down already"
        return self._contained(before, "stop", f"{self.name} {what}, until the rotation starts it{note}")

    def _prepare_stop(self, unit: Unit, before: Before) -> str:
        """What is written before it goes down; nothing that fails here keeps it up. Says what could not be done."""
        note, texts = "", {self.name: contained_unit.service(before, "")}
        exposed = [at for at in map(listeners.parsed, before.listened) if not at.is_local]
        try:
            if self.name in self._files.kept(unit):  # the last one that is written
                return ""
            texts = self._files.on_loopback(unit, exposed, before, self._values(unit)) if exposed else texts
        except PlaceError as error:
            note = f"; strangers reach it again once it is started: {error}"
        try:
            for name, text in texts.items():
                self._files.write(name, text)
        except PlaceError as error:
            note = f"; how it was cannot be kept: {error}"
        return note

    # -- the unit

    def _unit(self) -> Unit:
        """Raises PlaceError where it is out of reach."""
        unit = self.systemd.show(self.name)
        if unit.load != "loaded":
            raise PlaceError(f"cannot contain {self.name}: unit is {unit.load or 'not known'}", hint=self._shows())
        if self.systemd.needs_root:
            raise PlaceError(f"cannot contain {self.name}: a unit of the system needs root", hint="sudo keyrotor …")
        return unit

    @property
    def _files(self) -> DropIns:
        is_six = urlsplit(self.url).hostname == "::1"  # where clients of this machine look for it
        return DropIns(self.name, self.systemd, "::1" if is_six else "127.0.0.1")

    def _now(self) -> tuple[At, ...]:
        return self._listening(self.systemd.show(self.name))

    def _listening(self, unit: Unit) -> tuple[At, ...]:
        return listeners.of_unit(self.systemd, unit)

    def _listens_as(self, was: Before) -> bool:
        unit = self.systemd.show(self.name)
        now = set(map(str, self._listening(unit)))
        return unit.is_active and bool(now) and set(was.listened) <= now

    def _active(self, names: Sequence[str]) -> tuple[str, ...]:
        return tuple(each.name for each in self.systemd.managed(names) if each.active == "active") if names else ()

    def _restart(self, unit: Unit, sockets: Sequence[str], before: Before) -> None:
        """Down and up again; a socket cannot be restarted while its service is up, and starts one that was down."""
        for name in (*sockets, self.name):
            self._halt(name, unit.stop_timeout)
        for name in (*sockets, *([self.name] if before.was_active else [])):
            self.systemd.reset_failed(name)
            self.systemd.do("start", name, within=self.within + MARGIN)

    def _halt(self, name: str, stop_timeout: float) -> None:
        self.systemd.do("stop", name, within=min(stop_timeout, LONGEST) + MARGIN)

    def _await(self, is_done: Callable[[], bool]) -> None:
        """Until it is so, or `within` is over, or the unit has ended."""

        def look() -> bool:
            return is_done() or self.systemd.seen(self.name).active == "failed"

        poll(look, is_done=bool, within=self.within, every=EVERY, rest=self.rest)

    def _values(self, unit: Unit) -> list[Secret]:
        with suppress(OSError):
            found = proc.variable(unit.pid, self.variable)
            return [] if found is None else [found]
        return []

    def _last_words(self, unit: Unit) -> str:
        known = self._values(unit) or [Secret(b"")]
        return self.systemd.last_words(unit, Pair(known[0], Secret(b"")))

    # -- what is said

    def _contained(self, before: Before, how: str, said: str) -> Contained:
        unit = self.systemd.show(self.name)
        now, is_changed = tuple(map(str, self._listening(unit))), bool(self._files.kept(unit))
        reached = self._reached(before) if is_changed else ""
        return Contained(self.playbook, self.name, how, before.listened, now, reached, is_changed, said)

    def _reached(self, before: Before) -> str:
        """The door's address on loopback, where it is another one and the unit listens at its port."""
        address = urlsplit(self.url)
        host = address.hostname or ""
        ports = {at.port for at in map(listeners.parsed, before.listened)}
        with suppress(ValueError):
            if not host or proc.is_loopback(host):
                return ""
        if host == "localhost" or port(self.url) not in ports:
            return ""
        return address._replace(netloc=f"127.0.0.1:{port(self.url)}").geturl()

    def _lifted(self, unit: Unit, said: str) -> Lifted:
        return Lifted(self.playbook, self.name, tuple(map(str, self._listening(unit))), said)

    def _instead(self) -> str:
        number = port(self.url) if self.url else "PORT"
        drop = f"iptables -I INPUT ! -i lo -p tcp --dport {number} -j DROP"
        return f"{STOP}   or   sudo {drop}  (and the same with ip6tables)"

    def _shows(self) -> str:
        scope = self.systemd.command("status", self.name)[1]
        return f"systemctl {scope} status {self.name}"


def _told(found: Sequence[At]) -> str:
    return ", ".join(map(str, found)) or "no address"
