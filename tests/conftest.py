"""What every test has."""

from __future__ import annotations

import pytest
from hypothesis import settings

pytest.register_assert_rewrite("places.contract")

# The machines are shared and slow by turns: a property is wrong or right, never late.
settings.register_profile("keyrotor", deadline=None)
settings.load_profile("keyrotor")
