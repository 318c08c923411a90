"""What LiteLLM's answers prove, and who it is that answers.

Facts (litellm.md 2 and 3, peers.md M1–M3): a wrong key is answered with 400 `no_db_connection` without a database
and 401 with one; readiness endpoints answer 200 to any key; 5xx, redirects, timeouts and refused connections
prove nothing. A 500 without a key is LiteLLM without the `prisma` package.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import StrEnum
from urllib.parse import urlsplit

from keyrotor.boundary import proc
from keyrotor.boundary.http import Answer
from keyrotor.boundary.plaintext import is_blank
from keyrotor.boundary.proc import Listener
from keyrotor.boundary.unit_text import Unit
from keyrotor.secret import Pair


class Verdict(StrEnum):
    ACCEPTED = "accepted"
    REFUSED = "refused"
    UNKNOWN = "unknown"


def verdict(answer: Answer) -> Verdict:
    """What an answer to a key proves."""
    if answer.status == 200:
        return Verdict.ACCEPTED
    if answer.status in (401, 403) or (answer.status == 400 and _is_no_db(answer.body)):
        return Verdict.REFUSED
    return Verdict.UNKNOWN


def _is_no_db(body: bytes) -> bool:
    try:
        return bool(json.loads(body)["error"]["type"] == "no_db_connection")
    except (ValueError, KeyError, TypeError):
        return False


def models(url: str) -> str:
    """The address that wants a key and costs nothing."""
    return f"{url.rstrip('/')}/v1/models"


def port(url: str) -> int:
    """The port that an address means."""
    address = urlsplit(url)
    return address.port or (443 if address.scheme == "https" else 80)


def stranger(url: str, unit: Unit, listening: Sequence[Listener] | None = None) -> str:
    """Who else has the port, if not the unit: its own group must have it open, also behind a socket; "" if it has.

    A stranger must not be shown a key. Nothing is known of an address that is not this
    machine's.
    """
    if not proc.is_own(urlsplit(url).hostname or ""):
        return ""
    sockets = proc.listening(port(url)) if listening is None else listening
    if unit.is_active and proc.holds(unit.pid, sockets):
        return ""
    owners, ours = proc.holders(sockets), proc.groups(unit.pid)
    if not owners or (unit.is_active and (not ours or any(proc.groups(pid) == ours for pid in owners))):
        return ""
    if unit.sockets and any(pid == 1 or "systemd" in proc.name(pid) for pid in owners):
        return ""
    named = ", ".join(f"{proc.name(pid)} (pid {pid})" for pid in sorted(owners))
    return f"port {port(url)} is answered by {named}, not by {unit.name}"


def runs_with(unit: Unit | None, variable: str) -> bool | None:
    """Whether the gateway was started with this variable, and not with an empty one; None if we may not look."""
    if unit is None or not unit.pid:
        return None
    try:
        found = proc.variable(unit.pid, variable)
    except OSError:
        return None
    return found is not None and not is_blank(found)


def has_salt(pair: Pair | None, unit: Unit | None) -> bool | None:
    """The running gateway decides: a salt that it was not started with has encrypted nothing; else the encrypted
    file does. None: neither is known."""
    if (runs := runs_with(unit, "LITELLM_SALT_KEY")) is not None or pair is None:
        return runs
    salt = pair.siblings.get("LITELLM_SALT_KEY")
    return salt is not None and not is_blank(salt)
