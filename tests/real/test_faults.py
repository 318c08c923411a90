"""Gateways and units that misbehave: each fault ends as the architecture says, on a real `systemd --user`."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from on_lab import (
    LONG,
    Keyrotor,
    MakeLab,
    add_command,
    differing,
    doors,
    edit,
    is_all,
    listens,
    new_value,
    trace,
    tree,
)

from keyrotor.demo import gateway
from keyrotor.demo.lab import Lab
from keyrotor.demo.runner import python_program
from keyrotor.demo.user_systemd import UserManager

# From the drop-in on, the unit's process is another one than the lab made.
RESET = "[Service]\nExecStart=\nExecStart="


def rotate(keyrotor: Keyrotor, lab: Lab, new: str, code: int) -> dict[str, object]:
    """Rotate to this value and want this exit code; the JSON report."""
    done = keyrotor(lab, "rotate", "--yes", "--json", "--value-stdin", input=new)
    assert done.returncode == code, (done.stdout, done.stderr)
    assert new not in done.stdout + done.stderr
    told: dict[str, object] = json.loads(done.stdout)
    assert told["exit"] == code
    return told


def drop_in(manager: UserManager, lab: Lab, text: str) -> Path:
    """Somebody's drop-in for the lab's unit, taken up at the next restart."""
    path = manager.units / f"{lab.unit}.d" / "mine.conf"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    manager.systemctl("daemon-reload")
    return path


def embedded(lab: Lab, *options: str) -> str:
    words = [*python_program(gateway.__file__), "--port", str(lab.port), *options]
    return " ".join(f'"{word}"' for word in words)


def on_new(lab: Lab, manager: UserManager, text: str, *, kept: bool = False) -> None:
    """A place above the unit: the drop-in comes with the new value and, unless kept, goes with the old one."""
    folder = manager.units / f"{lab.unit}.d"
    stored = lab.root / "drop-in"
    stored.write_text(text)
    reload = f"XDG_RUNTIME_DIR={manager.runtime} systemctl --user daemon-reload"
    gone = "true" if kept else f"rm -rf {folder}"
    there = f"mkdir -p {folder} && cp {stored} {folder}/mine.conf"
    add_command(lab, f"if [ $KEYROTOR_VALUE = new ]; then {there}; else {gone}; fi; {reload}", before="systemd-unit")


def wait_for_answer(lab: Lab) -> None:
    deadline = time.monotonic() + 100
    while lab.status(None) is None:
        assert time.monotonic() < deadline, "the gateway never answered"
        time.sleep(0.02)


def is_back(lab: Lab, old: str, new: str, before: object) -> None:
    """All old, proven, and every file as it was."""
    is_all(lab, old, new)
    assert [name for name in differing(before, tree(lab, exact=False)) if "/.git/" not in name] == []  # type: ignore[arg-type]


def test_an_old_key_that_stays_alive_is_not_turned_back(make_lab: MakeLab, keyrotor: Keyrotor, tmp_path: Path) -> None:
    """23: the new key works everywhere, the old one is still accepted; `rollback` by name is offered and works."""
    second = tmp_path / "second"
    lab = make_lab(gateway_options=("--also", str(second)), unit_lines="TimeoutStopSec=1\n", within="13.5s")
    old, new = lab.current_key(), new_value()
    second.write_text(old)
    told = rotate(keyrotor, lab, new, 23)
    assert told["outcome"] == "old-alive"
    assert lab.current_key() == new
    assert doors(lab, new, old) == [200, 200]
    assert new in lab.settings.read_text()
    status = keyrotor(lab, "status")
    assert (status.returncode, "NOT PROVEN DEAD" in status.stdout) == (0, True)
    second.unlink()
    assert keyrotor(lab, "rollback", str(told["run"]), "--yes").returncode == 0
    is_all(lab, old, new)


@pytest.mark.parametrize(
    ("options", "said"),
    [(("--open",), "open"), (("--answer", "503"), "no clear answer"), (("--answer", "200"), "")],
)
def test_a_door_that_proves_nothing_is_refused(
    make_lab: MakeLab, keyrotor: Keyrotor, options: tuple[str, ...], said: str
) -> None:
    """An open gateway, one that answers 503 or 200 to everything: 3 in preflight, nothing changed."""
    lab = make_lab(start=False, gateway_options=options)
    lab.start()
    wait_for_answer(lab)
    before = tree(lab)
    told = rotate(keyrotor, lab, new_value(), 3)
    assert said in str(told["reason"])
    assert differing(before, tree(lab)) == []


def test_a_door_that_opens_with_the_restart_is_rolled_back(
    make_lab: MakeLab, keyrotor: Keyrotor, manager: UserManager
) -> None:
    """The restarted gateway lets everybody in: turned back, 20, once the former one stands again."""
    lab = make_lab()
    on_new(lab, manager, f"{RESET}{embedded(lab, '--open')}\n")
    old, new, before = lab.current_key(), new_value(), tree(lab, exact=False)
    told = rotate(keyrotor, lab, new, 20)
    assert "open" in str(told["reason"])
    is_back(lab, old, new, before)


def test_a_door_that_stays_open_is_stuck(make_lab: MakeLab, keyrotor: Keyrotor, manager: UserManager) -> None:
    """21 with a row for each place and both commands; the files are old; mended, `resume` ends rolled back."""
    lab = make_lab()
    on_new(lab, manager, f"{RESET}{embedded(lab, '--open')}\n", kept=True)
    old, new = lab.current_key(), new_value()
    told = rotate(keyrotor, lab, new, 21)
    run = str(told["run"])
    assert told["outcome"] == "stuck"
    assert {place["state"] for place in told["places"]} >= {"moved", "failed"}  # type: ignore[attr-defined,index]
    assert lab.current_key() == old
    assert old in lab.env_file.read_text()
    said = keyrotor(lab, "status").stdout
    assert f"STUCK: run {run}" in said
    assert f"keyrotor resume {run}" in said
    assert f"keyrotor rollback {run}" in said
    assert keyrotor(lab, "rotate", "--yes").returncode == 22
    (manager.units / f"{lab.unit}.d" / "mine.conf").unlink()
    manager.systemctl("daemon-reload")
    manager.systemctl("restart", str(lab.unit))
    lab.wait_until_healthy()
    assert keyrotor(lab, "resume").returncode == 20
    is_all(lab, old, new)


def test_a_stuck_run_can_be_abandoned(make_lab: MakeLab, keyrotor: Keyrotor, manager: UserManager) -> None:
    """After a person has mended it: closed as it is, with the reason on record, and rotations go again."""
    lab = make_lab()
    on_new(lab, manager, f"{RESET}{embedded(lab, '--open')}\n", kept=True)
    run = str(rotate(keyrotor, lab, new_value(), 21)["run"])
    (manager.units / f"{lab.unit}.d" / "mine.conf").unlink()
    lab.playbook.write_text(lab.run("/usr/bin/git", "show", f"HEAD:{lab.playbook.relative_to(lab.project)}"))
    manager.systemctl("daemon-reload")
    manager.systemctl("restart", str(lab.unit))
    lab.wait_until_healthy()
    assert keyrotor(lab, "abandon", run).returncode == 2
    assert keyrotor(lab, "abandon", run, "--reason", "mended by hand").returncode == 0
    assert "mended by hand" in keyrotor(lab, "log", run).stdout
    assert keyrotor(lab, "rotate", "--yes").returncode == 0


def test_a_door_that_only_fails_is_waited_for_and_then_rolled_back(
    make_lab: MakeLab, keyrotor: Keyrotor, manager: UserManager
) -> None:
    """503 after the restart proves nothing in either direction: the deadline passes, then 20."""
    lab = make_lab(unit_lines="TimeoutStopSec=1\n", within="14s")
    on_new(lab, manager, f"{RESET}{embedded(lab, '--answer', '503')}\n")
    old, new, before = lab.current_key(), new_value(), tree(lab, exact=False)
    told = rotate(keyrotor, lab, new, 20)
    assert "503" in str(told["reason"])
    assert 14 < float(str(told["seconds"])) < 114
    is_back(lab, old, new, before)


@pytest.mark.parametrize("restarts", ["on-failure", "no"])
def test_a_unit_that_dies_again_and_again_is_noticed_at_once(
    make_lab: MakeLab, keyrotor: Keyrotor, manager: UserManager, restarts: str
) -> None:
    """A crash loop says `active` in between: turned back at once, its last lines shown, no value in them."""
    lab = make_lab(within="600s")
    crash = 'sleep 0.3; echo "refusing $LITELLM_MASTER_KEY today"; exit 3'
    sure = lab.root / "crash"
    sure.write_text(f"#!/bin/sh\n{crash}\n")
    sure.chmod(0o755)
    on_new(lab, manager, f"[Service]\nExecStart=\nExecStart={sure}\nRestartSec=0\nRestart={restarts}\n")
    old, new, before = lab.current_key(), new_value(), tree(lab, exact=False)
    told = rotate(keyrotor, lab, new, 20)
    assert float(str(told["seconds"])) < 100
    assert "today" in str(told["reason"])
    assert new not in str(told)
    assert new in lab.log.read_text()
    lab.log.write_text("")
    is_back(lab, old, new, before)


def test_a_start_limit_that_was_hit_does_not_stop_a_rollback(
    make_lab: MakeLab, keyrotor: Keyrotor, manager: UserManager
) -> None:
    """The crash loop uses up the starts; the rollback clears the limit first."""
    lab = make_lab(within="60s")
    crash = lab.root / "crash"
    crash.write_text("#!/bin/sh\nexit 3\n")
    crash.chmod(0o755)
    limit = "[Unit]\nStartLimitIntervalSec=600\nStartLimitBurst=3\n"
    drop = manager.units / f"{lab.unit}.d" / "limit.conf"
    drop.parent.mkdir(exist_ok=True)
    drop.write_text(limit)
    on_new(lab, manager, f"[Service]\nExecStart=\nExecStart={crash}\nRestartSec=0\n")
    edit(lab.playbook, f"rm -rf {drop.parent}", f"rm -f {drop.parent}/mine.conf")
    old, new, before = lab.current_key(), new_value(), tree(lab, exact=False)
    rotate(keyrotor, lab, new, 20)
    is_back(lab, old, new, before)
    assert "restart" in manager.systemctl("cat", str(lab.unit)).lower()


@pytest.mark.parametrize(
    "lines",
    [
        "EnvironmentFile=\nEnvironment=LITELLM_MASTER_KEY=OLD\n",
        "ExecStart=\nExecStart=/usr/bin/env LITELLM_MASTER_KEY=OLD GATEWAY\n",
    ],
)
def test_a_drop_in_that_overrides_the_key_is_found(
    make_lab: MakeLab, keyrotor: Keyrotor, manager: UserManager, lines: str
) -> None:
    """The restarted process still has the old key: 20, naming the cause, long before the deadline.

    A later EnvironmentFile is told before anything is done (test_audit_unit.py).
    """
    lab = make_lab(within="600s")
    old, new, before = lab.current_key(), new_value(), tree(lab, exact=False)
    drop_in(
        manager,
        lab,
        "[Service]\n" + lines.replace("OLD", old).replace("GATEWAY", embedded(lab)),
    )
    told = rotate(keyrotor, lab, new, 20)
    assert "overrides it" in str(told["reason"])
    assert float(str(told["seconds"])) < 100
    is_back(lab, old, new, before)


@contextmanager
def stranger(lab: Lab) -> Iterator[int]:
    """Another process that answers on the lab's port, with the lab's own key."""
    words = [*python_program(gateway.__file__), "--port", str(lab.port)]
    process = subprocess.Popen(words, env={"LITELLM_MASTER_KEY": lab.current_key()})
    try:
        wait_for_answer(lab)
        yield process.pid
    finally:
        process.kill()
        process.wait()


def test_a_port_that_another_process_answers_is_refused(
    make_lab: MakeLab, keyrotor: Keyrotor, manager: UserManager
) -> None:
    """3, naming the stranger's pid: the unit is up, but the answers are not its own."""
    lab = make_lab(start=False)
    drop_in(manager, lab, "[Service]\nExecStart=\nExecStart=/bin/sleep 600\n") if (manager.units).exists() else None
    lab.start()
    with stranger(lab) as pid:
        before = tree(lab)
        told = rotate(keyrotor, lab, new_value(), 3)
        assert f"pid {pid}" in str(told["reason"])
        assert differing(before, tree(lab)) == []


SQUATTER = """
import pathlib, socket, sys, time
port, taken, free = int(sys.argv[1]), *map(pathlib.Path, sys.argv[2:])
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
while True:
    try: s.bind(("127.0.0.1", port)); break
    except OSError: time.sleep(0.001)
s.listen(); taken.touch()
while not free.exists(): time.sleep(0.01)
"""


def test_a_port_that_is_taken_in_mid_run_is_rolled_back(make_lab: MakeLab, keyrotor: Keyrotor, tmp_path: Path) -> None:
    """Somebody else is faster than the restarted unit: its process dies, the port is free again, all old.

    The unit waits until it is taken, and the way back makes him let go of it."""
    wanted, taken, free = (tmp_path / name for name in ("wanted", "taken", "free"))
    wait = f"ExecStartPre=/bin/sh -c 'until [ ! -e {wanted} ] || [ -e {taken} ]; do sleep 0.05; done'\n"
    lab = make_lab(unit_lines=f"TimeoutStopSec=1\nRestart=no\n{wait}", within="300s")
    old, new = lab.current_key(), new_value()
    let_go = f"touch {free}; while {listens(lab)}; do sleep 0.05; done"
    add_command(lab, f"[ $KEYROTOR_VALUE = new ] || {{ {let_go}; }}", before="systemd-unit", more=LONG)
    wanted.touch()
    squatter = subprocess.Popen([sys.executable, "-c", SQUATTER, str(lab.port), taken, free])
    try:
        told = rotate(keyrotor, lab, new, 20)
    finally:
        squatter.kill()
        squatter.wait()
    assert told["outcome"] == "rolled-back"
    assert taken.exists()
    is_all(lab, old, new)


def test_a_unit_that_restarts_by_itself_in_mid_run_holds_the_new_key(make_lab: MakeLab, keyrotor: Keyrotor) -> None:
    """Its env file is new already: the restart finds nothing to do, or does it again; the run ends rotated."""
    lab = make_lab()
    old, new, pid = lab.current_key(), new_value(), lab.runner.main_pid()
    add_command(lab, f"[ $KEYROTOR_VALUE = new ] && kill -9 {pid}; sleep 1.5; exit 0", before="systemd-unit")
    rotate(keyrotor, lab, new, 0)
    is_all(lab, new, old)
    assert "moved systemd-unit:new" in trace(lab)


def test_a_rollback_takes_back_what_crashed_onto_the_new_key(make_lab: MakeLab, keyrotor: Keyrotor) -> None:
    """Killed by somebody before its turn, restarted by systemd onto the new key, never moved by us: it is put back."""
    lab = make_lab()
    old, new, pid, before = lab.current_key(), new_value(), lab.runner.main_pid(), tree(lab, exact=False)
    crash = f"[ $KEYROTOR_VALUE = old ] && exit 0; kill -9 {pid}; sleep 1.5; exit 1"
    text = lab.playbook.read_text()
    add_command(lab, crash, before="systemd-unit")
    told = rotate(keyrotor, lab, new, 20)
    lab.playbook.write_text(text)
    assert "moving systemd-unit:new" not in trace(lab)
    assert told["outcome"] == "rolled-back"
    is_back(lab, old, new, before)


def test_a_slow_gateway_is_waited_for(make_lab: MakeLab, keyrotor: Keyrotor) -> None:
    """Three seconds until it listens: no timeout, no second restart, and the outage is told."""
    lab = make_lab(gateway_options=("--delay", "3"))
    old, new = lab.current_key(), new_value()
    told = rotate(keyrotor, lab, new, 0)
    assert 3 <= float(str(told["outage"])) < 100
    assert trace(lab).count("moving systemd-unit:new") == 1
    is_all(lab, new, old)


def test_a_wait_that_cannot_be_long_enough_is_refused(make_lab: MakeLab, keyrotor: Keyrotor) -> None:
    """`within` shorter than the unit's stop timeout and a start: 3, naming both."""
    lab = make_lab(within="6s")
    before = tree(lab)
    told = rotate(keyrotor, lab, new_value(), 3)
    assert "TimeoutStopSec" in str(told["reason"])
    assert differing(before, tree(lab)) == []


def test_no_one_listens_on_a_port_behind_a_stopped_unit(make_lab: MakeLab, keyrotor: Keyrotor) -> None:
    """A unit that is not running: 3, for the old key cannot be proven first."""
    lab = make_lab(start=False)
    lab.start()
    lab.wait_until_healthy()
    subprocess.run(
        ["systemctl", "--user", "stop", str(lab.unit)], check=True, env={**lab.environment()}, capture_output=True
    )
    before = tree(lab)
    told = rotate(keyrotor, lab, new_value(), 3)
    assert "inactive" in str(told["reason"])
    assert differing(before, tree(lab)) == []
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", lab.port)) != 0
