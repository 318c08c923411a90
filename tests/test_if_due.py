"""`rotate --if-due` by the clock on the wall: real record, real command, time by freezegun.

A key that is not due ends the command before anything is looked at (0). One that is due goes on to preflight, which
refuses (3): what stands for the encrypted file here is none.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from freezegun import freeze_time

from keyrotor.cli import main
from keyrotor.core import machine
from keyrotor.core.model import Outcome, Plan, Purpose, Source, Value
from keyrotor.journal import Journal

PLAYBOOK = """
name  = "key"
every = "{every}"
[secret]
file = "secrets.enc.env"
key  = "KEY"
[[place]]
kind = "sops-file"
"""
DUE, NOT_DUE, OWED = 3, 0, 22
WORDS = {DUE: (0, "due"), NOT_DUE: (1, "not due"), OWED: (0, "owed")}


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Sets the zone that the machine is in."""

    def move_to(name: str) -> None:
        monkeypatch.setenv("TZ", name)
        time.tzset()

    yield move_to
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KEYROTOR_STATE_DIR", str(tmp_path / "state"))
    (tmp_path / "playbooks").mkdir()
    (tmp_path / "secrets.enc.env").write_text("KEY=in clear\n")
    return tmp_path


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def record(project: Path, run: str, at: datetime, outcome: Outcome | None, purpose: Purpose = Purpose.ROTATE) -> None:
    """A run that was closed then with this outcome; None: one that is owed."""
    file = str((project / "secrets.enc.env").resolve())
    marks = dict.fromkeys(Value, "0" * 12)
    plan = Plan(run, "key", Source(file, "KEY", "", str(project)), (), marks, "k", marks, purpose=purpose)
    events: list[machine.Event] = [machine.Opened(plan)]
    if outcome is Outcome.ROLLED_BACK:
        events.append(machine.TurnedBack("it failed"))
    if outcome:
        events += [machine.Settled(), machine.Closed(outcome)]
    with Journal.open(project / "state") as journal:
        for event in events:
            journal.append(run, event, at)


def asked(project: Path, every: str, now: datetime, window: str = "") -> int:
    """How `rotate --if-due` ends at this moment; `due` says the same before."""
    hours = f'window = "{window}"\n' if window else ""
    (project / "playbooks" / "key.toml").write_text(hours + PLAYBOOK.format(every=every))
    with freeze_time(now):
        due = CliRunner().invoke(main, ["due"])
        ended = CliRunner().invoke(main, ["rotate", "--if-due", "--yes"]).exit_code
    assert (due.exit_code, due.stdout.partition(":")[0]) == WORDS[ended], due.output
    return ended


VIENNA, AUCKLAND, LOS_ANGELES = "Europe/Vienna", "Pacific/Auckland", "America/Los_Angeles"


@pytest.mark.parametrize(
    ("zone_name", "every", "last", "now", "ends"),
    [
        # month ends, and leap days
        ("UTC", "month", "2024-01-31T23:59:59", "2024-02-01T00:00:00", DUE),
        ("UTC", "month", "2024-02-01T00:00:00", "2024-02-29T23:59:59", NOT_DUE),
        ("UTC", "month", "2024-02-29T12:00:00", "2024-03-01T00:00:00", DUE),
        ("UTC", "month", "2023-02-28T23:59:59", "2023-03-01T00:00:00", DUE),
        ("UTC", "month", "2024-12-31T23:59:59", "2025-01-01T00:00:00", DUE),
        ("UTC", "30d", "2024-02-01T00:00:00", "2024-03-01T23:59:59", NOT_DUE),  # a leap year's February has 29 days
        ("UTC", "30d", "2024-02-01T00:00:00", "2024-03-02T00:00:00", DUE),
        ("UTC", "week", "2024-12-29T23:59:59", "2024-12-30T00:00:00", DUE),
        ("UTC", "week", "2024-12-30T00:00:00", "2025-01-05T23:59:59", NOT_DUE),
        # the calendar is the local one
        (VIENNA, "month", "2024-01-31T22:59:59", "2024-01-31T23:00:00", DUE),  # midnight there
        ("UTC", "month", "2024-01-31T22:59:59", "2024-01-31T23:00:00", NOT_DUE),
        (AUCKLAND, "month", "2024-01-31T10:59:59", "2024-01-31T11:00:00", DUE),
        (LOS_ANGELES, "month", "2024-02-01T07:59:59", "2024-02-01T08:00:00", DUE),
        (LOS_ANGELES, "month", "2024-02-01T00:00:00", "2024-02-01T07:00:00", NOT_DUE),  # still January there
        (LOS_ANGELES, "week", "2024-01-08T07:59:59", "2024-01-08T08:00:00", DUE),
        # summer time begins and ends: durations are real time, months are the calendar's
        (VIENNA, "24h", "2024-03-30T12:00:00", "2024-03-31T11:59:59", NOT_DUE),
        (VIENNA, "24h", "2024-03-30T12:00:00", "2024-03-31T12:00:00", DUE),
        (VIENNA, "24h", "2024-10-26T12:00:00", "2024-10-27T11:59:59", NOT_DUE),
        (VIENNA, "24h", "2024-10-26T12:00:00", "2024-10-27T12:00:00", DUE),
        (VIENNA, "month", "2024-03-31T00:30:00", "2024-03-31T21:59:59", NOT_DUE),
        (VIENNA, "month", "2024-03-31T00:30:00", "2024-03-31T22:00:00", DUE),  # midnight, now two hours ahead
        (VIENNA, "month", "2024-10-31T22:30:00", "2024-10-31T23:00:00", DUE),  # midnight, one hour ahead again
        # a clock that ran far ahead when the key was rotated, and one that was set back
        ("UTC", "month", "2030-01-01T00:00:00", "2024-01-15T00:00:00", DUE),
        ("UTC", "30d", "2024-03-01T00:00:00", "2024-02-01T00:00:00", DUE),
        ("UTC", "12h", "2024-02-01T00:10:00", "2024-02-01T00:00:00", NOT_DUE),
    ],
)
def test_a_key_is_due_by_the_local_calendar(
    project: Path, zone: Callable[[str], None], zone_name: str, every: str, last: str, now: str, ends: int
) -> None:
    """Records are UTC; months and weeks are those of the wall, durations real time."""
    zone(zone_name)
    record(project, "a", utc(last), Outcome.ROTATED)
    assert asked(project, every, utc(now)) == ends


@pytest.mark.parametrize("outcome", [Outcome.ROLLED_BACK, Outcome.ABANDONED])
def test_a_rotation_that_failed_stays_due(project: Path, outcome: Outcome) -> None:
    """Tried this month and undone: due again the next moment."""
    record(project, "a", utc("2024-01-10T00:00:00"), Outcome.ROTATED)
    record(project, "b", utc("2024-02-10T00:00:00"), outcome)
    assert asked(project, "month", utc("2024-02-10T00:00:01")) == DUE


def test_a_rotation_that_is_not_finished_is_owed(project: Path) -> None:
    """Neither due nor not: it must be finished first."""
    record(project, "a", utc("2024-02-10T00:00:00"), None)
    assert asked(project, "month", utc("2024-02-10T00:00:01")) == OWED


def test_a_repair_does_not_make_a_key_younger(project: Path) -> None:
    """The value is the same as before."""
    record(project, "a", utc("2024-01-10T00:00:00"), Outcome.ROTATED)
    record(project, "b", utc("2024-02-10T00:00:00"), Outcome.REPAIRED, Purpose.REPAIR)
    record(project, "c", utc("2024-02-10T00:00:00"), Outcome.OLD_ALIVE, Purpose.REPAIR)
    assert asked(project, "month", utc("2024-02-11T00:00:00")) == DUE


def test_an_old_key_that_may_live_was_rotated_all_the_same(project: Path) -> None:
    """The new key is everywhere; another rotation this month would not prove the old one dead."""
    record(project, "a", utc("2024-02-10T00:00:00"), Outcome.OLD_ALIVE)
    assert asked(project, "month", utc("2024-02-11T00:00:00")) == NOT_DUE


@pytest.mark.parametrize("every", ["month", "week", "36h", "30d"])
def test_a_key_that_was_rotated_by_a_wrong_clock_is_due_again_within_its_period(project: Path, every: str) -> None:
    """Whatever the clock said then, it is never not due for ever: a month and a day later at the latest."""
    now = utc("2024-02-10T12:00:00")
    for at, wrong in enumerate([-3650, -1, 0, 1, 2, 40, 3650]):
        record(project, f"r{at}", now + timedelta(days=wrong), Outcome.ROTATED)
        assert asked(project, every, now + timedelta(days=33)) == DUE, wrong


def test_after_a_wrong_clock_the_next_rotation_counts(project: Path) -> None:
    """The last one on record is the last one made, whatever its time says."""
    record(project, "a", utc("2030-01-01T00:00:00"), Outcome.ROTATED)
    record(project, "b", utc("2024-02-10T00:00:00"), Outcome.ROTATED)
    assert asked(project, "month", utc("2024-02-11T00:00:00")) == NOT_DUE
    assert asked(project, "month", utc("2024-03-01T00:00:00")) == DUE


@pytest.mark.parametrize(
    ("zone_name", "window", "now", "ends"),
    [
        (VIENNA, "02:00-05:00", "2024-02-10T00:59:59", NOT_DUE),  # 1:59 there
        (VIENNA, "02:00-05:00", "2024-02-10T01:00:00", DUE),
        (VIENNA, "02:00-05:00", "2024-02-10T03:59:59", DUE),
        (VIENNA, "02:00-05:00", "2024-02-10T04:00:00", NOT_DUE),
        (VIENNA, "Mon..Fri 02:00-05:00", "2024-02-10T03:00:00", NOT_DUE),  # a Saturday
        (AUCKLAND, "Sun 00:00-01:00", "2024-02-10T11:30:00", DUE),  # Sunday there, Saturday in UTC
        (VIENNA, "Fri 22:00-04:00", "2024-02-10T02:59:59", DUE),  # since Friday
        (VIENNA, "Sat 22:00-04:00", "2024-02-10T02:59:59", NOT_DUE),
        # the hour that is left out, and the one that comes twice
        (VIENNA, "02:00-03:00", "2024-03-31T00:59:59", NOT_DUE),
        (VIENNA, "02:00-03:00", "2024-03-31T01:00:00", NOT_DUE),  # three o'clock already
        (VIENNA, "02:00-03:00", "2024-10-27T00:30:00", DUE),
        (VIENNA, "02:00-03:00", "2024-10-27T01:30:00", DUE),  # half past two once more
        (VIENNA, "02:00-03:00", "2024-10-27T02:00:00", NOT_DUE),
    ],
)
def test_a_due_key_waits_for_its_window(
    project: Path, zone: Callable[[str], None], zone_name: str, window: str, now: str, ends: int
) -> None:
    """By the clock on the wall, whatever it does that night."""
    zone(zone_name)
    record(project, "a", utc("2024-01-10T00:00:00"), Outcome.ROTATED)
    assert asked(project, "month", utc(now), window) == ends


def test_a_window_lets_nobody_rotate_who_is_not_due(project: Path) -> None:
    """Open is not due; and what is due rotates by hand at any hour."""
    record(project, "a", utc("2024-02-10T00:00:00"), Outcome.ROTATED)
    assert asked(project, "month", utc("2024-02-11T03:00:00"), "02:00-05:00") == NOT_DUE
    with freeze_time(utc("2024-02-11T12:00:00")):
        assert CliRunner().invoke(main, ["rotate", "--yes"]).exit_code == DUE


def test_what_cannot_be_told_is_no_no(project: Path) -> None:
    """A broken playbook, no playbook, a record that is none: 0 with --or-unknown, and not 1 alone without."""
    with freeze_time(utc("2024-02-11T12:00:00")):
        for arguments in (["due", "no-such"], ["due", "/no/such.toml"]):
            assert CliRunner().invoke(main, arguments).exit_code == 2
            assert CliRunner().invoke(main, [*arguments, "--or-unknown"]).exit_code == 0
        record(project, "a", utc("2024-02-10T00:00:00"), Outcome.ROTATED)
        asked(project, "month", utc("2024-02-11T12:00:00"))
        assert CliRunner().invoke(main, ["due", "--or-unknown"]).exit_code == 1
        (project / "state" / "journal.sqlite3").write_bytes(b"no record" * 1000)
        told = CliRunner().invoke(main, ["due", "--or-unknown"])
        assert (told.exit_code, "not due" in told.stdout) == (0, False)


def test_another_value_does_not_go_on_with_a_run(project: Path) -> None:
    """The run that is owed has its own: 2."""
    asked(project, "month", utc("2024-02-11T12:00:00"))
    for other in (["--value-stdin"], ["--plan", "saved.json"]):
        assert CliRunner().invoke(main, ["rotate", "--yes", "--resume", *other]).exit_code == 2
