"""A gateway's unit as the deeds see and move it: where it listens, down, up again, and what it said last."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from keyrotor.boundary import listeners, proc
from keyrotor.boundary.http import poll
from keyrotor.boundary.listeners import At
from keyrotor.boundary.systemd import Systemd
from keyrotor.boundary.unit_text import Unit
from keyrotor.errors import PlaceError
from keyrotor.formats.contained_unit import Before
from keyrotor.secret import Pair, Secret

EVERY = 0.1  # seconds between looks at who listens; a look takes 30 ms
MARGIN = 30.0  # seconds that systemctl has beyond the unit's own stop timeout
LONGEST = 600.0  # seconds, for a unit whose stop may take for ever


@dataclass(frozen=True, slots=True)
class Movable:
    """One unit."""

    name: str  # in full
    variable: str  # that holds the key
    within: float  # seconds until it must listen again
    systemd: Systemd
    rest: Callable[[float], None]

    def within_reach(self) -> Unit:
        """Raises PlaceError where it may not be moved."""
        unit = self.seen()
        if unit.load != "loaded":
            raise PlaceError(f"cannot contain {self.name}: unit is {unit.load or 'not known'}", hint=self.shows())
        if self.systemd.needs_root:
            raise PlaceError(f"cannot contain {self.name}: a unit of the system needs root", hint="sudo keyrotor …")
        return unit

    def seen(self) -> Unit:
        return self.systemd.show(self.name)

    def listening(self, unit: Unit | None = None) -> tuple[At, ...]:
        return listeners.of_unit(self.systemd, unit or self.seen())

    def is_as(self, was: Before, *, is_up: bool) -> bool:
        """Whether it listens as it did, and runs if it is to."""
        now = set(map(str, self.listening(unit := self.seen())))
        return set(was.listened) <= now and (not is_up or (unit.is_active and bool(now)))

    def active(self, names: Sequence[str]) -> tuple[str, ...]:
        return tuple(each.name for each in self.systemd.managed(names) if each.active == "active") if names else ()

    def restart(self, unit: Unit, sockets: Sequence[str], before: Before) -> None:
        """Down and up again; a socket cannot be restarted while its service is up, and starts one that was down."""
        for name in (*sockets, self.name):
            self.halt(name, unit, before)
        for name in (*sockets, *([self.name] if before.was_active else [])):
            self.systemd.reset_failed(name)
            self.systemd.do("start", name, within=self.within + MARGIN)

    def halt(self, name: str, unit: Unit, before: Before) -> None:
        """Down; who needs it goes down before it."""
        longest = sum(self.systemd.show(each).stop_timeout for each in before.needed_by) + unit.stop_timeout
        self.systemd.do("stop", name, within=min(longest, LONGEST) + MARGIN)

    def wait(self, is_done: Callable[[], bool]) -> None:
        """Until it is so, or `within` is over, or the unit has ended."""

        def look() -> bool:
            return is_done() or self.systemd.seen(self.name).active == "failed"

        poll(look, is_done=bool, within=self.within, every=EVERY, rest=self.rest)

    def values(self, unit: Unit) -> list[Secret]:
        """The key that it was started with."""
        with suppress(OSError):
            found = proc.variable(unit.pid, self.variable)
            return [] if found is None else [found]
        return []

    def last_words(self, unit: Unit) -> str:
        known = self.values(unit) or [Secret(b"")]
        return self.systemd.last_words(unit, Pair(known[0], Secret(b"")))

    def shows(self) -> str:
        scope = self.systemd.command("status", self.name)[1]
        return f"systemctl {scope} status {self.name}"
