"""When a key is due. Pure: the clock comes in as an argument."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime, timedelta

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
CALENDAR = ("month", "week")
ALLOWED = "month, week, or a number with s, m, h, d or w"


def seconds(text: str) -> float | None:
    """`90s`, `2m`, `12h`, `30d`, `1w` in seconds; None for anything else."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text)
    return float(found[1]) * _UNITS[found[2]] if found else None


def is_every(text: str) -> bool:
    return text in CALENDAR or bool(seconds(text))


def is_due(every: str, last: datetime | None, now: datetime) -> bool:
    """Whether a key last rotated at `last` is due at `now`, both in the zone whose calendar counts.

    `month` and `week` are due once in each. A last rotation that lies in the future (a clock was set
    back) is no reason to wait for it: the key is due.
    """
    if last is None or last > now + timedelta(days=1):
        return True
    if every == "month":
        return (now.year, now.month) > (last.year, last.month)
    if every == "week":
        return now.isocalendar()[:2] > last.isocalendar()[:2]
    return (now - last).total_seconds() >= (seconds(every) or 0.0)


def next_due(every: str, last: datetime, now: datetime, begin: Callable[[date], datetime]) -> datetime:
    """From when on a key last rotated at `last` is due: `now` itself, where the last rotation lies in the future.

    `begin` gives the moment at which a day begins in the zone whose calendar counts, for the zone's distance from
    UTC may be another one by then.
    """
    if last > now and is_due(every, last, now):
        return now
    if every == "month":
        return begin(date(last.year + last.month // 12, last.month % 12 + 1, 1))
    if every == "week":
        return begin(last.date() + timedelta(days=7 - last.weekday()))
    return last + timedelta(seconds=seconds(every) or 0.0)


def ago(span: timedelta) -> str:
    """A length of time as a person says it."""
    length = max(0, int(span.total_seconds()))
    for unit, one in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if length >= one:
            count = length // one
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return f"{length} s"
