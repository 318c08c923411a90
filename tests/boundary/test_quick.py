"""The quick runner: an answer, an end after a time, and nobody left behind."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from keyrotor.boundary.process import Done
from keyrotor.boundary.quick import CoreDumps, Quick
from keyrotor.errors import PlaceError

ENV = {"PATH": os.environ["PATH"]}


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
    with pytest.raises(PlaceError, match="cannot run plain: PermissionError"):
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
