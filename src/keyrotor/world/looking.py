"""What is looked at and not touched, put together for `audit`, `doctor` and `healthcheck`.

Imported only by a command that looks; what `doctor` and `healthcheck` alone look at, by these alone.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache, partial
from pathlib import Path

from keyrotor import playbook, preflight
from keyrotor.boundary import files, generate, proc
from keyrotor.boundary.sops import Sops
from keyrotor.boundary.systemd import timer_names
from keyrotor.core import clients, plan
from keyrotor.core.checkup import Check, Examined, Line, State
from keyrotor.core.model import Act, Playbook, Row, Source, Value
from keyrotor.errors import PlaceError, PlaybookError
from keyrotor.looks import client_files, encrypted_file, holders, holding_files, host, record, value
from keyrotor.looks.gateway import Gateway
from keyrotor.looks.unit import UnitFile
from keyrotor.ports import Look, Place, Wanted
from keyrotor.secret import Pair, Secret
from keyrotor.world.parts import Parts, env_files

_STANDS: Mapping[Act, str] = {
    Act.FILE: "holds the present value, and can be written",
    Act.COMMAND: "can be run",
    Act.STORE: "can be asked",
    Act.RESTART: "can be restarted",
    Act.ADMIT: "accepts the present value, and no other",
}


def looks(parts: Parts, book: Playbook, rows: Sequence[Row], places: Mapping[str, Place]) -> Sequence[Look]:
    """Everything that an audit of this playbook looks at; a door is asked by its own look."""
    source, git = book.source, parts.repository(Path(book.source.file))
    on_disk = [row for row in rows if row.kind == "env-file" or clients.is_client(row.kind)]
    units = [row for row in rows if row.act is Act.RESTART]
    scope = units[0].options["scope"] if units else "user"
    return [
        record.Record(parts.state),
        value.Value(),
        encrypted_file.EncryptedFile(Path(source.file), Path(source.project), git, partial(_in_use, parts, source)),
        holders.Holders([row for row in rows if not row.act.is_proof and row.kind != "sops-file"], places),
        holding_files.HoldingFiles(on_disk, places, git),
        client_files.ClientFiles(on_disk, places, git),
        *(_unit_file(parts, row, on_disk, source) for row in units),
        *(_gateway(parts, row, rows, source) for row in rows if row.act is Act.ADMIT),
        host.Host(scope, parts.manager(scope)),
    ]


def _in_use(parts: Parts, source: Source) -> Iterator[Path]:
    """The files that the project's playbooks keep; one with an error in it tells of none."""
    for path in sorted((Path(source.project) / "playbooks").glob("*.toml")):
        try:
            places = playbook.load(path, parts.env).places
        except PlaybookError:
            continue
        yield from (Path(each.options["path"]) for each in places if each.options.get("path"))


def checks(
    parts: Parts,
    book: Playbook | None,
    rows: Sequence[Row],
    read: Callable[[Source], tuple[bytes, dict[str, Secret]]],
    now: datetime,
) -> Iterator[Check]:
    """Everything that a doctor looks at."""
    from keyrotor.looks import environment
    from keyrotor.looks.keeping import Keeping
    from keyrotor.looks.opening import Opening
    from keyrotor.looks.programs import Bus, Programs

    rows = [row for row in rows if not row.options.get("implied") or files.exists(Path(row.options["path"]))]
    source = book.source if book else None
    opened = cache(read)  # the identity line decrypts, and the places are looked at with what it read
    file = Path(source.file) if source else None
    folders = [Path(row.options["path"]).parent for row in rows if row.options.get("path")]
    units: dict[str, list[str]] = {}
    for row in rows:
        if row.act is Act.RESTART:
            units.setdefault(row.options["scope"], []).append(row.options["unit"])
    yield from Programs(Sops(parts.processes, parts.env), parts.processes, parts.env, file).checks()
    if source:
        yield from Opening(source, parts.env, lambda: opened(source)).checks()
    for scope, names in (units or {"user": []}).items():
        is_needed = bool(units) or book is None
        yield from Bus(scope, names, is_needed, parts.manager(scope), parts.processes, parts.env).checks()
    folders += [file.parent] if file else []
    yield from Keeping(parts.state, source, folders, now, parts.processes, parts.env).checks()
    yield from environment.Environment(parts.env).checks()
    if book:
        yield from _standing(parts, book, rows, opened)


def _standing(
    parts: Parts, book: Playbook, rows: Sequence[Row], opened: Callable[[Source], tuple[bytes, dict[str, Secret]]]
) -> Iterator[Check]:
    """A line for each place: what preflight says of it. The encrypted file has lines of its own."""

    @cache
    def built() -> tuple[Mapping[str, Place], Pair]:
        ciphertext, values = opened(book.source)
        pair = Pair.read(values, book.source.key, Secret(generate.bogus_key()))
        return parts.places(rows, book.source, {Value.OLD: ciphertext}, parts.state), pair

    for row in rows:
        if row.kind == "sops-file" or row.act is Act.RETIRE:  # a door's other row tells
            continue
        needs = ["identity", "owed", "disk"]
        unit = row if row.act is Act.RESTART else plan.unit_of(rows, row) if row.act is Act.ADMIT else None
        if unit and unit.act is Act.RESTART:
            needs += [f"systemd --{unit.options['scope']}", "unit"]
        look = partial(_stands, book, row, built)
        yield Check(f"place {_named(row)}", look, f"keyrotor plan {shlex.quote(book.name)}", tuple(needs))


def _named(row: Row) -> str:
    """The place, or which of its client's files it is."""
    return row.id if row.options.get("implied") else row.place


def _stands(book: Playbook, row: Row, built: Callable[[], tuple[Mapping[str, Place], Pair]]) -> Line | str:
    """What preflight says of the place. Raises PlaceError with every reason why it forbids a rotation."""
    if proc.lock_holder(Path(book.source.file).parent):
        return Line(f"place {_named(row)}", State.UNKNOWN, f"{row.label}: another run may be changing it now")
    places, pair = built()
    said = preflight.judged(row, places[row.id], pair, book)
    if said.reasons:
        raise PlaceError("; ".join(said.reasons), hint=preflight.mend(said.reasons, book))
    return f"{row.label} is left out: {said.why}" if said.why else f"{row.label} {_STANDS[row.act]}"


def health(
    parts: Parts, book: Playbook, values: Mapping[str, Secret] | None, wanted: Wanted, told: Callable[[int, int], None]
) -> Sequence[Line]:
    """A line for each thing that a healthcheck asks."""
    from keyrotor.looks import backends, catalogues, door, health, redis_ping

    until = time.monotonic() + wanted.within
    rows, source = plan.rows(book), book.source
    doors = {row.place: parts.door(row, rows, source) for row in rows if row.act is Act.ADMIT}
    items: list[health.Ask | Line] = []
    gateways: list[backends.Gateway] = []
    for place, each in doors.items():
        unit, shows = each.unit(), each.behind.systemd.command("status", each.behind.name) if each.behind else []
        is_sure = each.behind is None or unit is not None
        items.append(door.door(place, each.url, unit, shows, (values or {}).get(source.key), is_sure=is_sure))
        gateways.append(backends.Gateway(each.variable, unit.pid if unit else 0))
    items += redis_ping.asks(wanted, values, Path(source.file))
    if wanted.backends:
        lines, read = catalogues.read(wanted.catalogue, [each.config for each in doors.values()])
        items += lines
        offers = zip([*gateways, backends.Gateway("", 0)], read, strict=False)
        items += backends.asks(offers, source, values, parts.env)
    return health.asked(items, max(0.0, until - time.monotonic()), parts.stop.rest, told)


def as_timer(parts: Parts, scope: str, playbook: str, path: str) -> Examined:
    from keyrotor.looks.as_timer import AsTimer

    service = timer_names(playbook)[2]
    return AsTimer(scope, service, parts.processes, parts.env, parts.folder).examined(path)


def _unit_file(parts: Parts, row: Row, on_disk: Sequence[Row], source: Source) -> Look:
    scope, variable = row.options["scope"], row.options["variable"] or source.key
    return UnitFile(row.id, row.options["unit"], scope, variable, env_files(on_disk), parts.manager(scope))


def _gateway(parts: Parts, row: Row, rows: Sequence[Row], source: Source) -> Look:
    door = parts.door(row, rows, source)
    name, systemd = (door.behind.name, door.behind.systemd) if door.behind else ("", None)
    behind = {each.id: each.label for each in rows if clients.is_client(each.kind)}
    return Gateway(door.url, door.variable, door.config, name, systemd, behind, parts.http)
