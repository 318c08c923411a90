"""What the last run of a key left, read from the record in a moment: for a command that may cost little more than sops.

The record itself is journal.py's, with all its checks (msgspec, 30 ms). Here only the newest run of one key is read,
and whatever is not plain (another version, a writer that was killed, a run that was abandoned, a record that we may not
read) is left to the journal.
Writes nothing.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keyrotor.core.kept import Source

_FILE, _SCHEMA = "journal.sqlite3", 1  # as journal.py has them
_OPENED = "SELECT run, data FROM events WHERE kind = 'opened' ORDER BY seq DESC"
_EVENTS = "SELECT kind, data FROM events WHERE run = ? AND kind IN ('turned-back', 'closed') ORDER BY seq"
_FORWARD = ("rotated", "old-alive", "repaired")  # the outcomes that leave the new value everywhere


@dataclass(frozen=True, slots=True)
class Left:
    """What the encrypted file is, if it is as the last run left it; "" where that cannot be told in a moment."""

    ciphertext: str = ""  # the digest of the whole file
    fingerprint: str = ""  # of the value in it
    fingerprint_key: str = ""  # the name of the key it was made with


DOUBT = Left()


def left(state: Path, source: Source) -> Left | None:
    """What the newest run of this key left, or is to leave; None: no run is on record."""
    path = state / _FILE
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:  # one that we may not read is not none: the journal says so
        return DOUBT
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=10.0)) as database:
            if database.execute("PRAGMA user_version").fetchone() != (_SCHEMA,):
                return DOUBT
            return _newest(database, source)
    except (sqlite3.Error, ValueError, KeyError, TypeError):  # of another version, or torn: the journal says which
        return DOUBT


def fingerprint_key(state: Path) -> bytes:
    """The key that fingerprints are made with; b"" where it lies in the keyring, which is no matter of a moment."""
    try:
        return bytes.fromhex((state / "fingerprint.key").read_text("ascii"))
    except (OSError, ValueError):
        return b""


def _newest(database: sqlite3.Connection, source: Source) -> Left | None:
    for run, data in database.execute(_OPENED):
        plan = json.loads(data)["plan"]
        if (plan["source"]["file"], plan["source"]["key"]) == (source.file, source.key):
            return _told(plan, database.execute(_EVENTS, (run,)).fetchall())
    return None


def _told(plan: dict[str, Any], events: list[tuple[str, str]]) -> Left:
    is_back = any(kind == "turned-back" for kind, _ in events)
    last, data = events[-1] if events else ("", "{}")
    outcome = json.loads(data)["outcome"] if last == "closed" else ""
    ciphertext = "" if outcome == "abandoned" else plan["ciphertexts"].get("old" if is_back else "new", "")
    if is_back or outcome not in _FORWARD:
        return Left(ciphertext)
    return Left(ciphertext, plan["fingerprints"]["new"], plan["fingerprint_key"])
