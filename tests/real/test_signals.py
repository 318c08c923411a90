"""Signals, closed pipes and second runs, sent to the real program in the middle of its work."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time

import pytest
from on_lab import (
    Keyrotor,
    MakeLab,
    StartKeyrotor,
    differing,
    doors,
    events,
    hold,
    is_all,
    new_value,
    trace,
    tree,
    until,
    until_said,
    wait_for,
)

from keyrotor.demo.lab import Lab
from keyrotor.demo.user_systemd import UserManager


def heal(lab: Lab, manager: UserManager) -> None:
    """A person has mended the gateway: the process that never listened is started again."""
    lab.heal()
    manager.systemctl("restart", str(lab.unit))


def new_of(lab: Lab, old: str) -> str:
    """What stands in the encrypted file while a run is under way."""
    value = lab.current_key()
    assert value != old
    return value


def in_the_wait(
    make_lab: MakeLab, start_keyrotor: StartKeyrotor, *options: str
) -> tuple[Lab, subprocess.Popen[str], str]:
    """A rotation that waits for a gateway which does not come up; the lab, the process, the old key."""
    lab = make_lab(within="600s")
    old = lab.current_key()
    lab.sicken()
    process = start_keyrotor(lab, "rotate", "--yes", *options)
    wait_for(lab, "moving litellm:accepts:new", process)
    time.sleep(0.2)
    return lab, process, old


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_wait_turns_the_run_back(
    make_lab: MakeLab, start_keyrotor: StartKeyrotor, number: signal.Signals
) -> None:
    """The first one ends the wait at once: 20, all old, proven."""
    lab, process, old = in_the_wait(make_lab, start_keyrotor, "--json")
    new = new_of(lab, old)
    process.send_signal(number)
    out, err = process.communicate(timeout=100)
    assert process.returncode == 20, (out, err)
    told = json.loads(out)
    assert told["outcome"] == "rolled-back"
    assert number.name in told["reason"]
    is_all(lab, old, new)


def test_the_second_signal_stops_now_and_resume_finishes(
    make_lab: MakeLab, start_keyrotor: StartKeyrotor, keyrotor: Keyrotor, manager: UserManager
) -> None:
    """22 at once, with both commands; the run is owed in its direction, `resume` ends it all old."""
    lab, process, old = in_the_wait(make_lab, start_keyrotor)
    new = new_of(lab, old)
    # The way back must take long enough for the second signal to come in it: the old key does not come up either.
    lab.sick_file.write_text("nobody")
    process.send_signal(signal.SIGINT)
    wait_for(lab, "moving litellm:accepts:old", process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=100)  # the wait would last for ten minutes
    assert process.returncode == 22, (out, err)
    run = events(lab)[-1][0]
    assert f"keyrotor resume {run}" in out
    assert f"keyrotor rollback {run}" in out
    assert keyrotor(lab, "rotate", "--yes").returncode == 22
    heal(lab, manager)
    assert keyrotor(lab, "resume").returncode == 20
    is_all(lab, old, new)


def test_two_signals_in_the_wait_leave_the_run_on_its_way(
    make_lab: MakeLab, start_keyrotor: StartKeyrotor, keyrotor: Keyrotor, manager: UserManager
) -> None:
    """Both before the first is answered: 22, still forward; healed, `resume` ends all new."""
    lab, process, old = in_the_wait(make_lab, start_keyrotor)
    process.send_signal(signal.SIGSTOP)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGCONT)
    out, err = process.communicate(timeout=100)
    assert process.returncode == 22, (out, err)
    assert "turned-back" not in trace(lab)
    heal(lab, manager)
    done = keyrotor(lab, "resume")
    new = lab.current_key()
    assert done.returncode == 0, (done.stdout, done.stderr)
    is_all(lab, new, old)


def test_a_signal_during_a_rollback_is_answered_and_ignored_once(
    make_lab: MakeLab, start_keyrotor: StartKeyrotor
) -> None:
    """The run was turned back by a failure; one SIGTERM is answered, and the rollback is finished: 20."""
    lab = make_lab()
    old, new = lab.current_key(), new_value()
    go = hold(lab, "test $KEYROTOR_VALUE = old || exit 1")
    process = start_keyrotor(lab, "rotate", "--yes", "--value-stdin", stdin=subprocess.PIPE)
    assert process.stdin
    process.stdin.write(new)
    process.stdin.close()
    process.stdin = None
    wait_for(lab, "moving meanwhile:old", process)
    process.send_signal(signal.SIGTERM)
    until_said(process.stdout, "SIGTERM: finishing what is in hand first; once more stops now")
    go.touch()
    out, err = process.communicate(timeout=100)
    assert process.returncode == 20, (out, err)
    is_all(lab, old, new)


@pytest.mark.parametrize("stream", ["hangup", "pipe"])
def test_a_lost_terminal_does_not_stop_a_run(make_lab: MakeLab, start_keyrotor: StartKeyrotor, stream: str) -> None:
    """SIGHUP, or a reader of the output that went away: the rotation is finished, exit 0."""
    lab = make_lab()
    old = lab.current_key()
    go = hold(lab, before="systemd-unit")
    process = start_keyrotor(lab, "rotate", "--yes")
    wait_for(lab, "moving meanwhile:new", process)
    if stream == "hangup":
        os.killpg(process.pid, signal.SIGHUP)
    else:
        for end in (process.stdout, process.stderr):
            assert end
            end.close()
        process.stdout = process.stderr = None
    go.touch()
    assert process.wait(100) == 0
    is_all(lab, lab.current_key(), old)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_preflight_changes_nothing(
    make_lab: MakeLab, start_keyrotor: StartKeyrotor, number: signal.Signals
) -> None:
    """Asked to stop while it waits for its first child, a slow sops: 1, said, nothing changed."""
    lab = make_lab()
    slow, reached = lab.root / "slow-sops", lab.root / "gateway" / "reached"
    slow.write_text(f'#!/bin/sh\ntouch {reached}\nsleep 600\nexec {lab.sops} "$@"\n')
    slow.chmod(0o755)
    before = tree(lab)
    process = start_keyrotor(lab, "rotate", "--yes", env={"KEYROTOR_SOPS": str(slow)})
    until(process, reached.exists)
    process.send_signal(number)
    out, err = process.communicate(timeout=100)
    assert process.returncode == 1, (out, err)
    assert "nothing was changed" in err
    assert differing(before, tree(lab)) == []


def test_the_second_of_two_rotations_is_busy(
    make_lab: MakeLab, start_keyrotor: StartKeyrotor, keyrotor: Keyrotor
) -> None:
    """30 at once, naming the first one's pid and start, whatever its state folder; the first is not disturbed."""
    lab = make_lab()
    old = lab.current_key()
    go = hold(lab, before="systemd-unit")
    process = start_keyrotor(lab, "rotate", "--yes")
    wait_for(lab, "moving meanwhile:new", process)
    for env in ({}, {"KEYROTOR_STATE_DIR": str(lab.home / "other-state")}):
        second = keyrotor(lab, "rotate", "--yes", "--json", env=env)
        assert second.returncode == 30, (second.stdout, second.stderr)
        assert process.poll() is None
        assert f"pid {process.pid}" in second.stderr
        assert "started 2" in second.stderr
        assert json.loads(second.stdout)["outcome"] == "busy"
    assert keyrotor(lab, "status").returncode == 0
    go.touch()
    process.communicate(timeout=100)
    assert process.returncode == 0
    assert doors(lab, lab.current_key(), old) == [200, 400]
