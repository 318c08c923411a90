"""What is typed for a run that is not finished."""

from __future__ import annotations

from dataclasses import replace

import pytest

from keyrotor.core import machine
from keyrotor.core.machine import ASKED, TurnedBack, fold
from keyrotor.core.model import Purpose
from keyrotor.core.ways import ways
from world import plan_of


def test_a_run_of_an_incident_that_was_turned_back_says_what_going_on_means() -> None:
    """The leaked key would be in force again; it can be left as it is, and the incident replaces the key anew."""
    plan = replace(plan_of(), incident="inc-1")
    run = fold([machine.Opened(plan), TurnedBack(ASKED)])
    on = f"keyrotor resume {plan.run}  (puts the leaked key back in force; then: keyrotor incident resume)"
    assert ways(run) == f"{on}   or   keyrotor abandon {plan.run} --reason …  (leaves it as it is)"


@pytest.mark.parametrize(
    ("incident", "purpose", "other"),
    [
        ("", Purpose.ROTATE, "keyrotor rollback {run}  (ends all old)"),
        ("", Purpose.REPAIR, "keyrotor abandon {run} --reason …  (leaves it as it is)"),
        ("inc-1", Purpose.ROTATE, ""),
    ],
)
def test_a_way_back_is_offered_where_it_brings_no_leaked_value_back(
    incident: str, purpose: Purpose, other: str
) -> None:
    """A run of an incident goes on."""
    plan = replace(plan_of(), incident=incident, purpose=purpose)
    on = f"keyrotor resume {plan.run}  (goes on)"
    assert ways(fold([machine.Opened(plan)])) == "   or   ".join(filter(None, (on, other.format(run=plan.run))))
