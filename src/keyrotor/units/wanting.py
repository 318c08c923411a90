"""What the units of a playbook's gateway are to be: read from the playbook, the gateway's config and the host."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from keyrotor.boundary import files, proc
from keyrotor.boundary.litellm_api import port
from keyrotor.boundary.litellm_process import included
from keyrotor.boundary.process import found
from keyrotor.boundary.unit_environment import sets
from keyrotor.boundary.unit_folder import UnitFolder
from keyrotor.core.model import Row
from keyrotor.core.serving import Wish
from keyrotor.errors import PlaceError, RefusedError
from keyrotor.formats import gateway_config, unit_files
from keyrotor.formats.unit_files import Wanted
from keyrotor.units.standing import read_installed

Trouble = tuple[str, str]  # a reason, and the command that helps


def wanted(
    unit: Row,
    door: Row,
    env_files: Sequence[Path],
    project: str,
    wish: Wish,
    folder: UnitFolder,
    env: Mapping[str, str],
    cwd: Path,
) -> tuple[Wanted, list[Trouble]]:
    """What is to be installed, and why that would not work, each with its hint. Raises RefusedError for a unit that is
    no service: a removal, and a look, need no more than its name."""
    name = full_name(unit)
    if not name.endswith(".service"):
        raise RefusedError(
            f"cannot install {name}: it is no service", hint='unit = "litellm.service"  (in the playbook)'
        )
    url, config = door.options["url"], door.options["config"]
    has_database, troubles = _judged(config, unit.options["variable"], env_files)
    host = urlsplit(url).hostname or ""
    made = Wanted(
        name=name,
        scope=unit.options["scope"],
        user=_owner(project) if unit.options["scope"] == "system" else "",
        project=project,
        env_files=[str(path) for path in env_files],
        config=config,
        program=_program(wish.litellm, read_installed(folder, name), env, cwd),
        host="127.0.0.1" if host == "localhost" else host,
        port=port(url),
        within=door.within,
        has_socket=wish.socket is not False,
        has_database=has_database,
    )
    found = [*_address_troubles(url), *_time_troubles(door.within), *troubles]
    return made, [(f"cannot install {name}: {why}", hint) for why, hint in found]


def full_name(unit: Row) -> str:
    """The unit's name with its suffix, which a playbook may leave out."""
    name: str = unit.options["unit"]
    return name if "." in name else f"{name}.service"


def as_installed(wish: Wish, unit: Row, folder: UnitFolder) -> Wish:
    """The wish with a socket, or without one, as a unit of ours is installed; with one where none is."""
    if wish.socket is not None:
        return wish
    text = read_installed(folder, full_name(unit))
    return replace(wish, socket=not text or unit_files.has_socket(text))


def _program(asked: str, installed: str, env: Mapping[str, str], cwd: Path) -> str:
    """LiteLLM's program: the one asked for, the one that our unit starts already, the one on PATH; "" where there is
    none."""
    if asked:
        path = os.path.expanduser(asked)
        return _in_its_environment(found(path, env, cwd) or os.path.abspath(cwd / path))
    present = unit_files.program(installed)
    if present and os.access(present, os.X_OK):
        return present
    on_path = found("litellm", env, cwd)
    return _in_its_environment(on_path) if on_path else ""


def _in_its_environment(program: str) -> str:
    """The program where its server stands beside it: pipx and uv put a link to it on PATH."""
    program = os.path.abspath(program)
    real = os.path.realpath(program)
    has_server = os.path.exists(os.path.join(os.path.dirname(program), "uvicorn"))
    return real if not has_server and os.path.exists(os.path.join(os.path.dirname(real), "uvicorn")) else program


def _address_troubles(url: str) -> Iterator[Trouble]:
    """The gateway can only listen at an address of this machine, in plain http."""
    hint = 'url = "http://127.0.0.1:4000"  (in the playbook: the gateway itself, not what stands before it)'
    if urlsplit(url).scheme != "http":
        yield f"{url} is not spoken by LiteLLM itself", hint
    elif not proc.is_own(urlsplit(url).hostname or ""):
        yield f"{url} is no address of this machine", hint


def _time_troubles(within: float) -> Iterator[Trouble]:
    """The door's deadline may not end before LiteLLM can be up again."""
    least = unit_files.STOP_LEAST + unit_files.START
    if within < least:
        why = f"its litellm place waits for {within:g} s, and LiteLLM may need {least:g} s to stop and start"
        yield why, 'within = "120s"  (in the playbook, for that place)'


def _owner(project: str) -> str:
    """Whom the gateway runs as in the system's scope: whose project it is; "" for root."""
    try:
        owner = os.stat(project).st_uid
        return pwd.getpwuid(owner).pw_name if owner else ""
    except (OSError, KeyError):
        return ""


def _judged(config: str, variable: str, env_files: Sequence[Path]) -> tuple[bool, list[Trouble]]:
    """Whether LiteLLM will have a database, by its config or by what it is started with; and why that config would
    make it take another key than the env file's, or let everybody in."""
    told = gateway_config.UNKNOWN
    try:
        if config and files.exists(Path(config)):
            told = gateway_config.read(files.look(Path(config)).data, config, included)
        by_env = any(sets(path, name) for path in env_files for name in gateway_config.DATABASE_VARIABLES)
    except PlaceError as error:
        return False, [(f"its config or env file cannot be read: {error}", "")]
    has_one = told.has_database or by_env
    reasons = told.refusals(variable, has_database=has_one, has_salt=True)
    return has_one, [(f"of its config {config}, {why}", "") for why in reasons]
