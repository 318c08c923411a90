"""The last lines of a command about a run: what to type next."""

from __future__ import annotations

import pytest

from keyrotor import console
from keyrotor.core.model import Outcome
from keyrotor.core.report import Report
from keyrotor.errors import Exit

HALTED = [
    (Outcome.STUCK, Exit.STUCK),
    (Outcome.INTERRUPTED, Exit.INTERRUPTED),
    (Outcome.OLD_ALIVE, Exit.OLD_ALIVE),
]


@pytest.mark.parametrize(("outcome", "code"), HALTED)
@pytest.mark.parametrize(
    ("is_leaked", "said"), [(False, "keyrotor rollback abc"), (True, "no, the old key has leaked")]
)
def test_a_leaked_key_is_not_brought_back_by_the_way(outcome: Outcome, code: Exit, is_leaked: bool, said: str) -> None:
    """The line stands there all the same: who looks for it learns why."""
    lines = console.last_word(Report(outcome, code, "lab", "abc", "why", is_leaked=is_leaked))
    assert [line for line in lines if line.startswith("to go back")] == [f"to go back: {said}"]
