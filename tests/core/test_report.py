"""What is told of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from keyrotor.core import machine, report
from keyrotor.core.machine import Event, fold
from keyrotor.core.model import ALREADY, Outcome, Value
from keyrotor.errors import Exit
from world import World, plan_of

PLAN = plan_of()
NOON = datetime(2025, 1, 1, 12, tzinfo=UTC)


def timed(*events: tuple[float, Event]) -> list[report.Timed]:
    return [(NOON + timedelta(seconds=seconds), event) for seconds, event in ((0.0, machine.Opened(PLAN)), *events)]


def moving(row: str, value: Value = Value.NEW) -> Event:
    return machine.Moving(row, value)


def moved(row: str, value: Value = Value.NEW, detail: str = "done") -> Event:
    return machine.Moved(row, value, detail)


def away(*events: tuple[float, Event]) -> float | None:
    record = timed(*events)
    return report.outage(fold(event for _, event in record), record)


def told(record: Sequence[report.Timed], outcome: Outcome = Outcome.ROTATED, reason: str = "") -> report.Report:
    return report.of_run(fold(event for _, event in record), record, outcome, reason)


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (Outcome.ROTATED, 0),
        (Outcome.NOT_DUE, 0),
        (Outcome.ABANDONED, 0),
        (Outcome.NOTHING_CHANGED, 1),
        (Outcome.REFUSED, 3),
        (Outcome.ROLLED_BACK, 20),
        (Outcome.STUCK, 21),
        (Outcome.INTERRUPTED, 22),
        (Outcome.OLD_ALIVE, 23),
        (Outcome.BUSY, 30),
    ],
)
def test_each_outcome_has_its_exit_code(outcome: Outcome, code: int) -> None:
    """The codes are those of the interface page, one for each outcome."""
    assert report.EXITS[outcome] == Exit(code)
    assert set(report.EXITS) == set(Outcome)


def test_the_outage_lasts_from_the_restart_to_the_first_proof() -> None:
    """The gateway is away from the restart's intent until the door has accepted the goal."""
    door = (5.25, moved("door:accepts"))
    assert away((1, moving("unit")), (4, moved("unit")), (4, moving("door:accepts")), door) == 4.25


def test_no_restart_is_no_outage() -> None:
    """Where nothing was restarted, the gateway was not away, and a proof alone is no end of anything."""
    assert away((1, moving("env")), (2, moved("env")), (3, moving("door:accepts")), (4, moved("door:accepts"))) is None


def test_a_unit_that_held_the_value_already_was_not_away() -> None:
    """A put that restarted nothing begins no outage."""
    assert away((1, moving("unit")), (2, moved("unit", detail=ALREADY)), (5, moved("door:accepts"))) is None


def test_a_gateway_that_never_came_up_is_away_until_it_is_proven_on_the_way_back() -> None:
    """One outage runs from the first restart that failed to the proof of the old value."""
    assert (
        away(
            (1, moving("unit")),
            (10, machine.Failed("unit", Value.NEW, "cannot")),
            (10, machine.TurnedBack("unit: cannot")),
            (11, moving("unit", Value.OLD)),
            (14, moved("unit", Value.OLD)),
            (14, moving("door:accepts", Value.OLD)),
            (15.5, moved("door:accepts", Value.OLD)),
        )
        == 14.5
    )


def test_of_two_outages_the_last_is_told() -> None:
    """A run that restarted twice tells of the outage it ended with."""
    first = ((1, moving("unit")), (2, moved("unit")), (3, moved("door:accepts")))
    back = (
        machine.TurnedBack("two: cannot"),
        moving("unit", Value.OLD),
        moved("unit", Value.OLD),
        moved("door:accepts", Value.OLD),
    )
    assert away(*first, *zip((4.0, 5.0, 6.0, 9.0), back, strict=True)) == 4.0


def test_an_outage_that_has_not_ended_is_not_told_as_a_length() -> None:
    """Nobody knows how long a gateway will be away that is away still."""
    assert away((1, moving("unit")), (9, machine.Failed("unit", Value.NEW, "cannot"))) is None


def test_a_report_has_a_line_for_every_place() -> None:
    """Each row of the plan stands in the report with its state, time and detail; so do the skipped."""
    opened = machine.Opened(replace(PLAN, skipped={"three": "absent"}))
    record = [
        (NOON, opened),
        *timed(
            (1, moving("file")),
            (1.5, moved("file")),
            (2, moving("env")),
            (2.25, machine.Failed("env", Value.NEW, "cannot write")),
            (3, moving("env")),
        )[1:],
    ]
    lines = {line.id: (line.state, line.seconds, line.detail) for line in told(record, Outcome.INTERRUPTED).places}
    assert lines["file"] == ("moved", 0.5, "done")
    assert lines["env"][:2] == ("moving", 0.25)
    assert lines["unit"] == ("pending", 0.0, "")
    assert lines["three"] == ("skipped", 0.0, "absent")
    assert list(lines) == [*(row.id for row in PLAN.rows), "three"]


def test_a_failed_place_tells_why() -> None:
    """The detail of a place that failed is the reason."""
    line = told(timed((1, moving("file")), (2, machine.Failed("file", Value.NEW, "the disk is full")))).places[0]
    assert (line.state, line.detail) == ("failed", "the disk is full")


def test_a_report_carries_the_run_and_never_a_value() -> None:
    """Fingerprints, tasks, goal, seconds and the reason come from the record."""
    world = World("two:new fails")
    ending = world.rotate()
    record = [(NOON + timedelta(seconds=at), event) for at, event in enumerate(world.events)]
    answer = report.of_run(ending.run, record, ending.outcome, ending.reason, ["a note"])
    assert (answer.outcome, answer.exit, answer.goal, answer.run) == (
        Outcome.ROLLED_BACK,
        Exit.ROLLED_BACK,
        Value.OLD,
        "r1",
    )
    assert answer.reason == "two: cannot"
    assert answer.seconds == len(world.events) - 1
    assert answer.fingerprints == {"old": "0" * 12, "new": "1" * 12}
    assert answer.notes == ("a note",)
    assert "sk-" not in repr(answer)


def test_the_reason_of_the_command_goes_before_the_reason_of_the_run() -> None:
    """What stopped this command is told first; without it, what turned the run back."""
    record = timed((1, machine.TurnedBack("unit: cannot")))
    assert told(record, Outcome.INTERRUPTED, "interrupted by SIGTERM").reason == "interrupted by SIGTERM"
    assert told(record, Outcome.ROLLED_BACK).reason == "unit: cannot"
