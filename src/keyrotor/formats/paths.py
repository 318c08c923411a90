"""Paths of leaves, patterns of them, and the leaves that are a client's key for one of the gateways. Pure.

A path is written as in code: `customModels[0].apiKey`, `["odd name"].x`; that of a document which is nothing but one
value is `$`. A pattern is a path in which `*` may stand for any name and `[*]` for any place in a list.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from keyrotor.formats.splice import Leaf

ROOT: Final = "$"
_PLAIN = re.compile(r"[^\W\d][\w-]*")
_STEP = re.compile(
    r'(?P<dot>\.?)(?P<name>[\w-]+|\*)|\[(?:"(?P<quoted>(?:[^"\\\x00-\x1f]|\\["\\/bfnrt]|\\u[0-9A-Fa-f]{4})*)"|(?P<place>\d+|\*))\]'
)
_PORTS = {"http": 80, "https": 443}
_LOOPBACK = ("localhost", "127.0.0.1", "::1", "0.0.0.0")  # noqa: S104  an address is read, not listened on

Step: TypeAlias = tuple[str, str | None]  # "name" or "place", and which one; None: any
Door: TypeAlias = tuple[str, str, int | None]  # scheme, host, port


def step(name: str) -> str:
    """How a path says a name; quoted if it is no plain word, so that no name can garble a terminal."""
    return f".{name}" if _PLAIN.fullmatch(name) else f"[{json.dumps(name)}]"


def is_pattern(text: str) -> bool:
    """Whether this can be the path of a leaf, or a pattern of such."""
    return _steps(text) is not None


def chosen(
    leaves: Sequence[Leaf], at: Sequence[str], beside: str, gateways: Sequence[str], *, is_sure: bool = False
) -> tuple[Leaf, ...]:
    """The leaves at one of these patterns, but for those whose neighbour `beside` names no gateway of ours.

    The other's key stands there. Where there is no such neighbour nothing says whose key it is: it counts as ours, but
    not where that must be sure, as for a write.
    """
    patterns = [steps for steps in map(_steps, at) if steps is not None]
    placed = [(leaf, _steps(leaf.path)) for leaf in leaves]
    found = [(leaf, own) for leaf, own in placed if own is not None and any(_fits(own, each) for each in patterns)]
    if not beside:
        return tuple(leaf for leaf, _ in found)
    last = _steps(beside) or ()
    neighbours: dict[tuple[Step, ...], list[str]] = {}
    for leaf, own in placed:
        if own is not None and own[-len(last) :] == last:
            neighbours.setdefault(own[: -len(last)], []).append(leaf.text.decode(errors="replace"))
    # A name may stand there twice; which one wins is up to the client, so every one must be a gateway's.
    said = [(leaf, neighbours.get(own[:-1], [])) for leaf, own in found]
    return tuple(leaf for leaf, told in said if (told or not is_sure) and all(is_at(text, gateways) for text in told))


def is_at(address: str, gateways: Sequence[str]) -> bool:
    """Whether it leads to one of these gateways, whatever stands behind the port."""
    return (door := _door(address)) is not None and door in {_door(url) for url in gateways}


def _steps(path: str) -> tuple[Step, ...] | None:
    """The steps of a path or a pattern; None for what is neither."""
    if path == ROOT:
        return ()
    steps, at = list[Step](), 0
    while at < len(path):
        found = _STEP.match(path, at)
        if found is None or (found["name"] is not None and bool(found["dot"]) != bool(at)):
            return None
        kind = "place" if found["place"] else "name"
        word = json.loads(f'"{found["quoted"]}"') if found["quoted"] is not None else found["place"] or found["name"]
        steps.append((kind, None if word == "*" and found["quoted"] is None else word))
        at = found.end()
    return tuple(steps) or None


def _fits(path: Sequence[Step], pattern: Sequence[Step]) -> bool:
    return len(path) == len(pattern) and all(
        one[0] == wanted[0] and wanted[1] in (None, one[1]) for one, wanted in zip(path, pattern, strict=True)
    )


def _door(url: str) -> Door | None:
    """Where an address leads, loopback by one name; what stands behind the port does not matter."""
    try:
        parts = urlsplit(url.strip())
        port, host = parts.port, (parts.hostname or "").rstrip(".")
    except ValueError:
        return None
    host = "127.0.0.1" if host in _LOOPBACK else host
    return (parts.scheme, host, port or _PORTS.get(parts.scheme)) if host else None
