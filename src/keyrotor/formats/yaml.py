"""YAML as ruamel's parser takes it: every scalar that is no name is a leaf, in each of a file's documents.

Rules of this module:
1. The parser's events tell what is there and where; nothing is composed, so that an alias costs nothing. An alias is
   no leaf: its value stands at its anchor.
2. A duplicate name is a leaf of its own, as in json.py, and so is the same path in another document.
3. The parser tells what a scalar means, but not which bytes mean which character. That is worked out here and must
   come to the same text; a file with a scalar of which it does not is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final

from keyrotor.formats.paths import ROOT, step
from keyrotor.formats.splice import Decoded, Leaf, check_utf8, decoded, empty, fault, plain

MAX_DEPTH: Final = 200
MAX_SIZE: Final = 1 << 20  # the parser takes some ten seconds for a megabyte

_BREAK = rb"(?:\r\n|\n|\r)"
_FOLD = rb"(?<![ \t])[ \t]*+" + _BREAK + rb"[ \t\r\n]*+"
_HEX = rb"\\x[0-9A-Fa-f]{2}|\\u[0-9A-Fa-f]{4}|\\U[0-9A-Fa-f]{8}"
_ESCAPES = {
    "": re.compile(_FOLD),
    "'": re.compile(rb"''|" + _FOLD),
    '"': re.compile(_HEX + rb"|\\" + _BREAK + rb"[ \t\r\n]*+|\\.|" + _FOLD),
}
_MEANT = {
    **{b"0": "\0", b"a": "\a", b"b": "\b", b"t": "\t", b"\t": "\t", b"n": "\n", b"v": "\v", b"f": "\f", b"r": "\r"},
    **{b"e": "\x1b", b" ": " ", b'"': '"', b"/": "/", b"\\": "\\", b"N": "\x85", b"_": "\xa0"},
    **{b"L": "\u2028", b"P": "\u2029"},
}
_BREAKS = re.compile(_BREAK)
_LINE = re.compile(rb"([^\r\n]*+)(" + _BREAK + rb"|\Z)")
_PROPERTIES = re.compile(rb"(?:[&!][^ \t\r\n]*+(?:[ \t\r\n]|#[^\r\n]*+)*)*")
# What a word without quotes is, for some reader of YAML 1.1 or 1.2, if it is no text.
_NO_TEXT = re.compile(
    r"[-+]?(?:\d[\d_]*+(?:\.[\d_]*+)?(?:[eE][-+]?\d++)?|\.\d[\d_]*+(?:[eE][-+]?\d++)?|0x[\da-fA-F_]++|0o[0-7_]++"
    r"|0b[01_]++|\d[\d_]*(?::[0-5]?\d)+(?:\.\d*+)?|\.(?:inf|Inf|INF))|\.(?:nan|NaN|NAN)"
    r"|\d{4}-\d\d?-\d\d?[Tt \d:.Zz+-]*+|[yYnN]|[yY]es|YES|[nN]o|NO|[oO]n|ON|[oO]ff|OFF|[tT]rue|TRUE|[fF]alse|FALSE|[=<]"
)


def read(data: bytes) -> tuple[Leaf, ...]:
    """All leaves in the order of the file, or FormatError."""
    check_utf8(data)
    if len(data) > MAX_SIZE:
        raise fault("more than a megabyte", data, MAX_SIZE)
    return tuple(_Walk(data).leaves())


@dataclass(slots=True)
class _Inside:
    """What the walk is in: a list, a table, or neither."""

    path: str = ""
    key: str = ""  # the nearest name above what stands in it
    is_table: bool = False
    name: str | None = None  # of the value that comes next
    size: int = 0


class _Walk:
    """One file, from event to event."""

    def __init__(self, data: bytes) -> None:
        self._data, self._text = data, data.decode()
        # Where each character stands: the parser counts in characters.
        self._starts: Sequence[int] = range(len(data) + 1)
        if not data.isascii():
            self._starts = [0, *accumulate(len(char.encode()) for char in self._text)]
        self._outer: list[_Inside] = []
        self._inside = _Inside()
        self._anchors: set[str] = set()

    def leaves(self) -> Iterator[Leaf]:
        from ruamel.yaml import events as kinds  # 35 ms

        for event in self._events():
            if anchor := getattr(event, "anchor", None):
                self._meet(event, anchor, is_alias=isinstance(event, kinds.AliasEvent))
            if isinstance(event, kinds.ScalarEvent):
                yield from self._scalar(event)
            elif isinstance(event, kinds.CollectionStartEvent):
                self._open(event, is_table=isinstance(event, kinds.MappingStartEvent))
            elif isinstance(event, kinds.CollectionEndEvent):
                if not self._inside.size:
                    yield empty(self._inside.path or ROOT, self._inside.key, self._at(event.start_mark))
                self._inside = self._outer.pop()
            elif isinstance(event, kinds.AliasEvent):
                self._place(event)
            elif isinstance(event, kinds.DocumentStartEvent):
                self._inside, self._anchors = _Inside(), set()

    def _events(self) -> Iterator[Any]:
        from ruamel.yaml import YAML
        from ruamel.yaml.error import YAMLError

        try:
            yield from YAML(typ="safe", pure=True, plug_ins=[]).parse(self._text)
        except YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            at = mark.index if mark else getattr(error, "position", 0)
        except (ValueError, OverflowError):  # an escape of more than there are characters
            at = 0
        else:
            return
        # Raised out here because the errors above show what stands there.
        why = "a tab where YAML wants none" if self._text[at : at + 1] == "\t" else "not YAML"
        raise fault(why, self._data, self._starts[at])

    def _at(self, mark: Any) -> int:
        index: int = mark.index
        return self._starts[index]

    def _meet(self, event: Any, anchor: str, *, is_alias: bool) -> None:
        if not is_alias:
            self._anchors.add(anchor)
        elif anchor not in self._anchors:
            raise fault("an alias of nothing", self._data, self._at(event.start_mark))

    def _place(self, event: Any, name: str | None = None) -> tuple[str, str] | None:
        """The path and the key of what comes next; None if it is a name itself."""
        inside = self._inside
        if not inside.is_table:
            inside.size += 1
            return (f"{inside.path}[{inside.size - 1}]" if self._outer else ""), inside.key
        if inside.name is not None:
            key, inside.name = inside.name, None
            return (inside.path + step(key)).removeprefix("" if inside.path else "."), key
        if name is None:
            raise fault("a name that is no word", self._data, self._at(event.start_mark))
        inside.name, inside.size = name, inside.size + 1
        return None

    def _open(self, event: Any, *, is_table: bool) -> None:
        placed = self._place(event)
        if placed is None or len(self._outer) == MAX_DEPTH:
            raise fault("nested too deep", self._data, self._at(event.start_mark))
        self._outer.append(self._inside)
        self._inside = _Inside(*placed, is_table)

    def _scalar(self, event: Any) -> Iterator[Leaf]:
        placed = self._place(event, event.value)
        if placed is None:
            return
        path, key = placed
        start, end, style = self._at(event.start_mark), self._at(event.end_mark), event.style or ""
        text = event.value.encode(errors="surrogatepass")
        has_tag = False
        if self._data[start : start + 1] in (b"&", b"!"):
            body = _PROPERTIES.match(self._data, start, end)
            has_tag = b"!" in self._data[start : body.end()] if body else False
            start = body.end() if body and (text or style) else end
        found = _followed(self._data[start:end], start, style, text)
        if found is None:
            raise fault("a value that cannot be followed from line to line", self._data, start)
        is_text = bool(style) or has_tag or not _NO_TEXT.fullmatch(event.value)
        yield Leaf(path or ROOT, key, *found, is_text)


def _followed(raw: bytes, start: int, style: str, text: bytes) -> Decoded | None:
    """Which bytes mean which of the text; None where that does not come out."""
    if style in ("|", ">"):
        found = _block(raw, start, text, is_folded=style == ">")
    else:
        quote = len(style)
        body = raw[quote : len(raw) - quote]
        if body == text:
            return plain(body, start + quote)
        found = decoded(body, start + quote, _ESCAPES[style], _meant)
    return found if found[0] == text else None


def _meant(escape: bytes) -> bytes:
    """What stands for one escape, or for a line's end and all that is blank around it."""
    if escape == b"''":
        return b"'"
    sign = escape[1:2] if escape.startswith(b"\\") else b""
    if sign in (b"x", b"u", b"U"):
        return chr(int(escape[2:], 16)).encode(errors="surrogatepass")
    if sign not in (b"", b"\r", b"\n"):
        return _MEANT.get(sign, "").encode()
    breaks = len(_BREAKS.findall(escape))
    return b"\n" * (breaks - 1) if breaks > 1 or sign else b" "


def _block(raw: bytes, start: int, text: bytes, *, is_folded: bool) -> Decoded:
    """A text in lines of its own, as ruamel's scanner takes it step by step."""
    lines = [found for found in _LINE.finditer(raw) if found[0]]
    flags, lines = lines[0][1].partition(b"#")[0], lines[1:]
    indent = _margin(line[1] for line in lines) - _margin(text.split(b"\n"))
    out, offsets, ends = bytearray(), list[int](), list[tuple[int, int]]()
    blank = list[int]()  # the ends of the lines without anything, since the last one with something
    last, is_flush, end = -1, False, len(raw)

    def put(what: bytes, at: Sequence[int]) -> None:
        out.extend(what)
        offsets.extend(start + each for each in at)

    for line in lines:
        content, at = line[1][indent:], line.start(1) + indent
        if not content:
            blank.append(line.start(2))
            continue
        is_flush, was_flush = content[:1] not in (b" ", b"\t"), is_flush
        if last >= 0 and not (is_folded and was_flush and is_flush):
            put(b"\n", [last])
        elif last >= 0 and not blank:
            put(b" ", [last])
        elif last >= 0:
            ends.append((len(out), start + last))  # where lines are blank, a line's end means nothing
        put(b"\n" * len(blank), blank)
        put(content, range(at, line.start(2)))
        blank, last, end = [], line.start(2), line.end()
    if b"-" in flags and last >= 0:
        end = last
    elif last >= 0 and end > last:
        put(b"\n", [last])
    if b"+" in flags:
        put(b"\n" * len(blank), blank)
        end = len(raw)
    return bytes(out), (*offsets, start + end), tuple(ends)


def _margin(lines: Iterator[bytes] | Sequence[bytes]) -> int:
    """How far the first line that is not blank is indented."""
    found = next((line for line in lines if line.strip(b" ")), b"")
    return len(found) - len(found.lstrip(b" "))
