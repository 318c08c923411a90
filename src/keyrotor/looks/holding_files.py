"""The files that hold the value in clear: who else can read them, and whether git takes them along."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from keyrotor.boundary.git import Git
from keyrotor.core.findings import Finding
from keyrotor.core.model import Row
from keyrotor.ports import Place, Seen


@dataclass(frozen=True, slots=True)
class HoldingFiles:
    rows: Sequence[Row]  # env files and client files; `options["path"]` is the path
    places: Mapping[str, Place]
    git: Git

    def findings(self, seen: Seen) -> Iterable[Finding]:
        return ()
