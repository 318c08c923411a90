"""The values that a key has had: which one is present, which are former, which may never come back."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyrotor.core.lineage import Lineage, lineage
from keyrotor.core.machine import Closed, Event, Moving, Opened, Run, Settled, TurnedBack, fold
from keyrotor.core.model import Act, Outcome, Plan, Purpose, Row, Source, Value

SOURCE = Source(file="/lab/global.enc.env", key="LITELLM_MASTER_KEY", identity="", project="/lab")
ROW = Row("file", "file", "sops-file", Act.FILE, "a file", 60.0)


def run(
    name: str,
    old: str,
    new: str,
    outcome: Outcome | None = Outcome.ROTATED,
    *,
    key: str = "mine",
    source: Source = SOURCE,
    purpose: Purpose = Purpose.ROTATE,
    incident: str = "",
    stale: tuple[str, ...] = (),
) -> Run:
    """A run that ended so; None: it is owed."""
    plan = Plan(
        run=name,
        playbook="a playbook",
        source=source,
        rows=(ROW,),
        fingerprints={Value.OLD: old, Value.NEW: new},
        fingerprint_key=key,
        ciphertexts={},
        purpose=purpose,
        incident=incident,
        stale=stale,
    )
    events: list[Event] = [Opened(plan), Moving("file", Value.NEW)]
    if outcome is Outcome.ROLLED_BACK:
        events.append(TurnedBack("asked for"))
    if outcome:
        events += [Settled(), Closed(outcome)]
    return fold(events)


def told(*runs: Run) -> tuple[str, str, dict[str, str]]:
    found = lineage(runs, SOURCE, "mine")
    return found.present, found.run, dict(found.formers)


@pytest.mark.parametrize(
    ("runs", "present", "last", "formers"),
    [
        ([], "", "", {}),
        ([run("1", "A", "B")], "B", "1", {"A": "1"}),
        ([run("1", "A", "B"), run("2", "B", "C")], "C", "2", {"A": "1", "B": "2"}),
        ([run("1", "A", "B", Outcome.OLD_ALIVE)], "B", "1", {"A": "1"}),
        # taken back: the value that it had brought is a former one now
        ([run("1", "A", "B", Outcome.ROLLED_BACK)], "A", "1", {"B": "1"}),
        ([run("1", "A", "B"), run("2", "B", "C", Outcome.ROLLED_BACK)], "B", "2", {"A": "1", "C": "2"}),
        # owed: nobody knows yet which of the two it will leave
        ([run("1", "A", "B"), run("2", "B", "C", None)], "B", "1", {"A": "1"}),
        # a former value that was accepted again counts as the present one
        ([run("1", "A", "B"), run("2", "B", "A")], "A", "2", {"B": "2"}),
        # changed by hand in between: what was present before is former as well
        ([run("1", "A", "B"), run("2", "X", "C")], "C", "2", {"A": "1", "B": "2", "X": "2"}),
        # a repair puts the present value; what it replaced may not be known
        ([run("1", "A", "B"), run("2", "A", "B", Outcome.REPAIRED, purpose=Purpose.REPAIR)], "B", "2", {"A": "1"}),
        ([run("1", "", "B", Outcome.REPAIRED, purpose=Purpose.REPAIR)], "B", "1", {}),
    ],
)
def test_the_last_run_that_ended_well_left_the_present_value(
    runs: Sequence[Run], present: str, last: str, formers: dict[str, str]
) -> None:
    """What it replaced is former, and known by the run that replaced it first."""
    assert told(*runs) == (present, last, formers)


def test_an_abandoned_run_leaves_both_of_its_values_in_doubt() -> None:
    """A person ended it in one direction or the other; the next run that ends well makes both former."""
    ways = [run("1", "A", "B"), run("2", "B", "C", Outcome.ABANDONED)]
    found = lineage(ways, SOURCE, "mine")
    assert (found.present, dict(found.formers), dict(found.doubtful)) == ("", {"A": "1"}, {"B": "2", "C": "2"})
    assert told(*ways, run("3", "C", "D")) == ("D", "3", {"A": "1", "B": "3", "C": "3"})


@pytest.mark.parametrize("outcome", [None, Outcome.REPAIRED, Outcome.OLD_ALIVE, Outcome.ABANDONED])
def test_what_a_repair_set_out_to_replace_is_former(outcome: Outcome | None) -> None:
    """Also while it is owed, and after it was abandoned: it must be recognised where it still stands."""
    mended = run("2", "X", "B", outcome, purpose=Purpose.REPAIR, stale=("Y",))
    assert told(run("1", "A", "B"), mended)[2] == {"A": "1", "X": "2", "Y": "2"}


def test_a_value_that_was_put_by_hand_makes_the_recorded_one_former() -> None:
    """As long as it stands there."""
    found = lineage([run("1", "A", "B")], SOURCE, "mine")
    assert found.superseded("X") == {"A": "1", "B": "1"}
    assert found.superseded("B") == found.superseded("") == {"A": "1"}


def test_another_key_and_another_file_have_a_lineage_of_their_own() -> None:
    """Neither their values nor their runs are told here."""
    others = [
        Source(file="/lab/other.enc.env", key=SOURCE.key, identity="", project="/lab"),
        Source(file=SOURCE.file, key="OTHER_KEY", identity="", project="/lab"),
    ]
    assert told(*(run("1", "A", "B", source=source) for source in others)) == ("", "", {})


def test_only_fingerprints_of_one_key_are_compared() -> None:
    """Runs whose fingerprints were made with another key are known to be there, and that is all."""
    found = lineage([run("1", "A", "B", key="lost"), run("2", "C", "D")], SOURCE, "mine")
    assert (found.present, dict(found.formers), found.is_partial) == ("D", {"C": "2"}, True)
    assert lineage([run("1", "A", "B", key="lost")], SOURCE, "mine") == Lineage(is_partial=True)


def test_what_an_incident_replaced_is_leaked() -> None:
    """It may never come back, not even by name."""
    assert lineage([run("1", "A", "B", incident="inc-1")], SOURCE, "mine").leaked == {"A"}
    assert lineage([run("1", "A", "B")], SOURCE, "mine").leaked == set()


@given(
    st.lists(
        st.tuples(
            st.sampled_from("ABCD"), st.sampled_from("ABCD"), st.sampled_from([Outcome.ROTATED, Outcome.ROLLED_BACK])
        ).filter(lambda one: one[0] != one[1])
    )
)
def test_the_present_value_is_never_a_former_one(ways: list[tuple[str, str, Outcome]]) -> None:
    """Whatever came and went, and came again."""
    found = lineage([run(str(at), *way) for at, way in enumerate(ways)], SOURCE, "mine")
    assert found.present not in found.formers
