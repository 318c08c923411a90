"""A signal before a run listens, and one after all is told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SRC = Path(__file__).parents[2] / "src"
# Something of ours that goes when Python is nearly gone itself; then the handlers of the run are gone already.
LATE = """
import os, signal
from keyrotor.boundary.signals import Signals
class Late:
    def __del__(self, kill=os.kill, pid=os.getpid(), number=signal.{name}):
        kill(pid, number)
Signals().listen()
late = Late()
raise SystemExit(7)
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_after_the_last_word_changes_nothing(name: str) -> None:
    """The exit code tells how the command ended, though Python takes a while to go."""
    code = LATE.format(name=name)
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(SRC)}, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (7, b"")


@pytest.mark.parametrize("is_lost", [False, True])
def test_ctrl_c_before_a_run_listens_ends_the_command_by_itself(tmp_path: Path, is_lost: bool) -> None:
    """Without a word, as any program; also where Python would lose an exception, in a weak reference's callback."""
    import_slowly = "time.sleep(60)" if not is_lost else "weakref.finalize(Any(), lambda: time.sleep(60))"
    (tmp_path / "sitecustomize.py").write_text(f"""
import sys, time, weakref
class Any: pass
class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "keyrotor.world":
            open({str(tmp_path / "begun")!r}, "w").close()
            {import_slowly}
sys.meta_path.insert(0, Slow())
""")
    process = subprocess.Popen(
        [sys.executable, "-m", "keyrotor", "status"],
        env={"PYTHONPATH": f"{tmp_path}{os.pathsep}{SRC}", "HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    while not (tmp_path / "begun").exists():
        assert process.poll() is None
        time.sleep(0.01)
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=100)
    assert (process.returncode, out, err) == (-signal.SIGINT, b"", b"")
