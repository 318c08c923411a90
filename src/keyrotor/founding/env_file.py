"""The materialised env file: which one it is, and what it holds already.

Rule: a value in any of them is adopted before one is made; where one cannot be read for certain, nothing is made.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from keyrotor.boundary import files
from keyrotor.boundary.plaintext import are_same, is_blank
from keyrotor.core.founding import MASTER, State, Step, Thing
from keyrotor.errors import FormatError, RefusedError
from keyrotor.formats import dotenv
from keyrotor.formats.gateway_config import DATABASE_VARIABLES
from keyrotor.founding import keys
from keyrotor.founding.ground import Ground
from keyrotor.founding.keys import KEYS, Known
from keyrotor.secret import Secret

DEFAULT = ".config/lab-secrets/litellm.env"
_IN_PROJECT = (".env", "litellm.env")


@dataclass(frozen=True, slots=True)
class EnvFile:
    """It, and every value in it."""

    path: Path
    is_there: bool
    values: Mapping[str, Secret]


def look(ground: Ground, stated: Sequence[Path], told: Sequence[Path], others: Sequence[Path]) -> list[EnvFile]:
    """Every env file that may be this lab's, first the one that is: one that is `stated` (by a playbook, a unit), else
    one that `.envrc` tells of, else the usual one or the project's, whichever holds the key; else the first of these
    that there is to be. Those of `others` come last. Raises RefusedError."""
    told = [path for path in told if path not in others]
    candidates = [*stated, *told, ground.home / DEFAULT, *(ground.folder / name for name in _IN_PROJECT), *others]
    read = [at(ground, path) for path in dict.fromkeys(candidates)]
    return sorted(read, key=lambda each: MASTER not in each.values)


def at(ground: Ground, path: Path) -> EnvFile:
    """The env file there, or that there is to be. Raises RefusedError."""
    return EnvFile(path, ground.exists(path), _values(ground, path))


def known(ground: Ground, found: EnvFile) -> Known:
    """What it tells of the keys."""
    return keys.sealed(ground.typed(found.path), found.values, is_adopted=True)


def _values(ground: Ground, path: Path) -> dict[str, Secret]:
    """Every value in an env file that is not blank; the last one of a name counts. Raises RefusedError."""
    data = ground.read(path) or b""
    try:
        leaves = dotenv.read(data)
    except FormatError as error:
        if not any(name.encode() in data for name in (*KEYS, *DATABASE_VARIABLES)):
            return {}
        raise RefusedError(f"cannot read {path}: {error}; what it holds cannot be adopted") from None
    for leaf in leaves:
        if leaf.key in KEYS and (not dotenv.is_plain(data, leaf) or b"$(" in leaf.text or b"${" in leaf.text):
            hint = f"write the value itself into {shlex.quote(str(path))}, without quotes or references"
            raise RefusedError(f"cannot tell what {leaf.key} is in {path}: it is no plain value", hint=hint)
    found = {leaf.key: Secret(leaf.text) for leaf in leaves}
    return {key: secret for key, secret in found.items() if not is_blank(secret)}


def unnamed(playbook: str) -> Step:
    """What is told where the playbook that is there has none."""
    said = "the playbook has no env-file place, so nothing is materialised"
    return Step(Thing("env-file", playbook, State.BY_HAND, said, 'add a [[place]] with kind = "env-file" and its path'))


def step(
    ground: Ground, env_file: EnvFile, names: Sequence[str], present: Mapping[str, Secret], playbook: Path, name: str
) -> Step:
    """Makes it where it is not there; else says whether it agrees with the encrypted file, which will have these keys,
    some of which are known at present."""
    typed = ground.typed(env_file.path)
    if not env_file.is_there:
        thing = Thing("env-file", typed, State.MAKE, "the keys in clear for the gateway, mode 0600")
        return Step(thing, lambda: ground.materialise(playbook), str(env_file.path))
    shared = [key for key in names if key in present and key in env_file.values]
    other = [key for key in shared if not are_same(present[key], env_file.values[key])]
    if other:
        said = f"its {' and '.join(other)} differs from the encrypted file's; left as it is"
        return Step(Thing("env-file", typed, State.DIFFERS, said, f"keyrotor audit {name}"))
    if ground.tracked(env_file.path):
        said = "git tracks it, in clear: whoever has the repository has the keys, until they are rotated"
        mend = f"git -C {shlex.quote(str(env_file.path.parent))} rm --cached -- {shlex.quote(env_file.path.name)}"
        return Step(Thing("env-file", typed, State.BY_HAND, said, mend))
    missing = [key for key in names if key not in env_file.values]
    if missing:
        said = f"it has no {' and no '.join(missing)}"
        return Step(Thing("env-file", typed, State.BY_HAND, said, f"keyrotor env {name}"))
    if files.look(env_file.path).mode & 0o077:
        return Step(Thing("env-file", typed, State.BY_HAND, "others can read it", f"keyrotor env {name}"))
    return Step(Thing("env-file", typed, State.KEEP))
