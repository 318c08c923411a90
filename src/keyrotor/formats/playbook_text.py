"""A playbook's `every`, changed by one token, or put in by one line. Pure.

What the text says afterwards is for the caller to check: it is to be the same playbook but for this.
"""

from __future__ import annotations

from keyrotor.errors import FormatError
from keyrotor.formats import splice, toml


def with_every(data: bytes, every: str) -> bytes:
    """The text with this `every`. Raises FormatError."""
    leaves = {leaf.path: leaf for leaf in toml.read(data)}
    if (leaf := leaves.get("every")) is not None:
        return splice.replace(toml.read, data, [splice.whole(leaf)], every.encode())
    if (name := leaves.get("name")) is None:
        raise FormatError("no name", 1, 1)
    end = data.find(b"\n", name.offsets[-1])
    newline = b"\r\n" if data[end - 1 : end] == b"\r" else b"\n"
    head, tail = (data, b"") if end < 0 else (data[: end + 1], data[end + 1 :])
    return head + (b"" if end >= 0 else b"\n") + f'every = "{every}"'.encode() + newline + tail
