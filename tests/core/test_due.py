"""When a key is due."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyrotor.core import due

VIENNA = timezone(timedelta(hours=1))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=VIENNA)


@pytest.mark.parametrize(
    ("every", "last", "now", "is_due"),
    [
        ("month", "2025-01-31T23:59", "2025-02-01T00:00", True),  # once in each calendar month
        ("month", "2025-01-01T00:00", "2025-01-31T23:59", False),
        ("month", "2024-12-31T23:59", "2025-01-01T00:00", True),
        ("month", "2024-12-01T00:00", "2025-12-01T00:00", True),
        ("week", "2025-01-05T23:59", "2025-01-06T00:00", True),  # Sunday, then Monday
        ("week", "2025-01-06T00:00", "2025-01-12T23:59", False),
        ("week", "2024-12-30T08:00", "2025-01-01T08:00", False),  # one ISO week across the new year
        ("week", "2024-12-29T08:00", "2024-12-30T08:00", True),
        ("30d", "2025-01-01T00:00", "2025-01-30T23:59", False),
        ("30d", "2025-01-01T00:00", "2025-01-31T00:00", True),
        ("12h", "2025-01-01T00:00", "2025-01-01T11:59", False),
        ("12h", "2025-01-01T00:00", "2025-01-01T12:00", True),
        ("1w", "2025-01-01T00:00", "2025-01-08T00:00", True),
        # a clock that was set back
        ("month", "2025-03-01T00:00", "2025-02-01T00:00", True),
        ("30d", "2025-03-03T00:00", "2025-03-01T12:00", True),
        # and one that was only a little off
        ("12h", "2025-03-01T00:10", "2025-03-01T00:00", False),
        ("month", "2025-03-01T00:10", "2025-02-28T23:59", False),
    ],
)
def test_a_key_is_due_once_in_its_period(every: str, last: str, now: str, is_due: bool) -> None:
    """Calendar periods count calendar months and ISO weeks; durations count from the last rotation."""
    assert due.is_due(every, at(last), at(now)) is is_due


@pytest.mark.parametrize("every", ["month", "week", "30d"])
def test_a_key_that_was_never_rotated_is_due(every: str) -> None:
    """Without a last rotation there is nothing to wait for."""
    assert due.is_due(every, None, at("2025-01-01T00:00"))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("2m", 120), ("12h", 43200), ("30d", 2592000), ("1w", 604800), ("1.5h", 5400), ("0s", 0)],
)
def test_a_duration_is_a_number_and_a_unit(text: str, seconds: float) -> None:
    """Each unit counts what it says."""
    assert due.seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "10", "s", "10 s", "-1d", "1d12h", "month", "1M", "ten days", "1.d", "10s\n"])
def test_anything_else_is_no_duration(text: str) -> None:
    """A text that is not a number and a unit gives no seconds, so that the playbook can say so."""
    assert due.seconds(text) is None


@pytest.mark.parametrize(
    ("text", "is_every"), [("month", True), ("week", True), ("30d", True), ("0d", False), ("year", False), ("", False)]
)
def test_a_period_is_a_calendar_word_or_a_duration_above_zero(text: str, is_every: bool) -> None:
    """A key that were due every zero seconds would be rotated without end."""
    assert due.is_every(text) is is_every


@given(
    st.sampled_from(["month", "week", "30d", "12h"]),
    st.datetimes(min_value=datetime(1990, 1, 1), max_value=datetime(2090, 1, 1)),
)
def test_a_key_is_never_due_at_the_moment_it_was_rotated_and_always_a_year_later(every: str, now: datetime) -> None:
    """No period is empty, and none is endless."""
    moment = now.replace(tzinfo=UTC)
    assert not due.is_due(every, moment, moment)
    assert due.is_due(every, moment - timedelta(days=366), moment)


def begin(day: date) -> datetime:
    return datetime.combine(day, time.min, VIENNA)


@pytest.mark.parametrize(
    ("every", "last", "now", "due_at"),
    [
        ("month", "2025-01-31T23:59", "2025-01-31T23:59", "2025-02-01T00:00"),
        ("month", "2024-12-01T00:00", "2024-12-05T00:00", "2025-01-01T00:00"),
        ("month", "2024-02-29T12:00", "2024-03-05T00:00", "2024-03-01T00:00"),  # overdue since then
        ("week", "2025-01-05T23:59", "2025-01-05T23:59", "2025-01-06T00:00"),  # Sunday, then Monday
        ("week", "2024-12-30T08:00", "2025-01-01T08:00", "2025-01-06T00:00"),  # over the new year
        ("30d", "2025-01-01T10:30", "2025-01-02T00:00", "2025-01-31T10:30"),
        ("12h", "2025-01-01T10:30", "2025-01-02T00:00", "2025-01-01T22:30"),
        # a clock that was set back: now, not after everything that it was set back by
        ("month", "2026-06-01T00:00", "2025-02-01T00:00", "2025-02-01T00:00"),
        ("30d", "2026-06-01T00:00", "2025-02-01T00:00", "2025-02-01T00:00"),
    ],
)
def test_a_key_is_due_next_when_its_period_begins_anew(every: str, last: str, now: str, due_at: str) -> None:
    """Calendar periods begin at midnight where we are; durations end to the minute."""
    assert due.next_due(every, at(last), at(now), begin) == at(due_at)


def test_a_midnight_beyond_a_change_of_the_clocks_is_the_one_of_that_day() -> None:
    """The zone is asked anew for the day itself: in summer it is another distance from UTC."""
    vienna = ZoneInfo("Europe/Vienna")
    last = datetime(2025, 10, 20, 12, tzinfo=timezone(timedelta(hours=2)))
    found = due.next_due("month", last, last, lambda day: datetime.combine(day, time.min, vienna))
    assert found.isoformat() == "2025-11-01T00:00:00+01:00"


@given(
    st.sampled_from(["month", "week", "30d", "12h"]),
    st.datetimes(min_value=datetime(1990, 1, 1), max_value=datetime(2090, 1, 1)),
    st.timedeltas(timedelta(0), timedelta(days=800)),
)
def test_a_key_is_due_from_that_moment_on_and_not_before(every: str, moment: datetime, age: timedelta) -> None:
    """The two answers agree at every moment."""
    last = moment.replace(tzinfo=VIENNA)
    assert due.is_due(every, last, last + age) == (last + age >= due.next_due(every, last, last + age, begin))


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-5, "0 s"),
        (0.9, "0 s"),
        (59, "59 s"),
        (60, "1 minute"),
        (7199, "1 hour"),
        (7200, "2 hours"),
        (172800, "2 days"),
    ],
)
def test_a_length_of_time_is_told_in_one_unit(seconds: float, said: str) -> None:
    """The largest that it fills."""
    assert due.ago(timedelta(seconds=seconds)) == said
