"""The step list on a terminal: what it shows of many files."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from keyrotor.core import machine
from keyrotor.core.machine import Event, Run, fold
from keyrotor.core.model import Value
from keyrotor.screen import FIT, Live
from world import plan_of

CLIENTS = FIT  # with the two clients of every world they are too many to be shown one by one


def shown(clients: int, *events: Event) -> str:
    """What stands on the screen once these have happened, without the times."""
    live = Live(io.StringIO(), None, colour=False)
    run: Run = fold([machine.Opened(plan_of(clients=clients))])
    with live.follow(run) as noted:
        for event in events:
            run = machine.follow(run, event)
            noted(run, event)
        table = live._table()
    out = io.StringIO()
    Console(file=out, width=100).print(table)
    return out.getvalue()


def moved(*rows: str) -> list[Event]:
    return [
        event for row in rows for event in (machine.Moving(row, Value.NEW), machine.Moved(row, Value.NEW, "written"))
    ]


def test_few_files_have_a_line_each() -> None:
    """Somebody with two clients sees the one that is being written."""
    lines = shown(2, machine.Moving("one", Value.NEW))
    assert "▸ write the one" in lines
    assert "· write the two" in lines


@pytest.mark.parametrize(
    ("events", "line"),
    [
        ([], f"· write {CLIENTS + 2} files, 0 done"),
        (moved("one", "c3"), f"· write {CLIENTS + 2} files, 2 done"),
        ([*moved("one"), machine.Moving("two", Value.NEW)], f"▸ write {CLIENTS + 2} files, 1 done"),
        (moved("one", "two", *(f"c{n}" for n in range(CLIENTS))), f"✓ write {CLIENTS + 2} files, {CLIENTS + 2} done"),
        (
            [*moved("one"), machine.Moving("two", Value.NEW), machine.Failed("two", Value.NEW, "it is gone\nat all")],
            "✗ write the two: it is gone",
        ),
    ],
)
def test_many_files_have_one_line_that_says_how_far_they_are(events: list[Event], line: str) -> None:
    """A thousand clients do not push the unit and the door off the screen; one that fails is named."""
    screen = shown(CLIENTS, *events)
    assert line in screen
    assert len(screen.splitlines()) < FIT
    assert "restart the unit" in screen
