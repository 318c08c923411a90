"""The values themselves: a key that can be guessed, a salt that is none."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from keyrotor.core.findings import Finding
from keyrotor.ports import Seen


@dataclass(frozen=True, slots=True)
class Value:
    def findings(self, seen: Seen) -> Iterable[Finding]:
        return ()
