"""The machine of an incident: which step comes next, and what a record of it means."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyrotor.core.incident import Incident, State, fold, follow, next_step
from keyrotor.core.incident_events import (
    EVENTS,
    Began,
    Case,
    Chosen,
    Deed,
    Did,
    Event,
    IncidentClosed,
    IncidentOpened,
    Missed,
    Ticked,
    Undone,
)
from keyrotor.errors import JournalError

ALL = ("freeze", "contain", "rotate:a", "rotate:b", "prove:a", "prove:b", "lift", "exposure", "reach", "sweep")
CASE = Case("inc-1", "pushed", "2026-11-22T03:00:00+00:00", "", "stop", {"a": "/a.toml", "b": "/b.toml"})
SHUT = {"gateways": [{"how": "loopback", "listened": ["192.0.2.1:4000"], "listens": ["127.0.0.1:4000"]}]}
SAME = {"gateways": [{"how": "loopback", "listened": ["127.0.0.1:4000"], "listens": ["127.0.0.1:4000"]}]}
STEPS = tuple(step.id for step in CASE.steps)


def opened(*events: Event) -> Incident:
    return fold((IncidentOpened(CASE), *events))


def done_with(fails: frozenset[str]) -> tuple[list[str], Incident]:
    """The steps that are tried, one after the other, where these fail."""
    incident, failed, tried = opened(), frozenset[str](), []
    while step := next_step(incident, failed):
        tried.append(step.id)
        incident = follow(incident, Began(step.id))
        is_bad = step.id in fails
        incident = follow(incident, Missed(step.id, "cannot") if is_bad else Did(step.id, "done"))
        failed |= {step.id} if is_bad else set()
    return tried, incident


def test_the_steps_are_done_in_their_order_each_playbook_by_itself() -> None:
    """Evidence comes first, containment before the rotation; it ends only once every old key is dead."""
    assert STEPS == ALL
    assert done_with(frozenset())[0] == list(ALL)


@pytest.mark.parametrize(
    ("fails", "left_out"),
    [
        ("freeze", ()),
        ("contain", ()),
        ("rotate:a", ("prove:a", "lift")),
        ("rotate:b", ("prove:b", "lift")),
        ("prove:a", ("lift",)),
        ("sweep", ()),
        ("exposure", ()),
    ],
)
def test_a_step_that_fails_keeps_back_only_what_depends_on_it(fails: str, left_out: tuple[str, ...]) -> None:
    """Nobody is let in again before every key is proven dead; all else is done."""
    tried, incident = done_with(frozenset({fails}))
    assert tried == [step for step in ALL if step not in left_out]
    moot = {"contain"} if fails == "contain" else set()  # strangers are let in again by then
    assert {step.id for step in incident.open_steps} == {fails, *left_out} - moot


@given(st.sets(st.sampled_from(ALL)))
def test_whatever_fails_no_step_is_tried_twice_and_none_is_forgotten(fails: set[str]) -> None:
    """A go ends; what was not done is open, and the containment is not lifted before every proof."""
    tried, incident = done_with(frozenset(fails))
    assert len(tried) == len(set(tried))
    still_open = {step.id for step in incident.open_steps}
    moot = {"contain"} if "lift" in tried and "lift" not in fails else set()
    assert still_open == set(ALL) - {step for step in tried if step not in fails} - moot
    assert "lift" not in tried or {"prove:a", "prove:b"} <= set(tried) - fails


def test_a_step_that_was_killed_is_done_again() -> None:
    """Its intent is on record and its result is not."""
    incident = opened(Began("freeze"))
    assert incident.stand(CASE.steps[0]).state is State.BEGUN
    assert next_step(incident) == CASE.steps[0]


def test_what_failed_is_tried_again_by_the_next_go() -> None:
    """A resume forgives the failure."""
    incident = opened(Began("freeze"), Missed("freeze", "cannot"))
    assert next_step(incident, frozenset({"freeze"})) == CASE.steps[1]
    assert next_step(incident) == CASE.steps[0]


def test_a_task_keeps_its_number_and_is_ticked_off_by_it() -> None:
    """Numbers are given in the order in which tasks come up, and never twice; a step done again gives new ones."""
    incident = opened(
        *(Did("sweep", "found", {}, ("clean a", "clean b")), Did("reach", "two", {}, ("tell them",)), Ticked(2))
    )
    assert incident.open_tasks == (("inc-1-3", "tell them"), ("inc-1-1", "clean a"))
    again = follow(incident, Did("sweep", "found", {}, ("clean a",)))
    assert again.open_tasks == (("inc-1-3", "tell them"), ("inc-1-4", "clean a"))


def test_a_containment_that_failed_is_not_tried_once_it_would_never_be_lifted() -> None:
    """Strangers are let in again, and nothing is left to keep them from."""
    _, incident = done_with(frozenset({"contain"}))
    assert incident.stand(CASE.steps[1]).state is State.FAILED
    assert next_step(incident) is None
    assert incident.open_steps == ()
    assert not incident.is_contained


def test_a_rotation_that_was_rolled_back_is_done_again_with_all_that_depends_on_it() -> None:
    """Evidence stays; strangers are kept away again, and the proof and the sweep are another value's."""
    _, incident = done_with(frozenset())
    undone = follow(incident, Undone("rotate:a", "run 1 was rolled back"))
    again = {"contain", "rotate:a", "prove:a", "prove:b", "lift", "exposure", "sweep"}
    assert {step.id for step in undone.open_steps} == again
    assert next_step(undone) == CASE.steps[1]


def test_what_was_made_is_looked_at_again_once_a_key_is_proven_dead_only_then() -> None:
    """Until the proof somebody could make more with it. A second proof that comes before that look costs nothing."""
    _, incident = done_with(frozenset({"prove:b"}))
    assert [step.id for step in incident.open_steps] == ["prove:b", "lift"]
    proven = follow(follow(incident, Began("prove:b")), Did("prove:b", "dead"))
    assert [step.id for step in proven.open_steps] == ["lift", "exposure"]
    early = opened(Did("prove:a", "dead"), Did("exposure", "none"), Missed("sweep", "cannot"))
    assert "exposure" not in {step.id for step in early.open_steps}


def test_a_containment_may_be_chosen_anew() -> None:
    """One that failed is tried in the other way."""
    incident = opened(Missed("contain", "cannot"), Chosen("loopback"))
    assert incident.case.contain == "loopback"
    assert incident.stand(CASE.steps[1]).state is State.OPEN


def test_since_when_it_was_exposed_may_be_known_later() -> None:
    """What was made at the gateway since then is looked at again, and nothing else."""
    _, incident = done_with(frozenset())
    later = follow(incident, Chosen(exposed="2026-11-01T00:00:00+00:00"))
    assert (later.case.exposed, later.case.contain) == ("2026-11-01T00:00:00+00:00", "stop")
    assert [step.id for step in later.open_steps] == ["exposure"]


@pytest.mark.parametrize(
    ("events", "is_contained"),
    [
        ((), False),
        ((Began("contain"),), True),
        ((Did("contain", "stopped", SHUT),), True),
        ((Did("contain", "on loopback anyway", SAME),), False),
        ((Missed("contain", "one of two", facts=SHUT),), True),
        ((Missed("contain", "cannot"),), False),
        ((Did("contain", "stopped", SHUT), Did("lift", "again")), False),
        ((Did("contain", "stopped", SHUT), Missed("lift", "cannot")), True),
        ((Did("contain", "left"), Chosen("none")), False),
        ((Did("contain", "stopped", SHUT), Chosen("none")), True),
        ((Did("contain", "stopped", SHUT), Chosen("none"), Began("contain"), Missed("contain", "cannot")), True),
        ((Did("contain", "stopped", SHUT), Chosen("none"), Began("contain"), Did("contain", "lifted", SAME)), False),
        ((Did("contain", "stopped", SHUT), Undone("rotate:a", "rolled back")), True),
        ((Began("contain"), Chosen("loopback")), True),
        ((Began("contain"), Began("contain"), Missed("contain", "cannot")), True),
        ((Began("contain"), Missed("contain", "cannot")), False),
    ],
)
def test_whether_strangers_are_kept_away(events: tuple[Event, ...], is_contained: bool) -> None:
    """Also by a step whose end is not known, or that was done at some gateways only."""
    assert opened(*events).is_contained is is_contained


def test_a_closed_incident_has_no_next_step_and_takes_no_step() -> None:
    """Only a task may still be ticked off."""
    incident = opened(IncidentClosed("a fork", "the rest is another machine's"))
    assert next_step(incident) is None
    assert (incident.cause, incident.forced) == ("a fork", "the rest is another machine's")
    assert follow(incident, Ticked(1)).ticked == {1}
    with pytest.raises(JournalError, match="closed"):
        follow(incident, Began("freeze"))


@pytest.mark.parametrize(
    "events",
    [(), (Began("freeze"),), (IncidentOpened(CASE), IncidentOpened(CASE)), (IncidentOpened(CASE), Began("dance"))],
)
def test_what_cannot_have_happened_raises(events: tuple[Event, ...]) -> None:
    """A record that nobody can have written is not believed."""
    with pytest.raises(JournalError):
        fold(events)


def test_every_event_has_a_name_of_its_own_that_no_event_of_a_run_has() -> None:
    """They stand in one table."""
    from keyrotor.core import machine

    assert EVENTS.keys() & machine.EVENTS.keys() == set()
    assert all(one is not other for (a, one), (b, other) in product(EVENTS.items(), repeat=2) if a != b)


def test_only_some_deeds_are_done_for_each_playbook() -> None:
    """The others are done once for all."""
    assert {deed for deed in Deed if deed.is_of_each} == {Deed.ROTATE, Deed.PROVE}


def test_an_old_key_that_lives_once_the_containment_has_ended_is_shut_in_again() -> None:
    """Strangers reach the gateway: its proof is void, and it is contained before it is asked anew."""
    done = [Did(step, "done") for step in ("freeze", "rotate:a", "rotate:b", "prove:a", "prove:b")]
    proofs = [{"is_dead": False, "is_moot": False}, {"is_dead": True, "is_moot": False}]
    lifted = Missed("lift", "a: accepts it", facts={"gateways": [], "proofs": proofs})
    incident = opened(Did("contain", "stopped", SHUT), *done, Began("lift"), lifted)
    assert not incident.is_contained
    assert [step.id for step in incident.open_steps][:3] == ["contain", "prove:a", "lift"]
    assert next_step(incident, frozenset({"lift"})) == CASE.steps[1]
    chosen = follow(incident, Chosen("stop"))
    assert next_step(chosen) == CASE.steps[1]


@pytest.mark.parametrize("state", [Began("lift"), Missed("lift", "cannot start it")])
def test_what_is_being_lifted_is_not_contained_anew(state: Event) -> None:
    """Every old key is dead: it is lifted, whatever the containment came to."""
    done = [Did(step, "done") for step in ("freeze", "rotate:a", "rotate:b", "prove:a", "prove:b")]
    incident = opened(Missed("contain", "cannot"), *done, Began("lift"), state)
    assert next_step(incident) == CASE.steps[6]


def test_a_unit_that_was_down_is_contained_by_its_drop_ins() -> None:
    """It listened nowhere before and listens nowhere now; started, it would listen on loopback."""
    down = {"gateways": [{"how": "loopback", "listened": [], "listens": [], "restarts": True}]}
    assert opened(Did("contain", "when it is started", down)).is_contained
