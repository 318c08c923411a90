"""A running LiteLLM process: which `.env` files it has read, and which files its config includes.

Measured on 1.106.2 (strace): unless LITELLM_MODE is something else than DEV, python-dotenv looks for `.env` twice,
from the package's own folder and from its `proxy` folder upward to the root, and reads the first that it meets. The
folder that the process was started in does not matter; links in the package's path are not followed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from keyrotor.boundary import files, proc
from keyrotor.boundary.plaintext import is_same, unseal

_DISABLING = (b"1", b"true", b"t", b"yes", b"y")  # of PYTHON_DOTENV_DISABLED, in any case


def dotenv_files(pid: int) -> frozenset[Path]:
    """Every `.env` that the process read when it started; none of a process that is not LiteLLM, or not ours."""
    package = _package(proc.arguments(pid))
    if package is None:
        return frozenset()
    try:
        mode, disabled = (proc.variable(pid, name) for name in ("LITELLM_MODE", "PYTHON_DOTENV_DISABLED"))
    except OSError:
        return frozenset()
    if mode is not None and not is_same(mode, b"DEV"):
        return frozenset()
    if disabled is not None and unseal(disabled).lower() in _DISABLING:
        return frozenset()
    found = (next(_upward(folder), None) for folder in (package, package / "proxy"))
    return frozenset(path for path in found if path)


def included(path: str) -> bytes | None:
    """What is in a file that a config includes; None where there is none. Raises PlaceError."""
    return files.look(Path(path)).data if files.exists(Path(path)) else None


def _upward(folder: Path) -> Iterator[Path]:
    """Every `.env` from the folder to the root."""
    return (each / ".env" for each in (folder, *folder.parents) if (each / ".env").is_file())


def _package(arguments: list[str]) -> Path | None:
    """The package of the LiteLLM that was started so: `…/bin/python3 …/bin/litellm …`, or uvicorn with its app."""
    if not any(Path(each).name == "litellm" or each.startswith("litellm.") for each in arguments):
        return None
    programs = (Path(each) for each in arguments[:2] if each.startswith("/"))
    found = (
        package
        for program in programs
        for package in sorted(program.parent.parent.glob("lib/python3*/*-packages/litellm"))
        if (package / "__init__.py").is_file()
    )
    return next(found, None)
