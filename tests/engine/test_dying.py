"""Killed at every point, with whatever else goes wrong: the next run ends it whole."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyrotor.core.machine import Phase
from keyrotor.core.model import Outcome, Value
from world import BACK, FORWARD, Died, World, deaths, is_closed_half_done, trace

# Every put that can fail, once or for ever, before it did anything, halfway, or when it was done; and what else can be.
FAULTS = [
    "",
    *(
        f"{token} fails{often}{how}"
        for token in FORWARD
        for often in (" once", "")
        for how in ("", " halfway", " afterwards")
    ),
    *(f"{token} breaks{how}" for token in FORWARD for how in ("", " halfway")),
    *(f"unit crashes {when} {token}" for token in FORWARD for when in ("before", "after")),
    *(f"signal during {token}" for token in FORWARD),
    *(f"two signals during {token}" for token in FORWARD),
]
FAULTS_BACK = [f"{token} fails{often}{how}" for token in BACK for often in (" once", "") for how in ("", " halfway")]
ENDS = {"resume": World.resume, "rollback": World.rollback}


def made(faults: str) -> Callable[[int | None], World]:
    return lambda die_at: World(faults, die_at=die_at)


def go_on(world: World, how: str, *, times: int = 4) -> None:
    """What the next process does, until nothing is owed. A run that was never opened is nobody's."""
    for _ in range(times):
        if not world.events or not world.run.is_owed:
            return
        ENDS[how](world)
        how = "resume"


def want_whole(world: World, *, all_old: bool = False) -> None:
    """All old or all new, closed and proven."""
    line = trace(world.events)
    assert world.whole() is not None, line
    if world.events:
        assert world.run.phase is Phase.CLOSED, line
        assert world.run.outcome is (Outcome.ROTATED if world.whole() is Value.NEW else Outcome.ROLLED_BACK), line
    assert not all_old or world.whole() is Value.OLD, line


def was_closed(world: World) -> bool:
    return bool(world.events) and world.run.phase is Phase.CLOSED


@pytest.mark.parametrize("faults", FAULTS)
def test_killed_anywhere_and_resumed_it_ends_whole(faults: str) -> None:
    """Whatever one thing fails and wherever the process dies, resuming ends all old or all new, proven."""
    for world in deaths(made(faults), World.rotate):
        assert not is_closed_half_done(world), trace(world.events)
        world.revive()
        go_on(world, "resume")
        want_whole(world)


@pytest.mark.parametrize("faults", FAULTS)
def test_killed_anywhere_and_rolled_back_it_ends_all_old(faults: str) -> None:
    """Whatever one thing fails and wherever the process dies, a rollback of the owed run ends all old, proven."""
    for world in deaths(made(faults), World.rotate):
        is_over = was_closed(world)
        world.revive()
        go_on(world, "rollback")
        want_whole(world, all_old=not is_over)


TWICE = [
    *(
        "",
        "two:new fails",
        "unit:new fails halfway",
        "env:new fails once halfway",
        "refuses:old fails",
        "unit crashes after env:new",
    ),
    *("signal during unit:new", "two signals during door:new"),
]

# Each first death meets every eleventh second one, each time another: all points of both, not all their pairs.
# KEYROTOR_TEST_EVERY=1 tries all pairs (some minutes).
EVERY = int(os.environ.get("KEYROTOR_TEST_EVERY", "11"))


@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("faults", TWICE)
def test_killed_twice_it_ends_whole(faults: str, how: str) -> None:
    """The process that finishes a run may be killed as well, at any of its points."""

    def killed_once(first: int, second: int | None) -> World:
        world = World(faults, die_at=first)
        with pytest.raises(Died):
            world.rotate()
        world.revive(second)
        return world

    for first in range(1, _points(faults) + 1):
        alive = killed_once(first, None)
        go_on(alive, how)
        for second in range(1 + first % EVERY, alive.points + 1, EVERY):
            world = killed_once(first, second)
            with pytest.raises(Died):
                go_on(world, how)
            is_over = was_closed(world)
            assert not is_closed_half_done(world), trace(world.events)
            world.revive()
            go_on(world, how)
            want_whole(world, all_old=how == "rollback" and not is_over)


def _points(faults: str) -> int:
    world = World(faults)
    world.rotate()
    return world.points


@pytest.mark.parametrize(
    "faults", ["two:new fails", "unit:new fails halfway", "door:new fails", "signal during unit:new", ""]
)
@pytest.mark.parametrize("back", FAULTS_BACK)
def test_with_a_put_back_that_fails_as_well_it_ends_whole_or_stuck(faults: str, back: str) -> None:
    """Where going back fails too, a run is whole or waits for a person, and once mended it ends whole."""
    for world in deaths(made(f"{faults}; {back}"), World.rotate):
        is_over = was_closed(world)
        world.revive()
        go_on(world, "rollback")
        assert not is_closed_half_done(world), trace(world.events)
        world.mend()
        go_on(world, "resume")
        want_whole(world, all_old=not is_over)


@pytest.mark.parametrize("back", FAULTS_BACK)
def test_a_rotation_that_cannot_go_back_is_stuck_and_never_closed_half_done(back: str) -> None:
    """Without any death: closed means whole, and everything else is owed."""
    for forward in FAULTS:
        world = World(f"{forward}; {back}")
        ending = world.rotate()
        assert not is_closed_half_done(world), trace(world.events)
        assert world.run.phase is Phase.CLOSED or ending.outcome in (Outcome.STUCK, Outcome.INTERRUPTED)


def test_a_rollback_after_everything_has_moved_ends_all_old() -> None:
    """A closed rotation goes the same way back, and is proven again."""
    world = World()
    world.rotate()
    ending = world.rollback()
    assert ending.outcome is Outcome.ROLLED_BACK
    assert trace(world.events).endswith(
        "closed:rotated turn-back file:old env:old unit:old door:old one:old two:old refuses:new "
        "settled closed:rolled-back"
    )
    want_whole(world, all_old=True)


def test_a_rollback_of_a_closed_rotation_may_be_killed_anywhere() -> None:
    """What is rolled back by name is owed until it is done, like any run."""

    def rotated(die_at: int | None) -> World:
        world = World()
        world.rotate()
        world.revive(die_at)
        return world

    for world in deaths(rotated, World.rollback):
        is_new = world.run.phase is Phase.CLOSED and world.run.goal is Value.NEW  # not even the turn was recorded
        world.revive()
        go_on(world, "resume")
        want_whole(world, all_old=not is_new)


def test_killed_with_the_record_settled_a_rollback_still_ends_all_old() -> None:
    """A run that only lacks its close is owed, and may still be turned."""
    settled = [world for world in deaths(made(""), World.rotate) if world.events and world.run.phase is Phase.SETTLED]
    assert settled
    for world in settled:
        world.revive()
        world.rollback()
        want_whole(world, all_old=True)


_FORWARD = st.sampled_from([fault for fault in FAULTS if fault])
_BACK = st.sampled_from(FAULTS_BACK)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(_FORWARD, max_size=3),
    st.lists(_BACK, max_size=2),
    st.lists(st.integers(1, 120), max_size=3),
    st.lists(st.sampled_from(["resume", "rollback"]), min_size=3, max_size=3),
    st.sampled_from(["", "unit", "file"]),
)
def test_whatever_comes_together_nothing_is_closed_half_done(
    forward: list[str], back: list[str], at: list[int], ways: list[str], no_return: str
) -> None:
    """Several faults, several deaths, any way on: closed means whole, and a mended run can always be rolled back."""
    deadly = iter(at)
    world = World("; ".join([*forward, *back]), no_return=no_return, die_at=next(deadly, None))
    for how in ("rotate", *ways):
        try:
            if how == "rotate":
                world.rotate()
            else:
                go_on(world, how, times=1)
        except Died:
            pass
        assert not is_closed_half_done(world), trace(world.events)
        world.revive(next(deadly, None))
    world.revive()
    world.mend()
    is_over = was_closed(world)
    go_on(world, "rollback")
    want_whole(world, all_old=not is_over)
