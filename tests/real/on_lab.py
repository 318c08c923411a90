"""What the tests do to a lab, and what they look at: its tree, its playbook, its record, its two keys."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import select
import shlex
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Any, NoReturn

import pytest

from keyrotor.demo.lab import Lab
from keyrotor.demo.user_systemd import UserManager

MakeLab = Callable[..., Lab]
Keyrotor = Callable[..., subprocess.CompletedProcess[str]]
StartKeyrotor = Callable[..., subprocess.Popen[str]]
Tree = Mapping[str, tuple[object, ...]]
SRC = Path(__file__).parents[2] / "src"
FROZEN = """
import datetime, sys
from freezegun import freeze_time
import keyrotor.cli
ahead = datetime.timedelta(hours=float(sys.argv.pop(1)))
with freeze_time(datetime.datetime.now(datetime.UTC) + ahead, tick=True):
    keyrotor.cli.main()
"""
DOOR_SIDE = "gateway"  # the gateway's own folder: its log and its pid are not keyrotor's
AWAY = f"{(datetime.now() + timedelta(hours=12)):%H}:00"  # a timer that wakes then never does while a test is at work
LONG = 'within = "600s"'  # of a place that a test keeps waiting: a slow machine must not come to its end


def missing(what: str) -> NoReturn:
    """Skips the test, or fails it where every real part is required."""
    if os.environ.get("CI") or os.environ.get("KEYROTOR_REAL") == "required":
        pytest.fail(f"a real part is missing: {what}")
    pytest.skip(what)


def tree(lab: Lab, *, exact: bool = True) -> Tree:
    """Every name in the lab with mode, owner, links and content; `exact`: with inode and mtime too, and the state."""
    found: dict[str, tuple[object, ...]] = {}
    for folder, folders, names in os.walk(lab.root):
        for name in (*folders, *names):
            path = Path(folder, name)
            where = str(path.relative_to(lab.root))
            if where.startswith(DOOR_SIDE) or (not exact and path.is_relative_to(lab.state)):
                continue
            found[where] = _node(path, exact)
    if not exact:
        for parent in (lab.state.parent, lab.state.parent.parent):
            found.pop(str(parent.relative_to(lab.root)), None)
    return found


def _node(path: Path, exact: bool) -> tuple[object, ...]:
    status = path.lstat()
    content: object = None
    if stat.S_ISLNK(status.st_mode):
        content = os.readlink(path)
    elif stat.S_ISREG(status.st_mode):
        content = path.read_bytes()
    seen = (oct(status.st_mode), status.st_uid, status.st_gid, content)
    links = () if stat.S_ISDIR(status.st_mode) else (status.st_nlink,)
    return (*seen, *links, *((status.st_ino, status.st_mtime_ns) if exact else ()))


def differing(one: Tree, other: Tree) -> list[str]:
    """The names that differ; short enough to be read in a failed assert, and never a content."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def edit(path: Path, old: str, new: str) -> None:
    """Replace a text that must be there, keeping the inode."""
    text = path.read_text()
    assert old in text, (path, old)
    path.write_text(text.replace(old, new))


def add_command(lab: Lab, shell: str, *, before: str = "client-file", name: str = "meanwhile", more: str = "") -> None:
    """A `command` place that runs this shell text with $KEYROTOR_VALUE; stands before the first place of that kind."""
    add_before(lab, before, f'kind = "command"\nid = "{name}"\nput = {json.dumps(["/bin/sh", "-c", shell])}\n{more}')


def add_before(lab: Lab, before: str, place: str) -> None:
    """One more place, before the first one of that kind."""
    text = lab.playbook.read_text()
    head, found, _ = text.partition(f'kind = "{before}"')
    if not found:
        head, found, _ = text.partition(f'kind   = "{before}"')
    assert found, before
    at = head.rindex("[[place]]")
    lab.playbook.write_text(f"{text[:at]}[[place]]\n{place}\n\n{text[at:]}")


def hold(lab: Lab, first: str = ":", *, before: str = "client-file") -> Path:
    """A `command` place that does this first and then waits for the file that is returned: the test's go-ahead.

    It does not outlive keyrotor."""
    go = lab.root / DOOR_SIDE / "go"
    wait = f"while [ ! -e {shlex.quote(str(go))} ] && kill -0 $PPID; do sleep 0.05; done"
    add_command(lab, f"{first}; {wait}", before=before, more=LONG)
    return go


def add_place(lab: Lab, text: str) -> None:
    """One more place, at the end."""
    lab.playbook.write_text(lab.playbook.read_text() + "\n[[place]]\n" + text + "\n")


def sops_set(lab: Lab, key: str, value: str) -> str:
    """A shell line by which somebody else edits the encrypted file with the real sops."""
    types = "--input-type dotenv --output-type dotenv"
    sops = f"SOPS_AGE_KEY_FILE={lab.identity} SOPS_DISABLE_VERSION_CHECK=1 {lab.sops}"
    return f"""printf '"{value}"' | {sops} set {types} --value-stdin {lab.secret_file} '["{key}"]'"""


def listens(lab: Lab) -> str:
    """A shell line that asks whether anybody has the door's port."""
    return f"grep -q ':{lab.port:04X} 00000000:0000 0A' /proc/net/tcp"


def new_value() -> str:
    """A marker key of the test's own."""
    return f"sk-marker-{secrets.token_urlsafe(24)}"


def found(keyrotor: Keyrotor, lab: Lab, *arguments: str, **how: Any) -> list[str]:
    """The ids of what an audit of the lab finds, the worst first."""
    done = keyrotor(lab, "audit", "--json", *arguments, **how)
    assert done.returncode in (0, 10), done.stderr
    return [finding["id"] for finding in json.loads(done.stdout)["findings"]]


def at_another_time(lab: Lab, hours: float, *arguments: str) -> subprocess.CompletedProcess[str]:
    """keyrotor, with a clock that is that many hours ahead."""
    return in_project(lab, [sys.executable, "-c", FROZEN, str(hours), *arguments])


def found_then(lab: Lab, hours: float) -> list[str]:
    """What an audit finds that many hours from now."""
    done = at_another_time(lab, hours, "audit", "--json")
    assert done.returncode in (0, 10), done.stderr
    return [one["id"] for one in json.loads(done.stdout)["findings"]]


def write_timer(manager: UserManager, *, service: str = "ExecStart=/bin/true", timer: str = "OnCalendar=daily") -> str:
    """A timer for the lab's playbook, not started, and its service; the timer's name."""
    name = "keyrotor-litellm-master-key"
    manager.units.mkdir(parents=True, exist_ok=True)
    (manager.units / f"{name}.service").write_text(f"[Service]\nType=oneshot\n{service}\n")
    (manager.units / f"{name}.timer").write_text(f"[Timer]\n{timer}\nPersistent=true\n")
    manager.systemctl("daemon-reload")
    return f"{name}.timer"


def remove_timer(manager: UserManager, timer: str) -> None:
    service = timer.replace(".timer", ".service")
    manager.systemctl("stop", timer, service, check=False)
    for name in (timer, service):
        (manager.units / name).unlink(missing_ok=True)
    manager.systemctl("daemon-reload")
    manager.systemctl("reset-failed", service, check=False)


def doors(lab: Lab, *keys: str) -> list[int | None]:
    return [lab.status(key) for key in keys]


def is_all(lab: Lab, living: str, dead: str) -> None:
    """Every place holds the living value, the door accepts it and refuses the dead one, which is nowhere."""
    assert lab.current_key() == living, "the encrypted file"
    assert f"LITELLM_MASTER_KEY={living}\n" in lab.env_file.read_text(), "the env file"
    assert lab.settings.read_text().count(f'"apiKey": "{living}"') == 2, "the client file"
    asked = doors(lab, living, dead)
    assert asked == [200, 400], f"the door: {asked}"
    found = stray(lab.root, [dead]) + stray(lab.root, [living], besides=(lab.env_file, lab.settings))
    assert not found, f"left behind: {found}"


def spellings(value: str) -> list[bytes]:
    """The value as it may leak: itself, in hex, and in base64 at each of the three offsets."""
    raw = value.encode()
    found = [raw, raw.hex().encode(), raw.hex().upper().encode()]
    for shift in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            # The first and last four characters depend on the neighbours.
            found.append(encode(b"\0" * shift + raw)[4:-4])
    return found


def stray(folder: Path, values: Iterable[str], besides: Iterable[Path] = ()) -> list[str]:
    """The files below the folder that hold one of the values in any spelling, and the siblings of killed writes.

    A run that was killed before it was opened leaves its folder (ciphertext) to the next rotation.
    """
    wanted = [spelling for value in values for spelling in spellings(value)]
    left_out = set(besides)
    found = []
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            if path in left_out or not path.is_file():
                continue
            data = path.read_bytes()
            if any(spelling in data for spelling in wanted):
                found.append(str(path.relative_to(folder)))
            elif name.startswith(".") and name.endswith(".keyrotor") and path.parent.parent.name != "runs":
                found.append(f"left over: {path.relative_to(folder)}")
    return sorted(found)


def events(lab: Lab) -> list[tuple[str, str, dict[str, Any]]]:
    """Run, kind and data of every event on record. Read as SQLite reads, for what a live writer has not committed is
    none; from a copy where the writer was killed in mid-commit, for its journal must be played and the record stay."""
    path = lab.state / "journal.sqlite3"
    try:
        return _events(f"{path.as_uri()}?mode=ro")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_READONLY_ROLLBACK:
            return []  # none yet, or just made
    with tempfile.TemporaryDirectory() as folder:
        for name in (f"{path.name}-journal", path.name):
            with contextlib.suppress(FileNotFoundError):
                shutil.copy(lab.state / name, folder)
        try:
            return _events(Path(folder, path.name).as_uri())
        except sqlite3.DatabaseError:  # somebody plays it just now
            return []


def _events(uri: str) -> list[tuple[str, str, dict[str, Any]]]:
    query = "SELECT run, kind, data FROM events WHERE run != '' ORDER BY seq"
    with contextlib.closing(sqlite3.connect(uri, uri=True)) as database:
        return [(run, kind, json.loads(data)) for run, kind, data in database.execute(query)]


def trace(lab: Lab) -> list[str]:
    """The newest run on one line for each event: `moving unit:new`, `turned-back`, …"""
    found = events(lab)
    newest = found[-1][0] if found else ""
    return [
        f"{kind} {data['row']}{':' + data['value'] if 'value' in data else ''}" if "row" in data else kind
        for run, kind, data in found
        if run == newest
    ]


def wait_for(lab: Lab, event: str, process: subprocess.Popen[str], within: float = 100.0) -> None:
    """Until the newest run's record ends with this event."""
    until(process, lambda: trace(lab)[-1:] == [event], within, lambda: f"to {event}: {trace(lab) or 'nothing'}")


def until(
    process: subprocess.Popen[str], is_so: Callable[[], bool], within: float = 100.0, said: Callable[[], str] = str
) -> None:
    """Until it is so, while this process is at work; `said`: what it never came to, and to what it came."""
    deadline = time.monotonic() + within
    while not is_so():
        assert process.poll() is None or is_so(), process.communicate()  # it may have come with the end
        assert time.monotonic() < deadline, f"never came {said()}"
        time.sleep(0.005)


def sleepers(process: subprocess.Popen[Any]) -> list[str]:
    """Its children, once one of them sleeps: `moving` is on record before there is a child, and a child is at first a
    copy of its parent."""
    until(process, lambda: "sleep" in map(_name, _children(process)), said=lambda: "to a child that sleeps")
    return _children(process)


def _children(process: subprocess.Popen[Any]) -> list[str]:
    return Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()


def _name(pid: str) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""  # it has ended meanwhile


def until_said(stream: IO[str] | None, text: str, within: float = 100.0) -> str:
    """What is printed there up to this text, and no byte more: communicate() would not find what was read ahead."""
    assert stream
    said = b""
    while not said.endswith(text.encode()):
        assert select.select([stream], [], [], within)[0], said
        byte = os.read(stream.fileno(), 1)
        assert byte, said
        said += byte
    return said.decode()


def has_begun(lab: Lab, step: str) -> bool:
    """Whether an incident has come to this step."""
    return ("step-began", step) in [(kind, data.get("step")) for _, kind, data in events(lab)]


def kill(process: subprocess.Popen[str]) -> None:
    """Kill it, and whatever it has started, in mid-work; it may just have ended."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def keyrotor_argv(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "keyrotor", *arguments]


def keyrotor_env(lab: Lab, **more: str) -> dict[str, str]:
    return {**lab.environment(), "PYTHONPATH": str(SRC), **more}


def in_project(lab: Lab, argv: Sequence[str], *, timeout: float = 60, **more: str) -> subprocess.CompletedProcess[str]:
    """What becomes of this command in the project, with no input; `more` of its environment."""
    return subprocess.run(
        argv,
        check=False,
        cwd=lab.project,
        env=keyrotor_env(lab, **more),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
