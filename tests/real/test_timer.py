"""`keyrotor timer` and `keyrotor due` on a real `systemd --user`: it fires, rotates, is skipped, stopped, told of."""

from __future__ import annotations

import fcntl
import json
import os
import pwd
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from on_lab import AWAY, Keyrotor, StartKeyrotor, add_command, edit, events, found, is_all, trace, wait_for

from keyrotor.demo.build import build
from keyrotor.demo.lab import Lab
from keyrotor.demo.user_systemd import UserManager

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "docs" / "reference" / "json-schema.json").read_text())
STEM = "keyrotor-litellm-master-key"
TIMER, SERVICE, FAILED = f"{STEM}.timer", f"{STEM}.service", f"{STEM}-failed.service"
ONCE = 'test -e "$HOME/once" || { touch "$HOME/once"; exec sleep 600; }'  # of a command that waits the first time only


@dataclass(frozen=True)
class Timed:
    """A manager in which the lab's timer is installed, and what became of it."""

    manager: UserManager

    @property
    def folder(self) -> Path:
        return self.manager.runtime.parent / "home" / ".config" / "systemd" / "user"

    @property
    def stamp(self) -> Path:
        return self.manager.runtime.parent / "home" / ".local" / "share" / "systemd" / "timers" / f"stamp-{TIMER}"

    def of(self, name: str, *properties: str) -> list[str]:
        """What systemd says of a unit."""
        asked = [f"--property={each}" for each in properties]
        told = dict(
            line.partition("=")[::2] for line in self.manager.systemctl("show", name, *asked, check=False).splitlines()
        )
        return [told.get(each, "") for each in properties]

    def wake(self, within: float = 300.0) -> list[str]:
        """Start the service as its timer would, and wait for its end: its state, result and exit code."""
        self.manager.systemctl("start", "--no-block", SERVICE)
        return self.ended(within)

    def ended(self, within: float = 300.0) -> list[str]:
        deadline = time.monotonic() + within
        while self.of(SERVICE, "ActiveState", "Job") not in (["inactive", ""], ["failed", ""]):
            assert time.monotonic() < deadline, self.of(SERVICE, "ActiveState", "Job")
            time.sleep(0.02)
        return self.of(SERVICE, "ActiveState", "Result", "ExecMainStatus")

    @property
    def was_told(self) -> bool:
        """Whether the unit of OnFailure= was started."""
        return self.of(FAILED, "InvocationID") != [""]

    def drop_in(self, name: str, text: str) -> None:
        """In the runtime folder, so that nobody takes it for an edit."""
        folder = self.manager.units / f"{name}.d"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "test.conf").write_text(text)
        self.manager.systemctl("daemon-reload")

    def tidy(self) -> None:
        """End what is left, whatever the test did, and take it away."""
        self.manager.systemctl("stop", TIMER, SERVICE, FAILED, check=False)
        self.manager.systemctl("disable", TIMER, check=False)
        for folder in (self.folder, self.manager.units):
            for path in folder.rglob("*"):
                if STEM in str(path) and not path.is_dir():
                    path.unlink()
        self.stamp.unlink(missing_ok=True)
        self.manager.systemctl("daemon-reload")
        self.manager.systemctl("reset-failed", TIMER, SERVICE, FAILED, check=False)


@pytest.fixture
def timed(manager: UserManager) -> Iterator[Timed]:
    one = Timed(manager)
    one.tidy()  # what systemd has written of a timer of that name that other tests have made
    yield one
    one.tidy()


@pytest.fixture
def odd_lab(manager: UserManager, tmp_path: Path) -> Iterator[Lab]:
    """A running lab in a folder whose name means something to systemd and to a shell."""
    lab = build(tmp_path / "a b 50%n $HOME 'é' lab", manager=manager)
    try:
        lab.start()
        lab.wait_until_healthy()
        yield lab
    finally:
        lab.stop()


Installs = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def installed(keyrotor: Keyrotor, timed: Timed) -> Installs:
    """Installs the timer of a lab, to wake at another time of the day if no time is named."""

    def install(lab: Lab, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        at = () if "--at" in arguments else ("--at", AWAY)
        done = keyrotor(lab, "timer", "install", "--yes", *at, *arguments, env=env)
        assert done.returncode == 0, done.stderr
        return done

    return install


def told(done: subprocess.CompletedProcess[str], of: str) -> dict[str, Any]:
    """The JSON object, which is as the schema says."""
    one: dict[str, Any] = json.loads(done.stdout)
    jsonschema.Draft202012Validator({**SCHEMA, "anyOf": [{"$ref": f"#/$defs/{of}"}]}).validate(one)
    return one


def standing(timed: Timed) -> dict[str, object]:
    """Everything that an install could change."""
    files = {str(path): os.path.realpath(path) for path in timed.folder.rglob("*") if not path.is_dir()}
    return {**files, "active": timed.of(TIMER, "ActiveState", "UnitFileState"), "stamp": timed.stamp.exists()}


def test_it_is_installed_looked_at_and_removed(lab: Lab, keyrotor: Keyrotor, timed: Timed) -> None:
    """Three sound files, 0644, enabled, started, and nothing rotated; again: nothing to do; removed: nothing left, also
    of a timer of that name that stood there once."""
    before, key = standing(timed), lab.current_key()
    assert keyrotor(lab, "timer", "status").returncode == 10
    shown = keyrotor(lab, "timer", "install", "--dry-run")
    assert (shown.returncode, standing(timed)) == (0, before), shown.stderr
    assert "| OnCalendar=*-*-* 04:00:00" in shown.stdout
    timed.stamp.parent.mkdir(parents=True, exist_ok=True)
    timed.stamp.touch()
    done = keyrotor(lab, "timer", "install", "--yes", "--json")
    one = told(done, "timer")
    assert (one["outcome"], [each["state"] for each in one["files"]]) == ("installed", ["new"] * 3)
    assert "T04:0" in one["next"]
    for name in (TIMER, SERVICE, FAILED):
        assert (timed.folder / name).stat().st_mode & 0o777 == 0o644
        assert key not in (timed.folder / name).read_text()
    assert timed.of(TIMER, "ActiveState", "UnitFileState") == ["active", "enabled"]
    stamps = [(timed.folder / name).stat().st_mtime_ns for name in (TIMER, SERVICE, FAILED)]
    again = told(keyrotor(lab, "timer", "install", "--yes", "--json"), "timer")
    assert (again["outcome"], again["next"]) == ("nothing-to-do", one["next"])
    assert stamps == [(timed.folder / name).stat().st_mtime_ns for name in (TIMER, SERVICE, FAILED)]
    status = keyrotor(lab, "timer", "status", "--json")
    lines = {line["name"]: line for line in told(status, "timer-status")["lines"]}
    assert status.returncode == 0, status.stdout
    assert lines["due"]["said"].startswith("now: ")
    later = told(keyrotor(lab, "timer", "install", "--at", "05:30", "--yes", "--json"), "timer")
    assert sorted(each["state"] for each in later["files"]) == ["changed", "same", "same"]
    assert "T05:3" in later["next"]
    kept = told(keyrotor(lab, "timer", "install", "--yes", "--json"), "timer")
    assert kept["outcome"] == "nothing-to-do"  # the time stays as it is installed
    removed = keyrotor(lab, "timer", "remove", "--yes", "--json")
    assert (removed.returncode, told(removed, "timer")["outcome"], standing(timed)) == (0, "removed", before)
    again = told(keyrotor(lab, "timer", "remove", "--yes", "--json"), "timer")
    assert again["outcome"] == "nothing-to-do"
    assert lab.current_key() == key


def test_it_fires_and_rotates_and_is_then_skipped_quietly(
    odd_lab: Lab, keyrotor: Keyrotor, timed: Timed, installed: Installs
) -> None:
    """Woken by its timer, in a folder with an odd name, hardened; then not due: nothing failed, nobody told."""
    lab, old = odd_lab, odd_lab.current_key()
    installed(lab)
    timed.drop_in(TIMER, "[Timer]\nOnActiveSec=100ms\nAccuracySec=1ms\nRandomizedDelaySec=0\n")
    timed.manager.systemctl("restart", TIMER)
    deadline = time.monotonic() + 300
    while trace(lab)[-1:] != ["closed"]:
        assert time.monotonic() < deadline, (trace(lab), timed.of(SERVICE, "ActiveState", "Result", "ExecMainStatus"))
        time.sleep(0.05)
    assert timed.ended() == ["inactive", "success", "0"]
    is_all(lab, lab.current_key(), old)
    assert json.loads(keyrotor(lab, "log", "--json").stdout)["runs"][-1]["why"] == "timer"
    new = lab.current_key()
    asked = keyrotor(lab, "due", "--json")
    assert (asked.returncode, told(asked, "due")["state"]) == (1, "not-due")
    state, result, _ = timed.wake()
    assert (state, result) == ("inactive", "exec-condition")
    assert (lab.current_key(), timed.was_told) == (new, False)
    status = keyrotor(lab, "timer", "status")
    assert (status.returncode, "nothing was due" in " ".join(status.stdout.split())) == (0, True), status.stdout
    assert not {each for each in found(keyrotor, lab) if each.startswith("timer")}


def test_a_wake_that_was_slept_through_is_made_good_for(lab: Lab, timed: Timed, installed: Installs) -> None:
    """A machine that was off at four rotates once it is up; an install by itself does not."""
    old = lab.current_key()
    installed(lab)
    timed.drop_in(TIMER, "[Timer]\nRandomizedDelaySec=0\n")
    timed.manager.systemctl("stop", TIMER)
    two_days_ago = time.time() - 2 * 86400
    os.utime(timed.stamp, (two_days_ago, two_days_ago))
    installed(lab)  # it begins to count anew
    assert timed.of(SERVICE, "InvocationID", "Job") == ["", ""]
    timed.manager.systemctl("stop", TIMER)
    os.utime(timed.stamp, (two_days_ago, two_days_ago))
    timed.manager.systemctl("start", TIMER)
    deadline = time.monotonic() + 300
    while trace(lab)[-1:] != ["closed"]:
        assert time.monotonic() < deadline, trace(lab)
        time.sleep(0.05)
    is_all(lab, lab.current_key(), old)


def test_a_rotation_that_is_stopped_ends_clean(lab: Lab, keyrotor: Keyrotor, timed: Timed, installed: Installs) -> None:
    """`systemctl stop` in mid-run: turned back, the old key proven, 20 on record, nothing owed, somebody told."""
    add_command(lab, ONCE, more='within = "600s"')
    installed(lab)
    old = lab.current_key()
    timed.manager.systemctl("start", "--no-block", SERVICE)
    _wait_for_event(lab, "moving meanwhile:new")
    _wait_until((lab.home / "once").exists)
    timed.manager.systemctl("stop", SERVICE)
    assert timed.ended() == ["failed", "exit-code", "20"]
    new = next(iter({lab.current_key()} - {old}), "sk-nobody-has-this-one-0")
    is_all(lab, old, new)
    assert [kind for _, kind, _ in events(lab)][-1] == "closed"
    assert json.loads(keyrotor(lab, "log", "--json").stdout)["runs"][-1]["outcome"] == "rolled-back"
    assert json.loads(keyrotor(lab, "status", "--json").stdout)["owed"] == []
    assert keyrotor(lab, "due").returncode == 0  # it is tried again the next day
    _wait_until(lambda: timed.was_told)
    assert "timer-failed" in found(keyrotor, lab)
    assert keyrotor(lab, "timer", "status").returncode == 10


def test_a_rotation_that_fails_is_told(lab: Lab, keyrotor: Keyrotor, timed: Timed, installed: Installs) -> None:
    """Rolled back: the unit of OnFailure= is started; a broken playbook is no quiet skip either."""
    add_command(lab, 'test "$KEYROTOR_VALUE" = old')
    installed(lab)
    old = lab.current_key()
    assert timed.wake() == ["failed", "exit-code", "20"]
    _wait_until(lambda: timed.was_told)
    is_all(lab, old, "sk-nobody-has-this-one-0")
    edit(lab.playbook, 'kind = "sops-file"', 'kind = "no-such"')
    asked = keyrotor(lab, "due", "playbooks/litellm-master-key.toml", "--or-unknown")
    assert (asked.returncode, "unknown kind" in asked.stderr) == (0, True), asked.stderr
    assert keyrotor(lab, "due", "playbooks/litellm-master-key.toml").returncode == 2
    before = timed.of(FAILED, "InvocationID")
    assert timed.wake() == ["failed", "exit-code", "2"]
    _wait_until(lambda: timed.of(FAILED, "InvocationID") != before)


def test_a_record_that_cannot_be_read_is_no_quiet_skip(
    lab: Lab, keyrotor: Keyrotor, timed: Timed, installed: Installs
) -> None:
    """The record tells whether the key is due: without it the service fails."""
    installed(lab)
    lab.state.mkdir(parents=True, exist_ok=True)
    (lab.state / "journal.sqlite3").write_bytes(b"no database at all" * 100)
    assert keyrotor(lab, "due", "--or-unknown").returncode == 0
    state, result, code = timed.wake()
    assert (state, result) == ("failed", "exit-code")
    assert code != "0"


def test_an_interrupted_run_is_gone_on_with_and_no_other_begun(
    lab: Lab, keyrotor: Keyrotor, start_keyrotor: StartKeyrotor, timed: Timed, installed: Installs
) -> None:
    """Killed in mid-run: `due` says so, also outside of the window; the next wake finishes that run, and only that."""
    add_command(lab, ONCE, more='within = "600s"')
    installed(lab)
    old = lab.current_key()
    process = start_keyrotor(lab, "rotate", "--yes")
    wait_for(lab, "moving meanwhile:new", process)
    _wait_until((lab.home / "once").exists)
    _kill_with_children(process)
    edit(lab.playbook, 'every = "month"', f'every = "month"\nwindow = "{_closed()}"')
    asked = keyrotor(lab, "due", "--json")
    assert (asked.returncode, told(asked, "due")["state"]) == (0, "owed"), asked.stderr
    assert keyrotor(lab, "rotate", "--if-due", "--yes").returncode == 22
    assert timed.wake() == ["inactive", "success", "0"]
    is_all(lab, lab.current_key(), old)
    assert [kind for _, kind, _ in events(lab)].count("opened") == 1
    assert keyrotor(lab, "due").returncode == 1


def test_a_stuck_run_waits_for_a_person(lab: Lab, keyrotor: Keyrotor, timed: Timed, installed: Installs) -> None:
    """22 each night, told, and the gateway is not restarted; plain `due`: nothing that a timer could do."""
    add_command(lab, "exit 1")
    installed(lab)
    assert timed.wake() == ["failed", "exit-code", "21"]
    pid, many = lab.runner.main_pid(), len(events(lab))
    assert keyrotor(lab, "due").returncode == 1
    asked = keyrotor(lab, "due", "--or-unknown", "--json")
    assert (asked.returncode, told(asked, "due")["state"]) == (0, "waiting")
    assert timed.wake() == ["failed", "exit-code", "22"]
    assert (lab.runner.main_pid(), len(events(lab))) == (pid, many)


def test_a_window_is_honoured_by_the_timer_alone(
    lab: Lab, keyrotor: Keyrotor, timed: Timed, installed: Installs
) -> None:
    """Due but outside: a quiet skip, `not-due` with when it opens; a person's rotation does not ask."""
    old, closed = lab.current_key(), _closed()
    edit(lab.playbook, 'every = "month"', f'every = "month"\nwindow = "{closed}"')
    assert keyrotor(lab, "timer", "install", "--yes").returncode == 0
    assert timed.wake()[1] == "exec-condition"
    done = keyrotor(lab, "rotate", "--if-due", "--yes", "--json")
    one = json.loads(done.stdout)
    assert (done.returncode, one["outcome"], "is closed; next from" in one["reason"]) == (0, "not-due", True)
    assert lab.current_key() == old
    assert keyrotor(lab, "rotate", "--yes").returncode == 0
    refused = keyrotor(lab, "timer", "install", "--at", _at_closed(), "--yes")
    assert (refused.returncode, "is never open" in refused.stderr) == (3, True), refused.stderr
    edit(lab.playbook, f'window = "{closed}"', 'window = "at night"')
    done = keyrotor(lab, "rotate", "--if-due", "--yes")
    assert (done.returncode, "window: cannot read 'at night'; allowed:" in done.stderr) == (2, True), done.stderr


def test_the_doctor_agrees_with_the_timer(odd_lab: Lab, keyrotor: Keyrotor, timed: Timed, installed: Installs) -> None:
    """All that the service sets is carried over: nothing ill, nothing that cannot be told, the same record."""
    lab = odd_lab
    moved = lab.root / "the record"
    edit(lab.playbook, "[secret]", "# ${LITELLM_MASTER_KEY} is no path\n[secret]")
    edit(lab.playbook, "~/.factory", "${WHERE}/.factory")
    env = {"KEYROTOR_STATE_DIR": str(moved), "WHERE": str(lab.home), "LITELLM_MASTER_KEY": lab.current_key()}
    installed(lab, **env)
    for name in (SERVICE, FAILED):
        assert lab.current_key() not in (timed.folder / name).read_text()
    done = keyrotor(lab, "doctor", "--as-timer", "--json", env=env)
    examined = json.loads(done.stdout)
    lines = {line["name"]: line for line in examined["lines"]}
    assert not {name: line["said"] for name, line in lines.items() if line["state"] == "ill"}
    assert "service" not in lines
    assert examined["state"] == str(moved)
    assert timed.wake() == ["inactive", "success", "0"]
    assert (moved / "journal.sqlite3").exists()
    assert not (lab.state / "journal.sqlite3").exists()


def test_an_identity_in_the_environment_is_not_written(lab: Lab, keyrotor: Keyrotor, timed: Timed) -> None:
    """3 with what to do, before anything is there; beside a file it is told and left out."""
    identity = next(line for line in lab.identity.read_text().splitlines() if line.startswith("AGE-SECRET-KEY"))
    alone = {"SOPS_AGE_KEY": identity, "SOPS_AGE_KEY_FILE": ""}
    before = standing(timed)
    done = keyrotor(lab, "timer", "install", "--yes", env=alone)
    assert (done.returncode, "SOPS_AGE_KEY_FILE" in done.stderr) == (3, True), done.stderr
    done = keyrotor(lab, "timer", "install", "--yes", env={"SOPS_AGE_KEY_FILE": identity})
    assert (done.returncode, "SOPS_AGE_KEY_FILE holds an age identity" in done.stderr) == (3, True), done.stderr
    assert identity not in done.stdout + done.stderr
    assert standing(timed) == before
    beside = {"SOPS_AGE_KEY": identity, "GH_TOKEN": "secret-token", "HTTPS_PROXY": "http://me:word@proxy"}
    done = keyrotor(lab, "timer", "install", "--yes", env=beside)
    assert (done.returncode, "not written" in done.stdout) == (0, True), done.stderr
    texts = "".join((timed.folder / name).read_text() for name in (TIMER, SERVICE, FAILED))
    assert not [each for each in (identity, "secret-token", "me:word") if each in texts + done.stdout + done.stderr]


def test_every_is_written_into_the_playbook(lab: Lab, keyrotor: Keyrotor, timed: Timed, installed: Installs) -> None:
    """One token of it, told before; what is no period is an error; nothing is written where it is not agreed to."""
    before = lab.playbook.read_text()
    assert keyrotor(lab, "timer", "install", "--every", "sometimes", "--yes").returncode == 2
    assert keyrotor(lab, "timer", "install", "--every", "1m", "--yes").returncode == 2  # minutes, not a month
    shown = keyrotor(lab, "timer", "install", "--every", "12h", "--dry-run")
    assert 'every = "month" becomes every = "12h"' in shown.stdout
    assert (lab.playbook.read_text(), standing(timed)["active"]) == (before, ["inactive", ""])
    assert keyrotor(lab, "timer", "install", "--every", "12h").returncode == 2  # no terminal, no --yes
    installed(lab, "--every", "12h", "--at", "03:20")
    assert lab.playbook.read_text() == before.replace('every = "month"', 'every = "12h"')
    assert "OnCalendar=*-*-* *:20:00\n" in (timed.folder / TIMER).read_text()
    assert keyrotor(lab, "timer", "install", "--at", "4:00", "--yes").returncode == 2


def test_what_somebody_else_has_made_is_not_touched(
    lab: Lab, keyrotor: Keyrotor, timed: Timed, installed: Installs
) -> None:
    """A unit of that name, in our folder or in another; one of ours that was edited; one that is masked."""
    timed.folder.mkdir(parents=True, exist_ok=True)
    for folder in (timed.folder, timed.manager.units):
        folder.mkdir(parents=True, exist_ok=True)
        foreign = folder / SERVICE
        foreign.write_text("[Service]\nType=oneshot\nExecStart=/bin/true\n")
        timed.manager.systemctl("daemon-reload")
        for verb in ("install", "remove"):
            done = keyrotor(lab, "timer", verb, "--yes")
            assert (done.returncode, "keyrotor has not made it" in done.stderr) == (3, True), (verb, done.stderr)
        assert "ExecStart=/bin/true" in foreign.read_text()
        foreign.unlink()
        timed.manager.systemctl("daemon-reload")
    installed(lab)
    edit(timed.folder / TIMER, f" {AWAY}", f" {AWAY[:2]}:30")
    edited = (timed.folder / TIMER).read_text()
    for verb in ("install", "remove"):
        done = keyrotor(lab, "timer", verb, "--yes")
        assert (done.returncode, "changed by hand" in done.stderr) == (3, True), (verb, done.stderr)
    assert (timed.folder / TIMER).read_text() == edited
    assert keyrotor(lab, "timer", "status").returncode == 10
    (timed.folder / TIMER).unlink()
    installed(lab)
    other = timed.folder / TIMER
    timed.manager.systemctl("disable", "--now", TIMER)
    other.unlink()
    timed.manager.systemctl("mask", TIMER)
    done = keyrotor(lab, "timer", "install", "--yes")
    assert (done.returncode, f"unmask {TIMER}" in done.stderr) == (3, True), done.stderr
    (timed.folder / SERVICE).unlink()
    timed.manager.systemctl("mask", SERVICE)
    done = keyrotor(lab, "timer", "install", "--yes")
    assert (done.returncode, f"unmask {SERVICE}" in done.stderr) == (3, True), done.stderr
    done = keyrotor(lab, "timer", "remove", FAILED, "--yes")
    assert (done.returncode, "there is no" in done.stderr) == (2, True), done.stderr


def test_another_playbook_of_the_same_name_is_told(
    lab: Lab, keyrotor: Keyrotor, timed: Timed, installed: Installs
) -> None:
    """Its timer is not taken from it while it is there; once it is gone, the name is free."""
    installed(lab)
    other = lab.playbook.with_name("other.toml")
    other.write_text(lab.playbook.read_text())
    done = keyrotor(lab, "timer", "install", "playbooks/other.toml", "--yes")
    assert (done.returncode, "is another playbook's" in done.stderr) == (3, True), done.stderr
    lab.playbook.unlink()
    assert keyrotor(lab, "timer", "install", "playbooks/other.toml", "--yes").returncode == 0


def test_another_playbooks_timer_is_not_removed(
    lab: Lab, keyrotor: Keyrotor, timed: Timed, installed: Installs
) -> None:
    """Two playbooks of one name: the other one's timer is refused (3), and status and audit say whose it is; by the
    timer's own name it goes all the same."""
    installed(lab)
    other = lab.playbook.with_name("other.toml")
    other.write_text(lab.playbook.read_text())
    before, typed = standing(timed), f"keyrotor timer remove {TIMER}"
    for arguments in (["remove", "--yes"], ["remove", "--dry-run"], ["install", "--yes"]):
        done = keyrotor(lab, "timer", *arguments, "playbooks/other.toml")
        assert (done.returncode, typed in done.stderr) == (3, True), (done.stdout, done.stderr)
        assert f"is another playbook's: {lab.playbook}" in done.stderr
    status = told(keyrotor(lab, "timer", "status", "playbooks/other.toml", "--json"), "timer-status")
    ill = {line["name"]: line for line in status["lines"] if line["state"] == "ill"}
    assert list(ill) == [TIMER]
    assert (str(lab.playbook) in ill[TIMER]["said"], typed in ill[TIMER]["mend"]) == (True, True)
    assert "timer-strayed" in found(keyrotor, lab, "playbooks/other.toml")
    assert "timer-strayed" not in found(keyrotor, lab, "playbooks/litellm-master-key.toml")
    doctor = keyrotor(lab, "doctor", "playbooks/other.toml", "--as-timer")
    assert f"rotates by {lab.playbook}, not by this playbook" in " ".join(doctor.stdout.split()), doctor.stdout
    assert standing(timed) == before
    lab.playbook.write_text("no playbook at all")
    done = keyrotor(lab, "timer", "remove", TIMER, "--yes", "--json")
    assert (done.returncode, told(done, "timer")["outcome"]) == (0, "removed"), done.stderr
    assert standing(timed)["active"] == ["inactive", ""]


def test_what_tells_of_one_timer_is_no_service_of_another(
    lab: Lab, keyrotor: Keyrotor, timed: Timed, installed: Installs
) -> None:
    """The playbooks X and X-failed share a name of a unit: whichever came first keeps it, also when the other is
    removed."""
    first, second = "playbooks/litellm-master-key.toml", _longer_named(lab)
    longer = f"{STEM}-failed.timer"
    for mine, its, name, typed in ((first, second, longer, TIMER), (second, first, TIMER, longer)):
        installed(lab, mine)
        before = standing(timed), (timed.folder / FAILED).read_bytes()
        for arguments in (["install", "--yes"], ["remove", "--yes"], ["remove", "--dry-run"]):
            done = keyrotor(lab, "timer", *arguments, its)
            assert (done.returncode, f"{FAILED}: it is {typed}'s" in done.stderr) == (3, True), (mine, done.stderr)
            assert f"keyrotor timer remove {typed}" in done.stderr
        assert keyrotor(lab, "timer", "remove", name, "--yes").returncode == 2  # nothing is there but its neighbour's
        status = told(keyrotor(lab, "timer", "status", its, "--json"), "timer-status")
        assert f"{FAILED} is {typed}'s" in next(one["said"] for one in status["lines"] if one["name"] == FAILED)
        assert (standing(timed), (timed.folder / FAILED).read_bytes()) == before
        assert keyrotor(lab, "timer", "remove", typed, "--yes").returncode == 0
        assert not list(timed.folder.glob(f"{STEM}*"))


def test_a_removal_leaves_what_a_neighbour_has_by_the_same_name(
    lab: Lab, keyrotor: Keyrotor, timed: Timed, installed: Installs
) -> None:
    """Where both were installed before a keyrotor that looked, each takes its own files away."""
    installed(lab)
    mine = (timed.folder / FAILED).read_bytes()
    (timed.folder / FAILED).unlink()
    longer = _longer_named(lab)
    installed(lab, longer)
    (timed.folder / FAILED).write_bytes(mine)
    timed.manager.systemctl("daemon-reload")
    done = keyrotor(lab, "timer", "remove", longer, "--yes")
    assert done.returncode == 0, done.stderr
    assert {path.name for path in timed.folder.glob(f"{STEM}*")} == {TIMER, SERVICE, FAILED}
    assert keyrotor(lab, "timer", "status", "playbooks/litellm-master-key.toml").returncode == 0


def _longer_named(lab: Lab) -> str:
    """A second playbook, whose name is the lab's and `-failed`; its path."""
    other = lab.playbook.with_name("other.toml")
    other.write_text(lab.playbook.read_text().replace('"litellm-master-key"', '"litellm-master-key-failed"', 1))
    return f"playbooks/{other.name}"


def test_what_was_left_of_a_timer_whose_playbook_is_gone_can_be_removed(
    lab: Lab, keyrotor: Keyrotor, timed: Timed, installed: Installs
) -> None:
    """Whichever of its files are there: by its name, by the timer's; and what finds no playbook says what to type."""
    before, text = standing(timed), lab.playbook.read_text()
    elsewhere = lab.root / "else where"
    elsewhere.mkdir()
    for gone in ([TIMER, SERVICE], [SERVICE]):
        for how in ("litellm-master-key", str(lab.playbook), TIMER):
            installed(lab)
            for name in gone:
                if name == TIMER:
                    timed.manager.systemctl("disable", "--now", TIMER)
                (timed.folder / name).unlink()
            timed.manager.systemctl("daemon-reload")
            lab.playbook.unlink()
            named = _in(elsewhere, lab, "timer", "remove", "--yes").stderr
            assert f"keyrotor timer remove {TIMER}  (made for {lab.playbook}, which is gone)" in named, named
            done = _in(elsewhere, lab, "timer", "remove", how, "--yes")
            assert done.returncode == 0, (gone, how, done.stderr)
            assert {**standing(timed), "stamp": False} == before
            timed.stamp.unlink(missing_ok=True)
            lab.playbook.write_text(text)


def test_a_playbook_by_another_way_is_the_same_one(
    lab: Lab, keyrotor: Keyrotor, timed: Timed, installed: Installs
) -> None:
    """Installed by a link to the project: it is found, and removed, in the project itself."""
    link = lab.root / "link"
    link.symlink_to(lab.project)
    installed(lab, str(link / "playbooks" / lab.playbook.name))
    assert not {each for each in found(keyrotor, lab) if each == "timer-strayed"}
    done = keyrotor(lab, "timer", "remove", "--yes")
    assert (done.returncode, standing(timed)["active"]) == (0, ["inactive", ""]), done.stderr


def test_a_project_that_was_moved_is_no_quiet_skip(
    lab: Lab, keyrotor: Keyrotor, timed: Timed, installed: Installs
) -> None:
    """The service fails, at each wake; audit, status and doctor tell in the new place, and an install mends it."""
    installed(lab)
    moved = lab.project.with_name("moved")
    lab.project.rename(moved)
    try:
        assert timed.wake() == ["failed", "exit-code", "2"]
        _wait_until(lambda: timed.of(FAILED, "Result") == ["exit-code"])  # whom it would tell stands in the playbook
        at = str(moved / "playbooks" / lab.playbook.name)
        audit = json.loads(_in(moved, lab, "audit", at, "--json").stdout)["findings"]
        strayed = next(each for each in audit if each["id"] == "timer-strayed")
        assert f"{lab.playbook}, which is gone" in strayed["text"]
        status = _in(moved, lab, "timer", "status")
        assert (status.returncode, "not what an install would write" in status.stdout) == (10, True), status.stdout
        doctor = _in(moved, lab, "doctor", "--as-timer")
        assert f"rotates by {lab.playbook}" in " ".join(doctor.stdout.split()), doctor.stdout
        assert _in(moved, lab, "timer", "install", "--yes").returncode == 0
        audit = json.loads(_in(moved, lab, "audit", at, "--json").stdout)["findings"]
        assert "timer-strayed" not in {each["id"] for each in audit}
    finally:
        moved.rename(lab.project)


def test_the_timer_of_a_playbook_that_is_gone_can_be_removed(
    lab: Lab, keyrotor: Keyrotor, timed: Timed, installed: Installs
) -> None:
    """By its name, by its former path, by the timer's name; what finds no playbook says what to type."""
    before, name = standing(timed), "litellm-master-key"
    elsewhere = lab.root / "else where"
    elsewhere.mkdir()
    for how in (name, str(lab.playbook), TIMER):
        installed(lab)
        refused = _in(elsewhere, lab, "timer", "remove", name, "--yes")
        assert refused.returncode == 2, refused.stdout  # its playbook is there: it is not this one that is meant
        text = lab.playbook.read_text()
        lab.playbook.unlink()
        for verb in (["remove", "--yes"], ["status"], ["status", name]):
            done = _in(elsewhere, lab, "timer", *verb)
            assert (done.returncode, f"keyrotor timer remove {TIMER}" in done.stderr) == (2, True), done.stderr
        dry = _in(elsewhere, lab, "timer", "remove", how, "--dry-run")
        assert (dry.returncode, f"{lab.playbook}, which is gone" in dry.stdout) == (0, True), dry.stderr
        one = told(_in(elsewhere, lab, "timer", "remove", how, "--yes", "--json"), "timer")
        assert (one["outcome"], one["playbook"], one["every"]) == ("removed", name, "")
        assert standing(timed) == before
        lab.playbook.write_text(text)


def test_a_service_started_by_hand_has_run(lab: Lab, keyrotor: Keyrotor, timed: Timed, installed: Installs) -> None:
    """Before the first wake: `last run` tells what became of it, be it a rotation or a skip."""
    installed(lab)
    assert "it has not woken yet" in keyrotor(lab, "timer", "status").stdout
    assert timed.wake() == ["inactive", "success", "0"]
    assert _last_run(keyrotor, lab) == "nothing failed"
    assert timed.wake()[1] == "exec-condition"
    assert _last_run(keyrotor, lab) == "nothing was due"


def _in(folder: Path, lab: Lab, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, typed in another folder."""
    command = [sys.executable, "-P", "-m", "keyrotor", *arguments]
    return subprocess.run(
        command, cwd=folder, env=lab.environment(), capture_output=True, text=True, timeout=600, check=False
    )


def _last_run(keyrotor: Keyrotor, lab: Lab) -> str:
    status = told(keyrotor(lab, "timer", "status", "--json"), "timer-status")
    return next(str(line["said"]) for line in status["lines"] if line["name"] == "last run")


def test_an_install_or_a_removal_that_was_killed_is_finished_by_the_next(
    lab: Lab, keyrotor: Keyrotor, timed: Timed, installed: Installs
) -> None:
    """Whichever of its files and links are there."""
    before = standing(timed)
    installed(lab)
    whole = standing(timed)
    link = timed.folder / "timers.target.wants" / TIMER
    for gone in ([SERVICE, FAILED], [TIMER, "link"], ["link"]):
        for name in gone:
            (link if name == "link" else timed.folder / name).unlink(missing_ok=True)
        timed.manager.systemctl("daemon-reload")
        installed(lab)
        assert standing(timed) == whole
    os.link(timed.folder / SERVICE, timed.folder / f".{SERVICE}.keyrotor")  # killed before it lost its first name
    assert keyrotor(lab, "timer", "install", "--dry-run", "--at", "03:00").returncode == 0
    installed(lab, "--at", "03:00")
    (timed.folder / f".{TIMER}.keyrotor").write_text("half")
    (timed.folder / TIMER).unlink()
    assert keyrotor(lab, "timer", "remove", "--yes").returncode == 0
    assert standing(timed) == before


def test_one_install_at_a_time(lab: Lab, keyrotor: Keyrotor, timed: Timed) -> None:
    """30 while another one, or a run, holds the lock; a removal asks nobody."""
    before = standing(timed)
    folder = os.open(lab.secret_file.parent, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    assert keyrotor(lab, "timer", "install", "--yes").returncode == 30
    assert keyrotor(lab, "timer", "remove", "--yes").returncode == 0
    os.close(folder)
    assert standing(timed) == before


def test_the_secret_is_not_locked_while_a_person_thinks(lab: Lab, start_keyrotor: StartKeyrotor, timed: Timed) -> None:
    """At its question: a run or an incident may begin; what would be done has changed by the answer: asked again."""
    ours, its = os.openpty()
    termios.tcsetwinsize(its, (50, 200))
    process = start_keyrotor(lab, "timer", "install", stdin=its, stdout=its, stderr=its)
    os.close(its)
    shown = _read_until(ours, b"Install now?")
    folder = os.open(lab.secret_file.parent, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(folder)
    edit(lab.playbook, 'every = "month"', 'every = "12h"')
    os.write(ours, b"y\n")
    again = _read_until(ours, b"Install now?")
    assert (b"wakes daily" in shown, b"wakes each hour" in again) == (True, True), again
    assert not (timed.folder / TIMER).exists()
    folder = os.open(lab.secret_file.parent, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    os.write(ours, b"y\n")
    assert process.wait(300) == 30
    assert not (timed.folder / TIMER).exists()
    os.close(folder)
    os.close(ours)


def _read_until(terminal: int, text: bytes, within: float = 300.0) -> bytes:
    """What a terminal shows, up to this text."""
    shown, deadline = b"", time.monotonic() + within
    while text not in shown:
        assert select.select([terminal], [], [], max(0.0, deadline - time.monotonic()))[0], shown
        shown += os.read(terminal, 65536)
    return shown


def test_a_stop_during_an_install_is_answered_and_the_install_finished(
    lab: Lab, start_keyrotor: StartKeyrotor, timed: Timed
) -> None:
    """Half installed helps nobody."""
    process = start_keyrotor(lab, "timer", "install", "--yes")
    _wait_until(lambda: (timed.folder / FAILED).exists() or process.poll() is not None)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, (out, err)
    assert timed.of(TIMER, "ActiveState", "UnitFileState") == ["active", "enabled"]


def test_a_timer_of_the_system_is_made_by_root_for_root(lab: Lab, keyrotor: Keyrotor, tmp_path: Path) -> None:
    """Only the texts and the commands are seen: no system manager is at hand, and a stub stands in for systemctl."""
    assert keyrotor(lab, "timer", "install", "--system", "--dry-run").returncode == 2
    edit(lab.playbook, 'scope  = "user"', 'scope  = "system"')
    env = {"PATH": f"{_stub(tmp_path)}:{os.environ['PATH']}", "SYSTEMD_UNIT_PATH": f"{tmp_path}/system:"}
    done = keyrotor(lab, "timer", "install", "--system", "--yes", env=env)
    assert done.returncode == 0, done.stderr
    assert "User=" not in (tmp_path / "system" / SERVICE).read_text()
    asked = (tmp_path / "asked").read_text().splitlines()
    assert all(line.startswith("--system --no-ask-password") for line in asked)
    verbs = [line.split()[2] for line in asked if " show " not in f" {line} "]
    assert [verb for verb in verbs if not verb.startswith("-")] == ["daemon-reload", "stop", "reenable", "start"]


def test_a_timer_of_the_system_runs_as_the_owner_where_it_can(lab: Lab, keyrotor: Keyrotor, tmp_path: Path) -> None:
    """A gateway that a command restarts needs no root: User=, that user's home, and nothing of the installer's."""
    text = lab.playbook.read_text()
    unit = text[text.index('[[place]]\nkind   = "systemd-unit"') : text.index('[[place]]\nkind   = "litellm"')]
    edit(lab.playbook, unit, '[[place]]\nkind = "command"\nput = ["true"]\n\n')
    edit(lab.playbook, 'unit   = "systemd-unit"', 'unit   = "command"')
    os.chown(lab.project, 65534, 65534)
    env = {"SYSTEMD_UNIT_PATH": f"{tmp_path}/system:", "PATH": f"{_stub(tmp_path)}:{os.environ['PATH']}"}
    done = keyrotor(lab, "timer", "install", "--system", "--dry-run", env=env)
    assert done.returncode == 0, done.stderr
    told = [line.removeprefix("    | ") for line in done.stdout.splitlines()]
    home = pwd.getpwnam("nobody").pw_dir
    assert {"User=nobody", f"Environment=HOME={home}", "It runs as nobody."} <= set(told)
    assert not [line for line in told if line.startswith("Environment=XDG_")]
    assert "# Not hardened any further" in done.stdout


def _stub(folder: Path) -> Path:
    """A folder with a systemctl that knows no unit, and writes down what it was asked."""
    stub = folder / "stub"
    stub.mkdir()
    answer = "LoadState=not-found\\n\\n" * 3
    (stub / "systemctl").write_text(f'#!/bin/sh\necho "$@" >> {folder}/asked\nprintf "{answer}"\n')
    (stub / "systemd-analyze").write_text("#!/bin/sh\nexit 0\n")
    for program in stub.iterdir():
        program.chmod(0o755)
    (folder / "system").mkdir()
    return stub


def _closed() -> str:
    """A window that is not open within an hour, and not for long."""
    return f"{(datetime.now() + timedelta(days=3)):%a} {_at_open()}-{_at_open()[:2]}:59"


def _at_open() -> str:
    return f"{(datetime.now() + timedelta(hours=3)):%H}:00"


def _at_closed() -> str:
    return f"{(datetime.now() + timedelta(hours=6)):%H}:00"


def _wait_for_event(lab: Lab, event: str, within: float = 300.0) -> None:
    deadline = time.monotonic() + within
    while trace(lab)[-1:] != [event]:
        assert time.monotonic() < deadline, trace(lab)
        time.sleep(0.02)


def _wait_until(is_so: Callable[[], bool], within: float = 300.0) -> None:
    deadline = time.monotonic() + within
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _kill_with_children(process: subprocess.Popen[str]) -> None:
    """Its children lead sessions of their own and hold the lock: the one that sleeps goes, too."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    for pid in (process.pid, *map(int, children)):
        os.kill(pid, signal.SIGKILL)
    process.wait()
