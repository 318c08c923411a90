"""The gateway: what keeps it running, where it answers, what it reads.

An adopted lab says so by its playbook, its unit or its compose file; a new one gets what fits the host. A place for a
unit is chosen where the user's systemd answers; a compose file that has the gateway already comes before that, for
two gateways cannot have one port.
"""

from __future__ import annotations

import glob
import os
import shlex
from dataclasses import dataclass, replace
from pathlib import Path

from keyrotor import playbook
from keyrotor.boundary.process import found as program
from keyrotor.boundary.unit_text import Unit
from keyrotor.core.founding import Asked, State, Step, Thing
from keyrotor.errors import FormatError, PlaceError, RefusedError, UsageError
from keyrotor.formats import compose, unit_exec
from keyrotor.founding import keys
from keyrotor.founding.ground import Book, Ground
from keyrotor.founding.keys import KEYS, Known

UNIT = "litellm.service"
URL = "http://127.0.0.1:4000"
UNFILLED = "restart-the-gateway"  # no such program: a rotation is refused until a person has filled it in


@dataclass(frozen=True, slots=True)
class Gateway:
    """What is known of it. A path may be of a file that is not there."""

    host: str
    why: str
    url: str = ""
    configs: tuple[Path, ...] = ()  # that are named to it; a guess is none
    folder: Path | None = None  # that it is started in, if its unit says so
    env_files: tuple[Path, ...] = ()  # that it reads, in its own order
    known: Known = Known()  # noqa: RUF009  frozen
    unit: str = UNIT
    scope: str = "user"
    is_there: bool = False
    has_socket: bool = False
    command: tuple[str, ...] = ()

    def step(self, install: str) -> Step:
        """What keeps it running; `install` is the command that makes the unit."""
        if not self.command and self.host != "systemd":
            said = f"{self.why}, and neither a unit nor a command that restarts the gateway"
            return Step(
                Thing("host", self.host, State.BY_HAND, said, "add a [[place]] of kind systemd-unit or command")
            )
        if self.command == (UNFILLED,):
            mend = f"name the command that restarts the gateway, in the stead of {UNFILLED}, in the playbook"
            return Step(Thing("host", self.host, State.BY_HAND, self.why, mend))
        if self.host == "systemd" and not self.is_there:
            said = f"{self.why}; no such unit yet"
            return Step(Thing("host", f"{self.host}: {self.unit}", State.BY_HAND, said, install))
        if self.host == "launchd" and not self.is_there:
            mend = f"write ~/Library/LaunchAgents/{self.command[-1].rpartition('/')[2]}.plist  (docs/how-to/macos.md)"
            return Step(Thing("host", self.host, State.BY_HAND, f"{self.why}; no agent runs LiteLLM yet", mend))
        name = self.unit if self.host == "systemd" else " ".join(self.command)
        return Step(Thing("host", f"{self.host}: {name}", State.KEEP, self.why))


def look(ground: Ground, asked: Asked, book: Book | None) -> Gateway:
    """The gateway as it is, or as it is to be. Raises RefusedError, UsageError."""
    if asked.url and not playbook.is_address(asked.url):
        raise UsageError("cannot use --url: write it as http://127.0.0.1:4000, without /v1")
    found = _of_playbook(ground, book) if book else _of_host(ground, asked)
    if book:
        _want_as_asked(asked, found, ground.typed(book.path))
    return replace(found, url=(found.url if book else asked.url or found.url) or asked.url or URL)


def _want_as_asked(asked: Asked, found: Gateway, path: str) -> None:
    """Raises RefusedError where the playbook that is there says something else."""
    other = asked.host if asked.host and (asked.host == "systemd") != (found.host == "systemd") else ""
    if other or (asked.url and found.url and asked.url != found.url):
        what = f"--host {other}" if other else f"--url {asked.url}"
        says = f"the unit {found.unit}" if found.host == "systemd" else "a command"
        raise RefusedError(f"cannot use {what}: {path} says {says if other else found.url}", hint=f"edit {path}")


def _of_playbook(ground: Ground, book: Book) -> Gateway:
    door, unit, command = book.options("litellm"), book.options("systemd-unit"), book.options("command")
    why = "the playbook names it"
    if unit:
        name, scope = str(unit["unit"]), str(unit["scope"])
        there = _unit(ground, name, scope)
        found = _of_unit(ground, there, scope) if there else Gateway("systemd", why, unit=name, scope=scope)
    else:
        argv = tuple(command["put"]) if command else ()  # type: ignore[arg-type]
        found = Gateway("command", why if argv else "the playbook names none", command=argv, is_there=bool(argv))
    configs = (Path(str(door["config"])), *found.configs) if door.get("config") else found.configs
    env_files = (*book.paths("env-file"), *found.env_files)
    return replace(
        found, why=found.why if not unit else why, url=str(door.get("url", "")), configs=configs, env_files=env_files
    )


def _of_host(ground: Ground, asked: Asked) -> Gateway:
    for scope in ("user", "system"):
        there = _unit(ground, UNIT, scope) if asked.host in ("", "systemd") else None
        if there:
            found = _of_unit(ground, there, scope)
            _want_of_this_lab(ground, asked, found)
            return found
    if asked.host in ("", "systemd"):
        _want_answer(ground, asked)
    if asked.host in ("", "compose") and (composed := _of_compose(ground)):
        return composed
    if asked.host == "systemd" or (not asked.host and _answers(ground)):
        return Gateway("systemd", "asked for" if asked.host else "the user's systemd answers here")
    if asked.host == "compose":
        return Gateway("compose", "asked for; no compose file here has a litellm service", command=(UNFILLED,))
    if asked.host == "launchd" or (not asked.host and ground.is_macos):
        return _of_agent(ground, "asked for" if asked.host else "this is macOS")
    why = "asked for" if asked.host else "no systemd of the user answers, no compose file has the gateway, no macOS"
    return Gateway("command", why, command=(UNFILLED,))


def _want_answer(ground: Ground, asked: Asked) -> None:
    """Raises RefusedError where there is a unit, and no systemd of the user's tells what it reads."""
    stated = ground.env.get("XDG_CONFIG_HOME", "")
    path = (Path(stated) if stated else ground.home / ".config") / "systemd" / "user" / UNIT
    if os.path.lexists(path) and not _answers(ground):
        hint = f"export XDG_RUNTIME_DIR=/run/user/{ground.user_id}   or another host: {asked.command} --host command"
        raise RefusedError(f"cannot tell what {path} reads: the user's systemd does not answer here", hint=hint)


def _want_of_this_lab(ground: Ground, asked: Asked, found: Gateway) -> None:
    """Raises RefusedError where the unit is another lab's: its keys are not this one's."""
    folders = [*(path.parent for path in found.configs), *([found.folder] if found.folder else [])]
    other = next((lab for folder in folders if (lab := ground.lab_of(folder))), None)
    if other:
        hint = f"keyrotor bootstrap {shlex.quote(str(other))}   or another host: {asked.command} --host command"
        raise RefusedError(
            f"cannot make a second lab on {found.unit}: it runs the gateway of the lab in {other}", hint=hint
        )


def _answers(ground: Ground) -> bool:
    try:
        ground.manager("user").show(UNIT)
    except PlaceError:
        return False
    return True


def _unit(ground: Ground, name: str, scope: str) -> Unit | None:
    try:
        unit = ground.manager(scope).show(name)
    except PlaceError:
        return None
    return unit if unit.load not in ("", "not-found") else None


def _of_unit(ground: Ground, unit: Unit, scope: str) -> Gateway:
    """By its own text and its drop-ins': `systemctl show` runs the words of a command together."""
    paths = [unit.fragment, *unit.drop_ins]
    texts = {path: _readable(ground, Path(path)) for path in paths if path and os.path.realpath(path) != os.devnull}
    socket = _readable(ground, Path(unit.fragment.removesuffix(".service") + ".socket")) if unit.sockets else ""
    told = unit_exec.of_unit("\n".join(text or "" for text in texts.values()), socket or "", str(ground.home))
    folder = Path(told.folder or (ground.home if scope == "user" else "/"))
    assigned: dict[str, str | None] = {key: told.assigned.get(key) for key in KEYS if key in unit.literals}
    assigned |= {key: value for key, value in told.assigned.items() if key in KEYS and value}
    doubts = tuple(f"{path} cannot be read" for path, text in texts.items() if text is None)
    return Gateway(
        "systemd",
        f"the {scope}'s systemd has it",
        url=told.url,
        configs=(_at(folder, told.config),) if told.config else (),
        folder=Path(told.folder) if told.folder else None,
        env_files=tuple(path for each in unit.environment_files for path in _matches(each.path)),
        known=keys.literals(f"Environment= of {unit.name}", assigned) + Known(variables=unit.literals, doubts=doubts),
        unit=unit.name,
        scope=scope,
        is_there=True,
        has_socket=bool(unit.sockets),
    )


def _at(folder: Path, path: str) -> Path:
    return Path(os.path.normpath(folder / path))


def _matches(path: str) -> list[Path]:
    """systemd takes a pattern for all that it matches."""
    return [Path(each) for each in sorted(glob.glob(path))] or [Path(path)]


def _readable(ground: Ground, path: Path) -> str | None:
    """The text of a unit's file; "" where there is none, None where we may not read it."""
    try:
        return ground.text(path)
    except RefusedError:
        return None


def _of_compose(ground: Ground) -> Gateway | None:
    path = next((ground.folder / name for name in compose.NAMES if ground.exists(ground.folder / name)), None)
    try:
        variables = {**ground.env, "HOME": str(ground.home), "PWD": str(ground.folder)}
        service = compose.litellm(ground.read(path) or b"", variables) if path else None
    except FormatError as error:
        raise RefusedError(f"cannot read {path}: {error}") from None
    if path is None or service is None:
        return None
    has_docker = program("docker", ground.env) is not None
    more = [f"{name} is there, too" for name in compose.OVERRIDES if ground.exists(ground.folder / name)]
    more += ["COMPOSE_FILE names other files"] if ground.env.get("COMPOSE_FILE") else []
    more += [f"{path.name}: {service.elsewhere}"] if service.elsewhere else []
    return Gateway(
        "compose",
        f"{path.name} has the service {service.name}" + ("" if has_docker else "; there is no docker on PATH"),
        url=service.url,
        configs=(ground.absolute(service.config),) if service.config else (),
        env_files=tuple(ground.absolute(each) for each in service.env_files),
        known=keys.literals(path.name, service.literals) + Known(variables=service.sets, doubts=tuple(more)),
        command=("docker", "compose", "up", "-d", "--force-recreate", service.name),
        is_there=True,
    )


def _of_agent(ground: Ground, why: str) -> Gateway:
    """The launchd agent that runs LiteLLM, as its file says, or one that there is to be."""
    for path in sorted((ground.home / "Library" / "LaunchAgents").glob("*litellm*.plist")):
        label, told = unit_exec.of_agent(ground.read(path) or b"")
        if label:
            configs = (_at(Path(told.folder), told.config),) if told.config else ()
            known = keys.literals(path.name, told.assigned) + Known(variables=frozenset(told.assigned))
            found = Gateway("launchd", why, told.url, configs, known=known, is_there=True)
            return replace(found, command=_kick(ground, label))
    return Gateway("launchd", why, command=_kick(ground, "local.litellm"))


def _kick(ground: Ground, label: str) -> tuple[str, ...]:
    return ("launchctl", "kickstart", "-k", f"gui/{ground.user_id}/{label}")
