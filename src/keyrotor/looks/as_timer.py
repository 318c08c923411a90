"""The same doctor once more, in the environment that the timer has: as a transient unit of its manager.

Rules:
1. Nothing of this shell's environment is handed over. What is there comes from the manager, and from what the
   timer's service sets itself: its variables, its folder, its user, and what it shuts off (`_CARRIED`).
2. The value of a variable stands in no argv, where every user could read it: `--setenv=NAME` takes it from the
   environment of systemd-run (systemd 249 or later). Only what systemd-run needs for itself is written out.
3. The unit has a name of its own, by which it is stopped if we are; `--collect` leaves nothing of it behind.
4. Python is kept from the folder that it is run in (`-P`): what lies in a project is not ours to import.
5. What it prints is our own JSON; anything else is not shown.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import re
import shlex
import stat
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from keyrotor.boundary import files, generate
from keyrotor.boundary.process import Done, Processes, environment
from keyrotor.boundary.reading import inode
from keyrotor.boundary.systemd import with_runtime_dir
from keyrotor.core.checkup import Examined, Line, State
from keyrotor.errors import PlaceError
from keyrotor.formats import timer_units

WITHIN = 120  # seconds; two calls of sops with 60 s each, should a key command hang
# What a service may set that decides what it can read and write; systemd-run takes each as `systemctl show` prints it.
_CARRIED = (
    *("User", "Group", "SupplementaryGroups", "UMask", "PassEnvironment", "WorkingDirectory", "PrivateTmp"),
    *("ProtectSystem", "ProtectHome", "ReadOnlyPaths", "ReadWritePaths", "InaccessiblePaths"),
    *("NoNewPrivileges", "LockPersonality", "RestrictNamespaces", "RestrictRealtime", "RestrictAddressFamilies"),
    *("SystemCallArchitectures", "SystemCallFilter", "SystemCallErrorNumber"),
)
# What decides as well, and is not carried: an image, another root, bound folders.
_NOT_CARRIED = (
    *("RootDirectory", "RootImage", "BindPaths", "BindReadOnlyPaths", "TemporaryFileSystem", "DynamicUser"),
    *("PrivateUsers", "PrivateNetwork", "NoExecPaths"),
)
_DEFAULTS = {"UMask": "0022", "SystemCallErrorNumber": "2147483646"}  # the latter stands for a kill
_UNSET = ("", "no", "~")
_ASKED = ",".join(
    (
        *("LoadState", "FragmentPath", "Environment", "EnvironmentFiles", "UnsetEnvironment", "ExecStart"),
        *(*_CARRIED, *_NOT_CARRIED),
    )
)
_OPEN = ("PATH", "HOME", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS")  # what systemd-run needs for itself; no values
_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|(\S+)')
_CHDIR, _NAMESPACE = 200, 226  # by which systemd says that the folder cannot be entered, or nothing be shut off
_CANNOT = "cannot run as the timer would"


@dataclass(frozen=True, slots=True)
class Service:
    """What the timer's service sets besides its manager."""

    variables: Mapping[str, str] = field(default_factory=dict)
    properties: tuple[str, ...] = ()
    folder: str = ""  # its WorkingDirectory, where it has one
    files: tuple[str, ...] = ()  # those of EnvironmentFile= that must be there
    programs: tuple[str, ...] = ()  # what it starts
    not_carried: tuple[str, ...] = ()  # what it sets besides, which is not the same here
    load: str = ""
    fragment: str = ""  # its file


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
        self._want_startable(service)
        self._want_same(service, playbook)
        given = {name: text for name, text in service.variables.items() if name not in _OPEN}
        unit = f"keyrotor-doctor-{generate.new_run_id()}"
        try:
            done = self.processes.run(
                argv(self.scope, self.folder, service, unit, playbook), env={**present, **given}, within=WITHIN + 10.0
            )
        finally:
            self._stop(unit, present)
        examined = _read(done, self.scope, Path(service.folder or self.folder), self.service)
        return replace(examined, lines=(*self._not_carried(service), *examined.lines))

    def _service(self, present: Mapping[str, str]) -> Service:
        command = ["systemctl", f"--{self.scope}", "--no-ask-password", "show", f"--property={_ASKED}"]
        return parsed(self.processes.run([*command, "--", self.service], env=present, within=30.0).out.decode())

    def _stop(self, unit: str, present: Mapping[str, str]) -> None:
        """It has ended, or we were stopped. This wait hears no signal: the unit would go on for two minutes."""
        command = ["systemctl", f"--{self.scope}", "--no-ask-password", "stop", "--", f"{unit}.service"]
        with contextlib.suppress(PlaceError):
            Processes().run(command, env=present, within=10.0)

    def _want_startable(self, service: Service) -> None:
        """Raises PlaceError for what systemd would not start at all."""
        edit = f"systemctl --{self.scope} edit --full {shlex.quote(self.service)}"
        if service.load in ("masked", "bad-setting", "error"):
            hint = edit.replace("edit --full", "unmask") if service.load == "masked" else edit
            raise PlaceError(f"{_CANNOT}: {self.service} is {service.load}", hint=hint)
        for path in service.files:
            if _is_absent(path):
                raise PlaceError(f"{_CANNOT}: the EnvironmentFile {path} of {self.service} is absent", hint=edit)
        for path in service.programs:
            if _is_absent(path) or _is_no_program(path):
                raise PlaceError(f"{_CANNOT}: {self.service} starts {path}, which is no program", hint=edit)

    def _want_same(self, service: Service, playbook: str) -> None:
        """Raises PlaceError where a service of ours rotates by another playbook, be it this one before it was moved."""
        text = files.look(Path(service.fragment)).data if service.fragment else b""
        other = timer_units.playbook(text.decode("utf-8", "surrogateescape"))
        if other and playbook and inode(other) != inode(playbook):
            system = " --system" if self.scope == "system" else ""
            why = f"{self.service} rotates by {other}, not by this playbook"
            raise PlaceError(f"{_CANNOT}: {why}", hint=f"keyrotor timer status{system} {shlex.quote(playbook)}")

    def _not_carried(self, service: Service) -> Iterator[Line]:
        if service.not_carried:
            said = f"{self.service} sets {', '.join(service.not_carried)}: what that changes cannot be told"
            yield Line("service", State.UNKNOWN, said)


def argv(scope: str, folder: Path, service: Service, unit: str, playbook: str) -> list[str]:
    """The command that runs this program as the timer would, in a unit of this name."""
    limits = (f"--property=RuntimeMaxSec={WITHIN}", "--property=TimeoutStopSec=5")
    run = ["systemd-run", f"--{scope}", "--wait", "--pipe", "--collect", "--quiet", "--no-ask-password", *limits]
    run += [f"--unit={unit}"] + [f"--working-directory={folder}"] * (not service.folder)
    run += [f"--property={each}" for each in service.properties]
    run += [f"--setenv={name}" + (f"={text}" if name in _OPEN else "") for name, text in service.variables.items()]
    return [*run, sys.executable, "-P", "-m", "keyrotor", "doctor", "--json", *([playbook] if playbook else [])]


def parsed(shown: str) -> Service:
    """`systemctl show` output of the timer's service; one that is not there sets nothing."""
    rows = [line.partition("=")[::2] for line in shown.splitlines()]
    told = dict(rows)
    if told.get("LoadState") != "loaded":
        return Service(load=told.get("LoadState", ""))
    found = (
        re.fullmatch(r"(.*) \(ignore_errors=(yes|no)\)", text) for name, text in rows if name == "EnvironmentFiles"
    )
    files = [(each[1], each[2] == "yes") for each in found if each]
    unset = [word for word in told.get("UnsetEnvironment", "").split() if "=" not in word]  # a value stands in no argv
    carried = {name: told[name] for name in _CARRIED if told.get(name, "") not in (*_UNSET, _DEFAULTS.get(name))}
    if "WorkingDirectory" in carried:  # `!` stands before one that may be absent, where the file says `-`
        carried["WorkingDirectory"] = re.sub(r"^!", "-", carried["WorkingDirectory"])
    starts = (re.match(r"\{ path=(.*?) ; argv", text) for name, text in rows if name == "ExecStart")
    words = (word for name, text in rows if name == "Environment" for word in _words(text))
    return Service(
        variables=dict(word.partition("=")[::2] for word in words),
        properties=(
            *(f"EnvironmentFile={'-' if may_be_absent else ''}{path}" for path, may_be_absent in files),
            *([f"UnsetEnvironment={' '.join(unset)}"] if unset else []),
            *(f"{name}={text}" for name, text in carried.items()),
        ),
        folder=carried.get("WorkingDirectory", ""),
        files=tuple(path for path, may_be_absent in files if not may_be_absent),
        programs=tuple(each[1] for each in starts if each and os.path.isabs(each[1])),
        not_carried=tuple(name for name in _NOT_CARRIED if told.get(name, "") not in _UNSET),
        load="loaded",
        fragment=told.get("FragmentPath", ""),
    )


def _is_absent(path: str) -> bool:
    """Whether nothing is there, for sure: what lies in a folder that we may not enter may be there."""
    if glob.has_magic(path):
        return os.access(os.path.dirname(path), os.R_OK | os.X_OK) and not glob.glob(path)
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def _is_no_program(path: str) -> bool:
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) or not mode & 0o111


def _words(text: str) -> Iterator[str]:
    """systemd quotes a word that has a blank or a sign in it, and escapes with a backslash there."""
    for quoted, bare in _WORD.findall(text):
        yield bare or re.sub(r"\\(.)", lambda escaped: {"n": "\n", "t": "\t"}.get(escaped[1], escaped[1]), quoted)


def _read(done: Done, scope: str, folder: Path, service: str) -> Examined:
    what = f"{_CANNOT}: systemd-run --{scope}"
    if not done.out.strip():
        if b"connect to bus" in done.err:
            hint = "keyrotor doctor  (its line on systemd tells how to mend that)"
            raise PlaceError(f"{what} finds no bus in this environment", hint=hint)
        if done.code == _CHDIR:
            raise PlaceError(f"{what} cannot enter {folder}", hint=f"ls -ld {shlex.quote(str(folder))}")
        if done.code == _NAMESPACE:
            hint = f"systemctl --{scope} cat {shlex.quote(service)}  (is every path there that it names?)"
            raise PlaceError(f"{what} cannot shut off what {service} asks for", hint=hint)
        hint = f"systemd-run --{scope} --wait --pipe {shlex.quote(sys.executable)} -P -m keyrotor --version"
        raise PlaceError(f"{what} ended with exit code {done.code}", hint=hint)
    try:
        said = json.loads(done.out)
        if "lines" not in said:
            raise PlaceError(f"{_CANNOT}: there it says: {said['reason']}")
        lines = (Line(**{**line, "state": State(line["state"])}) for line in said["lines"])
        return Examined(tuple(lines), said["environment"], said["state"])
    except (ValueError, KeyError, TypeError):
        raise PlaceError(f"{what} answered with something else", hint="keyrotor --version") from None
