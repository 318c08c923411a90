"""Leaves, tokens and the one way to change them: cut bytes, then prove that nothing else moved.

Rules of this module:
1. A parser only finds and checks. The new file is the old file with some spans replaced, never a dump.
2. A value counts only as a whole token: `sk-OLD` is not in `sk-OLD2`, but it is in `Bearer sk-OLD`.
3. Only a value that no format has to quote or escape is spliced in.
4. A splice is believed after the result was read again and every leaf is the one expected.
5. No error holds a byte of the file, nor is raised while one that does is handled: these files hold secrets.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from keyrotor.errors import FormatError

# Needs no quoting or escaping in JSON, YAML, TOML, dotenv, sh, systemd or compose, and GitLab can mask it.
SAFE: Final = re.compile(rb"[A-Za-z0-9_./:@%+,=-]+")  # what no format here has to quote; a former value may have it

BOM: Final = b"\xef\xbb\xbf"
_WORDS: Final = re.compile(rb"[A-Za-z0-9_-]+=*")
_WORD: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")


@dataclass(frozen=True, slots=True)
class Leaf:
    """One value of a file: what it means, and which raw bytes mean it.

    `offsets[i]` is where the raw bytes of `text[i]` begin and `offsets[len(text)]` where they end;
    a `range`, which costs nothing, wherever the file says the text as it is.
    """

    path: str
    key: str
    text: bytes
    offsets: Sequence[int]


@dataclass(frozen=True, slots=True)
class Token:
    """One occurrence of a value in a leaf, as a span of raw bytes."""

    leaf: Leaf
    start: int
    end: int


Reader: TypeAlias = Callable[[bytes], tuple[Leaf, ...]]


def tokens(leaves: Sequence[Leaf], value: bytes) -> tuple[Token, ...]:
    """Every place in the leaves where the value stands as a whole token, in the order of the file."""
    return tuple(
        Token(leaf, leaf.offsets[at], leaf.offsets[at + len(value)])
        for leaf in leaves
        for at in _guarded(leaf.text, value)
    )


def replace(read: Reader, data: bytes, tokens: Sequence[Token], value: bytes) -> bytes:
    """The file with the value at each token, proven to differ in nothing else, or FormatError."""
    if not SAFE.fullmatch(value):
        raise ValueError("the value has characters outside of the safe alphabet")
    chosen = sorted(tokens, key=lambda token: token.start)
    spliced = bytearray(data)
    for token in reversed(chosen):
        spliced[token.start : token.end] = value
    result = bytes(spliced)
    _prove_outside(data, result, chosen, len(value))
    _prove_leaves(read(data), read(result), chosen, value, data)
    return result


def raw_hits(data: bytes, leaves: Sequence[Leaf], value: bytes) -> int:
    """How often the value stands outside of every leaf, as in comments and keys, where no splice goes."""
    spans = [(leaf.offsets[0], leaf.offsets[-1]) for leaf in leaves]
    return sum(not any(start <= at and at + len(value) <= end for start, end in spans) for at in _guarded(data, value))


def words(leaf: Leaf) -> frozenset[bytes]:
    """The leaf's whole text, and each word in it that could be a value; a value with other characters is no word."""
    return frozenset((leaf.text, *_WORDS.findall(leaf.text))) - {b""}


def references(leaves: Sequence[Leaf], name: str) -> bool:
    """Whether a leaf takes its value from the variable `name` instead of holding it."""
    word = re.escape(name.encode())
    reference = re.compile(
        # A dollar after a dollar or a backslash is an escaped one: compose and the shells read it as text.
        rb"(?<![\\$])\$(?:%b(?![A-Za-z0-9_])|\{%b(?:[:?+=-][^}]*)?\}|\{\{\s*secrets\.%b\s*\}\})"
        rb"|(?<![A-Za-z0-9_.-])(?:env:|os\.environ/)%b(?![A-Za-z0-9_])" % (word, word, word, word)
    )
    return any(reference.search(leaf.text) for leaf in leaves)


def fault(why: str, data: bytes, at: int) -> FormatError:
    """The error that points at a byte, in the lines and columns an editor shows."""
    return FormatError(why, *position(data, at))


def position(data: bytes, at: int) -> tuple[int, int]:
    """The line and the column of a byte, as an editor shows them."""
    before = data[:at].removeprefix(BOM)
    line = before.rpartition(b"\n")[2]
    return before.count(b"\n") + 1, len(line.decode(errors="replace")) + 1


def check_utf8(data: bytes) -> None:
    """Refuses bytes that are not UTF-8, on behalf of every reader: no format here allows others."""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        at = error.start
    else:
        return
    # Raised out here because the error above carries the whole file as its context.
    raise fault("invalid utf-8", data, at)


def _guarded(text: bytes, value: bytes) -> Iterator[int]:
    """Where the value stands as a whole token; by hand, since `re` would keep it in its cache of patterns."""
    if not value:
        raise ValueError("an empty value stands everywhere and nowhere")
    at = text.find(value)
    while at >= 0:
        end = at + len(value)
        whole = (at == 0 or text[at - 1] not in _WORD) and (end == len(text) or text[end] not in _WORD)
        if whole:
            yield at
        at = text.find(value, end if whole else at + 1)


def _prove_outside(old: bytes, new: bytes, chosen: Sequence[Token], length: int) -> None:
    """Byte for byte the same between the spans; spans that overlap or leave the file cannot be."""
    done_old = done_new = 0
    for token in chosen:
        if not done_old <= token.start <= token.end <= len(old):
            raise fault("spans that overlap or leave the file", old, token.start)
        kept = token.start - done_old
        if old[done_old : token.start] != new[done_new : done_new + kept]:
            raise fault("a byte beside the spans changed", old, done_old)
        done_old, done_new = token.end, done_new + kept + length
    if old[done_old:] != new[done_new:]:
        raise fault("a byte beside the spans changed", old, done_old)


def _prove_leaves(old: Sequence[Leaf], new: Sequence[Leaf], chosen: Sequence[Token], value: bytes, data: bytes) -> None:
    """The same leaves in the same order, with the same texts except where the value was put."""
    if len(old) != len(new):
        raise fault("the splice changed how many values there are", data, chosen[0].start if chosen else 0)
    # By the place in the file, which is the leaf's own; a path may repeat.
    spliced: dict[int, list[Token]] = {}
    for token in chosen:
        spliced.setdefault(token.leaf.offsets[0], []).append(token)
    for before, after in zip(old, new, strict=True):
        text, here = before.text, spliced.pop(before.offsets[0], None)
        if here is not None:
            text = _expected(before, here, value, data)
        if text != after.text or before.path != after.path or before.key != after.key:
            raise fault("the splice changed another value", data, before.offsets[0])
    if spliced:
        raise fault("the value is no longer where it was seen", data, min(spliced))


def _expected(leaf: Leaf, tokens: Sequence[Token], value: bytes, data: bytes) -> bytes:
    """What the leaf must say after the splice, worked out on the decoded text, not on the bytes."""
    parts, done = [], 0
    for token in tokens:
        if token.leaf != leaf:
            raise fault("the value is no longer where it was seen", data, token.start)
        start, end = bisect_left(leaf.offsets, token.start), bisect_left(leaf.offsets, token.end)
        parts += [leaf.text[done:start], value]
        done = end
    return b"".join([*parts, leaf.text[done:]])
