"""What makes a text of the record one that may be shown to those who were not there.

Rules:
1. A value that has leaked is hidden in every form, and so is a piece of one; other values as a whole only, so that a
   path which is one stays readable.
2. What nothing holds any more is known by its fingerprint alone: as a word, without its prefix, in base64, in hex.
3. What looks like a key is hidden, whoever's it is; `desk-lamp` does not.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Iterator

from keyrotor.boundary.forms import HIDDEN, Veil, forms
from keyrotor.boundary.plaintext import SAFE, is_telling, unseal
from keyrotor.secret import Secret

LEAST = 5  # characters of a value that is looked for: a shorter one stands in half of all words
# What looks like a key in a text that is there to be read, and not in `desk-lamp`; and what may be the whole of one.
_KEY = re.compile(rb"(?<![A-Za-z])sk-[A-Za-z0-9_-]{6,}|sk-[A-Za-z0-9_-]{20,}")
_WORD = re.compile(rb"[A-Za-z0-9_-]{8,}={0,2}")
_ENCODED = re.compile(rb"[A-Za-z0-9+/_-]{11,}")  # 8 bytes and more in base64
_HEX = re.compile(rb"(?:[0-9A-Fa-f]{2}){8,}")
_STANDARD = bytes.maketrans(b"-_", b"+/")


class Cleaner:
    """Takes values from texts."""

    def __init__(
        self, secrets: Iterable[Secret], others: Iterable[Secret], is_known: Callable[[Secret], bool] | None
    ) -> None:
        self._veils = (
            Veil(forms(each) for each in secrets if len(unseal(each)) >= LEAST),
            Veil((forms(each) for each in others if _may_be_a_key(each)), as_wholes=True),
        )
        self._is_known = is_known

    def over(self, text: bytes) -> bytes:
        """The text without what must not be shown."""
        for veil in self._veils:
            text = veil.over(text)
        for pattern in (_WORD, _ENCODED) if self._is_known else ():
            text = pattern.sub(lambda found: HIDDEN if self._tells(found[0]) else found[0], text)
        return _KEY.sub(b"sk-" + HIDDEN, text)

    def _tells(self, word: bytes) -> bool:
        """Whether it says what is known by its fingerprint."""
        return self._is_known is not None and any(self._is_known(Secret(each)) for each in _readings(word))


def _may_be_a_key(secret: Secret) -> bool:
    return is_telling(secret) and SAFE.fullmatch(unseal(secret)) is not None


def _readings(word: bytes) -> Iterator[bytes]:
    """What a word may be meant for: itself, and what is in it once it is decoded; each with a prefix as well."""
    for text in (word, *_decoded(word)):
        for each in (text, *_WORD.findall(text)):
            yield from (each, b"sk-" + each)


def _decoded(word: bytes) -> Iterator[bytes]:
    """Out of hex, and out of base64 wherever in the word it begins."""
    yield from (bytes.fromhex(digits.decode()) for digits in _HEX.findall(word))
    letters = word.rstrip(b"=").translate(_STANDARD)
    for start in range(min(4, len(letters))):
        rest = letters[start:]
        rest = rest[: -1 if len(rest) % 4 == 1 else None]
        yield base64.b64decode(rest + b"=" * (-len(rest) % 4))
