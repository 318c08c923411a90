"""How an incident stands, as people are told."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from keyrotor import proceedings
from keyrotor.casebook import Docket
from keyrotor.core.incident import fold
from keyrotor.core.incident_events import Began, Case, Chosen, Did, Event, IncidentClosed, IncidentOpened, Missed
from keyrotor.proceedings import Standing

NOW = datetime(2026, 11, 22, 3, tzinfo=UTC)
CASE = Case("inc-1", "pushed", NOW.isoformat(), "", "stop", {"a": "/a.toml"})
SHUT = {"gateways": [{"how": "stop", "listened": ["192.0.2.1:4000"], "listens": []}]}
STAYS = "  the gateway stays contained until then"
IN_DOUBT = "  strangers may reach the gateway: whether it is contained is not known"
REST = [Did(step, "done") for step in ("freeze", "rotate:a", "prove:a", "lift", "exposure", "reach", "sweep")]


def standing(*events: Event, revived: tuple[str, ...] = ()) -> Standing:
    every = (IncidentOpened(CASE), *events)
    return Standing(Docket(tuple((NOW, event) for event in every), fold(every)), revived=revived)


def told(*events: Event) -> list[str]:
    return list(proceedings.status([standing(*events)], "none").lines())


@pytest.mark.parametrize(
    ("events", "said"),
    [
        ((), None),
        ((Began("contain"),), IN_DOUBT),
        ((Did("contain", "stopped", SHUT),), STAYS),
        ((Did("contain", "stopped", SHUT), Chosen("loopback")), IN_DOUBT),
        ((Missed("contain", "cannot"),), None),
    ],
)
def test_a_person_who_goes_away_knows_whether_strangers_are_kept_out(
    events: tuple[Event, ...], said: str | None
) -> None:
    """What was cut off is not called contained."""
    lines = told(*events)
    assert [line for line in lines if line in (STAYS, IN_DOUBT)] == ([said] if said else [])
    assert lines[-1] == "  to go on: keyrotor incident resume inc-1"


def test_a_containment_that_failed_gives_no_hint_once_it_is_over() -> None:
    """The old key is dead, and strangers are let in: its hint would be refused."""
    failed = Missed("contain", "cannot", "keyrotor incident resume --contain stop")
    assert "      hint: keyrotor incident resume --contain stop" in told(failed)
    after = told(failed, *REST)
    assert "  ✗ contain: cannot; that is over, the old key is dead" in after
    assert not any("hint:" in line for line in after)


def test_a_closed_incident_gives_no_hints() -> None:
    """It cannot be gone on with."""
    lines = told(Missed("sweep", "cannot", "keyrotor incident resume"), IncidentClosed("a fork", "a drill"))
    assert "  ✗ sweep: cannot" in lines
    assert not any("hint:" in line for line in lines)


def test_several_causes_stand_below_their_step() -> None:
    """Each line of theirs is deeper than the step's."""
    [line] = [line for line in told(Missed("rotate:a", "cannot rotate:\n  one\n  two")) if "rotate:a" in line]
    assert line == "  ✗ rotate:a: cannot rotate:\n      one\n      two"


def test_a_leaked_key_that_is_in_force_again_is_said_first() -> None:
    """Every step may have been done before that."""
    done = [Did("contain", "stopped", SHUT), *REST]
    [well] = proceedings.brief([standing(*done)]).lines()
    assert "every step is done" in well
    [ill] = proceedings.brief([standing(*done, revived=("a",))]).lines()
    assert "THE LEAKED KEY OF a IS IN FORCE AGAIN" in ill
    assert "every step is done" not in ill
