"""One entry of the OS keyring: what it holds, and another text in its stead.

Rules:
1. A child asks the keyring, and this module is the child, too: a bus that hangs, or a window that waits for a password,
   can be waited for and ended, and what was ended writes nothing later.
2. Values go through its standard input and output, never through its arguments.
3. An entry that is there is changed, never made anew beside itself: of a Secret Service the very item is given another
   secret, whoever made it, for two entries of one name would leave it open which of them a program finds.
4. A text is replaced only where the one that was read before still stands.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from keyrotor.boundary.process import Processes, environment
from keyrotor.errors import PlaceError

_FAULTS = {  # by its error's name: why, and what to do
    "NoKeyringError": ("none answers here", "run keyrotor in a session that has one, as no timer has"),
    "LockedException": ("it is locked", "run keyrotor in the session that unlocks it"),
}
_SECRET_SERVICE = ("keyring.backends.SecretService", "keyring.backends.libsecret")


@dataclass(frozen=True, slots=True)
class Entry:
    """Whatever bears these attributes; keyrings other than a Secret Service know `service` and `username` only."""

    attributes: Mapping[str, str]
    within: float
    processes: Processes
    env: Mapping[str, str] = field(repr=False)

    def texts(self) -> list[bytes]:
        """The text of each such entry; none where there is none. Raises PlaceError."""
        return self._asked({})

    def replace(self, texts: Mapping[bytes, bytes]) -> list[bytes]:
        """Make every such entry that holds one of these texts hold the other; the text of each, read again.
        Raises PlaceError."""
        return self._asked({_spelt(old): _spelt(new) for old, new in texts.items()})

    def _asked(self, replacing: Mapping[str, str]) -> list[bytes]:
        question = {"attributes": dict(self.attributes), "replacing": dict(replacing)}
        env = environment(self.env, "PYTHON_KEYRING_BACKEND", prefixes=("KEYRING_PROPERTY_",))
        env["PYTHONPATH"] = str(Path(__file__).parents[2])
        argv = [sys.executable, "-P", "-m", "keyrotor.boundary.keyring_entry"]
        done = self.processes.run(argv, env=env, stdin=json.dumps(question).encode(), within=self.within)
        if done.code:
            fault = _fault(done.err)
            why, hint = _FAULTS.get(fault, (fault or "its child ended", "keyring diagnose"))
            raise PlaceError(f"cannot use the keyring: {why}", hint=hint)
        return [base64.b64decode(text) for text in json.loads(done.out)]


def _fault(traceback: bytes) -> str:
    """The name of the error that it ends with; its words may hold anything."""
    last = traceback.decode(errors="replace").rstrip().rpartition("\n")[2]
    found = re.match(r"(?:\w+\.)*(\w+)(?::|$)", last)
    return found[1] if found else ""


def _spelt(text: bytes) -> str:
    return base64.b64encode(text).decode()


# -- the child -------------------------------------------------------------------------------------------------------


def _answer(attributes: Mapping[str, str], replacing: Mapping[bytes, bytes]) -> list[bytes]:
    """What the entries hold, once those that held one of these texts were given the other."""
    import keyring

    chosen: Any = keyring.get_keyring()
    for backend in getattr(chosen, "backends", [chosen]):  # several may answer; the first that has it is the one
        of = _of_secret_service if type(backend).__module__ in _SECRET_SERVICE else partial(_of, backend)
        if texts := of(attributes, replacing):
            return texts
    return []


def _of_secret_service(attributes: Mapping[str, str], replacing: Mapping[bytes, bytes]) -> list[bytes]:
    import secretstorage

    with contextlib.closing(secretstorage.dbus_init()) as connection:
        items = list(secretstorage.search_items(connection, dict(attributes)))
        for item in items:
            if item.is_locked() and item.unlock():
                raise secretstorage.exceptions.LockedException
            if (text := item.get_secret()) in replacing:
                item.set_secret(replacing[text], item.get_secret_content_type())
        return [item.get_secret() for item in items]


def _of(backend: Any, attributes: Mapping[str, str], replacing: Mapping[bytes, bytes]) -> list[bytes]:
    if set(attributes) != {"service", "username"}:
        return []
    of = attributes["service"], attributes["username"]
    stored = backend.get_password(*of)
    if stored is not None and (text := stored.encode()) in replacing:
        backend.set_password(*of, replacing[text].decode())
        stored = backend.get_password(*of)
    return [] if stored is None else [stored.encode()]


def _bytes(spelt: Mapping[str, str]) -> dict[bytes, bytes]:
    return {base64.b64decode(old): base64.b64decode(new) for old, new in spelt.items()}


if __name__ == "__main__":
    asked = json.load(sys.stdin.buffer)
    os.write(
        1, json.dumps([_spelt(text) for text in _answer(asked["attributes"], _bytes(asked["replacing"]))]).encode()
    )
