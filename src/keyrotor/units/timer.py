"""A playbook's timer: installed, looked at, removed.

Rules:
1. What somebody else has made, or has changed since, is refused and never touched; drop-ins go on to apply.
2. A timer that is started anew begins to count then: what it missed while it was not there is not made good for, so
   that an install begins no rotation by itself.
3. A rotation that is going on is left to its end.
"""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from keyrotor.boundary import files
from keyrotor.boundary.files import Look
from keyrotor.boundary.systemd import Systemd
from keyrotor.boundary.unit_folder import UnitFolder, staged
from keyrotor.boundary.unit_text import Managed
from keyrotor.core.checkup import Line
from keyrotor.core.due import Due
from keyrotor.core.serving import FileState, Intent
from keyrotor.core.timing import Wish
from keyrotor.errors import PlaceError
from keyrotor.formats import playbook_text, timer_units
from keyrotor.formats.timer_units import MAKER, Wanted
from keyrotor.formats.unit_lines import Origin, origin
from keyrotor.units import timer_status
from keyrotor.units.timer_wanting import Trouble


@dataclass(frozen=True, slots=True)
class One:
    """A unit file, and what systemd has of it."""

    name: str
    path: Path
    seen: Look | None
    managed: Managed
    is_there: bool  # whether anything stands at its path, be it a link

    @property
    def text(self) -> str | None:
        return None if self.seen is None else self.seen.data.decode("utf-8", "surrogateescape")

    @property
    def origin(self) -> Origin:
        return origin(self.text, MAKER)

    @property
    def elsewhere(self) -> str:
        """The unit of this name in another folder; "" if there is none."""
        fragment = self.managed.fragment
        is_other = not self.is_there and self.managed.load != "masked" and fragment != str(self.path)
        return fragment if is_other else ""


@dataclass(slots=True)
class TimerUnits:
    """The three units of one playbook."""

    wanted: Wanted
    wakes: str  # when, in words
    wish: Wish
    folder: UnitFolder
    staging: Path
    systemd: Systemd
    troubles: Sequence[Trouble] = ()  # what would keep a rotation from working, whatever stands there
    notes: Sequence[str] = ()
    _before: Mapping[str, One] = field(default_factory=dict, init=False)

    # -- install

    def to_install(self) -> Intent:
        """What an install would do, from one look. Raises PlaceError, RefusedError."""
        seen = self._look()
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
            notes=(*self.notes, *self._linger(), *_drop_ins(seen)),
            is_none=not found and is_done,
            was_active=timer.active == "active",
        )

    def install(self) -> None:
        """Do what `to_install` has told. Safe after half, and twice. Raises PlaceError."""
        for name, text in timer_units.texts(self.wanted).items():
            one = self._before[name]
            if text != one.text:
                self.folder.place(name, text.encode(), one.seen)
        self.systemd.do("daemon-reload")
        timer = self.wanted.timer
        self.systemd.do("stop", timer)
        self._forget_wakes()
        self.systemd.do("reenable", timer)
        self.systemd.do("start", timer)

    # -- remove

    def to_remove(self) -> Intent:
        """What a removal would do. Raises PlaceError."""
        seen = self._look()
        ours = [one for one in seen.values() if one.origin is Origin.OURS or self._is_orphan(one)]
        found = [trouble for trouble in self._strange(seen) if not ours or "changed by hand" in trouble[0]]
        is_running = seen[self.wanted.service].managed.active in ("activating", "deactivating")
        going = [f"{self.wanted.service} is at work just now, and is left to its end"] if is_running and ours else []
        return Intent(
            unit=self.wanted.timer,
            scope=self.wanted.scope,
            files={str(one.path): FileState.REMOVED for one in ours},
            lines=(
                f"{self.wanted.timer} ({self.wanted.scope}) is stopped and disabled:",
                *(f"  {one.path}: {FileState.REMOVED}" for one in ours),
            ),
            reasons=tuple(reason for reason, _ in found),
            hint=next((hint for _, hint in found if hint), ""),
            notes=(*going, *_drop_ins(seen)),
            is_none=not ours and not found,
        )

    def remove(self) -> None:
        """Do what `to_remove` has told. Safe after half, and twice. Raises PlaceError."""
        timer = self._before[self.wanted.timer]
        if timer.origin is Origin.OURS or self._is_orphan(timer):
            self.systemd.do("stop", timer.name)
            self._forget_wakes()
            with contextlib.suppress(PlaceError) if timer.seen is None else contextlib.nullcontext():
                self.systemd.do("disable", timer.name)
        for name in reversed(self.wanted.names):
            one = self._before[name]
            if one.seen and one.origin is Origin.OURS:
                self.folder.remove(name, one.seen)
        self.systemd.do("daemon-reload")
        for name in self.wanted.names:
            with contextlib.suppress(PlaceError):  # one that has never failed, or is not loaded
                self.systemd.do("reset-failed", name)

    # -- status

    def status(self, due: Due | str) -> Sequence[Line]:
        """How it stands, line by line; `due` is what the record tells, or why it tells nothing. Raises PlaceError."""
        seen, timers = self._look(), self.systemd.timers([self.wanted.timer, self.wanted.service])
        facts = timer_status.Facts(
            self.wanted, self.wakes, self.wish, timers[0], timers[1], self.systemd.lingers(), due
        )
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
            is_masked=one.managed.load == "masked",
            is_enabled=one.managed.is_enabled,
            owes_reload=one.managed.owes_reload or self._is_orphan(one),
            is_as_wanted=one.text is not None and known(one.text) == known(text),
        )

    def with_every(self, data: bytes, every: str) -> bytes:
        return playbook_text.with_every(data, every)

    def next_wake(self) -> datetime | None:
        return self.systemd.timers([self.wanted.timer])[0].next

    # -- steps

    def _look(self) -> Mapping[str, One]:
        """Look, and remember it: what is done later is done to what was seen. Raises PlaceError."""
        managed = self.systemd.managed(self.wanted.names)
        self._before = {
            each.name: One(each.name, self.folder.path / each.name, self._seen(each), each, self.folder.has(each.name))
            for each in managed
        }
        return self._before

    def _seen(self, managed: Managed) -> Look | None:
        """The file, where it is one: what masks a unit is a link to nothing."""
        return None if managed.load == "masked" else self.folder.seen(managed.name)

    def _in_the_way(self, seen: Mapping[str, One]) -> Iterator[Trouble]:
        """Why it must not be installed, and the command that helps."""
        start = f"cannot install {self.wanted.timer}"
        masked = [one.name for one in seen.values() if one.managed.load == "masked"]
        for name in masked:
            yield f"{start}: {name} is masked", f"systemctl --{self.wanted.scope} unmask {name}"
        for reason in self.folder.refusals([name for name in seen if name not in masked]):
            yield reason, ""
        yield from self._strange(seen)
        service = seen[self.wanted.service]
        other = timer_units.playbook(service.text or "") if service.origin is Origin.OURS else ""
        if other not in ("", self.wanted.playbook) and files.exists(Path(other)):
            why = f"the timer of that name is another playbook's: {other}"
            yield f"{start}: {why}", 'name = "…"  (another one, in one of the two playbooks)'

    def _strange(self, seen: Mapping[str, One]) -> Iterator[Trouble]:
        """What somebody else has made."""
        for one in seen.values():
            where = shlex.quote(one.elsewhere or str(one.path))
            if one.origin is Origin.EDITED:
                why = f"{where} was changed by hand since keyrotor made it"
                yield f"cannot touch it: {why}", f"rm {where}  (a drop-in can hold the change), and again"
            elif one.origin is Origin.FOREIGN or one.elsewhere:
                yield f"cannot touch {where}: keyrotor has not made it", f"mv {where} ~  (or rm), and again"

    def _unsound(self, texts: Mapping[str, str]) -> Iterator[str]:
        """What systemd itself has against the texts."""
        start = f"cannot install {self.wanted.timer}"
        if said := self.systemd.calendar_fault(self.wanted.calendar):
            yield f"{start}: systemd-analyze calendar: {said}"
        with staged(self.staging, texts) as paths:
            if said := self.systemd.verify(paths):
                yield f"{start}: systemd-analyze verify: {said}"

    def _told(self, texts: Mapping[str, str], states: Mapping[str, FileState]) -> Iterator[str]:
        wanted = self.wanted
        yield f"{wanted.timer} ({wanted.scope}) wakes {self.wakes}, and rotates {wanted.key} if it is due:"
        for name, text in reversed(list(texts.items())):
            path = str(self.folder.path / name)
            yield f"  {path}: {states[path]}"
            if states[path] is not FileState.SAME:
                yield from (f"    | {line}" for line in text.splitlines())
        yield "Then it is enabled and started; nothing is rotated before it wakes."
        if wanted.scope == "system":
            yield f"It runs as {wanted.user or 'root'}."

    def _linger(self) -> Iterator[str]:
        if self.systemd.lingers() is False:
            yield "the timer ends with your last logout, for linger is off: loginctl enable-linger"

    def _is_orphan(self, one: One) -> bool:
        """Whether systemd still has a unit whose file was taken away from here."""
        return not one.is_there and one.managed.fragment == str(one.path)

    def _forget_wakes(self) -> None:
        """Take the time stamp of the last wake away. systemd before 243 cannot; then it may wake at once."""
        with contextlib.suppress(PlaceError):
            self.systemd.do("clean", self.wanted.timer, options=["--what=state"])


def _becomes(one: One, text: str) -> FileState:
    if one.seen is None:
        return FileState.NEW
    return FileState.SAME if one.text == text else FileState.CHANGED


def _drop_ins(seen: Mapping[str, One]) -> Iterator[str]:
    for one in seen.values():
        if one.managed.drop_ins:
            yield f"drop-ins go on to apply to {one.name}: {', '.join(one.managed.drop_ins)}"
