"""When a maintenance window is open, by the clock on the wall, and when it opens next."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyrotor.core import due, window
from keyrotor.core.window import Window

VIENNA, LORD_HOWE = ZoneInfo("Europe/Vienna"), ZoneInfo("Australia/Lord_Howe")  # the latter moves by half an hour
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def windows(text: str) -> tuple[Window, ...]:
    found = window.parsed(text)
    assert found is not None, text
    return found


def in_zone(zone: ZoneInfo) -> Callable[[datetime], datetime]:
    return lambda moment: moment.astimezone(zone)


def wall(text: str, fold: int = 0) -> datetime:
    """This moment of Vienna's clocks; 2024-01-01 is a Monday."""
    return datetime.fromisoformat(text).replace(tzinfo=VIENNA, fold=fold)


@pytest.mark.parametrize(
    ("text", "now", "is_open"),
    [
        ("02:00-05:00", "2024-01-01T02:00", True),
        ("02:00-05:00", "2024-01-01T01:59:59", False),
        ("02:00-05:00", "2024-01-01T05:00", False),  # the end is no part of it
        ("Mon..Fri 02:00-05:00", "2024-01-05T04:59:59", True),
        ("Mon..Fri 02:00-05:00", "2024-01-06T03:00", False),
        ("Mon,Wed 02:00-05:00", "2024-01-03T03:00", True),
        ("Mon,Wed 02:00-05:00", "2024-01-02T03:00", False),
        ("Sat..Mon 02:00-05:00", "2024-01-07T03:00", True),
        ("Sat..Mon 02:00-05:00", "2024-01-01T03:00", True),
        ("Sat..Mon 02:00-05:00", "2024-01-02T03:00", False),
        ("22:00-04:00", "2024-01-01T23:00", True),
        ("22:00-04:00", "2024-01-01T03:59", True),
        ("22:00-04:00", "2024-01-01T04:00", False),
        ("Fri 22:00-04:00", "2024-01-06T03:00", True),  # it opened on Friday
        ("Fri 22:00-04:00", "2024-01-05T03:00", False),
        ("Sun 22:00-04:00", "2024-01-08T03:00", True),  # over the week's end
        ("Mon 01:00-02:00; Sat,Sun 00:00-24:00", "2024-01-06T12:00", True),
        ("Mon 01:00-02:00; Sat,Sun 00:00-24:00", "2024-01-01T01:30", True),
        ("Mon 01:00-02:00; Sat,Sun 00:00-24:00", "2024-01-01T02:30", False),
        ("monday..WEDNESDAY , fri 1:00 - 2:00", "2024-01-05T01:30", True),
        ("", "2024-01-01T12:00", True),
    ],
)
def test_a_window_is_open(text: str, now: str, is_open: bool) -> None:
    """By the day on which it opens; its end belongs to what comes after."""
    assert window.is_open(windows(text), wall(now)) is is_open


@pytest.mark.parametrize(
    "text",
    [
        *(" ", ";", "02:00", "02:00-", "2-5", "24:00-25:00", "02:60-03:00", "02:00-02:00", "02:00-24:01"),
        *("Foo 02:00-05:00", "Mon.. 02:00-05:00", "..Fri 02:00-05:00", "Mon..Tue..Wed 02:00-05:00", "Mon"),
        *("Mon02:00-05:00", "02:00-05:00 Mon", "02:00-05:00;", "Mon,,Tue 02:00-05:00", "02:00–05:00", "２:00-05:00"),
    ],
)
def test_what_is_no_window_is_refused(text: str) -> None:
    """None: the author is told what is allowed."""
    assert window.parsed(text) is None


@pytest.mark.parametrize(
    ("text", "now", "opens"),
    [
        ("02:00-05:00", "2024-01-01T03:00:30", "2024-01-01T03:00:30"),  # now
        ("02:00-05:00", "2024-01-01T01:59:59.5", "2024-01-01T02:00"),
        ("02:00-05:00", "2024-01-01T05:00", "2024-01-02T02:00"),
        ("Mon 02:00-05:00", "2024-01-01T05:00", "2024-01-08T02:00"),
        ("Sat..Mon 22:00-04:00; Wed 12:00-13:00", "2024-01-02T05:00", "2024-01-03T12:00"),
        # one hour is left out on 2024-03-31 in Vienna, and one comes twice on 2024-10-27
        ("02:00-03:00", "2024-03-31T00:00", "2024-04-01T02:00"),
        ("02:30-04:00", "2024-03-31T00:00", "2024-03-31T03:00"),
        ("02:30-02:45", "2024-10-27T00:00", "2024-10-27T02:30"),
    ],
)
def test_a_window_opens_next(text: str, now: str, opens: str) -> None:
    """At the first moment that is not over yet, whatever the clock does that night."""
    found = window.next_open(windows(text), wall(now).astimezone(UTC), in_zone(VIENNA))
    assert found == wall(opens).astimezone(UTC)


def test_an_hour_that_comes_twice_opens_twice() -> None:
    """The second time, too, it is what the wall shows."""
    found = window.next_open(windows("02:30-02:45"), wall("2024-10-27T02:50").astimezone(UTC), in_zone(VIENNA))
    assert found == wall("2024-10-27T02:30", fold=1).astimezone(UTC)


@st.composite
def texts(draw: st.DrawFn) -> str:
    """One to three windows as somebody writes them."""

    def one() -> str:
        opens, closes = draw(st.lists(st.integers(0, window.DAY - 1), min_size=2, max_size=2, unique=True))
        days = draw(st.sampled_from(["", *DAYS, "Mon..Fri ", "Sat..Mon ", "Tue,Thu "]))
        hours = f"{opens // 60:02}:{opens % 60:02}-{closes // 60}:{closes % 60:02}"
        return f"{days.strip()} {hours}".strip()

    return "; ".join(one() for _ in range(draw(st.integers(1, 3))))


@given(texts(), st.datetimes(datetime(2023, 1, 1), datetime(2027, 1, 1)), st.sampled_from([VIENNA, LORD_HOWE]))
def test_the_next_opening_is_open_and_nothing_is_before_it(text: str, naive: datetime, zone: ZoneInfo) -> None:
    """Within nine days, in every zone; no moment between is open, and it is never in the past."""
    found, now, local = windows(text), naive.replace(tzinfo=UTC), in_zone(zone)
    opens = window.next_open(found, now, local)
    assert opens is not None
    assert now <= opens <= now + timedelta(days=9)
    assert window.is_open(found, local(opens))
    for part in range(64):
        between = now + (opens - now) * part / 64
        assert between == opens or not window.is_open(found, local(between))


def midnight(day: object) -> datetime:
    return datetime.fromisoformat(str(day)).replace(tzinfo=VIENNA)


@pytest.mark.parametrize(
    ("hours", "last", "now", "is_now", "then"),
    [
        ("", None, "2024-01-10T12:00", True, "2024-01-10T12:00"),
        ("", "2024-01-10T12:00", "2024-01-20T12:00", False, "2024-02-01T00:00"),
        ("Mon..Fri 02:00-05:00", "2024-01-10T12:00", "2024-01-20T12:00", False, "2024-02-01T02:00"),
        ("Mon..Fri 02:00-05:00", "2024-01-10T12:00", "2024-02-01T05:00", False, "2024-02-02T02:00"),
        ("Mon..Fri 02:00-05:00", "2024-01-10T12:00", "2024-02-02T05:00", False, "2024-02-05T02:00"),
        ("Mon..Fri 02:00-05:00", "2024-01-10T12:00", "2024-02-02T04:59", True, "2024-02-02T04:59"),
        ("22:00-04:00", None, "2024-01-10T12:00", False, "2024-01-10T22:00"),
    ],
)
def test_a_key_is_due_inside_its_window(hours: str, last: str | None, now: str, is_now: bool, then: str) -> None:
    """Due but outside: not now; not due: from when on, the window reckoned in; the reason tells that moment."""
    last_at = wall(last).astimezone(UTC) if last else None
    found = due.judged("month", hours, last_at, wall(now).astimezone(UTC), in_zone(VIENNA), midnight)
    assert (found.is_now, found.next) == (is_now, wall(then))
    assert is_now or f"next from {wall(then):%Y-%m-%d %H:%M} on" in found.reason
    assert is_now or not hours or found.reason.startswith("last rotated") or hours in found.reason
