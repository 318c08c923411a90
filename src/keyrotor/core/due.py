"""When a key is due. Pure: the clock comes in as an argument."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from keyrotor.core import window
from keyrotor.core.model import Playbook
from keyrotor.errors import Exit

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
CALENDAR = ("month", "week")
ALLOWED = "month, week, or a number with s, m, h, d or w"


def seconds(text: str) -> float | None:
    """`90s`, `2m`, `12h`, `30d`, `1w` in seconds; None for anything else."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text)
    return float(found[1]) * _UNITS[found[2]] if found else None


@dataclass(frozen=True, slots=True)
class Due:
    """Whether a rotation that waits for its time would begin now, and why."""

    is_now: bool
    reason: str
    last: datetime | None = None  # when the key was rotated; None where no rotation is on record
    next: datetime | None = None  # when a rotation would begin; None where nothing tells


@dataclass(frozen=True, slots=True)
class Owed:
    """The runs of a secret file that are not finished, by their ids; "" for none."""

    interrupted: str = ""  # nobody but a person would hinder it from being gone on with
    waiting: str = ""  # it is stuck, or an incident's: a person must look


@dataclass(frozen=True, slots=True)
class Asked:
    """Whether a rotation that waits for its time would begin now, or an interrupted one go on."""

    book: Playbook
    owed: Owed
    due: Due | None  # None while a run is owed: that comes first

    @property
    def is_sure_not(self) -> bool:
        """Whether there is nothing to do, and nothing to be told."""
        return self.due is not None and not self.due.is_now

    @property
    def exit(self) -> Exit:
        return Exit.DONE if self.owed.interrupted or (self.due and self.due.is_now) else Exit.FAILED

    @property
    def state(self) -> str:
        if self.due is None:
            return "waiting" if self.owed.waiting else "owed"
        return "due" if self.due.is_now else "not-due"

    @property
    def line(self) -> str:
        """One line for a person. A timer's service is skipped where it begins with `not due`, and nowhere else."""
        if self.owed.waiting:
            return f"waiting for a person: run {self.owed.waiting} of {self.book.name} (keyrotor status)"
        if self.due is None:
            return f"owed: run {self.owed.interrupted} of {self.book.name} was interrupted, and can be gone on with"
        return f"{self.state.replace('-', ' ')}: {self.book.name}: {self.due.reason}"

    def as_json(self) -> Mapping[str, Any]:
        """The one object that --json prints (docs/reference/json.md)."""
        last, then = (self.due.last, self.due.next) if self.due else (None, None)
        return {
            "schema": 1,
            "playbook": self.book.name,
            "state": self.state,
            "exit": int(self.exit),
            "reason": self.line,
            "run": self.owed.waiting or self.owed.interrupted or None,
            "every": self.book.every,
            "window": self.book.window,
            "last": last.isoformat() if last else None,
            "next": then.isoformat() if then else None,
        }


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


def judged(
    every: str, hours: str, last: datetime | None, now: datetime, local: window.Local, begin: Callable[[date], datetime]
) -> Due:
    """Whether a key is due, and its window open. `local` gives a moment as the wall's clock shows it."""
    windows, wall = window.parsed(hours) or (), local(now)
    then = local(last) if last else None
    said = f"last rotated {then:%Y-%m-%d %H:%M}, due every {every}" if then else "no rotation is on record"
    if then and not is_due(every, then, wall):
        first = next_due(every, then, wall, begin)
        opens = window.next_open(windows, first, local)
        return Due(False, f"{said}{_next(opens, local)}", last, opens)
    if window.is_open(windows, wall):
        return Due(True, said, last, now)
    opens = window.next_open(windows, now, local)
    return Due(False, f"{said}; its window ({hours}) is closed{_next(opens, local)}", last, opens)


def _next(opens: datetime | None, local: window.Local) -> str:
    return f"; next from {local(opens):%Y-%m-%d %H:%M} on" if opens else ""


def ago(span: timedelta) -> str:
    """A length of time as a person says it."""
    length = max(0, int(span.total_seconds()))
    for unit, one in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if length >= one:
            count = length // one
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return f"{length} s"
