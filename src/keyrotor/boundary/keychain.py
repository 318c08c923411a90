"""The one keyring: where the keys of the record live, and how sops gets an age identity out of it.

There are two: the fingerprint key, and the one that signs the record's head. Each is in the OS keyring where one
answers, else in a 0600 file of the state folder. Once there is a file it is used: a timer has no keyring, and the same
value must keep the same fingerprint. And where one of them is in a file the other goes there too.
"""

from __future__ import annotations

import contextlib
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from keyrotor.boundary import files
from keyrotor.boundary.plaintext import is_same, unseal
from keyrotor.boundary.sops import Identity
from keyrotor.errors import PlaceError, PlaybookError, RefusedError
from keyrotor.secret import Secret

SERVICE = "keyrotor"
_DIAGNOSE = "keyring diagnose"


@dataclass(frozen=True, slots=True)
class _Kept:
    """32 random bytes of ours, and where they are."""

    user: str  # its name in the keyring
    file: str
    word: str


_FINGERPRINT = _Kept("fingerprint-key", "fingerprint.key", "a fingerprint key")
_RECORD = _Kept("record-key", "record.key", "the key of a record")
FILE = _FINGERPRINT.file


def fingerprint_key(state: Path, fresh: bytes) -> bytes:
    """The key that fingerprints are made with; `fresh` becomes it where there is none yet. Raises PlaceError."""
    return _made(state, _FINGERPRINT, fresh)


def known_fingerprint_key(state: Path) -> bytes | None:
    """The key that fingerprints are made with, if there is one. Writes nothing. Raises PlaceError."""
    return _known(state, _FINGERPRINT)


def record_key(state: Path, fresh: bytes) -> bytes:
    """The key that signs the head of the record; `fresh` becomes it where there is none yet. Raises PlaceError."""
    return _made(state, _RECORD, fresh, is_for_file=files.exists(state / FILE))


def known_record_key(state: Path, *, asks_keyring: bool = True) -> bytes | None:
    """The key that signs the head of the record, if there is one. Writes nothing. Raises PlaceError."""
    return _known(state, _RECORD) if asks_keyring or files.exists(state / _RECORD.file) else None


def answering() -> str:
    """The name of the keyring that answers here; "" where there is none. Asks for nothing in it."""
    import keyring

    with contextlib.suppress(Exception):  # as below
        chosen = keyring.get_keyring()
        module = type(chosen).__module__
        return "" if module.endswith((".fail", ".null")) else str(chosen.name)
    return ""


def identity(source: str) -> Identity | None:
    """`keyring` or `keyring:SERVICE/USER` lets sops ask the OS keyring; else it is a file of age identities.

    Raises PlaybookError, RefusedError.
    """
    if not source:
        return None
    if source.partition(":")[0] != "keyring":
        if not files.exists(Path(source)):
            raise RefusedError(f"cannot read the age identity {source}: no such file")
        return Identity({"SOPS_AGE_KEY_FILE": source})
    # -P: sops runs it in the project's folder, and what lies there is not ours to import.
    service, user = _entry(source)
    if not user:
        raise PlaybookError("cannot use [secret] identity: write it as keyring:SERVICE/USER")
    command = [sys.executable, "-P", "-m", "keyring", "get", service, user]
    return Identity({"SOPS_AGE_KEY_CMD": shlex.join(command)})


def age_identity(source: str) -> Secret | None:
    """What the keyring holds as the age identity of this source; None where it holds none. Raises RefusedError."""
    import keyring

    try:
        stored = keyring.get_password(*_entry(source))
    except Exception as error:  # noqa: BLE001  every backend fails in a way of its own
        # Locked is not empty: what is there must not be taken for nothing, and replaced.
        raise RefusedError(f"cannot read the keyring: {type(error).__name__}", hint=_DIAGNOSE) from None
    return Secret(stored.encode()) if stored else None


def keep_age_identity(source: str, identity: Secret) -> None:
    """Put an age identity into the keyring, never over one, proven by reading it back. Raises RefusedError."""
    import keyring

    if age_identity(source) is not None:
        raise RefusedError("cannot use the keyring: it has an age identity already", hint="keyrotor bootstrap")
    with contextlib.suppress(Exception):
        keyring.set_password(*_entry(source), unseal(identity).decode().strip())
    kept = age_identity(source)
    if kept is None or not is_same(kept, unseal(identity).strip()):
        why = "none answers here, or it does not give back what it takes"
        raise RefusedError(f"cannot use the keyring: {why}", hint=_DIAGNOSE)


def _entry(source: str) -> tuple[str, str]:
    """The service and the user under which it is kept."""
    name = source.partition(":")[2]
    service, _, user = (name or f"{SERVICE}/age-identity").partition("/")
    return service, user


def _made(state: Path, kept: _Kept, fresh: bytes, *, is_for_file: bool = False) -> bytes:
    path = state / kept.file
    if files.exists(path):
        files.clear_leftover(path)
        return _key_in(path, kept)
    if not is_for_file and (known := _from_keyring(kept) or _to_keyring(kept, fresh)):
        return known
    files.create(path, fresh.hex().encode() + b"\n")
    return fresh


def _known(state: Path, kept: _Kept) -> bytes | None:
    path = state / kept.file
    return _key_in(path, kept) if files.exists(path) else _from_keyring(kept)


def _key_in(path: Path, kept: _Kept) -> bytes:
    try:
        key = bytes.fromhex(files.look(path).data.decode("ascii"))
    except ValueError:
        key = b""
    if len(key) != 32:
        hint = f"rm {shlex.quote(str(path))}  (a new one is made)"
        raise PlaceError(f"cannot read {path}: it is not {kept.word}", hint=hint)
    return key


def _from_keyring(kept: _Kept) -> bytes | None:
    import keyring  # 90 ms, and a bus round trip: only where there is no file

    with contextlib.suppress(Exception):  # every backend fails in a way of its own; then there is no keyring
        found = bytes.fromhex(keyring.get_password(SERVICE, kept.user) or "")
        return found if len(found) == 32 else None
    return None


def _to_keyring(kept: _Kept, key: bytes) -> bytes | None:
    """The key, if the keyring took it and gives it back (the null backend takes everything and keeps nothing)."""
    import keyring

    with contextlib.suppress(Exception):
        keyring.set_password(SERVICE, kept.user, key.hex())
        return key if _from_keyring(kept) == key else None
    return None
