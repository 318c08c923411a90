"""A value as programs write it down: all that a sweep looks for, and all that is hidden in what is kept as evidence.

Rules:
1. A form is as secret as the value: nothing shows a needle.
2. `Bearer KEY` holds the value as it is, the base64 of `user:KEY` one of its three alignments: neither is a form.
3. A form that is the same as another is not repeated, and one too short to tell anything is left out.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import urllib.parse
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from keyrotor.boundary.plaintext import PIECE, SHORTEST, unseal
from keyrotor.secret import Secret

AS_IT_IS = "as it is"
HIDDEN = b"[redacted]"
_PREFIX = b"sk-"
_OTHERS = re.compile(rb"sk-[A-Za-z0-9_-]{6,}")  # keys of others, as boundary/plaintext.py hides them
_WINDOW = 256 * 1024  # bytes of what is to be hidden, at a time
_LINE = 64  # characters: the shortest line that base64 is broken into
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
_KEPT_BY_SCRIPTS = "!'()*~"  # what encodeURIComponent leaves as it is
_UNQUOTED = re.compile(r"([^A-Za-z0-9_@%+=:,./-])")  # what a shell would not take as it is
_IN_DOUBLE_QUOTES = re.compile(r'([\\"$`])')


@dataclass(frozen=True, slots=True)
class Form:
    """One way to write a value down."""

    name: str  # for people: "as it is", "base64", …
    needle: bytes = field(repr=False)


def forms(secret: Secret) -> tuple[Form, ...]:
    """Every form of the value, itself first."""
    value = unseal(secret)
    found: dict[bytes, str] = {}
    for name, needle in _written(value):
        if len(needle) >= min(PIECE, len(value)) and needle:
            found.setdefault(needle, name)
    return tuple(Form(name, needle) for needle, name in found.items())


def redacted(data: bytes, secrets: Iterable[Secret]) -> bytes:
    """The data without any form of any of the values, or a piece of one that is worth 8 bytes of it; nor what looks
    like another key."""
    return _OTHERS.sub(b"sk-" + HIDDEN, Veil(forms(secret) for secret in secrets).over(data))


class Veil:
    """Hides every form of some values, and every piece of one that tells as much as 8 bytes of its value."""

    def __init__(self, values: Iterable[Sequence[Form]], *, as_wholes: bool = False) -> None:
        """`as_wholes`: a piece of a value tells nothing of it."""
        from ahocorasick_rs import BytesAhoCorasick

        parts = _wholes if as_wholes else _pieces
        pieces = {piece for of_one in values for piece in parts(of_one)}
        self._automaton = BytesAhoCorasick(sorted(pieces))
        self._longest = max(map(len, pieces), default=1)

    def over(self, data: bytes) -> bytes:
        """The data, with one mark in the stead of each stretch of pieces."""
        kept, at = [], 0
        for start, end in self._stretches(data):
            kept += [data[at:start], HIDDEN]
            at = end
        return b"".join([*kept, data[at:]])

    def _stretches(self, data: bytes) -> list[tuple[int, int]]:
        """Where pieces stand; those that touch or overlap are one."""
        merged: list[tuple[int, int]] = []
        for start, end in self._found(data):
            if merged and start <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((start, end))
        return merged

    def _found(self, data: bytes) -> Iterator[tuple[int, int]]:
        """In order, window by window, each those that begin in it: one key is some hundred pieces."""
        for at in range(0, len(data), _WINDOW):
            window = memoryview(data)[at : at + _WINDOW + self._longest - 1]
            found = self._automaton.find_matches_as_indexes(window, overlapping=True)
            yield from sorted((at + start, at + end) for _, start, end in found if start < _WINDOW)


def _pieces(of_one: Sequence[Form]) -> Iterator[bytes]:
    """Every stretch of each form that tells as much as 8 bytes of the value do."""
    length = max((len(form.needle) for form in of_one if form.name == AS_IT_IS), default=PIECE)
    for form in of_one:
        size = max(PIECE, PIECE * len(form.needle) // length)
        yield from (form.needle[at : at + size] for at in range(max(1, len(form.needle) - size + 1)))


def _wholes(of_one: Sequence[Form]) -> Iterator[bytes]:
    return (form.needle for form in of_one)


def _written(value: bytes) -> Iterator[tuple[str, bytes]]:
    yield AS_IT_IS, value
    yield from (("base64", needle) for needle in _both_alphabets(_aligned(value)))
    yield from (("base64, broken over lines", part) for part in _parts(_both_alphabets(_aligned(value))))
    yield from (("hex", needle) for needle in _hex(value))
    yield from (("SHA-256", needle) for needle in _digests(value))
    yield from (("URL-escaped", needle) for needle in _in_urls(value))
    yield from (("JSON-escaped", needle) for needle in _in_json(value))
    yield from (("shell-escaped", needle) for needle in _in_shells(value))
    yield from (("UTF-16", needle) for needle in _wide(value))
    rest = value.removeprefix(_PREFIX)
    if rest != value and len(rest) >= SHORTEST:  # LiteLLM and those who write about it know a key by either
        yield "without its prefix", rest


def _aligned(value: bytes) -> Iterator[bytes]:
    """The base64 of the value behind 0, 1 and 2 other bytes, without the characters that depend on its neighbours."""
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + value)
        yield encoded[(0, 2, 3)[before] : (before + len(value)) * 8 // 6]


def _both_alphabets(encoded: Iterable[bytes]) -> Iterator[bytes]:
    for each in encoded:
        yield each
        yield each.translate(_URL_SAFE)


def _parts(encoded: Iterable[bytes]) -> Iterator[bytes]:
    """Mail and `base64` break lines at 76 characters, PEM at 64: of one part more than there can be breaks in a needle
    one stays whole. One worth less than 8 bytes tells nothing."""
    for each in encoded:
        count = (len(each) - 2) // _LINE + 2
        if len(each) // count * 6 >= PIECE * 8:
            borders = [len(each) * part // count for part in range(count + 1)]
            yield from (each[start:end] for start, end in pairwise(borders))


def _hex(value: bytes) -> tuple[bytes, bytes]:
    return value.hex().encode(), value.hex().upper().encode()


def _digests(value: bytes) -> Iterator[bytes]:
    """LiteLLM's id of a key is the first of these."""
    digest = hashlib.sha256(value).digest()
    yield from _hex(digest)
    yield digest
    yield from (each.rstrip(b"=") for each in _both_alphabets([base64.b64encode(digest)]))


def _in_urls(value: bytes) -> Iterator[bytes]:
    """As little escaped as is allowed, as scripts do it, all but letters and digits, and all; in either hex digits."""
    quoted = [urllib.parse.quote(value, safe=safe) for safe in ("", _KEPT_BY_SCRIPTS)]
    quoted.append(urllib.parse.quote_plus(value, safe=""))
    for each in (text.encode() for text in quoted):
        yield from (each, _with_small_digits(each))
    for pattern in (rb"[^A-Za-z0-9]", rb"(?s)."):
        each = re.sub(pattern, lambda found: b"%%%02X" % found[0][0], value)
        yield from (each, _with_small_digits(each))


def _with_small_digits(quoted: bytes) -> bytes:
    return re.sub(rb"%[0-9A-F]{2}", lambda found: found[0].lower(), quoted)


def _in_json(value: bytes) -> Iterator[bytes]:
    """Plain, with slashes escaped, safe for HTML, as JSON within JSON, and with every character escaped."""
    text = _text(value)
    for ascii_only in (True, False):
        plain = json.dumps(text, ensure_ascii=ascii_only)[1:-1]
        safe = re.sub("[<>&']", lambda found: f"\\u{ord(found[0]):04x}", plain)
        yield from (each.encode() for each in (plain, plain.replace("/", "\\/"), safe, json.dumps(plain)[1:-1]))
    units = text.encode("utf-16-be").hex(" ", 2).split()
    yield "".join(f"\\u{unit}" for unit in units).encode()
    yield "".join(f"\\u{unit.upper()}" for unit in units).encode()


def _in_shells(value: bytes) -> Iterator[bytes]:
    """In single quotes both ways, in double quotes, with backslashes, and as systemd escapes names."""
    text = _text(value)
    yield text.replace("'", "'\"'\"'").encode()
    yield text.replace("'", "'\\''").encode()
    yield text.replace("\\", "\\\\").replace("'", "\\'").encode()
    yield _IN_DOUBLE_QUOTES.sub(r"\\\1", text).encode()
    yield _UNQUOTED.sub(r"\\\1", text).encode()
    yield re.sub(rb"[^A-Za-z0-9:_.]", lambda found: b"\\x%02x" % found[0][0], value)


def _wide(value: bytes) -> Iterator[bytes]:
    """Little and big endian, which are the same for what is plain ASCII once the outermost nul is left away."""
    text = _text(value)
    yield text.encode("utf-16-le").removesuffix(b"\0")
    yield text.encode("utf-16-be").removeprefix(b"\0")


def _text(value: bytes) -> str:
    """The value as text; bytes that are none stand for the characters of the same number."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
