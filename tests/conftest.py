"""What every test has."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings

from keyrotor.demo import build as building

pytest.register_assert_rewrite("places.contract")

# The machines are shared and slow by turns: a property is wrong or right, never late.
settings.register_profile("keyrotor", deadline=None)
settings.load_profile("keyrotor")

# Who starts us in the background (a shell's `&`, nohup) may have these ignored, and every child would inherit that: the
# programs under test are to hear what a person at a terminal sends them.
for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)

# The keys of a record go to a file of the test's, never into the keyring of whoever runs the tests.
os.environ.setdefault("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")


# Each of several workers has ports of its own: between choosing one and listening on it, another could choose it too.
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
building.PORTS = building.PORTS[WORKER::WORKERS]


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    """A test that tries another umask leaves none to those after it."""
    before = os.umask(0o022)
    yield
    os.umask(before)


# Run by one worker, in their order. The first start the real LiteLLM, which needs a core for seconds: one at a time;
# and some share what their module has started. The others share their readers.
ON_LITELLM = r"test_(client_stories|new_user|old_style_lab|on_litellm|tutorial)\.py|.*(litellm|real_proxy)"
TOGETHER = (re.compile(f"tests/real/({ON_LITELLM})"), re.compile(r"tests/formats/test_dotenv_quoting\.py"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Where several workers run the tests, each test goes to the next one that is idle, but for what stays together."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return next((each.pattern for each in TOGETHER if each.match(nodeid)), nodeid)

    return Scheduling(config, log)
