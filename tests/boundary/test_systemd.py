"""What systemctl prints, as a Unit. Its restarts are in tests/places and tests/real."""

from __future__ import annotations

import os
import secrets
from datetime import UTC, datetime
from pathlib import Path

import pytest

from keyrotor.boundary.process import Processes
from keyrotor.boundary.systemd import Systemd, with_runtime_dir
from keyrotor.boundary.unit_environment import overriding, sets, sources
from keyrotor.boundary.unit_text import moment, parsed, parsed_timer, seconds

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


def test_where_a_units_environment_comes_from() -> None:
    """The files in the order in which they are read, each with its `-`; a path may have blanks and brackets in it."""
    shown = SHOWN + (
        "EnvironmentFiles=/etc/a (b) c.env (ignore_errors=yes)\nEnvironmentFiles=/run/*.env (ignore_errors=no)\n"
        "UnsetEnvironment=A B=c\nDropInPaths=/a/10.conf /b/20.conf\nNeedDaemonReload=yes\n"
    )
    unit = parsed("x", shown)
    assert [(each.path, each.is_optional) for each in unit.environment_files] == [
        ("/etc/litellm.env", False),
        ("/etc/a (b) c.env", True),
        ("/run/*.env", False),
    ]
    assert unit.removed == {"A", "B=c"}
    assert unit.drop_ins == ("/a/10.conf", "/b/20.conf")
    assert unit.owes_reload
    assert not parsed("x", SHOWN).owes_reload


def test_of_a_literal_only_the_name_is_kept() -> None:
    """Environment= holds values: a unit shows none, however systemd quotes it; an empty one is none."""
    value = secrets.token_urlsafe(12)
    words = f"""A={value} "B=x {value}" "C=\\"D={value}" E= "F=" $'G={value}\\n' H=a=b"""
    unit = parsed("x", f"Environment={words}\n")
    assert unit.literals == {"A", "B", "C", "G", "H"}
    assert value not in repr(unit)


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
    ("text", "expected"),
    [
        ("Sun 2026-11-22 13:28:28 UTC", datetime(2026, 11, 22, 13, 28, 28, tzinfo=UTC)),
        ("Sun 2026-11-22 13:28:28.642523 UTC", datetime(2026, 11, 22, 13, 28, 28, tzinfo=UTC)),
        ("2024-02-29 00:00:00 UTC", datetime(2024, 2, 29, tzinfo=UTC)),
        ("", None),
        ("n/a", None),
        ("0", None),
        ("infinity", None),
    ],
)
def test_moments_of_systemd(text: str, expected: datetime | None) -> None:
    """As `systemctl show` writes them for TZ=UTC; an older one says n/a where a newer one says nothing."""
    assert moment(text) == expected


def test_a_timer_as_it_is_shown() -> None:
    """Every property that decides something; a name that nobody knows is no timer."""
    timer = parsed_timer(
        "k.timer",
        "Unit=k.service\nLastTriggerUSec=n/a\nResult=success\nLoadState=loaded\nActiveState=active\nSubState=elapsed\n"
        "ActiveEnterTimestamp=Sun 2026-11-22 13:28:28 UTC\n",
    )
    assert (timer.wakes, timer.sub, timer.has_fired, timer.is_known) == ("k.service", "elapsed", False, True)
    assert timer.since == datetime(2026, 11, 22, 13, 28, 28, tzinfo=UTC)
    assert not parsed_timer("k.timer", "LoadState=not-found\n").is_known
    assert not parsed_timer("k.timer", "").is_known


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"KEY=a\n", True),
        (b"A=b\n \tKEY\t= 'a'", True),
        (b"KEY=", True),
        (b"\xff\xfe\nKEY=a", True),
        (b"# KEY=a\n;KEY=a\n", False),
        (b"export KEY=a\n", False),
        (b"KEY2=a\nMY_KEY=a\n", False),
        (b"A=b \\\nKEY=a\n", False),
        (b"KEY\n", False),
        (b"", False),
    ],
)
def test_what_sets_a_variable(tmp_path: Path, text: bytes, expected: bool) -> None:
    """As systemd reads an env file; one that is not there sets nothing."""
    path = tmp_path / "x.env"
    assert not sets(path, "KEY")
    path.write_bytes(text)
    assert sets(path, "KEY") is expected


def test_who_comes_after_the_env_file(tmp_path: Path) -> None:
    """Only what is read after the last of ours counts; ours is known under any name; none of ours, nothing known."""
    ours, link, late, early = (tmp_path / name for name in ("ours.env", "link.env", "z-1.env", "a.env"))
    for path in (ours, late, early):
        path.write_text("KEY=a\n")
    link.symlink_to(ours)

    def decides(*read: object, mine: Path = ours, more: str = "") -> list[str]:
        shown = "".join(f"EnvironmentFiles={path} (ignore_errors=no)\n" for path in read) + more
        return overriding(parsed("x", shown), "KEY", [mine])

    assert decides(early, ours) == []
    assert decides(early, link) == []
    assert decides(ours, early, link) == []
    assert decides(link, tmp_path / "z-*.env") == [str(late)]
    assert decides(ours, late, early) == [str(late), str(early)]
    assert decides(ours, tmp_path / "absent.env") == []
    assert decides(early, late) == []
    assert decides(ours, more="UnsetEnvironment=A KEY\n") == ["UnsetEnvironment="]
    ours.write_text("OTHER=a\n")
    assert decides(ours, late) == [], "the unit's variable is not in ours: somebody else writes it"


def test_a_pattern_of_env_files(tmp_path: Path) -> None:
    """A pattern is its files, in order; a name without a sign of one stands for itself, there or not."""
    for name in ("b.env", "a.env", "c.txt"):
        (tmp_path / name).touch()
    shown = f"EnvironmentFiles={tmp_path}/*.env (ignore_errors=yes)\nEnvironmentFiles=/no/such (ignore_errors=no)\n"
    assert [(source.path.name, source.is_optional) for source in sources(parsed("x", shown))] == [
        ("a.env", True),
        ("b.env", True),
        ("such", False),
    ]


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
