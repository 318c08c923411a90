"""The places that are files of clients, and what is left to a person."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from keyrotor.boundary.reload import Reload
from keyrotor.core import clients, plan
from keyrotor.core.model import Row, Source
from keyrotor.places.by_hand import ByHand
from keyrotor.places.client_file import ClientFile, Known, format_of
from keyrotor.places.direnv import Direnv
from keyrotor.ports import Place

if TYPE_CHECKING:
    from keyrotor.world.parts import Parts


def place(parts: Parts, row: Row, rows: Sequence[Row], source: Source) -> Place:
    """The place of a row whose kind is one of these. Raises PlaybookError for one that cannot be built."""
    option, project = row.options, Path(source.project)
    if row.kind in plan.BY_HAND:
        return ByHand(option["task"] or clients.OPAQUE[row.kind])
    path = Path(option["path"])
    if row.kind == "direnv":
        return Direnv(path, source.key, _dotenv_files(rows), parts.env)
    known = Known(
        option.get("at", ()),
        option.get("beside", ""),
        option.get("gateways", ()),
        option.get("names", ()),
        option.get("resolves"),
        option.get("heal", ""),
        option.get("todo", ""),
        is_own=clients.is_own(row.kind, option.get("at", ())),
        is_implied=option.get("implied", False),
        heals=option.get("heals", False),
    )
    argv = option.get("reload", ())
    reload = Reload(argv, row.id, row.within, parts.processes, parts.env, project) if argv else None
    raw, in_place = option.get("raw", False), option.get("in_place", False)
    return ClientFile(path, source.key, format_of(path, option["format"]), known, raw, in_place, reload)


def _dotenv_files(rows: Sequence[Row]) -> list[Path]:
    """The files that we write and that a shell may load, the env files first."""
    own = [row for row in rows if row.kind == "env-file"]
    theirs = [row for row in rows if row.options.get("format") == "dotenv"]
    return [Path(row.options["path"]) for row in (*own, *theirs)]
