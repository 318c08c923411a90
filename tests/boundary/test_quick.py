"""The quick runner: an answer, an end after a time, and nobody left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from keyrotor.boundary.process import Done
from keyrotor.boundary.quick import CoreDumps, Quick
from keyrotor.errors import PlaceError

ENV = {"PATH": os.environ["PATH"]}
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def test_it_answers_as_the_other_runner_does(tmp_path: Path) -> None:
    """Code, both streams, standard input, folder and environment; and what was to be done meanwhile is done."""
    done: list[str] = []
    shell = 'cat; echo "$KEY"; pwd; echo oh >&2; exit 3'
    quick = Quick(lambda: done.append("meanwhile"))
    said = quick.run(["sh", "-c", shell], env={**ENV, "KEY": "a b"}, stdin=b"in\n", cwd=tmp_path)
    assert said == Done(3, f"in\na b\n{tmp_path}\n".encode(), b"oh\n")
    assert done == ["meanwhile"]
    assert Quick().run(["sh", "-c", "kill -9 $$"], env=ENV).code == -9
    assert Quick().run(["cat"], env=ENV) == Done(0, b"", b"")


def test_a_program_is_found_along_its_own_path(tmp_path: Path) -> None:
    """Not along ours; one that is nowhere, or cannot be run, is told by its name."""
    (tmp_path / "mine").write_text("#!/bin/sh\necho mine\n")
    (tmp_path / "mine").chmod(0o755)
    (tmp_path / "plain").write_text("x")
    assert Quick().run(["mine"], env={"PATH": str(tmp_path)}).out == b"mine\n"
    assert Quick().run(["./mine"], env=ENV, cwd=tmp_path).out == b"mine\n"
    with pytest.raises(PlaceError, match="cannot run mine: no such program"):
        Quick().run(["mine"], env=ENV)
    with pytest.raises(PlaceError, match="cannot run plain: permission denied"):
        Quick().run(["plain"], env={"PATH": str(tmp_path)})


def test_what_takes_too_long_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    """Also what keeps the pipe open that we read from."""
    shell = f"sleep 300 & echo $! > {tmp_path}/pid; wait"
    began = time.monotonic()
    with pytest.raises(PlaceError, match=r"cannot wait longer for sh: not done after 0\.5 s"):
        Quick().run(["sh", "-c", shell], env=ENV, within=0.5)
    assert time.monotonic() - began < 100
    pid = int((tmp_path / "pid").read_text())
    while Path(f"/proc/{pid}").exists() and Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z":
        assert time.monotonic() - began < 100
        time.sleep(0.01)


def test_a_signal_that_ends_us_ends_the_child_first(tmp_path: Path) -> None:
    """With all that it started; and we die of the signal itself. One that is ignored (nohup) ends nothing."""
    told = f"echo $! > {tmp_path}/made; mv {tmp_path}/made {tmp_path}/pid"
    code = (
        "import signal, sys; from keyrotor.boundary.quick import Quick\n"
        "from keyrotor.boundary.signals import be_ended_by_ctrl_c\n"
        "be_ended_by_ctrl_c(); signal.signal(signal.SIGHUP, getattr(signal, sys.argv[2]))\n"
        "Quick().run(['sh', '-c', sys.argv[1]], env={'PATH': sys.argv[3]})"
    )
    for number, hang_up, shell in (
        *((number, "SIG_DFL", f"sleep 300 & {told}; wait") for number in ENDING),
        (signal.SIGHUP, "SIG_IGN", f"sleep 0.5 & {told}; wait"),
    ):
        ours = subprocess.Popen([sys.executable, "-c", code, shell, hang_up, ENV["PATH"]], start_new_session=True)
        while not (tmp_path / "pid").exists():
            assert ours.poll() is None
            time.sleep(0.01)
        pid = int((tmp_path / "pid").read_text())
        (tmp_path / "pid").unlink()
        ours.send_signal(number)
        assert ours.wait(60) == (-number if hang_up == "SIG_DFL" else 0)
        deadline = time.monotonic() + 100
        while Path(f"/proc/{pid}").exists() and Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z":
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_a_signal_is_heard_wherever_it_comes(tmp_path: Path) -> None:
    """Also where Python loses an exception: a module's lock that goes, while we import (measured)."""
    code = (
        "import os, signal, sys; from keyrotor.boundary.quick import Quick\n"
        "class Going:\n"
        "    def __del__(self):\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "Quick(lambda: Going() and None).run(['sleep', '300'], env={'PATH': sys.argv[1]}, within=20)"
    )
    done = subprocess.run([sys.executable, "-c", code, ENV["PATH"]], stderr=subprocess.PIPE, check=False, timeout=100)
    assert (done.returncode, done.stderr) == (-signal.SIGTERM, b"")


def test_it_leads_a_session_of_its_own() -> None:
    """A Ctrl-C in our terminal is ours to answer."""
    said = Quick().run(["sh", "-c", "ps -o sid= -p $$; echo $$"], env=ENV).out.split()
    assert said[0] == said[1]


def test_core_dumps_are_kept_back_and_allowed_again() -> None:
    """With the limit that was there before."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_CORE)
    dumps = CoreDumps()
    assert resource.getrlimit(resource.RLIMIT_CORE) == (0, before[1])
    dumps.allow_again()
    assert resource.getrlimit(resource.RLIMIT_CORE) == before
