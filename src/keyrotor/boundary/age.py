"""age identities, by pyrage: a new one, and whom the ones that are there stand for.

Rules:
1. An identity is a value like any other: it leaves here sealed, and nothing says it.
2. Only of an X25519 identity the recipient can be told; a plugin's stands in a device, a passphrase's behind it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from keyrotor.boundary.plaintext import unseal
from keyrotor.secret import Secret

_PLAIN = re.compile(rb"^[ \t]*(AGE-SECRET-KEY-1[0-9A-Z]+)[ \t\r]*$", re.MULTILINE | re.IGNORECASE)
_OTHER = re.compile(rb"^[ \t]*(?:AGE-PLUGIN-|AGE-SECRET-KEY-PQ-|age-encryption\.org/|-----BEGIN )", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Identities:
    """What is in a file of identities."""

    recipients: tuple[str, ...]
    has_others: bool  # some whose recipient cannot be told
    first: Secret | None = None  # the first one alone, as a line of its own


def fresh() -> Identities:
    """A new identity."""
    import pyrage  # type: ignore[import-untyped]  # only `bootstrap` needs it

    made = pyrage.x25519.Identity.generate()
    return Identities((str(made.to_public()),), has_others=False, first=Secret(f"{made}\n".encode()))


def file_of(identities: Identities) -> bytes:
    """What is put into a file of its own: the first identity, under its recipient."""
    assert identities.first is not None
    return f"# public key: {identities.recipients[0]}\n".encode() + unseal(identities.first)


def parsed(content: Secret) -> Identities:
    """The identities in the content of a file; one that is broken is none."""
    data = unseal(content)
    found = [(line, recipient) for line in _PLAIN.findall(data) if (recipient := _recipient(line.decode()))]
    first = Secret(found[0][0] + b"\n") if found else None
    return Identities(tuple(recipient for _, recipient in found), _OTHER.search(data) is not None, first)


def _recipient(line: str) -> str:
    import pyrage

    try:
        identity: Any = pyrage.x25519.Identity.from_str(line)
    except pyrage.IdentityError:
        return ""
    return str(identity.to_public())
