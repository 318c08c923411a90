"""What a run that has not replaced the key says of it."""

from __future__ import annotations

import pytest

from keyrotor.casework import not_rotated
from keyrotor.core.machine import SIGNALLED
from keyrotor.core.model import Outcome
from keyrotor.core.report import Report
from keyrotor.errors import Exit, InterruptedRun, PlaceError


@pytest.mark.parametrize(
    "report",
    [
        Report(Outcome.INTERRUPTED, Exit.INTERRUPTED, run="abc", reason=f"{SIGNALLED}SIGINT"),
        Report(Outcome.ROLLED_BACK, Exit.ROLLED_BACK, run="abc", turned_back=f"{SIGNALLED}SIGINT"),
    ],
)
def test_a_signal_ends_the_incident_too_whatever_became_of_the_run(report: Report) -> None:
    """Who has asked it to stop does not want the steps that come later; the signal is named once."""
    why = not_rotated(report)
    assert isinstance(why, InterruptedRun)
    assert str(why) == "SIGINT"


def test_another_failure_is_told_with_what_is_in_force() -> None:
    """And the incident goes on with what does not depend on it."""
    why = not_rotated(Report(Outcome.ROLLED_BACK, Exit.ROLLED_BACK, run="abc", turned_back="it does not start"))
    assert isinstance(why, PlaceError)
    assert "everything is as it was, with the leaked key in force" in str(why)
    assert why.hint == "keyrotor log abc"
