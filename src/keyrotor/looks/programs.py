"""The programs that a rotation runs, and the manager of the units that it restarts: are they here, do they answer?

A unit of the system is restarted by root only. `loginctl` is asked for linger; where there is no logind it is not told.
"""

from __future__ import annotations

import os
import platform
import pwd
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from keyrotor import __version__
from keyrotor.boundary.process import Processes, environment, found
from keyrotor.boundary.sops import Sops
from keyrotor.boundary.systemd import Systemd
from keyrotor.core.checkup import Check, Line, State
from keyrotor.errors import PlaceError

_ANY = "default.target"  # a unit that every manager knows


@dataclass(frozen=True, slots=True)
class Programs:
    sops: Sops
    processes: Processes
    env: Mapping[str, str]
    file: Path | None  # the encrypted one; None without a playbook

    def checks(self) -> Iterator[Check]:
        yield Check("keyrotor", lambda: f"{__version__} on Python {platform.python_version()} ({sys.executable})")
        yield Check("sops", self._sops)
        if self.file and _is_in_repository(self.file):
            yield Check("git", self._git, "install git, or add its folder to PATH")

    def _sops(self) -> str:
        version = self.sops.want_version()
        return f"{version} ({found(self.env.get('KEYROTOR_SOPS') or 'sops', self.env)})"

    def _git(self) -> str:
        git = found("git", self.env)
        if git is None:
            raise PlaceError("cannot commit the encrypted file after a rotation: there is no git on PATH")
        return f"{git}; the encrypted file lies in a repository"


@dataclass(frozen=True, slots=True)
class Bus:
    """One manager, and those of its units that a rotation restarts."""

    scope: str
    units: Sequence[str]
    is_needed: bool  # by a place of the playbook; else by a timer only
    systemd: Systemd
    processes: Processes
    env: Mapping[str, str]

    @property
    def name(self) -> str:
        return f"systemd --{self.scope}"

    def checks(self) -> Iterator[Check]:
        yield Check(self.name, self._answers, "run keyrotor where systemd runs")
        for unit in self.units:
            yield Check("unit", lambda unit=unit: self._unit(unit), needs=(self.name,))  # type: ignore[misc]
        if self.scope == "user":
            yield Check("linger", self._linger)

    def _answers(self) -> Line | str:
        try:
            self.systemd.show(self.units[0] if self.units else _ANY)
        except PlaceError as error:
            if self.is_needed:
                raise
            return Line(self.name, State.UNKNOWN, f"{error}; no place of the playbook needs it, but a timer does")
        if self.scope == "user" and "XDG_RUNTIME_DIR" not in self.env:
            return f"answers; XDG_RUNTIME_DIR is not set, so /run/user/{os.getuid()} is taken"
        return "answers"

    def _unit(self, name: str) -> str:
        systemctl = f"systemctl --{self.scope}"
        unit = self.systemd.show(name)
        if unit.load == "masked":
            raise PlaceError(f"cannot restart {name}: it is masked", hint=f"{systemctl} unmask {name}")
        if unit.load != "loaded":
            hint = f"{systemctl} daemon-reload  (or mend `unit` in the playbook)"
            raise PlaceError(f"cannot restart {name}: it is {unit.load or 'not known'}", hint=hint)
        if self.systemd.needs_root:
            raise PlaceError(f"cannot restart {name}: a unit of the system needs root", hint="sudo keyrotor doctor")
        if not unit.is_active:
            why = f"it is {unit.active} ({unit.sub}), so the old key cannot be proven first"
            raise PlaceError(f"cannot rotate with {name}: {why}", hint=f"{systemctl} start {name}")
        return f"{name} is loaded and runs"

    def _linger(self) -> Line | str:
        user = _user()
        try:
            done = self.processes.run(
                ["loginctl", "show-user", user, "--property=Linger", "--value"], env=environment(self.env), within=10.0
            )
        except PlaceError as error:
            return Line("linger", State.UNKNOWN, str(error))
        said = done.out.decode(errors="replace").strip()
        if said == "yes":
            return f"on: the services of {user} outlive the last logout"
        # logind knows nobody who is neither logged in nor lingers: that is a no, and told by an error.
        if said == "no" or (done.code and b"not logged in" in done.err):
            raise PlaceError(
                "cannot count on the timer: the user's services end with the last logout",
                hint=f"loginctl enable-linger {shlex.quote(user)}",
            )
        return Line("linger", State.UNKNOWN, "cannot be told: no logind answers here")


def _user() -> str:
    """The name of the user, or the number of one that has no name: a container's may have none."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _is_in_repository(file: Path) -> bool:
    return any(os.path.exists(parent / ".git") for parent in file.parents)
