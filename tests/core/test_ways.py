"""What is typed for a run that is not finished."""

from __future__ import annotations

from dataclasses import replace

import pytest

from keyrotor.core import machine
from keyrotor.core.machine import ASKED, TurnedBack, fold
from keyrotor.core.model import Purpose
from keyrotor.core.ways import ways
from world import plan_of

PLAN = plan_of()


@pytest.mark.parametrize(
    ("incident", "is_back", "purpose", "other"),
    [
        ("", False, Purpose.ROTATE, "keyrotor rollback {run}  (ends all old)"),
        ("", False, Purpose.REPAIR, "keyrotor abandon {run} --reason …  (leaves it as it is)"),
        ("inc-1", False, Purpose.ROTATE, ""),
        ("inc-1", True, Purpose.ROTATE, "keyrotor rollback {run}  (ends all old)"),
    ],
)
def test_a_way_back_is_offered_where_it_brings_no_leaked_value_back(
    incident: str, is_back: bool, purpose: Purpose, other: str
) -> None:
    """A run of an incident goes on; one that a person has turned back already goes back."""
    plan = replace(PLAN, incident=incident, purpose=purpose)
    run = fold([machine.Opened(plan), *([TurnedBack(ASKED)] if is_back else [])])
    on = f"keyrotor resume {plan.run}  (goes on)"
    assert ways(run) == "   or   ".join(filter(None, (on, other.format(run=plan.run))))
