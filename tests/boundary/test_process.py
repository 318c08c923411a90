"""The one subprocess: what a child gets, and how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from keyrotor import lock
from keyrotor.boundary import proc
from keyrotor.boundary.process import Processes, environment
from keyrotor.boundary.signals import Signals
from keyrotor.errors import BusyError, Exit, InterruptedRun, PlaceError, RefusedError
from noting import until_noted

ENV = {"PATH": os.environ["PATH"]}


def sh(text: str, **how: object) -> tuple[int, bytes, bytes]:
    done = Processes().run(["sh", "-c", text], env=ENV, **how)
    return done.code, done.out, done.err


def lives_on(pid: int, seconds: float = 100.0) -> bool:
    """Whether a process is there after so long; a zombie is not."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return False
        if state in "ZX":
            return False
        time.sleep(0.01)
    return True


def test_the_environment_is_a_list_of_what_is_allowed() -> None:
    """The shell that direnv has filled carries the very key that is being rotated: a child does not get it."""
    ours = {
        "PATH": "/bin",
        "HOME": "/root",
        "LC_ALL": "C",
        "XDG_RUNTIME_DIR": "/run/user/0",
        "LITELLM_MASTER_KEY": "x",
        "LITELLM_SALT_KEY": "x",
        "SOPS_AGE_KEY": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "SOPS_KEYSERVICE": "tcp://x",
        "LD_PRELOAD": "x",
        "http_proxy": "x",
    }
    assert set(environment(ours)) == {"PATH", "HOME", "LC_ALL", "XDG_RUNTIME_DIR"}
    assert set(environment(ours, "SOPS_KEYSERVICE", prefixes=("SOPS_AGE_",))) == {
        *environment(ours),
        "SOPS_KEYSERVICE",
        "SOPS_AGE_KEY",
    }


def test_a_child_has_the_environment_it_was_given_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in our own environment does not leak through."""
    monkeypatch.setenv("LITELLM_MASTER_KEY", "sk-leaked-from-our-own-shell")
    code, out, _ = sh("env")
    assert code == 0
    assert b"LITELLM_MASTER_KEY" not in out
    assert b"sk-leaked" not in out


@pytest.mark.parametrize("size", [0, 1, 70_000, 1_000_000])
def test_stdin_arrives_whole(size: int) -> None:
    """Also where it is longer than a pipe."""
    data = os.urandom(size)
    done = Processes().run(["cat"], env=ENV, stdin=data)
    assert (done.code, done.out) == (0, data)


def test_a_child_that_reads_nothing_ends_well() -> None:
    """A program that closes its stdin at once is not our failure."""
    done = Processes().run(["true"], env=ENV, stdin=b"x" * 100_000)
    assert done.code == 0


def test_what_a_child_says_is_kept_apart() -> None:
    """stdout, stderr and the code are each told."""
    assert sh("echo out; echo err >&2; exit 3") == (3, b"out\n", b"err\n")


@pytest.mark.parametrize("code", [1, 2, 51, 128, 200, 255])
def test_every_exit_code_is_told(code: int) -> None:
    """No code is an exception here."""
    assert sh(f"exit {code}")[0] == code


def test_a_child_that_a_signal_ended_has_a_code_below_zero() -> None:
    """So that it is never taken for one of the program's own."""
    assert sh("kill -KILL $$")[0] == -signal.SIGKILL


def test_a_program_that_is_not_there_is_told() -> None:
    """As a PlaceError naming it."""
    with pytest.raises(PlaceError, match="no-such-program-here: no such program"):
        Processes().run(["no-such-program-here"], env=ENV)


def test_a_file_that_is_no_program_is_told(tmp_path: Path) -> None:
    """Neither an exec format error nor a missing interpreter comes out as something foreign."""
    broken = tmp_path / "broken"
    broken.write_text("#!/no/such/interpreter\n")
    broken.chmod(0o700)
    with pytest.raises(PlaceError):
        Processes().run([str(broken)], env=ENV)


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    """A working folder that has gone is the world's fault, in our words."""
    with pytest.raises(PlaceError):
        Processes().run(["true"], env=ENV, cwd=tmp_path / "gone")


def test_a_timeout_ends_the_child_and_its_children(tmp_path: Path) -> None:
    """The whole group: a hung pinentry is the child of a child."""
    note = tmp_path / "pids"
    began = time.monotonic()
    with pytest.raises(PlaceError, match=r"not done after 0\.5 s"):
        Processes(until_noted(note, 3)).run(
            ["sh", "-c", f"sh -c 'sleep 600 & echo $! >> {note}; wait' & echo $$ $! >> {note}; wait"],
            env=ENV,
            within=0.5,
        )
    assert time.monotonic() - began < 100
    pids = [int(word) for word in note.read_text().split()]
    assert len(pids) == 3
    assert not any(lives_on(pid) for pid in pids)


def test_a_grandchild_that_keeps_the_pipe_does_not_keep_us(tmp_path: Path) -> None:
    """A program that ends and leaves a child with its stdout: bounded by `within`, not by the child's life."""
    note = tmp_path / "pid"
    began = time.monotonic()
    with suppress(PlaceError):
        Processes(until_noted(note)).run(["sh", "-c", f"sleep 600 & echo $! > {note}"], env=ENV, within=1.0)
    assert time.monotonic() - began < 100
    with suppress(ProcessLookupError):
        os.kill(int(note.read_text()), signal.SIGKILL)


def test_a_wait_that_is_interrupted_ends_the_child(tmp_path: Path) -> None:
    """What `rest` raises comes out, and nothing goes on behind our back."""
    note = tmp_path / "pid"

    def rest(_: float) -> None:
        if note.exists() and note.read_text().strip():
            raise InterruptedRun("SIGINT")
        time.sleep(0.005)

    with pytest.raises(InterruptedRun):
        Processes(rest).run(["sh", "-c", f"echo $$ > {note}; sleep 600"], env=ENV)
    assert not lives_on(int(note.read_text()))


def test_a_child_leads_a_session_of_its_own() -> None:
    """A Ctrl-C in our terminal is ours to answer, not the child's."""
    program = "import os; print(os.getsid(0), os.getpgrp(), os.getpid())"
    done = Processes().run([sys.executable, "-c", program], env=ENV)
    session, group, pid = map(int, done.out.split())
    assert session == group == pid
    assert session != os.getsid(0)


def test_a_child_works_where_it_is_told(tmp_path: Path) -> None:
    """sops looks for its rules from there upward."""
    assert Path(os.fsdecode(sh("pwd -P", cwd=tmp_path)[1].strip())) == tmp_path.resolve()


def test_only_the_lock_is_inherited(tmp_path: Path) -> None:
    """No other descriptor of ours reaches a child."""
    with lock.held(tmp_path / "secret.env") as descriptor:
        test = ["sh", "-c", f"test -e /proc/self/fd/{descriptor}"]
        assert Processes().run(test, env=ENV).code == 1
        holding = Processes()
        holding.lock = descriptor
        assert holding.run(test, env=ENV).code == 0


def test_a_folder_is_locked_once(tmp_path: Path) -> None:
    """The second taker is told who has it; when the first lets go it is free, whoever inherited it."""
    with lock.held(tmp_path / "secret.env"):
        with pytest.raises(BusyError, match=f"pid {os.getpid()}") as raised:
            lock.held(tmp_path / "another.env").__enter__()
        assert raised.value.exit is Exit.BUSY
    with lock.held(tmp_path / "secret.env"):
        pass


def test_a_folder_that_cannot_be_locked_is_refused(tmp_path: Path) -> None:
    """A folder that is not there: RefusedError, nothing was changed."""
    with pytest.raises(RefusedError, match="cannot lock"):
        lock.held(tmp_path / "gone" / "secret.env").__enter__()


RUN = """
import os
from pathlib import Path
from keyrotor import lock
from keyrotor.boundary.process import Processes
processes = Processes()
with lock.held(Path({folder!r}) / "secret.env") as processes.lock:
    processes.run(["sh", "-c", "echo $$ > {note}; exec sleep 600"], env=dict(PATH=os.environ["PATH"]))
"""


def test_a_child_that_outlives_a_killed_run_holds_its_lock(tmp_path: Path) -> None:
    """kill -9 of the run, and its child still counts as one until it ends."""
    folder, note = tmp_path / "secrets", tmp_path / "pid"
    folder.mkdir()
    run = subprocess.Popen([sys.executable, "-c", RUN.format(folder=str(folder), note=note)])
    child = 0
    try:
        for _ in range(10_000):
            if note.exists() and note.read_text().strip():
                break
            time.sleep(0.01)
        child = int(note.read_text())
        run.kill()
        run.wait()
        with pytest.raises(BusyError):
            lock.held(folder / "secret.env").__enter__()
    finally:
        run.kill()
        run.wait()
        if child:
            os.kill(child, signal.SIGKILL)
    assert not lives_on(child)
    with lock.held(folder / "secret.env"):
        pass


# --- signals ---------------------------------------------------------------------------------------------------


@pytest.fixture
def signals() -> Signals:
    """Listening, with the former handlers put back afterwards."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE)
    former = {number: signal.getsignal(number) for number in numbers}
    made = Signals()
    made.listen()
    yield made
    for number, handler in former.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_ends_a_wait_at_once(signals: Signals, number: signal.Signals) -> None:
    """A wait of ten minutes ends long before, naming the signal."""
    signals.rest(0.0)
    killer = subprocess.Popen(["sh", "-c", f"sleep 0.1; kill -{int(number)} {os.getpid()}"])
    began = time.monotonic()
    with pytest.raises(InterruptedRun, match=number.name):
        signals.rest(600.0)
    assert time.monotonic() - began < 100
    killer.wait()
    assert not signals.must_stop_now


def test_a_signal_is_told_once(signals: Signals) -> None:
    """After it was raised the way back can wait again."""
    os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(InterruptedRun):
        signals.raise_if_asked()
    signals.raise_if_asked()
    signals.rest(0.01)


def test_the_second_signal_stops_now(signals: Signals) -> None:
    """Forward, the second one is not to be waited out."""
    for stops in (False, True):
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(InterruptedRun):
            signals.raise_if_asked()
        assert signals.must_stop_now is stops


def test_in_a_rollback_the_first_is_answered_and_the_second_stops() -> None:
    """Finishing what is in hand comes first; somebody is told so."""
    said: list[str] = []
    signals = Signals(said.append)
    former = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, signals._caught)
    try:
        signals.is_firm = True
        os.kill(os.getpid(), signal.SIGTERM)
        signals.rest(0.01)
        assert len(said) == 1
        assert "SIGTERM" in said[0]
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(InterruptedRun):
            signals.rest(0.01)
        assert signals.must_stop_now
    finally:
        signal.signal(signal.SIGTERM, former)


def test_who_puts_everything_back_says_so_to_the_next_signal(signals: Signals) -> None:
    """The one that led there does not count; only the one after the answer stops it."""
    said: list[str] = []
    signals._say = said.append
    os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(InterruptedRun):
        signals.rest(0.01)
    signals.stand_firm("putting everything back")
    os.kill(os.getpid(), signal.SIGTERM)
    signals.rest(0.01)
    assert said == ["SIGTERM: putting everything back; once more stops now"]
    os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(InterruptedRun):
        signals.rest(0.01)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGPIPE])
def test_a_hangup_and_a_closed_pipe_stop_nothing(signals: Signals, number: signal.Signals) -> None:
    """A run outlives the terminal that it was started in."""
    os.kill(os.getpid(), number)
    signals.rest(0.06)
    assert not signals.must_stop_now


# --- /proc -----------------------------------------------------------------------------------------------------


def test_a_processs_own_variable_is_read() -> None:
    """As it was at its start; a longer name is another variable; an empty one is there."""
    from keyrotor.boundary.plaintext import unseal

    child = subprocess.Popen(["sleep", "60"], env={**ENV, "A_KEY": "one=two", "A_KEY_2": "other", "EMPTY": ""})
    try:
        for _ in range(20_000):
            if proc.name(child.pid) == "sleep":
                break
            time.sleep(0.005)
        found = {name: proc.variable(child.pid, name) for name in ("A_KEY", "EMPTY", "A_KE", "NONE")}
        assert {name: unseal(secret) for name, secret in found.items() if secret is not None} == {
            "A_KEY": b"one=two",
            "EMPTY": b"",
        }
        assert proc.groups(child.pid) == proc.groups(os.getpid())
        assert proc.is_alive(child.pid)
    finally:
        child.kill()
        child.wait()
    assert not proc.is_alive(child.pid)
    assert proc.groups(child.pid) == frozenset()
    assert proc.name(child.pid) == "?"
    with pytest.raises(OSError):
        proc.variable(child.pid, "A_KEY")


@pytest.mark.parametrize("family", ["127.0.0.1", "::1"])
def test_who_listens_is_found(family: str) -> None:
    """The processes that have the socket open, for either family; a connection is no listener."""
    import socket

    with socket.socket(socket.AF_INET6 if ":" in family else socket.AF_INET) as server:
        try:
            server.bind((family, 0))
        except OSError:
            pytest.skip(f"no {family} here")
        port = server.getsockname()[1]
        assert proc.holders(proc.listening(port)) == frozenset()
        server.listen()
        assert proc.holders(proc.listening(port)) == {os.getpid()}
        client = socket.create_connection((family, port))
        accepted = server.accept()[0]
    assert proc.holders(proc.listening(port)) == frozenset()  # a connection to it lives on, and nobody listens
    client.close()
    accepted.close()


def test_who_holds_a_lock_is_found(tmp_path: Path) -> None:
    """Pid and start of whoever took it; nobody when it is free."""
    assert proc.lock_holder(tmp_path) is None
    with lock.held(tmp_path / "secret.env"):
        holder = proc.lock_holder(tmp_path)
        assert holder is not None
        assert holder.pid == os.getpid()
        assert holder.since is not None
    assert proc.lock_holder(tmp_path) is None
    assert proc.lock_holder(tmp_path / "gone") is None
