"""What keeps a lab's gateway running: a unit of `systemd --user`, or a plain child process.

Rules:
1. Both end what they started and nothing else; a unit is removed again with its drop-ins.
2. Both may be started and removed twice.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from keyrotor.demo import child, texts
from keyrotor.demo.user_systemd import UserManager
from keyrotor.errors import KeyrotorError


class Runner(Protocol):
    """Starts the gateway again and again; `place` is its entry in the playbook, `place_id` its id there."""

    @property
    def place_id(self) -> str: ...
    def place(self, within: str) -> str: ...
    def start(self) -> None: ...
    def main_pid(self) -> int | None: ...
    def remove(self) -> None: ...


@dataclass(frozen=True)
class UnitRunner:
    """The gateway as a user unit under a name of its own."""

    manager: UserManager
    unit: str
    text: str
    place_id: str = "systemd-unit"

    def place(self, within: str) -> str:
        return texts.unit_place(self.unit, within)

    def start(self) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        if not self._file.exists() or self._file.read_text() != self.text:
            self._file.write_text(self.text)
            self._file.chmod(0o644)  # systemd complains of a unit that others may write
            self.manager.systemctl("daemon-reload")
        self.manager.systemctl("start", self.unit)

    def main_pid(self) -> int | None:
        return int(self.manager.systemctl("show", self.unit, "--property=MainPID", "--value")) or None

    def remove(self) -> None:
        if not self._file.exists():
            return
        self.manager.systemctl("stop", self.unit, check=False)
        self._file.unlink()
        shutil.rmtree(self._file.with_name(f"{self.unit}.d"), ignore_errors=True)
        self.manager.systemctl("daemon-reload", check=False)
        self.manager.systemctl("reset-failed", self.unit, check=False)

    @property
    def _file(self) -> Path:
        return self.manager.units / self.unit


@dataclass(frozen=True)
class ChildRunner:
    """The gateway as a plain process, through the same two commands that the playbook names."""

    state: Path
    env_file: Path
    home: Path
    command: Sequence[str]
    place_id: str = "restart-gateway"

    def place(self, within: str) -> str:
        return texts.command_place(self.place_id, self._restart(), self._child("holds"), within)

    def start(self) -> None:
        done = subprocess.run(self._restart(), check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode:
            raise KeyrotorError(done.stderr.strip() or "cannot start the gateway")

    def main_pid(self) -> int | None:
        return child.child_pid(self.state)

    def remove(self) -> None:
        child.stop(self.state)

    def _restart(self) -> list[str]:
        # A child gets next to no environment; `env` says what the unit says in `Environment=`.
        said = ["/usr/bin/env", *texts.ENVIRONMENT, f"HOME={self.home}"]
        return [*self._child("restart"), "--env-file", str(self.env_file), "--", *said, *self.command]

    def _child(self, verb: str) -> list[str]:
        return [*python_program(child.__file__), verb, "--state", str(self.state)]


def python_program(path: str) -> list[str]:
    """How a program of the demo is started by path: isolated, without site packages, so that it is up in 0.1 s."""
    return [sys.executable, "-I", "-S", os.path.abspath(path)]
