"""The use cases `exec` and `print-key`: what a playbook's encrypted file holds, for the program that takes our place,
or that has called us.

A world of its own, for they are run all day and must cost little more than sops itself: no place, no `sh`, and no more
of a playbook is checked than its [secret]. So they take no lock and wait for nobody: what is handed over is what the
encrypted file holds at this moment. `exec` asks no record, either. A key that is printed is compared with what the
last run left; only where it is not that, the record is asked in full, by the real world.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from keyrotor import shelf, source
from keyrotor.boundary.quick import CoreDumps, Quick
from keyrotor.boundary.sops import Sops
from keyrotor.errors import PlaceError, RefusedError, UsageError

if TYPE_CHECKING:
    from keyrotor.boundary.sops import Identity
    from keyrotor.core.kept import Source
    from keyrotor.ports import World
    from keyrotor.secret import Secret

_TRIES = 3  # decrypts of a file that somebody is writing


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
    every = _decrypted(found, env, _load)
    if unknown := [key for key in only if key not in every]:
        raise UsageError(f"cannot find the key {unknown[0]}: {found.file} has {', '.join(sorted(every)) or 'none'}")
    return {key: secret for key, secret in every.items() if not only or key in only}


def key(env: Mapping[str, str], folder: Path, name: str | None, world: Callable[[], World]) -> tuple[str, Secret]:
    """The key's name and its present value. Raises RefusedError where the record knows that for a former one, and what
    `values` raises. `world` is asked for only where a moment does not tell."""
    path = shelf.find(name, folder, env)
    found, state = source.load(path, env), shelf.state_folder(env)
    ciphertext, every = _read_whole(found, env)
    if found.key not in every:
        raise RefusedError(f"cannot print {found.key}: {found.file} has no such key")
    secret = every[found.key]
    if not _is_left(state, found, ciphertext, secret):
        from keyrotor import drift  # 200 ms, with the world

        real = world()
        known, is_left = drift.recorded(real, found, ciphertext)
        called = shlex.quote(name or path.stem)
        drift.want_present(real, found, secret, known, "", called, is_left=is_left, verb="print the key")
    return found.key, secret


def _is_left(state: Path, found: Source, ciphertext: bytes, secret: Secret) -> bool:
    """Whether the last run left the file so, or this value in it; or there was none. False: it cannot be told here."""
    import hashlib

    from keyrotor import latest
    from keyrotor.boundary import plaintext

    left = latest.left(state, found)
    if left is None or left.ciphertext == hashlib.sha256(ciphertext).hexdigest():
        return True
    mark = latest.fingerprint_key(state)
    return (
        mark != b""
        and plaintext.key_name(mark) == left.fingerprint_key
        and plaintext.fingerprint(mark, secret) == left.fingerprint
    )


def _read_whole(found: Source, env: Mapping[str, str]) -> tuple[bytes, dict[str, Secret]]:
    """The ciphertext, and every value in just that. Raises RefusedError where somebody writes it again and again."""
    for _ in range(_TRIES):
        ciphertext = _bytes_of(found)
        every = _decrypted(found, env, _load_to_print)
        if _bytes_of(found) == ciphertext:
            return ciphertext, every
    raise RefusedError(f"cannot read {found.file}: somebody is writing it", hint="try again")


def _bytes_of(found: Source) -> bytes:
    """What is in the encrypted file; nothing where it cannot be read: why, sops tells."""
    try:
        return Path(found.file).read_bytes()
    except OSError:
        return b""


def _decrypted(found: Source, env: Mapping[str, str], meanwhile: Callable[[], None]) -> dict[str, Secret]:
    sops = Sops(Quick(meanwhile), env, _identity(found.identity))
    try:
        return sops.decrypt(Path(found.file), Path(found.project))
    except PlaceError as error:
        raise PlaceError(str(error), hint=error.hint or sops.hint_if_missing(Path(found.project))) from None


def _identity(stated: str) -> Identity | None:
    if not stated:
        return None
    from keyrotor.boundary import keychain  # 7 ms

    return keychain.identity(stated)


def _load() -> None:
    """Import what is needed once sops has answered, while it works (10 ms)."""
    from keyrotor.boundary import outlet, plaintext  # noqa: F401


def _load_to_print() -> None:
    """The same, for a key that is printed."""
    from keyrotor import latest  # noqa: F401

    _load()
