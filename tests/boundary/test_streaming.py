"""A child whose output is read while it prints: all of it, in bounded memory, and it ends with its reader."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path

import pytest

from keyrotor.boundary.process import BLOCK, Processes
from keyrotor.boundary.signals import Signals
from keyrotor.errors import InterruptedRun, PlaceError

ENV = {"PATH": os.environ["PATH"]}


def is_gone(pid: int, within: float = 100.0) -> bool:
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state in "ZX":
            return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize("size", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK])
def test_all_that_is_printed_comes_once_and_in_order(size: int) -> None:
    """Whatever the output's size is beside that of a block."""
    argv = ["sh", "-c", f"yes 123456789 | head -c {size}; echo said >&2; exit 3"]
    with Processes().streaming(argv, env=ENV) as streamed:
        data = b"".join(bytes(block) for block in streamed.blocks())
    assert data == (b"123456789\n" * (size // 10 + 1))[:size]
    assert streamed.done
    assert (streamed.done.code, streamed.done.err) == (3, b"said\n")


def test_what_is_large_is_never_held_whole() -> None:
    """300 MB pass in a few blocks."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    size = 0
    with Processes().streaming(["head", "-c", "300000000", "/dev/zero"], env=ENV) as streamed:
        for block in streamed.blocks():
            size += len(block)
    assert size == 300_000_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB


def test_a_child_ends_with_its_reader_and_all_that_it_started(tmp_path: Path) -> None:
    """Whoever leaves before the end leaves nobody behind, not even in a pipe."""
    shell = f"sleep 600 & echo $! >{tmp_path}/inner; echo $$ >{tmp_path}/outer; yes"
    with Processes().streaming(["sh", "-c", shell], env=ENV) as streamed:
        next(streamed.blocks())
    assert streamed.done is None
    assert all(is_gone(int((tmp_path / name).read_text())) for name in ("inner", "outer"))


def test_a_signal_is_heard_while_the_child_is_silent() -> None:
    """A child that prints nothing keeps nobody from stopping."""
    signals = Signals()
    began = time.monotonic()

    def rest(seconds: float) -> None:
        if time.monotonic() - began > 0.3:
            signals._caught(2, None)
        signals.rest(seconds)

    with pytest.raises(InterruptedRun), Processes(rest).streaming(["sleep", "600"], env=ENV) as streamed:
        list(streamed.blocks())
    assert time.monotonic() - began < 100


def test_what_is_given_is_read_and_a_missing_program_is_told(tmp_path: Path) -> None:
    """Its input comes from us; a program that is not there is one sentence, and leaves no descriptor open."""
    asked = b"line\n" * 100_000
    with Processes().streaming(["cat"], env=ENV, stdin=asked) as streamed:
        assert b"".join(bytes(block) for block in streamed.blocks()) == asked
    before = len(os.listdir("/proc/self/fd"))
    with (
        pytest.raises(PlaceError, match="cannot run no-such-program: no such program"),
        Processes().streaming(["no-such-program"], env=ENV),
    ):
        pass
    assert len(os.listdir("/proc/self/fd")) <= before  # less where an earlier test's thread ends only now
