"""Real programs that a test of a place wants."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def missing(what: str) -> NoReturn:
    """Skips the test, or fails it where every real part is required."""
    if os.environ.get("CI") or os.environ.get("KEYROTOR_REAL") == "required":
        pytest.fail(f"a real part is missing: {what}")
    pytest.skip(what)
