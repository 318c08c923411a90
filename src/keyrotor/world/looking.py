"""What is looked at and not touched, put together for `audit`, `doctor` and `healthcheck`.

Imported only by a command that looks; what `doctor` and `healthcheck` alone look at, by these alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from keyrotor.boundary.sops import Sops
from keyrotor.boundary.systemd import timer_names
from keyrotor.core import plan
from keyrotor.core.checkup import Check, Examined, Line
from keyrotor.core.model import Act, Playbook, Row, Source
from keyrotor.looks import encrypted_file, holders, holding_files, host, record, value
from keyrotor.looks.gateway import Gateway
from keyrotor.looks.unit import UnitFile
from keyrotor.ports import Look, Place, Wanted
from keyrotor.secret import Secret
from keyrotor.world.parts import Parts, env_files


def looks(parts: Parts, book: Playbook, rows: Sequence[Row], places: Mapping[str, Place]) -> Sequence[Look]:
    """Everything that an audit of this playbook looks at; a door is asked by its own look."""
    source, git = book.source, parts.repository(Path(book.source.file))
    on_disk = [row for row in rows if row.kind in ("env-file", "client-file")]
    units = [row for row in rows if row.act is Act.RESTART]
    scope = units[0].options["scope"] if units else "user"
    return [
        record.Record(parts.state),
        value.Value(),
        encrypted_file.EncryptedFile(Path(source.file), Path(source.project), git),
        holders.Holders([row for row in rows if not row.act.is_proof and row.kind != "sops-file"], places),
        holding_files.HoldingFiles(on_disk, places, git),
        *(_unit_file(parts, row, on_disk, source) for row in units),
        *(_gateway(parts, row, rows, source) for row in rows if row.act is Act.ADMIT),
        host.Host(scope, parts.manager(scope)),
    ]


def checks(
    parts: Parts, book: Playbook | None, rows: Sequence[Row], read: Callable[[Source], object], now: datetime
) -> Iterator[Check]:
    """Everything that a doctor looks at."""
    from keyrotor.looks import environment
    from keyrotor.looks.keeping import Keeping
    from keyrotor.looks.opening import Opening
    from keyrotor.looks.programs import Bus, Programs

    source = book.source if book else None
    file = Path(source.file) if source else None
    folders = [Path(row.options["path"]).parent for row in rows if row.options.get("path")]
    units: dict[str, list[str]] = {}
    for row in rows:
        if row.act is Act.RESTART:
            units.setdefault(row.options["scope"], []).append(row.options["unit"])
    yield from Programs(Sops(parts.processes, parts.env), parts.processes, parts.env, file).checks()
    if source:
        yield from Opening(source, parts.env, lambda: read(source)).checks()
    for scope, names in (units or {"user": []}).items():
        is_needed = bool(units) or book is None
        yield from Bus(scope, names, is_needed, parts.manager(scope), parts.processes, parts.env).checks()
    folders += [file.parent] if file else []
    yield from Keeping(parts.state, source, folders, now, parts.processes, parts.env).checks()
    yield from environment.Environment(parts.env).checks()


def health(
    parts: Parts, book: Playbook, values: Mapping[str, Secret] | None, wanted: Wanted, told: Callable[[int, int], None]
) -> Sequence[Line]:
    """A line for each thing that a healthcheck asks."""
    from keyrotor.looks import backends, door, health, redis_ping

    rows, source = plan.rows(book), book.source
    doors = {row.place: parts.door(row, rows, source) for row in rows if row.act is Act.ADMIT}
    pids = [unit.pid for each in doors.values() if (unit := each.unit())]
    configs = [each.config for each in doors.values() if each.config]
    items: list[health.Ask | Line] = []
    for place, each in doors.items():
        shows = each.behind.systemd.command("status", each.behind.name) if each.behind else []
        items.append(door.door(place, each.url, each.unit(), shows, (values or {}).get(source.key)))
    items += redis_ping.asks(wanted, values, Path(source.file))
    items += backends.asks(wanted, configs, source, values, pids, parts.env)
    return health.asked(items, wanted.within, parts.stop.rest, told)


def as_timer(parts: Parts, scope: str, playbook: str, path: str) -> Examined:
    from keyrotor.looks.as_timer import AsTimer

    service = timer_names(playbook)[2]
    return AsTimer(scope, service, parts.processes, parts.env, parts.folder).examined(path)


def _unit_file(parts: Parts, row: Row, on_disk: Sequence[Row], source: Source) -> Look:
    scope, variable = row.options["scope"], row.options["variable"] or source.key
    return UnitFile(row.options["unit"], scope, variable, env_files(on_disk), parts.manager(scope))


def _gateway(parts: Parts, row: Row, rows: Sequence[Row], source: Source) -> Look:
    door = parts.door(row, rows, source)
    name, systemd = (door.behind.name, door.behind.systemd) if door.behind else ("", None)
    clients = {each.id: each.label for each in rows if each.kind == "client-file"}
    return Gateway(door.url, door.variable, door.config, name, systemd, clients, parts.http)
