"""The gateway: whom it lets in, where it listens, what its config and its surroundings do to the key."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from keyrotor.boundary.http import Http
from keyrotor.boundary.systemd import Systemd
from keyrotor.core.findings import Finding
from keyrotor.ports import Seen


@dataclass(frozen=True, slots=True)
class Gateway:
    url: str
    variable: str
    config: Path | None
    unit: str  # "" where no unit of systemd's answers there
    systemd: Systemd | None
    clients: Sequence[str]  # the labels of the client files of the playbook
    http: Http

    def findings(self, seen: Seen) -> Iterable[Finding]:
        return ()
