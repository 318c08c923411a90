"""The only place where a value is unsealed.

Rules: what leaves here goes to formats, places and http as bytes, never to a message, a log or a record.
Comparisons take the same time whatever they are given.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from itertools import groupby

from keyrotor.errors import RefusedError
from keyrotor.secret import Pair, Secret

SHORTEST = 16  # characters; LiteLLM itself wants as many of a virtual key
TELLING = 8  # characters, with the `sk-`
PIECE = 8  # bytes: a shorter piece of a value tells nothing of it

# Needs no quoting in dotenv, sh, systemd, JSON, YAML, TOML or compose, and is what GitLab can mask.
# Up to two `=` at the end, for base64 (a Fernet key has one).
SAFE = re.compile(rb"[A-Za-z0-9_-]+={0,2}")


def unseal(secret: Secret) -> bytes:
    """The value itself."""
    return secret._sealed


def is_same(secret: Secret, value: bytes) -> bool:
    return hmac.compare_digest(unseal(secret), value)


def are_same(one: Secret, other: Secret) -> bool:
    return hmac.compare_digest(unseal(one), unseal(other))


def is_telling(secret: Secret) -> bool:
    """Whether the value is long and odd enough to be found by value among other words."""
    value = unseal(secret)
    return len(value) >= (TELLING if value.startswith(b"sk-") else SHORTEST)


def is_key_like(secret: Secret) -> bool:
    """Whether the value cannot be taken for anything but a key, wherever it stands: a template is none."""
    value = unseal(secret)
    return is_telling(secret) and value.startswith(b"sk-") and SAFE.fullmatch(value) is not None


def is_blank(secret: Secret) -> bool:
    return not unseal(secret).strip()


def fingerprint(key: bytes, secret: Secret) -> str:
    """A keyed name for a value: `sk-…`, if it begins so, and 12 hex digits that are worth nothing without the key."""
    return _prefix(secret) + hmac.new(key, unseal(secret), hashlib.sha256).hexdigest()[:12]


def masked(secret: Secret, word: str) -> str:
    """A value shown by a word in its stead."""
    return f"{_prefix(secret)}({word})"


def _prefix(secret: Secret) -> str:
    return "sk-…" if unseal(secret).startswith(b"sk-") else "…"


def key_name(key: bytes) -> str:
    """What tells one fingerprint key from another, and nothing else of it."""
    return hashlib.sha256(b"keyrotor fingerprint key\0" + key).hexdigest()[:8]


def redacted(text: bytes, pair: Pair) -> bytes:
    """The text without either value, or a piece of one that is long enough to be told (8 bytes)."""
    for secret in (pair.old, pair.new, *pair.siblings.values()):
        text = _without(text, unseal(secret))
    return re.sub(rb"sk-[A-Za-z0-9_-]{6,}", b"sk-[redacted]", text)


def is_told(text: bytes, pair: Pair) -> bool:
    """Whether the text tells a value, however short, or a piece of one."""
    values = (unseal(secret) for secret in (pair.old, pair.new, *pair.stale, *pair.siblings.values()))
    return redacted(text, pair) != text or any(value in text for value in values if value)


def _without(text: bytes, value: bytes) -> bytes:
    """The text with every stretch hidden that consists of pieces of the value."""
    pieces = {value[at : at + PIECE] for at in range(len(value) - PIECE + 1)}
    hidden = bytearray(len(text))
    for at in range(len(text) - PIECE + 1):
        if text[at : at + PIECE] in pieces:
            hidden[at : at + PIECE] = b"1" * PIECE
    stretches = groupby(range(len(text)), key=lambda at: bool(hidden[at]))
    return b"".join(b"[redacted]" if hide else bytes(text[at] for at in run) for hide, run in stretches)


def seal_all(values: Mapping[str, str]) -> dict[str, Secret]:
    return {key: Secret(value.encode()) for key, value in values.items()}


def given(data: bytes) -> Secret:
    """A value that a person gives; the newline that a shell adds is not part of it. Raises RefusedError."""
    value = data.removesuffix(b"\n").removesuffix(b"\r")
    if not SAFE.fullmatch(value) or len(value) < SHORTEST:
        raise RefusedError(
            f"cannot use that value: it must be {SHORTEST} or more of A-Z a-z 0-9 _ - (no format has to quote those)"
        )
    return Secret(value)
