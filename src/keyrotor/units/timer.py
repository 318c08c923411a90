"""A playbook's timer: installed, looked at, removed.

Rules:
1. What somebody else has made, or has changed since, or another timer has by the same name, is refused and never
   touched; drop-ins go on to apply.
2. A timer that is started anew begins to count then: what it missed while it was not there is not made good for, so
   that an install begins no rotation by itself.
3. A rotation that is going on is left to its end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from keyrotor.boundary.reading import inode
from keyrotor.boundary.unit_folder import staged
from keyrotor.core.checkup import Line
from keyrotor.core.due import Due
from keyrotor.core.serving import FileState, Intent
from keyrotor.core.timing import Wish
from keyrotor.errors import PlaceError
from keyrotor.formats import playbook_text, timer_units
from keyrotor.formats.timer_units import Wanted
from keyrotor.units import timer_status
from keyrotor.units.timer_installed import OTHER_NAME, InstalledTimer, One
from keyrotor.units.timer_wanting import Trouble


@dataclass(slots=True)
class TimerUnits:
    """The three units of one playbook."""

    wanted: Wanted
    wakes: str  # when, in words
    wish: Wish
    there: InstalledTimer  # of the same name
    staging: Path
    troubles: Sequence[Trouble] = ()  # what would keep a rotation from working, whatever stands there
    notes: Sequence[str] = ()

    # -- install

    def to_install(self) -> Intent:
        """What an install would do, from one look. Raises PlaceError, RefusedError."""
        seen = self.there.look()
        found = [*self.troubles, *self._in_the_way(seen)]
        texts = {} if self.troubles else timer_units.texts(self.wanted)
        found += [] if found else [(why, "") for why in self._unsound(texts)]
        states = {str(seen[name].path): _becomes(seen[name], text) for name, text in texts.items()}
        timer = seen[self.wanted.timer].managed
        is_done = set(states.values()) == {FileState.SAME} and not any(one.managed.owes_reload for one in seen.values())
        is_done = is_done and timer.is_enabled and timer.active == "active"
        return Intent(
            unit=self.wanted.timer,
            scope=self.wanted.scope,
            files=states,
            lines=() if found else tuple(self._told(texts, states)),
            reasons=tuple(reason for reason, _ in found),
            hint=next((hint for _, hint in found if hint), ""),
            notes=(*self.notes, *self._linger(), *self.there.drop_ins()),
            is_none=not found and is_done,
            was_active=timer.active == "active",
        )

    def install(self) -> None:
        """Do what `to_install` has told. Safe after half, and twice. Raises PlaceError."""
        for name, text in timer_units.texts(self.wanted).items():
            one = self.there.seen(name)
            if text != one.text:
                self.there.folder.place(name, text.encode(), one.seen)
        systemd, timer = self.there.systemd, self.wanted.timer
        systemd.do("daemon-reload")
        systemd.do("stop", timer)
        self.there.forget_wakes()
        systemd.do("reenable", timer)
        systemd.do("start", timer)

    # -- remove

    def to_remove(self) -> Intent:
        """What a removal would do. Raises PlaceError."""
        why = self._another()
        return self.there.to_remove(
            [(f"cannot remove {self.wanted.timer}: {why}", self._taken_from_it())] if why else []
        )

    def remove(self) -> None:
        self.there.remove()

    # -- status

    def status(self, due: Due | str) -> Sequence[Line]:
        """How it stands, line by line; `due` is what the record tells, or why it tells nothing. Raises PlaceError."""
        seen, systemd = self.there.look(), self.there.systemd
        timer, service = systemd.timers([self.wanted.timer, self.wanted.service])
        facts = timer_status.Facts(self.wanted, self.wakes, self.wish, timer, service, systemd.lingers(), due)
        if why := self._another():
            return timer_status.of_another(facts, why, f"{OTHER_NAME}   or   {self._taken_from_it()}")
        troubles = [why for why, _ in self.troubles]
        return list(timer_status.lines(facts, [self._file(one) for one in seen.values()], troubles))

    def _file(self, one: One) -> timer_status.File:
        """What is wrong with a unit file."""
        try:
            text = timer_units.texts(self.wanted)[one.name]
        except PlaceError:
            text = ""
        known = timer_units.without_environment
        return timer_status.File(
            name=one.name,
            path=str(one.path),
            origin=one.origin,
            elsewhere=one.elsewhere,
            other=one.other,
            is_masked=one.managed.load == "masked",
            is_enabled=one.managed.is_enabled,
            owes_reload=one.managed.owes_reload or one.is_orphan,
            is_as_wanted=one.text is not None and known(one.text) == known(text),
        )

    def with_every(self, data: bytes, every: str) -> bytes:
        return playbook_text.with_every(data, every)

    def next_wake(self) -> datetime | None:
        return self.there.systemd.timers([self.wanted.timer])[0].next

    # -- steps

    def _in_the_way(self, seen: Mapping[str, One]) -> Iterator[Trouble]:
        """Why it must not be installed, and the command that helps."""
        start = f"cannot install {self.wanted.timer}"
        masked = [one.name for one in seen.values() if one.managed.load == "masked"]
        for name in masked:
            yield f"{start}: {name} is masked", f"systemctl --{self.wanted.scope} unmask {name}"
        for reason in self.there.folder.refusals([name for name in seen if name not in masked]):
            yield reason, ""
        yield from self.there.strange()
        if why := self._another():
            yield f"{start}: {why}", f"{OTHER_NAME}   or   {self._taken_from_it()}"

    def _another(self) -> str:
        """Why the timer of this name is not ours to touch: it is another playbook's, which is there; "" if not."""
        other = self.there.playbook
        is_another = other and inode(other) not in (None, inode(self.wanted.playbook))
        return f"the timer of that name is another playbook's: {other}" if is_another else ""

    def _taken_from_it(self) -> str:
        """What to type where it is to go all the same."""
        return f"{replace(self.wish, book=self.wanted.timer).command('remove')}  (takes it from that one)"

    def _unsound(self, texts: Mapping[str, str]) -> Iterator[str]:
        """What systemd itself has against the texts."""
        start = f"cannot install {self.wanted.timer}"
        if said := self.there.systemd.calendar_fault(self.wanted.calendar):
            yield f"{start}: systemd-analyze calendar: {said}"
        with staged(self.staging, texts) as paths:
            if said := self.there.systemd.verify(paths):
                yield f"{start}: systemd-analyze verify: {said}"

    def _told(self, texts: Mapping[str, str], states: Mapping[str, FileState]) -> Iterator[str]:
        wanted = self.wanted
        yield f"{wanted.timer} ({wanted.scope}) wakes {self.wakes}, and rotates {wanted.key} if it is due:"
        for name, text in reversed(list(texts.items())):
            path = str(self.there.folder.path / name)
            yield f"  {path}: {states[path]}"
            if states[path] is not FileState.SAME:
                yield from (f"    | {line}" for line in text.splitlines())
        yield "Then it is enabled and started; nothing is rotated before it wakes."
        if wanted.scope == "system":
            yield f"It runs as {wanted.user or 'root'}."

    def _linger(self) -> Iterator[str]:
        if self.there.systemd.lingers() is False:
            yield "the timer ends with your last logout, for linger is off: loginctl enable-linger"


def _becomes(one: One, text: str) -> FileState:
    if one.seen is None:
        return FileState.NEW
    return FileState.SAME if one.text == text else FileState.CHANGED
