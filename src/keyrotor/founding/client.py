"""DROID's entry for the gateway: in the project's settings by reference, where no settings of droid's have one.

droid expands `${…}` in `apiKey` of a settings file, and writes the user's own one back with the
value in it, but never a project's; it ignores a file with a trailing comma or a BOM. A literal in a user's file is
kept, for the playbook's `client-file` places move it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from keyrotor.boundary.plaintext import is_same
from keyrotor.core.founding import MASTER, State, Step, Thing
from keyrotor.errors import FormatError, PlaceError, RefusedError
from keyrotor.formats import catalogue, json
from keyrotor.founding.ground import Ground
from keyrotor.secret import Secret
from keyrotor.texts import difference
from keyrotor.texts import gateway as texts

COVERED = ".factory/settings.json"  # below the home: the shipped playbook has it
_USERS = (COVERED, ".factory/settings.local.json", ".factory/config.json")
_PROJECTS = (".factory/settings.json", ".factory/settings.local.json", ".factory/config.json")
_REFERENCE = re.compile(rb"\$\{\w+\}|\$\w+|env:\w+|os\.environ/\w+")
_LOOPBACK = ("localhost", "127.0.0.1", "::1", "0.0.0.0")  # noqa: S104  an address is read, not listened on


@dataclass(frozen=True, slots=True)
class Entry:
    """A custom model of droid's that goes to the gateway."""

    path: Path
    is_literal: bool
    is_present: bool  # it holds the present key, or refers to it


def entries(ground: Ground, url: str, present: Mapping[str, Secret]) -> list[Entry]:
    """Every one in droid's files, the project's first; a file that is not readable as JSON has none, as for droid."""
    paths = [*(ground.folder / name for name in _PROJECTS), *(ground.home / name for name in _USERS)]
    return [entry for path in dict.fromkeys(paths) for entry in _of(ground, path, url, present)]


def _of(ground: Ground, path: Path, url: str, present: Mapping[str, Secret]) -> Iterator[Entry]:
    try:
        leaves = json.read(ground.read(path) or b"{}")
    except (PlaceError, RefusedError):
        return
    addresses = {leaf.path.rpartition(".")[0] for leaf in leaves if _is_address(leaf.key, leaf.text, url)}
    for leaf in leaves:
        if leaf.key in ("apiKey", "api_key") and leaf.path.rpartition(".")[0] in addresses:
            is_literal = _REFERENCE.search(leaf.text) is None
            is_present = not is_literal or (MASTER in present and is_same(present[MASTER], leaf.text))
            yield Entry(path, is_literal, is_present)


def _is_address(key: str, text: bytes, url: str) -> bool:
    return key in ("baseUrl", "base_url") and _door(text.decode(errors="replace")) == _door(url)


def _door(url: str) -> tuple[str, int | None] | None:
    """Host and port, loopback by one name."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return None
    host = (parts.hostname or "").lower()
    return ("loopback" if host in _LOOPBACK else host, port) if host else None


def uncovered(ground: Ground, found: Sequence[Entry]) -> list[Path]:
    """The files with a literal that the shipped playbook does not name."""
    literal = [entry.path for entry in found if entry.is_literal]
    return [path for path in dict.fromkeys(literal) if path != ground.home / COVERED]


def step(ground: Ground, url: str, config: Path, found: Sequence[Entry], name: str) -> Step:
    """DROID's entry."""
    path = ground.folder / _PROJECTS[0]
    stale = [entry.path for entry in found if not entry.is_present]
    if stale:
        said = "its key for this gateway is not the encrypted file's; left as it is"
        return Step(Thing("droid", ground.typed(stale[0]), State.DIFFERS, said, f"keyrotor audit {name}"))
    if found:
        said = "has an entry for this gateway" + (", with a literal that a rotation moves" * found[0].is_literal)
        return Step(Thing("droid", ground.typed(found[0].path), State.KEEP, said))
    model = _model(ground, config)
    if not model:
        said = "the gateway's config names no model that could be entered"
        return Step(Thing("droid", ground.typed(path), State.BY_HAND, said))
    text = texts.droid(url, MASTER, model)
    if ground.exists(path):
        said = "it has no entry for this gateway"
        return Step(Thing("droid", ground.typed(path), State.DIFFERS, said, diff=difference.added(text.splitlines())))
    return ground.new_file("droid", path, text, f"DROID's entry for the model {model}")


def _model(ground: Ground, config: Path) -> str:
    """The first model of the catalogue that a client can name; the sample's where there is none yet."""
    data = ground.read(config)
    if data is None:
        return texts.MODEL
    try:
        models = catalogue.read(catalogue.parsed(data)).models
    except FormatError:
        return ""
    return next((model.name for model in models if "*" not in model.name), "")
