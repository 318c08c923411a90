"""The parts of which the real world is put together: programs, the gateway's address, managers, places."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from keyrotor.boundary import keychain, leftover
from keyrotor.boundary.git import Git
from keyrotor.boundary.http import Http
from keyrotor.boundary.process import Processes
from keyrotor.boundary.signals import Signals
from keyrotor.boundary.sops import Sops
from keyrotor.boundary.systemd import Systemd
from keyrotor.core import clients, plan
from keyrotor.core.model import Act, Playbook, Row, Source, Value
from keyrotor.places.command import Command
from keyrotor.places.env_file import EnvFile
from keyrotor.places.litellm import Behind, Litellm
from keyrotor.places.sops_file import Encrypted, SopsFile
from keyrotor.places.systemd_unit import SystemdUnit
from keyrotor.ports import Place
from keyrotor.shelf import state_folder


class Parts:
    """What places, looks and use cases share on this machine; each is made once."""

    def __init__(self, env: Mapping[str, str], folder: Path, stop: Signals) -> None:
        self.env = env
        self.folder = folder
        self.state = state_folder(env)
        leftover.aside = self.state / "aside"
        self.stop = stop
        self.meanwhile: list[Callable[[], None]] = []
        self.processes = Processes(self._rest)
        self.http = Http()
        self._managers: dict[str, Systemd] = {}

    def _rest(self, seconds: float) -> None:
        """Waits for a child; or does what has to be done anyway, while there is nothing else to do."""
        if self.meanwhile:
            self.meanwhile.pop()()
        else:
            self.stop.rest(seconds)

    def repository(self, file: Path) -> Git:
        return Git(self.processes, self.env, file)

    def places(
        self, rows: Sequence[Row], source: Source, prepared: Mapping[Value, bytes], folder: Path
    ) -> Mapping[str, Place]:
        """A place for each row. Raises PlaybookError for one that cannot be built."""
        return {
            row.id: self._store(row, rows)
            if row.kind in plan.STORES
            else self._place(row, rows, source, prepared, folder)
            for row in rows
        }

    def _store(self, row: Row, rows: Sequence[Row]) -> Place:
        from keyrotor.world import storing  # only a playbook with such a place pays for it

        return storing.place(self, row, rows)

    def _place(
        self, row: Row, rows: Sequence[Row], source: Source, prepared: Mapping[Value, bytes], folder: Path
    ) -> Place:
        option = row.options
        match row.kind:
            case "sops-file":
                return SopsFile(self.encrypted(source), prepared, folder, option.get("is_source", False))
            case "env-file":
                return EnvFile(Path(option["path"]), source.key, tuple(option["keys"]))
            case "systemd-unit":
                variable = option["variable"] or source.key
                manager, may_be_down = self.manager(option["scope"]), option.get("may_be_down", False)
                rest, beside = self.stop.rest, env_files(rows)
                return SystemdUnit(option["unit"], variable, row.within, manager, rest, may_be_down, beside)
            case "litellm":
                return self.door(row, rows, source)
            case kind if clients.is_client(kind) or kind in plan.BY_HAND:
                return self._client(row, rows, source)
            case _:
                project = Path(source.project)
                return Command(row.id, option["put"], option["holds"], row.within, self.processes, self.env, project)

    def _client(self, row: Row, rows: Sequence[Row], source: Source) -> Place:
        from keyrotor.world import serving_clients  # 10 ms, which `status` need not pay

        return serving_clients.place(self, row, rows, source)

    def env_files(self, book: Playbook) -> list[EnvFile]:
        found = [place.options for place in book.places if place.kind == "env-file"]
        return [EnvFile(Path(option["path"]), book.source.key, tuple(option["keys"])) for option in found]

    def door(self, row: Row, rows: Sequence[Row], source: Source) -> Litellm:
        unit = plan.unit_of(rows, row)
        behind = (
            Behind(unit.options["unit"], self.manager(unit.options["scope"]))
            if unit and unit.act is Act.RESTART
            else None
        )
        config = Path(row.options["config"]) if row.options["config"] else None
        variable = (unit.options.get("variable") if unit else "") or source.key
        url, may_be_open = row.options["url"], row.options.get("may_be_open", False)
        return Litellm(url, row.act, variable, config, row.within, behind, self.http, self.stop.rest, may_be_open)

    def manager(self, scope: str) -> Systemd:
        return self._managers.setdefault(scope, Systemd(self.processes, self.env, scope))

    def encrypted(self, source: Source) -> Encrypted:
        project = Path(source.project)
        sops = Sops(self.processes, self.env, keychain.identity(source.identity))
        return Encrypted(Path(source.file), source.key, sops, project)


def env_files(rows: Sequence[Row]) -> list[Path]:
    return [Path(row.options["path"]) for row in rows if row.kind == "env-file"]
