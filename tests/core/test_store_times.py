"""What the record knows of stores that show nobody a value."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from keyrotor.core import stores
from keyrotor.core.machine import Closed as ClosedEvent
from keyrotor.core.machine import Event, Failed, Moved, Moving, Opened, Run, TurnedBack, fold
from keyrotor.core.model import Act, Outcome, Plan, Row, Source, Value
from keyrotor.core.recorded import Past

ROW = Row("github-actions", "github-actions", "github-actions", Act.STORE, "github.com/o/r KEY", 60.0)
TIME = "2026-01-01T00:00:01Z"
FINGERPRINTS = {Value.OLD: "old-print", Value.NEW: "new-print"}


def past(*events: Event, row: Row = ROW, is_closed: bool = True) -> Past:
    plan = Plan("r", "b", Source("/f", "K", "", "/"), (row,), FINGERPRINTS, "key", {})
    ending = [ClosedEvent(Outcome.ROTATED)] if is_closed else []
    run: Run = fold([Opened(plan), *events, *ending])
    return Past(run, 1, datetime(2026, 1, 1, tzinfo=UTC), None, None)


def moved(value: Value = Value.NEW, detail: str = stores.written(TIME)) -> tuple[Event, ...]:
    return Moving(ROW.id, value), Moved(ROW.id, value, detail)


def told(*pasts: Past, row: Row = ROW, key: str = "key", present: str = "new-print") -> object:
    (found,) = stores.with_recorded([row], pasts, key, present)
    return found.options.get("recorded")


def test_a_detail_says_its_time_both_ways() -> None:
    """What `written` makes `updated` reads, and no other detail has a time."""
    assert stores.updated(stores.written(TIME)) == TIME
    assert [stores.updated(detail) for detail in ("", "written", "written; it answers 204 and tells no time")] == [
        ""
    ] * 3


def test_the_newest_run_that_wrote_the_store_tells_the_time() -> None:
    """A later run that left it alone changes nothing."""
    assert told(past(*moved()), past()) == TIME


@pytest.mark.parametrize(
    ("pasts", "how"),
    [
        ((), {}),
        ((past(*moved(), is_closed=False),), {}),
        ((past(*moved()), past(Moving(ROW.id, Value.NEW), Failed(ROW.id, Value.NEW, "no"))), {}),
        ((past(*moved(), TurnedBack("no"), *moved(Value.OLD)),), {}),
        ((past(*moved(detail="written")),), {}),
        ((past(*moved()),), {"present": "another-print"}),
        ((past(*moved()),), {"present": ""}),
        ((past(*moved()),), {"key": "another"}),
        ((past(*moved()),), {"row": replace(ROW, label="github.com/o/other KEY")}),
    ],
    ids=["no-run", "owed", "failed-since", "turned-back", "no-time", "other", "unread", "other-key", "other-store"],
)
def test_nothing_is_known_where_it_is_not_certain(pasts: tuple[Past, ...], how: dict[str, object]) -> None:
    """No run, one that goes on, a failure since, another value, another fingerprint key, another store."""
    assert told(*pasts, **how) is None  # type: ignore[arg-type]


def test_a_run_that_went_back_tells_of_the_old_value() -> None:
    """Where the old value is the present one, its put is the one that counts."""
    back = "2026-01-01T00:00:09Z"
    went = past(*moved(), TurnedBack("no"), *moved(Value.OLD, stores.written(back)))
    assert told(went, present="old-print") == back


def test_a_store_that_a_process_before_has_begun_is_known_as_such() -> None:
    """What that one has put there nobody can tell; of a row that it had not come to, this one can."""
    other = replace(ROW, id="forgejo")
    plan = Plan("r", "b", Source("/f", "K", "", "/"), (ROW, other), FINGERPRINTS, "key", {})
    run = fold([Opened(plan), Moving(ROW.id, Value.NEW)])
    assert [row.options.get("begun", False) for row in stores.with_begun([ROW, other], run)] == [True, False]
