"""Env files: `KEY=value` lines as systemd, the shells, direnv and python-dotenv all read them.

Rules of this module:
1. Where those readers differ (a backslash at a line's end, text after a closing quote) it refuses instead
   of taking sides.
2. A leaf is the value without quotes, inline comment and trailing blanks. Backslashes stay as they are
   written: what they mean depends on the reader, and a safe value has none.
3. Every line is an assignment, a comment or blank. All else, as a conflict marker or a command, is refused.
4. What `render` writes needs no quotes anywhere; a value that would is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from keyrotor.errors import FormatError
from keyrotor.formats.splice import BOM, Leaf, check_utf8, fault

_HEAD = rb"(?:export[ \t]++|(?!export[ \t]))(?P<name>[A-Za-z_][A-Za-z0-9_.-]*+)[ \t]*+=[ \t]*+"
_DOUBLE = rb'"(?P<double>[^"\\]*+(?:\\(?s:.)[^"\\]*+)*)"'
# The shells end the string at \', python-dotenv does not.
_SINGLE = rb"'(?P<single>[^'\\]*+(?:\\(?!')[^'\\]*+)*)'"
# A # begins a comment only after a blank.
_WORD = rb"(?:[^ \t\r\n#]|(?<![ \t])#)[^ \t\r\n]*+"
_BARE = rb"(?P<bare>(?:(?![\"'])" + _WORD + rb"(?:[ \t]++" + _WORD + rb")*)?)"
_COMMENT = rb"#[^\r\n]*+"
_END = rb"\r?(?:\n|\Z)"
_ASSIGNMENT = (
    _HEAD + rb"(?:" + _DOUBLE + rb"|" + _SINGLE + rb"|" + _BARE + rb")"
    rb"[ \t]*+(?:(?<=[ \t])" + _COMMENT + rb")?(?<!\\)" + _END
)
_LINE = re.compile(rb"[ \t]*+(?:" + _ASSIGNMENT + rb"|(?:[#;][^\r\n]*+)?" + _END + rb")")
_BEGINNING = re.compile(rb"[ \t]*+" + _HEAD)
_QUOTED = re.compile(_DOUBLE + rb"|" + _SINGLE)
_REST = re.compile(rb"[^\r\n]*+")

_RENDERED_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# A leading = is legal for the four readers, but zsh looks for a command of that name.
_RENDERED_VALUE = re.compile(rb"(?!=)[A-Za-z0-9_./:@%+,=-]*")


def read(data: bytes) -> tuple[Leaf, ...]:
    """The value of every assignment in the order of the file, or FormatError."""
    check_utf8(data)
    if (nul := data.find(b"\0")) >= 0:
        raise fault("a nul byte", data, nul)
    leaves: list[Leaf] = []
    at = len(BOM) if data.startswith(BOM) else 0
    while at < len(data):
        line = _LINE.match(data, at)
        if line is None:
            raise _fault(data, at)
        if (quoting := line.lastgroup) is not None:
            start, end = line.span(quoting)
            name = line["name"].decode()
            leaves.append(Leaf(name, name, line[quoting], range(start, end + 1)))
        at = line.end()
    return tuple(leaves)


def render(values: Mapping[str, bytes]) -> bytes:
    """A whole env file that systemd, bash, direnv and python-dotenv read back as these very values."""
    for name, value in values.items():
        if not _RENDERED_NAME.fullmatch(name):
            raise ValueError(f"cannot render {name!r}: not the name of a variable")
        if not _RENDERED_VALUE.fullmatch(value):
            raise ValueError(f"cannot render {name}: the value would need quotes, and readers differ in those")
    return b"".join(b"%b=%b\n" % (name.encode(), value) for name, value in values.items())


def with_line(data: bytes, name: str, value: bytes) -> bytes:
    """The file with one more assignment at its end, in its own line ends; proven to differ in nothing else."""
    newline = b"\r\n" if b"\r\n" in data else b"\n"
    whole = data if not data or data.endswith(b"\n") else data + newline
    result = whole + render({name: value}).replace(b"\n", newline)
    before, after = read(data), read(result)
    if after[:-1] != before or (after[-1].key, after[-1].text) != (name, value):
        raise fault("a line cannot be added", data, len(data))
    return result


def _fault(data: bytes, at: int) -> FormatError:
    """Why this line is none of the three kinds, at the byte where that shows."""
    beginning = _BEGINNING.match(data, at)
    if beginning is None:
        indent = len(data) - len(data[at:].lstrip(b" \t"))
        return fault("expected KEY=value or a comment", data, indent)
    at = beginning.end()
    if data[at : at + 1] in (b'"', b"'"):
        quoted = _QUOTED.match(data, at)
        if quoted is None:
            return fault("a quote that is not closed, or not in a way all readers agree on", data, at)
        return fault("text after the closing quote", data, quoted.end())
    rest = _REST.match(data, at)
    return fault("a backslash or carriage return readers differ in", data, rest.end() if rest else at)
