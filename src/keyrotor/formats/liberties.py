"""What a JSON file takes as a liberty that strict readers do not forgive: a comment, a trailing comma, a BOM. Pure.

For files that formats/json.py could read: it says where the first of each stands, and judges nothing else.
"""

from __future__ import annotations

import re

from keyrotor.formats.splice import BOM, position

BYTE_ORDER_MARK, COMMENT, TRAILING_COMMA = "byte order mark", "comment", "trailing comma"
_ITEM = re.compile(
    rb'"[^"\\]*(?:\\.[^"\\]*)*"|(?P<comment>//[^\r\n]*|/\*.*?\*/)|(?P<comma>,)|(?P<close>[\]}])|[^\s",\]}]', re.DOTALL
)


def found(data: bytes) -> dict[str, int]:
    """Each liberty that is taken, with the line where it is taken first."""
    lines = {BYTE_ORDER_MARK: 1} if data.startswith(BOM) else {}
    comma: int | None = None  # where the last thing stood, if it was a comma
    for item in _ITEM.finditer(data):
        if item.lastgroup == "comment":
            lines.setdefault(COMMENT, position(data, item.start())[0])
            continue
        if item.lastgroup == "close" and comma is not None:
            lines.setdefault(TRAILING_COMMA, position(data, comma)[0])
        comma = item.start() if item.lastgroup == "comma" else None
    return lines
