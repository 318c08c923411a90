"""Whoever is told how a command ended, and how they are reached from here. Imported only where somebody is."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from keyrotor.boundary import keychain
from keyrotor.boundary.process import Processes, environment
from keyrotor.boundary.sops import Sops
from keyrotor.boundary.systemd import with_runtime_dir
from keyrotor.core.addressee import Addressee
from keyrotor.core.model import Source
from keyrotor.core.notice import Notice
from keyrotor.errors import PlaceError, PlaybookError, RefusedError
from keyrotor.notifiers.apprise import Apprise
from keyrotor.notifiers.command import Command
from keyrotor.notifiers.desktop import Desktop
from keyrotor.notifiers.webhook import Webhook
from keyrotor.places.sops_file import Encrypted
from keyrotor.secret import Secret
from keyrotor.world.parts import Parts


class Notifier(Protocol):
    def send(self, notice: Notice) -> None:
        """Tell it. Raises PlaceError, which says why it has not arrived."""


class Post:
    """Sends notices; what the encrypted file holds is read once, and only where an address stands there."""

    def __init__(self, parts: Parts, source: Source | None) -> None:
        self._parts = parts
        self._source = source
        self._held: Mapping[str, Secret] | None = None

    def send(self, addressee: Addressee, notice: Notice) -> None:
        """Tell this one, within its time. Raises PlaceError."""
        # Its own programs: they inherit no lock, for a notifier that hangs must not keep the next run from it.
        processes = Processes(self._parts.stop.rest)
        processes.until = time.monotonic() + addressee.within
        try:
            self._notifier(addressee, processes).send(notice)
        except PlaceError as error:
            raise PlaceError(f"cannot tell {addressee.label}: {error}", hint=error.hint) from None

    def _notifier(self, addressee: Addressee, processes: Processes) -> Notifier:
        option, env = addressee.options, session(self._parts.env)
        folder = Path(self._source.project) if self._source else self._parts.folder
        if addressee.kind == "desktop":
            return Desktop(addressee.within, processes, env)
        if addressee.kind == "command":
            return Command(option["run"], addressee.within, processes, env, folder)
        urls = [option["url"]] if "url" in option else option["urls"]
        found = [Secret(url.encode()) for url in urls if url] or [self._address(option["key"], processes)]
        left = max(0.0, processes.until - time.monotonic())
        if addressee.kind == "apprise":
            return Apprise(found, left, processes, env)
        return Webhook(found[0], left, self._parts.stop.rest, self._parts.env.get("SSL_CERT_FILE", ""))

    def _address(self, name: str, processes: Processes) -> Secret:
        """What the encrypted file holds under this name, else the environment; as of a store's token."""
        why = "neither the encrypted file nor the environment has it"
        if self._held is None and self._source:
            try:
                self._held = self._values(self._source, processes)
            except (PlaceError, RefusedError, PlaybookError) as error:
                why = f"the environment does not have it, and {error}"
        found = (self._held or {}).get(name)
        if found is None and self._parts.env.get(name):
            found = Secret(self._parts.env[name].encode("utf-8", "surrogateescape"))
        if found is None:
            raise PlaceError(why)
        return found

    def _values(self, source: Source, processes: Processes) -> Mapping[str, Secret]:
        sops = Sops(processes, self._parts.env, keychain.identity(source.identity))
        return Encrypted(Path(source.file), source.key, sops, Path(source.project)).values()


def session(env: Mapping[str, str]) -> dict[str, str]:
    """The variables that a notifier's program may have: the usual ones, and the user's session bus, which a timer is
    not told of."""
    found = with_runtime_dir(environment(env))
    bus = os.path.join(found.get("XDG_RUNTIME_DIR", ""), "bus")
    if not found.get("DBUS_SESSION_BUS_ADDRESS") and os.path.isabs(bus) and os.path.exists(bus):
        found["DBUS_SESSION_BUS_ADDRESS"] = f"unix:path={quote(bus, safe='/-_.*')}"
    return found
