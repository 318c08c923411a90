"""The gateway's config: which one it is, and what it says of keys and databases.

Rules:
1. The one that a unit, a compose file or a playbook names is the gateway's own. One that is found by its name is a
   guess: what it says counts against making a key, and no key is adopted from it.
2. Of a gateway that is there, and whose own config is not told or not readable, nobody knows what it has.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keyrotor.core.founding import MASTER, State, Step, Thing
from keyrotor.errors import FormatError
from keyrotor.formats import gateway_config
from keyrotor.formats.gateway_config import DATABASE_VARIABLES, GatewayConfig
from keyrotor.founding import keys
from keyrotor.founding.gateway import Gateway
from keyrotor.founding.ground import Ground
from keyrotor.founding.keys import Known, Sighting
from keyrotor.secret import Secret
from keyrotor.texts import gateway as texts

CONFIG = "ai/backend/ai-backend-unified/config/litellm-unified.yaml"
_REFERENCE = "os.environ/"
_TABLES = ("model_list", "general_settings")
_PRUNED = ("node_modules", "__pycache__", "venv")
_DEPTH = 6


@dataclass(frozen=True, slots=True)
class Config:
    """It, there or not, and what it and all that may be it instead tell."""

    path: Path
    is_there: bool
    reasons: tuple[str, ...]  # why the gateway would not take the key from the environment
    known: Known


@dataclass(frozen=True, slots=True)
class _Read:
    """One config as it was read; what cannot be read has a reason."""

    path: Path
    said: GatewayConfig | None
    tree: Any
    why_not: str = ""


def look(ground: Ground, gateway: Gateway) -> Config:
    """Raises RefusedError."""
    if gateway.configs:
        read = [_read(ground, path) for path in gateway.configs if ground.exists(path)]
    else:
        read = [each for each in map(lambda path: _read(ground, path), _guesses(ground)) if _is_config(each)]
    known = Known(doubts=tuple(_doubts(gateway, read)))
    for each in read:
        known += _known(ground, each, is_told=bool(gateway.configs))
    path = next(iter([*gateway.configs, *(each.path for each in read)]), ground.folder / CONFIG)
    return Config(path, ground.exists(path), tuple(_reasons(read, path, known)), known)


def _read(ground: Ground, path: Path) -> _Read:
    data = ground.read(path) or b""
    try:
        said = gateway_config.read(data, str(path), lambda at: ground.read(Path(at)))
        return _Read(path, said, gateway_config.tree(data))
    except FormatError as error:
        return _Read(path, None, None, str(error))


def _doubts(gateway: Gateway, read: list[_Read]) -> Iterator[str]:
    yield from (f"{each.path} cannot be read: {each.why_not}" for each in read if each.said is None)
    if gateway.is_there and not gateway.configs:
        yield f"nothing says which config the gateway uses ({gateway.why})"
    elif gateway.is_there and not read:
        yield f"the gateway's config {gateway.configs[0]} is not there"


def _known(ground: Ground, read: _Read, *, is_told: bool) -> Known:
    if read.said is None:
        return Known()
    where, key = ground.typed(read.path), read.said.master_key
    names = read.said.sets_environment | (frozenset(DATABASE_VARIABLES[:1]) if read.said.has_database else frozenset())
    known = Known(variables=names)
    if isinstance(key, str) and not key.startswith(_REFERENCE):
        known += keys.sealed(where, {MASTER: Secret(key.encode())}, is_adopted=is_told)
    elif key is not None and key != _REFERENCE + MASTER:
        known += Known((Sighting(MASTER, f"{where}, by another name", None),))
    table = read.tree.get("environment_variables") if isinstance(read.tree, dict) else None
    values = {name: str(value) for name, value in (table if isinstance(table, dict) else {}).items() if value}
    return known + keys.literals(
        f"{where}, in its environment_variables",
        {str(name): None if value.startswith(_REFERENCE) else value for name, value in values.items()},
    )


def _reasons(read: list[_Read], path: Path, known: Known) -> list[str]:
    mine = next((each for each in read if each.path == path), None)
    if mine is None:
        return []
    if mine.said is None:
        return [f"cannot read it: {mine.why_not}"]
    # A salt that is missing has a line of its own.
    has_database = not known.variables.isdisjoint(DATABASE_VARIABLES)
    return mine.said.refusals(MASTER, has_database=has_database, has_salt=True)


def _guesses(ground: Ground) -> list[Path]:
    """The usual one, and each `litellm*.yaml` in the project; those with the fewest folders above them first."""
    usual = [ground.folder / CONFIG] if ground.exists(ground.folder / CONFIG) else []
    found = sorted(_yamls(ground.folder, 0), key=lambda path: (len(path.parts), path))
    return list(dict.fromkeys([*usual, *found]))


def _is_config(read: _Read) -> bool:
    """Whether it is a gateway's; one that cannot be read may be."""
    return read.said is None or (isinstance(read.tree, dict) and any(name in read.tree for name in _TABLES))


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
        elif re.fullmatch(r"litellm(?!.*(?:example|sample)).*\.ya?ml", path.name) and path.is_file():
            yield path


def step(ground: Ground, found: Config) -> Step:
    """The gateway's config: a sample where there is none."""
    if not found.is_there:
        return ground.new_file("config", found.path, texts.config(), "a sample with one mock model")
    typed = ground.typed(found.path)
    if found.reasons:
        return Step(Thing("config", typed, State.BY_HAND, "; ".join(found.reasons)))
    return Step(Thing("config", typed, State.KEEP, f"its {MASTER} comes from the environment"))
