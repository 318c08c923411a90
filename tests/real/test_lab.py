"""The lab itself: it stands on real parts, and its embedded gateway answers as the real LiteLLM does."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from keyrotor.demo import child, gateway
from keyrotor.demo.build import free_port
from keyrotor.demo.lab import Lab
from keyrotor.demo.runner import python_program
from keyrotor.demo.user_systemd import UserManager, existing_user_manager, private_user_manager
from keyrotor.errors import KeyrotorError

MakeLab = Callable[..., Lab]

CHAT = {"model": gateway.MODEL, "messages": [{"role": "user", "content": "ping"}]}
NO_KEY = (
    '{"error":{"message":"Authentication Error, No api key passed in.",'
    '"type":"auth_error","param":"None","code":"401"}}'
)
WRONG_KEY = '{"error":{"message":"No connected db.","type":"no_db_connection","param":null,"code":"400"}}'
MALFORMED = NO_KEY.replace("No api key passed in.", "Malformed API Key passed in. Ensure Key has `Bearer ` prefix.")


def ask(lab: Lab, path: str, body: object = None, **headers: str) -> tuple[int, str]:
    """Status and body of one request."""
    data = None if body is None else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(lab.url + path, data, {"Content-Type": "application/json", **named})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def environ(pid: int | None) -> dict[str, str]:
    pairs = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return dict(pair.partition("=")[::2] for pair in pairs)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=["embedded", "litellm"])
def either(request: pytest.FixtureRequest, make_lab: MakeLab) -> Lab:
    return make_lab(request.param)


def test_the_embedded_gateway_answers_as_litellm_does(either: Lab) -> None:
    """One row for each measured answer; the same rows hold for both gateways."""
    key = either.current_key()
    models = {
        "data": [{"id": "mock", "object": "model", "created": 1677610602, "owned_by": "openai"}],
        "object": "list",
    }
    rows: list[tuple[str, dict[str, str], int, str]] = [("/nope", {}, 404, '{"detail":"Not Found"}')]
    for path, said in gateway.HEALTH.items():
        rows.append((path, {}, 200, json.dumps(said, separators=(",", ":"))))
    for path in gateway.MODELS:
        rows += [
            (path, {}, 401, NO_KEY),
            (path, {"Authorization": "Bearer sk-wrong"}, 400, WRONG_KEY),
            (path, {"Authorization": "Bearer wrong"}, 400, WRONG_KEY),
            (path, {"Authorization": "Bearer "}, 401, MALFORMED),
            (path, {"Authorization": key}, 401, MALFORMED),
            (path, {"x_api_key": "sk-wrong"}, 400, WRONG_KEY),
        ]
        for good in (
            {"Authorization": f"Bearer {key}"},
            {"Authorization": f"Basic {key}"},
            {"x_api_key": key},
        ):
            rows.append((path, good, 200, json.dumps(models, separators=(",", ":"))))
    for path, headers, status, body in rows:
        assert ask(either, path, **headers) == (status, body), (path, list(headers), status)


def test_the_embedded_gateway_chats_as_litellm_does(either: Lab) -> None:
    """A chat needs the key; the mock answer has LiteLLM's shape."""
    path = gateway.CHATS[0]
    assert ask(either, path, CHAT) == (401, NO_KEY)
    assert ask(either, path, CHAT, Authorization="Bearer sk-wrong") == (400, WRONG_KEY)
    assert ask(either, path, Authorization=f"Bearer {either.current_key()}") == (
        405,
        '{"detail":"Method Not Allowed"}',
    )
    status, body = ask(either, path, CHAT, Authorization=f"Bearer {either.current_key()}")
    answer: dict[str, Any] = json.loads(body)
    assert status == 200
    assert set(answer) == {"id", "created", "model", "object", "choices", "usage"}
    assert answer["model"] == gateway.MODEL
    assert answer["choices"] == [
        {"finish_reason": "stop", "index": 0, "message": {"content": gateway.ANSWER, "role": "assistant"}}
    ]


@pytest.mark.parametrize("key", [None, "", "  ", "sk-1234"])
def test_a_weak_key_is_refused_at_start(key: str | None) -> None:
    """Exit 3, as LiteLLM since 1.104."""
    weak = {} if key is None else {"LITELLM_MASTER_KEY": key}
    command = [*python_program(gateway.__file__), "--port", str(free_port())]
    assert subprocess.run(command, check=False, env=weak, capture_output=True, timeout=20).returncode == 3


@pytest.mark.parametrize(
    ("options", "right", "wrong", "none"),
    [
        ((), 200, 400, 401),
        (("--open",), 200, 200, 200),
        (("--no-prisma",), 200, 400, 500),
        (("--answer", "503"), 503, 503, 503),
    ],
)
def test_faults_of_the_gateway(make_lab: MakeLab, options: tuple[str, ...], right: int, wrong: int, none: int) -> None:
    """The embedded gateway has the faults that a rotation must notice."""
    lab = make_lab(unit=False, start=False, gateway_options=options)
    lab.start()
    deadline = time.monotonic() + 10
    while lab.status(None) is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert (lab.status(lab.current_key()), lab.status("sk-wrong"), lab.status(None)) == (right, wrong, none)


def test_two_keys_while_a_file_holds_the_second(make_lab: MakeLab, tmp_path: Path) -> None:
    """`--also` is looked at with every request."""
    second = tmp_path / "second"
    lab = make_lab(unit=False, gateway_options=("--also", str(second)))
    assert lab.status("sk-second") == 400
    second.write_text("sk-second\n")
    assert (lab.status("sk-second"), lab.status(lab.current_key())) == (200, 200)
    second.unlink()
    assert lab.status("sk-second") == 400


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_the_lab_holds_one_key_in_every_place(make_lab: MakeLab, umask: int) -> None:
    """The encrypted file, env file, client file, unit and door agree, and modes do not follow the umask."""
    before = os.umask(umask)
    try:
        lab = make_lab()
    finally:
        os.umask(before)
    key = lab.current_key()
    assert f"LITELLM_MASTER_KEY={key}\n" in lab.env_file.read_text()
    assert lab.settings.read_text().count(f'"apiKey": "{key}"') == 2
    assert environ(lab.runner.main_pid())["LITELLM_MASTER_KEY"] == key
    assert key not in lab.secret_file.read_text()
    assert (lab.status(key), lab.status("sk-bogus"), lab.status(None)) == (200, 400, 401)
    secret = (lab.identity, lab.env_file, lab.settings, lab.log)
    assert {mode(path) for path in secret} == {0o600}
    assert {mode(path) for path in (lab.root, lab.home, lab.project)} == {0o700}
    assert mode(lab.secret_file) == 0o644
    assert key not in lab.log.read_text()


def test_the_lab_is_one_clean_commit(make_lab: MakeLab) -> None:
    """What is in the project is committed, with nothing of the user's git configuration."""
    lab = make_lab(unit=False, start=False)
    assert lab.run("/usr/bin/git", "status", "--porcelain") == ""
    assert lab.run("/usr/bin/git", "log", "--format=%an").split("\n") == ["keyrotor lab", ""]


def test_a_folder_that_is_not_empty_is_refused(make_lab: MakeLab, tmp_path: Path) -> None:
    """The lab overwrites nothing."""
    (tmp_path / "lab1").mkdir()
    (tmp_path / "lab1" / "mine").touch()
    with pytest.raises(KeyrotorError, match="not empty"):
        make_lab(unit=False)
    assert os.listdir(tmp_path / "lab1") == ["mine"]


def test_a_stopped_lab_leaves_no_unit_and_no_process(make_lab: MakeLab, manager: UserManager) -> None:
    """The unit file is removed, the manager has forgotten it, nobody answers."""
    lab = make_lab()
    lab.take_down()
    assert manager.systemctl("list-units", "--all", "--plain", "--no-legend", str(lab.unit)) == ""
    assert not (manager.units / str(lab.unit)).exists()
    assert not lab.root.exists()
    assert lab.status(None) is None


@pytest.mark.parametrize("gateway", ["embedded", "litellm"])
def test_a_sick_lab_comes_up_with_the_present_key_only(make_lab: MakeLab, gateway: str) -> None:
    """So a rotation fails at the door, and its rollback succeeds."""
    lab = make_lab(gateway, unit=False)
    key, env = lab.current_key(), lab.env_file.read_text()
    lab.sicken()
    lab.env_file.write_text(env.replace(key, f"{key}x"))
    lab.start()
    time.sleep(0.5)
    assert (lab.status(key), lab.status(f"{key}x")) == (None, None)
    assert b"--sick-file" in Path(f"/proc/{lab.runner.main_pid()}/cmdline").read_bytes()
    lab.env_file.write_text(env)
    lab.start()
    lab.wait_until_healthy()
    lab.heal()


def test_the_manager_that_is_there_is_found(
    manager: UserManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By $XDG_RUNTIME_DIR; an empty runtime folder has none."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(manager.runtime))
    assert existing_user_manager() == manager
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert existing_user_manager() is None


def test_a_private_manager_takes_its_gateways_along(make_lab: MakeLab, lab: Lab) -> None:
    """Its end leaves no process and no folder of its own, and does not touch the units of another manager."""
    with private_user_manager() as other:
        second = make_lab(manager=other, unit=False)
        pid = second.runner.main_pid()
        assert second.status(second.current_key()) == 200
    assert not Path(f"/proc/{pid}").exists()
    assert not other.runtime.exists()
    assert lab.status(lab.current_key()) == 200


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[tuple[Path, list[str]]]:
    """A state folder with an env file beside it, and a command for child.py."""
    state = tmp_path / "state"
    (tmp_path / "env").write_text("# a comment\nLITELLM_MASTER_KEY='one'\nOTHER=2\n")
    yield state, ["--state", str(state), "--env-file", str(tmp_path / "env"), "--", "/bin/sleep", "60"]
    child.stop(state)


def run_child(verb: str, arguments: list[str], value: bytes = b"", **how: Any) -> int:
    command = [*python_program(child.__file__), verb, *arguments]
    return subprocess.run(command, check=False, input=value, timeout=20, **how).returncode


def test_child_restart_and_holds(sleeper: tuple[Path, list[str]], tmp_path: Path) -> None:
    """The child has FILE's variables, little else, no inherited file; `holds` compares with its own environment."""
    state, arguments = sleeper
    where = ["--state", str(state)]
    assert run_child("holds", where, b"one") == 2
    inherited = os.open(tmp_path / "lock", os.O_CREAT | os.O_RDWR)
    os.set_inheritable(inherited, True)
    noisy = {**os.environ, "LITELLM_MASTER_KEY": "the caller's", "UNWANTED": "1"}
    assert run_child("restart", arguments, b"x" * 100_000, env=noisy, close_fds=False) == 0
    os.close(inherited)
    first = child.child_pid(state)
    assert first is not None
    assert environ(first)["LITELLM_MASTER_KEY"] == "one"
    assert not environ(first).keys() & {"UNWANTED", "HOME"}
    assert {os.readlink(link) for link in Path(f"/proc/{first}/fd").iterdir()} == {
        os.devnull,
        str(state / "log"),
    }
    assert os.getsid(first) == first
    assert (run_child("holds", where, b"one"), run_child("holds", where, b"two")) == (0, 1)
    assert {mode(path) for path in state.iterdir()} == {0o600}

    (tmp_path / "env").write_text("LITELLM_MASTER_KEY=two\n")
    assert run_child("restart", arguments) == 0
    assert child.child_pid(state) != first
    assert not Path(f"/proc/{first}").exists() or "State:\tZ" in Path(f"/proc/{first}/status").read_text()
    assert (run_child("holds", where, b"one"), run_child("holds", where, b"two")) == (1, 0)
    assert run_child("stop", where) == 0
    assert run_child("holds", where, b"two") == 2


def test_child_says_why_it_cannot_start(sleeper: tuple[Path, list[str]], capfd: pytest.CaptureFixture[str]) -> None:
    """A command that is not there, or an env file: exit 1, a reason, nothing running."""
    state, arguments = sleeper
    assert run_child("restart", [*arguments[:-2], "/nowhere/gateway"]) == 1
    assert "No such file" in capfd.readouterr().err
    assert child.child_pid(state) is None
    assert run_child("restart", ["--state", str(state), "--env-file", "/nowhere/env", "--", "/bin/true"]) == 1


def test_a_stubborn_child_is_killed(sleeper: tuple[Path, list[str]]) -> None:
    """SIGTERM ignored: SIGKILL after the patience."""
    state, arguments = sleeper
    stubborn = "import signal, time; signal.signal(15, 1); print('up', flush=True); time.sleep(60)"
    assert run_child("restart", [*arguments[:-2], sys.executable, "-c", stubborn]) == 0
    deadline = time.monotonic() + 10
    while "up" not in (state / "log").read_text() and time.monotonic() < deadline:
        time.sleep(0.02)
    began = time.monotonic()
    assert run_child("stop", ["--state", str(state)]) == 0
    assert child.PATIENCE <= time.monotonic() - began < child.PATIENCE + 5
    assert child.child_pid(state) is None


@pytest.mark.parametrize("start", ["same", "other"])
def test_a_stranger_is_never_signalled(sleeper: tuple[Path, list[str]], start: str) -> None:
    """The pid file names a process that is not ours: another start time, or the right one without our marker."""
    state, arguments = sleeper
    stranger = subprocess.Popen(["/bin/sleep", "60"], env={"LITELLM_MASTER_KEY": "one"})
    try:
        time.sleep(0.1)
        ticks = child._start_time(stranger.pid)
        assert ticks is not None
        state.mkdir()
        (state / "pid").write_text(f"{stranger.pid} {ticks if start == 'same' else ticks - 1}\n")
        assert run_child("holds", ["--state", str(state)], b"one") == 2
        assert run_child("restart", arguments) == 0
        assert child.child_pid(state) not in (None, stranger.pid)
        assert run_child("stop", ["--state", str(state)]) == 0
        assert stranger.poll() is None
    finally:
        stranger.send_signal(signal.SIGKILL)
        stranger.wait()


def test_a_restart_killed_at_any_moment_leaves_no_unnamed_child(sleeper: tuple[Path, list[str]]) -> None:
    """Kill `restart` after ever longer waits: afterwards one more restart leaves exactly one child."""
    state, arguments = sleeper
    for step in range(12):
        command = [*python_program(child.__file__), "restart", *arguments]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        time.sleep(step * 0.01)
        process.kill()
        process.wait()
    assert run_child("restart", arguments) == 0
    mark = f"{child.MARKER}={state.resolve()}".encode()
    ours = [pid for pid in os.listdir("/proc") if pid.isdigit() and mark in _environ_bytes(pid)]
    assert ours == [str(child.child_pid(state))]


def _environ_bytes(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


def test_the_sick_note_names_a_key_by_its_hash_only(make_lab: MakeLab) -> None:
    """No key stands in the clear beside the gateway."""
    lab = make_lab(unit=False, start=False)
    lab.sicken()
    assert lab.sick_file.read_text() == hashlib.sha256(lab.current_key().encode()).hexdigest()
