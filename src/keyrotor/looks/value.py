"""The values themselves: a key that can be guessed, a salt that is none. Says what is wrong, and shows nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from keyrotor.boundary.plaintext import SAFE, SHORTEST, are_same, is_blank, unseal
from keyrotor.core.findings import Finding, found
from keyrotor.core.model import Playbook
from keyrotor.ports import Seen
from keyrotor.secret import Pair, Secret

DIFFERENT = 8  # characters; of 16 random hex digits one key in a hundred has fewer, of 32 none
# What examples use and people keep: LiteLLM's own `sk-1234`, and words that say "put your key here".
EXAMPLE = re.compile(rb"change-?_?me|replace-?_?(?:me|with)|your[-_]|example|placeholder|not-a-secret|1234567", re.I)
MASTER, SALT = "LITELLM_MASTER_KEY", "LITELLM_SALT_KEY"


@dataclass(frozen=True, slots=True)
class Value:
    def findings(self, seen: Seen) -> Iterator[Finding]:
        if seen.pair is None:
            return
        book = seen.book
        place, words = book.source.file, {"key": book.source.key, "playbook": book.name}
        if _is_weak(seen.pair.old):
            yield found("key-weak", place, **words)
        if not SAFE.fullmatch(unseal(seen.pair.old)):
            yield found("key-alphabet", place, **words)
        if _has_salt(book) and (kind := _salt_fault(seen.pair)):
            yield found(kind, place, **words)


def _is_weak(secret: Secret) -> bool:
    value = unseal(secret)
    return len(value) < SHORTEST or len(set(value)) < DIFFERENT or EXAMPLE.search(value) is not None


def _has_salt(book: Playbook) -> bool:
    """Whether this is LiteLLM's master key, whose salt stands beside it."""
    return book.source.key == MASTER and any(place.kind == "litellm" for place in book.places)


def _salt_fault(pair: Pair) -> str:
    """The kind of what is wrong with the salt; "" if nothing is."""
    salt = pair.siblings.get(SALT)
    if salt is None:
        return "salt-absent"
    if is_blank(salt):
        return "salt-empty"
    return "salt-same" if are_same(salt, pair.old) else ""
