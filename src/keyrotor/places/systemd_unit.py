"""The running unit: it holds what its main process was started with, and takes up a value by a restart only."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from keyrotor.boundary import files, proc
from keyrotor.boundary.plaintext import are_same, is_blank
from keyrotor.boundary.systemd import Systemd
from keyrotor.boundary.unit_environment import Source, overriding, sources
from keyrotor.boundary.unit_text import Unit
from keyrotor.core.model import ALREADY, Holds, Value
from keyrotor.core.preview import Change
from keyrotor.errors import PlaceError
from keyrotor.secret import Pair, Secret

POLL = 0.02  # seconds between looks at a unit that is starting
EXEC_WITHIN = 1.0  # seconds from systemd's "started" to the exec of the new process; some ms were measured


@dataclass(frozen=True, slots=True)
class SystemdUnit:
    name: str
    variable: str
    within: float
    systemd: Systemd
    rest: Callable[[float], None]
    may_be_down: bool = False  # whether a put may start it: a repair proves nothing with a former value first
    env_files: Sequence[Path] = ()  # those that the playbook writes

    def check(self, pair: Pair) -> list[str]:
        try:
            unit = self.systemd.seen(self.name)
        except PlaceError as error:
            return [f"{error} ({error.hint})" if error.hint else str(error)]
        if self.systemd.needs_root:
            return [f"cannot restart {self.name}: a unit of the system needs root"]
        if unit.load == "masked":
            return [f"cannot restart {self.name}: unit is masked (systemctl unmask {self.name})"]
        if unit.load != "loaded":
            return [f"cannot restart {self.name}: unit is {unit.load or 'not known'}"]
        if not unit.is_active and not self.may_be_down:
            return [
                f"cannot restart {self.name}: unit is {unit.active} ({unit.sub}), so the old key cannot be proven first"
            ]
        return self._untold(unit, pair) + self._overridden(unit)

    def _untold(self, unit: Unit, pair: Pair) -> list[str]:
        """Why nobody knows which value has leaked, where one has: the unit runs with another one."""
        is_another = pair.is_leaked and unit.is_active and self._holds(unit, pair) is Holds.NEITHER
        if not is_another or all(is_blank(value) for value in self.shows()):
            return []
        return [
            f"cannot tell what has leaked: {self.name} runs with another value than the encrypted file holds (the "
            "leaked one must stand in the encrypted file: sops edit; if it does, stop the unit)"
        ]

    def _overridden(self, unit: Unit) -> list[str]:
        """What would keep the restarted unit from taking up what the playbook wrote."""
        try:
            found = overriding(unit, self.variable, self.env_files)
        except PlaceError as error:
            return [f"cannot restart {self.name}: {error}"]
        return [
            f"cannot restart {self.name}: {path} decides over its {self.variable}, not the env file (take it out there)"
            for path in found
        ]

    def holds(self, pair: Pair) -> Holds:
        try:
            unit = self.systemd.show(self.name)
        except PlaceError:
            return Holds.UNKNOWN
        return self._holds(unit, pair) if unit.is_active else Holds.UNKNOWN

    def put(self, goal: Value, pair: Pair) -> str:
        before = self.systemd.show(self.name)
        if before.is_active and self._holds(before, pair) is Holds(goal):
            return ALREADY
        self.systemd.reset_failed(self.name)  # a start that the start limit refuses would leave the unit down
        self.systemd.restart(self.name, self.within)
        after = self._started(before, goal, pair)
        if not after.is_active or after.invocation == before.invocation:
            why = f"unit is {after.active} ({after.result}){self.systemd.last_words(after, pair)}"
            raise PlaceError(f"cannot restart {self.name}: {why}")
        holds = self._holds(after, pair)
        if holds not in (Holds(goal), Holds.UNKNOWN):
            raise PlaceError(
                f"cannot give {self.name} the {goal} value: after its restart its {self.variable} is {holds}; "
                "its env file was not written, or a drop-in or a later EnvironmentFile overrides it"
            )
        return f"restarted (pid {after.pid})"

    def prepare(self, goal: Value, pair: Pair) -> None:
        """Nothing: a put is quick."""

    def after(self, goal: Value, pair: Pair) -> str:
        return ""

    def shows(self) -> list[Secret]:
        try:
            found = proc.variable(self.systemd.seen(self.name).pid, self.variable)
        except (PlaceError, OSError):
            return []
        return [] if found is None else [found]

    def changes(self, pair: Pair) -> list[Change]:
        return [Change(text=f"restarted: its next process takes up {self.variable}")]

    def inputs(self) -> list[Path]:
        unit = self.systemd.seen(self.name)
        own = [Path(path) for path in (unit.fragment, *unit.drop_ins) if path]
        return own + [source.path for source in sources(unit) if not _is_passed_over(source)]

    def _started(self, before: Unit, goal: Value, pair: Pair) -> Unit:
        """The unit once its new process is there: systemd calls a simple service started before its exec, when
        its environment is still the manager's own."""
        deadline = time.monotonic() + EXEC_WITHIN
        while True:
            unit = self.systemd.show(self.name)
            is_there = unit.is_active and unit.invocation != before.invocation
            if unit.active in ("failed", "inactive") or time.monotonic() > deadline:
                return unit
            if is_there and self._holds(unit, pair) is Holds(goal):
                return unit
            self.rest(POLL)

    def _holds(self, unit: Unit, pair: Pair) -> Holds:
        try:
            found = proc.variable(unit.pid, self.variable)
        except OSError:
            return Holds.UNKNOWN
        if found is None:
            return Holds.UNKNOWN
        old = any(are_same(found, secret) for secret in pair.named(Value.NEW))
        return Holds.seen(old=old, new=are_same(found, pair.new))


def _is_passed_over(source: Source) -> bool:
    """Whether systemd starts the unit without this environment file though there is one."""
    if not source.is_optional or not files.exists(source.path):
        return False
    try:
        files.look(source.path)
    except PlaceError:
        return True
    return False
