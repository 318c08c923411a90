"""The use case `exec`: every value of a playbook's encrypted file, for the program that takes our place.

A world of its own, for it is typed all day and must cost little more than sops itself: it imports no record, no place,
no `sh`, and checks no more of a playbook than its [secret]. So it knows of no run, takes no lock and waits for nobody:
what it hands over is what the encrypted file holds at this moment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from keyrotor import shelf, source
from keyrotor.boundary.quick import CoreDumps, Quick
from keyrotor.boundary.sops import Sops
from keyrotor.errors import PlaceError, UsageError

if TYPE_CHECKING:
    from keyrotor.boundary.sops import Identity
    from keyrotor.secret import Secret


def hand_over(
    command: Sequence[str],
    env: Mapping[str, str],
    folder: Path,
    name: str | None,
    only: Sequence[str],
    dumps: CoreDumps,
) -> NoReturn:
    """Run the command in our stead, with the values. Raises KeyrotorError."""
    found = values(env, folder, name, only)

    from keyrotor.boundary import outlet

    outlet.become(command, found, dumps)


def values(env: Mapping[str, str], folder: Path, name: str | None, only: Sequence[str]) -> dict[str, Secret]:
    """Every value of the file, or those of these names. Raises UsageError, PlaybookError, PlaceError, RefusedError."""
    found = source.load(shelf.find(name, folder, env), env)
    sops = Sops(Quick(_load), env, _identity(found.identity))
    try:
        every = sops.decrypt(Path(found.file), Path(found.project))
    except PlaceError as error:
        raise PlaceError(str(error), hint=error.hint or sops.hint_if_missing(Path(found.project))) from None
    if unknown := [key for key in only if key not in every]:
        raise UsageError(f"cannot find the key {unknown[0]}: {found.file} has {', '.join(sorted(every)) or 'none'}")
    return {key: secret for key, secret in every.items() if not only or key in only}


def _identity(stated: str) -> Identity | None:
    if not stated:
        return None
    from keyrotor.boundary import keychain  # 7 ms

    return keychain.identity(stated)


def _load() -> None:
    """Import what is needed once sops has answered, while it works (10 ms)."""
    from keyrotor.boundary import outlet, plaintext  # noqa: F401
