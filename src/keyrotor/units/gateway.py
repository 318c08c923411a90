"""The gateway's unit and the socket that holds its port: installed, taken out again, removed.

Rules:
1. What somebody else has made is kept beside, with how it was, before anything of ours stands in its place; what is
   kept goes away last. So an install or a removal that was killed is finished by the next one.
2. Nothing of a former unit is shown: it may hold a value.
3. The socket is stopped first and started first: nobody's connection may start a service that is being changed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from keyrotor.boundary.systemd import Systemd
from keyrotor.boundary.unit_folder import PRIVATE, UnitFolder, clear_staged, staged
from keyrotor.core.checkup import Line
from keyrotor.core.serving import Intent, Removed, Wish
from keyrotor.errors import PlaceError
from keyrotor.formats.former_unit import EDITED, KEPT, Former, kept
from keyrotor.formats.unit_files import Origin, Wanted
from keyrotor.secret import Secret
from keyrotor.units import formers, status
from keyrotor.units.intent import Decided
from keyrotor.units.standing import One, Standing, in_the_way, standing

MARGIN = 30.0  # seconds that systemctl has beyond the unit's own stop timeout


@dataclass(slots=True)
class GatewayUnits:
    """The two units of one playbook."""

    wanted: Wanted
    url: str
    variable: str
    wish: Wish
    folder: UnitFolder
    staging: Path
    systemd: Systemd
    troubles: Sequence[tuple[str, str]] = ()  # what would keep the gateway from working, whatever stands there
    _before: Standing | None = field(default=None, init=False)
    _made: list[str] = field(default_factory=list, init=False)  # what is kept since this install

    def tidy(self) -> None:
        """Clear away what killed installs and removals have left. Raises PlaceError."""
        clear_staged(self.staging)
        for name in (self.wanted.name, self.wanted.socket):
            self.folder.tidy(name)

    # -- install

    def to_install(self) -> Intent:
        """What an install would do, from one look. Raises PlaceError, RefusedError."""
        seen, decided = self._look()
        found = [*self.troubles, *in_the_way(self.wanted, self.url, seen, self.folder, self.wish)]
        found += list(decided.strange())
        states = {str(one.path): decided.becomes(one) for one in seen.both if decided.concerns(one)}
        said, unchecked = ("", "") if found else self._unsound(decided)
        found += [(said, "")] if said else []
        lost = formers.lost(seen, self.wanted, self.variable)
        off = self.systemd.lingers() is False
        linger = ["the gateway ends with your last logout, for linger is off: loginctl enable-linger"] if off else []
        return Intent(
            unit=self.wanted.name,
            scope=self.wanted.scope,
            files=states,
            lines=() if found else tuple(decided.told(states)),
            reasons=tuple(reason for reason, _ in found),
            hint=next((hint for _, hint in found if hint), ""),
            notes=(*lost, *decided.drop_ins(), *linger, *([unchecked] if unchecked else [])),
            is_none=not found and decided.is_done(),
            was_active=seen.unit.is_active,
            keeps_former=any(one.former and one.former[1].was_active for one in seen.both),
        )

    def install(self) -> None:
        """Do what `to_install` has told. Raises PlaceError."""
        (seen, decided), wanted = self._seen(), self.wanted
        for one in seen.both:
            if one.is_strange and decided.concerns(one):
                self._keep(one, seen)
        for one in seen.both:
            if (text := decided.text(one.name)) is not None and text != one.text:
                self.folder.place(one.name, text.encode(), one.seen)
        if not decided.runs_so():  # by its own text, its ExecStop= and its timeout; and a kill from here leaves it down
            self._stop(*(one.name for one in seen.both if one.may_run and decided.concerns(one)))
        for one in seen.both:
            if decided.text(one.name) is None and one.seen:
                self._stop(one.name)
                self.systemd.do("disable", one.name)
                self.folder.remove(one.name, one.seen)
        self.systemd.do("daemon-reload")
        for one in seen.both:
            if decided.text(one.name) is not None:
                self._enable(one.name, "enabled", one.links if one.origin is Origin.OURS else ())
        self._start(*((wanted.socket, wanted.name) if wanted.has_socket else (wanted.name,)))

    def undo(self) -> None:
        """Make everything as `to_install` saw it. Raises PlaceError."""
        seen, _ = self._seen()
        now = standing(self.wanted, self.folder, self.systemd)
        self._stop(*(one.name for one in now.both if one.may_run))
        for one, was in zip(now.both, seen.both, strict=True):
            if one.may_run and not was.managed.is_enabled:
                self._disable(one)
            if was.seen is None and one.seen:
                self.folder.remove(one.name, one.seen)
            elif was.seen and (one.seen is None or one.seen.data != was.seen.data):
                self.folder.place(one.name, was.seen.data, one.seen, was.seen.mode)
        self.systemd.do("daemon-reload")
        self._clear(*(one.name for one in now.both))
        for was in seen.both:
            if was.seen or was.elsewhere:
                self._enable(was.name, was.managed.enabled, was.links)
        self._start(*(was.name for was in seen.both if was.managed.active in ("active", "activating")))
        for name in self._made:
            if there := self.folder.seen(name):
                self.folder.remove(name, there)

    # -- remove

    def to_remove(self, present: Callable[[], Secret | None]) -> Intent:
        """What a removal would do; `present` tells the value in force. Raises PlaceError, RefusedError."""
        seen, decided = self._look()
        states, found = decided.becomes_without()
        if not found:
            found += formers.revived(seen.service, self.wanted.env_files, self.variable, present)
        edited = [
            f"{path} stays: delete it once you need it no more"
            for path in self.folder.numbered(self.wanted.name + EDITED)
        ]
        return Intent(
            unit=self.wanted.name,
            scope=self.wanted.scope,
            files=states,
            lines=tuple(decided.removal_told(states)),
            reasons=tuple(reason for reason, _ in found),
            hint=next((hint for _, hint in found if hint), ""),
            notes=(*decided.drop_ins(), *edited),
            is_none=not states and not found,
            was_active=any(one.former[1].was_active for one in seen.both if one.former),
        )

    def remove(self) -> Removed:
        """Do what `to_remove` has told. Raises PlaceError."""
        seen, _ = self._seen()
        ours = [one for one in seen.both if one.origin is Origin.OURS or one.is_orphan]
        for one in ours:
            self._disable(one)
        self._stop(*(one.name for one in ours if one.may_run))
        found: dict[str, Former] = {}
        for one in seen.both:
            if one.former:
                data, found[one.name] = one.former
                if not found[one.name].elsewhere and not one.is_brought_back:
                    self.folder.place(one.name, data, one.seen, found[one.name].mode)
                    continue
            if one.seen and one.origin is Origin.OURS:
                self.folder.remove(one.name, one.seen)
        self.systemd.do("daemon-reload")
        self._clear(*(one.name for one in ours))
        gone = {each.name for each in self.systemd.managed([*found]) if each.load == "not-found"} if found else set()
        there = {name: was for name, was in found.items() if name not in gone}
        for name, was in there.items():
            self._enable(name, was.enabled, was.links)
        self._start(*(name for name, was in there.items() if was.was_active))
        for one in seen.both:
            if one.kept:
                self.folder.remove(one.name + KEPT, one.kept)
        is_started = self.wanted.name in there and there[self.wanted.name].was_active
        return Removed(is_started, tuple(f"the {name} of before is not there any more" for name in sorted(gone)))

    # -- status

    def status(self) -> Sequence[Line]:
        """How they stand, line by line. Raises PlaceError."""
        seen = standing(self.wanted, self.folder, self.systemd)
        return list(status.lines(self.wanted, self.url, self.wish, seen, self.systemd))

    # -- steps

    def _look(self) -> tuple[Standing, Decided]:
        """Look, and remember it: what is done later is done to what was seen."""
        self._before = standing(self.wanted, self.folder, self.systemd)
        return self._before, Decided(self.wanted, self.url, self.wish, self._before)

    def _seen(self) -> tuple[Standing, Decided]:
        assert self._before is not None, "looked at first"
        return self._before, Decided(self.wanted, self.url, self.wish, self._before)

    def _unsound(self, decided: Decided) -> tuple[str, str]:
        """What systemd itself has against the texts, and why it was not asked."""
        texts = {name: text for name in (self.wanted.socket, self.wanted.name) if (text := decided.text(name))}
        with staged(self.staging, texts) as paths:
            try:
                said = self.systemd.verify(paths)
            except PlaceError as error:
                if "no such program" in str(error):
                    return "", "systemd was not asked for its opinion of the files: there is no systemd-analyze"
                said = str(error)
        return f"cannot install {self.wanted.name}: systemd-analyze verify: {said}" if said else "", ""

    def _keep(self, one: One, seen: Standing) -> None:
        """Put aside what stands there, and how it was. One of ours that was changed has no former state to keep."""
        if one.origin is Origin.EDITED and one.seen:
            name = self.folder.free(one.name + EDITED)
            self._made.append(name)
            self.folder.place(name, one.seen.data, None, PRIVATE)
            return
        if one.kept:
            return  # put aside by an install that was killed
        data, mode = (one.seen.data, one.seen.mode) if one.seen else (b"", 0)
        read = tuple(each.path for each in seen.unit.environment_files) if one is seen.service else ()
        was = Former(one.managed.enabled, one.managed.active, mode, one.elsewhere, one.links, read)
        self._made.append(one.name + KEPT)
        self.folder.place(one.name + KEPT, kept(data, was), None, PRIVATE)

    def _enable(self, name: str, how: str, links: Sequence[str]) -> None:
        """Let it be started as it was: by its own [Install], and by whatever somebody has linked it to."""
        if how == "enabled":
            self.systemd.do("reenable", name)
        if how == "enabled-runtime":  # disabled before: `reenable` would make the links for every boot besides
            self.systemd.do("enable", name, options=["--runtime"])
        for each in set(links) - set(self.folder.links(name)):
            target, _, kind = each.rpartition(".")
            self.systemd.do(f"add-{kind}", target, name)

    def _disable(self, one: One) -> None:
        with contextlib.suppress(PlaceError) if one.is_orphan else contextlib.nullcontext():
            self.systemd.do("disable", one.name)

    def _stop(self, *names: str) -> None:
        for name in sorted(names, key=_is_service):
            within = self.systemd.show(name).stop_timeout if _is_service(name) else 0.0
            try:
                self.systemd.do("stop", name, within=min(within, 600.0) + MARGIN)
            except PlaceError:  # one without a file is forgotten as soon as its socket's stop has stopped it
                if self.systemd.managed([name])[0].active not in ("inactive", "failed"):
                    raise

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
