"""Which reader is for which format, and which format a file's name tells."""

from __future__ import annotations

from importlib import import_module
from pathlib import PurePath
from typing import Final, cast

from keyrotor.formats.splice import Reader

FORMATS: Final = ("json", "dotenv", "yaml", "toml", "ini", "text")
_UNITS = ("service", "socket", "timer", "path", "mount", "target", "slice")  # systemd's
_SUFFIXES: Final = {
    **{".json": "json", ".jsonc": "json", ".env": "dotenv", ".yaml": "yaml", ".yml": "yaml", ".toml": "toml"},
    **dict.fromkeys((".ini", ".cfg", ".conf", *(f".{unit}" for unit in _UNITS)), "ini"),
}


def of(name: str) -> Reader:
    """The reader of a format of FORMATS, whose module is loaded only now."""
    if name not in FORMATS:
        raise ValueError(f"no format of ours: {name!r}")
    return cast("Reader", import_module(f"keyrotor.formats.{name}").read)


def of_path(path: PurePath) -> str:
    """The format that the file's name tells; "" where it tells none."""
    if path.suffix == ".conf" and path.parent.name == "environment.d":
        return "dotenv"  # systemd's, for the sessions of a user
    found = _SUFFIXES.get(path.suffix.lower(), "")
    return found or ("dotenv" if path.name == ".env" or path.name.startswith(".env.") else "")
