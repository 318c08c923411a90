"""A playbook's timer, put together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keyrotor.boundary.unit_folder import UnitFolder
from keyrotor.core.model import Playbook, Row
from keyrotor.core.timing import Wish
from keyrotor.units.timer import TimerUnits
from keyrotor.units.timer_installed import InstalledTimer, all_installed
from keyrotor.units.timer_wanting import wanted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keyrotor.world.parts import Parts


def timing(parts: Parts, book: Playbook, rows: Sequence[Row], wish: Wish) -> TimerUnits:
    """The three units. Raises PlaceError."""
    systemd = parts.manager(wish.scope)
    folder = UnitFolder(systemd.unit_folder())
    made, wakes, troubles, notes = wanted(book, rows, wish, folder, parts.env, parts.folder)
    there = InstalledTimer(made, folder, systemd)
    return TimerUnits(made, wakes, wish, there, parts.state / "units", troubles, notes)


def installed(parts: Parts, wish: Wish) -> list[InstalledTimer]:
    """Those that are there, whatever became of their playbooks. Raises PlaceError."""
    systemd = parts.manager(wish.scope)
    return all_installed(wish.scope, UnitFolder(systemd.unit_folder()), systemd)
