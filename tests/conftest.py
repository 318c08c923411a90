"""What every test has."""

from __future__ import annotations

import signal

import pytest
from hypothesis import settings

pytest.register_assert_rewrite("places.contract")

# The machines are shared and slow by turns: a property is wrong or right, never late.
settings.register_profile("keyrotor", deadline=None)
settings.load_profile("keyrotor")

# Who starts us in the background (a shell's `&`, nohup) may have these ignored, and every child would inherit that: the
# programs under test are to hear what a person at a terminal sends them.
for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
