"""Many files in one go, what is worked out before the restart, and what is left to a person at the end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from keyrotor.core import decide, machine, plan
from keyrotor.core.machine import Event, Phase, Step, fold
from keyrotor.core.model import Outcome, Value
from keyrotor.errors import JournalError, PlaceError
from keyrotor.secret import Pair
from world import Died, World, deaths, place, playbook_of, token_of, trace

MANY = 20  # clients: more than one by one, and in one go with the two that every world has
CLIENTS = tuple(f"c{number}" for number in range(MANY))


class Watched(World):
    """A world in which each commit of the record is kept, with the effects that there were before it."""

    def record(self, *events: Event) -> None:
        super().record(*events)
        self.commits = [*getattr(self, "commits", []), (tuple(events), tuple(self.effects))]


def many(faults: str = "", **how: object) -> World:
    return World(faults, clients=MANY, **how)  # type: ignore[arg-type]


def begun(world: World, row: str, value: Value = Value.NEW) -> bool:
    return machine.Moving(row, value) in world.events


def test_many_files_are_put_in_one_go() -> None:
    """All intents are one commit before the first of the files is written, all results one after the last."""
    world = Watched(clients=MANY)
    assert world.rotate().outcome is Outcome.ROTATED
    goes = [(events, effects) for events, effects in world.commits if len(events) > 1]
    rows = ("one", "two", *CLIENTS)
    assert [[type(event) for event in events] for events, _ in goes] == [
        [machine.Moving] * len(rows),
        [machine.Moved] * len(rows),
    ]
    assert [event.row for event in goes[0][0]] == list(rows)  # type: ignore[union-attr]
    assert not {token_of(row, Value.NEW) for row in rows} & set(goes[0][1])
    assert {token_of(row, Value.NEW) for row in rows} <= set(goes[1][1])


def test_few_files_are_put_one_by_one() -> None:
    """Below the least number every intent is directly followed by its own result."""
    world = Watched(clients=decide.MANY - 3)
    world.rotate()
    assert all(len(events) == 1 for events, _ in world.commits)


def test_no_go_is_longer_than_the_most() -> None:
    """A kill leaves no more in doubt than one go."""
    world = Watched(clients=2 * decide.MOST)
    assert world.rotate().outcome is Outcome.ROTATED
    assert max(len(events) for events, _ in world.commits) == decide.MOST


@pytest.mark.parametrize("how", [World.resume, World.rollback])
@pytest.mark.parametrize("faults", ["", "c7:new fails", "c7:new breaks halfway", "signal during c9:new"])
def test_killed_anywhere_in_a_go_it_ends_whole(faults: str, how: object) -> None:
    """Whatever was written of a go, the next process ends all old or all new."""
    for world in deaths(lambda at: many(faults, die_at=at), World.rotate):
        world.revive()
        for _ in range(4):
            if world.events and world.run.is_owed:
                how(world)  # type: ignore[operator]
        assert world.whole() is not None, trace(world.events)
        assert not world.events or world.run.phase is Phase.CLOSED


def test_a_file_that_fails_for_ever_turns_all_of_them_back() -> None:
    """One of many cannot be written: every place is old again, proven."""
    world = many("c12:new fails")
    ending = world.rotate()
    assert (ending.outcome, world.whole()) == (Outcome.ROLLED_BACK, Value.OLD)
    assert "c12" in ending.reason


def test_a_file_that_fails_once_is_put_again_alone() -> None:
    """Its neighbours are not written a second time."""
    world = many("c12:new fails once")
    assert world.rotate().outcome is Outcome.ROTATED
    assert [token for token in world.effects if token.startswith("c")] == [
        *(token_of(row, Value.NEW) for row in CLIENTS if row != "c12"),
        "c12:new",
    ]


def test_a_signal_in_a_go_ends_after_the_write_in_hand() -> None:
    """What comes after it in the go is not written; what was written is put back."""
    world = many("signal during c5:new")
    assert world.rotate().outcome is Outcome.ROLLED_BACK
    assert "c5:new" in world.effects
    assert machine.Moved("c5", Value.NEW, "done") in world.events
    assert "c6:new" not in world.effects
    assert world.whole() is Value.OLD


def test_what_somebody_else_wrote_into_a_file_that_no_go_reached_is_left() -> None:
    """On the way back a file that was never begun and holds neither value is passed, among many as alone."""
    world = many("door:new fails; c3 drifts before door:new")
    assert world.rotate().outcome is Outcome.ROLLED_BACK
    assert world.files["c3"] == "other"
    assert "c3" in world.run.tasks


@pytest.mark.parametrize("at", [8, 20, 30])
def test_a_record_that_cannot_be_written_stops_the_run_there(at: int) -> None:
    """Nothing is put after a commit that failed, and the run is finished later."""
    world = many(f"record fails at {at}")
    with pytest.raises(JournalError):
        world.rotate()
    world.record_fails_at = None
    world.resume()
    assert world.whole() is Value.NEW


# -- what is worked out before the restart ----------------------------------------------------------------------------


def test_what_stands_below_the_unit_is_worked_out_before_it_is_restarted() -> None:
    """Every splice is made in memory while the gateway still serves."""
    world = World()
    world.places["unit"].put = _asking(world, world.places["unit"].put)  # type: ignore[method-assign]
    assert world.rotate().outcome is Outcome.ROTATED
    assert world.seen == ["door:new", "one:new", "two:new", "refuses:old"]  # type: ignore[attr-defined]


def _asking(world: World, put: object) -> object:
    def asked(*arguments: object) -> object:
        world.seen = list(world.prepared)  # type: ignore[attr-defined]
        return put(*arguments)  # type: ignore[operator]

    return asked


def test_what_cannot_be_worked_out_turns_back_without_an_outage() -> None:
    """The unit is never restarted for a client that could not have been written."""
    world = World()
    world.spoilt = {"two"}
    ending = world.rotate()
    assert (ending.outcome, ending.reason) == (Outcome.ROLLED_BACK, "two: cannot be spliced")
    assert not begun(world, "unit")
    assert world.whole() is Value.OLD


def test_past_the_point_of_no_return_it_is_the_put_that_says_so() -> None:
    """A run that may not turn back by itself restarts the unit all the same."""
    world = World(no_return="env")
    world.spoilt = {"two"}
    assert world.rotate().outcome is Outcome.ROTATED


def test_a_gateway_that_a_command_restarts_is_away_from_that_command_on() -> None:
    """Its clients are worked out before it, like a unit's; another command begins no outage."""
    places = (place("file", "sops-file"), place("hook", "command"), place("door", "litellm", unit="hook"))
    rows = plan.rows(playbook_of(*places, place("one", "client-file"), place("last", "command")))
    run = fold([machine.Opened(replace(World().plan, rows=rows))])
    assert [row.id for row in rows if decide.begins_outage(run, row)] == ["hook"]


# -- what is left to a person -----------------------------------------------------------------------------------------


def test_every_place_that_was_put_is_asked_what_is_left_to_do_once_all_is_proven() -> None:
    """Nothing is told to read again before the old value is dead, and the answers are the run's tasks."""
    world = World()
    world.left = {"one": "restart it"}
    assert world.rotate().outcome is Outcome.ROTATED
    assert world.told == ["file:new", "env:new", "unit:new", "door:new", "one:new", "two:new", "refuses:old"]
    assert world.run.tasks == {"one": "restart it"}


def test_on_the_way_back_those_that_were_moved_are_asked_for_the_old_value() -> None:
    """What has taken up the new value must be told of the old one; what was never touched is left in peace."""
    world = World("one:new fails")
    assert world.rotate().outcome is Outcome.ROLLED_BACK
    assert world.told == ["file:old", "env:old", "unit:old", "door:old", "one:old", "refuses:new"]


def test_tasks_are_open_until_each_is_ticked_off() -> None:
    """They are numbered in the order of the plan, from the close on; each is gone once it is done."""
    world = World()
    world.left = {"one": "restart it", "two": "log in again"}
    world.rotate()
    assert [(task.id, task.row, task.text) for task in world.run.open_tasks] == [
        ("r1-1", "one", "restart it"),
        ("r1-2", "two", "log in again"),
    ]
    assert fold(world.events[:-1]).open_tasks == ()
    world.record(machine.Done("one"))
    assert [task.id for task in world.run.open_tasks] == ["r1-2"]
    assert world.run.mark(world.plan.row("one")).step is Step.MOVED


def test_a_rollback_by_name_takes_the_tasks_of_the_rotation_away() -> None:
    """What was to be done for the new value need not be done for the old one."""
    world = World()
    world.left = {"one": "restart it"}
    world.rotate()
    world.left = {}
    world.rollback()
    assert world.run.open_tasks == ()


def test_a_client_that_vanishes_before_its_turn_turns_the_run_back_and_is_left() -> None:
    """It keeps nobody on the new value: all else is old again, proven, and a person is told."""
    world = World("one vanishes before door:new")
    assert world.rotate().outcome is Outcome.ROLLED_BACK
    assert {row: word for row, word in world.files.items() if word != "old"} == {"one": "gone"}
    assert world.run.tasks == {"one": "the one holds neither value any more; it is left as it is"}


def test_a_client_that_vanishes_after_its_turn_costs_no_second_outage() -> None:
    """Both proofs have passed: the run closes, and a person is told."""
    world = World("one vanishes after refuses:old")
    assert world.rotate().outcome is Outcome.ROTATED
    assert list(world.run.tasks) == ["one"]
    assert not begun(world, "unit", Value.OLD)


def test_a_file_that_cannot_be_read_in_the_last_look_is_left_to_a_person() -> None:
    """Nobody can say that it holds the new value."""
    world = World("one holds unreadable after refuses:old")
    assert world.rotate().outcome is Outcome.ROTATED
    assert world.run.tasks == {"one": "the one cannot be read any more: what it holds cannot be told"}


def test_a_hook_that_writes_the_old_value_back_is_seen_in_the_last_look() -> None:
    """It is put and told once more; what writes it again is left to a person, with what else there is to do."""
    world = World()
    told = world.places["one"].after

    def wrecking(goal: Value, pair: Pair) -> str:
        world.files["one"] = "old"
        told(goal, pair)
        return "restart it"

    world.places["one"].after = wrecking  # type: ignore[method-assign]
    assert world.rotate().outcome is Outcome.ROTATED
    assert world.told.count("one:new") == 2
    assert world.run.tasks == {"one": "restart it; the one holds old again: something else writes it"}


def test_a_place_that_held_it_already_is_not_told_to_read_again() -> None:
    """A repair restarts nobody whose file it did not touch; what a killed put may have written counts as put."""
    world = World()
    world.files["one"] = "new"
    assert world.rotate().outcome is Outcome.ROTATED
    assert "one:new" not in world.told
    killed = next(
        world
        for world in deaths(lambda at: World(die_at=at), World.rotate)
        if world.effects[-1:] == ["one:new"] and not isinstance(world.events[-1], machine.Moved)
    )
    killed.revive()
    killed.told.clear()
    assert killed.resume().outcome is Outcome.ROTATED
    assert "one:new" in killed.told


def test_what_is_to_be_done_once_is_told_once() -> None:
    """Two files of one client, one restart."""
    world = World()
    world.left = {"one": "restart it", "two": "restart it"}
    world.rotate()
    assert world.run.tasks == {"one": "restart it"}


def test_a_resume_does_not_work_out_again_what_a_kill_may_have_left_half_written() -> None:
    """Its put mends it; that it cannot be read now is no reason to turn back."""
    world = next(
        world
        for world in deaths(lambda at: World(die_at=at), World.rotate)
        if world.events and world.files["one"] == "torn"
    )
    world.revive()
    world.spoilt = {"one"}
    assert world.resume().outcome is Outcome.ROTATED


def test_the_number_of_a_task_is_not_given_again() -> None:
    """A name that was copied from the rotation's report does not tick off what its rollback leaves."""
    world = World()
    world.left = {"one": "restart it"}
    world.rotate()
    world.rollback()
    assert [task.id for task in world.run.open_tasks] == ["r1-2"]


def test_an_abandoned_run_leaves_what_refers_to_the_value() -> None:
    """Nobody knows which value is in force: whoever has it from the variable must be restarted."""
    world = World("unit:new fails; unit:old fails")
    world.plan = replace(world.plan, todo={"elsewhere": "restart it"})
    world.rotate()
    world.record(machine.Closed(Outcome.ABANDONED, "mended"))
    assert [task.text for task in world.run.open_tasks] == ["restart it"]


def test_a_place_that_cannot_be_told_to_read_again_is_left_to_a_person_in_either_direction() -> None:
    """The values are in force: nothing is turned back for it, and the reason is the task."""
    for faults, outcome in (("", Outcome.ROTATED), ("two:new fails", Outcome.ROLLED_BACK)):
        world = World(faults)
        world.left = {"unit": "restart it"}
        world.places["one"].after = _failing  # type: ignore[method-assign]
        assert world.rotate().outcome is outcome
        assert world.run.tasks["one"] == "cannot reload it"
        assert ("unit" in world.run.tasks) is (outcome is Outcome.ROTATED)


def _failing(*_: object) -> str:
    raise PlaceError("cannot reload it")


def test_what_refers_must_be_restarted_for_a_value_that_lasts() -> None:
    """For the new one at the end of a rotation, for the old one after a rollback by name; not where a run turns back
    by itself."""
    referring = replace(World().plan, todo={"elsewhere": "restart it"})
    turned = World("one:new fails")
    turned.plan = referring
    turned.rotate()
    assert turned.run.tasks == {}
    world = World()
    world.plan = referring
    world.rotate()
    assert world.run.tasks == {"elsewhere": "restart it"}
    world.rollback()
    assert world.run.tasks == {"elsewhere": "restart it"}


def test_a_hook_that_is_killed_is_run_again() -> None:
    """A death while the places are asked leaves the run owed, and the next process asks them all."""
    world = World()
    asked = world.places["two"].after
    world.places["two"].after = _dying  # type: ignore[method-assign]
    with pytest.raises(Died):
        world.rotate()
    world.places["two"].after = asked  # type: ignore[method-assign]
    world.told.clear()
    assert world.resume().outcome is Outcome.ROTATED
    assert "one:new" in world.told


def _dying(*_: object) -> str:
    raise Died
