"""Env files: `KEY=value` lines as systemd, the shells, direnv and python-dotenv all read them.

Rules of this module:
1. Where those readers differ (a backslash at a line's end, text after a closing quote) it refuses instead
   of taking sides.
2. A leaf is the value without quotes, inline comment and trailing blanks. Backslashes stay as they are
   written: what they mean depends on the reader, and a safe value has none.
3. Every line is an assignment, a comment or blank. All else, as a conflict marker or a command, is refused.
4. A file may hold what they do not take alike (rules 1 and 3 let comments behind a value and `export` pass, for a
   splice leaves them as they are): `trouble` and `is_plain` tell.
5. What is written is bare where no reader needs quotes, else in single quotes, else in double ones, and only where
   all four read back the very bytes (measured: tests/formats/test_dotenv_quoting.py). There is no escape in which
   they agree, so a value that would need one is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from keyrotor.errors import FormatError
from keyrotor.formats.splice import BOM, Leaf, check_utf8, fault, position

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
_SEMICOLON = re.compile(rb"^[ \t]*+;", re.MULTILINE)
_JOINING = (b"\\\n", b"\\\r\n")  # a comment that ends so takes the next line with it, for systemd
_REPLACED = "\ufffd".encode()  # what sops puts for a byte that is no UTF-8

_RENDERED_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# What each way to write a value may hold. A leading = is legal for the four readers, but zsh looks for a command of
# that name. A newline: direnv reads line by line; a carriage return: python-dotenv makes it a newline.
_PLAIN = {
    "bare": re.compile(rb"(?!=)[A-Za-z0-9_./:@%+,=-]*"),
    # python-dotenv replaces ${…} here too, makes one backslash of two, and takes one at the end for an escape.
    "single": re.compile(rb"(?:[^'\\$\r\n\0]|\$(?!\{)|\\(?![\\]|\Z))*"),
    "double": re.compile(rb"[^\"\\$`\r\n\0]*"),
}
_QUOTES = {"bare": b"", "single": b"'", "double": b'"'}
_WHY_NOT = (
    (re.compile(rb"\0"), "it holds a nul byte, which no variable can"),
    (re.compile(_REPLACED), "it holds U+FFFD, which stands for a byte that is no text"),
    (re.compile(rb"[\r\n]"), "it has more than one line, which direnv and python-dotenv read differently"),
)
_CRLF = "CRLF, of which bash takes the CR for a part of the value"
_NOT_ALIKE = "it is not written in a way that all readers take alike"
_NO_QUOTES = "its quotes, backslashes or dollars are read differently by systemd, bash, direnv and python-dotenv"


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


def values(data: bytes) -> dict[str, bytes]:
    """The value of every variable, the last assignment's, as every reader takes it that takes the line (systemd takes
    none with `export`). Raises ValueError that names one in which they differ, or FormatError."""
    found: dict[str, bytes] = {}
    for leaf in read(data):
        why = trouble(data, leaf) or ("" if _is_plain_text(data, leaf) else _NOT_ALIKE)
        if why:
            raise ValueError(f"cannot tell what {leaf.key} is: {why}")
        found[leaf.key] = leaf.text
    return found


def is_plain(data: bytes, leaf: Leaf) -> bool:
    """Whether all four readers take the leaf's text, as it is written there, for its value."""
    head, start, _ = _span(data, leaf)
    is_bare = data[head:start] == leaf.key.encode() + b"="
    return is_bare and _is_plain_text(data, leaf) and not trouble(data, leaf)


def trouble(data: bytes, leaf: Leaf | None = None) -> str:
    """Why not all readers would take a value on the leaf's line, whichever it is; without a leaf, on a further line."""
    if why := _trouble_of_all(data):
        return why
    if leaf is None:
        return f"its lines end in {_CRLF}" if b"\r\n" in data else ""
    head, _, end = _span(data, leaf)
    rest = data[end:].partition(b"\n")[0].strip(b" \t")
    if rest.startswith(b"#"):
        return f"line {_line(data, head)} has a comment behind the value, which systemd takes for a part of it"
    if rest:
        return f"line {_line(data, head)} ends in {_CRLF}"
    if data[: _begin(data, head)].endswith(_JOINING):
        return f"the comment above line {_line(data, head)} ends in a backslash, by which systemd joins the two"
    return ""


def _trouble_of_all(data: bytes) -> str:
    if data.startswith(BOM):
        return "it begins with a byte order mark, which only python-dotenv bears"
    if found := _SEMICOLON.search(data):
        return f"line {_line(data, found.start())} is a comment with `;`, at which bash and direnv stop"
    return ""


def written(name: str, value: bytes) -> bytes:
    """The value as it is written behind `name=`. Raises ValueError where some reader would read another."""
    text = value.decode(errors="replace")
    if text.encode() != value or any(map(_is_noncharacter, text)):
        raise ValueError(f"cannot render {name}: it is no text that systemd takes (UTF-8)")
    for quoting, plain in _PLAIN.items():
        if plain.fullmatch(value) and _REPLACED not in value:
            return _QUOTES[quoting] + value + _QUOTES[quoting]
    why = next((why for pattern, why in _WHY_NOT if pattern.search(value)), _NO_QUOTES)
    raise ValueError(f"cannot render {name}: {why}")


def render(values: Mapping[str, bytes]) -> bytes:
    """A whole env file that systemd, bash, direnv and python-dotenv read back as these very values."""
    for name in values:
        if not _RENDERED_NAME.fullmatch(name):
            raise ValueError(f"cannot render {name!r}: not the name of a variable")
    return b"".join(b"%b=%b\n" % (name.encode(), written(name, value)) for name, value in values.items())


def with_line(data: bytes, name: str, value: bytes) -> bytes:
    """The file with one more assignment at its end, in its own line ends; proven to differ in nothing else."""
    newline = b"\r\n" if b"\r\n" in data else b"\n"
    whole = data if not data or data.endswith(b"\n") else data + newline
    if whole.endswith(_JOINING):
        whole += newline  # which ends that comment for systemd, too
    result = whole + render({name: value}).replace(b"\n", newline)
    before, after = read(data), read(result)
    if after[:-1] != before or (after[-1].key, after[-1].text) != (name, value):
        raise fault("a line cannot be added", data, len(data))
    return result


def with_value(data: bytes, name: str, value: bytes) -> bytes:
    """The file with `name=value` on every line that assigns it, as all four readers take it; proven to differ in
    nothing else. Raises ValueError, naming the line, where they would not."""
    before = read(data)
    new, result = name.encode() + b"=" + written(name, value), data
    for leaf in reversed([leaf for leaf in before if leaf.key == name]):
        if why := trouble(data, leaf):
            raise ValueError(f"cannot render {name}: {why}")
        head, _, end = _span(data, leaf)
        result = result[:head] + new + result[end:]
    expected = [(leaf.key, value if leaf.key == name else leaf.text) for leaf in before]
    if [(leaf.key, leaf.text) for leaf in read(result)] != expected:
        raise fault("a value cannot be replaced", data, 0)
    return result


def _is_plain_text(data: bytes, leaf: Leaf) -> bool:
    return _PLAIN[_quoting(data, leaf)].fullmatch(leaf.text) is not None and _REPLACED not in leaf.text


def _span(data: bytes, leaf: Leaf) -> tuple[int, int, int]:
    """Where the assignment begins, behind what is blank; where its value does, with its quotes; and where it ends."""
    quote = len(_QUOTES[_quoting(data, leaf)])
    start, end = leaf.offsets[0] - quote, leaf.offsets[-1] + quote
    line = data[_begin(data, start) : start]
    return start - len(line.removeprefix(BOM).lstrip(b" \t")), start, end


def _begin(data: bytes, at: int) -> int:
    return data.rfind(b"\n", 0, at) + 1


def _line(data: bytes, at: int) -> int:
    return position(data, at)[0]


def _quoting(data: bytes, leaf: Leaf) -> str:
    """How the value is written; what stands right before a bare one is an equals sign, a blank or a tab."""
    before = data[leaf.offsets[0] - 1 : leaf.offsets[0]]
    return next((quoting for quoting, quote in _QUOTES.items() if quote == before), "bare")


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


def _is_noncharacter(char: str) -> bool:
    """What Unicode keeps free for ever; systemd refuses the whole file over one."""
    return ord(char) & 0xFFFE == 0xFFFE or 0xFDD0 <= ord(char) <= 0xFDEF
