"""The real world: the only place where boundaries, places and looks are put together. Looks are imported by need."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from keyrotor.boundary import files, generate, keychain, plaintext, writable
from keyrotor.boundary.git import Git
from keyrotor.boundary.http import Http
from keyrotor.boundary.process import Processes
from keyrotor.boundary.signals import Signals
from keyrotor.boundary.sops import Sops
from keyrotor.boundary.systemd import Systemd
from keyrotor.core import plan
from keyrotor.core.checkup import Check, Examined, Line
from keyrotor.core.model import Act, Playbook, Row, Source, Value
from keyrotor.errors import RefusedError, UsageError
from keyrotor.places.client_file import ClientFile, format_of
from keyrotor.places.command import Command
from keyrotor.places.env_file import EnvFile
from keyrotor.places.litellm import Behind, Litellm
from keyrotor.places.sops_file import Encrypted, SopsFile
from keyrotor.places.systemd_unit import SystemdUnit
from keyrotor.ports import Look, Place, Screen, Wanted
from keyrotor.secret import Pair, Secret
from keyrotor.session import KEPT


class RealWorld:
    """This machine, as this process sees it."""

    def __init__(self, env: Mapping[str, str], folder: Path, screen: Screen, stop: Signals) -> None:
        self.env = env
        self.folder = folder
        self.state = state_folder(env)
        self.screen = screen
        self.stop = stop
        self._meanwhile: list[Callable[[], None]] = []
        self._processes = Processes(self._rest)
        self._http = Http()
        self._managers: dict[str, Systemd] = {}

    def now(self) -> datetime:
        return datetime.now(UTC)

    def foresee(self, book: Playbook) -> None:
        self._meanwhile = [_load_looks]
        if any(place.kind == "litellm" for place in book.places):
            self._meanwhile.append(self._http.load)  # the longest comes first

    def _rest(self, seconds: float) -> None:
        """Waits for a child; or does what has to be done anyway, while there is nothing else to do."""
        if self._meanwhile:
            self._meanwhile.pop()()
        else:
            self.stop.rest(seconds)

    def inherit(self, lock: int) -> None:
        self._processes.lock = lock

    def read_secret(self, source: Source) -> tuple[bytes, dict[str, Secret]]:
        """The ciphertext of the live file and every value in it. Raises RefusedError, PlaceError."""
        encrypted = self._encrypted(source)
        if refusals := encrypted.refusals():
            raise RefusedError(refusals[0])
        encrypted.sops.want_version()
        ciphertext = files.look(encrypted.path).data
        values = encrypted.values()
        if files.look(encrypted.path).data != ciphertext:
            raise RefusedError(f"cannot read {encrypted.path}: somebody is writing it", hint="try again")
        return ciphertext, values

    def read_copy(self, source: Source, copy: Path) -> dict[str, Secret]:
        return self._encrypted(source).values_of(copy)

    def prepare(self, source: Source, ciphertext: bytes, pair: Pair, folder: Path) -> Mapping[Value, bytes]:
        """Make `before` and `after` durable in the run's folder."""
        files.make_folder(folder)
        files.create(folder / KEPT[Value.OLD], ciphertext)
        after = self._encrypted(source).prepared(ciphertext, pair, folder / "working.env")
        files.create(folder / KEPT[Value.NEW], after)
        files.remove(folder / "working.env")
        return {Value.OLD: ciphertext, Value.NEW: after}

    def keep(self, ciphertext: bytes, folder: Path) -> Mapping[Value, bytes]:
        files.make_folder(folder)
        files.create(folder / KEPT[Value.NEW], ciphertext)
        return {Value.NEW: ciphertext}

    def prepared(self, folder: Path, values: Iterable[Value]) -> Mapping[Value, bytes]:
        return {value: files.look(folder / KEPT[value]).data for value in values}

    def decoy(self) -> Secret:
        return Secret(generate.bogus_key())

    def generate(self, book: Playbook) -> tuple[Secret, str]:
        made = generate.new_value(generate.Recipe(**book.generate), self.now())
        return made.secret, made.public

    def run_id(self) -> str:
        return generate.new_run_id()

    def fingerprinter(self) -> tuple[str, Callable[[Secret], str]]:
        key = keychain.fingerprint_key(self.state, generate.new_key())
        return plaintext.key_name(key), lambda secret: plaintext.fingerprint(key, secret)

    def known_fingerprinter(self) -> tuple[str, Callable[[Secret], str]] | None:
        key = keychain.known_fingerprint_key(self.state)
        return None if key is None else (plaintext.key_name(key), lambda secret: plaintext.fingerprint(key, secret))

    def mask(self, secret: Secret, word: str) -> str:
        return plaintext.masked(secret, word)

    def salt(self) -> str:
        return generate.new_key().hex()

    def imprint(self, path: Path, salt: str) -> str:
        return files.digest(bytes.fromhex(salt) + files.look(path).data) if files.exists(path) else ""

    def save(self, path: Path, data: bytes, is_ours: Callable[[bytes], bool]) -> None:
        """Make a private file, or replace one that is ours by what is in it. Raises PlaceError, UsageError."""
        if not files.exists(path):
            files.create(path, data)
        elif is_ours(files.look(path).data):
            files.update(path, lambda _: data)
        else:
            raise UsageError(f"cannot write {path}: it is there already, and is no saved plan")

    def repository(self, file: Path) -> Git:
        return Git(self._processes, self.env, file)

    def is_telling(self, secret: Secret) -> bool:
        return plaintext.is_telling(secret)

    def are_same(self, one: Secret, other: Secret) -> bool:
        return plaintext.are_same(one, other)

    def record_refusals(self) -> list[str]:
        return writable.absent_refusals(self.state / "any")

    def publish(self, file: Path, data: bytes) -> None:
        files.publish(file, data)

    def digest(self, data: bytes) -> str:
        return files.digest(data)

    def places(
        self, rows: Sequence[Row], source: Source, prepared: Mapping[Value, bytes], folder: Path
    ) -> Mapping[str, Place]:
        """A place for each row. Raises PlaybookError for one that cannot be built."""
        return {row.id: self._place(row, rows, source, prepared, folder) for row in rows}

    def looks(self, book: Playbook, rows: Sequence[Row], places: Mapping[str, Place]) -> Sequence[Look]:
        """Everything that an audit of this playbook looks at; a door is asked by its own look."""
        from keyrotor.looks import encrypted_file, holders, holding_files, host, record, value

        source, git = book.source, self.repository(Path(book.source.file))
        on_disk = [row for row in rows if row.kind in ("env-file", "client-file")]
        units = [row for row in rows if row.act is Act.RESTART]
        scope = units[0].options["scope"] if units else "user"
        return [
            record.Record(self.state),
            value.Value(),
            encrypted_file.EncryptedFile(Path(source.file), Path(source.project), git),
            holders.Holders([row for row in rows if not row.act.is_proof and row.kind != "sops-file"], places),
            holding_files.HoldingFiles(on_disk, places, git),
            *(self._unit_file(row, on_disk, source) for row in units),
            *(self._gateway(row, rows, source) for row in rows if row.act is Act.ADMIT),
            host.Host(scope, self._manager(scope)),
        ]

    def checks(self, book: Playbook | None, rows: Sequence[Row]) -> Iterator[Check]:
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
        yield from Programs(Sops(self._processes, self.env), self._processes, self.env, file).checks()
        if source:
            yield from Opening(source, self.env, lambda: self.read_secret(source)).checks()
        for scope, names in (units or {"user": []}).items():
            is_needed = bool(units) or book is None
            yield from Bus(scope, names, is_needed, self._manager(scope), self._processes, self.env).checks()
        folders += [file.parent] if file else []
        yield from Keeping(self.state, source, folders, self.now(), self._processes, self.env).checks()
        yield from environment.Environment(self.env).checks()

    def health(
        self, book: Playbook, values: Mapping[str, Secret] | None, wanted: Wanted, told: Callable[[int, int], None]
    ) -> Sequence[Line]:
        """A line for each thing that a healthcheck asks."""
        from keyrotor.looks import backends, door, health, redis_ping

        rows, source = plan.rows(book), book.source
        doors = {row.place: self._litellm(row, rows, source) for row in rows if row.act is Act.ADMIT}
        pids = [unit.pid for each in doors.values() if (unit := each.unit())]
        configs = [each.config for each in doors.values() if each.config]
        items: list[health.Ask | Line] = []
        for place, each in doors.items():
            shows = each.behind.systemd.command("status", each.behind.name) if each.behind else []
            items.append(door.door(place, each.url, each.unit(), shows, (values or {}).get(source.key)))
        items += redis_ping.asks(wanted, values, Path(source.file))
        items += backends.asks(wanted, configs, source, values, pids, self.env)
        return health.asked(items, wanted.within, self.stop.rest, told)

    def variables(self) -> Mapping[str, str]:
        from keyrotor.looks import environment

        return environment.that_matter(self.env)

    def as_timer(self, scope: str, service: str, path: str) -> Examined:
        from keyrotor.looks.as_timer import AsTimer

        return AsTimer(scope, service, self._processes, self.env, self.folder).examined(path)

    def _unit_file(self, row: Row, on_disk: Sequence[Row], source: Source) -> Look:
        from keyrotor.looks.unit import UnitFile

        scope, variable = row.options["scope"], row.options["variable"] or source.key
        return UnitFile(row.options["unit"], scope, variable, _env_files(on_disk), self._manager(scope))

    def _gateway(self, row: Row, rows: Sequence[Row], source: Source) -> Look:
        from keyrotor.looks.gateway import Gateway

        door = self._litellm(row, rows, source)
        name, systemd = (door.behind.name, door.behind.systemd) if door.behind else ("", None)
        clients = {each.id: each.label for each in rows if each.kind == "client-file"}
        return Gateway(door.url, door.variable, door.config, name, systemd, clients, self._http)

    def _place(
        self, row: Row, rows: Sequence[Row], source: Source, prepared: Mapping[Value, bytes], folder: Path
    ) -> Place:
        option = row.options
        match row.kind:
            case "sops-file":
                return SopsFile(self._encrypted(source), prepared, folder)
            case "env-file":
                return EnvFile(Path(option["path"]), source.key, tuple(option["keys"]))
            case "systemd-unit":
                variable = option["variable"] or source.key
                manager, may_be_down = self._manager(option["scope"]), option.get("may_be_down", False)
                rest, env_files = self.stop.rest, _env_files(rows)
                return SystemdUnit(option["unit"], variable, row.within, manager, rest, may_be_down, env_files)
            case "litellm":
                return self._litellm(row, rows, source)
            case "client-file":
                path = Path(option["path"])
                return ClientFile(path, source.key, format_of(path, option["format"]))
            case _:
                project = Path(source.project)
                return Command(row.id, option["put"], option["holds"], row.within, self._processes, self.env, project)

    def _litellm(self, row: Row, rows: Sequence[Row], source: Source) -> Litellm:
        unit = plan.unit_of(rows, row)
        behind = (
            Behind(unit.options["unit"], self._manager(unit.options["scope"]))
            if unit and unit.act is Act.RESTART
            else None
        )
        config = Path(row.options["config"]) if row.options["config"] else None
        variable = (unit.options.get("variable") if unit else "") or source.key
        return Litellm(row.options["url"], row.act, variable, config, row.within, behind, self._http, self.stop.rest)

    def _manager(self, scope: str) -> Systemd:
        return self._managers.setdefault(scope, Systemd(self._processes, self.env, scope))

    def _encrypted(self, source: Source) -> Encrypted:
        project = Path(source.project)
        sops = Sops(self._processes, self.env, keychain.identity(source.identity))
        return Encrypted(Path(source.file), source.key, sops, project)


def _env_files(rows: Sequence[Row]) -> list[Path]:
    return [Path(row.options["path"]) for row in rows if row.kind == "env-file"]


def _load_looks() -> None:
    """Import what an audit looks with (20 ms)."""
    from keyrotor.looks import encrypted_file, gateway, holders, holding_files, host, record, unit, value  # noqa: F401


def state_folder(env: Mapping[str, str]) -> Path:
    """Where the record lives."""
    if stated := env.get("KEYROTOR_STATE_DIR"):
        return Path(os.path.abspath(stated))
    home = Path(env.get("HOME") or os.path.expanduser("~"))
    return Path(env.get("XDG_STATE_HOME") or home / ".local" / "state") / "keyrotor"
