"""The doctor's parts for which no lab can be had: the system's manager, another user, a foreign file system."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from keyrotor.boundary.process import Done, Processes
from keyrotor.boundary.systemd import Systemd
from keyrotor.core.checkup import Check, Line, State
from keyrotor.core.model import Source
from keyrotor.doctor import _looked
from keyrotor.errors import PlaceError
from keyrotor.journal import Journal
from keyrotor.looks.as_timer import Service, argv, parsed
from keyrotor.looks.environment import that_matter
from keyrotor.looks.keeping import Keeping, file_system
from keyrotor.looks.opening import Opening
from keyrotor.looks.programs import Bus

NOBODY = 65534
FOLDER = Path("/srv/project")


# -- the command that runs the doctor as the timer


def test_the_systems_timer_is_run_by_the_systems_manager() -> None:
    """Its argv alone is looked at: no test may start a unit of the machine's own manager."""
    command = argv("system", FOLDER, Service(), "keyrotor-doctor-1", "playbooks/one.toml")
    assert command[:2] == ["systemd-run", "--system"]
    assert {"--wait", "--pipe", "--collect", "--no-ask-password", "--working-directory=/srv/project"} <= set(command)
    assert any(word.startswith("--property=RuntimeMaxSec=") for word in command)
    assert "--unit=keyrotor-doctor-1" in command
    assert command[-7:] == [sys.executable, "-P", "-m", "keyrotor", "doctor", "--json", "playbooks/one.toml"]
    assert argv("system", FOLDER, Service(), "keyrotor-doctor-1", "")[-1] == "--json"


def test_no_value_of_the_service_stands_in_the_argv() -> None:
    """systemd-run takes it from its own environment; what it needs there itself is written out."""
    held = {"SOPS_AGE_KEY": "value", "TZ": "value", "LC_X": "value", "PATH": "/opt/bin"}
    service = Service(held, ("EnvironmentFile=-/etc/keyrotor.env",))
    command = argv("user", FOLDER, service, "keyrotor-doctor-1", "")
    assert {"--setenv=SOPS_AGE_KEY", "--setenv=TZ", "--setenv=LC_X", "--setenv=PATH=/opt/bin"} <= set(command)
    assert "--property=EnvironmentFile=-/etc/keyrotor.env" in command
    assert not any("value" in word for word in command)


SHOWN = """\
Environment=A=1 "B=two words" "C=\\$HOME" "D=a\\"b\\\\c" E=x=y
EnvironmentFiles=/etc/may be.env (ignore_errors=yes)
EnvironmentFiles=/etc/must.env (ignore_errors=no)
UnsetEnvironment=HOME KEY=value LANG
User=backup
UMask=0022
WorkingDirectory=!/srv/a b
ReadOnlyPaths="/srv/c d" -/mnt
PrivateTmp=no
RootDirectory=/srv/root
ExecStart={ path=/opt/keyrotor ; argv[]=/opt/keyrotor rotate ; ignore_errors=no ; status=0/0 }
LoadState=loaded
"""


def test_what_systemctl_shows_of_a_service() -> None:
    """Words with blanks and signs, two files, a user and a folder; of a variable that is taken away only its name."""
    service = parsed(SHOWN)
    assert service.variables == {"A": "1", "B": "two words", "C": "$HOME", "D": 'a"b\\c', "E": "x=y"}
    assert service.properties == (
        "EnvironmentFile=-/etc/may be.env",
        "EnvironmentFile=/etc/must.env",
        "UnsetEnvironment=HOME LANG",
        "User=backup",
        "WorkingDirectory=-/srv/a b",
        'ReadOnlyPaths="/srv/c d" -/mnt',
    )
    assert service.folder == "-/srv/a b"
    assert service.files == ("/etc/must.env",)
    assert service.programs == ("/opt/keyrotor",)
    assert service.not_carried == ("RootDirectory",)


@pytest.mark.parametrize("shown", ["", "Environment=\nLoadState=not-found\n", SHOWN.replace("=loaded", "=masked")])
def test_a_service_that_is_not_there_sets_nothing(shown: str) -> None:
    assert parsed(shown).variables == {}
    assert parsed(shown).properties == ()


def test_what_may_hold_a_key_is_told_by_its_name_only() -> None:
    """Of the others the value is a path or a name."""
    env = {"SOPS_AGE_KEY": "A", "SOPS_AGE_KEY_CMD": "B", "SOPS_AGE_KEY_FILE": "/keys.txt", "OTHER": "C", "HOME": ""}
    assert that_matter(env) == {"SOPS_AGE_KEY": "…", "SOPS_AGE_KEY_CMD": "…", "SOPS_AGE_KEY_FILE": "/keys.txt"}


# -- another user, another file system


def as_nobody(check: Check) -> str:
    """What the check says, or why it is ill, in a child that is no longer root."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        os.write(writing, said(check).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with open(reading) as pipe:
        return pipe.read()


def said(check: Check) -> str:
    try:
        seen = check.look()
    except PlaceError as error:
        return f"ill: {error}"
    return f"{seen.state}: {seen.said}" if isinstance(seen, Line) else f"well: {seen}"


def named(checks: object, name: str) -> Check:
    return next(check for check in checks if check.name == name)  # type: ignore[attr-defined]


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that every user can reach, as pytest's own is not."""
    made = Path(tempfile.mkdtemp(prefix="keyrotor-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


def opening(identity: Path) -> Opening:
    source = Source(file=str(identity), key="KEY", identity=str(identity), project=str(identity.parent))
    return Opening(source, {"HOME": str(identity.parent)}, lambda: None)


def test_an_identity_that_this_user_cannot_read(folder: Path) -> None:
    """Ill for them, and well for its owner."""
    identity = folder / "keys.txt"
    identity.touch(0o600)
    check = named(opening(identity).checks(), "identity file")
    assert said(check).startswith("well: ")
    assert as_nobody(check) == f"ill: cannot read {identity}: permission denied"


def test_an_identity_that_is_a_pipe(tmp_path: Path) -> None:
    """Who can read it cannot be told; and it is not opened: that would wait for a writer."""
    os.mkfifo(tmp_path / "pipe")
    assert said(named(opening(tmp_path / "pipe").checks(), "identity file")).startswith(str(State.UNKNOWN))


def keeping(state: Path) -> Keeping:
    return Keeping(state, None, (), datetime(2026, 11, 22, tzinfo=UTC), Processes(), {})


def test_a_state_folder_of_another_user(folder: Path) -> None:
    """Ill, also where its mode would let them write."""
    state = folder / "state"
    state.mkdir()
    state.chmod(0o777)
    assert as_nobody(named(keeping(state).checks(), "state")) == (
        f"ill: cannot keep the record in {state}: it belongs to user {os.getuid()}"
    )


def test_a_state_folder_that_this_user_cannot_write(folder: Path) -> None:
    state = folder / "state"
    state.mkdir(0o755)
    assert "is read-only" in as_nobody(named(keeping(state).checks(), "state"))
    assert "is read-only" in as_nobody(named(keeping(state / "deeper").checks(), "state"))


MOUNTS = """\
22 1 254:0 / / rw,relatime - ext4 /dev/vda1 rw
25 22 0:23 / /home rw,relatime shared:7 - nfs4 server:/home rw
26 25 0:24 / /home/me/a\\040b rw - tmpfs none rw
27 22 0:25 / /homestead rw - xfs /dev/vdb rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var", "ext4"),
        ("/", "ext4"),
        ("/home/me", "nfs4"),
        ("/home/me/a b/c", "tmpfs"),
        ("/homestead/x", "xfs"),
        ("/home", "nfs4"),
        ("/homes/x", "ext4"),
    ],
)
def test_the_file_system_under_a_path(path: str, kind: str) -> None:
    """The innermost mount counts, by whole names."""
    assert file_system(MOUNTS, Path(path)) == kind


def test_a_record_on_a_file_system_whose_locks_may_not_hold(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Unknown, with its kind. (A fake table of mounts: no file server can be had here.)"""
    real: Callable[..., str] = Path.read_text
    table = f"1 1 0:1 / {tmp_path} rw - nfs4 server:/ rw\n"
    monkeypatch.setattr(
        Path, "read_text", lambda self, *how: table if str(self) == "/proc/self/mountinfo" else real(self, *how)
    )
    assert said(named(keeping(tmp_path / "state").checks(), "state")).startswith(f"unknown: {tmp_path}/state")


# -- a user without a name, a record that cannot be written, a look with a bug


def test_a_user_who_has_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Told by their number, as in a container. (A fake loginctl answer: no logind knows such a user.)"""

    class Silent(Processes):
        def run(self, argv: Sequence[str], **_: object) -> Done:
            return Done(0, b"yes" if argv[2] == "4242" else b"", b"")

    monkeypatch.setattr(os, "getuid", lambda: 4242)
    bus = Bus("user", (), False, Systemd(Silent(), {}, "user"), Silent(), {})
    assert said(named(bus.checks(), "linger")) == "well: on: the services of 4242 outlive the last logout"


def test_a_record_that_its_owner_cannot_write(folder: Path) -> None:
    """Ill: it can be read, and no run be recorded."""
    state = folder / "state"
    Journal.open(state).__exit__()
    (state / "journal.sqlite3").chmod(0o400)
    for path in (state, state / "journal.sqlite3"):
        os.chown(path, NOBODY, NOBODY)
    assert as_nobody(named(keeping(state).checks(), "record")).startswith("ill: cannot write the record: ")


def test_a_bug_in_one_look_costs_one_line() -> None:
    """It is told by its kind, and by nothing that its text holds."""

    def wrong() -> str:
        raise KeyError("value")

    (line,) = _looked([Check("one", wrong)])
    assert line.state is State.ILL
    assert "KeyError" in line.said
    assert "value" not in line.said


def test_what_hangs_on_a_line_that_was_not_looked_at_is_not_looked_at() -> None:
    """The first of them is named: what is to be mended."""

    def wrong() -> str:
        raise PlaceError("cannot")

    lines = list(_looked([Check("a", wrong), Check("b", str, needs=("a",)), Check("c", str, needs=("b",))]))
    assert [line.state for line in lines] == [State.ILL, State.SKIPPED, State.SKIPPED]
    assert lines[2].said == "not looked at: a must be mended first"
