"""Where the door of a gateway is reached while strangers are kept from it: on loopback, at the same port.

A certificate is for the door's own name, and nobody who may be trusted gives one for loopback: a door that speaks TLS
at an address of the network cannot be asked there, and the rotation could never prove anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from urllib.parse import urlsplit

from keyrotor.boundary import listeners, proc
from keyrotor.boundary.litellm_api import port

USUAL = 4000  # LiteLLM's port, where its command names none


def reached(url: str, listened: Iterable[str], commands: Iterable[str]) -> str:
    """The door's address on loopback, where it is another one and the unit has its port: by where it listened, or else,
    for it was down, by its command."""
    address = urlsplit(url)
    host = address.hostname or ""
    if not host or host == "localhost" or _is_loopback(host):
        return ""
    ports = {listeners.parsed(each).port for each in listened} or _named(commands)
    if port(url) not in ports:
        return ""
    return address._replace(netloc=f"127.0.0.1:{port(url)}").geturl()


def _named(commands: Iterable[str]) -> set[int]:
    said = [int(number) for each in commands for number in re.findall(r"(?:--port[= ]+\"?|:)(\d{1,5})\b", each)]
    return set(said) or {USUAL}


def _is_loopback(host: str) -> bool:
    with suppress(ValueError):
        return proc.is_loopback(host)
    return False
