"""The texts of a playbook's timer: sound for the real systemd-analyze, whatever the paths are, and read back."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from keyrotor.core import timing
from keyrotor.errors import RefusedError
from keyrotor.formats import timer_units, unit_lines
from keyrotor.formats.timer_units import Wanted
from keyrotor.formats.unit_lines import Origin
from keyrotor.looks import as_timer

WANTED = Wanted(
    stem="keyrotor-key",
    scope="user",
    user="",
    key="KEY",
    playbook="/lab/playbooks/key.toml",
    project="/lab",
    program=("/bin/sh", "-P", "-m", "keyrotor"),
    variables={"PATH": "/usr/bin:/bin", "HOME": "/home/me"},
    calendar="*-*-* 04:00:00",
    delay=10,
    way_back=450.0,
    longest=1800.0,
    runs_commands=False,
)
ODD = ["a b", "50%n %% %", "$HOME ${X} $$", "it's", 'say "hi"', "Schlüssel 鍵", "semi;colon #x", "a\\b"]


def lines(wanted: Wanted, name: str = "") -> list[str]:
    return timer_units.texts(wanted)[name or wanted.service].splitlines()


def verified(folder: Path, wanted: Wanted) -> str:
    """What the real systemd-analyze says of the three files."""
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("no systemd-analyze")
    folder.mkdir(exist_ok=True)
    for name, text in timer_units.texts(wanted).items():
        (folder / name).write_text(text)
    argv = [program, "--user", "--recursive-errors=no", "verify", *(str(folder / name) for name in wanted.names)]
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "XDG_RUNTIME_DIR": str(folder)}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    return "\n".join(line for line in done.stderr.splitlines() if wanted.stem in line)


@pytest.mark.parametrize("odd", ["", *ODD])
@pytest.mark.parametrize("runs_commands", [False, True])
def test_the_texts_are_sound_for_systemd(tmp_path: Path, odd: str, runs_commands: bool) -> None:
    """With odd paths and variables, hardened and not."""
    if "\\" not in odd:
        (tmp_path / f"lab{odd}").mkdir()
    project = WANTED.project if "\\" in odd else str(tmp_path / f"lab{odd}")
    variables = {**WANTED.variables, "KEYROTOR_STATE_DIR": f"/state{odd}"}
    wanted = replace(WANTED, project=project, playbook=f"/p{odd}.toml", variables=variables)
    assert verified(tmp_path / "units", replace(wanted, runs_commands=runs_commands)) == ""


def test_a_fault_would_be_seen(tmp_path: Path) -> None:
    """The same look at a text with a misspelt word says so."""
    assert "Unknown key" in verified(tmp_path, replace(WANTED, user="me\nMisspelt=yes"))


@pytest.mark.parametrize("calendar", [found.calendar for every in ("month", "1d", "1h") for at in ("00:00", "23:59")
                                      if (found := timing.wake(every, (), at))])  # fmt: skip
def test_the_moments_are_sound_for_systemd(calendar: str) -> None:
    """systemd-analyze calendar takes each of them."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze")
    done = subprocess.run(["systemd-analyze", "calendar", calendar], capture_output=True, text=True, check=False)
    assert (done.returncode, "Next elapse" in done.stdout) == (0, True), done.stderr


def test_what_a_rotation_needs_stands_in_the_service() -> None:
    """A condition that is a quiet skip, a stop that has time to turn back, who is told, and nothing of a shell."""
    told = lines(WANTED)
    assert "OnFailure=keyrotor-key-failed.service" in told
    assert not any(line.startswith("After=") for line in told)  # a stop in mid-run would wait for itself
    assert "TimeoutStopSec=450" in told
    assert "KillMode=mixed" in told
    assert "WorkingDirectory=-/lab" in told  # without the `-`, one that is gone would be a quiet skip
    assert "NoNewPrivileges=yes" in told
    rotate = "rotate /lab/playbooks/key.toml --if-due --resume --yes --reason timer"
    assert f"ExecStart=:/bin/sh -P -m keyrotor {rotate}" in told
    timer = lines(WANTED, WANTED.timer)
    assert {"Persistent=true", "RandomizedDelaySec=10min", "WantedBy=timers.target"} <= set(timer)
    assert any(line.endswith("notify /lab/playbooks/key.toml --failed") for line in lines(WANTED, WANTED.failed))


def test_the_doctor_looks_with_all_that_the_service_sets() -> None:
    """`doctor --as-timer` carries over each line that decides what a rotation can do; none is left unsaid."""
    service = "\n".join(lines(WANTED)).partition("[Service]\n")[2]
    names = {line.partition("=")[0] for line in service.splitlines() if line and not line.startswith("#")}
    decides_nothing = {
        "Type",
        "ExecCondition",
        "KillMode",
        "KillSignal",
        "TimeoutStopSec",
        "TimeoutStartSec",
        "LimitCORE",
    }
    assert names - decides_nothing - {"Environment", "ExecStart"} <= set(as_timer._CARRIED)


def test_programs_of_the_user_are_not_hindered() -> None:
    """sudo, a container's runtime, a file for somebody else: what they need is not ours to take away."""
    told = lines(replace(WANTED, runs_commands=True))
    assert not any(line.startswith(("NoNewPrivileges", "Restrict", "SystemCall", "UMask")) for line in told)


def test_a_service_of_the_system_runs_as_the_owner() -> None:
    """User= in both services, and the drop-in's command names the system."""
    for name in (WANTED.service, WANTED.failed):
        told = lines(replace(WANTED, scope="system", user="lab"), name)
        assert "User=lab" in told
        assert "systemctl --system edit" in told[0]


@pytest.mark.parametrize("bad", ["a\nb", "a\x00b", "a\x1bb", "a\udcffb", "a\u2028b"])
@pytest.mark.parametrize("where", ["playbook", "project", "variable"])
def test_what_cannot_stand_in_a_unit_is_refused(bad: str, where: str) -> None:
    """A newline would begin a line of its own."""
    change: dict[str, Any] = {"variables": {"X": bad}} if where == "variable" else {where: f"/{bad}"}
    with pytest.raises(RefusedError):
        timer_units.texts(replace(WANTED, **change))


@pytest.mark.parametrize("bad", ['/a"b/python', "/a'b/python", "/a\\b/python"])
def test_a_program_that_systemd_cannot_start_is_refused(bad: str) -> None:
    """Its path has a quote in it."""
    with pytest.raises(RefusedError, match="no program with a quote"):
        timer_units.texts(replace(WANTED, program=(bad,)))


@pytest.mark.parametrize("odd", ODD)
def test_the_playbook_is_read_back(odd: str) -> None:
    """Whose timer it is, from the text alone; and when it wakes."""
    made = timer_units.texts(replace(WANTED, playbook=f"/x{odd}.toml"))
    assert timer_units.playbook(made[WANTED.service]) == f"/x{odd}.toml"
    assert timer_units.playbook(made[WANTED.failed]) == f"/x{odd}.toml"
    assert timer_units.at(made[WANTED.timer]) == "04:00"
    assert timer_units.playbook("[Service]\nExecStart=/bin/true\n") == timer_units.at("") == ""


def test_a_file_of_another_timer_by_the_same_name_is_told() -> None:
    """What tells of `key` is called as the service of `key-failed`: whose it is, the text tells."""
    longer = replace(WANTED, stem="keyrotor-key-failed")
    assert WANTED.failed == longer.service
    assert longer.other(longer.service, timer_units.texts(WANTED)[WANTED.failed]) == WANTED.timer
    assert WANTED.other(WANTED.failed, timer_units.texts(longer)[longer.service]) == longer.timer
    for each in (WANTED, longer):
        assert not [name for name, text in timer_units.texts(each).items() if each.other(name, text)]


def test_a_text_that_was_changed_is_not_ours_any_more() -> None:
    """By its last line; and another shell's environment is no change of what it does."""
    text = timer_units.texts(WANTED)[WANTED.service]
    assert unit_lines.origin(text, timer_units.MAKER) is Origin.OURS
    assert unit_lines.origin(text.replace("=450", "=451"), timer_units.MAKER) is Origin.EDITED
    assert unit_lines.origin(text, "service") is Origin.FOREIGN
    other = timer_units.texts(replace(WANTED, variables={"PATH": "/other"}))[WANTED.service]
    assert timer_units.without_environment(text) == timer_units.without_environment(other)
    later = timer_units.texts(replace(WANTED, way_back=9.0))[WANTED.service]
    assert timer_units.without_environment(text) != timer_units.without_environment(later)


@pytest.mark.parametrize(
    ("command", "is_skipped"),
    [
        (["/bin/echo", "not due: key: last rotated"], True),
        (["/bin/echo", "due: key"], False),
        (["/bin/echo", "-n", ""], False),
        (["/bin/sh", "-c", "echo 'not due: key'; exit 1"], True),
        (["/nonexistent/python", "-m", "keyrotor", "due"], False),
        ([sys.executable, "-P", "-m", "no_such_keyrotor", "due"], False),  # ends with 1, as `due` does
        ([sys.executable, "-P", "-m", "keyrotor", "due", "--no-such-option"], False),
        ([sys.executable, "-P", "-m", "keyrotor", "due", "/nonexistent.toml", "--or-unknown"], False),
        (["/bin/sh", "-c", "kill -9 $$"], False),
    ],
)
def test_only_the_words_skip_a_rotation(command: list[str], is_skipped: bool) -> None:
    """A keyrotor that is gone, or is another one, is not skipped: it must fail, and be told."""
    condition = timer_units._CONDITION
    done = subprocess.run(["/bin/sh", "-c", condition, "sh", *command], capture_output=True, text=True, check=False)
    assert (done.returncode == 1) is is_skipped
    assert done.returncode in (0, 1)
