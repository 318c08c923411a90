"""The gateway's unit and the socket that holds its port: installed, taken out again, removed.

Rules:
1. What somebody else has made is kept beside, with how it was, before anything of ours stands in its place; what is
   kept goes away last. So an install or a removal that was killed is finished by the next one.
2. Nothing of a former unit is shown: it may hold a value.
3. The socket is stopped first and started first: nobody's connection may start a service that is being changed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from keyrotor.boundary.systemd import Systemd
from keyrotor.boundary.unit_folder import MODE, UnitFolder, staged
from keyrotor.core.checkup import Line
from keyrotor.core.serving import Intent
from keyrotor.errors import PlaceError
from keyrotor.formats import unit_files
from keyrotor.formats.unit_files import KEPT, Former, Origin, Wanted
from keyrotor.units import status
from keyrotor.units.intent import EDITED, Decided
from keyrotor.units.standing import One, Standing, in_the_way, standing

MARGIN = 30.0  # seconds that systemctl has beyond the unit's own stop timeout


@dataclass(slots=True)
class GatewayUnits:
    """The two units of one playbook."""

    wanted: Wanted
    url: str
    playbook: str
    folder: UnitFolder
    staging: Path
    systemd: Systemd
    troubles: Sequence[tuple[str, str]] = ()  # what would keep the gateway from working, whatever stands there
    _before: Standing | None = field(default=None, init=False)
    _made: list[str] = field(default_factory=list, init=False)  # what is kept since this install

    # -- install

    def to_install(self, *, replace: bool) -> Intent:
        """What an install would do, from one look. Raises PlaceError."""
        seen, decided = self._look()
        found = [*self.troubles, *in_the_way(self.wanted, self.url, seen, self.folder, self.playbook)]
        found += list(decided.strange(replace))
        states = {str(one.path): decided.becomes(one) for one in seen.both if decided.concerns(one)}
        found += [] if found else list(self._unsound(decided))
        off = self.systemd.lingers() is False
        linger = ["the gateway ends with your last logout, for linger is off: loginctl enable-linger"] if off else []
        return Intent(
            unit=self.wanted.name,
            scope=self.wanted.scope,
            files=states,
            lines=() if found else tuple(decided.told(states)),
            reasons=tuple(reason for reason, _ in found),
            hint=next((hint for _, hint in found if hint), ""),
            notes=(*decided.drop_ins(), *linger),
            is_none=not found and decided.is_done(),
            was_active=seen.unit.is_active,
        )

    def install(self) -> None:
        """Do what `to_install` has told. Raises PlaceError."""
        (seen, decided), wanted = self._seen(), self.wanted
        for one in seen.both:
            if one.is_strange and decided.concerns(one):
                self._keep(one)
        for one in seen.both:
            if (text := decided.text(one.name)) is not None:
                if text != one.text:
                    self.folder.place(one.name, text.encode(), one.seen)
            elif one.seen:
                self._stop(one.name)
                self.systemd.do("disable", one.name)
                self.folder.remove(one.name, one.seen)
        self.systemd.do("daemon-reload")
        names = (wanted.socket, wanted.name) if wanted.has_socket else (wanted.name,)
        self.systemd.do("reenable", *names)
        if not decided.runs_so():
            self._stop(*names)
        self._start(*names)

    def undo(self) -> None:
        """Make everything as `to_install` saw it. Raises PlaceError."""
        seen, _ = self._seen()
        now = standing(self.wanted, self.folder, self.systemd)
        self._stop(*(one.name for one in now.both if _is_loaded(one)))
        for one, was in zip(now.both, seen.both, strict=True):
            if _is_loaded(one) and not was.managed.is_enabled:
                self.systemd.do("disable", one.name)
            if was.seen is None and one.seen:
                self.folder.remove(one.name, one.seen)
            elif was.seen and (one.seen is None or one.seen.data != was.seen.data):
                self.folder.place(one.name, was.seen.data, one.seen, was.seen.mode)
        self.systemd.do("daemon-reload")
        self._clear(*(one.name for one in now.both))
        for was in seen.both:
            if was.managed.is_enabled:
                self.systemd.do("reenable", was.name)
        self._start(*(was.name for was in seen.both if was.managed.active in ("active", "activating")))
        for name in self._made:
            if kept := self.folder.seen(name):
                self.folder.remove(name, kept)

    # -- remove

    def to_remove(self) -> Intent:
        """What a removal would do. Raises PlaceError."""
        seen, decided = self._look()
        states, reasons = decided.becomes_without()
        formers = [unit_files.brought_back(one.kept.data)[1] for one in seen.both if one.kept]
        is_edited = any(one.origin is Origin.EDITED for one in seen.both)
        ours_again = "keyrotor service install --replace  (keeps the change beside, makes the file ours again)"
        return Intent(
            unit=self.wanted.name,
            scope=self.wanted.scope,
            files=states,
            lines=tuple(decided.removal_told(states)),
            reasons=tuple(reasons),
            hint=ours_again if is_edited else "",
            notes=tuple(decided.drop_ins()),
            is_none=not states and not reasons,
            was_active=any(former.was_active for former in formers),
        )

    def remove(self) -> None:
        """Do what `to_remove` has told. Raises PlaceError."""
        seen, _ = self._seen()
        ours = [one for one in seen.both if one.origin is Origin.OURS]
        if ours:
            self.systemd.do("disable", *(one.name for one in ours))
        self._stop(*(one.name for one in ours if _is_loaded(one)))
        formers: dict[str, Former] = {}
        for one in seen.both:
            if one.kept:
                data, formers[one.name] = unit_files.brought_back(one.kept.data)
                if formers[one.name].stood_here and not one.is_brought_back:
                    self.folder.place(one.name, data, one.seen, one.kept.mode)
                    continue
            if one.seen and one.origin is Origin.OURS:
                self.folder.remove(one.name, one.seen)
        self.systemd.do("daemon-reload")
        self._clear(*(one.name for one in ours))
        if enabled := [name for name, former in formers.items() if former.was_enabled]:
            self.systemd.do("reenable", *enabled)
        self._start(*(name for name, former in formers.items() if former.was_active))
        for one in seen.both:
            if one.kept:
                self.folder.remove(one.name + KEPT, one.kept)

    # -- status

    def status(self) -> Sequence[Line]:
        """How they stand, line by line. Raises PlaceError."""
        seen = standing(self.wanted, self.folder, self.systemd)
        return list(status.lines(self.wanted, self.url, self.playbook, seen, self.systemd))

    # -- steps

    def _look(self) -> tuple[Standing, Decided]:
        """Look, and remember it: what is done later is done to what was seen."""
        self._before = standing(self.wanted, self.folder, self.systemd)
        return self._before, Decided(self.wanted, self.url, self.playbook, self._before)

    def _seen(self) -> tuple[Standing, Decided]:
        assert self._before is not None, "looked at first"
        return self._before, Decided(self.wanted, self.url, self.playbook, self._before)

    def _unsound(self, decided: Decided) -> Iterator[tuple[str, str]]:
        """What systemd itself has against the texts."""
        texts = {name: text for name in (self.wanted.socket, self.wanted.name) if (text := decided.text(name))}
        with staged(self.staging, texts) as paths:
            try:
                said = self.systemd.verify(paths)
            except PlaceError as error:
                said = "" if "no such program" in str(error) else str(error)
        if said:
            yield f"cannot install {self.wanted.name}: systemd-analyze verify: {said}", ""

    def _keep(self, one: One) -> None:
        """Put aside what stands there, and how it was. One of ours that was changed has no former state to keep."""
        if one.origin is Origin.EDITED and one.seen:
            name = one.name + EDITED
            self.folder.place(name, one.seen.data, self.folder.seen(name), one.seen.mode)
            return
        if one.kept:
            return  # put aside by an install that was killed
        was = Former(one.managed.enabled, one.managed.active, stood_here=one.seen is not None)
        data, mode = (one.seen.data, one.seen.mode) if one.seen else (b"", MODE)
        self._made.append(one.name + KEPT)
        self.folder.place(one.name + KEPT, unit_files.kept(data, was), None, mode)

    def _stop(self, *names: str) -> None:
        for name in sorted(names, key=_is_service):
            within = self.systemd.show(name).stop_timeout if _is_service(name) else 0.0
            self.systemd.do("stop", name, within=min(within, 600.0) + MARGIN)

    def _start(self, *names: str) -> None:
        self._clear(*names)  # else the start limit could refuse the start
        for name in sorted(names, key=_is_service):
            self.systemd.do("start", name, within=60.0)

    def _clear(self, *names: str) -> None:
        """Forget former failures; a unit that is not loaded has none, which is no error."""
        for name in names:
            with contextlib.suppress(PlaceError):
                self.systemd.do("reset-failed", name)


def _is_service(name: str) -> bool:
    return name.endswith(".service")


def _is_loaded(one: One) -> bool:
    return one.managed.load not in ("", "not-found")
