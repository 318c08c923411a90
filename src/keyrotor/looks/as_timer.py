"""The same doctor once more, in the environment that the timer has: as a transient unit of its manager.

Rules:
1. Nothing of this shell's environment is handed over. What is there comes from the manager, and from what the
   timer's service sets itself: Environment=, EnvironmentFile=, UnsetEnvironment=, User=.
2. The value of a variable stands in no argv, where every user could read it: `--setenv=NAME` takes it from the
   environment of systemd-run (systemd 249 or later). Only what systemd-run needs for itself is written out.
3. The unit ends by itself, and `--collect` leaves nothing of it behind.
4. What it prints is our own JSON; anything else is not shown.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from keyrotor.boundary.process import Done, Processes, environment
from keyrotor.boundary.systemd import with_runtime_dir
from keyrotor.core.checkup import Examined, Line, State
from keyrotor.errors import PlaceError

WITHIN = 120  # seconds; two calls of sops with 60 s each, should a key command hang
_ASKED = "LoadState,Environment,EnvironmentFiles,UnsetEnvironment,User"
_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|(\S+)')
_CHDIR = 200  # the exit code by which systemd says that the working directory cannot be entered


@dataclass(frozen=True, slots=True)
class Service:
    """What the timer's service sets besides its manager."""

    variables: Mapping[str, str] = field(default_factory=dict)
    properties: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AsTimer:
    scope: str
    service: str  # the name of the timer's service, whether there is one or not
    processes: Processes
    env: Mapping[str, str]
    folder: Path  # where the command was typed

    def examined(self, playbook: str) -> Examined:
        """What the doctor says there. Raises PlaceError where it cannot be asked."""
        present = with_runtime_dir(environment(self.env)) if self.scope == "user" else environment(self.env)
        service = self._service(present)
        given = {name: text for name, text in service.variables.items() if name not in present}
        done = self.processes.run(
            argv(self.scope, self.folder, service, present, playbook), env={**present, **given}, within=WITHIN + 10.0
        )
        return _read(done, self.scope, self.folder)

    def _service(self, present: Mapping[str, str]) -> Service:
        command = ["systemctl", f"--{self.scope}", "--no-ask-password", "show", f"--property={_ASKED}"]
        return parsed(self.processes.run([*command, "--", self.service], env=present, within=30.0).out.decode())


def argv(scope: str, folder: Path, service: Service, present: Mapping[str, str], playbook: str) -> list[str]:
    """The command that runs this program as the timer would; `present` is what systemd-run has for itself."""
    limits = (f"--property=RuntimeMaxSec={WITHIN}", "--property=TimeoutStopSec=5")
    run = ["systemd-run", f"--{scope}", "--wait", "--pipe", "--collect", "--quiet", "--no-ask-password", *limits]
    run += [f"--working-directory={folder}", *(f"--property={each}" for each in service.properties)]
    run += [f"--setenv={name}" + (f"={text}" if name in present else "") for name, text in service.variables.items()]
    return [*run, sys.executable, "-m", "keyrotor", "doctor", "--json", *([playbook] if playbook else [])]


def parsed(shown: str) -> Service:
    """`systemctl show` output of the timer's service; one that is not there sets nothing."""
    rows = [line.partition("=")[::2] for line in shown.splitlines()]
    if ("LoadState", "loaded") not in rows:
        return Service()
    files = [
        re.fullmatch(r"(.*) \(ignore_errors=(yes|no)\)", text) for name, text in rows if name == "EnvironmentFiles"
    ]
    properties = [f"EnvironmentFile={'-' if each[2] == 'yes' else ''}{each[1]}" for each in files if each]
    properties += [f"{name}={text}" for name, text in rows if name in ("UnsetEnvironment", "User") and text]
    words = (word for name, text in rows if name == "Environment" for word in _words(text))
    return Service(dict(word.partition("=")[::2] for word in words), tuple(properties))


def _words(text: str) -> Iterator[str]:
    """systemd quotes a word that has a blank or a sign in it, and escapes with a backslash there."""
    for quoted, bare in _WORD.findall(text):
        yield bare or re.sub(r"\\(.)", lambda escaped: {"n": "\n", "t": "\t"}.get(escaped[1], escaped[1]), quoted)


def _read(done: Done, scope: str, folder: Path) -> Examined:
    what = f"cannot run as the timer would: systemd-run --{scope}"
    if not done.out.strip():
        if b"connect to bus" in done.err:
            hint = "keyrotor doctor  (its line on systemd tells how to mend that)"
            raise PlaceError(f"{what} finds no bus in this environment", hint=hint)
        if done.code == _CHDIR:
            raise PlaceError(f"{what} cannot enter {folder}", hint=f"ls -ld {shlex.quote(str(folder))}")
        hint = f"systemd-run --{scope} --wait --pipe {shlex.quote(sys.executable)} -m keyrotor --version"
        raise PlaceError(f"{what} ended with exit code {done.code}", hint=hint)
    try:
        said = json.loads(done.out)
        if "lines" not in said:
            raise PlaceError(f"cannot run as the timer would: there it says: {said['reason']}")
        lines = (Line(**{**line, "state": State(line["state"])}) for line in said["lines"])
        return Examined(tuple(lines), said["environment"], said["state"])
    except (ValueError, KeyError, TypeError):
        raise PlaceError(f"{what} answered with something else", hint="keyrotor --version") from None
