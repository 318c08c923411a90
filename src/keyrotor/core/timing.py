"""When a timer wakes, how long a rotation that it has begun may take to end, and how its install ended. Pure.

A timer wakes more often than a key is due, and the playbook's `every` decides: so a rotation that failed is tried again
at the next wake, and a machine that was off loses a day and no month.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from keyrotor.core import due
from keyrotor.core.model import Act, Playbook, Row
from keyrotor.core.serving import SAID, Intent
from keyrotor.core.window import DAY, Window, is_open_at
from keyrotor.errors import Exit

AT = "04:00"
_WEEK, _HALF_DAY = 7 * 86400.0, 12 * 3600.0
_SLACK = 1  # minutes: systemd may wake so much later (AccuracySec=)
_FILES = 2.0  # seconds for a file of a plan; one takes some ms
_REST = 90.0  # seconds: the write in hand, sops, and what git and systemd may take
_LEAST = 1800.0  # seconds: longer than any rotation that goes on; what hangs must not keep the timer from waking again


@dataclass(frozen=True, slots=True)
class Wish:
    """What the person who types `timer` asks for besides."""

    book: str = ""  # the playbook as it was named, quoted for a shell
    is_system: bool = False
    every: str = ""  # "" leaves it as the playbook has it
    at: str = ""  # "" leaves it as it is installed

    @property
    def scope(self) -> str:
        return "system" if self.is_system else "user"

    def command(self, verb: str, *options: str) -> str:
        """What to type for the same playbook and scope."""
        system = ["--system"] if self.is_system else []
        return " ".join(word for word in ("keyrotor timer", verb, *system, *options, self.book) if word)


@dataclass(frozen=True, slots=True)
class Unread:
    """A playbook that is gone, or does not matter: its timer was named."""

    name: str
    every: str = ""
    window: str = ""


@dataclass(frozen=True, slots=True)
class Told:
    """How an install or a removal ended."""

    book: Playbook | Unread
    action: str
    outcome: str
    intent: Intent
    hints: tuple[str, ...] = ()
    exit: Exit = Exit.DONE
    next_wake: datetime | None = None

    def lines(self) -> list[str]:
        """What a person reads at the end."""
        wakes = f"; it wakes next at {self.next_wake.astimezone():%Y-%m-%d %H:%M}" if self.next_wake else ""
        notes = (f"note: {note}" for note in self.intent.notes)
        return [f"{self.intent.unit}: {SAID[self.outcome]}{wakes}", *notes, *(f"hint: {hint}" for hint in self.hints)]

    def as_json(self) -> Mapping[str, Any]:
        """The one object that --json prints (docs/reference/json.md)."""
        return {
            "schema": 1,
            "playbook": self.book.name,
            "action": self.action,
            "outcome": self.outcome,
            "exit": int(self.exit),
            "unit": self.intent.unit,
            "scope": self.intent.scope,
            "every": self.book.every,
            "window": self.book.window,
            "next": self.next_wake.isoformat() if self.next_wake else None,
            "files": [{"path": path, "state": str(state)} for path, state in self.intent.files.items()],
            "notes": list(self.intent.notes),
        }


@dataclass(frozen=True, slots=True)
class Wake:
    """When a timer wakes."""

    calendar: str  # for OnCalendar=
    delay: int  # minutes that it may be late, so that not all of a house wake at once
    at: str  # what an install was asked for

    @property
    def told(self) -> str:
        """The same for a person."""
        often, _, minute = self.calendar.partition(" ")[2].removesuffix(":00").partition(":")
        how = (
            "every 5 minutes" if "/" in minute else f"each hour at :{minute}" if often == "*" else f"daily at {self.at}"
        )
        return f"{how}, up to {self.delay} min later" if self.delay else how


def is_at(text: str) -> bool:
    """Whether this is a time of the day."""
    return re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", text) is not None


def wake(every: str, windows: Sequence[Window], at: str) -> Wake | None:
    """When a timer wakes for such a playbook; None where its window is closed then, on each day.

    `every` counts from the last rotation, so it is over a little after the hour of that one: a timer that wakes daily
    would be a day late, which is too much for less than a week.
    """
    hour, minute = at.split(":")
    lasts = due.seconds(every)
    if lasts is None or lasts >= _WEEK:
        often, moments, delay = f"{hour}:{minute}", [int(hour) * 60 + int(minute)], 10
    elif lasts >= _HALF_DAY:
        often, moments, delay = f"*:{minute}", [each * 60 + int(minute) for each in range(24)], 5
    else:
        often, moments, delay = "*:00/5", [*range(0, DAY, 5)], 0
    for late in (delay, 0):
        if any(_is_in(windows, moment, late) for moment in moments):
            return Wake(f"*-*-* {often}:00", late, at)
    return None


def at_or(asked: str, installed: str, every: str, windows: Sequence[Window]) -> str:
    """The time of the day to wake at: the one asked for, the installed one, or one at which a window is open."""
    opens = [f"{window.opens // 60:02}:{window.opens % 60:02}" for window in windows]
    fitting = (at for at in (AT, *opens) if wake(every, windows, at))
    return asked or installed or next(fitting, AT)


def longest_way_back(rows: Iterable[Row]) -> float:
    """The seconds that a run may need to end all old, once it is asked to stop."""
    return _REST + sum(_times(rows))


def longest(rows: Sequence[Row]) -> float:
    """The seconds after which a run hangs: it had time to go forward, and all the way back."""
    return max(_LEAST, 3 * longest_way_back(rows))


def runs_commands(rows: Iterable[Row]) -> bool:
    """Whether a rotation runs programs of the user's own, which may need what others do not."""
    return any(row.act is Act.COMMAND or row.options.get("reload") for row in rows)


def _times(rows: Iterable[Row]) -> Iterator[float]:
    for row in rows:
        waits = row.within if row.act is not Act.FILE or row.options.get("reload") else _FILES
        yield waits * (1 if row.act is Act.FILE else row.act.tries)


def _is_in(windows: Sequence[Window], moment: int, late: int) -> bool:
    """Whether there is a day on which a timer that wakes then, or so much later, finds a window open."""
    last = moment + late + _SLACK
    days = range(7)
    return any(all(is_open_at(windows, day, each) for each in (moment, last)) for day in days)
