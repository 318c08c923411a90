"""The unit that stood where ours goes: what it loses by ours, and whether a dead key would come back with it.

No value of it is shown, only the names of its variables.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from glob import glob
from pathlib import Path

from keyrotor.boundary import files
from keyrotor.boundary.plaintext import is_same
from keyrotor.boundary.unit_environment import is_one_of
from keyrotor.errors import PlaceError
from keyrotor.formats import dotenv
from keyrotor.formats.former_unit import Former, settings
from keyrotor.formats.unit_files import Wanted
from keyrotor.secret import Secret
from keyrotor.units.standing import One, Standing

_OURS = {"LITELLM_LOCAL_MODEL_COST_MAP", "LITELLM_MODE", "PYTHONUNBUFFERED", "CONFIG_FILE_PATH"}


def lost(seen: Standing, wanted: Wanted, variable: str) -> Iterator[str]:
    """What the program was started with, and is not by ours."""
    one = seen.service
    if not one.is_strange:
        return
    stays = settings(*map(_data, one.managed.drop_ins))
    names = seen.unit.literals - stays.literals.keys() - _OURS - {variable}
    paths = [each.path for each in seen.unit.environment_files if each.path not in stays.env_files]
    ours = [Path(path) for path in wanted.env_files]
    more = f"(a drop-in can: systemctl --{wanted.scope} edit {wanted.name})"
    if names:
        yield f"no longer set: {', '.join(sorted(names))}  {more}"
    if gone := [path for path in paths if not is_one_of(Path(path), ours)]:
        yield f"no longer read: {', '.join(gone)}  {more}"
    text = one.seen.data if one.seen else _data(one.elsewhere)
    folder = settings(text).folder.removeprefix("-")
    if folder and not stays.folder and folder.rstrip("/") != wanted.project:
        yield f"started in {wanted.project}, no longer in {folder}"


def revived(
    one: One, ours: Sequence[str], variable: str, present: Callable[[], Secret | None]
) -> Iterator[tuple[str, str]]:
    """Why the former unit must not come back, if it must not: it would start the gateway with another key than the
    present one, a dead one or one that had leaked."""
    if (found := one.former) is None or one.kept is None:
        return
    data, was = found
    text = _data(was.elsewhere) if was.elsewhere else data
    where, value = _started_with(text, was, one.managed.drop_ins, variable)
    if not where or is_one_of(Path(where), [Path(path) for path in ours]):  # ours starts with what that file holds
        return
    now = present()
    if now is not None and value is not None and is_same(now, value):
        return
    is_told = now is not None and value is not None
    which = "which is not the present one" if is_told else "and whether that is the present one cannot be told"
    why = f"cannot bring back the former {one.name}: it has its {variable} from {where}, {which}"
    yield why, f"rm {shlex.quote(str(one.kept.path))}  (then it is neither brought back nor started), and again"


def _started_with(data: bytes, was: Former, drop_ins: Sequence[str], variable: str) -> tuple[str, bytes | None]:
    """From where it would have the variable, and what is there; None where that cannot be read, "" from nowhere."""
    said = settings(data, *map(_data, drop_ins))
    for path in reversed([path for each in was.env_files for path in sorted(glob(each)) or [each]]):
        if not files.exists(Path(path)):
            continue
        try:
            found = dotenv.values(files.look(Path(path)).data)
        except (PlaceError, ValueError):  # readers differ in it
            return path, None
        if variable in found:
            return path, found[variable]
    if variable in said.literals:
        return "its own text", said.literals[variable]
    return "", None


def _data(path: str) -> bytes:
    """A unit's text or a drop-in's; nothing of one that is not there, or that we may not read."""
    try:
        return files.look(Path(path)).data if path else b""
    except PlaceError:
        return b""
