"""A notice, sent by apprise to addresses that may be secrets.

Rules:
1. A child sends it, and this module is the child, too: what hangs in one of a hundred services is ended in time, and
   what they log is read by nobody.
2. The addresses go through its standard input, never through its arguments; no proxy of ours is known to it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from keyrotor.boundary.plaintext import unseal
from keyrotor.boundary.process import Processes
from keyrotor.errors import PlaceError
from keyrotor.secret import Secret

# What the child answers: one word, for what apprise says may hold an address.
_TOLD = b"told"
_FAULTS: Mapping[bytes, str] = {
    b"unknown": "an address is none that apprise knows",
    b"missed": "not every address has taken it",
}
_INSTALL = "pip install 'keyrotor[apprise]'  (into the environment that keyrotor runs in)"


def send(
    addresses: Sequence[Secret],
    said: Mapping[str, str],
    *,
    within: float,
    processes: Processes,
    env: Mapping[str, str],
) -> None:
    """Send what is `said`: title, body, type. Raises PlaceError, which says why it has not arrived."""
    if find_spec("apprise") is None:
        raise PlaceError("apprise is not installed", hint=_INSTALL)
    asked = {**said, "addresses": [unseal(each).decode(errors="replace") for each in addresses]}
    argv = [sys.executable, "-P", "-m", "keyrotor.boundary.apprise"]
    env = {**env, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = processes.run(argv, env=env, stdin=json.dumps(asked).encode(), within=within)
    if done.code or done.out != _TOLD:
        raise PlaceError(_FAULTS.get(done.out, "apprise itself failed"))


# -- the child -------------------------------------------------------------------------------------------------------


def _answer(asked: Mapping[str, Any]) -> bytes:
    import apprise

    every = apprise.Apprise()
    if not all([every.add(address) for address in asked["addresses"]]):
        return b"unknown"
    text = apprise.NotifyFormat.TEXT
    is_told = every.notify(asked["body"], asked["title"], notify_type=asked["type"], body_format=text)
    return _TOLD if is_told else b"missed"


if __name__ == "__main__":
    os.write(1, _answer(json.load(sys.stdin.buffer)))
