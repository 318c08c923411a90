"""What the record says of leaks: whose they are, and whether the key is another one by now."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from keyrotor.core.model import Purpose
from keyrotor.core.recorded import Leak, Past, Recorded
from world import SOURCE, World

OPENED = datetime(2026, 11, 22, 3, 14, tzinfo=UTC)
LEAK = Leak("inc-1", OPENED, (SOURCE,), 0, 0)


def past(world: World, minutes: int) -> Past:
    at = OPENED + timedelta(minutes=minutes)
    return Past(world.run, 1, at, at, None)


@pytest.mark.parametrize(
    ("purpose", "minutes", "is_replaced"),
    [(Purpose.ROTATE, 1, True), (Purpose.ROTATE, -1, False), (Purpose.REPAIR, 1, False)],
)
def test_only_a_later_rotation_replaces_a_leaked_key(purpose: Purpose, minutes: int, is_replaced: bool) -> None:
    """A repair puts the leaked value itself everywhere, and proves it."""
    world = World(purpose=purpose)
    world.rotate()
    assert Recorded((past(world, minutes),)).is_replaced(LEAK, SOURCE) is is_replaced


def test_a_key_that_was_brought_back_is_not_replaced() -> None:
    """A rollback of the run that had replaced it."""
    world = World()
    world.rotate()
    world.rollback()
    assert not Recorded((past(world, 1),)).is_replaced(LEAK, SOURCE)
    assert not Recorded((past(world, 1),)).is_replaced(LEAK, replace(SOURCE, key="ANOTHER"))
