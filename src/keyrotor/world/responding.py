"""The deeds of an incident, put together for a playbook: each is done at every gateway that it has."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from keyrotor.core import plan
from keyrotor.core.model import Act, Playbook, Row
from keyrotor.core.response import Contained, Exposure, Frozen, Lifted, Proof, Reached
from keyrotor.deeds.containing import Containing
from keyrotor.deeds.exposure import Exposing
from keyrotor.deeds.freezing import Freezing, Of
from keyrotor.deeds.proving import Proving
from keyrotor.deeds.reach import Reaching
from keyrotor.deeds.unmanaged import Unmanaged
from keyrotor.errors import PlaceError
from keyrotor.looks import catalogues
from keyrotor.secret import Secret
from keyrotor.units.wanting import full_name

if TYPE_CHECKING:
    from keyrotor.world import RealWorld


@dataclass(frozen=True, slots=True)
class Gateway:
    """One gateway's own deeds."""

    containing: Containing | Unmanaged
    proving: Proving
    exposing: Exposing
    reaching: Reaching


@dataclass(frozen=True, slots=True)
class Deeds:
    """Those of a playbook; with several gateways their facts are told as one."""

    playbook: str
    freezing: Freezing
    gateways: Sequence[Gateway]

    def freeze(self, folder: Path, since: datetime, logs: Sequence[Path]) -> Frozen:
        return self.freezing.freeze(folder, since, logs)

    def contain(self, how: str) -> Contained:
        found = [each.containing.contain(how) for each in self.gateways]
        first, *others = found or [Unmanaged(self.playbook, "").contain(how)]
        for each in others:
            first = replace(
                first,
                unit=_joined(first.unit, each.unit),
                listened=(*first.listened, *each.listened),
                listens=(*first.listens, *each.listens),
                restarts=first.restarts or each.restarts,
                said=_joined(first.said, each.said),
            )
        return first

    def lift(self) -> Lifted:
        found = [each.containing.lift() for each in self.gateways]
        first, *others = found or [Unmanaged(self.playbook, "").lift()]
        for each in others:
            listens, said = (*first.listens, *each.listens), _joined(first.said, each.said)
            first = replace(first, unit=_joined(first.unit, each.unit), listens=listens, said=said)
        return first

    def prove(
        self, old: Secret, new: Secret, since: datetime, within: float, told: Callable[[int, int], None]
    ) -> Proof:
        found = [each.proving.prove(old, new, since, within, told) for each in self.gateways]
        if not found:
            raise PlaceError(f"cannot prove anything for {self.playbook}: its playbook has no gateway")
        return Proof(
            tuple(row for each in found for row in each.listeners),
            began=found[0].began,
            ended=found[-1].ended,
            is_dead=all(each.is_dead for each in found),
            said="; ".join(each.said for each in found if each.said),
        )

    def exposure(self, new: Secret, since: str, until: str) -> Exposure:
        found = [each.exposing.exposure(new, since, until) for each in self.gateways]
        first, *others = found or [Exposing(self.playbook, "", lambda _: None).exposure(new, since, until)]
        for each in others:
            first = replace(
                first,
                is_known=first.is_known and each.is_known,
                why=_joined(first.why, each.why),
                made=tuple(dict.fromkeys((*first.made, *each.made))),
                used=_joined(first.used, each.used),
            )
        return first

    def reach(self, values: Mapping[str, Secret]) -> Sequence[Reached]:
        return [reached for each in self.gateways for reached in each.reaching.reach(values)]


def responder(world: RealWorld, book: Playbook, rows: Sequence[Row], values: Mapping[str, Secret] | None) -> Deeds:
    """Raises PlaceError, RefusedError."""
    doors = [row for row in rows if row.act is Act.ADMIT]
    units = {row.id: row for row in rows if row.kind == "systemd-unit"}
    whose = {door.id: plan.unit_of(rows, door) for door in doors}
    gateways = [_gateway(world, book, whose[door.id], door) for door in doors]
    answered = {unit.id for unit in whose.values() if unit}
    gateways += [_gateway(world, book, unit, None) for unit in units.values() if unit.id not in answered]
    of = [Of(row.place, full_name(row), world.manager(row.options["scope"])) for row in units.values()]
    secrets = None if values is None else list(values.values())
    git = world.repository(Path(book.source.file))
    return Deeds(book.name, Freezing(book.name, book.source, rows, of, git, secrets), gateways)


def _gateway(world: RealWorld, book: Playbook, unit: Row | None, door: Row | None) -> Gateway:
    url = door.options["url"] if door else ""
    variable, config = book.source.key, Path(door.options["config"]) if door and door.options["config"] else None
    is_managed = unit is not None and unit.kind == "systemd-unit"
    name, systemd, within = "", None, door.within if door else 0.0
    containing: Containing | Unmanaged = Unmanaged(book.name, url)
    if unit is not None and is_managed:
        name, systemd = full_name(unit), world.manager(unit.options["scope"])
        variable, within = unit.options["variable"] or variable, within or unit.within
        containing = Containing(book.name, name, url, variable, within, systemd, world.stop.rest)

    def pid() -> int:
        try:
            return systemd.show(name).pid if systemd else 0
        except PlaceError:
            return 0

    return Gateway(
        containing,
        Proving(name, url, systemd, world.http, world.stop.rest, world.now),
        Exposing(book.name, url, world.stop.rest),
        Reaching(book.name, config, variable, pid, catalogues.read),
    )


def _joined(*said: str) -> str:
    return "; ".join(dict.fromkeys(filter(None, said)))
