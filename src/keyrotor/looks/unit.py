"""The gateway's unit as systemd has it: where its environment comes from, and what would override the env file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from keyrotor.boundary.systemd import Systemd
from keyrotor.core.findings import Finding
from keyrotor.ports import Seen


@dataclass(frozen=True, slots=True)
class UnitFile:
    name: str
    scope: str
    variable: str
    env_files: Sequence[Path]  # those of the playbook
    systemd: Systemd

    def findings(self, seen: Seen) -> Iterable[Finding]:
        return ()
