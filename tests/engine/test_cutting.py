"""The record cut at every event: a run is nothing but its events, and a put may be done twice."""

from __future__ import annotations

import copy

import pytest
from test_dying import ENDS, go_on, want_whole

from keyrotor.core.machine import Event, Phase, TurnedBack
from keyrotor.core.model import ALREADY, Value
from world import FORWARD, PAIR, World, trace

FAULTS = [
    "",
    *(f"{token} fails{often}" for token in FORWARD for often in (" once", "")),
    *(f"unit crashes after {token}" for token in FORWARD),
    *(f"signal during {token}" for token in FORWARD),
]


class Kept(World):
    """A world that keeps what it was like when each event was recorded."""

    def record(self, *events: Event) -> None:
        super().record(*events)
        self.kept = [*getattr(self, "kept", []), (dict(self.files), self.unit)]


def finished(faults: str) -> Kept:
    world = Kept(faults)
    world.rotate()
    return world


def cut(faults: str, events: list[Event], files: dict[str, str], unit: str | None) -> World:
    """A world whose record ends here, and which is like this."""
    world = World(";".join(fault for fault in faults.split(";") if " fails" in fault))
    world.events, world.files, world.unit = list(events), dict(files), unit
    return world


@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("faults", FAULTS)
def test_cut_after_any_event_it_ends_whole(faults: str, how: str) -> None:
    """From any of its prefixes a run is finished, and rolled back to all old."""
    whole = finished(faults)
    for at, (files, unit) in enumerate(whole.kept[:-1], start=1):
        world = cut(faults, whole.events[:at], files, unit)
        go_on(world, how)
        want_whole(world, all_old=how == "rollback")


@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("faults", FAULTS)
def test_a_record_that_has_lost_its_end_still_ends_whole(faults: str, how: str) -> None:
    """The world may be ahead of the record by some events, or all that follow: what was done is seen, or done again.

    Not so for what is half done: an intent is durable before its effect begins, and no record loses it.
    """
    whole = finished(faults)
    for at in range(1, len(whole.events)):
        for files, unit in (state for state in whole.kept[at::3] if state[1] is not None):
            world = cut(faults, whole.events[:at], files, unit)
            go_on(world, how)
            want_whole(world, all_old=how == "rollback")


@pytest.mark.parametrize("faults", FAULTS)
def test_each_event_is_recorded_once_and_in_order(faults: str) -> None:
    """A resumed run goes on after its last event: the record before the cut stays as it was."""
    whole = finished(faults)
    for at in range(1, len(whole.events)):
        world = cut(faults, whole.events[:at], *whole.kept[at - 1])
        go_on(world, "resume")
        assert world.events[:at] == whole.events[:at]


def test_resuming_a_run_that_is_not_hurt_gives_the_same_record_but_for_the_resume() -> None:
    """Cut anywhere and resumed, a rotation does what was left, and once more what is in doubt or may be down."""
    whole = finished("")
    for at in range(1, len(whole.events)):
        world = cut("", whole.events[:at], *whole.kept[at - 1])
        go_on(world, "resume")
        words = [word for word in trace(world.events).split() if word != "resumed" and not word.endswith("…")]
        asked_again = ("unit:new", "door:new", "refuses:old")
        seen = [word for at, word in enumerate(words) if word not in asked_again or word not in words[:at]]
        assert " ".join(seen) == trace(whole.events)


@pytest.mark.parametrize("token", FORWARD)
def test_a_put_done_twice_changes_nothing_more(token: str) -> None:
    """The second of two puts finds the value, writes nothing and restarts nothing."""
    world = World()
    for row in world.plan.rows:
        world.places[row.id].put(Value.NEW, PAIR)
    before = (
        copy.copy(world.files),
        world.unit,
        [effect for effect in world.effects if effect in ("unit:new", "env:new")],
    )
    row = world.plan.rows[FORWARD.index(token)]
    said = world.places[row.id].put(Value.NEW, PAIR)
    assert said == ALREADY or row.act.is_proof
    assert (
        world.files,
        world.unit,
        [effect for effect in world.effects if effect in ("unit:new", "env:new")],
    ) == before


@pytest.mark.parametrize("goal", Value)
def test_a_run_over_places_that_hold_the_goal_already_writes_nothing(goal: Value) -> None:
    """Going on towards what is so already costs proofs and no outage."""
    world = World()
    world.rotate()
    if goal is Value.OLD:
        world.rollback()
    turns = [event for event in world.events if isinstance(event, TurnedBack)]
    world.events = [world.events[0], *turns]
    world.effects.clear()
    world.resume()
    proofs = {"door:new", "refuses:old", "door:old", "refuses:new"}
    assert set(world.effects) <= proofs
    assert world.whole() is goal
    assert world.run.phase is Phase.CLOSED
