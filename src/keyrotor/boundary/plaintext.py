"""The only place where a value is unsealed.

Rules: what leaves here goes to formats, places and http as bytes, never to a message, a log or a record.
Comparisons take the same time whatever they are given.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping

from keyrotor.errors import RefusedError
from keyrotor.secret import Pair, Secret

SHORTEST = 16  # characters; LiteLLM itself wants as many of a virtual key

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


def is_safe(secret: Secret) -> bool:
    """Whether every format can hold the value without quoting."""
    return SAFE.fullmatch(unseal(secret)) is not None


def is_blank(secret: Secret) -> bool:
    return not unseal(secret).strip()


def fingerprint(key: bytes, secret: Secret) -> str:
    """A keyed name for a value: `sk-…`, if it begins so, and 12 hex digits that are worth nothing without the key."""
    value = unseal(secret)
    prefix = "sk-…" if value.startswith(b"sk-") else "…"
    return prefix + hmac.new(key, value, hashlib.sha256).hexdigest()[:12]


def key_name(key: bytes) -> str:
    """What tells one fingerprint key from another, and nothing else of it."""
    return hashlib.sha256(b"keyrotor fingerprint key\0" + key).hexdigest()[:8]


def redacted(text: bytes, pair: Pair) -> bytes:
    """The text without either value, or a piece of one that is long enough to be told (8 bytes)."""
    for secret in (pair.old, pair.new, *pair.siblings.values()):
        value = unseal(secret)
        if len(value) >= 8:
            text = text.replace(value, b"[redacted]")
    return re.sub(rb"sk-[A-Za-z0-9_-]{6,}", b"sk-[redacted]", text)


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
