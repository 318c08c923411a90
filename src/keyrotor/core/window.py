"""When a rotation may begin by itself: `Mon..Fri 02:00-05:00`, several of them with `;` between. Pure.

Rules:
1. A window is written in local time, and means what a clock on the wall shows: an hour that is left out in spring
   opens nothing, one that comes twice in autumn opens twice.
2. A window over midnight belongs to the day on which it opens. Its end is no part of it.
3. No window at all is always open.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

ALLOWED = "hours such as 02:00-05:00, with days before them if not on each: Mon..Fri 02:00-05:00; Sat,Sun 22:00-06:00"
DAY = 24 * 60  # minutes
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_ONE = re.compile(r"(?:([A-Za-z.,]+(?: *, *[A-Za-z.]+)*) +)?(\d{1,2}):(\d\d) *- *(\d{1,2}):(\d\d)", re.ASCII)
_FARTHEST = 8 * DAY  # minutes: every window opens once a week, and an hour may be left out


@dataclass(frozen=True, slots=True)
class Window:
    """One span of hours on some days of the week."""

    days: frozenset[int]  # on which it opens; 0 is Monday
    opens: int  # minute of the day
    lasts: int  # minutes

    def holds(self, day: int, minute: int) -> bool:
        """Whether it is open then, by the wall's clock."""
        since = minute - self.opens
        if since >= 0:
            return since < self.lasts and day in self.days
        return since + DAY < self.lasts and (day - 1) % 7 in self.days


Local = Callable[[datetime], datetime]  # the same moment, as the wall's clock shows it


def parsed(text: str) -> tuple[Window, ...] | None:
    """What a playbook says; nothing for "", None for what cannot be read."""
    if not text.strip():
        return () if not text else None
    found = [_window(part.strip()) for part in text.split(";")]
    return None if None in found else tuple(window for window in found if window)


def is_open(windows: Sequence[Window], wall: datetime) -> bool:
    return is_open_at(windows, wall.weekday(), wall.hour * 60 + wall.minute)


def is_open_at(windows: Sequence[Window], day: int, minute: int) -> bool:
    """Whether one is open at this minute of that day; a minute beyond its end is one of the next day's."""
    day, minute = (day + minute // DAY) % 7, minute % DAY
    return not windows or any(window.holds(day, minute) for window in windows)


def next_open(windows: Sequence[Window], now: datetime, local: Local) -> datetime | None:
    """The first moment from now on at which one is open: now itself, or the beginning of a minute. None where none
    opens within a week."""
    if is_open(windows, local(now)):
        return now
    # Minute by minute: so the clock's own jumps need no thought, and a week of them takes 15 ms.
    minutes = (now.replace(second=0, microsecond=0) + timedelta(minutes=at) for at in range(1, _FARTHEST))
    return next((moment for moment in minutes if is_open(windows, local(moment))), None)


def _window(text: str) -> Window | None:
    found = _ONE.fullmatch(text)
    if not found:
        return None
    hours = [int(number) for number in found.groups()[1:]]
    opens, closes = hours[0] * 60 + hours[1], hours[2] * 60 + hours[3]
    days = _days(found[1]) if found[1] else frozenset(range(7))
    if max(hours[1], hours[3]) > 59 or opens >= DAY or closes > DAY or opens == closes or not days:
        return None
    return Window(days, opens, closes - opens if closes > opens else closes - opens + DAY)


def _days(text: str) -> frozenset[int]:
    """`Mon`, `Mon,Wed`, `Sat..Mon` as days; none for what cannot be read."""
    days: set[int] = set()
    for part in text.split(","):
        ends = [_day(name) for name in part.strip().split("..")]
        if len(ends) > 2 or None in ends:
            return frozenset()
        first, last = ends[0] or 0, ends[-1] or 0
        days |= {(first + at) % 7 for at in range((last - first) % 7 + 1)}
    return frozenset(days)


def _day(name: str) -> int | None:
    known = (at for at, day in enumerate(_DAYS) if name.lower() in (day, day[:3]))
    return next(known, None)
