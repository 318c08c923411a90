"""What systemctl prints, as a Unit. Its restarts are in tests/places and tests/real."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from keyrotor.boundary.process import Processes
from keyrotor.boundary.systemd import Systemd, parsed, seconds, with_runtime_dir

SHOWN = """\
Id=litellm.service
LoadState=loaded
ActiveState=active
SubState=running
Result=success
MainPID=4242
NRestarts=3
InvocationID=0123456789abcdef
TimeoutStopUSec=1min 30s
TriggeredBy=litellm.timer litellm.socket
Environment=A=b C=d=e
EnvironmentFiles=/etc/litellm.env (ignore_errors=no)
FragmentPath=/etc/systemd/system/litellm.service
"""


def test_a_running_unit() -> None:
    """Every property that decides something, from `systemctl show`."""
    unit = parsed("litellm.service", SHOWN)
    assert (unit.load, unit.active, unit.sub, unit.result) == ("loaded", "active", "running", "success")
    assert (unit.pid, unit.restarts, unit.invocation, unit.stop_timeout) == (4242, 3, "0123456789abcdef", 90.0)
    assert unit.sockets == ("litellm.socket",)
    assert unit.fragment == "/etc/systemd/system/litellm.service"
    assert unit.is_active


@pytest.mark.parametrize("shown", ["", "\n", "garbage", "LoadState=not-found\nActiveState=inactive\nMainPID=0\n"])
def test_a_unit_that_is_not_there(shown: str) -> None:
    """Nothing said is nothing running."""
    unit = parsed("x.service", shown)
    assert not unit.is_active
    assert (unit.pid, unit.restarts) == (0, 0)


def test_active_without_a_process_is_not_running() -> None:
    """A oneshot that has ended says `active`, with MainPID 0."""
    assert not parsed("x", SHOWN.replace("MainPID=4242", "MainPID=0")).is_active


@pytest.mark.parametrize("line", ["MainPID=4243", "NRestarts=4", "InvocationID=f"])
def test_a_unit_that_died_and_came_back_has_another_life(line: str) -> None:
    """A loop says `active` all the time; these change."""
    name = line.partition("=")[0]
    changed = "\n".join(line if old.startswith(name) else old for old in SHOWN.splitlines())
    assert parsed("x", SHOWN).life != parsed("x", changed).life
    assert parsed("x", SHOWN).life == parsed("x", SHOWN.replace("running", "start-post")).life


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        ("1min 30s", 90.0),
        ("5s", 5.0),
        ("500ms", 0.5),
        ("1h", 3600.0),
        ("2h 1min 1s 5ms", 7261.005),
        ("1d", 86400.0),
        ("1w 1d", 691200.0),
        ("1month", 2629800.0),
        ("1y", 31557600.0),
        ("0", 0.0),
        ("250us", 0.00025),
        ("infinity", float("inf")),
        ("", 0.0),
    ],
)
def test_spans_of_systemd(span: str, expected: float) -> None:
    """As `systemctl show` writes them."""
    assert seconds(span) == pytest.approx(expected)


def test_the_runtime_folder_of_the_environment_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the uid's own, where it is there: cron and su lack the variable."""
    monkeypatch.setattr(os.path, "isdir", lambda path: path == "/run/user/4242")
    monkeypatch.setattr(os, "getuid", lambda: 4242)
    assert with_runtime_dir({"XDG_RUNTIME_DIR": "/x", "A": "b"}) == {"XDG_RUNTIME_DIR": "/x", "A": "b"}
    assert with_runtime_dir({"A": "b"}) == {"XDG_RUNTIME_DIR": "/run/user/4242", "A": "b"}
    monkeypatch.setattr(os, "getuid", lambda: 4243)
    assert with_runtime_dir({"A": "b"}) == {"A": "b"}


@pytest.mark.parametrize("scope", ["user", "system"])
def test_a_units_name_is_never_taken_for_an_option(scope: str) -> None:
    """It stands after `--`; nobody is asked for a password."""
    argv = Systemd(Processes(), {}, scope).command("restart", "--evil.service")
    assert argv[:2] == ["systemctl", f"--{scope}"]
    assert argv[-3:] == ["restart", "--", "--evil.service"]
    assert "--no-ask-password" in argv


def test_the_last_lines_of_a_log_file(tmp_path: Path) -> None:
    """Where the unit logs to a file, its end is read from there; where there is none, nothing is said."""
    log, fragment = tmp_path / "log", tmp_path / "x.service"
    log.write_text("".join(f"line {number}\n" for number in range(5000)))
    fragment.write_text(f"[Service]\nStandardOutput = append:{log}\nStandardError=inherit\n")
    unit = parsed("keyrotor-no-such.service", f"FragmentPath={fragment}\n")
    systemd = Systemd(Processes(), {"PATH": os.environ["PATH"]}, "user")
    assert systemd.last_lines(unit, 2) == b"line 4998\nline 4999"
    log.unlink()
    assert systemd.last_lines(unit) == b""
    fragment.unlink()
    assert systemd.last_lines(unit) == b""
