"""The deeds of an incident, put together for a playbook: each is done at every gateway that it has."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from keyrotor.boundary import listeners
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
from keyrotor.units.movable import Movable
from keyrotor.units.wanting import full_name

if TYPE_CHECKING:
    from keyrotor.world import RealWorld

_Fact = TypeVar("_Fact")


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
    now: Callable[[], datetime]

    def freeze(self, folder: Path, since: datetime, logs: Sequence[Path]) -> Frozen:
        return self.freezing.freeze(folder, since, logs)

    def contain(self, how: str) -> Contained:
        found, faults = _each(self.gateways, lambda gateway: gateway.containing.contain(how))
        if faults and not found:
            raise _as_one(faults)
        first, *others = found or [Unmanaged(self.playbook, "").contain(how)]
        for each in others:
            first = replace(
                first,
                unit=_joined(first.unit, each.unit),
                listened=tuple(dict.fromkeys((*first.listened, *each.listened))),
                listens=tuple(dict.fromkeys((*first.listens, *each.listens))),
                doors={**first.doors, **each.doors},
                restarts=first.restarts or each.restarts,
                said=_joined(first.said, each.said),
            )
        return replace(first, missed=str(_as_one(faults)), hint=_as_one(faults).hint) if faults else first

    def lift(self) -> Lifted:
        found, faults = _each(self.gateways, lambda gateway: gateway.containing.lift())
        if faults:
            raise _as_one(faults)
        first, *others = found or [Unmanaged(self.playbook, "").lift()]
        for each in others:
            listens, said = (*first.listens, *each.listens), _joined(first.said, each.said)
            first = replace(first, unit=_joined(first.unit, each.unit), listens=listens, said=said)
        return first

    def prove(
        self, old: Secret, new: Callable[[], Secret], since: datetime, within: float, told: Callable[[int, int], None]
    ) -> Proof:
        if not self.gateways:
            now = self.now().isoformat()
            return Proof((), now, now, is_dead=False, said="it has no gateway: there is nobody to ask", is_moot=True)
        found = [each.proving.prove(old, new, since, within, told) for each in self.gateways]
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
    git = world.repository(Path(book.source.file))
    return Deeds(book.name, Freezing(book.name, book.source, rows, of, git, values), gateways, world.now)


def _gateway(world: RealWorld, book: Playbook, unit: Row | None, door: Row | None) -> Gateway:
    url = door.options["url"] if door else ""
    variable, config = book.source.key, Path(door.options["config"]) if door and door.options["config"] else None
    is_managed = unit is not None and unit.kind == "systemd-unit"
    name, systemd, within = "", None, door.within if door else 0.0
    containing: Containing | Unmanaged = Unmanaged(book.name, url)
    if unit is not None and is_managed:
        name, systemd = full_name(unit), world.manager(unit.options["scope"])
        variable, within = unit.options["variable"] or variable, within or unit.within
        place = door.place if door else ""
        containing = Containing(book.name, place, url, Movable(name, variable, within, systemd, world.stop.rest))

    def pid() -> int:
        try:
            return systemd.show(name).pid if systemd else 0
        except PlaceError:
            return 0

    def stranger(at: str) -> str:
        try:
            return listeners.stranger(systemd, systemd.show(name), at) if systemd else ""
        except PlaceError as error:
            return str(error)

    return Gateway(
        containing,
        Proving(name, url, systemd, world.http, world.stop.rest, world.now),
        Exposing(book.name, url, world.stop.rest, stranger),
        Reaching(book.name, config, variable, pid, catalogues.read),
    )


def _each(gateways: Sequence[Gateway], deed: Callable[[Gateway], _Fact]) -> tuple[list[_Fact], list[PlaceError]]:
    """Do it at every gateway, whatever becomes of it at another; and why it could not be done."""
    found, faults = [], []
    for each in gateways:
        try:
            found.append(deed(each))
        except PlaceError as error:
            faults.append(error)
    return found, faults


def _as_one(faults: Sequence[PlaceError]) -> PlaceError:
    hint = next((each.hint for each in faults if each.hint), "")
    return PlaceError("; ".join(dict.fromkeys(map(str, faults))), hint=hint)


def _joined(*said: str) -> str:
    return "; ".join(dict.fromkeys(filter(None, said)))
