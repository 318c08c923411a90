"""The gateway: what keeps it running, where it answers, what it reads.

An adopted lab says so by its playbook, its unit or its compose file; a new one gets what fits the host. A place for a
unit is chosen where the user's systemd answers; a compose file that has the gateway already comes before that, for
two gateways cannot have one port.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from keyrotor import playbook
from keyrotor.boundary import files
from keyrotor.boundary.process import found as program
from keyrotor.boundary.unit_text import Unit
from keyrotor.core.founding import Asked, State, Step, Thing
from keyrotor.errors import FormatError, PlaceError, RefusedError, UsageError
from keyrotor.formats import compose, unit_exec
from keyrotor.founding.ground import Book, Ground

UNIT = "litellm.service"
URL = "http://127.0.0.1:4000"
CONFIG = "ai/backend/ai-backend-unified/config/litellm-unified.yaml"
UNFILLED = "restart-the-gateway"  # no such program: a rotation is refused until a person has filled it in
_PLIST = re.compile(r"<key>Label</key>\s*<string>([^<]+)</string>")
_PRUNED = ("node_modules", "__pycache__", "venv")
_DEPTH = 6


@dataclass(frozen=True, slots=True)
class Gateway:
    """What is known of it. A path may be of a file that is not there."""

    host: str
    why: str
    url: str = ""
    config: Path | None = None
    env_files: tuple[Path, ...] = ()  # that it reads, in its own order
    sets: frozenset[str] = frozenset()  # variables that its unit gives a value
    unit: str = UNIT
    scope: str = "user"
    is_there: bool = False
    command: tuple[str, ...] = ()

    @property
    def step(self) -> Step:
        if self.command == (UNFILLED,):
            mend = f"name the command that restarts the gateway, in the stead of {UNFILLED}, in the playbook"
            return Step(Thing("host", self.host, State.BY_HAND, self.why, mend))
        if self.host == "systemd" and not self.is_there:
            mend = "keyrotor service install"
            return Step(
                Thing("host", f"{self.host}: {self.unit}", State.BY_HAND, f"{self.why}; no such unit yet", mend)
            )
        if self.host == "launchd" and not self.is_there:
            mend = f"write ~/Library/LaunchAgents/{self.command[-1].rpartition('/')[2]}.plist  (docs/how-to/macos.md)"
            return Step(Thing("host", self.host, State.BY_HAND, f"{self.why}; no agent runs LiteLLM yet", mend))
        name = self.unit if self.host == "systemd" else " ".join(self.command)
        return Step(Thing("host", f"{self.host}: {name}", State.KEEP, self.why))


def look(ground: Ground, asked: Asked, book: Book | None) -> Gateway:
    """The gateway as it is, or as it is to be. Raises PlaceError."""
    found = _of_playbook(ground, book) if book else _of_host(ground, asked)
    if asked.url and not playbook.is_address(asked.url):
        raise UsageError("cannot use --url: write it as http://127.0.0.1:4000, without /v1")
    url = (book and found.url) or asked.url or found.url or URL
    return replace(found, url=url, config=found.config or _config_in(ground.folder) or ground.folder / CONFIG)


def _of_playbook(ground: Ground, book: Book) -> Gateway:
    door, unit, command = book.options("litellm"), book.options("systemd-unit"), book.options("command")
    config = Path(str(door["config"])) if door.get("config") else None
    more = {"url": str(door.get("url", "")), "config": config, "env_files": tuple(book.paths("env-file"))}
    if unit:
        name, scope = str(unit["unit"]), str(unit["scope"])
        there = _unit(ground, name, scope)
        sets = there.literals if there else frozenset()
        why = "the playbook names it"
        return Gateway("systemd", why, unit=name, scope=scope, is_there=there is not None, sets=sets, **more)  # type: ignore[arg-type]
    argv = tuple(command["put"]) if command else ()  # type: ignore[arg-type]
    return Gateway("command", "the playbook names it", command=argv, is_there=True, **more)  # type: ignore[arg-type]


def _of_host(ground: Ground, asked: Asked) -> Gateway:
    for scope in ("user", "system"):
        there = _unit(ground, UNIT, scope) if asked.host in ("", "systemd") else None
        if there:
            return _of_unit(ground, there, scope)
    if asked.host in ("", "compose") and (composed := _of_compose(ground)):
        return composed
    if asked.host == "systemd" or (not asked.host and _answers(ground)):
        return Gateway("systemd", "asked for" if asked.host else "the user's systemd answers here")
    if asked.host == "compose":
        return Gateway("compose", "asked for; no compose file here has a litellm service", command=(UNFILLED,))
    if asked.host == "launchd" or (not asked.host and ground.is_macos):
        label = _launchd_label(ground)
        argv = ("launchctl", "kickstart", "-k", f"gui/{ground.user_id}/{label or 'local.litellm'}")
        return Gateway("launchd", "asked for" if asked.host else "this is macOS", command=argv, is_there=bool(label))
    why = "asked for" if asked.host else "no systemd of the user answers, no compose file has the gateway, no macOS"
    return Gateway("command", why, command=(UNFILLED,))


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
    file = unit.fragment.removesuffix(".service")
    text, socket = (_readable(ground, Path(f"{file}.{kind}")) for kind in ("service", "socket"))
    told = unit_exec.of_unit(text, socket, str(ground.home))
    return Gateway(
        "systemd",
        f"the {scope}'s systemd has it" if scope == "user" else "the system's systemd has it",
        url=told.url,
        config=ground.absolute(told.config) if told.config else None,
        env_files=tuple(Path(each.path) for each in unit.environment_files),
        sets=unit.literals,
        unit=unit.name,
        scope=scope,
        is_there=True,
    )


def _readable(ground: Ground, path: Path) -> str:
    """The text of a unit's file; "" where there is none, as for a masked unit, or we may not read it."""
    try:
        return ground.text(path)
    except PlaceError:
        return ""


def _of_compose(ground: Ground) -> Gateway | None:
    path = next((ground.folder / name for name in compose.NAMES if files.exists(ground.folder / name)), None)
    try:
        service = compose.litellm(files.look(path).data) if path else None
    except FormatError as error:
        raise RefusedError(f"cannot read {path}: {error}") from None
    if path is None or service is None:
        return None
    has_docker = program("docker", ground.env) is not None
    return Gateway(
        "compose",
        f"{path.name} has the service {service.name}" + ("" if has_docker else "; there is no docker on PATH"),
        url=service.url,
        config=ground.absolute(service.config) if service.config else None,
        env_files=tuple(ground.absolute(each) for each in service.env_files),
        sets=service.sets,
        command=("docker", "compose", "up", "-d", "--force-recreate", service.name),
        is_there=True,
    )


def _launchd_label(ground: Ground) -> str:
    """The label of the agent that runs LiteLLM, as its file says; "" where there is none."""
    for path in sorted((ground.home / "Library" / "LaunchAgents").glob("*litellm*.plist")):
        if label := _PLIST.search(ground.text(path)):
            return label[1]
    return ""


def _config_in(folder: Path) -> Path | None:
    """The usual one, or a `litellm*.yaml` in the project: the one with the fewest folders above it."""
    if files.exists(folder / CONFIG):
        return folder / CONFIG
    found = sorted(_yamls(folder, 0), key=lambda path: (len(path.parts), path))
    return found[0] if found else None


def _yamls(folder: Path, depth: int) -> Iterator[Path]:
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return
    for path in entries:
        if path.name.startswith(".") or path.name in _PRUNED:
            continue
        if path.is_dir() and not path.is_symlink() and depth < _DEPTH:
            yield from _yamls(path, depth + 1)
        elif re.fullmatch(r"litellm.*\.ya?ml", path.name) and path.is_file():
            yield path
