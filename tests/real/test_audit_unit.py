"""What an audit says of the gateway's unit, of linger and of the timer: each fault gives exactly its own finding."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from keyrotor.demo.lab import Lab
from keyrotor.demo.user_systemd import UserManager
from real.on_lab import Keyrotor, edit, found, found_then, new_value, remove_timer, write_timer

VARIABLE = "LITELLM_MASTER_KEY"


class DropIn:
    """A drop-in of the lab's unit, gone with the test."""

    def __init__(self, lab: Lab, manager: UserManager) -> None:
        assert lab.unit
        self._lab, self._manager, self._folder = lab, manager, manager.units / f"{lab.unit}.d"

    def write(self, lines: str, *, restart: bool = False) -> None:
        self._folder.mkdir(exist_ok=True)
        (self._folder / "50-test.conf").write_text(f"[Service]\n{lines}\n")
        self._manager.systemctl("daemon-reload")
        if restart:
            self._manager.systemctl("restart", str(self._lab.unit))
            self._lab.wait_until_healthy()

    def remove(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._manager.systemctl("daemon-reload")


@pytest.fixture
def drop_in(clean_lab: Lab, manager: UserManager) -> Iterator[DropIn]:
    made = DropIn(clean_lab, manager)
    yield made
    made.remove()


def later_file(lab: Lab, name: str, text: str) -> Path:
    """One more env file of the unit."""
    path = lab.home / name
    path.write_text(text)
    path.chmod(0o600)
    return path


def finding(keyrotor: Keyrotor, lab: Lab) -> dict[str, str]:
    """The only finding there is."""
    (only,) = json.loads(keyrotor(lab, "audit", "--json").stdout)["findings"]
    return dict(only)


# -- the unit --------------------------------------------------------------------------------------------------------


def test_an_env_file_that_may_be_missing(clean_lab: Lab, drop_in: DropIn, keyrotor: Keyrotor) -> None:
    """A `-` before the env file of the playbook is found; one before a file without the key is nobody's fault."""
    other = later_file(clean_lab, "other.env", "PORT=1\n")
    drop_in.write(f"EnvironmentFile=\nEnvironmentFile={clean_lab.env_file}\nEnvironmentFile=-{other}")
    assert found(keyrotor, clean_lab) == []
    drop_in.write(f"EnvironmentFile=\nEnvironmentFile=-{clean_lab.env_file}")
    assert found(keyrotor, clean_lab) == ["unit-env-optional"]


@pytest.mark.parametrize("line", ["{key}={value}", "  {key} = 'x'", "{key}="])
def test_a_later_file_that_sets_the_key(clean_lab: Lab, drop_in: DropIn, keyrotor: Keyrotor, line: str) -> None:
    """Whatever it sets it to, with the present value too: the next rotation would write the one before it."""
    text = line.format(key=VARIABLE, value=clean_lab.current_key())
    path = later_file(clean_lab, "later.env", f"# {VARIABLE}=no\nexport {VARIABLE}=no\nA=b \\\n{VARIABLE}=no\n")
    drop_in.write(f"EnvironmentFile={path}")
    assert found(keyrotor, clean_lab) == []
    path.write_text(f"A=b\n{text}\n")
    assert found(keyrotor, clean_lab) == ["unit-overridden"]
    assert str(path) in finding(keyrotor, clean_lab)["text"]


def test_a_pattern_whose_last_file_sets_the_key(clean_lab: Lab, drop_in: DropIn, keyrotor: Keyrotor) -> None:
    """A pattern stands for its files; one before the env file overrides nothing."""
    path = later_file(clean_lab, "later-2.env", f"{VARIABLE}={clean_lab.current_key()}\n")
    pattern = clean_lab.home / "later-*.env"
    drop_in.write(f"EnvironmentFile=\nEnvironmentFile={pattern}\nEnvironmentFile={clean_lab.env_file}")
    assert found(keyrotor, clean_lab) == []
    drop_in.write(f"EnvironmentFile={pattern}")
    assert found(keyrotor, clean_lab) == ["unit-overridden"]
    assert str(path) in finding(keyrotor, clean_lab)["text"]


def test_a_unit_that_takes_the_key_away(clean_lab: Lab, drop_in: DropIn, keyrotor: Keyrotor) -> None:
    """UnsetEnvironment= comes after every file; PassEnvironment= comes before them and does nothing."""
    drop_in.write(f"PassEnvironment={VARIABLE}")
    assert found(keyrotor, clean_lab) == []
    drop_in.write(f"UnsetEnvironment={VARIABLE}")
    assert found(keyrotor, clean_lab) == ["unit-overridden"]


@pytest.mark.parametrize("fault", ["EnvironmentFile={path}", f"UnsetEnvironment={VARIABLE}"])
def test_a_rotation_of_a_key_that_something_overrides_is_refused(
    clean_lab: Lab, drop_in: DropIn, keyrotor: Keyrotor, fault: str
) -> None:
    """It is told before the first effect, not after the restart: the unit runs on untouched."""
    path = later_file(clean_lab, "later.env", f"{VARIABLE}={clean_lab.current_key()}\n")
    drop_in.write(fault.format(path=path))
    before = (clean_lab.current_key(), clean_lab.env_file.stat().st_mtime_ns)
    done = keyrotor(clean_lab, "rotate", "--yes")
    assert done.returncode == 3, done.stderr
    assert f"cannot restart {clean_lab.unit}" in done.stderr
    assert (clean_lab.current_key(), clean_lab.env_file.stat().st_mtime_ns) == before


def test_a_literal_in_the_unit(clean_lab: Lab, drop_in: DropIn, keyrotor: Keyrotor) -> None:
    """Environment= with a value is found, though the env file wins over it; the value is not shown."""
    value = new_value()
    drop_in.write(f'Environment=A=b "{VARIABLE}=" "{VARIABLE}_2={value}"')
    assert found(keyrotor, clean_lab) == []
    drop_in.write(f'Environment=A=b "{VARIABLE}={value}"')
    assert found(keyrotor, clean_lab) == ["unit-literal"]
    assert value not in keyrotor(clean_lab, "audit").stdout


def test_a_unit_that_was_changed_and_not_reloaded(clean_lab: Lab, manager: UserManager, keyrotor: Keyrotor) -> None:
    """What runs is not what its file says."""
    fragment = manager.units / str(clean_lab.unit)
    fragment.write_text(fragment.read_text() + "\n# edited\n")
    assert found(keyrotor, clean_lab) == ["unit-reload-owed"]


@pytest.mark.parametrize("how", ["ExecStart", "drop-in"])
def test_a_literal_in_a_command_line(
    clean_lab: Lab, drop_in: DropIn, manager: UserManager, keyrotor: Keyrotor, how: str
) -> None:
    """The present value as an argument of what runs, or in the unit's text only; it is not shown."""
    value, folder = clean_lab.current_key(), manager.units
    if how == "ExecStart":
        text = (folder / str(clean_lab.unit)).read_text()
        (own,) = re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)
        drop_in.write(f"ExecStart=\nExecStart=/bin/sh -c '{own}; exit 1' sh {value}", restart=True)
        drop_in.write("# gone from the text, and not from the process")
    else:
        drop_in.write(f"ExecStopPost=/bin/true {value}")
    only = finding(keyrotor, clean_lab)
    assert only["id"] == "unit-literal"
    assert ("its command line" if how == "ExecStart" else "50-test.conf") in only["text"]
    assert value not in keyrotor(clean_lab, "audit").stdout


def test_an_env_file_that_is_written_for_a_shell(clean_lab: Lab, keyrotor: Keyrotor, manager: UserManager) -> None:
    """`export KEY=…` is no variable to systemd: after the next restart the gateway would not have the key."""
    edit(clean_lab.env_file, f"{VARIABLE}=", f"export {VARIABLE}=")
    only = finding(keyrotor, clean_lab)
    assert (only["id"], only["place"]) == ("unit-env-ignored", clean_lab.unit)
    assert str(clean_lab.env_file) in only["text"]
    manager.systemctl("restart", str(clean_lab.unit))
    assert clean_lab.status(clean_lab.current_key()) != 200


@pytest.mark.parametrize("state", ["stopped", "failed", "masked", "unknown"])
def test_a_unit_that_does_not_run(
    clean_lab: Lab, drop_in: DropIn, keyrotor: Keyrotor, manager: UserManager, state: str
) -> None:
    """One finding of its own, which says in what state the unit is, and brings it up again."""
    unit = str(clean_lab.unit)
    if state == "unknown":
        edit(clean_lab.playbook, unit, "no-such.service")
    elif state == "failed":
        drop_in.write("ExecStart=\nExecStart=/bin/false\nRestart=no")
        manager.systemctl("restart", unit, check=False)
        while manager.systemctl("is-active", unit, check=False).strip() != "failed":
            pass
    else:
        manager.systemctl("stop", unit)
    if state == "masked":
        (manager.units / unit).rename(manager.units / f"{unit}.away")
        (manager.units / unit).symlink_to("/dev/null")
        manager.systemctl("daemon-reload")
    told = json.loads(keyrotor(clean_lab, "audit", "--json").stdout)["findings"]
    try:  # under another name the unit is a stranger at the door, which is told as well
        (only,) = (one for one in told if one["id"] != "gateway-silent" or state != "unknown")
        assert only["id"] == "unit-down"
        expected = {"stopped": "inactive", "failed": "failed", "masked": "masked", "unknown": "not-found"}
        assert expected[state] in only["text"]
        verb = {"masked": f"unmask {unit}", "unknown": "daemon-reload"}.get(state, f"start {unit}")
        assert f"systemctl --user {verb}" in only["mend"]
    finally:
        if state == "masked":
            (manager.units / unit).unlink()
            (manager.units / f"{unit}.away").rename(manager.units / unit)
            manager.systemctl("daemon-reload")


# -- the timer -------------------------------------------------------------------------------------------------------


def test_no_timer(clean_lab: Lab, manager: UserManager, keyrotor: Keyrotor) -> None:
    """Nobody wakes the rotation."""
    remove_timer(manager, "keyrotor-litellm-master-key.timer")
    assert found(keyrotor, clean_lab) == ["timer-absent"]


def test_a_timer_for_every_playbook(clean_lab: Lab, manager: UserManager, keyrotor: Keyrotor) -> None:
    """`keyrotor.timer` counts, and goes before the playbook's own where that one is not started."""
    own = "keyrotor-litellm-master-key.timer"
    for name in ("keyrotor.timer", "keyrotor.service"):
        shutil.copy(manager.units / name.replace("keyrotor", "keyrotor-litellm-master-key"), manager.units / name)
    manager.systemctl("daemon-reload")
    try:
        manager.systemctl("stop", own)
        assert found(keyrotor, clean_lab) == ["timer-inactive"]
        manager.systemctl("start", "keyrotor.timer")
        assert found(keyrotor, clean_lab) == []
        remove_timer(manager, own)
        assert found(keyrotor, clean_lab) == []
    finally:
        remove_timer(manager, "keyrotor.timer")


def test_a_timer_that_is_not_started(clean_lab: Lab, manager: UserManager, keyrotor: Keyrotor) -> None:
    """It is there, and does nothing."""
    manager.systemctl("stop", "keyrotor-litellm-master-key.timer")
    assert found(keyrotor, clean_lab) == ["timer-inactive"]


@pytest.mark.parametrize("wakes", ["keyrotor-litellm-master-key.service", "keyrotor-other.service"])
def test_a_timer_whose_service_failed(clean_lab: Lab, manager: UserManager, keyrotor: Keyrotor, wakes: str) -> None:
    """The service that it wakes is the one that counts, whatever its name."""
    timer = write_timer(manager, service="ExecStart=/bin/false", timer=f"OnCalendar=daily\nUnit={wakes}")
    own = timer.replace(".timer", ".service")
    if wakes != own:
        shutil.copy(manager.units / own, manager.units / wakes)
    manager.systemctl("daemon-reload")
    manager.systemctl("restart", timer)
    assert found(keyrotor, clean_lab) == []
    manager.systemctl("start", wakes, check=False)
    try:
        assert found(keyrotor, clean_lab) == ["timer-failed"]
        assert "exit-code" in finding(keyrotor, clean_lab)["text"]
    finally:
        if wakes != own:
            (manager.units / wakes).unlink()
        manager.systemctl("reset-failed", wakes, check=False)


def start_anew(manager: UserManager, lines: str) -> str:
    """The timer with these lines, as if there had never been another: a persistent one remembers by a stamp file."""
    remove_timer(manager, "keyrotor-litellm-master-key.timer")
    timer = write_timer(manager, timer=lines)
    path = manager.units / timer
    path.write_text(path.read_text().replace("Persistent=true", "Persistent=false"))
    manager.systemctl("daemon-reload")
    manager.systemctl("start", timer)
    return timer


def test_a_timer_that_never_fires(clean_lab: Lab, manager: UserManager) -> None:
    """Its moment is over for more than a day, and it has never fired."""
    start_anew(manager, "OnCalendar=daily")
    assert found_then(clean_lab, 23) == []
    assert found_then(clean_lab, 49) == ["timer-silent"]
    manager.systemctl("start", "keyrotor-litellm-master-key.service")
    assert found_then(clean_lab, 49) == ["timer-silent"], "a start by hand is not the timer's"


def test_a_timer_that_waits_for_its_day_is_not_silent(clean_lab: Lab, manager: UserManager) -> None:
    """One that wakes once in a year is well for a month, as long as no key waits for it."""
    start_anew(manager, "OnCalendar=yearly")
    edit(clean_lab.playbook, 'every = "month"', 'every = "8d"')
    assert found_then(clean_lab, 24 * 3) == []
    assert found_then(clean_lab, 24 * 9) == ["key-overdue"]
    assert found_then(clean_lab, 24 * 11) == ["key-overdue", "timer-silent"]


def test_a_timer_that_has_fired_is_not_silent(clean_lab: Lab, manager: UserManager) -> None:
    """One that wakes once in a while has fired once."""
    timer = start_anew(manager, "OnActiveSec=0\nOnCalendar=daily\nAccuracySec=1ms")
    for _ in range(500):
        if manager.systemctl("show", timer, "--property=LastTriggerUSec", "--value"):
            break
    assert found_then(clean_lab, 49) == []


def test_a_timer_that_will_not_fire_again(clean_lab: Lab, manager: UserManager, keyrotor: Keyrotor) -> None:
    """A date that is over leaves a timer started for ever, and nothing to come."""
    manager.systemctl("restart", write_timer(manager, timer="OnCalendar=2020-01-01"))
    assert found(keyrotor, clean_lab) == ["timer-silent"]
    assert "will not fire again" in finding(keyrotor, clean_lab)["text"]


# -- linger ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def logind(clean_lab: Lab, tmp_path: Path) -> dict[str, str]:
    """An environment in which the lab's manager is the one that logind keeps for the user.

    A private manager is not logind's, and there is no logind where these tests must run: a `loginctl` on PATH says
    what it is told to, and `systemctl` is the real one at the lab's address.
    """
    real = shutil.which("systemctl")
    programs = {
        "systemctl": f'XDG_RUNTIME_DIR="{clean_lab.runtime}" exec {real} "$@"',
        "loginctl": f'test "$2" = {os.getuid()} || exit 1\ncat "{tmp_path}/linger"',
    }
    folder = tmp_path / "programs"
    folder.mkdir()
    for name, text in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}", "XDG_RUNTIME_DIR": f"/run/user/{os.getuid()}"}


@pytest.mark.parametrize(
    ("said", "expected"), [("yes\n", []), ("no\n", ["linger-off"]), ("", []), (None, []), ("perhaps\n", [])]
)
def test_a_user_whose_services_end_with_the_last_logout(
    clean_lab: Lab, keyrotor: Keyrotor, logind: dict[str, str], tmp_path: Path, said: str | None, expected: list[str]
) -> None:
    """Where logind says no it is found; where it says nothing, nothing is known."""
    if said is not None:
        (tmp_path / "linger").write_text(said)
    assert found(keyrotor, clean_lab, env=logind) == expected


def test_a_manager_that_is_not_logins_needs_no_linger(
    clean_lab: Lab, keyrotor: Keyrotor, logind: dict[str, str], tmp_path: Path
) -> None:
    """It does not end with a logout, and nobody is asked."""
    (tmp_path / "linger").write_text("no\n")
    assert found(keyrotor, clean_lab, env=logind | {"XDG_RUNTIME_DIR": str(clean_lab.runtime)}) == []
