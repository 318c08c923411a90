"""The gateway's unit as systemd has it: where its environment comes from, and what would override the env file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from keyrotor.boundary.systemd import Systemd
from keyrotor.boundary.unit_environment import is_one_of, overriding, sets, sources
from keyrotor.boundary.unit_text import Unit
from keyrotor.core.findings import Finding, found
from keyrotor.ports import Seen


@dataclass(frozen=True, slots=True)
class UnitFile:
    name: str
    scope: str
    variable: str
    env_files: Sequence[Path]  # those of the playbook
    systemd: Systemd

    def findings(self, seen: Seen) -> Iterator[Finding]:
        unit = self.systemd.seen(self.name)
        words = {"key": self.variable, "scope": self.scope, "playbook": seen.book.name}
        if unit.owes_reload:
            yield found("unit-reload-owed", self.name, **words)
        if self.variable in unit.literals:
            yield found("unit-literal", self.name, **words)
        yield from self._environment(unit, words)

    def _environment(self, unit: Unit, words: dict[str, str]) -> Iterator[Finding]:
        """What is wrong with the files that it reads, and with what comes after them."""
        for source in sources(unit):
            is_ours = is_one_of(source.path, self.env_files)
            if source.is_optional and (is_ours or sets(source.path, self.variable)):
                yield found("unit-env-optional", self.name, path=source.path, **words)
        for path in overriding(unit, self.variable, self.env_files):
            yield found("unit-overridden", self.name, path=path, **words)
