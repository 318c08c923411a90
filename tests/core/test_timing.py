"""When a timer wakes for a playbook, and how long what it has begun may take."""

from __future__ import annotations

import pytest

from keyrotor.core import timing, window
from keyrotor.core.model import Act, Row


@pytest.mark.parametrize(
    ("every", "calendar", "delay"),
    [
        *[(every, "*-*-* 04:30:00", 10) for every in ("month", "week", "30d", "7d", "1w")],
        *[(every, "*-*-* *:30:00", 5) for every in ("6d", "1.5d", "24h", "12h")],
        *[(every, "*-*-* *:00/5:00", 0) for every in ("11h", "1h", "90s")],
    ],
)
def test_it_wakes_more_often_than_the_key_is_due(every: str, calendar: str, delay: int) -> None:
    """Daily; what counts less than a week from the last rotation would else be late by too much."""
    assert timing.wake(every, (), "04:30") == timing.Wake(calendar, delay, "04:30")


@pytest.mark.parametrize(
    ("hours", "at", "delay"),
    [
        ("02:00-05:00", "04:00", 10),
        ("02:00-05:00", "04:55", 0),  # ten minutes later it would be closed
        ("02:00-05:00", "04:59", None),
        ("02:00-05:00", "05:00", None),
        ("22:00-04:00", "03:00", 10),
        ("22:00-04:00", "23:55", 10),
        ("Sat 04:00-04:05", "04:00", 0),
        ("Sun 22:00-00:30; Wed 03:00-05:00", "00:10", 10),
    ],
)
def test_it_wakes_while_the_window_is_open(hours: str, at: str, delay: int | None) -> None:
    """The whole of its delay reckoned in; a time at which the window is never open is none."""
    found = timing.wake("month", window.parsed(hours) or (), at)
    assert (found.delay if found else None) == delay


@pytest.mark.parametrize(
    ("asked", "installed", "hours", "at"),
    [
        ("05:00", "06:00", "", "05:00"),
        ("", "06:00", "", "06:00"),
        ("", "", "", "04:00"),
        ("", "", "02:00-05:00", "04:00"),
        ("", "", "Mon..Fri 22:30-23:30", "22:30"),
        ("04:00", "", "22:30-23:30", "04:00"),  # what was asked for is refused, and not changed
    ],
)
def test_it_wakes_when_it_was_asked_to(asked: str, installed: str, hours: str, at: str) -> None:
    """What was asked for, what is installed, four o'clock, or when the window opens."""
    assert timing.at_or(asked, installed, "month", window.parsed(hours) or ()) == at


def row(act: Act, within: float, **options: object) -> Row:
    return Row(f"{act}{within}", "place", "kind", act, "label", within, options=options)


def test_the_way_back_has_time_for_every_wait() -> None:
    """Each proof once, what is tried twice twice, a file a moment; and never less than the write in hand needs."""
    rows = [row(Act.FILE, 60.0), row(Act.RESTART, 120.0), row(Act.ADMIT, 120.0), row(Act.RETIRE, 120.0)]
    alone = timing.longest_way_back([])
    assert alone >= 60
    assert timing.longest_way_back(rows) == alone + 2 + 360
    assert timing.longest_way_back([row(Act.COMMAND, 60.0), row(Act.STORE, 60.0)]) == alone + 240
    assert timing.longest_way_back([row(Act.FILE, 60.0, reload=["true"])]) == alone + 60
    assert timing.longest(rows) > 2 * timing.longest_way_back(rows)


def test_a_time_of_the_day_is_one() -> None:
    """Two digits each."""
    assert all(map(timing.is_at, ("00:00", "23:59")))
    assert not any(map(timing.is_at, ("24:00", "4:00", "04:60", "04:00:00", "", "noon")))
