"""Whose a file is: the client that reads it, its format, what is known of it, and the row of a playbook that it is."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from keyrotor.boundary.reading import inode
from keyrotor.core import clients
from keyrotor.core.client import File
from keyrotor.core.model import Row
from keyrotor.formats import compose, readers

# Of several clients that read a file of this name, the one whose own file lies beside it.
_BESIDE: Mapping[str, Sequence[str]] = {
    "docker-compose": compose.NAMES,
    "librechat": ("librechat.yaml",),
    "aider": (".aider.conf.yml",),
}


@dataclass(frozen=True, slots=True)
class Owner:
    """How a file is read."""

    kind: str = "client-file"  # no client that is known reads it
    format: str = "text"
    file: Mapping[str, object] | None = None  # what is known of it, as in the options of a row
    is_known: bool = False  # whether a place of the kind finds it by itself
    row: str = ""  # of the playbook; "" where that does not name it


class Whose:
    def __init__(self, rows: Sequence[Row], known: Callable[[str], str]) -> None:
        """`known` makes a path of what a program looks at; "" where that is nowhere."""
        self._rows = [row for row in rows if clients.is_client(row.kind) and row.options.get("path")]
        self._covered = {at: row for row in reversed(self._rows) if (at := inode(row.options["path"]))}
        self._known: dict[str, list[tuple[str, File]]] = {}
        for kind, client in clients.CLIENTS.items():
            for file in client.files:
                if path := known(file.path):
                    self._known.setdefault(path, []).append((kind, file))

    @property
    def paths(self) -> list[str]:
        """Every path that some client is known to look at, or that the playbook names."""
        return list(dict.fromkeys((*self._known, *(row.options["path"] for row in self._rows))))

    def owner(self, path: str) -> Owner:
        row, found = self._covered.get(inode(path) or (0, 0)), self._client(path)
        if row is not None:
            told = clients.options(*found) if found and row.kind == "client-file" else row.options
            return Owner(row.kind, row.options.get("format") or _format(path), told, row=row.id)
        if found is None:
            return Owner(format=_format(path))
        kind, file = found
        # One that a variable of this moment names is told the playbook: a timer may not have the variable.
        is_known = path in self._known and (not file.path.startswith("${") or file.path.startswith("${XDG_"))
        return Owner(kind, file.format, clients.options(kind, file), is_known)

    def _client(self, path: str) -> tuple[str, File] | None:
        """Who reads it: by the whole path, else by the end of it, as in any other project; None where nothing tells."""
        found = self._known.get(path) or [
            (kind, file)
            for kind, client in clients.CLIENTS.items()
            for file in client.files
            if file.path[0] not in "~/$" and path.endswith(f"/{file.path}")
        ]
        if len({kind for kind, _ in found}) < 2:
            return found[0] if found else None
        folder = os.path.dirname(path)
        beside = [kind for kind, names in _BESIDE.items() if any(os.path.exists(f"{folder}/{name}") for name in names)]
        return next((pair for kind in beside for pair in found if pair[0] == kind), None)


def _format(path: str) -> str:
    return readers.of_path(Path(path)) or "text"
