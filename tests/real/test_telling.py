"""Who is told how a command ended: real rotations in a lab, with a real server, real commands and a real systemd."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from on_lab import (
    SRC,
    Keyrotor,
    MakeLab,
    StartKeyrotor,
    add_command,
    add_place,
    edit,
    events,
    hold,
    is_all,
    keyrotor_argv,
    keyrotor_env,
    new_value,
    sops_set,
    spellings,
    stray,
    until,
    until_said,
)

from inbox import Inbox, inbox
from keyrotor.demo.lab import Lab
from keyrotor.demo.user_systemd import UserManager

EVERYTHING = 'on = ["success", "failure", "tasks"]'
TIMER = {"INVOCATION_ID": "0123456789abcdef0123456789abcdef"}


@pytest.fixture
def server() -> Iterator[Inbox]:
    with inbox() as kept:
        yield kept


def add_notify(lab: Lab, text: str) -> None:
    lab.playbook.write_text(f"{lab.playbook.read_text()}\n[[notify]]\n{text}\n")


def hook(lab: Lab, server: Inbox, more: str = EVERYTHING) -> None:
    add_notify(lab, f'kind = "webhook"\nurl = "{server.url}/hidden"\nwithin = "5s"\n{more}')


def shell(lab: Lab, text: str, more: str = EVERYTHING, within: str = "5s") -> None:
    add_notify(lab, f'kind = "command"\nrun = ["/bin/sh", "-c", {json.dumps(text)}]\nwithin = "{within}"\n{more}')


def rotate(keyrotor: Keyrotor, lab: Lab, code: int, new: str = "", env: Mapping[str, str] | None = None) -> Any:
    """What `rotate --json` prints; it must end with this code."""
    options = ("--value-stdin",) if new else ()
    done = keyrotor(lab, "rotate", "--yes", "--json", *options, input=new or None, env=env)
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout)


def seen(server: Inbox) -> list[tuple[str, str | None, int | None]]:
    """Event, outcome and code of each notice; what is told next is not among them."""
    found = [(each["event"], each["outcome"], each["exit"]) for each in server.notices]
    server.bodies.clear()
    return found


def test_every_end_is_told_and_no_notice_holds_a_value(make_lab: MakeLab, keyrotor: Keyrotor, server: Inbox) -> None:
    """Success, tasks left, rolled back, stuck, owed, rolled back by hand: to a server and to a command, by name."""
    lab = make_lab()
    kept, keys = lab.root / "gateway" / "told", [lab.current_key()]
    hook(lab, server)
    shell(lab, f"cat >> {kept}; env >> {kept}; tr '\\0' ' ' < /proc/$$/cmdline >> {kept}")
    said = b""

    def told(code: int, new: str) -> list[tuple[str, str | None, int | None]]:
        nonlocal said
        keys.append(new)
        rotate(keyrotor, lab, code, new)
        said += server.everything
        return seen(server)

    assert told(0, new_value()) == [("success", "rotated", 0)]
    add_place(lab, 'kind = "by-hand"\ntask = "tell Ann"')
    assert told(0, new_value()) == [("tasks", "rotated", 0)]
    before = lab.playbook.read_text()
    add_command(lab, "test $KEYROTOR_VALUE = old")
    assert told(20, new_value()) == [("failure", "rolled-back", 20)]
    lab.playbook.write_text(before)
    add_command(lab, f"test -e {lab.root}/gateway/mended")
    assert told(21, new_value()) == [("stuck", "stuck", 21)]
    assert told(22, new_value()) == [("failure", "interrupted", 22)]
    assert keyrotor(lab, "resume").returncode == 21
    assert seen(server) == [("stuck", "stuck", 21)]
    (lab.root / "gateway" / "mended").touch()
    assert keyrotor(lab, "rollback").returncode == 0
    rolled_back = server.notices[0]
    assert seen(server) == [("success", "rolled-back", 0)]
    assert rolled_back["title"].startswith("litellm-master-key is rolled back")
    said += server.everything + kept.read_bytes()
    assert kept.read_text().count("KEYROTOR_EVENT=") == 7
    assert not any(spelling in said for key in keys for spelling in spellings(key))
    assert stray(lab.state, keys) == []


def test_a_notice_says_what_the_screen_says_and_the_command_to_go_on(
    make_lab: MakeLab, keyrotor: Keyrotor, server: Inbox
) -> None:
    """Title, lines, host, playbook, key, run and hint; nothing in the report tells of it, for it arrived."""
    lab = make_lab()
    hook(lab, server)
    add_command(lab, "exit 1")
    report = rotate(keyrotor, lab, 21)
    (notice,) = server.notices
    assert report["notes"] == []
    assert (notice["title"], notice["run"]) == ("litellm-master-key is stuck: a person is needed", report["run"])
    assert (notice["playbook"], notice["key"]) == ("litellm-master-key", "LITELLM_MASTER_KEY")
    assert (notice["host"], notice["hint"]) == (os.uname().nodename, f"keyrotor resume {report['run']}")
    assert notice["lines"][0] == f"cannot finish run {report['run']}: {report['reason']}"
    assert f"to go back: keyrotor rollback {report['run']}" in notice["lines"]
    assert notice["schema"] == 1


def test_an_old_key_that_is_not_dead_is_told(
    make_lab: MakeLab, keyrotor: Keyrotor, server: Inbox, tmp_path: Path
) -> None:
    """By its own name, and to whoever wants to hear of failures; who wants successes only is left alone."""
    second = tmp_path / "second"
    lab = make_lab(gateway_options=("--also", str(second)), unit_lines="TimeoutStopSec=1\n", within="13.5s")
    second.write_text(lab.current_key())
    hook(lab, server, 'on = ["old-alive"]')
    hook(lab, server, 'on = ["failure"]')
    hook(lab, server, 'on = ["success", "stuck"]')
    rotate(keyrotor, lab, 23)
    assert seen(server) == [("old-alive", "old-alive", 23)] * 2


def test_who_cannot_be_told_changes_nothing(make_lab: MakeLab, keyrotor: Keyrotor, server: Inbox) -> None:
    """Refused, failing, hanging, absent: each is a note without an address; the code is what it would have been."""
    lab = make_lab()
    server.answers += [404, 404]
    hook(lab, server)
    shell(lab, "exit 3")
    shell(lab, "sleep 60", within="0.3s")
    add_notify(lab, f'kind = "command"\nrun = ["no-such-program"]\n{EVERYTHING}')
    add_notify(lab, f'kind = "desktop"\n{EVERYTHING}')
    old, new = lab.current_key(), new_value()
    notes = rotate(keyrotor, lab, 0, new)["notes"][1:]  # the first one is git's
    assert notes == [
        f"cannot tell {server.url}: it answers 404",
        "cannot tell sh: it ended with exit code 3",
        "cannot tell sh: cannot wait longer for /bin/sh: not done after 0.3 s",
        "cannot tell no-such-program: cannot run no-such-program: no such program",
        "cannot tell the desktop: nobody shows notices on this session's bus",
    ]
    is_all(lab, new, old)
    add_command(lab, "test $KEYROTOR_VALUE = old")
    done = keyrotor(lab, "rotate", "--yes")
    assert done.returncode == 20
    assert f"note: cannot tell {server.url}: it answers 404\n" in done.stdout
    lab.secret_file.write_text("no such thing")
    done = keyrotor(lab, "rotate", "--yes")
    assert done.returncode == 3
    assert "note: cannot tell no-such-program: cannot run no-such-program: no such program\n" in done.stderr
    assert "hidden" not in done.stdout + done.stderr


FAULTY = """
import sys
from keyrotor.world import notifying
def broken(self, addressee, notice):
    raise RuntimeError("a bug of ours with a secret in it")
notifying.Post.send = broken
from keyrotor.cli import main
main(["rotate", "--yes"])
"""


def test_a_bug_in_telling_changes_nothing_either(lab: Lab, server: Inbox) -> None:
    """It is a note, by its class and its place, and the code is the rotation's."""
    hook(lab, server)
    old = lab.current_key()
    done = subprocess.run(
        [sys.executable, "-c", FAULTY],
        check=False,
        cwd=lab.project,
        env=keyrotor_env(lab),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "note: cannot tell anybody: internal error: RuntimeError" in done.stdout
    assert "a bug of ours" not in done.stdout + done.stderr
    is_all(lab, lab.current_key(), old)


def test_a_hanging_notifier_is_left_at_the_second_signal(
    lab: Lab, start_keyrotor: StartKeyrotor, server: Inbox
) -> None:
    """The first one is only answered; the code is the rotation's."""
    begun = lab.root / "gateway" / "begun"
    shell(lab, f"touch {begun}; sleep 60", within="60s")
    hook(lab, server)
    running = start_keyrotor(lab, "rotate", "--yes")
    until(running, begun.exists)
    running.send_signal(signal.SIGTERM)
    until_said(running.stdout, "SIGTERM: telling how it ended; once more stops now")
    running.send_signal(signal.SIGTERM)
    said, _ = running.communicate(timeout=100)
    assert running.returncode == 0
    assert "note: cannot tell sh: interrupted by SIGTERM" in said
    assert server.bodies == []


def test_what_a_person_sees_who_typed_it_is_not_told_but_a_timers_is(
    lab: Lab, keyrotor: Keyrotor, server: Inbox, start_keyrotor: StartKeyrotor
) -> None:
    """Mistakes, another run, an answer of no; nothing due is told to nobody at all."""
    hook(lab, server)
    assert keyrotor(lab, "rotate", "--yes", "--if-due").returncode == 0
    assert seen(server) == [("success", "rotated", 0)]
    assert keyrotor(lab, "rotate", "--yes", "--if-due", env=TIMER).returncode == 0
    assert keyrotor(lab, "resume", env=TIMER).returncode == 0
    assert keyrotor(lab, "rotate", "--yes", "--reason", "x", "--plan", "absent").returncode == 2
    good = lab.playbook.read_text()
    edit(lab.playbook, 'every = "month"', 'every = "sometimes"')
    assert keyrotor(lab, "rotate", "--yes").returncode == 2
    assert seen(server) == []
    assert keyrotor(lab, "rotate", "--yes", env=TIMER).returncode == 2
    assert "every: cannot read 'sometimes'" in server.notices[0]["reason"]
    assert seen(server) == [("failure", "nothing-changed", 2)]

    lab.playbook.write_text(good)
    begun = lab.root / "gateway" / "begun"
    go = hold(lab, f"touch {begun}")
    running = start_keyrotor(lab, "rotate", "--yes", stdout=subprocess.DEVNULL)
    until(running, begun.exists)
    assert keyrotor(lab, "rotate", "--yes").returncode == 30
    assert seen(server) == []
    assert keyrotor(lab, "rotate", "--yes", env=TIMER).returncode == 30
    assert seen(server) == [("failure", "busy", 30)]
    go.touch()
    assert running.wait(100) == 0


def test_a_service_that_has_told_of_its_failure_is_not_told_of_again(
    lab: Lab, keyrotor: Keyrotor, server: Inbox
) -> None:
    """`notify --failed` knows by the number of its start; another start is told of, with what systemd says of it."""
    hook(lab, server)
    add_command(lab, "exit 1")
    run = rotate(keyrotor, lab, 21, env=TIMER)["run"]
    assert seen(server) == [("stuck", "stuck", 21)]
    monitored = {"MONITOR_INVOCATION_ID": TIMER["INVOCATION_ID"], "MONITOR_SERVICE_RESULT": "exit-code"}
    monitored |= {"MONITOR_EXIT_CODE": "exited", "MONITOR_EXIT_STATUS": "21", "MONITOR_UNIT": "a b.service"}
    told = keyrotor(lab, "notify", "--failed", env=monitored)
    assert (told.returncode, told.stdout, server.bodies) == (0, "", [])
    again = {**monitored, "MONITOR_INVOCATION_ID": "f" * 32}
    told = keyrotor(lab, "notify", str(lab.playbook), "--failed", env=again)
    assert (told.returncode, told.stdout.startswith(f"told {server.url} (")) == (0, True)
    (notice,) = server.notices
    assert (notice["event"], notice["title"], notice["exit"]) == ("stuck", "a b.service failed", 21)
    assert notice["lines"][0] == "it ended with exit code 21"
    assert f"STUCK: run {run} of litellm-master-key" in notice["lines"][1]
    assert notice["hint"] == f"keyrotor resume {run}"
    server.answers += [404]
    done = keyrotor(lab, "notify", "--failed", env=again)
    assert (done.returncode, done.stdout) == (1, f"cannot tell {server.url}: it answers 404\n")


def test_a_failure_that_reached_nobody_is_left_to_the_unit_of_on_failure(
    lab: Lab, keyrotor: Keyrotor, server: Inbox
) -> None:
    """The network may be there a moment later."""
    hook(lab, server)
    add_command(lab, "test $KEYROTOR_VALUE = old")
    server.answers += [404]
    rotate(keyrotor, lab, 20, env=TIMER)
    server.bodies.clear()
    monitored = {"MONITOR_INVOCATION_ID": TIMER["INVOCATION_ID"]}
    assert keyrotor(lab, "notify", "--failed", env=monitored).returncode == 0
    assert [each["title"] for each in server.notices] == ["litellm-master-key failed"]


def test_under_a_real_systemd_each_failure_is_told_once(
    make_lab: MakeLab, keyrotor: Keyrotor, manager: UserManager, server: Inbox
) -> None:
    """A rotation that is rolled back tells that itself; of one that is killed the unit of OnFailure= tells, and of one
    that cannot even read its command line."""
    lab = make_lab()
    hook(lab, server)
    good = lab.playbook.read_text()
    name = "told-once"
    stage = f"[Service]\nType=oneshot\nWorkingDirectory={lab.project}\n"
    stage += "".join(
        f'Environment="{key}={text}"\n' for key, text in {**lab.environment(), "PYTHONPATH": str(SRC)}.items()
    )
    command = f"{sys.executable} -m keyrotor"
    manager.units.mkdir(parents=True, exist_ok=True)
    (manager.units / f"{name}-failed.service").write_text(
        f"{stage}ExecStart={command} notify {lab.playbook} --failed\n"
    )

    def run(arguments: str) -> list[dict[str, Any]]:
        """What was told by the time that both services have ended."""
        start = (
            f"[Unit]\nOnFailure={name}-failed.service\n{stage}ExecStart={command} rotate {lab.playbook} {arguments}\n"
        )
        (manager.units / f"{name}.service").write_text(start)
        manager.systemctl("daemon-reload")
        server.bodies.clear()
        manager.systemctl("start", f"{name}.service", check=False)
        deadline = time.monotonic() + 100
        while manager.systemctl("list-jobs", "--no-legend") or "activating" in manager.systemctl(
            "show", f"{name}-failed.service", "--property=ActiveState"
        ):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert manager.systemctl("show", f"{name}-failed.service", "--property=Result", "--value") == "success"
        return server.notices

    try:
        add_command(lab, "test $KEYROTOR_VALUE = old")
        assert [each["outcome"] for each in run("--yes")] == ["rolled-back"]
        lab.playbook.write_text(good)
        (untold,) = run("--yes --no-such-option")
        assert (untold["title"], untold["reason"]) == (f"{name}.service failed", "it ended with exit code 2")
        add_command(lab, "kill -9 $PPID; sleep 1")
        (killed,) = run("--yes")
        assert killed["reason"] == "it was ended by SIGKILL"
        owed = events(lab)[-1][0]
        assert killed["hint"] == f"keyrotor resume {owed}"
        assert f"INTERRUPTED: run {owed}" in killed["text"]
    finally:
        for unit in (f"{name}.service", f"{name}-failed.service"):
            manager.systemctl("stop", unit, check=False)
            (manager.units / unit).unlink(missing_ok=True)
        manager.systemctl("daemon-reload")
        manager.systemctl("reset-failed", check=False)


def counting_sops(lab: Lab) -> tuple[dict[str, str], Path]:
    """The real sops, and a file with a line for each of its calls."""
    calls, loud = lab.root / "gateway" / "calls", lab.root / "gateway" / "counting-sops"
    loud.write_text(f'#!/bin/sh\necho "$1" >> {calls}\nexec {lab.sops} "$@"\n')
    loud.chmod(0o755)
    return {"KEYROTOR_SOPS": str(loud)}, calls


def test_an_address_may_stand_in_the_encrypted_file(lab: Lab, keyrotor: Keyrotor, server: Inbox) -> None:
    """It is decrypted once, for two who need it, and not at all where nobody who needs it is to be told."""
    lab.run("/bin/sh", "-c", sops_set(lab, "HOOK", f"{server.url}/hidden"))
    for on in ("success", "success", "stuck"):
        add_notify(lab, f'kind = "webhook"\nurl_key = "HOOK"\non = ["{on}"]')
    env, calls = counting_sops(lab)
    rotate(keyrotor, lab, 0, env=env)
    assert server.paths == ["/hidden"] * 2
    twice = calls.read_text().split().count("decrypt")
    calls.unlink()
    lab.playbook.write_text(lab.playbook.read_text().replace('on = ["success"]', 'on = ["stuck"]'))
    rotate(keyrotor, lab, 0, env=env)
    assert twice == calls.read_text().split().count("decrypt") + 1
    assert len(server.bodies) == 2
    server.answers += [404]
    done = keyrotor(lab, "notify", "--test")
    assert done.returncode == 1
    assert "cannot tell webhook (HOOK): it answers 404\n" in done.stdout
    assert "hidden" not in done.stdout + done.stderr


def test_an_address_may_stand_in_the_environment_where_the_file_cannot_be_read(
    lab: Lab, keyrotor: Keyrotor, server: Inbox
) -> None:
    """A lost identity is just what somebody must hear of; without either it is a note that names the key."""
    add_notify(lab, 'kind = "webhook"\nurl_key = "HOOK"')
    lab.identity.rename(lab.root / "elsewhere")
    done = keyrotor(lab, "rotate", "--yes", env={"HOOK": f"{server.url}/hidden"})
    assert done.returncode in (1, 3), done.stderr
    assert seen(server)[0][0] == "failure"
    done = keyrotor(lab, "rotate", "--yes")
    assert "note: cannot tell webhook (HOOK): the environment does not have it, and cannot" in done.stderr
    assert "hidden" not in done.stderr


def test_notify_tells_who_is_told_and_tests_it(lab: Lab, keyrotor: Keyrotor, server: Inbox) -> None:
    """Without an option it sends nothing; a test reaches everybody, whatever they want to hear of."""
    assert keyrotor(lab, "notify").stdout == "litellm-master-key tells nobody\n"
    assert keyrotor(lab, "notify", "--test").returncode == 2
    hook(lab, server, 'on = ["stuck"]')
    shell(lab, "exit 1", more="")
    done = keyrotor(lab, "notify")
    assert (done.returncode, server.bodies) == (0, [])
    assert done.stdout == f"{server.url}: stuck\nsh: failure, stuck, old-alive, tasks, incident\n"
    done = keyrotor(lab, "notify", "--test")
    assert done.returncode == 1
    assert done.stdout.splitlines()[1] == "cannot tell sh: it ended with exit code 1"
    assert [each["event"] for each in server.notices] == ["test"]
    found = json.loads(keyrotor(lab, "notify", "--test", "--json").stdout)
    assert [each["state"] for each in found["addressees"]] == ["told", "missed"]
    assert keyrotor(lab, "notify", "--test", "--failed").returncode == 2
    assert keyrotor(lab, "notify", "no-such", "--failed").returncode == 2
    (lab.playbook.parent / "incident.toml").write_text(
        f'[incident]\nplaybooks = ["litellm-master-key"]\n[[notify]]\nkind = "webhook"\nurl = "{server.url}"\n'
    )
    assert keyrotor(lab, "notify", "incident", "--test").returncode == 0
    assert len(server.bodies) == 3


def test_all_of_it_works_from_an_empty_environment(lab: Lab, server: Inbox) -> None:
    """As a timer has it: no terminal, no variable but where the identity, sops and the record are, another folder."""
    hook(lab, server)
    shell(lab, "test -t 0 || cat > said")
    wanted = (
        "KEYROTOR_SOPS",
        "KEYROTOR_STATE_DIR",
        "SOPS_AGE_KEY_FILE",
        "XDG_RUNTIME_DIR",
        "HOME",
        "PYTHON_KEYRING_BACKEND",
    )
    env = {name: lab.environment()[name] for name in wanted} | TIMER | {"PYTHONPATH": str(SRC)}
    done = subprocess.run(
        keyrotor_argv("rotate", str(lab.playbook), "--yes"),
        check=False,
        cwd="/",
        env={**env, "PATH": "/usr/bin:/bin"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        umask=0,
    )
    assert done.returncode == 0, done.stderr
    assert "note: cannot" not in done.stdout
    assert seen(server) == [("success", "rotated", 0)]
    assert json.loads((lab.project / "said").read_text())["event"] == "success"
