"""What an audit says of the gateway: each fault gives exactly its own finding, and a stranger never sees the key."""

from __future__ import annotations

import json
import os
import re
import shutil
import socketserver
import stat
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from keyrotor.boundary.proc import listening
from keyrotor.demo.lab import Lab
from keyrotor.demo.user_systemd import UserManager
from real.on_lab import Keyrotor, MakeLab, StartKeyrotor, add_place, edit, found, new_value, wait_for

VARIABLE, SALT = "LITELLM_MASTER_KEY", "LITELLM_SALT_KEY"
DATABASE = "\n  database_url: os.environ/DATABASE_URL\n"


class Unit:
    """The lab's unit, to be changed."""

    def __init__(self, lab: Lab, manager: UserManager) -> None:
        assert lab.unit
        self._lab, self._manager, self._name = lab, manager, lab.unit
        self._path = manager.units / lab.unit
        self._text = self._path.read_text()

    def start(self, command: str = "{command}", lines: str = "", *, wait: bool = True) -> None:
        """Restart it with this command, `{command}` being its own, and with these lines more."""
        self.change(command, lines)
        self._manager.systemctl("restart", self._name)
        deadline = time.monotonic() + 60
        while wait and self._lab.status(None) is None:
            assert time.monotonic() < deadline, "it does not come up"
            time.sleep(0.02)

    def change(self, command: str = "{command}", lines: str = "") -> None:
        """The same from the next restart on."""
        (own,) = re.findall(r"^ExecStart=(.*)$", self._text, re.MULTILINE)
        text = self._text.replace(f"ExecStart={own}", f"ExecStart={command.replace('{command}', own)}")
        self._path.write_text(f"{text}\n[Service]\n{lines}\n")
        self._manager.systemctl("daemon-reload")


@pytest.fixture
def unit(clean_lab: Lab, manager: UserManager) -> Unit:
    return Unit(clean_lab, manager)


def audited(keyrotor: Keyrotor, lab: Lab, **how: Any) -> list[dict[str, str]]:
    done = keyrotor(lab, "audit", "--json", **how)
    assert done.returncode in (0, 10), done.stderr
    return list(json.loads(done.stdout)["findings"])


def configure(lab: Lab, old: str, new: str) -> None:
    """Change the gateway's config; the embedded one reads none."""
    edit(lab.config, old, new)


def without_literals(lab: Lab) -> None:
    """A client that refers to the key holds no master key."""
    lab.settings.write_text(lab.settings.read_text().replace(lab.current_key(), f"${{{VARIABLE}}}"))


# -- whom it lets in -------------------------------------------------------------------------------------------------


def test_a_door_that_is_open(clean_lab: Lab, unit: Unit, keyrotor: Keyrotor) -> None:
    """A key that nobody has is accepted."""
    unit.start("{command} --open")
    assert found(keyrotor, clean_lab) == ["gateway-open"]


def test_a_door_that_answers_500_without_a_key(clean_lab: Lab, unit: Unit, keyrotor: Keyrotor) -> None:
    """As LiteLLM without its `prisma` package does."""
    unit.start("{command} --no-prisma")
    assert found(keyrotor, clean_lab) == ["gateway-500"]


@pytest.mark.parametrize("status", [500, 503, 302, 404])
def test_a_door_that_gives_no_clear_answer(clean_lab: Lab, unit: Unit, keyrotor: Keyrotor, status: int) -> None:
    """What is neither yes nor no is told by its status."""
    unit.start(f"{{command}} --answer {status}")
    (only,) = audited(keyrotor, clean_lab)
    assert only["id"] == "gateway-silent"
    assert str(status) in only["text"]


def test_a_door_that_is_shut(clean_lab: Lab, unit: Unit, keyrotor: Keyrotor) -> None:
    """The unit runs and nobody listens."""
    unit.start("{command} --delay 600", wait=False)
    (only,) = audited(keyrotor, clean_lab)
    assert only["id"] == "gateway-silent"
    assert "no answer" in only["text"]


MUTE = """
import socket
door = socket.create_server(("127.0.0.1", {port}))
kept = []
while True:
    kept.append(door.accept())
    open("{note}", "a").write(".")
"""


def test_a_door_that_never_answers_is_asked_once(
    clean_lab: Lab, unit: Unit, keyrotor: Keyrotor, tmp_path: Path
) -> None:
    """Each question would wait as long as the first; the present key is not among them."""
    program, note = tmp_path / "mute.py", tmp_path / "note"
    program.write_text(MUTE.format(port=clean_lab.port, note=note))
    unit.start(f"{sys.executable} -IS {program}", wait=False)
    deadline = time.monotonic() + 20
    while not listening(clean_lab.port):
        assert time.monotonic() < deadline, "it does not come up"
        time.sleep(0.02)
    (only,) = audited(keyrotor, clean_lab)
    assert only["id"] == "gateway-silent"
    assert "no answer" in only["text"]
    assert note.read_text() == "."


def test_a_door_that_refuses_the_present_key(clean_lab: Lab, unit: Unit, keyrotor: Keyrotor) -> None:
    """The unit's process has the present key, and what answers for it has another."""
    unit.start(f"/bin/sh -c '{VARIABLE}={new_value()} {{command}}; exit 1'")
    assert found(keyrotor, clean_lab) == ["gateway-refuses"]


class Stranger(BaseHTTPRequestHandler):
    """Answers as the gateway would, and notes what it was shown."""

    shown: list[str]

    def do_GET(self) -> None:
        self.shown.append(self.headers.get("Authorization", ""))
        self.send_response(401)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def shown(clean_lab: Lab, unit: Unit) -> Iterator[list[str]]:
    """What a process of somebody else's is shown that has taken the unit's port, while the unit is starting."""
    unit.start("{command} --delay 600", wait=False)
    seen: list[str] = []
    socketserver.TCPServer.allow_reuse_address = True
    handler = type("Noting", (Stranger,), {"shown": seen})
    deadline = time.monotonic() + 10
    while True:
        try:
            server = HTTPServer(("127.0.0.1", clean_lab.port), handler)
            break
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield seen
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_stranger_on_the_port_is_told_and_shown_nothing(
    clean_lab: Lab, shown: list[str], keyrotor: Keyrotor, manager: UserManager
) -> None:
    """Another process than the unit's answers there: it is named, and the present key is not sent; nor is it to
    whoever answers while the unit is down."""
    (only,) = audited(keyrotor, clean_lab)
    assert only["id"] == "gateway-silent"
    assert f"(pid {os.getpid()}), not by {clean_lab.unit}" in only["text"]
    manager.systemctl("stop", str(clean_lab.unit))
    assert "gateway-silent" in found(keyrotor, clean_lab)
    assert shown == []


def test_another_address_does_not_stop_an_audit(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """TLS where there is none, a path of a proxy's, a name that leads nowhere: no clear answer, and nothing else."""
    text = clean_lab.playbook.read_text()
    for url in (f"https://127.0.0.1:{clean_lab.port}", f"{clean_lab.url}/behind/a/proxy/", "http://gateway.invalid:80"):
        clean_lab.playbook.write_text(text.replace(clean_lab.url, url))
        assert found(keyrotor, clean_lab) == ["gateway-silent"], url


def test_an_ipv6_address_is_asked_too(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """Nobody listens there; on the IPv4 one the unit does."""
    edit(clean_lab.playbook, clean_lab.url, f"http://[::1]:{clean_lab.port}")
    assert found(keyrotor, clean_lab) == ["gateway-silent"]


def test_a_gateway_that_is_silent_while_it_is_rotated(
    clean_lab: Lab, unit: Unit, keyrotor: Keyrotor, start_keyrotor: StartKeyrotor
) -> None:
    """It is being started by the run that goes on, which is told, and not what follows from it."""
    unit.start()
    unit.change("{command} --delay 600")
    process = start_keyrotor(clean_lab, "rotate", "--yes")
    wait_for(clean_lab, "moving litellm:accepts:new", process)
    told = found(keyrotor, clean_lab)
    process.kill()
    process.wait()
    assert "run-going" in told
    assert not {"gateway-silent", "gateway-500", "value-unknown", "unit-down"} & set(told)


def test_a_mend_names_the_unit_and_its_scope(clean_lab: Lab, unit: Unit, keyrotor: Keyrotor) -> None:
    """As it can be typed."""
    unit.start("{command} --answer 503")
    (only,) = audited(keyrotor, clean_lab)
    assert f"systemctl --user status {clean_lab.unit}" in only["mend"]


# -- what it was told ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (f"os.environ/{VARIABLE}", "literal"),
        (f"os.environ/{VARIABLE}", "os.environ/ANOTHER"),
        ("general_settings:\n", "general_settings:\n  allow_requests_on_db_unavailable: true\n"),
        ("general_settings:\n", f"environment_variables:\n  {VARIABLE}: literal\ngeneral_settings:\n"),
    ],
)
def test_a_config_that_decides_over_the_key(clean_lab: Lab, keyrotor: Keyrotor, old: str, new: str) -> None:
    """What would keep a new key from taking effect, or let everybody in; the literal is not shown."""
    value = new_value()
    configure(clean_lab, old, new.replace("literal", value))
    (only,) = audited(keyrotor, clean_lab)
    assert (only["id"], only["place"]) == ("gateway-config", str(clean_lab.config))
    assert value not in json.dumps(only)


def test_a_config_that_includes_the_literal(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """What decides over the key may stand in another file; a rotation is refused for it, too."""
    value = new_value()
    clean_lab.config.with_name("more.yaml").write_text(f"general_settings:\n  master_key: {value}\n")
    clean_lab.config.write_text(f"include: [more.yaml]\n{clean_lab.config.read_text()}")
    (only,) = audited(keyrotor, clean_lab)
    assert (only["id"], only["place"]) == ("gateway-config", str(clean_lab.config))
    assert value not in json.dumps(only)
    assert keyrotor(clean_lab, "rotate", "--yes").returncode == 3


@pytest.mark.parametrize("how", ["absent", "broken", "a folder"])
def test_a_config_that_cannot_be_read(clean_lab: Lab, keyrotor: Keyrotor, how: str) -> None:
    """What is wrong there is not known, and that is said."""
    clean_lab.config.unlink()
    if how == "broken":
        clean_lab.config.write_text("general_settings: [\n")
    elif how == "a folder":
        clean_lab.config.mkdir()
    (only,) = audited(keyrotor, clean_lab)
    assert (only["id"], only["place"]) == ("cannot-look", str(clean_lab.config))


@pytest.mark.parametrize("where", ["config", "unit"])
def test_a_database_without_a_salt(clean_lab: Lab, unit: Unit, keyrotor: Keyrotor, where: str) -> None:
    """The running gateway decides, not what the file says meanwhile: it was started without the salt."""
    without_literals(clean_lab)
    lines = f"UnsetEnvironment={SALT}"
    if where == "config":
        configure(clean_lab, "general_settings:\n", f"general_settings:{DATABASE}")
    else:
        lines += "\nEnvironment=DATABASE_URL=postgresql://localhost/litellm"
    unit.start(lines=lines)
    (only,) = audited(keyrotor, clean_lab)
    assert (only["id"], only["place"]) == ("salt-missing", str(clean_lab.secret_file))


def test_a_client_that_uses_the_master_key(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """Where there is a database a virtual key would do; one finding for each client that holds the literal."""
    other = clean_lab.home / "other.json"
    shutil.copy(clean_lab.settings, other)
    add_place(clean_lab, f'kind = "client-file"\npath = "{other}"')
    assert found(keyrotor, clean_lab) == []
    configure(clean_lab, "general_settings:\n", f"general_settings:{DATABASE}")
    assert found(keyrotor, clean_lab) == ["master-key-in-client"] * 2
    without_literals(clean_lab)
    (only,) = audited(keyrotor, clean_lab)
    assert only["place"].endswith("other.json")


# -- the real proxy --------------------------------------------------------------------------------------------------


def own_copy(litellm: Path, folder: Path) -> Path:
    """The same LiteLLM in a virtual environment of the test's own, so that a `.env` beside it is nobody else's."""
    real, venv = litellm.absolute().parents[1], folder / "venv"
    (packages,) = real.glob("lib/python3*/site-packages")
    (venv / packages.parent.relative_to(real)).mkdir(parents=True)
    (venv / packages.relative_to(real)).symlink_to(packages)
    shutil.copy(real / "pyvenv.cfg", venv)
    (venv / "bin").mkdir()
    (venv / "bin" / "python3").symlink_to((real / "bin" / "python3").resolve())
    text = litellm.read_text().split("\n", 1)[1]
    program = venv / "bin" / "litellm"
    program.write_text(f"#!{venv}/bin/python3\n{text}")
    program.chmod(stat.S_IRWXU)
    return program


@pytest.fixture
def litellm(litellm: Path, tmp_path: Path) -> Path:
    return own_copy(litellm, tmp_path / "own")


@pytest.fixture
def real(make_lab: MakeLab) -> Lab:
    """A lab with the real proxy; it has not been rotated, and has no timer."""
    return make_lab("litellm")


def test_a_dotenv_file_that_the_real_proxy_has_read(
    real: Lab, manager: UserManager, litellm: Path, keyrotor: Keyrotor
) -> None:
    """The first `.env` above its package is found while LITELLM_MODE lets it be read; that the proxy reads that one
    is shown by the key, which it has from nowhere else in the end."""
    unit, usual = Unit(real, manager), found(keyrotor, real)
    stray = litellm.parents[2] / ".env"
    stray.write_text(f"{VARIABLE}={real.current_key()}\n")
    (stray.parents[1] / ".env").write_text("FURTHER=up\n")
    assert found(keyrotor, real) == usual, "LITELLM_MODE=PRODUCTION reads none"
    unit.start(lines="Environment=LITELLM_MODE=DEV")
    more = [one for one in audited(keyrotor, real) if one["id"] not in usual]
    assert [(one["id"], one["place"]) for one in more] == [("stray-env", str(stray))]
    unit.start("/bin/sh -c '{command}; exit 1'", lines="Environment=LITELLM_MODE=DEV")
    more = [one for one in audited(keyrotor, real) if one["id"] not in usual]
    assert [(one["id"], one["place"]) for one in more] == [("stray-env", str(stray))], "a shell stands before it"
    unit.start(lines=f"Environment=LITELLM_MODE=DEV\nUnsetEnvironment={VARIABLE}")
    assert real.status(real.current_key()) == 200


def test_a_real_proxy_that_everybody_can_use(real: Lab, manager: UserManager, keyrotor: Keyrotor) -> None:
    """It listens at every address, and its config lets every key in."""
    unit, usual = Unit(real, manager), found(keyrotor, real)
    configure(real, "general_settings:\n", "general_settings:\n  allow_requests_on_db_unavailable: true\n")
    unit.start("{command} --host 0.0.0.0")
    more = [one for one in audited(keyrotor, real) if one["id"] not in usual]
    assert [one["id"] for one in more] == ["gateway-open", "gateway-config", "gateway-exposed"]
    assert f"0.0.0.0:{real.port}" in more[-1]["text"]
