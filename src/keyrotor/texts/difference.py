"""What would be different in a file that is left as it is, line by line, without what may be a value. Pure.

Rules:
1. Of what stands there only the lines that would change are shown, never one around them.
2. What stands there may hold a key: whatever is assigned in such a line is shown only if it is a command, a path or
   a reference, and nothing that looks like a key is shown at all.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

_KEY_LIKE = re.compile(r"(?:sk-|AGE-SECRET-KEY-)[A-Za-z0-9_-]{4,}|(?<![/\w])(?=\w*\d)(?=\w*[A-Za-z])[\w+-]{20,}={0,2}")
_USER = re.compile(r"://[^/\s@]+@")
_ASSIGNED = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_.-]*\s*(?:=|:\s)\s*)(?P<value>\"[^\"]*\"?|'[^']*'?|\S+)")
_TELLING = re.compile(r"^[\"']?(?:\$[({A-Za-z_]|~/|\.{0,2}/)")


def unified(before: str, after: str, name: str) -> tuple[str, ...]:
    """The two as a unified diff without context."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), name, f"{name} (not written)", "", "", 0, "")
    return tuple(_shown(line) for line in lines)


def added(lines: Sequence[str]) -> tuple[str, ...]:
    """Lines that would be added, and nothing of what stands there."""
    return tuple(f"+{line}" for line in lines)


def _shown(line: str) -> str:
    is_theirs = line.startswith("-") and not line.startswith("--- ")
    return redacted(line) if is_theirs else line


def redacted(line: str) -> str:
    """The line without whatever may be a value."""
    line = _ASSIGNED.sub(lambda found: found[0] if _TELLING.match(found["value"]) else found["name"] + "…", line)
    line = _USER.sub("://…@", line)
    line = _KEY_LIKE.sub("…", line)
    return "".join(char if char.isprintable() or char == "\t" else " " for char in line)
