"""Strangers kept away from a gateway while its key is leaked: it listens on loopback only, or not at all.

Rules:
1. What counts is where the unit's processes and sockets really listen, before and after; a setting proves nothing.
2. Only drop-ins of ours are written and taken away; what others have made stays as it is.
3. How things were stands in the drop-in, durable before the first effect: so each deed may be done again after a kill.
4. What cannot be contained is left as it was, and told with what a person can do instead.
5. Who needs the unit goes down with it, and comes back with it; whoever would start it stays down as long as it is to.
`IPAddressDeny=` is not used, where systemd could: it cuts the gateway off from its providers as well, works for root
alone, leaves out a socket that another unit holds, and nobody could see from the listening sockets that it holds.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from keyrotor.boundary import listeners
from keyrotor.boundary.listeners import At
from keyrotor.boundary.litellm_api import port
from keyrotor.boundary.unit_text import Unit
from keyrotor.core.response import Contained, Lifted
from keyrotor.errors import PlaceError
from keyrotor.formats import contained_unit
from keyrotor.formats.contained_unit import Before
from keyrotor.units import contained, dependants, meanwhile
from keyrotor.units.contained import DropIns
from keyrotor.units.dependants import Dependants
from keyrotor.units.movable import MARGIN, Movable

STOP = "keyrotor incident resume --contain stop  (it is down then, until the key is rotated)"


@dataclass(frozen=True, slots=True)
class Containing:
    """One gateway: a unit, and the address of its door."""

    playbook: str
    place: str  # the door's id; "" where the playbook has no door
    url: str  # likewise
    unit: Movable

    @property
    def name(self) -> str:
        return self.unit.name

    def contain(self, how: str) -> Contained:
        """Keep strangers away: `stop`, `loopback` or `none`, which ends it. Raises PlaceError."""
        if how == "none":
            return self._left_open()
        unit = self.unit.within_reach()
        if how == "loopback" and unit.is_active and not self.unit.listening(unit):
            self.unit.wait(lambda: bool(self.unit.listening()))  # it is starting
        now, kept = self.unit.listening(unit), self._files.kept(unit)
        before = self._before(unit, now, kept)
        return self._stop(unit, before, kept) if how == "stop" else self._on_loopback(unit, now, before, kept)

    def lift(self) -> Lifted:
        """End the containment, and wait until it listens as before. Raises PlaceError."""
        if not (kept := self._files.kept(unit := self.unit.within_reach())):
            return self._lifted(unit, f"{self.name} was not contained")
        was = self._remembered(kept)
        was = replace(was, needed_by=_united(was.needed_by, self._dependants(unit, was).running))
        for name, text in kept.items():
            self._files.write(name, contained_unit.inert(contained_unit.remembering(text, was)))
        self.unit.systemd.do("daemon-reload")
        away = ""
        if not (was.listened and self.unit.is_as(was, is_up=True)):
            mine = list(dict.fromkeys((*was.sockets, *(name for name in kept if name != self.name))))
            began = time.monotonic()
            self.unit.restart(unit, mine, replace(was, was_active=True))
            self.unit.wait(lambda: self.unit.is_as(was, is_up=True))
            away = f"; it was away for {time.monotonic() - began:.1f} s"
        unit = self.unit.seen()
        if not (unit.is_active and self.unit.listening(unit)):
            why = f"it is {unit.active} ({unit.result}) and listens nowhere{self.unit.last_words(unit)}"
            raise PlaceError(f"cannot lift the containment of {self.name}: {why}", hint=self.unit.shows())
        back = self._brought_back(was)
        self._files.remove(kept)
        missing = set(was.listened) - set(map(str, self.unit.listening(unit)))
        note = f"; not at {', '.join(sorted(missing))} as before" if missing else ""
        return self._lifted(unit, f"{self.name} listens at {_told(self.unit.listening(unit))} again{note}{away}{back}")

    # -- how it was

    def _before(self, unit: Unit, now: Sequence[At], kept: Mapping[str, str]) -> Before:
        """What the first containment has kept, which counts; who needs it may be more by now."""
        was = self._remembered(kept)
        if not was.listened:
            was = Before(tuple(map(str, now)), self.unit.active(unit.sockets), unit.is_active, was.needed_by)
        return replace(was, needed_by=_united(was.needed_by, self._dependants(unit, was).running))

    def _remembered(self, kept: Mapping[str, str]) -> Before:
        known = [contained_unit.before(text) for text in kept.values()]
        was = next((each for each in known if each.listened), Before())
        return replace(was, needed_by=_united(*(each.needed_by for each in known)))

    def _dependants(self, unit: Unit, was: Before) -> Dependants:
        return dependants.found(self.unit.systemd, _united([self.name], unit.sockets, was.sockets))

    def _brought_back(self, was: Before) -> str:
        return dependants.started(self.unit.systemd, was.needed_by, self.unit.within + MARGIN)

    # -- none

    def _left_open(self) -> Contained:
        """As it is; where it is contained already, that ends."""
        unit = self.unit.seen()
        if kept := self._files.kept(unit) if unit.load == "loaded" else {}:
            was, lifted = self._remembered(kept), self.lift()
            return Contained(self.playbook, self.name, "none", was.listened, lifted.listens, said=lifted.said)
        now = self.unit.listening(unit)
        told = tuple(map(str, now))
        said = f"{self.name} is left as it is: it listens at {_told(now)}"
        return Contained(self.playbook, self.name, "none", told, told, said=said)

    # -- loopback

    def _on_loopback(self, unit: Unit, now: Sequence[At], before: Before, kept: Mapping[str, str]) -> Contained:
        exposed = [at for at in map(listeners.parsed, before.listened) if not at.is_local]
        is_up = bool(unit.is_active or now)
        if unit.is_active and not now:
            why = "none of its processes listens at any port (a container may have it)"
            raise PlaceError(f"cannot tell how to contain {self.name}: {why}", hint=self._instead())
        if is_up and all(at.is_local for at in now):
            back = self._brought_back(before)
            return self._contained(before, "loopback", f"{self.name} listens on loopback only ({_told(now)}){back}")
        try:
            self._want_reachable(unit, before)
            texts = self._files.on_loopback(unit, exposed, replace(before, is_halted=False), self.unit.values(unit))
        except PlaceError as error:
            raise PlaceError(str(error), hint=self._instead()) from None
        for name, text in texts.items():
            self._files.write(name, text)
        self.unit.systemd.do("daemon-reload")
        if not (is_up or before.listened):  # it was down when the incident was opened
            said = f"{self.name} is {unit.active}; when it is started, it listens on loopback only"
            return self._contained(before, "loopback", said)
        began = time.monotonic()
        sockets = [name for name in texts if name != self.name]
        try:
            self.unit.restart(unit, sockets, before)
            self.unit.wait(lambda: self._is_local(before))
            if not self._is_local(before):
                raise PlaceError(f"cannot keep strangers from {self.name}: {self._why_not()}")
        except PlaceError as error:
            how = self._halted(unit, sockets, before, kept) if before.is_halted else self._open(unit, sockets, before)
            raise PlaceError(f"{error}; {how}", hint=self._instead()) from None
        said = f"{self.name} listens at {_told(self.unit.listening())} only, and no more at {_told(exposed)}"
        said += f"; it was away for {time.monotonic() - began:.1f} s{self._brought_back(before)}"
        return self._contained(before, "loopback", said)

    def _want_reachable(self, unit: Unit, before: Before) -> None:
        """Raises PlaceError where the rotation could not ask at its door meanwhile."""
        if (there := self._reached(unit, before)).startswith("https:"):
            why = f"the certificate of {self.url} is not for {there}, and nothing could be proven there meanwhile"
            raise PlaceError(f"cannot make {self.name} listen on loopback only: {why}")

    def _is_local(self, before: Before) -> bool:
        """Whether it listens again, and on loopback only."""
        now, ports = self.unit.listening(), {at.port for at in map(listeners.parsed, before.listened)}
        door = {port(self.url)} & ports if self.url else set()  # a port that a process chooses is another each time
        return bool(now) and all(at.is_local for at in now) and (door or ports) <= {at.port for at in now}

    def _why_not(self) -> str:
        unit = self.unit.seen()
        if exposed := [at for at in self.unit.listening(unit) if not at.is_local]:
            return f"it still listens at {_told(exposed)}"
        return f"it does not come up on loopback ({unit.active}){self.unit.last_words(unit)}"

    def _open(self, unit: Unit, sockets: Sequence[str], before: Before) -> str:
        """Everything as it was; how it truly is now, for people."""
        fault = back = ""
        try:
            self._files.remove([self.name, *sockets])
            self.unit.restart(unit, sockets, before)
            self.unit.wait(lambda: self.unit.is_as(before, is_up=before.was_active))
            back = self._brought_back(before)
        except PlaceError as error:
            fault = f" ({error})"
        if not fault and self.unit.is_as(before, is_up=before.was_active):
            return f"it is as it was{back}"
        return f"it is not as it was: {self._is_now()}{fault}{back}"

    def _halted(self, unit: Unit, sockets: Sequence[str], before: Before, kept: Mapping[str, str]) -> str:
        """Stopped, as it was; how it truly is now, for people."""
        fault = ""
        try:
            for name, text in kept.items():
                self._files.write(name, text)
            for name in (*sockets, self.name):
                self.unit.halt(name, unit, before)
            self.unit.systemd.do("daemon-reload")
        except PlaceError as error:
            fault = f" ({error})"
        return f"{self._is_now()}{fault}"

    def _is_now(self) -> str:
        unit = self.unit.seen()
        return f"it is {unit.active} ({unit.result}) and listens at {_told(self.unit.listening(unit))}"

    # -- stop

    def _stop(self, unit: Unit, before: Before, kept: Mapping[str, str]) -> Contained:
        """Stop it now. Its drop-in makes a start bring its sockets along, and lets it come back on loopback."""
        wakers = self._dependants(unit, before).wakers
        before = replace(before, needed_by=_united(before.needed_by, wakers), is_halted=True)
        note = self._prepare_stop(unit, before, kept)
        # The sockets first, and whoever else waits to start it, or the next connection would.
        for name in _united(wakers, unit.sockets, before.sockets, [self.name]):
            self.unit.halt(name, unit, before)
        self.unit.systemd.do("daemon-reload")
        if left := self.unit.listening():
            raise PlaceError(
                f"cannot stop {self.name}: it listens at {_told(left)} all the same", hint=self.unit.shows()
            )
        what = "is stopped" if before.was_active or before.listened else "was down already"
        names = ", ".join(before.needed_by)
        down = f"; down with it, until the containment ends: {names}" if names else ""
        return self._contained(before, "stop", f"{self.name} {what}, until the rotation starts it{note}{down}")

    def _prepare_stop(self, unit: Unit, before: Before, kept: Mapping[str, str]) -> str:
        """What is written before it goes down; nothing that fails here keeps it up. Says what could not be done."""
        note, texts = "", {self.name: contained_unit.service(before, "")}
        exposed = [at for at in map(listeners.parsed, before.listened) if not at.is_local]
        try:
            if self.name in kept:  # the last one that is written
                texts = {name: contained_unit.remembering(text, before) for name, text in kept.items()}
            elif exposed or not before.listened:
                self._want_reachable(unit, before)
                texts = self._files.on_loopback(unit, exposed, before, self.unit.values(unit))
        except PlaceError as error:
            note = f"; strangers reach it again once it is started: {error}"
        try:
            for name, text in texts.items():
                self._files.write(name, text)
        except PlaceError as error:
            note = f"; how it was cannot be kept: {error}"
        return note

    # -- the unit

    @property
    def _files(self) -> DropIns:
        is_six = urlsplit(self.url).hostname == "::1"  # where clients of this machine look for it
        return DropIns(self.name, self.unit.systemd, "::1" if is_six else "127.0.0.1")

    # -- what is said

    def _contained(self, before: Before, how: str, said: str) -> Contained:
        unit = self.unit.seen()
        now, kept = tuple(map(str, self.unit.listening(unit))), self._files.kept(unit)
        is_moved = any(contained_unit.is_moved(text) for text in kept.values())
        url = self._reached(unit, before) if is_moved else ""
        doors = {self.place: url} if url else {}
        return Contained(self.playbook, self.name, how, before.listened, now, doors, bool(kept), said)

    def _reached(self, unit: Unit, before: Before) -> str:
        """The door's address while it is contained; "" where it is the same."""
        commands = [] if before.listened else contained_unit.commands(contained.texts(unit))
        return meanwhile.reached(self.url, before.listened, commands)

    def _lifted(self, unit: Unit, said: str) -> Lifted:
        return Lifted(self.playbook, self.name, tuple(map(str, self.unit.listening(unit))), said)

    def _instead(self) -> str:
        number = port(self.url) if self.url else "PORT"
        drop = f"iptables -I INPUT ! -i lo -p tcp --dport {number} -j DROP"
        return f"{STOP}   or   sudo {drop}  (and the same with ip6tables)"


def _united(*names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for each in names for name in each))


def _told(found: Sequence[At]) -> str:
    return ", ".join(map(str, found)) or "no address"
