"""A repair is the same loop without a way back: from any mixture to the present value, or owed until it is."""

from __future__ import annotations

import itertools

import pytest

from keyrotor.core import decide
from keyrotor.core.machine import Phase
from keyrotor.core.model import Outcome, Purpose, Value
from world import FORWARD, Stop, World, deaths

# What stands where: the encrypted file has the present value (`new`), everything else has whatever it has.
MIXTURES = [
    "env holds old; one holds other",
    "env holds other; unit crashes; two holds torn",
    "unit goes down; env holds torn",
    "one holds old; two holds old",
    "",
]
FAULTS = ["", *(f"{token} fails{often}" for token in FORWARD for often in (" once", ""))]


def mixed(mixture: str, faults: str = "", die_at: int | None = None, stop: Stop | None = None) -> World:
    """A world in which all was well with the present value before this happened."""
    world = World(faults, purpose=Purpose.REPAIR, die_at=die_at, stop=stop)
    world.files = dict.fromkeys(world.files, "new")
    world.start_unit()
    for words in filter(None, map(str.strip, mixture.split(";"))):
        world.deed(words)
    return world


def resumed(world: World) -> World:
    """A new process finishes what is owed, once a person has mended what failed."""
    world.revive()
    world.mend()
    if world.events and world.run.is_owed:
        world.resume()
    return world


@pytest.mark.parametrize("mixture", MIXTURES)
def test_a_repair_ends_with_the_present_value_everywhere(mixture: str) -> None:
    """Whatever stood there before."""
    world = mixed(mixture)
    assert world.rotate().outcome is Outcome.REPAIRED
    assert world.whole() is Value.NEW


@pytest.mark.parametrize(("mixture", "faults"), list(itertools.product(MIXTURES, FAULTS)))
def test_a_repair_that_dies_anywhere_is_finished_by_the_next_process(mixture: str, faults: str) -> None:
    """Killed at each of its points, with each fault: owed, never turned back, whole after a resume."""
    for died in deaths(lambda die_at: mixed(mixture, faults, die_at), World.rotate):
        ended = resumed(died)
        if ended.events:
            assert ended.run.phase is Phase.CLOSED
            assert ended.run.outcome is Outcome.REPAIRED
            assert ended.whole() is Value.NEW
        assert not any(type(event).__name__ == "TurnedBack" for event in ended.events)


@pytest.mark.parametrize("token", ["env:new", "unit:new", "door:new", "one:new"])
def test_a_repair_that_fails_halts_and_is_owed(token: str) -> None:
    """There is nothing to turn back to: a person mends what failed, and resumes."""
    world = mixed(MIXTURES[1], f"{token} fails")
    assert world.rotate().outcome is Outcome.STUCK
    assert decide.is_stuck(world.run)
    assert resumed(world).whole() is Value.NEW


def test_a_former_key_that_stays_alive_is_told() -> None:
    """The present key works everywhere, and the former one is not proven dead."""
    world = mixed("env holds old; unit crashes; old stays alive")
    assert world.rotate().outcome is Outcome.OLD_ALIVE


@pytest.mark.parametrize("at", range(1, 12))
def test_a_signal_leaves_a_repair_owed(at: int) -> None:
    """It stops where it is: a mixture is nothing to go back to."""
    world = mixed(MIXTURES[0], stop=Stop(at))
    ending = world.rotate()
    assert ending.outcome in (Outcome.INTERRUPTED, Outcome.REPAIRED)
    assert resumed(world).whole() is Value.NEW
