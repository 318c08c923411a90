"""Plain text, of which nothing is known but its lines: shell rc files, and every format that has no reader here.

A line is a leaf, so that a splice is found by its token guards alone, and is proven line by line. What stands in a
comment or a name is not told from a value.
"""

from __future__ import annotations

from keyrotor.formats.splice import BOM, Leaf, check_utf8, fault


def read(data: bytes) -> tuple[Leaf, ...]:
    """Every line that is not blank, or FormatError for what is no text."""
    check_utf8(data)
    if (nul := data.find(b"\0")) >= 0:
        raise fault("a nul byte", data, nul)
    leaves, at = [], 0
    for number, whole in enumerate(data.split(b"\n"), 1):
        start = at + len(BOM) * whole.startswith(BOM) if number == 1 else at
        line = data[start : at + len(whole)].rstrip(b"\r")
        if line.strip():
            leaves.append(Leaf(f"line {number}", "", line, range(start, start + len(line) + 1)))
        at += len(whole) + 1
    return tuple(leaves)
