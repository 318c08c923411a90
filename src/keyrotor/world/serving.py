"""The gateway's units, put together for a playbook."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from keyrotor.boundary import files
from keyrotor.boundary.unit_folder import UnitFolder
from keyrotor.core.model import Playbook, Row
from keyrotor.core.serving import Wish
from keyrotor.units.gateway import GatewayUnits
from keyrotor.units.wanting import as_installed, wanted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keyrotor.world.parts import Parts


def service(parts: Parts, book: Playbook, unit: Row, door: Row, env_files: Sequence[Row], wish: Wish) -> GatewayUnits:
    """The two units. Raises RefusedError, PlaceError."""
    systemd = parts.manager(unit.options["scope"])
    folder = UnitFolder(systemd.unit_folder())
    wish = as_installed(wish, unit, folder)
    variable = unit.options["variable"] or book.source.key
    named = replace(unit, options={**unit.options, "variable": variable})
    asked = [(Path(row.options["path"]), row.optional) for row in env_files]
    paths = [path for path, is_optional in asked if not is_optional or files.exists(path)]
    made, troubles = wanted(named, door, paths, book.source.project, wish, folder, parts.env, parts.folder)
    return GatewayUnits(made, door.options["url"], variable, wish, folder, parts.state / "units", systemd, troubles)
