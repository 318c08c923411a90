"""Where a secret is kept, and which keys are never rotated: the nouns of a command that only reads it.

By themselves, because `exec` may cost little more than sops, and the other nouns are 4 ms. Pure data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# Keys that are never rotated, and never touched where they happen to hold the same value.
NEVER: Mapping[str, str] = {
    "LITELLM_SALT_KEY": "what LiteLLM has encrypted with it can never be read with another",
}


@dataclass(frozen=True, slots=True)
class Source:
    """Where the secret is kept, and what opens it."""

    file: str  # the encrypted file: absolute, links resolved
    key: str
    identity: str  # where the age identity is; "" leaves it to sops
    project: str  # the folder that relative paths start from, and where sops runs

    def is_of(self, other: Source) -> bool:
        """Whether it is the same key of the same file, whatever opens it."""
        return (self.file, self.key) == (other.file, other.key)
