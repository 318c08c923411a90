"""Leaves, tokens and the one way to change them: cut bytes, then prove that nothing else moved.

Rules of this module:
1. A parser only finds and checks. The new file is the old file with some spans replaced, never a dump.
2. A value counts only as a whole token: `sk-OLD` is not in `sk-OLD2`, but it is in `Bearer sk-OLD`, and in
   `${NAME:-sk-OLD}`.
3. Only a value that no format has to quote or escape is spliced in, or a reference to one.
4. A splice is believed after the result was read again and every leaf is the one expected.
   What stands in no leaf is changed only where it is asked for, and only where that is a comment.
5. No error holds a byte of the file, nor is raised while one that does is handled: these files hold secrets.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from keyrotor.errors import FormatError
from keyrotor.formats import references

# Needs no quoting or escaping in JSON, YAML, TOML, dotenv, sh, systemd or compose, and GitLab can mask it.
SAFE: Final = re.compile(rb"[A-Za-z0-9_./:@%+,=-]+")  # what no format here has to quote; a former value may have it

BOM: Final = b"\xef\xbb\xbf"
_NAME: Final = rb"[A-Za-z_][A-Za-z0-9_]*+"
_ASSIGNED: Final = re.compile(
    rb"(?:(?<![A-Za-z0-9_])(?P<name>@)=[\"']?|\$\{(?P<else>@):?[=+?-])\Z".replace(b"@", _NAME)
)
_DEFAULT: Final = re.compile(rb"(?::|\$\{@)-\Z".replace(b"@", _NAME))  # before what a reference falls back on
_LONGEST_NAME: Final = 200  # of a variable; a text may be long
_WORDS: Final = re.compile(rb"(?:(?<=:)-|(?<=\$\{)@-)?([A-Za-z0-9_-]+=*)".replace(b"@", _NAME))
_WORD: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")


@dataclass(frozen=True, slots=True)
class Leaf:
    """One value of a file: what it means, and which raw bytes mean it.

    `offsets[i]` is where the raw bytes of `text[i]` begin and `offsets[len(text)]` where they end;
    a `range`, which costs nothing, wherever the file says the text as it is. Where bytes that mean nothing follow
    those of `text[i - 1]`, as a line that goes on behind a backslash, `(i, end)` of `ends` says where those end.
    """

    path: str
    key: str
    text: bytes
    offsets: Sequence[int]
    ends: tuple[tuple[int, int], ...] = ()
    is_text: bool = True  # not a number, a date or a truth, which a word without quotes is in some formats


@dataclass(frozen=True, slots=True)
class Token:
    """One occurrence of a value in a leaf, as a span of raw bytes."""

    leaf: Leaf
    start: int
    end: int

    @property
    def key(self) -> str:
        """Whose value it is: that of the variable in a text such as `env NAME=value` or `${NAME:-value}`, else the
        leaf's own."""
        text = self.leaf.text[: bisect_left(self.leaf.offsets, self.start)]
        found = _ASSIGNED.search(text, max(0, len(text) - _LONGEST_NAME))
        return (found["name"] or found["else"]).decode() if found else self.leaf.key


Decoded: TypeAlias = tuple[bytes, Sequence[int], tuple[tuple[int, int], ...]]
Reader: TypeAlias = Callable[[bytes], tuple[Leaf, ...]]
Span: TypeAlias = tuple[int, int]


def tokens(leaves: Sequence[Leaf], value: bytes) -> tuple[Token, ...]:
    """Every place in the leaves where the value stands as a whole token, in the order of the file."""
    return tuple(part(leaf, at, at + len(value)) for leaf in leaves for at in _guarded(leaf.text, value))


def whole(leaf: Leaf) -> Token:
    """All that the leaf says, but for blanks and line ends around it."""
    start = len(leaf.text) - len(leaf.text.lstrip())
    return part(leaf, start, max(start, len(leaf.text.rstrip())))


def part(leaf: Leaf, start: int, end: int) -> Token:
    """What the leaf says from `start` to `end`."""
    return Token(leaf, leaf.offsets[start], dict(leaf.ends).get(end, leaf.offsets[end]))


def replace(read: Reader, data: bytes, tokens: Sequence[Token], value: bytes, raw: Sequence[Span] = ()) -> bytes:
    """The file with the value at each token, and in the comments at these spans, proven to differ in nothing else, or
    FormatError."""
    return replaced(read, data, read(data), tokens, value, raw)[0]


def replaced(
    read: Reader, data: bytes, before: Sequence[Leaf], tokens: Sequence[Token], value: bytes, raw: Sequence[Span] = ()
) -> tuple[bytes, tuple[Leaf, ...]]:
    """The same, and its leaves, where those of the file are known: a big file takes longer to read than all else."""
    if not (SAFE.fullmatch(value) or references.is_one(value)):
        raise ValueError("the value has characters outside of the safe alphabet")
    chosen = sorted(tokens, key=lambda token: token.start)
    if raw:
        _want_comments(read, data, before, raw, value)
    spans = sorted([*((token.start, token.end) for token in chosen), *raw])
    if not spans:
        return data, tuple(before)
    result = _cut(data, spans, value)
    _prove_outside(data, result, spans, len(value))
    after = read(result)
    _prove_leaves(before, after, chosen, value, data)
    return result, after


def raw_tokens(data: bytes, leaves: Sequence[Leaf], value: bytes) -> tuple[Span, ...]:
    """Every place outside of all leaves where the value stands as a whole token, as in comments and names."""
    placed = sorted(leaves, key=lambda leaf: (leaf.offsets[0], leaf.offsets[-1]))
    starts = [leaf.offsets[0] for leaf in placed]
    ends = ((at, at + len(value), bisect_right(starts, at)) for at in _guarded(data, value))
    return tuple((at, end) for at, end, after in ends if not after or end > placed[after - 1].offsets[-1])


def raw_hits(data: bytes, leaves: Sequence[Leaf], value: bytes) -> int:
    """How often the value stands outside of all leaves."""
    return len(raw_tokens(data, leaves, value))


def words(leaf: Leaf) -> frozenset[bytes]:
    """The leaf's whole text, and each word in it that could be a value; a value with other characters is no word."""
    return words_in(leaf.text) | {leaf.text} - {b""}


def words_in(text: bytes) -> frozenset[bytes]:
    """Each word that could be a value."""
    return frozenset(_WORDS.findall(text))


def empty(path: str, key: str, at: int) -> Leaf:
    """A list or a table with nothing in it: a leaf, lest a change of its name went unseen."""
    return Leaf(path, key, b"", range(at, at + 1), is_text=False)


def plain(raw: bytes, start: int) -> Decoded:
    """The bytes that stand at `start`, which mean themselves."""
    return raw, range(start, start + len(raw) + 1), ()


def decoded(raw: bytes, start: int, escapes: re.Pattern[bytes], meant: Callable[[bytes], bytes]) -> Decoded:
    """What the bytes that stand at `start` mean if each of these escapes is replaced: text, offsets and ends."""
    text, offsets, ends, done = bytearray(), list[int](), list[tuple[int, int]](), 0
    for escape in escapes.finditer(raw):
        meaning = meant(escape[0])
        text += raw[done : escape.start()] + meaning
        offsets += range(start + done, start + escape.start())
        offsets += [start + escape.start()] * len(meaning)
        if not meaning and text and (not ends or ends[-1][0] != len(text)):
            ends.append((len(text), start + escape.start()))
        done = escape.end()
    offsets += range(start + done, start + len(raw) + 1)
    return bytes(text + raw[done:]), tuple(offsets), tuple(ends)


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
        whole = _begins(text, at) and (end == len(text) or text[end] not in _WORD)
        if whole:
            yield at
        at = text.find(value, end if whole else at + 1)


def _begins(text: bytes, at: int) -> bool:
    """Whether a word may begin there: the hyphen before a default is no part of it."""
    if at == 0 or text[at - 1] not in _WORD:
        return True
    return text[at - 1] == ord("-") and _DEFAULT.search(text, max(0, at - _LONGEST_NAME), at) is not None


def _cut(data: bytes, spans: Sequence[Span], value: bytes) -> bytes:
    spliced = bytearray(data)
    for start, end in reversed(spans):
        spliced[start:end] = value
    return bytes(spliced)


def _want_comments(read: Reader, data: bytes, before: Sequence[Leaf], raw: Sequence[Span], value: bytes) -> None:
    """Refuses what is more than a comment: the file with another word there is another file."""
    if _says_the_same(read, before, _cut(data, sorted(raw), value)):
        return
    wrong = (span for span in raw if not _says_the_same(read, before, _cut(data, [span], value)))
    raise fault("the value stands in a name", data, next(wrong, raw[0])[0])


def _says_the_same(read: Reader, before: Sequence[Leaf], data: bytes) -> bool:
    try:
        after = read(data)
    except FormatError:
        return False
    return [_said(leaf) for leaf in before] == [_said(leaf) for leaf in after]


def _said(leaf: Leaf) -> tuple[object, ...]:
    return leaf.path, leaf.key, leaf.text, leaf.is_text


def _prove_outside(old: bytes, new: bytes, spans: Sequence[Span], length: int) -> None:
    """Byte for byte the same between the spans; spans that overlap or leave the file cannot be."""
    done_old = done_new = 0
    for start, end in spans:
        if not done_old <= start <= end <= len(old):
            raise fault("spans that overlap or leave the file", old, start)
        kept = start - done_old
        if old[done_old:start] != new[done_new : done_new + kept]:
            raise fault("a byte beside the spans changed", old, done_old)
        done_old, done_new = end, done_new + kept + length
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
        expected, here = _said(before), spliced.pop(before.offsets[0], None)
        if here is not None:
            if not (before.is_text and after.is_text):
                raise fault("a value without quotes that is a number or the like, not a text,", data, before.offsets[0])
            text = _expected(before, here, value, data)
            expected = (before.path, after.key, text, True)
        if _said(after) != expected:
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
