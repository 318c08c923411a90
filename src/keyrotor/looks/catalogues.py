"""The gateway's catalogues as they stand: each read once, with what it includes, and what is wrong in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from keyrotor.boundary import files
from keyrotor.core.checkup import Line, State
from keyrotor.errors import PlaceError
from keyrotor.formats import catalogue, fallbacks
from keyrotor.formats.catalogue import Catalogue

APPLIED = "litellm-hybrid.yaml.applied"  # the profile that stands beside the catalogue while it is in force


def read(another: Path | None, configs: Sequence[Path | None]) -> tuple[list[Line], list[list[Catalogue]]]:
    """A line for each file and each fault in it; then what there is of each gateway's, in the order of their configs.

    `another` is read in the stead of all. It is the gateway's whose config it is, or the only one's; else it is
    nobody's, and stands behind those of all gateways.
    """
    files_of = [[] if config is None else [config, *_applied(config)] for config in configs]
    if another is not None:
        at = _whose(another, configs)
        files_of = [[another] if at == number else [] for number in range(len(configs) + 1)]
    lines: list[Line] = []
    once: dict[Path, Catalogue | None] = {}
    for paths in files_of:
        for path in paths:
            if path not in once:
                once[path], told = _read(path, once.get(paths[0]), is_main=path == paths[0])
                lines += told
    return lines, [[found for path in paths if (found := once[path])] for paths in files_of]


def _whose(another: Path, configs: Sequence[Path | None]) -> int:
    """The number of the gateway that a named catalogue is for; behind the last if that cannot be told."""
    same = [at for at, config in enumerate(configs) if config is not None and config.resolve() == another.resolve()]
    if len(configs) == 1:
        return 0
    return same[0] if len(same) == 1 else len(configs)


def _applied(path: Path) -> list[Path]:
    """The profile in force; one that leads nowhere is there too, and cannot be read."""
    beside = path.with_name(APPLIED)
    return [beside] if beside.is_symlink() or files.exists(beside) else []


def _read(path: Path, main: Catalogue | None, *, is_main: bool) -> tuple[Catalogue | None, list[Line]]:
    try:
        found = catalogue.read(_whole(path))
    except PlaceError as error:
        why = str(error) if str(path) in str(error) else f"cannot read {path}: {error}"
        return None, [Line("catalogue", State.ILL, why)]
    return found, list(_judged(path, found, found.names or (main.names if main else frozenset()), is_main))


def _whole(path: Path) -> dict[str, Any]:
    """The file with all that it includes, each once, as LiteLLM takes them in. Raises PlaceError."""
    tree, taken = catalogue.parsed(files.look(path).data), {path.resolve()}
    pending = [(entry, path) for entry in catalogue.includes(tree)]
    while pending:
        entry, named_in = pending.pop(0)
        other = named_in.parent / entry
        if not files.exists(other) and files.exists(path.parent / entry):
            other = path.parent / entry
        if other.resolve() in taken:
            continue
        taken.add(other.resolve())
        try:
            added = catalogue.parsed(files.look(other).data)
        except PlaceError as error:
            raise PlaceError(f"cannot read {other}: {error}") from None if str(other) not in str(error) else error
        pending += [(each, other) for each in catalogue.includes(added)]
        tree = catalogue.merged(tree, added)
    return tree


def _judged(path: Path, found: Catalogue, names: frozenset[str], is_main: bool) -> Iterator[Line]:
    """What the file itself says; `names`: all that its fallbacks may name."""
    faults = [*found.faults, *fallbacks.told(found.chains, names)]
    if is_main and not found.models and not faults and not found.may_have_more:
        faults = ["it offers no model: its model_list is empty"]
    yield from (Line(path.name, State.ILL, fault) for fault in faults)
    if faults:
        return
    count = len(found.chains)
    chains = f"{count} fallbacks, each to a name that is there, no loop" if count else "no fallbacks"
    if is_main and not found.models:
        yield Line(path.name, State.UNKNOWN, f"no models but those in the gateway's database; {chains}")
    else:
        yield Line(path.name, State.WELL, f"{len(found.models)} models; {chains}")
