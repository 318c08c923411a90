"""TOML: the standard library's parser says what is TOML and what it means; where that stands is found here.

Rules of this module:
1. What tomllib refuses is refused. What is found here must besides be the very tree that tomllib reads: every value
   at its path, and no other; else the file is refused.
2. Every value is a leaf, and so is a list or a table with nothing in it. Names are in the paths.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import Any, Final, TypeAlias

from keyrotor.errors import FormatError
from keyrotor.formats.paths import step
from keyrotor.formats.splice import BOM, Leaf, check_utf8, decoded, empty, fault, plain, position

MAX_DEPTH: Final = 100
MAX_SIZE: Final = 1 << 20  # tomllib takes seconds for a megabyte of nothing but short lines

_BLANK = re.compile(rb"[ \t\r\n]*+(?:#[^\n]*+[ \t\r\n]*+)*")
_BASIC = rb'[^"\\\n]*+(?:\\.[^"\\\n]*+)*'
_STRING = re.compile(
    rb'"""(?P<lines>[^"\\]*+(?:(?:\\(?s:.)|""?(?!"))[^"\\]*+)*"{0,2})"""'
    rb"|'''(?P<plain_lines>[^']*+(?:''?(?!')[^']*+)*'{0,2})'''"
    rb'|"(?P<basic>' + _BASIC + rb')"|' + rb"'(?P<literal>[^'\n]*+)'"
)
_NAME = re.compile(
    rb"[ \t]*+(?:(?P<bare>[A-Za-z0-9_-]++)|\"(?P<basic>" + _BASIC + rb")\"|'(?P<literal>[^'\n]*+)')[ \t]*+"
)
# A key of so many names would cost tomllib gigabytes.
_LONG_KEY = re.compile(rb"(?<![\w-])(?:(?:[\w-]++|\"[^\"\n]*+\"|'[^'\n]*+')[ \t]*+\.[ \t]*+){%d}" % MAX_DEPTH)
_BARE = re.compile(rb"\d{4}-\d\d-\d\d \d\d:[^\s,#\]}]*+|[^\s,#\]}]++")
_ESCAPES = re.compile(rb"\\[ \t]*+\r?\n[ \t\r\n]*+|\\x[0-9A-Fa-f]{2}|\\u[0-9A-Fa-f]{4}|\\U[0-9A-Fa-f]{8}|\\.|\r\n")
_LINE_ENDS = re.compile(rb"\r\n")
_MEANT = {b"b": b"\b", b"t": b"\t", b"n": b"\n", b"f": b"\f", b"r": b"\r", b"e": b"\x1b", b'"': b'"', b"\\": b"\\"}
_PLACE = re.compile(r"\(at line (\d+), column (\d+)\)\Z")

Steps: TypeAlias = tuple[str | int, ...]


def read(data: bytes) -> tuple[Leaf, ...]:
    """All leaves in the order of the file, or FormatError."""
    check_utf8(data)
    if data.startswith(BOM):
        raise fault("a byte order mark, which TOML does not allow,", data, 0)
    if len(data) > MAX_SIZE:
        raise fault("more than a megabyte", data, MAX_SIZE)
    if found := _LONG_KEY.search(data):
        raise fault("nested too deep", data, found.start())
    tree = _tree(data)
    scan = _Scan(data)
    scan.document()
    wanted = dict(_flat(tree))
    for steps in [steps for steps, value in wanted.items() if value == {} and steps in scan.headers]:
        scan.put(steps, empty(_path(steps), _key(steps), scan.headers[steps]))
    if scan.found.keys() != wanted.keys():
        raise fault("TOML that cannot be followed", data, 0)
    for steps, leaf in scan.found.items():
        if not _agrees(leaf, wanted[steps]):
            raise fault("TOML that cannot be followed", data, leaf.offsets[0])
    return tuple(sorted(scan.found.values(), key=lambda leaf: leaf.offsets[0]))


def _tree(data: bytes) -> dict[str, Any]:
    try:
        return tomllib.loads(data.decode())
    except RecursionError:
        at: tuple[int, ...] = ()
    except tomllib.TOMLDecodeError as error:
        place = _PLACE.search(str(error))
        at = (int(place[1]), int(place[2])) if place else position(data, len(data))
    # Raised out here because the error above may show what stands there.
    raise FormatError("not TOML", *at) if at else fault("nested too deep", data, 0)


class _Scan:
    """A file that is TOML, from value to value."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._sizes: dict[Steps, int] = {}  # of the lists of tables
        self.headers: dict[Steps, int] = {}
        self.found: dict[Steps, Leaf] = {}

    def document(self) -> None:
        at, base = self._past(0), Steps()
        while at < len(self._data):
            if self._data.startswith(b"[", at):
                at, base = self._header(at)
            else:
                at = self._pair(at, base)
            at = self._past(at)

    def put(self, steps: Steps, leaf: Leaf) -> None:
        self.found[steps] = leaf

    def _header(self, at: int) -> tuple[int, Steps]:
        is_list = self._data.startswith(b"[[", at)
        names, end = self._names(at + 1 + is_list)
        base = self._resolved(names[:-1] if is_list else names)
        if is_list:
            base = (*base, names[-1])
            self._sizes[base] = self._sizes.get(base, 0) + 1
            base = (*base, self._sizes[base] - 1)
        self.headers[base] = at
        return self._over(b"]]" if is_list else b"]", end), base

    def _resolved(self, names: Steps) -> Steps:
        """Where the names lead: in a list of tables, to its last one."""
        steps = Steps()
        for name in names:
            steps = (*steps, name)
            if steps in self._sizes:
                steps = (*steps, self._sizes[steps] - 1)
        return steps

    def _names(self, at: int) -> tuple[Steps, int]:
        names: list[str] = []
        while True:
            found = _NAME.match(self._data, at)
            if found is None or len(names) == MAX_DEPTH:
                raise fault("nested too deep" if found else "TOML that cannot be followed", self._data, at)
            raw = found[found.lastgroup or 0]
            names.append((decoded(raw, 0, _ESCAPES, _meant)[0] if found.lastgroup == "basic" else raw).decode())
            at = found.end()
            if not self._data.startswith(b".", at):
                return tuple(names), at
            at += 1

    def _pair(self, at: int, base: Steps) -> int:
        names, at = self._names(at)
        return self._value(self._past(self._over(b"=", at)), (*base, *names))

    def _value(self, at: int, steps: Steps) -> int:
        if len(steps) > MAX_DEPTH:
            raise fault("nested too deep", self._data, at)
        if self._data.startswith(b"[", at):
            return self._many(at, steps, b"]")
        if self._data.startswith(b"{", at):
            return self._many(at, steps, b"}")
        if found := _STRING.match(self._data, at):
            self._string(found, steps)
        elif found := _BARE.match(self._data, at):
            text = plain(found[0], at)
            self.put(steps, Leaf(_path(steps), _key(steps), *text, is_text=False))
        return found.end() if found else self._over(b"a value", at)

    def _many(self, at: int, steps: Steps, close: bytes) -> int:
        """A list in brackets or a table in braces."""
        at, size = self._past(at + 1), 0
        while not self._data.startswith(close, at):
            at = self._past(self._value(at, (*steps, size)) if close == b"]" else self._pair(at, steps))
            size += 1
            if not self._data.startswith(close, at):
                at = self._past(self._over(b",", at))
        if not size:
            self.put(steps, empty(_path(steps), _key(steps), at))
        return at + 1

    def _string(self, found: re.Match[bytes], steps: Steps) -> None:
        kind = found.lastgroup or ""
        raw, start = found[kind], found.start(kind)
        if kind in ("lines", "plain_lines"):
            first = len(raw) - len(raw.removeprefix(b"\r").removeprefix(b"\n"))  # the first line's end means nothing
            raw, start = raw[first:], start + first
        text, offsets, ends = decoded(raw, start, _ESCAPES if kind in ("lines", "basic") else _LINE_ENDS, _meant)
        self.put(steps, Leaf(_path(steps), _key(steps), text, offsets, ends))

    def _past(self, at: int) -> int:
        found = _BLANK.match(self._data, at)
        return found.end() if found else at

    def _over(self, sign: bytes, at: int) -> int:
        if not self._data.startswith(sign, at):
            raise fault("TOML that cannot be followed", self._data, at)
        return at + len(sign)


def _meant(escape: bytes) -> bytes:
    if escape == b"\r\n":
        return b"\n"
    if escape[1:2] in (b"x", b"u", b"U"):
        return chr(int(escape[2:], 16)).encode()
    return _MEANT.get(escape[1:2], b"")  # nothing for a line that goes on in the next one


def _path(steps: Steps) -> str:
    return "".join(f"[{each}]" if isinstance(each, int) else step(each) for each in steps).removeprefix(".")


def _key(steps: Steps) -> str:
    return next(each for each in reversed(steps) if isinstance(each, str))


def _flat(tree: Any) -> Iterator[tuple[Steps, Any]]:
    """Every value of the tree and every empty list or table, by its steps; the tree itself may be empty."""
    left: list[tuple[Steps, Any]] = [((name,), each) for name, each in tree.items()]
    while left:
        steps, value = left.pop()
        if value and isinstance(value, dict | list):
            inner = value.items() if isinstance(value, dict) else enumerate(value)
            left += [((*steps, name), each) for name, each in inner]
        else:
            yield steps, value


def _agrees(leaf: Leaf, value: Any) -> bool:
    """Whether the leaf means what tomllib says of it."""
    if leaf.is_text or isinstance(value, str):
        return leaf.is_text and isinstance(value, str) and leaf.text == value.encode()
    if isinstance(value, dict | list):
        return not leaf.text
    return bool(leaf.text) and repr(tomllib.loads(f"v = {leaf.text.decode()}")["v"]) == repr(value)
