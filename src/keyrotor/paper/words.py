"""Times, lengths, sizes and numbers as a person reads them. Pure, but for the zone of this machine's clock."""

from __future__ import annotations

from datetime import UTC, datetime

from keyrotor.paper.page import Line, Look, Piece

_UNITS = (("day", 86400), ("h", 3600), ("min", 60), ("s", 1))


def when(at: datetime | None, otherwise: str = "") -> Line:
    """The moment in UTC, and on the clocks here where they show something else."""
    if at is None:
        return (Piece(otherwise, Look.DIM),) if otherwise else ()
    there = at.astimezone(UTC)
    here = at.astimezone()
    utc = Piece(f"{there:%Y-%m-%d %H:%M:%S} UTC", Look.TIME)
    if not here.utcoffset():
        return (utc,)
    day = "" if here.date() == there.date() else f"{here:%Y-%m-%d} "
    zone = f"{here:%z}"
    return (utc, Piece(f" ({day}{here:%H:%M:%S} {zone[:3]}:{zone[3:5]})", Look.DIM))


def span(seconds: float) -> str:
    """A length of time, by its two greatest units: `2 h 5 min`, `42 s`, `0.8 s`."""
    if abs(seconds) < 10:
        return f"{seconds:.1f} s".replace(".0 s", " s")
    rest, parts = round(abs(seconds)), list[str]()
    for unit, length in _UNITS:
        count, rest = divmod(rest, length)
        if count or parts:
            parts.append(f"{count} {unit}{'s' if unit == 'day' and count > 1 else ''}" if count else "")
    return ("-" if seconds < 0 else "") + " ".join(part for part in parts[:2] if part)


def size(count: int) -> str:
    """A number of bytes: `812 bytes`, `3.4 MB`."""
    if count < 1000:
        return number(count, "byte")
    amount = float(count)
    for unit in ("kB", "MB", "GB"):
        amount /= 1000
        if amount < 999.95:
            return f"{amount:.1f} {unit}"
    return f"{amount / 1000:.1f} TB"


def number(count: int, noun: str, plural: str = "") -> str:
    """`1 key`, `2 keys`, `12,345 files`."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"
