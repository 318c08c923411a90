"""Clients that keep the key where no program but their own reaches it, as far as their folders tell of them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from keyrotor.boundary import files
from keyrotor.errors import PlaceError
from keyrotor.formats import paths

_ADDRESS = re.compile(rb"https?://[^\s\"'<>\\]+")
_ZED = "${XDG_CONFIG_HOME}/zed/settings.json"  # has the address; the key is in the keychain
_EDITORS = (
    *(f"${{XDG_CONFIG_HOME}}/{name}" for name in ("Code", "Code - Insiders", "VSCodium", "Cursor", "Windsurf")),
    "~/.vscode-server/data",
)
_EXTENSIONS = {
    "cline": "saoudrizwan.claude-dev",
    "roo": "rooveterinaryinc.roo-cline",
    "kilo": "kilocode.kilo-code",
}


def naming(gateways: Sequence[str], known: Callable[[str], str]) -> Iterator[str]:
    """The kinds whose settings name one of these gateways; `known` makes a path of what a program looks at."""
    try:
        data = files.look(Path(known(_ZED))).data
    except PlaceError:
        return
    if any(paths.is_at(address.decode(errors="replace"), gateways) for address in _ADDRESS.findall(data)):
        yield "zed"


def in_use(known: Callable[[str], str]) -> Iterator[str]:
    """The kinds that have been used here; for which gateway, they alone know."""
    for kind, extension in _EXTENSIONS.items():
        if any(os.path.isdir(os.path.join(known(editor), "User", "globalStorage", extension)) for editor in _EDITORS):
            yield kind
