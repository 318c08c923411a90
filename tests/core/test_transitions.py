"""The machine: every pair of phase and event, and what a record means."""

from __future__ import annotations

import pytest

from keyrotor.core import machine
from keyrotor.core.machine import EVENTS, TRANSITIONS, Mark, Phase, Run, Step, fold, follow
from keyrotor.core.model import Holds, Outcome, Value
from keyrotor.errors import JournalError
from world import plan_of

PLAN = plan_of()
OPENED = machine.Opened(PLAN)
MOVING = machine.Moving("env", Value.NEW)
MOVED = machine.Moved("env", Value.NEW, "done")
FAILED = machine.Failed("env", Value.NEW, "cannot")
BACK = machine.TurnedBack("the unit is down")
CLOSED = machine.Closed(Outcome.ROTATED)
SETTLED = machine.Settled({"env": "restart what reads it"})

SAMPLES = {
    "opened": OPENED,
    "moving": MOVING,
    "moved": MOVED,
    "failed": FAILED,
    "passed": machine.Passed("env", Value.OLD, Holds.NEITHER),
    "drifted": machine.Drifted("env", Holds.NEITHER, "settle"),
    "turned-back": BACK,
    "resumed": machine.Resumed(),
    "settled": SETTLED,
    "closed": CLOSED,
    "forgotten": machine.Forgotten(),
    "done": machine.Done("env"),
}
RUNS = {
    "unopened": [],
    "forward": [OPENED, MOVING],
    "back": [OPENED, MOVING, BACK],
    "settled": [OPENED, SETTLED],
    "closed": [OPENED, SETTLED, CLOSED],
    "forgotten": [OPENED, SETTLED, CLOSED, machine.Forgotten()],
}
LEADS = {  # phase: what may happen -> where it leads
    "unopened": {"opened": "forward"},
    "forward": {
        **dict.fromkeys(("moving", "moved", "failed", "passed", "drifted", "resumed"), "forward"),
        "turned-back": "back",
        "settled": "settled",
        "closed": "closed",
    },
    "back": {
        **dict.fromkeys(("moving", "moved", "failed", "passed", "drifted", "resumed"), "back"),
        "settled": "settled",
        "closed": "closed",
    },
    "settled": {"resumed": "settled", "turned-back": "back", "closed": "closed"},
    "closed": {"turned-back": "back", "forgotten": "forgotten", "done": "closed"},
    "forgotten": {"done": "forgotten"},
}


def run_in(phase: str) -> Run | None:
    return fold(RUNS[phase]) if RUNS[phase] else None


def mark(*events: machine.Event) -> Mark:
    return fold([OPENED, *events]).marks["env"]


def test_the_table_knows_every_phase_and_every_event() -> None:
    """The samples of this page leave no phase and no event out."""
    assert set(RUNS) == set(Phase)
    assert set(SAMPLES) == set(EVENTS)
    assert {phase: set(leads) for phase, leads in LEADS.items() if leads} == {
        phase: {name for name, event in EVENTS.items() if (phase, event) in TRANSITIONS}
        for phase in {phase for phase, _ in TRANSITIONS}
    }


@pytest.mark.parametrize("event", SAMPLES)
@pytest.mark.parametrize("phase", RUNS)
def test_an_event_leads_where_the_table_says_or_changes_nothing(phase: str, event: str) -> None:
    """An allowed event leads to its phase; an impossible one raises and leaves the run as it was."""
    run, before = run_in(phase), run_in(phase)
    if event in LEADS[phase]:
        assert follow(run, SAMPLES[event]).phase == LEADS[phase][event]
    else:
        with pytest.raises(JournalError, match="cannot follow the record"):
            follow(run, SAMPLES[event])
    assert run == before


@pytest.mark.parametrize("event", ["moving", "moved", "failed", "passed", "drifted"])
def test_a_row_that_the_plan_does_not_have_cannot_move(event: str) -> None:
    """A record that names a row outside of its plan is refused."""
    stranger = type(SAMPLES[event])("stranger", *(getattr(SAMPLES[event], name) for name in _rest(SAMPLES[event])))
    with pytest.raises(JournalError, match="the plan has no row `stranger`"):
        follow(fold([OPENED]), stranger)


def _rest(event: machine.Event) -> list[str]:
    return [name for name in type(event).__slots__ if name != "row"]


def test_no_events_are_no_run() -> None:
    """An empty record is an error, not an empty run."""
    with pytest.raises(JournalError, match="it has no events"):
        fold([])


def test_a_record_that_does_not_begin_with_opened_is_refused() -> None:
    """Only `opened` begins a run."""
    with pytest.raises(JournalError, match="unopened"):
        fold([MOVING])


def test_the_tense_of_the_last_event_is_the_state_of_the_row() -> None:
    """A row is moving, moved, failed, passed or pending again as its last event says."""
    assert mark(MOVING).step is Step.MOVING
    assert mark(MOVING, MOVED).step is Step.MOVED
    assert mark(MOVING, FAILED).step is Step.FAILED
    assert mark(SAMPLES["passed"]).step is Step.PASSED
    assert mark(MOVING, MOVED, SAMPLES["drifted"]).step is Step.PENDING
    assert fold([OPENED]).mark(PLAN.row("env")).step is Step.PENDING


def test_failures_are_counted_and_their_reason_is_kept() -> None:
    """Each failure of a row counts, and the last reason is the one that is told."""
    twice = mark(MOVING, FAILED, MOVING, machine.Failed("env", Value.NEW, "still cannot"))
    assert (twice.failures, twice.reason) == (2, "still cannot")


def test_a_put_that_succeeds_forgets_why_it_failed_before() -> None:
    """A row that moved carries its detail and no reason."""
    moved = mark(MOVING, FAILED, MOVING, MOVED)
    assert (moved.reason, moved.detail, moved.is_done) == ("", "done", True)


def test_turning_back_starts_every_row_again_but_remembers_which_had_begun() -> None:
    """On the way back nothing is done and nothing has failed; what was ever begun stays known."""
    run = fold([OPENED, MOVING, FAILED, SAMPLES["passed"], machine.Passed("one", Value.OLD, Holds.OLD), BACK])
    assert run.goal is Value.OLD
    begun = {row.id: Mark(has_begun=row.id == "env") for row in PLAN.rows}
    assert run.marks == begun
    assert run.reason == "the unit is down"


def test_turning_back_a_closed_run_opens_it_again() -> None:
    """A rollback of a closed run takes back its outcome and its tasks."""
    run = fold([OPENED, machine.Settled({"one": "mend it"}), CLOSED, machine.TurnedBack("asked for")])
    assert (run.is_owed, run.outcome, run.tasks, run.goal) == (True, None, {}, Value.OLD)


def test_resuming_forgives_failures_and_keeps_the_direction() -> None:
    """Whoever resumes wants every failed row tried afresh, towards the same goal."""
    run = fold([OPENED, MOVING, BACK, MOVING, FAILED, MOVING, FAILED, machine.Resumed()])
    assert (run.goal, run.phase) == (Value.OLD, Phase.BACK)
    assert (run.marks["env"].step, run.marks["env"].failures) == (Step.MOVING, 0)


def test_resuming_forgives_a_put_that_was_killed_in_its_second_try() -> None:
    """A failure before the one that was killed is forgiven like any other."""
    assert mark(MOVING, FAILED, MOVING, machine.Resumed()).failures == 0


def test_resuming_leaves_what_moved_alone() -> None:
    """A row that moved is not put again because somebody resumes; one that was passed is looked at again."""
    assert mark(MOVING, MOVED, machine.Resumed()) == mark(MOVING, MOVED)
    assert mark(SAMPLES["passed"], machine.Resumed()).step is Step.PENDING


def test_each_occasion_of_a_drift_is_remembered() -> None:
    """A row may be put once more for each occasion, so both occasions stay known, and the tries start again."""
    drifted = mark(
        MOVING, FAILED, MOVING, MOVED, machine.Drifted("env", Holds.OLD, "restart"), MOVING, MOVED, SAMPLES["drifted"]
    )
    assert (drifted.drifts, drifted.failures) == ({"restart", "settle"}, 0)


@pytest.mark.parametrize(
    ("phase", "is_owed"),
    [("forward", True), ("back", True), ("settled", True), ("closed", False), ("forgotten", False)],
)
def test_a_run_is_owed_until_it_is_closed(phase: str, is_owed: bool) -> None:
    """From `opened` to `closed`, and not a moment longer, somebody has to finish the run."""
    assert fold(RUNS[phase]).is_owed is is_owed


def test_a_closed_run_tells_why_it_turned_back_unless_it_is_told_better() -> None:
    """The reason of the turn stays the reason of the run; a reason given at the close replaces it."""
    back = [OPENED, MOVING, BACK, machine.Settled()]
    assert fold([*back, machine.Closed(Outcome.ROLLED_BACK)]).reason == "the unit is down"
    assert fold([*back, machine.Closed(Outcome.ABANDONED, "mended by hand")]).reason == "mended by hand"
