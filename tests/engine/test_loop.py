"""The loop itself: intents before effects, signals, drift, bugs of ours, and a record that cannot be written."""

from __future__ import annotations

import pytest
from test_dying import go_on, want_whole

from keyrotor.core.machine import Drifted, Moved, Moving, Phase
from keyrotor.core.model import Holds, Outcome, Value
from keyrotor.errors import JournalError, PlaceError
from keyrotor.secret import Pair
from world import FILES, FORWARD, Stop, World, trace


def effects_of(world: World) -> list[str]:
    return [effect for effect in world.effects if not effect.startswith(("door", "refuses"))]


# -- the record first ------------------------------------------------------------------------------------------------


class Watched(World):
    """A world in which every change is compared with the record as it is at that moment."""

    def __init__(self, faults: str = "") -> None:
        self.unrecorded: list[str] = []
        super().__init__(faults)

    def happen(self, when: str, token: str) -> None:
        if not self.events or not isinstance(self.events[-1], Moving):
            self.unrecorded.append(token)
        super().happen(when, token)


@pytest.mark.parametrize("faults", ["", "two:new fails", "unit:new fails halfway", "env drifts after env:new"])
def test_every_effect_has_its_intent_on_record_before_it_begins(faults: str) -> None:
    """A place is put only while the last event on record says that it is moving."""
    world = Watched(faults)
    world.rotate()
    assert world.effects
    assert world.unrecorded == []


@pytest.mark.parametrize(
    "faults", ["", "two:new fails", "one drifts after refuses:old", "unit:new fails; one:old fails"]
)
def test_nothing_is_done_after_an_event_that_cannot_be_recorded(faults: str) -> None:
    """A record that cannot be written stops the run there: the error is raised, and no place is touched after it."""
    plain = World(faults)
    plain.rotate()
    for at in range(1, len(plain.events)):
        world = World(f"{faults}; record fails at {at}")
        with pytest.raises(JournalError):
            world.rotate()
        assert len(world.events) == at
        done_by_then = sum(isinstance(event, Moving) for event in world.events[:at])
        assert len(world.effects) <= done_by_then
        touched = sum(world._puts.values())
        assert touched == done_by_then
        world.record_fails_at = None
        world.mend()
        go_on(world, "resume")
        want_whole(world)


# -- signals ---------------------------------------------------------------------------------------------------------


def looks(faults: str = "") -> int:
    world = World(faults)
    world.rotate()
    return world.stop.looks


@pytest.mark.parametrize("at", range(1, looks() + 1))
def test_a_signal_on_the_way_forward_turns_back_and_ends_all_old(at: int) -> None:
    """Wherever the first signal comes before the last look, the run is rolled back, proven, and exits 20."""
    world = World(stop=Stop(at))
    ending = world.rotate()
    if world.stop.answered:  # it came in the last look: answered, and finished
        assert ending.outcome is Outcome.ROTATED
    else:
        assert ending.outcome is Outcome.ROLLED_BACK
        assert "SIGINT" in ending.reason
    want_whole(world)


def test_a_signal_during_the_last_look_is_answered_and_ignored() -> None:
    """Everything has moved by then: the first signal changes nothing."""
    world = World("one drifts after refuses:old; signal before 2nd one:new")
    assert world.rotate().outcome is Outcome.ROTATED
    assert world.stop.answered == 1


@pytest.mark.parametrize("first", range(1, looks() + 1))
def test_a_second_signal_stops_now_and_leaves_the_run_owed(first: int) -> None:
    """Two signals at any two looks: interrupted and owed, or whole; what is owed can be finished either way."""
    for second in range(first, first + 12):
        for how in ("resume", "rollback"):
            world = World(stop=Stop(first, second))
            ending = world.rotate()
            if ending.run.is_owed:
                assert ending.outcome is Outcome.INTERRUPTED
                assert ending.reason == "interrupted by SIGINT"
            world.revive()
            go_on(world, how)
            want_whole(world)


def test_two_signals_at_once_stop_where_it_stands() -> None:
    """Not even the turn is recorded: the run keeps its direction for whoever goes on."""
    world = World("two signals during unit:new")
    ending = world.rotate()
    assert (ending.outcome, ending.run.goal, ending.run.phase) == (Outcome.INTERRUPTED, Value.NEW, Phase.FORWARD)
    assert trace(world.events) == "file:new env:new unit:new…"


@pytest.mark.parametrize("token", ["file:old", "env:old", "unit:old", "door:old", "one:old", "two:old", "refuses:new"])
def test_the_first_signal_during_a_rollback_is_answered_and_ignored(token: str) -> None:
    """A rollback that somebody signals once finishes all the same."""
    world = World(f"two:new fails; signal during {token}")
    assert world.rotate().outcome is Outcome.ROLLED_BACK
    assert world.stop.answered == 1
    want_whole(world, all_old=True)


@pytest.mark.parametrize("token", ["file:old", "unit:old", "door:old", "refuses:new"])
def test_the_second_signal_during_a_rollback_stops_now(token: str) -> None:
    """Interrupted, owed, and the write in hand is finished."""
    world = World(f"two:new fails; two signals during {token}")
    ending = world.rotate()
    assert (ending.outcome, ending.run.goal) == (Outcome.INTERRUPTED, Value.OLD)
    assert "torn" not in world.files.values()
    world.revive()
    go_on(world, "resume")
    want_whole(world, all_old=True)


@pytest.mark.parametrize("at", range(1, 12))
def test_a_rollback_in_a_new_process_ignores_the_first_signal_too(at: int) -> None:
    """Going back is firm from the first moment of the process that does it."""
    world = World("two signals during unit:new")
    world.rotate()
    world.revive()
    world.stop = Stop(at)
    assert world.rollback().outcome is Outcome.ROLLED_BACK
    want_whole(world, all_old=True)


def test_a_signal_that_came_before_a_rollback_began_does_not_stop_it() -> None:
    """One signal while the rollback is made ready is one signal during a rollback."""
    world = World("two signals during unit:new")
    world.rotate()
    world.revive()
    world.deed("signal")
    assert world.rollback().outcome is Outcome.ROLLED_BACK
    want_whole(world, all_old=True)


# -- drift -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", ["file", "env"])
def test_a_file_that_drifts_above_a_restart_is_put_once_and_only_once(row: str) -> None:
    """Before the unit reads them, the files above are asked again: each is put once more, and no more."""
    world = World(
        f"{row} drifts after env:new; {row} drifts after 2nd {row}:new" if row == "env" else "file drifts after env:new"
    )
    world.rotate()
    drifts = [event for event in world.events if isinstance(event, Drifted)]
    assert drifts == [Drifted(row, Holds.NEITHER, "restart")]
    assert effects_of(world).count(f"{row}:new") == 2


@pytest.mark.parametrize("row", FILES)
def test_a_file_that_drifts_before_the_last_look_is_put_once_more(row: str) -> None:
    """The last look mends what drifted, and the run ends whole."""
    world = World(f"{row} drifts after refuses:old")
    assert world.rotate().outcome is Outcome.ROTATED
    assert world.run.tasks == {}
    want_whole(world)


@pytest.mark.parametrize("row", FILES)
def test_a_file_that_drifts_again_becomes_a_task_and_the_run_closes(row: str) -> None:
    """What something else keeps writing is left to a person; the rotation is over all the same."""
    world = World(f"{row} drifts after refuses:old; {row} drifts after 2nd {row}:new")
    ending = world.rotate()
    assert ending.outcome is Outcome.ROTATED
    assert world.run.tasks == {row: f"the {row} holds neither again: something else writes it"}
    assert effects_of(world).count(f"{row}:new") == 2


def test_two_files_that_drift_at_the_last_look_are_both_put() -> None:
    """Each row has its own second chance."""
    world = World("env drifts after refuses:old; two drifts after refuses:old; two drifts after 2nd two:new")
    assert world.rotate().outcome is Outcome.ROTATED
    assert set(world.run.tasks) == {"two"}
    assert world.files["env"] == "new"


def test_a_unit_that_came_up_with_a_drifted_file_is_restarted_at_the_last_look() -> None:
    """The file goes first, the unit after it, and the door is asked once more."""
    world = World("env drifts after refuses:old; unit crashes after refuses:old")
    world.rotate()
    assert trace(world.events).endswith("refuses:old env~neither env:new unit~neither unit:new settled closed:rotated")
    want_whole(world)


def test_a_drift_on_the_way_back_is_mended_as_well() -> None:
    """A rollback looks once over all places like a rotation."""
    world = World("two:new fails; env drifts after refuses:new")
    assert world.rotate().outcome is Outcome.ROLLED_BACK
    want_whole(world, all_old=True)


@pytest.mark.parametrize("row", ["file", "env"])
def test_what_the_unit_depends_on_and_cannot_be_put_again_turns_the_run_back(row: str) -> None:
    """A last look that finds what cannot be mended there is a failure like any other: a restart would show it."""
    world = World(f"{row} drifts after refuses:old; {row}:new fails from the 2nd")
    assert world.rotate().outcome is Outcome.ROLLED_BACK


def test_a_client_that_drifted_and_cannot_be_put_again_is_left_to_a_person() -> None:
    """All is proven by then: no second outage for a file that somebody has taken away."""
    world = World("one drifts after refuses:old; one:new fails from the 2nd")
    assert world.rotate().outcome is Outcome.ROTATED
    assert world.run.tasks == {"one": "cannot put the one once more: cannot"}
    assert trace(world.events).endswith("refuses:old one~neither one:new✗ one:new✗ settled!one closed:rotated")


# -- what nobody foresaw ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["", " halfway", " afterwards"])
@pytest.mark.parametrize("token", FORWARD)
def test_a_bug_in_a_put_turns_the_run_back(token: str, how: str) -> None:
    """An exception that is none of ours is a failure of that place, and everything goes back."""
    world = World(f"{token} breaks{how}")
    ending = world.rotate()
    assert ending.outcome is Outcome.ROLLED_BACK
    assert "internal error: ZeroDivisionError" in ending.reason
    want_whole(world, all_old=True)


class Blind:
    """A place whose `holds` raises."""

    def __init__(self, place: object, error: Exception) -> None:
        self._place, self._error = place, error

    def check(self, pair: Pair) -> list[str]:
        return []

    def holds(self, pair: Pair) -> Holds:
        raise self._error

    def prepare(self, goal: Value, pair: Pair) -> None:
        pass

    def after(self, goal: Value, pair: Pair) -> str:
        return ""

    def put(self, goal: Value, pair: Pair) -> str:
        return self._place.put(goal, pair)  # type: ignore[attr-defined,no-any-return]


@pytest.mark.parametrize("error", [PlaceError("cannot look"), ZeroDivisionError("a bug of ours")], ids=["ours", "bug"])
@pytest.mark.parametrize("row", ["file", "env", "unit", "one", "door:accepts", "door:refuses"])
@pytest.mark.parametrize(("faults", "outcome"), [("", Outcome.ROTATED), ("refuses:old fails", Outcome.ROLLED_BACK)])
def test_a_place_that_cannot_be_looked_at_counts_as_unknown(
    faults: str, outcome: Outcome, row: str, error: Exception
) -> None:
    """A look that raises, ours or a bug, never ends a run between two values."""
    world = World(faults)
    world.places[row] = Blind(world.places[row], error)  # type: ignore[assignment]
    assert world.rotate().outcome is outcome
    want_whole(world)


def test_what_cannot_be_told_counts_as_held_after_it_was_put() -> None:
    """A unit that is down in the last look is not put again: its put had proven it."""
    world = World("unit goes down after refuses:old")
    assert world.rotate().outcome is Outcome.ROTATED
    assert effects_of(world).count("unit:new") == 1


# -- no place is put for nothing -------------------------------------------------------------------------------------


def test_a_rotation_restarts_the_unit_once() -> None:
    """One rotation is one outage."""
    world = World()
    world.rotate()
    assert effects_of(world) == ["file:new", "env:new", "unit:new", "one:new", "two:new"]


def test_a_rollback_before_the_unit_moved_restarts_nothing() -> None:
    """A unit that still runs with the old value is proven, not restarted."""
    world = World("env:new fails")
    world.rotate()
    assert effects_of(world) == ["file:new", "file:old"]


def test_every_moved_row_was_moving_towards_the_same_value() -> None:
    """In any record a result follows its own intent."""
    world = World("two:new fails")
    world.rotate()
    for before, event in zip(world.events, world.events[1:], strict=False):
        if isinstance(event, Moved):
            assert before == Moving(event.row, event.value)
