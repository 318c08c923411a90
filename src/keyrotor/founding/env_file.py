"""The materialised env file: which one it is, and what it holds already.

Rule: a value in it is adopted before one is made; where it cannot be read nobody knows, and nothing is made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from keyrotor.boundary import files
from keyrotor.boundary.plaintext import are_same, is_blank
from keyrotor.core.founding import MASTER, State, Step, Thing
from keyrotor.errors import FormatError, RefusedError
from keyrotor.formats import dotenv
from keyrotor.founding.ground import Ground
from keyrotor.secret import Secret

DEFAULT = ".config/lab-secrets/litellm.env"
_IN_PROJECT = (".env", "litellm.env")


@dataclass(frozen=True, slots=True)
class EnvFile:
    """It, and every value in it."""

    path: Path
    is_there: bool
    values: Mapping[str, Secret]


def look(ground: Ground, stated: Sequence[Path], told: Sequence[str]) -> EnvFile:
    """The env file of this lab: one that is `stated` (by a playbook, a unit), else one that `.envrc` tells of, else the
    project's or the usual one, whichever holds the key; else the first of these that there is to be. Raises
    RefusedError."""
    usual = [*(ground.absolute(path) for path in told), ground.home / DEFAULT]
    candidates = [*stated, *usual, *(ground.folder / name for name in _IN_PROJECT)]
    read = [at(ground, path) for path in dict.fromkeys(candidates)]
    return next((each for each in read if MASTER in each.values), read[0])


def at(ground: Ground, path: Path) -> EnvFile:
    """The env file there, or that there is to be. Raises RefusedError."""
    return EnvFile(path, files.exists(path), values_in(ground, path))


def values_in(ground: Ground, path: Path) -> dict[str, Secret]:
    """Every value in an env file that is not blank; the last one of a name counts. Raises RefusedError."""
    data = ground.read(path) or b""
    try:
        leaves = dotenv.read(data)
    except FormatError as error:
        if MASTER.encode() not in data:
            return {}
        raise RefusedError(f"cannot read {path}: {error}; what it holds cannot be adopted") from None
    found = {leaf.key: Secret(leaf.text) for leaf in leaves}
    return {key: secret for key, secret in found.items() if not is_blank(secret)}


def unnamed(playbook: str) -> Step:
    """What is told where the playbook that is there has none."""
    said = "the playbook has no env-file place, so nothing is materialised"
    return Step(Thing("env-file", playbook, State.BY_HAND, said, 'add a [[place]] with kind = "env-file" and its path'))


def step(
    ground: Ground, env_file: EnvFile, keys: Sequence[str], present: Mapping[str, Secret], playbook: Path, name: str
) -> Step:
    """Makes it where it is not there; else says whether it agrees with the encrypted file, which will have these keys,
    some of which are known at present."""
    typed = ground.typed(env_file.path)
    if not env_file.is_there:
        thing = Thing("env-file", typed, State.MAKE, "the keys in clear for the gateway, mode 0600")
        return Step(thing, lambda: ground.materialise(playbook))
    known = [key for key in keys if key in present and key in env_file.values]
    other = [key for key in known if not are_same(present[key], env_file.values[key])]
    if other:
        said = f"its {' and '.join(other)} differs from the encrypted file's; left as it is"
        return Step(Thing("env-file", typed, State.DIFFERS, said, f"keyrotor audit {name}"))
    missing = [key for key in keys if key not in env_file.values]
    if missing:
        said = f"it has no {' and no '.join(missing)}"
        return Step(Thing("env-file", typed, State.BY_HAND, said, f"keyrotor env {name}"))
    if files.look(env_file.path).mode & 0o077:
        return Step(Thing("env-file", typed, State.BY_HAND, "others can read it", f"keyrotor env {name}"))
    return Step(Thing("env-file", typed, State.KEEP))
