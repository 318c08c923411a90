"""What keeps the services of a user alive, and wakes the rotation: linger and the timer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from keyrotor.boundary.systemd import Systemd
from keyrotor.core.findings import Finding
from keyrotor.ports import Seen


@dataclass(frozen=True, slots=True)
class Host:
    scope: str  # of the gateway's unit
    systemd: Systemd

    def findings(self, seen: Seen) -> Iterable[Finding]:
        return ()
