"""The key that signs the head of the record, and the file that the head is kept in. The one home of Ed25519.

The head has a file of its own, so that whoever cuts the record off, or puts an older copy of it back, does not take
the head along. cryptography (15 ms, 6 on top of a rotation) is loaded only where something is signed or checked.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

from keyrotor.boundary import files, generate, keychain
from keyrotor.core.head import FILE, Head, Known
from keyrotor.errors import PlaceError

_SCHEMA = 1


def known(state: Path, *, asks_keyring: bool) -> Known:
    """The head that was signed last, or why it cannot be believed. Writes nothing."""
    try:
        head = signed(state)
    except PlaceError as error:
        return Known(fault=str(error))
    private = None
    with suppress(PlaceError):  # who may read the record, and not the key, can still verify it
        private = keychain.known_record_key(state, asks_keyring=asks_keyring) if head else None
    return Known(head, key=public(private) if private else "")


def signed(state: Path) -> Head | None:
    """The head that was signed last; None if there is none. Raises PlaceError for one that cannot be believed."""
    path = state / FILE
    if not files.exists(path):
        return None
    head = _parsed(files.look(path).data)
    if head is None:
        raise PlaceError(f"{path} is not the head of a record, or that of a newer keyrotor")
    if not _is_signed(head):
        raise PlaceError(f"{path} was changed: it is not signed by the key that it names")
    return head


def key(state: Path, wanted: str) -> bytes | None:
    """The private half of the key whose public half is `wanted`; None if it is not here. Raises PlaceError."""
    private = keychain.known_record_key(state)
    return private if private and public(private) == wanted else None


def any_key(state: Path) -> bytes:
    """The key that is here, else a new one. Raises PlaceError."""
    return keychain.record_key(state, generate.new_key())


def sign(state: Path, head: Head, private: bytes) -> None:
    """Put this head, signed, in the place of the one before it; durably, and whole or not at all. Raises PlaceError."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    signature = Ed25519PrivateKey.from_private_bytes(private).sign(head.message).hex()
    found = {"schema": _SCHEMA, **asdict(replace(head, signature=signature))}
    data = json.dumps(found, indent=2).encode() + b"\n"
    path = state / FILE
    if files.exists(path):
        files.update(path, lambda _: data)
    else:
        files.create(path, data)


def tidy(state: Path) -> None:
    """Clear away what a killed command left beside the head. Raises PlaceError."""
    files.clear_leftover(state / FILE)


def public(private: bytes) -> str:
    """The public half, in hex."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw().hex()


def _is_signed(head: Head) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(head.key)).verify(bytes.fromhex(head.signature), head.message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _parsed(data: bytes) -> Head | None:
    try:
        found = json.loads(data)
        head = Head(**{name: found[name] for name in Head.__slots__}) if found["schema"] == _SCHEMA else None
    except (ValueError, TypeError, KeyError):
        return None
    if head is None or type(head.entries) is not int or not 0 < head.entries < 1 << 63:
        return None
    texts = (head.chain, head.at, head.key, head.signature)
    return head if all(isinstance(text, str) and text.isprintable() for text in texts) else None
