"""What goes wrong -> what happens, to the word. The machine and the loop over the small world; see `world.trace`."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from keyrotor.core import decide, machine, plan
from keyrotor.core.machine import Phase
from keyrotor.core.model import Holds, Outcome, Value
from keyrotor.errors import JournalError
from world import World, place, playbook_of, trace


def rows(page: str) -> dict[str, str]:
    """A page of rows, `what goes wrong` over `-> what happens`; a line with # says why."""
    lines = "\n".join(line for line in page.splitlines() if not line.startswith("#"))
    found = re.findall(r"^(\S.*)\n    -> (.*(?:\n       .*)*)", lines, re.MULTILINE)
    return {wrong.replace("nothing", ""): " ".join(what.split()) for wrong, what in found}


ROWS = rows(
    """

# nothing
nothing
    -> file:new env:new unit:new door:new one:new two:new refuses:old settled closed:rotated

# a file has two tries
file:new fails once
    -> file:new✗ file:new env:new unit:new door:new one:new two:new refuses:old settled closed:rotated
file:new fails
    -> file:new✗ file:new✗ turn-back file:old (env:old) (unit:old) door:old (one:old) (two:old) refuses:new settled
       closed:rolled-back
env:new fails twice
    -> file:new env:new✗ env:new✗ turn-back file:old env:old (unit:old) door:old (one:old) (two:old) refuses:new
       settled closed:rolled-back
two:new fails
    -> file:new env:new unit:new door:new one:new two:new✗ two:new✗ turn-back file:old env:old unit:old door:old
       one:old two:old refuses:new settled closed:rolled-back
one:new fails twice halfway
    -> file:new env:new unit:new door:new one:new✗ one:new✗ turn-back file:old env:old unit:old door:old one:old
       (two:old) refuses:new settled closed:rolled-back

# a restart has one: it costs an outage
unit:new fails once
    -> file:new env:new unit:new✗ turn-back file:old env:old unit:old door:old (one:old) (two:old) refuses:new
       settled closed:rolled-back

# a proof has one: it had a deadline
door:new fails once
    -> file:new env:new unit:new door:new✗ turn-back file:old env:old unit:old door:old (one:old) (two:old)
       refuses:new settled closed:rolled-back
refuses:old fails once
    -> file:new env:new unit:new door:new one:new two:new refuses:old✗ turn-back file:old env:old unit:old door:old
       one:old two:old refuses:new settled closed:rolled-back

# a bug of ours is a failure like any other
unit:new breaks
    -> file:new env:new unit:new✗ turn-back file:old env:old unit:old door:old (one:old) (two:old) refuses:new
       settled closed:rolled-back

# an open gateway proves nothing, in neither direction
door opens after unit:new
    -> file:new env:new unit:new door:new✗ turn-back file:old env:old unit:old door:old✗ (one:old) (two:old)
       refuses:new✗ halt:stuck

# the old value stays alive: told, and not turned back
old stays alive
    -> file:new env:new unit:new door:new one:new two:new refuses:old? settled closed:old-alive
old stays alive after two:new
    -> file:new env:new unit:new door:new one:new two:new refuses:old? settled closed:old-alive
old stays alive after refuses:old
    -> file:new env:new unit:new door:new one:new two:new refuses:old door:refuses~both refuses:old? settled
       closed:old-alive

# the new value stays alive on the way back: that is neither all old nor all new
one:new fails; new stays alive
    -> file:new env:new unit:new door:new one:new✗ one:new✗ turn-back file:old env:old unit:old door:old one:old
       (two:old) refuses:new? halt:stuck

# on the way back one failure does not keep the rest from going back
two:new fails; env:old fails
    -> file:new env:new unit:new door:new one:new two:new✗ two:new✗ turn-back file:old env:old✗ env:old✗ unit:old✗
       door:old✗ one:old two:old refuses:new✗ halt:stuck
two:new fails; one:old fails
    -> file:new env:new unit:new door:new one:new two:new✗ two:new✗ turn-back file:old env:old unit:old door:old
       one:old✗ one:old✗ two:old refuses:new halt:stuck
two:new fails; file:old fails once
    -> file:new env:new unit:new door:new one:new two:new✗ two:new✗ turn-back file:old✗ file:old env:old unit:old
       door:old one:old two:old refuses:new settled closed:rolled-back
two:new fails; unit:old fails once
    -> file:new env:new unit:new door:new one:new two:new✗ two:new✗ turn-back file:old env:old unit:old✗ door:old✗
       one:old two:old refuses:new✗ halt:stuck

# a unit that we never touched holds the new value all the same, and goes back
env:new fails afterwards; unit crashes after env:new
    -> file:new env:new✗ env:new✗ turn-back file:old env:old unit:old door:old (one:old) (two:old) refuses:new
       settled closed:rolled-back

# somebody else's is left, if we never moved it
unit:new fails; one drifts before unit:new
    -> file:new env:new unit:new✗ turn-back file:old env:old unit:old door:old (one:neither) (two:old) refuses:new
       settled!one closed:rolled-back
unit:new fails; one holds refers
    -> file:new env:new unit:new✗ turn-back file:old env:old unit:old door:old (one:refers) (two:old) refuses:new
       settled closed:rolled-back
unit:new fails; one holds new
    -> file:new env:new unit:new✗ turn-back file:old env:old unit:old door:old one:old (two:old) refuses:new
       settled closed:rolled-back

# what we did begin goes back, whatever it holds now
two:new fails; one drifts after one:new
    -> file:new env:new unit:new door:new one:new two:new✗ two:new✗ turn-back file:old env:old unit:old door:old
       one:old two:old refuses:new settled closed:rolled-back

# a file above a restart is asked again before it, and put once more
env drifts after env:new
    -> file:new env:new env~neither env:new unit:new door:new one:new two:new refuses:old settled closed:rotated
file drifts before env:new
    -> file:new env:new file~neither file:new unit:new door:new one:new two:new refuses:old settled closed:rotated
unit:new fails; env drifts after env:old
    -> file:new env:new unit:new✗ turn-back file:old env:old env~neither env:old unit:old door:old (one:old)
       (two:old) refuses:new settled closed:rolled-back

# and only once: a unit that then takes up something else has failed
env drifts after env:new; env drifts after 2nd env:new
    -> file:new env:new env~neither env:new unit:new✗ turn-back file:old env:old unit:old door:old (one:old)
       (two:old) refuses:new settled closed:rolled-back

# the last look
one drifts after refuses:old
    -> file:new env:new unit:new door:new one:new two:new refuses:old one~neither one:new settled closed:rotated
one drifts after refuses:old; two drifts after refuses:old
    -> file:new env:new unit:new door:new one:new two:new refuses:old one~neither one:new two~neither two:new
       settled closed:rotated
one drifts after refuses:old; one drifts after 2nd one:new
    -> file:new env:new unit:new door:new one:new two:new refuses:old one~neither one:new settled!one
       closed:rotated
env drifts after env:new; env drifts after refuses:old
    -> file:new env:new env~neither env:new unit:new door:new one:new two:new refuses:old env~neither env:new
       settled closed:rotated
two:new fails; one drifts after refuses:new
    -> file:new env:new unit:new door:new one:new two:new✗ two:new✗ turn-back file:old env:old unit:old door:old
       one:old two:old refuses:new one~neither one:old settled closed:rolled-back
unit goes down after refuses:old
    -> file:new env:new unit:new door:new one:new two:new refuses:old settled closed:rotated
# a unit that went down before its turn would come up with what the env file held in between
unit goes down after env:new; signal during env:new
    -> file:new env:new turn-back file:old env:old unit:old door:old (one:old) (two:old) refuses:new settled
       closed:rolled-back

# signals
signal during env:new
    -> file:new env:new turn-back file:old env:old (unit:old) door:old (one:old) (two:old) refuses:new settled
       closed:rolled-back
signal during unit:new
    -> file:new env:new unit:new… turn-back file:old env:old unit:old door:old (one:old) (two:old) refuses:new
       settled closed:rolled-back
two signals during unit:new
    -> file:new env:new unit:new… halt:interrupted
signal during unit:new; signal during one:old
    -> file:new env:new unit:new… turn-back file:old env:old unit:old door:old (one:old) (two:old) refuses:new
       settled closed:rolled-back
signal during unit:new; signal during env:old
    -> file:new env:new unit:new… turn-back file:old env:old halt:interrupted
two:new fails; signal during env:old
    -> file:new env:new unit:new door:new one:new two:new✗ two:new✗ turn-back file:old env:old unit:old door:old
       one:old two:old refuses:new settled closed:rolled-back
two:new fails; two signals during env:old
    -> file:new env:new unit:new door:new one:new two:new✗ two:new✗ turn-back file:old env:old halt:interrupted
one drifts after refuses:old; signal during 2nd one:new
    -> file:new env:new unit:new door:new one:new two:new refuses:old one~neither one:new settled closed:rotated
"""
)

NO_RETURN = rows(
    """
nothing
    -> file:new env:new unit:new door:new one:new two:new refuses:old settled closed:rotated
env:new fails
    -> file:new env:new✗ env:new✗ turn-back file:old env:old (unit:old) door:old (one:old) (two:old) refuses:new
       settled closed:rolled-back
unit:new fails
    -> file:new env:new unit:new✗ halt:stuck
door:new fails
    -> file:new env:new unit:new door:new✗ halt:stuck
two:new fails
    -> file:new env:new unit:new door:new one:new two:new✗ two:new✗ refuses:old halt:stuck
one:new fails
    -> file:new env:new unit:new door:new one:new✗ one:new✗ two:new refuses:old halt:stuck
old stays alive
    -> file:new env:new unit:new door:new one:new two:new refuses:old? settled closed:old-alive
signal during env:new
    -> file:new env:new turn-back file:old env:old (unit:old) door:old (one:old) (two:old) refuses:new settled
       closed:rolled-back
signal during unit:new
    -> file:new env:new unit:new… halt:interrupted
signal during one:new
    -> file:new env:new unit:new door:new one:new halt:interrupted
"""
)


@pytest.mark.parametrize("faults", ROWS)
def test_this_goes_wrong_and_that_is_what_happens(faults: str) -> None:
    """A run's record is exactly this, whatever goes wrong."""
    world = World(faults)
    ending = world.rotate()
    assert trace(world.events, ending) == ROWS[faults]


@pytest.mark.parametrize("faults", NO_RETURN)
def test_past_the_point_of_no_return_a_run_halts_instead_of_turning_back(faults: str) -> None:
    """Once the unit of an incident began to move, no failure and no signal brings the old value back."""
    world = World(faults, no_return="unit")
    ending = world.rotate()
    assert trace(world.events, ending) == NO_RETURN[faults]


@pytest.mark.parametrize("faults", ["file:new fails", "env:new fails", "signal", "signal before env:new"])
def test_a_run_that_has_no_way_back_never_turns(faults: str) -> None:
    """What stood there before an incident's run could not be put back: from its first step on it is owed instead."""
    world = World(faults)
    world.plan = replace(world.plan, no_way_back="the env file was absent")
    ending = world.rotate()
    assert ending.outcome in (Outcome.STUCK, Outcome.INTERRUPTED)
    assert "turn-back" not in trace(world.events, ending)
    world.mend()
    assert world.resume().outcome is Outcome.ROTATED


DOWN = ("unit goes down", "unit goes down before env:new", "unit goes down before env:old")


@pytest.mark.parametrize("down", DOWN)
@pytest.mark.parametrize("faults", ["env:new fails", "signal before env:new", "env:new fails; env:old fails once"])
def test_a_gateway_that_is_down_is_never_started_with_the_leaked_value(faults: str, down: str) -> None:
    """An incident's run turns back before its unit has begun to move: the files are as they were; the unit stays down
    whenever it went down, and nobody asks a door that is down for the old value."""
    world = World(f"{down}; {faults}", no_return="unit")
    ending = world.rotate()
    assert (ending.outcome, set(world.files.values()), world.unit) == (Outcome.ROLLED_BACK, {"old"}, None)
    assert trace(world.events, ending).endswith(
        "(unit:unknown) (door:accepts:unknown) (one:old) (two:old) (door:refuses:unknown) settled closed:rolled-back"
    )


def test_of_two_gateways_each_has_a_door_of_its_own() -> None:
    """One had taken up the new value by itself and is put back, and proven; the other one is down, and is not asked."""
    units = (place(name, "systemd-unit") for name in ("up", "down"))
    doors = (place(f"{name}-door", "litellm", unit=name) for name in ("up", "down"))
    rows = plan.rows(playbook_of(place("file", "sops-file"), *units, *doors))
    opened = machine.Opened(replace(World(no_return="unit").plan, rows=rows))
    moved = (machine.Moving("up", Value.OLD), machine.Moved("up", Value.OLD))
    run = machine.fold([opened, machine.TurnedBack("interrupted by SIGINT"), *moved])
    must = {row.id for row in rows if decide.must_go_back(run, row, Holds.UNKNOWN)}
    assert must == {"up", "up-door:accepts", "up-door:refuses"}


def test_a_gateway_that_goes_down_once_its_door_was_asked_keeps_no_run_from_its_end() -> None:
    """The door answered and could not be proven; what a person has stopped then is asked no more."""
    world = World("env:new fails; door:old fails", no_return="unit")
    assert world.rotate().outcome is Outcome.STUCK
    world.deed("unit goes down")
    assert (world.resume().outcome, world.unit) == (Outcome.ROLLED_BACK, None)


@pytest.mark.parametrize("faults", ["", "two signals before env:new"])
def test_a_person_may_have_it_started_with_the_leaked_value(faults: str) -> None:
    """A rollback that is asked for ends with everything old, and proven."""
    world = World(f"unit goes down before env:old; {faults}", no_return="unit")
    world.rotate()
    assert world.rollback().outcome is Outcome.ROLLED_BACK
    assert world.whole() is Value.OLD


def test_past_the_point_of_no_return_a_person_may_still_go_back() -> None:
    """A rollback that is asked for goes back from anywhere."""
    world = World("door:new fails", no_return="unit")
    world.rotate()
    ending = world.rollback()
    assert trace(world.events, ending).endswith(
        "door:new✗ turn-back file:old env:old unit:old door:old (one:old) (two:old) refuses:new "
        "settled closed:rolled-back"
    )


def test_a_stuck_run_that_is_mended_and_resumed_goes_on_where_it_stood() -> None:
    """Resuming forgives the failures, writes nothing twice, and asks again what does not outlast a reboot."""
    world = World("two:new fails; one:old fails")
    assert world.rotate().reason == "one: cannot"
    world.mend()
    ending = world.resume()
    assert trace(world.events, ending).endswith(
        "refuses:new resumed unit:old door:old one:old refuses:new settled closed:rolled-back"
    )
    assert world.whole() is Value.OLD


def test_a_run_that_is_resumed_unmended_is_stuck_again() -> None:
    """Forgiveness is one more round of tries, not a blind eye."""
    world = World("two:new fails; one:old fails")
    world.rotate()
    ending = world.resume()
    assert trace(world.events, ending).endswith(
        "refuses:new resumed unit:old door:old one:old✗ one:old✗ refuses:new halt:stuck"
    )


def test_a_stuck_run_tells_every_place_that_is_left() -> None:
    """The reason of a stuck run names each place that did not go back, and why."""
    world = World("two:new fails; env:old fails")
    assert world.rotate().reason == (
        "env: cannot · unit: it did not come up with the value · door:accepts: it refuses the value · "
        "door:refuses: not asked: the door does not accept the old key"
    )


def test_a_run_that_turned_back_tells_why() -> None:
    """The reason of the failure is the reason of the run."""
    world = World("unit:new fails")
    assert world.rotate().reason == "unit: cannot"


def test_an_internal_error_names_its_kind_and_nothing_else() -> None:
    """What a bug says may hold a value, so that only its kind is recorded."""
    world = World("unit:new breaks")
    assert re.fullmatch(r"unit: internal error: ZeroDivisionError at world\.py:\d+", world.rotate().reason)


def test_a_place_that_is_only_held_already_is_not_written() -> None:
    """What crashed and came up with the new value by itself is not restarted again."""
    world = World("unit crashes after env:new")
    world.rotate()
    assert world.effects == ["file:new", "env:new", "door:new", "one:new", "two:new", "refuses:old"]


def test_a_closed_run_has_no_next_move() -> None:
    """Nothing follows the close."""
    world = World()
    world.rotate()
    assert world.run.phase is Phase.CLOSED
    with pytest.raises(JournalError, match="it is closed"):
        decide.next_move(world.run)


@pytest.mark.parametrize(
    ("faults", "is_stuck"),
    [
        ("two:new fails; one:old fails", True),
        ("two signals during unit:new", False),
        ("", False),
        ("unit:new fails", False),
    ],
)
def test_stuck_is_a_run_that_only_a_person_can_move(faults: str, is_stuck: bool) -> None:
    """An owed run with something left to try is interrupted, not stuck; a closed one is neither."""
    world = World(faults)
    world.rotate()
    assert decide.is_stuck(world.run) is is_stuck


@pytest.mark.parametrize(
    ("row", "goal", "holds", "is_satisfied"),
    [
        ("env", Value.NEW, Holds.NEW, True),
        ("env", Value.NEW, Holds.BOTH, False),
        ("env", Value.NEW, Holds.OLD, False),
        ("env", Value.NEW, Holds.UNKNOWN, False),
        ("env", Value.OLD, Holds.REFERS, True),
        ("door:accepts", Value.NEW, Holds.BOTH, True),
        ("door:accepts", Value.NEW, Holds.OLD, False),
        ("door:refuses", Value.NEW, Holds.BOTH, False),
        ("door:refuses", Value.NEW, Holds.NEW, True),
    ],
)
def test_each_row_says_what_satisfies_it(row: str, goal: Value, holds: Holds, is_satisfied: bool) -> None:
    """A door that accepts both values admits the goal, and has not retired the other; a reference needs nothing."""
    assert World().plan.row(row).is_satisfied(goal, holds) is is_satisfied
