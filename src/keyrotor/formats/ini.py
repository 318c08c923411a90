"""INI files and systemd's units: sections, `key = value` or `key: value`, the same key as often as one likes.

Rules of this module:
1. Every line of a value is a leaf, also one that goes on behind a backslash (systemd) or by its indent (Python): a
   value of ours has no blank in it, so it is never split.
2. What stands behind ` #` or ` ;` in a line with a value is a part of it, as for systemd and Python. Quotes around a
   whole value are not.
3. A key ends at the first `=` or `:`, as for Python; units and git have no colon in a key. A line with a colon that is
   indented deeper than its key goes on with the value, as for Python; one with `=` is a key, as for git.
4. All that is no section, key, comment or blank is refused.
"""

from __future__ import annotations

import re
from typing import Final

from keyrotor.formats.paths import step
from keyrotor.formats.splice import BOM, Leaf, check_utf8, empty, fault

_SECTION: Final = re.compile(rb"\[([^\]]++)\][ \t]*+(?:[#;].*+)?")
_DELIMITER: Final = re.compile(rb"[=:]")
_PADDED: Final = re.compile(rb"[^ \t=]++=++")  # a word as base64 makes it
_QUOTED: Final = re.compile(rb"\"[^\"\\]*+\"|'[^'\\]*+'")


def read(data: bytes) -> tuple[Leaf, ...]:
    """The lines of all values in the order of the file, or FormatError."""
    check_utf8(data)
    if (nul := data.find(b"\0")) >= 0:
        raise fault("a nul byte", data, nul)
    leaves: list[Leaf] = []
    section = path = key = ""
    goes_on, margin, at = False, 0, len(BOM) if data.startswith(BOM) else 0
    for whole in data[at:].split(b"\n"):
        line = whole.removesuffix(b"\r")
        body = line.strip(b" \t")
        indent = len(line) - len(line.lstrip(b" \t"))
        start = at + indent
        at += len(whole) + 1
        if b"\r" in body:
            raise fault("a carriage return within a line", data, start + body.index(b"\r"))
        if body.startswith((b"#", b";")):
            continue  # also between the lines of a value
        if not body:
            goes_on = False
            continue
        end = _DELIMITER.search(body)
        is_key = end and (end[0] == b"=" or indent <= margin) and not _PADDED.fullmatch(body)
        if goes_on or (path and indent and not is_key):
            rest = body
        elif found := _SECTION.fullmatch(body):
            section, path = step(found[1].decode()).removeprefix("."), ""
            leaves.append(empty(section, found[1].decode(), start + len(body)))  # lest a change of its name went unseen
            continue
        elif end and end.start() and not body.startswith(b"["):
            name, margin, rest = body[: end.start()], indent, body[end.end() :]
            key = name.strip(b" \t").decode()
            path = f"{section}{step(key)}".removeprefix("" if section else ".")
        else:
            raise fault("expected key = value, a section or a comment", data, start)
        goes_on = body.endswith(b"\\")
        leaves.append(_leaf(path, key, rest, start + len(body) - len(rest)))
    return tuple(leaves)


def _leaf(path: str, key: str, raw: bytes, at: int) -> Leaf:
    """What a line says of its key: without what is blank around it, quotes and a backslash at its end."""
    text = raw.removesuffix(b"\\").rstrip(b" \t")
    at += len(text) - len(text.lstrip(b" \t"))
    text = text.lstrip(b" \t")
    if _QUOTED.fullmatch(text):
        at, text = at + 1, text[1:-1]
    return Leaf(path, key, text, range(at, at + len(text) + 1))
