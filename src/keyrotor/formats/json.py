"""JSON as people and tools write it: comments, trailing commas, a BOM, any line ending, duplicate keys.

Rules of this module:
1. Every string, number, word and empty list or table is a leaf, so that comparing leaves compares the tree. Keys are
   in the paths.
2. A duplicate key is a leaf of its own: which one wins is up to the client, so all must hold the value.
3. Beyond comments and trailing commas it is strict: a reader that guesses finds spans that are not there.
4. The grammar is five patterns, one for each thing that may come next. No pattern can backtrack into a run
   it has eaten, and nothing recurses, so that no input is slow or too deep.
"""

from __future__ import annotations

import json
import re
from typing import Final

from keyrotor.errors import FormatError
from keyrotor.formats.paths import ROOT, step
from keyrotor.formats.splice import BOM, Leaf, check_utf8, decoded, empty, fault, plain

# Paths grow with the depth; settings files are about five deep.
MAX_DEPTH: Final = 200

_SPACE = rb"[ \t\r\n]*+(?:/(?:/[^\r\n]*+|\*[^*]*+(?:\*(?!/)[^*]*+)*\*/)[ \t\r\n]*+)*"
_ESCAPE = rb"\\(?:[\"\\/bfnrt]|u[0-9A-Fa-f]{4})"
_STRING = rb"[^\"\\\x00-\x1f]*+(?:" + _ESCAPE + rb"[^\"\\\x00-\x1f]*+)*"
_BARE = rb"(?:-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?|true|false|null)(?![A-Za-z0-9_.+-])"
_VALUE = rb'(?:"(?P<string>' + _STRING + rb')"|(?P<bare>' + _BARE + rb")|(?P<open>[\[{]))"
_MEMBER = rb'"(?P<name>' + _STRING + rb')"' + _SPACE + rb":" + _SPACE + _VALUE
_COMMA = rb"," + _SPACE

_DOCUMENT = re.compile(_SPACE + _VALUE)
_FIRST_MEMBER = re.compile(_SPACE + rb"(?:" + _MEMBER + rb"|(?P<close>\}))")
_NEXT_MEMBER = re.compile(_SPACE + rb"(?:" + _COMMA + _MEMBER + rb"|(?:" + _COMMA + rb")?(?P<close>\}))")
_FIRST_ELEMENT = re.compile(_SPACE + rb"(?:" + _VALUE + rb"|(?P<close>\]))")
_NEXT_ELEMENT = re.compile(_SPACE + rb"(?:" + _COMMA + _VALUE + rb"|(?:" + _COMMA + rb")?(?P<close>\]))")

_SPACES = re.compile(_SPACE)
_BODY = re.compile(_STRING)
# The two halves of a surrogate pair are one character, and so one escape.
_ESCAPES = re.compile(rb"\\u[dD][89abAB]..\\u[dD][c-fC-F]..|" + _ESCAPE)


def read(data: bytes) -> tuple[Leaf, ...]:
    """All leaves in the order of the file, or FormatError."""
    check_utf8(data)
    leaves: list[Leaf] = []
    names: dict[bytes, tuple[str, str]] = {}  # a file says the same few names over and over
    outer: list[tuple[re.Pattern[bytes], str, str, int]] = []
    grammar, base, within, size = _DOCUMENT, "", "", 0
    at = len(BOM) if data.startswith(BOM) else 0
    while outer or not size:
        item = grammar.match(data, at)
        if item is None:
            raise _fault(data, at, grammar)
        at, kind = item.end(), item.lastgroup or ""
        if kind == "close":
            if not size:
                leaves.append(empty(base or ROOT, within, item.start("close")))
            grammar, base, within, size = outer.pop()
            continue
        if grammar is _NEXT_MEMBER or grammar is _FIRST_MEMBER:
            name = item["name"]
            key, said = names.get(name) or names.setdefault(name, _step(name))
            path = base + said if base else said.removeprefix(".")
            grammar = _NEXT_MEMBER
        else:
            # After the one value of the document the grammar is not asked again: it needs no case here.
            key, path = within, f"{base}[{size}]" if outer else ""
            grammar = _NEXT_ELEMENT
        size += 1
        if kind != "open":
            raw, start = item[kind], item.start(kind)
            text, offsets, ends = decoded(raw, start, _ESCAPES, _unescaped) if b"\\" in raw else plain(raw, start)
            leaves.append(Leaf(path or ROOT, key, text, offsets, ends, is_text=kind == "string"))
        elif len(outer) == MAX_DEPTH:
            raise fault("nested too deep", data, at - 1)
        else:
            outer.append((grammar, base, within, size))
            grammar = _FIRST_MEMBER if item["open"] == b"{" else _FIRST_ELEMENT
            base, within, size = path, key, 0
    _check_end(data, at)
    return tuple(leaves)


def _unescaped(body: bytes) -> bytes:
    """What the body of a string means. Half a surrogate pair is legal JSON and may pass."""
    meaning: str = json.loads(b'"%b"' % body)
    return meaning.encode(errors="surrogatepass")


def _step(body: bytes) -> tuple[str, str]:
    """A key, and how a path says it; quoted if it is no plain word, so that no key can garble a terminal."""
    key = body.decode() if b"\\" not in body else _unescaped(body).decode(errors="surrogatepass")
    return key, step(key)


def _check_end(data: bytes, at: int) -> None:
    at = _past(_SPACES, data, at)
    if at < len(data):
        raise _unexpected("the end of the document", data, at)


def _fault(data: bytes, at: int, grammar: re.Pattern[bytes]) -> FormatError:
    """Walks once more, slowly, to the first byte the grammar cannot have meant."""
    at = _past(_SPACES, data, at)
    if grammar in (_NEXT_MEMBER, _NEXT_ELEMENT):
        if not data.startswith(b",", at):
            return _unexpected("a comma or the closing bracket", data, at)
        at = _past(_SPACES, data, at + 1)
    if grammar in (_FIRST_MEMBER, _NEXT_MEMBER):
        if not data.startswith(b'"', at):
            return _unexpected("a key", data, at)
        end = _past(_BODY, data, at + 1)
        if not data.startswith(b'"', end):
            return _bad_string(data, at, end)
        at = _past(_SPACES, data, end + 1)
        if not data.startswith(b":", at):
            return _unexpected("a colon", data, at)
        at = _past(_SPACES, data, at + 1)
    if data.startswith(b'"', at):
        return _bad_string(data, at, _past(_BODY, data, at + 1))
    return _unexpected("a value", data, at)


def _past(run: re.Pattern[bytes], data: bytes, at: int) -> int:
    """Where a run that may be empty ends."""
    found = run.match(data, at)
    return found.end() if found else at


def _unexpected(wanted: str, data: bytes, at: int) -> FormatError:
    if at == len(data):
        return fault(f"the file ends before {wanted}", data, at)
    if data.startswith(b"/*", at):
        return fault("unterminated comment", data, at)
    return fault(f"expected {wanted}", data, at)


def _bad_string(data: bytes, start: int, end: int) -> FormatError:
    if data[end : end + 1] in (b"", b"\n", b"\r"):
        return fault("unterminated string", data, start)
    return fault("bad escape" if data.startswith(b"\\", end) else "control character in a string", data, end)
