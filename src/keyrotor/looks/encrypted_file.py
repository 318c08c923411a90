"""The encrypted file: who can read it, what git makes of it, and copies of it in clear."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from keyrotor.boundary.git import Git
from keyrotor.core.findings import Finding
from keyrotor.ports import Seen


@dataclass(frozen=True, slots=True)
class EncryptedFile:
    path: Path
    project: Path  # where sops runs: .sops.yaml is looked for from there upward
    git: Git

    def findings(self, seen: Seen) -> Iterable[Finding]:
        return ()
