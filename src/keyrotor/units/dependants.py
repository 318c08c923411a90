"""What goes down with a unit: systemd stops who needs it, and a start of the unit does not bring them back.

Rules:
1. Only who runs is remembered, and only that is started again; what could not be started is told, and fails nothing.
2. Who would start the unit meanwhile is found, too: the sockets, paths and timers of whoever needs it, for their start
   pulls the unit up (measured on systemd 252: a connection to the socket of a proxy that requires the gateway does).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from keyrotor.boundary.systemd import Systemd
from keyrotor.errors import PlaceError

# Those to whom a stop goes on, by systemd's own table (unit_dependency_to_atom, PROPAGATE_STOP).
_STOPPED_WITH = ("RequiredBy", "RequisiteOf", "BoundBy", "ConsistsOf", "PropagatesStopTo")
_RUNS = ("active", "activating", "reloading")


@dataclass(frozen=True, slots=True)
class Dependants:
    """Those of a unit and its sockets."""

    running: tuple[str, ...]  # who runs, and is stopped with it; the nearest first
    wakers: tuple[str, ...]  # who waits to start it, or one of those


def found(systemd: Systemd, names: Sequence[str]) -> Dependants:
    """Those of these units, which are none of them. Raises PlaceError."""
    needing, wakers = list(dict.fromkeys(names)), []
    for name in needing:
        told = dict(
            line.partition("=")[::2] for line in systemd.told(name, [*_STOPPED_WITH, "TriggeredBy"]).split("\n")
        )
        needing += [each for each in dict.fromkeys(_listed(told, _STOPPED_WITH)) if each not in needing]
        wakers += _listed(told, ["TriggeredBy"])
    others = [name for name in needing if name not in names]
    woken_by = [name for name in dict.fromkeys(wakers) if name not in needing]
    return Dependants(_running(systemd, others), _running(systemd, woken_by))


def started(systemd: Systemd, names: Sequence[str], within: float) -> str:
    """Start those that are down; what came of it, as the end of a sentence. Raises PlaceError."""
    running = _running(systemd, names)
    back, missed = [], []
    # A socket does not start while its service runs.
    for name in sorted((each for each in names if each not in running), key=lambda each: not each.endswith(".socket")):
        systemd.reset_failed(name)
        try:
            systemd.do("start", name, within=within)
            back.append(name)
        except PlaceError as error:
            missed.append(f"{name} ({error})")
    failed = [each.name for each in systemd.managed(back) if each.active == "failed"] if back else []
    said = f"; started again: {', '.join(each for each in back if each not in failed)}" if back != failed else ""
    missed += [f"{name} (it has failed)" for name in failed]
    return f"{said}; not started again: {', '.join(missed)}" if missed else said


def _listed(told: dict[str, str], properties: Iterable[str]) -> list[str]:
    return [name for each in properties for name in told.get(each, "").split()]


def _running(systemd: Systemd, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(each.name for each in systemd.managed(names) if each.active in _RUNS) if names else ()
