"""The real world: the only place where boundaries and places are put together."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
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
from keyrotor.core.model import Act, Playbook, Row, Source, Value
from keyrotor.errors import RefusedError
from keyrotor.looks.encrypted_file import EncryptedFile
from keyrotor.looks.gateway import Gateway
from keyrotor.looks.holders import Holders
from keyrotor.looks.holding_files import HoldingFiles
from keyrotor.looks.host import Host
from keyrotor.looks.record import Record
from keyrotor.looks.unit import UnitFile
from keyrotor.looks.value import Value as ValueItself
from keyrotor.places.client_file import ClientFile, format_of
from keyrotor.places.command import Command
from keyrotor.places.env_file import EnvFile
from keyrotor.places.litellm import Behind, Litellm
from keyrotor.places.sops_file import Encrypted, SopsFile
from keyrotor.places.systemd_unit import SystemdUnit
from keyrotor.ports import Look, Place, Screen
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
        self._processes = Processes(stop.rest)
        self._http = Http()
        self._managers: dict[str, Systemd] = {}

    def now(self) -> datetime:
        return datetime.now(UTC)

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

    def prepared(self, folder: Path) -> Mapping[Value, bytes]:
        return {value: files.look(folder / name).data for value, name in KEPT.items()}

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

    def repository(self, file: Path) -> Git:
        return Git(self._processes, self.env, file)

    def are_same(self, one: Secret, other: Secret) -> bool:
        return plaintext.are_same(one, other)

    def record_refusals(self) -> list[str]:
        return writable.absent_refusals(self.state / "any")

    def digest(self, data: bytes) -> str:
        return files.digest(data)

    def places(
        self, rows: Sequence[Row], source: Source, prepared: Mapping[Value, bytes], folder: Path
    ) -> Mapping[str, Place]:
        """A place for each row. Raises PlaybookError for one that cannot be built."""
        return {row.id: self._place(row, rows, source, prepared, folder) for row in rows}

    def looks(self, book: Playbook, rows: Sequence[Row], places: Mapping[str, Place]) -> Sequence[Look]:
        """Everything that an audit of this playbook looks at; a door is asked by its own look."""
        source, git = book.source, self.repository(Path(book.source.file))
        on_disk = [row for row in rows if row.kind in ("env-file", "client-file")]
        units = [row for row in rows if row.act is Act.RESTART]
        scope = units[0].options["scope"] if units else "user"
        return [
            Record(self.state),
            ValueItself(),
            EncryptedFile(Path(source.file), Path(source.project), git),
            Holders([row for row in rows if row.act in (Act.FILE, Act.RESTART, Act.COMMAND)], places),
            HoldingFiles(on_disk, places, git),
            *(self._unit_file(row, on_disk, source) for row in units),
            *(self._gateway(row, rows, source) for row in rows if row.act is Act.ADMIT),
            Host(scope, self._manager(scope)),
        ]

    def _unit_file(self, row: Row, on_disk: Sequence[Row], source: Source) -> UnitFile:
        scope, variable = row.options["scope"], row.options["variable"] or source.key
        env_files = [Path(each.options["path"]) for each in on_disk if each.kind == "env-file"]
        return UnitFile(row.options["unit"], scope, variable, env_files, self._manager(scope))

    def _gateway(self, row: Row, rows: Sequence[Row], source: Source) -> Gateway:
        door = self._litellm(row, rows, source)
        name, systemd = (door.behind.name, door.behind.systemd) if door.behind else ("", None)
        clients = [each.label for each in rows if each.kind == "client-file"]
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
                return SystemdUnit(option["unit"], variable, row.within, self._manager(option["scope"]), self.stop.rest)
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


def state_folder(env: Mapping[str, str]) -> Path:
    """Where the record lives."""
    if stated := env.get("KEYROTOR_STATE_DIR"):
        return Path(os.path.abspath(stated))
    home = Path(env.get("HOME") or os.path.expanduser("~"))
    return Path(env.get("XDG_STATE_HOME") or home / ".local" / "state") / "keyrotor"
