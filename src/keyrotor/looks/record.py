"""What the record says: runs that are owed, the key's age, a broken chain, a clock that jumped."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from keyrotor.core.findings import Finding
from keyrotor.ports import Seen


@dataclass(frozen=True, slots=True)
class Record:
    state: Path  # the state folder

    def findings(self, seen: Seen) -> Iterable[Finding]:
        return ()
