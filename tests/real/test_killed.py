"""Killed at any moment, by strace, at a mutating system call of the real program: what is owed can be paid.

The points are the calls of a reference run. A run in CI takes a sample of them, evenly spread. KEYROTOR_KILL=all
takes every one, both ways; KEYROTOR_KILL=files every one outside of SQLite, where a point is like its neighbour;
KEYROTOR_KILL=20 as many in each direction. KEYROTOR_KILL_LOG=FILE gets the figures.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from on_lab import (
    LONG,
    Keyrotor,
    MakeLab,
    StartKeyrotor,
    add_command,
    events,
    hold,
    is_all,
    keyrotor_argv,
    keyrotor_env,
    missing,
    new_value,
    sleepers,
    wait_for,
)

from keyrotor.demo.lab import Lab

CALLS = (
    *("rename", "renameat2", "link", "linkat", "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir", "chmod", "fchmod"),
    *("fchmodat", "ftruncate", "fallocate", "fsync", "fdatasync", "write", "pwrite64", "clone", "clone3", "vfork"),
)
WAITS = ("clock_nanosleep",)  # each lies in a wait for a child or for the door
RECORD = ("pwrite64", "fdatasync", "clone3")  # SQLite's, and the threads by which children are fed
EXPLORED = os.environ.get("KEYROTOR_KILL", "8")

# Rotations follow each other faster than systemd's five starts in ten seconds.
NO_LIMIT = "[Unit]\nStartLimitIntervalSec=0\n"

Point = tuple[str, int]


@pytest.fixture
def strace() -> str:
    return shutil.which("strace") or missing("strace")


def traced(strace: str, lab: Lab, log: Path, value: str, *options: str) -> int:
    calls = ",".join((*CALLS, *WAITS))
    done = subprocess.run(
        [
            strace,
            "-o",
            str(log),
            "-s",
            "8192",
            "-e",
            f"trace={calls}",
            *options,
            *keyrotor_argv("rotate", "--yes", "--value-stdin"),
        ],
        check=False,
        cwd=lab.project,
        env=keyrotor_env(lab, PYTHONDONTWRITEBYTECODE="1"),
        input=value.encode(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=300,
    )
    return done.returncode


def points(log: Path, event: str) -> tuple[list[Point], list[Point]]:
    """Every call in a reference run's log, counted as strace counts: before the event is written, and after."""
    counts: Counter[str] = Counter()
    before: list[Point] = []
    after: list[Point] = []
    for line in log.read_text(errors="replace").splitlines():
        if match := re.match(r"(\w+)\(", line):
            counts[match[1]] += 1
            (after if after or (match[1] == "pwrite64" and event in line) else before).append(
                (match[1], counts[match[1]])
            )
    assert after, f"{event} was never recorded"
    return before, after


def sample(every: list[Point]) -> list[Point]:
    """All of the points, or some of them, evenly spread."""
    if EXPLORED == "all":
        return every
    if EXPLORED == "files":
        return [point for point in every if point[0] not in WAITS + RECORD]
    step = max(1, len(every) // int(EXPLORED))
    return every[step // 2 :: step]


def kill(strace: str, lab: Lab, point: Point, value: str, log: Path) -> bool:
    """Rotate for the first time and be killed on entering that call; whether it came so far."""
    shutil.rmtree(lab.home / ".local", ignore_errors=True)  # so that the calls are those of the reference run
    code = traced(strace, lab, log, value, "-e", f"inject={point[0]}:signal=KILL:when={point[1]}")
    _wait_for_orphans(lab)
    return code in (-signal.SIGKILL, 128 + signal.SIGKILL)


def _wait_for_orphans(lab: Lab, within: float = 100.0) -> None:
    """Children that outlive a killed run hold its lock: wait until none does."""
    folder = os.open(lab.secret_file.parent, os.O_RDONLY)
    try:
        deadline = time.monotonic() + within
        while True:
            with contextlib.suppress(BlockingIOError):
                return fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            assert time.monotonic() < deadline, "an orphan never let go of the lock"
            time.sleep(0.02)
    finally:
        os.close(folder)


def is_owed(lab: Lab) -> bool:
    found = events(lab)
    return bool(found) and found[-1][1] not in ("closed", "forgotten")


def end(keyrotor: Keyrotor, lab: Lab, verb: str, old: str, new: str) -> str:
    """Pay what is owed in one of the two ways, look at everything; says how the run ended."""
    was_owed = is_owed(lab)
    outcome = "" if was_owed or not events(lab) else str(events(lab)[-1][2].get("outcome"))
    done = keyrotor(lab, verb)
    told = (done.returncode, done.stdout, done.stderr)
    if was_owed:
        outcome = str(events(lab)[-1][2].get("outcome"))
        wanted = {"rotated": 0, "rolled-back": 0 if verb == "rollback" else 20}
        assert verb == "resume" or outcome == "rolled-back", told
        assert done.returncode == wanted.get(outcome), told
    else:
        assert done.returncode == 0, told
        assert "nothing is owed" in done.stdout, told
    now = lab.current_key()
    assert now == (new if outcome == "rotated" and was_owed else now), told
    is_all(lab, now, new if now == old else old)
    return outcome if was_owed else "nothing owed"


def explore(every: list[Point], verbs: tuple[str, ...], attempt: Callable[[Point, str], str]) -> Counter[str]:
    """Try each point and verb; tells how often which end came. Raises AssertionError with all that were bad."""
    ends: Counter[str] = Counter()
    broken = []
    for at, point in enumerate(sample(every)):
        for verb in verbs if EXPLORED in ("all", "files") else (verbs[at % len(verbs)],):
            try:
                ends[f"{verb}: {attempt(point, verb)}"] += 1
            except AssertionError as error:
                broken.append(f"{point[0]}:{point[1]} {verb}: {error}")
            tell(f"{point[0]}:{point[1]} {verb} {dict(ends)}", *broken[-1:])
    tell(f"{len(every)} points, {len(sample(every))} tried, {dict(ends)}, {len(broken)} broken")
    assert not broken, "\n\n".join(broken)
    return ends


def tell(*lines: str) -> None:
    if chronicle := os.environ.get("KEYROTOR_KILL_LOG"):
        with open(chronicle, "a") as out:
            print(time.strftime("%X"), *lines, sep="\n  ", file=out)


@pytest.fixture
def attempt(keyrotor: Keyrotor, strace: str, tmp_path: Path) -> Callable[[Lab, Point, str], str]:
    """Kill a rotation at the point and end it by the verb; says how. What is left owed is mended for the next."""

    def tried(lab: Lab, point: Point, verb: str) -> str:
        old, new = lab.current_key(), new_value()
        came = kill(strace, lab, point, new, tmp_path / "killed.log")
        try:
            return end(keyrotor, lab, verb, old, new) + ("" if came else " (not killed)")
        except AssertionError:
            keyrotor(lab, "resume")
            keyrotor(lab, "rollback")
            raise

    return tried


Attempt = Callable[[Lab, Point, str], str]


def test_a_rotation_killed_at_any_call_is_finished_or_undone(
    make_lab: MakeLab, attempt: Attempt, strace: str, tmp_path: Path
) -> None:
    """Forward: `resume` ends all new, `rollback` all old; one key works, nothing is left over."""
    lab = make_lab(unit_lines=NO_LIMIT)
    log = tmp_path / "reference.log"
    assert traced(strace, lab, log, new_value()) == 0
    _, every = points(log, "opened")
    ends = explore(every, ("resume", "rollback"), partial(attempt, lab))
    assert ends["resume: rotated"]
    assert ends["rollback: rolled-back"]


def test_a_rollback_killed_at_any_call_is_finished(
    make_lab: MakeLab, attempt: Attempt, strace: str, tmp_path: Path
) -> None:
    """Going back: both ways end all old; one key works, nothing is left over."""
    lab = make_lab(unit_lines=NO_LIMIT)
    add_command(lab, 'test "$KEYROTOR_VALUE" = old')
    log = tmp_path / "reference.log"
    assert traced(strace, lab, log, new_value()) == 20
    _, every = points(log, "turned-back")
    ends = explore(every, ("resume", "rollback"), partial(attempt, lab))
    assert ends["resume: rolled-back"]
    assert not ends["resume: rotated"]


def test_a_first_run_killed_before_it_is_opened_is_in_nobodys_way(
    make_lab: MakeLab, keyrotor: Keyrotor, strace: str, tmp_path: Path
) -> None:
    """Nothing is owed and nothing changed; reading commands answer, the next rotation works and leaves nothing over."""
    lab = make_lab(unit_lines=NO_LIMIT)
    log = tmp_path / "reference.log"
    assert traced(strace, lab, log, new_value()) == 0

    def again(point: Point, _: str) -> str:
        old, new = lab.current_key(), new_value()
        assert kill(strace, lab, point, new_value(), tmp_path / "killed.log")
        assert lab.current_key() == old
        try:
            for command in ("status", "log", "resume"):
                told = keyrotor(lab, command)
                assert told.returncode == 0, (command, told.stderr)
            done = keyrotor(lab, "rotate", "--yes", "--value-stdin", input=new)
            assert done.returncode == 0, (done.stdout, done.stderr)
            is_all(lab, new, old)
            runs = [path.name for path in (lab.state / "runs").iterdir()]
            assert runs == [events(lab)[-1][0]]
            return "rotated"
        finally:
            shutil.rmtree(lab.home / ".local", ignore_errors=True)

    every, _ = points(log, "opened")
    state = [point for point in every if point[0] not in ("write", "clone", *WAITS)]
    explore(state, ("rotate",), again)


def test_what_is_owed_blocks_a_rotation_and_nothing_else(
    make_lab: MakeLab, keyrotor: Keyrotor, start_keyrotor: StartKeyrotor
) -> None:
    """While a run is owed, `rotate` answers 22 with both commands; reading commands answer as always. Before it was
    killed it was under way."""
    lab = make_lab()
    go = hold(lab, before="systemd-unit")
    process = start_keyrotor(lab, "rotate", "--yes")
    wait_for(lab, "moving meanwhile:new", process)
    run = events(lab)[-1][0]
    going = keyrotor(lab, "status").stdout.splitlines()[:2]
    where = f"run {run} of litellm-master-key, on the way to the new key"
    assert going == [
        f"UNDER WAY: {where}: process {process.pid} is at work",
        f"  how far it is: keyrotor log {run}",
    ]
    assert json.loads(keyrotor(lab, "status", "--json").stdout)["owed"][0]["state"] == "under-way"
    process.kill()
    process.wait()
    _wait_for_orphans(lab)
    refused = keyrotor(lab, "rotate", "--yes")
    assert refused.returncode == 22
    assert f"keyrotor resume {run}" in refused.stderr
    assert f"keyrotor rollback {run}" in refused.stderr
    assert keyrotor(lab, "plan").returncode in (3, 22)
    told = keyrotor(lab, "status")
    assert (told.returncode, told.stdout.splitlines()[0][:11]) == (0, "INTERRUPTED")
    assert keyrotor(lab, "log", run).returncode == 0
    go.touch()
    assert keyrotor(lab, "resume").returncode == 0


def test_a_child_that_outlives_a_killed_run_holds_the_lock(
    make_lab: MakeLab, keyrotor: Keyrotor, start_keyrotor: StartKeyrotor
) -> None:
    """30 until the orphan has ended, which `status` names, then `resume` finishes."""
    lab = make_lab()
    again = lab.root / "gateway" / "again"
    add_command(lab, f"[ -e {again} ] || exec sleep 600", before="systemd-unit", more=LONG)
    process = start_keyrotor(lab, "rotate", "--yes")
    wait_for(lab, "moving meanwhile:new", process)
    (child,) = sleepers(process)
    process.kill()
    process.wait()
    for command in (("rotate", "--yes"), ("resume",)):
        busy = keyrotor(lab, *command)
        assert busy.returncode == 30, (command, busy.stdout, busy.stderr)
    owed, ways = keyrotor(lab, "status").stdout.splitlines()[:2]
    assert owed.startswith("INTERRUPTED: run ")
    assert owed.endswith(f"; its lock is held by process {child}")
    assert ways.endswith(f"   once process {child} has ended")
    assert json.loads(keyrotor(lab, "status", "--json").stdout)["owed"][0]["state"] == "interrupted"
    os.kill(int(child), signal.SIGKILL)
    _wait_for_orphans(lab)
    again.touch()
    assert keyrotor(lab, "resume").returncode == 0
