"""What makes a write over the same inode safe to be killed in: an intent that names both contents. Pure.

A file with several names cannot be replaced by rename. Before it is written in place, the intent lies beside
it, whole (its hash says so). Whoever comes next can then tell a torn file from one that somebody has edited.
"""

from __future__ import annotations

import hashlib


def intent(old: bytes, new: bytes) -> bytes:
    """The bytes to lay beside the file."""
    return f"{len(old)} {hashlib.sha256(old + new).hexdigest()}\n".encode() + old + new


def parsed(data: bytes) -> tuple[bytes, bytes] | None:
    """Both contents; None for an intent that is not whole, and so was never acted on."""
    head, _, body = data.partition(b"\n")
    try:
        length, digest = head.split(b" ")
        old, new = body[: int(length)], body[int(length) :]
    except ValueError:
        return None
    return (old, new) if hashlib.sha256(body).hexdigest().encode() == digest else None


def is_torn(data: bytes, old: bytes, new: bytes) -> bool:
    """Whether a write of `new` over `old` can have left this: each byte is one of theirs, or room not yet written."""
    if not min(len(old), len(new)) <= len(data) <= max(len(old), len(new)):
        return False
    room = old + bytes(max(0, len(new) - len(old)))
    return all(byte in (room[at], *new[at : at + 1]) for at, byte in enumerate(data))


def common_start(one: bytes, other: bytes) -> int:
    """How many bytes are the same in both, from the first on."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
