"""A timer as an install has left it, whatever became of its playbook: looked at, and removed.

What somebody else has made, or has changed since, is told and never touched; so is what another timer has by the same
name.
"""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from keyrotor.boundary import files
from keyrotor.boundary.files import Look
from keyrotor.boundary.systemd import Systemd
from keyrotor.boundary.unit_folder import UnitFolder
from keyrotor.boundary.unit_text import Managed
from keyrotor.core.serving import FileState, Intent
from keyrotor.core.timing import Wish
from keyrotor.errors import PlaceError
from keyrotor.formats import timer_units
from keyrotor.formats.timer_units import FAILED, MAKER, Names
from keyrotor.formats.unit_lines import Origin, origin
from keyrotor.units.timer_wanting import Trouble

OTHER_NAME = 'name = "…"  (another one, in one of the two playbooks)'
_STEM = "keyrotor-"


@dataclass(frozen=True, slots=True)
class One:
    """A unit file, and what systemd has of it."""

    name: str
    path: Path
    seen: Look | None
    managed: Managed
    is_there: bool  # whether anything stands at its path, be it a link
    other: str  # the timer that has it by the same name; "" if there is none

    @property
    def text(self) -> str | None:
        return _text(self.seen)

    @property
    def origin(self) -> Origin:
        return origin(self.text, MAKER)

    @property
    def is_ours(self) -> bool:
        """Whether an install of this timer has made it, and nobody has changed it since."""
        return self.origin is Origin.OURS and not self.other

    @property
    def elsewhere(self) -> str:
        """The unit of this name in another folder; "" if there is none."""
        fragment = self.managed.fragment
        is_other = not self.is_there and self.managed.load != "masked" and fragment != str(self.path)
        return fragment if is_other else ""

    @property
    def is_orphan(self) -> bool:
        """Whether systemd still has a unit whose file was taken away from here."""
        return not self.is_there and self.managed.fragment == str(self.path)


@dataclass(slots=True)
class InstalledTimer:
    """The three units of one name."""

    names: Names
    folder: UnitFolder
    systemd: Systemd
    _before: Mapping[str, One] = field(default_factory=dict, init=False)

    @property
    def unit(self) -> str:
        return self.names.timer

    @property
    def name(self) -> str:
        """The playbook's, as far as its timer tells."""
        return self.names.stem.removeprefix(_STEM)

    @property
    def playbook(self) -> str:
        """The playbook that it was made for; "" where no file of ours names one."""
        texts = ((name, _ours(self.folder, name)) for name in (self.names.service, self.names.failed))
        named = (timer_units.playbook(text) for name, text in texts if not self.names.other(name, text))
        return next(filter(None, named), "")

    @property
    def is_gone(self) -> bool:
        """Whether that playbook is not there any more."""
        return bool(self.playbook) and not files.exists(Path(self.playbook))

    def look(self) -> Mapping[str, One]:
        """Look, and remember it: what is done later is done to what was seen. Raises PlaceError."""
        self._before = {each.name: self._one(each) for each in self.systemd.managed(self.names.names)}
        return self._before

    def _one(self, managed: Managed) -> One:
        name, seen = managed.name, self._seen(managed)
        text = _text(seen)
        other = "" if origin(text, MAKER) is Origin.FOREIGN else self.names.other(name, text or "")
        return One(name, self.folder.path / name, seen, managed, self.folder.has(name), other)

    def _seen(self, managed: Managed) -> Look | None:
        """The file, where it is one: what masks a unit is a link to nothing."""
        return None if managed.load == "masked" else self.folder.seen(managed.name)

    def seen(self, name: str) -> One:
        """One of them, as it was at the last look."""
        return self._before[name]

    def strange(self) -> Iterator[Trouble]:
        """What somebody else has made."""
        for one in self._before.values():
            where = shlex.quote(one.elsewhere or str(one.path))
            if one.other:
                remove = Wish(is_system=self.names.scope == "system", book=one.other).command("remove")
                yield f"cannot touch {where}: it is {one.other}'s", f"{OTHER_NAME}   or   {remove}"
            elif one.origin is Origin.EDITED:
                why = f"{where} was changed by hand since keyrotor made it"
                yield f"cannot touch it: {why}", f"rm {where}  (a drop-in can hold the change), and again"
            elif one.origin is Origin.FOREIGN or one.elsewhere:
                yield f"cannot touch {where}: keyrotor has not made it", f"mv {where} ~  (or rm), and again"

    def drop_ins(self) -> Iterator[str]:
        for one in self._before.values():
            if one.managed.drop_ins:
                yield f"drop-ins go on to apply to {one.name}: {', '.join(one.managed.drop_ins)}"

    def to_remove(self, troubles: Sequence[Trouble] = ()) -> Intent:
        """What a removal would do, from one look; `troubles` are why it must not be. Raises PlaceError."""
        seen = self.look()
        ours = [one for one in seen.values() if one.is_ours or one.is_orphan]
        strange = [trouble for trouble in self.strange() if not ours or "changed by hand" in trouble[0]]
        found = [*(troubles if ours else ()), *strange]
        is_running = seen[self.names.service].managed.active in ("activating", "deactivating")
        going = [f"{self.names.service} is at work just now, and is left to its end"] if is_running and ours else []
        made_for = f", made for {self.playbook}{', which is gone,' if self.is_gone else ','}" if self.playbook else ""
        return Intent(
            unit=self.unit,
            scope=self.names.scope,
            files={str(one.path): FileState.REMOVED for one in ours},
            lines=(
                f"{self.unit} ({self.names.scope}){made_for} is stopped and disabled:",
                *(f"  {one.path}: {FileState.REMOVED}" for one in ours),
            ),
            reasons=tuple(reason for reason, _ in found),
            hint=next((hint for _, hint in found if hint), ""),
            notes=(*going, *self.drop_ins()),
            is_none=not ours and not found,
        )

    def remove(self) -> None:
        """Do what `to_remove` has told. Safe after half, and twice. Raises PlaceError."""
        timer = self.seen(self.unit)
        if timer.is_ours or timer.is_orphan:
            self.systemd.do("stop", timer.name)
            self.forget_wakes()
            with contextlib.suppress(PlaceError) if timer.seen is None else contextlib.nullcontext():
                self.systemd.do("disable", timer.name)
        names = [name for name in self.names.names if not self.seen(name).other]
        for name in reversed(names):
            one = self.seen(name)
            if one.seen and one.is_ours:
                self.folder.remove(name, one.seen)
            self.folder.tidy(name)  # an install that was killed has not come to this one
        self.systemd.do("daemon-reload")
        for name in names:
            with contextlib.suppress(PlaceError):  # one that has never failed, or is not loaded
                self.systemd.do("reset-failed", name)

    def forget_wakes(self) -> None:
        """Take the time stamp of the last wake away. systemd before 243 cannot; then it may wake at once."""
        with contextlib.suppress(PlaceError):
            self.systemd.do("clean", self.unit, options=["--what=state"])


def all_installed(scope: str, folder: UnitFolder, systemd: Systemd) -> list[InstalledTimer]:
    """Every timer that an install has made in this folder, and what was left of one."""
    found = {path.stem for path in folder.path.glob(f"{_STEM}*") if path.suffix in (".timer", ".service")}
    found |= {stem.removesuffix(FAILED) for stem in found}
    every = [InstalledTimer(Names(stem, scope), folder, systemd) for stem in sorted(found)]
    return [each for each in every if each.playbook or _ours(folder, each.unit)]


def _ours(folder: UnitFolder, name: str) -> str:
    """The text of a file of ours; "" for any other, and for what cannot be read, as the link that masks one."""
    with contextlib.suppress(PlaceError):
        text = _text(folder.seen(name)) or ""
        return text if origin(text, MAKER) is Origin.OURS else ""
    return ""


def _text(seen: Look | None) -> str | None:
    return None if seen is None else seen.data.decode("utf-8", "surrogateescape")
