"""A line of a unit file, what cannot stand in one, and whose text a file is. Pure.

Rules:
1. Nothing in a path is left for systemd to expand: `%` is doubled, and `:` before a program keeps every `$` as it is.
2. The last line of a file of ours is a digest of all that stands before it: it tells whether somebody has edited the
   file since.
"""

from __future__ import annotations

import hashlib
import re
from enum import StrEnum

from keyrotor.errors import RefusedError


class Origin(StrEnum):
    """Whose text a unit file is."""

    ABSENT = "absent"
    OURS = "ours"
    EDITED = "edited"  # ours, and somebody has changed it since
    FOREIGN = "foreign"


def origin(text: str | None, maker: str) -> Origin:
    """Whose text it is, for the command that makes such ones: `service`, `timer`."""
    if text is None:
        return Origin.ABSENT
    if found := re.search(rf"^{_mark(maker)}sha256 ([0-9a-f]{{64}})\n\Z", text, re.MULTILINE):
        return Origin.OURS if _digest(text[: found.start()]) == found[1] else Origin.EDITED
    return Origin.EDITED if _mark(maker) in text else Origin.FOREIGN


def marked(text: str, maker: str) -> str:
    """The text with the line that makes it ours."""
    return f"{text}{_mark(maker)}sha256 {_digest(text)}\n"


def cannot_stand(path: str) -> str:
    """Why a path cannot stand in a unit; "" if it can."""
    if not path.isprintable():
        return "a newline, a byte that is no UTF-8 or another unprintable character"
    if sign := next((sign for sign in "*?[\\" if sign in path), ""):
        return f"`{sign}`, which systemd takes for a pattern"
    return "a blank at its end" if path != path.strip() else ""


def whole(path: str) -> str:
    """A path that takes the rest of its line, where quotes and blanks mean nothing. Raises RefusedError."""
    if why := cannot_stand(path):
        raise RefusedError(f"cannot write a unit with {path!r}: it has {why}", hint="give it another name")
    return specified(path)


def word(text: str) -> str:
    """One word of a line, quoted. Raises RefusedError."""
    if not text.isprintable():
        raise RefusedError(
            f"cannot write a unit with {text!r}: it has {cannot_stand(text)}", hint="give it another name"
        )
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return specified(f'"{escaped}"' if not text or re.search(r"""[\s"'\\;]""", text) else text)


def words(line: str) -> list[str]:
    """The words of a line that `word` has made."""
    found = re.findall(r'"((?:\\.|[^"\\])*)"|(\S+)', line)
    return [(bare or re.sub(r"\\(.)", r"\1", quoted)).replace("%%", "%") for quoted, bare in found]


def specified(text: str) -> str:
    return text.replace("%", "%%")


def _mark(maker: str) -> str:
    return f"# keyrotor {maker}: "


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
