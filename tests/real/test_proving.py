"""The old key is asked for at every listener of a real unit, until it is dead to the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from on_incident import Scene, Stage, outside, reaches, staged
from on_lab import MakeLab, new_value

from keyrotor.boundary import proc
from keyrotor.core.response import Listener, Proof
from keyrotor.demo.build import free_port
from keyrotor.demo.user_systemd import UserManager
from keyrotor.secret import Secret


@pytest.fixture
def stage(make_lab: MakeLab, manager: UserManager, tmp_path: Path) -> Iterator[Stage]:
    yield from staged(make_lab, manager, tmp_path)


def proof(scene: Scene, old: str, *, within: float = 0.5, grace: float = 0.5, new: str = "", ago: float = 0.0) -> Proof:
    proving = replace(scene.deeds().gateways[0].proving, every=0.1, grace=grace, rest=resting())
    told: list[tuple[int, int]] = []
    since = datetime.now(UTC) - timedelta(seconds=ago)
    key = new or scene.lab.current_key()
    old_key, new_key = Secret(old.encode()), Secret(key.encode())
    found = proving.prove(old_key, lambda: new_key, since, within, lambda *now: told.append(now))
    assert told
    assert all(0 <= seconds <= of for seconds, of in told)
    return found


def resting() -> Callable[[float], None]:
    """Rests, but not for ever."""
    until = time.monotonic() + 30

    def rest(seconds: float) -> None:
        assert time.monotonic() < until, "it has no end"
        time.sleep(seconds)

    return rest


def row(found: Proof, port: int) -> Listener:
    return next(each for each in found.listeners if each.address.startswith(f"127.0.0.1:{port}"))


def test_a_dead_key_is_refused_everywhere_to_the_end(stage: Stage) -> None:
    """At a wildcard on every address of this machine, in the header of LiteLLM's own too."""
    scene = stage()
    found = proof(scene, new_value())
    assert found.is_dead
    assert {f"0.0.0.0:{scene.lab.port}", f"{outside()}:{scene.lab.port} (by 0.0.0.0:{scene.lab.port})"} <= {
        each.address for each in found.listeners
    }
    assert all(each.is_dead and each.asked == each.refused >= 12 for each in found.listeners)
    assert {each.said for each in found.listeners} == {"400 no_db_connection"}
    assert datetime.fromisoformat(found.ended) - datetime.fromisoformat(found.began) >= timedelta(seconds=0.4)


def test_a_second_listener_that_still_accepts_it_is_told(stage: Stage, tmp_path: Path) -> None:
    """A worker that was left over: not dead, and where."""
    old, other, file = new_value(), free_port(), tmp_path / "stale"
    file.write_text(old)
    scene = stage(f"--host 127.0.0.1 --port {{port}} --stale {other} {file}")
    found = proof(scene, old)
    assert not found.is_dead
    assert row(found, scene.lab.port).is_dead
    assert not row(found, other).is_dead
    assert "accepts the old key" in row(found, other).said


def test_a_key_that_lives_on_in_a_cache_is_waited_out(stage: Stage, tmp_path: Path) -> None:
    """Accepted for a while after the restart, dead at the end: which is said."""
    old, file = new_value(), tmp_path / "cached"
    file.write_text(old)
    scene = stage(f"--host 127.0.0.1 --port {{port}} --cache {file} 2")
    assert scene.lab.status(old) == 200
    found = proof(scene, old, within=3.0)
    assert found.is_dead
    assert row(found, scene.lab.port).refused < row(found, scene.lab.port).asked
    assert "still accepted" in row(found, scene.lab.port).said


@pytest.mark.parametrize("status", [200, 404])
def test_a_port_of_metrics_is_neither_dead_nor_alive(stage: Stage, status: int) -> None:
    """It answers everybody alike, and speaks no API."""
    other = free_port()
    scene = stage(f"--host 127.0.0.1 --port {{port}} --metrics {other} {status}")
    found = proof(scene, new_value())
    assert found.is_dead
    assert not row(found, other).is_api
    assert "does not speak" in row(found, other).said


def test_an_open_gateway_proves_nothing(stage: Stage, tmp_path: Path) -> None:
    """It accepts a key that nobody has."""
    scene = stage("--host 127.0.0.1 --port {port} --open")
    found = proof(scene, new_value())
    assert not found.is_dead
    assert "lets in whoever comes" in row(found, scene.lab.port).said


def test_no_clear_answer_is_no_proof(stage: Stage) -> None:
    """A 503 to the end is unknown, never dead."""
    scene = stage("--host 127.0.0.1 --port {port}")
    unit = scene.manager.units / scene.unit
    unit.write_text(unit.read_text().replace("--port", "--answer 503 --port"))
    scene.manager.systemctl("daemon-reload")
    scene.manager.systemctl("restart", scene.unit)
    while scene.lab.status(None) != 503:
        pass
    found = proof(scene, new_value())
    assert not found.is_dead
    assert "503" in row(found, scene.lab.port).said


def test_a_new_key_that_is_not_accepted_is_no_proof(stage: Stage) -> None:
    """Who refuses everything has not taken up the new key."""
    scene = stage("--host 127.0.0.1 --port {port}")
    found = proof(scene, new_value(), new=new_value())
    assert not found.is_dead
    assert "new key is not accepted" in row(found, scene.lab.port).said


def test_long_after_the_restart_it_is_still_asked(stage: Stage) -> None:
    """The time is over; some rounds are asked all the same."""
    scene = stage("--host 127.0.0.1 --port {port}")
    while (runs := proc.age(scene.pid())) is not None and runs < 1.0:
        pass
    assert believed(scene, within=1.0, ago=3600.0) == 1
    found = proof(scene, new_value(), within=1.0, ago=3600.0)
    assert found.is_dead
    assert row(found, scene.lab.port).asked >= 12


class Enough(Exception):  # noqa: N818  (nothing is wrong)
    """One round was asked."""


def believed(scene: Scene, *, within: float, ago: float, has_unit: bool = True) -> int:
    """How many seconds are told to be over when the first round was asked."""
    proving = scene.deeds().gateways[0].proving
    proving = proving if has_unit else replace(proving, systemd=None)
    since, key = datetime.now(UTC) - timedelta(seconds=ago), Secret(scene.lab.current_key().encode())

    def told(seconds: int, of: int) -> None:
        raise Enough(seconds)

    with pytest.raises(Enough) as enough:
        proving.prove(Secret(new_value().encode()), lambda: key, since, within, told)
    return int(str(enough.value))


def test_a_clock_that_was_set_neither_shortens_nor_prolongs_the_proof(stage: Stage) -> None:
    """Forward between the restart and the proof: only how long the unit's process has run is believed, and nothing
    where there is no unit. Back: no more than the whole time is waited."""
    scene = stage("--host 127.0.0.1 --port {port}")
    scene.manager.systemctl("restart", scene.unit)
    while scene.lab.status(None) is None:
        pass
    assert believed(scene, within=300.0, ago=3600.0) < 100
    assert believed(scene, within=300.0, ago=3600.0, has_unit=False) < 100
    found = proof(scene, new_value(), within=0.5, ago=-7200.0)
    assert found.is_dead


def test_a_gateway_that_is_down_is_not_proven(stage: Stage) -> None:
    """Nobody listens, nobody is asked."""
    scene = stage("--host 127.0.0.1 --port {port}")
    scene.manager.systemctl("stop", scene.unit)
    found = proof(scene, new_value())
    assert not found.is_dead
    assert [each.asked for each in found.listeners] == [0]


@contextmanager
def impostor(port: int) -> Iterator[list[str]]:
    """Somebody who has taken the port, and refuses each key as a gateway does; what he was shown."""
    shown: list[str] = []

    class Door(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            shown.append(str(self.headers))
            body = b'{"db": "connected"}' if "readiness" in self.path else b"{}"
            self.send_response(200 if "readiness" in self.path else 401)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Door)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield shown
    finally:
        server.shutdown()
        server.server_close()


def test_somebody_else_at_the_port_of_a_gateway_that_is_down_is_shown_no_key(stage: Stage) -> None:
    """Neither the old key nor the new one, by no step that asks; who has the port is told."""
    scene = stage("--host 127.0.0.1 --port {port}")
    old, new = new_value(), scene.lab.current_key()
    scene.manager.systemctl("stop", scene.unit)
    with impostor(scene.lab.port) as shown:
        found = proof(scene, old)
        exposed = scene.deeds().exposure(Secret(new.encode()), "2026-11-20T00:00:00+00:00", "2026-11-22T00:00:00+00:00")
    assert shown
    assert not [each for each in shown if old in each or new in each]
    assert not found.is_dead
    (told,) = found.listeners
    assert (told.asked, told.is_api) == (0, False)
    assert f"not asked: port {scene.lab.port} is answered by" in told.said == found.said
    assert not exposed.is_known
    assert f"port {scene.lab.port} is answered by" in exposed.why


def test_somebody_at_a_nearer_address_of_the_same_port_is_shown_no_key(stage: Stage) -> None:
    """The unit has the port in the network, another process has it on loopback, where the playbook's door is."""
    scene = stage()
    unit = scene.manager.units / scene.unit
    unit.write_text(unit.read_text().replace("--host 0.0.0.0", f"--host {outside()}"))
    scene.manager.systemctl("daemon-reload")
    scene.manager.systemctl("restart", scene.unit)
    scene.lab.playbook.write_text(
        scene.lab.playbook.read_text()
        .replace(scene.lab.url, "http://localhost:{port}")
        .replace("{port}", str(scene.lab.port))
    )
    while not reaches(outside(), scene.lab.port):
        pass
    old, new = new_value(), scene.lab.current_key()
    with impostor(scene.lab.port) as shown:
        found = proof(scene, old)
        exposed = scene.deeds().exposure(Secret(new.encode()), "2026-11-20T00:00:00+00:00", "2026-11-22T00:00:00+00:00")
    assert not [each for each in shown if old in each or new in each]
    assert found.is_dead
    assert [each.address for each in found.listeners if each.is_dead] == [f"{outside()}:{scene.lab.port}"]
    assert not exposed.is_known


def test_a_playbook_without_a_gateway_has_nobody_to_ask(stage: Stage) -> None:
    """Its proof is moot, and keeps nothing from being done."""
    scene = stage("--host 127.0.0.1 --port {port}")
    head, _, rest = scene.lab.playbook.read_text().partition('[[place]]\nkind = "env-file"')
    _, client, last = rest.partition('[[place]]\nkind = "client-file"')
    assert client, rest
    scene.lab.playbook.write_text(head + client + last)
    key = Secret(new_value().encode())
    found = scene.deeds().prove(key, lambda: key, datetime.now(UTC), 75.0, lambda *_: None)
    assert (found.listeners, found.is_dead, found.is_moot) == ((), False, True)
    assert found.said == "it has no gateway: there is nobody to ask"
    assert datetime.fromisoformat(found.began) == datetime.fromisoformat(found.ended)


def test_a_socket_of_the_file_system_and_one_of_tls_are_asked_too(stage: Stage, tmp_path: Path) -> None:
    """By its path; and over TLS with a certificate that is for another name, for the unit itself has the socket."""
    path, other, old, file = tmp_path / "its.sock", free_port(), new_value(), tmp_path / "stale"
    file.write_text(old)
    certificate = tmp_path / "both.pem"
    certificate.write_bytes(pem())
    scene = stage(f"--host 127.0.0.1 --port {{port}} --unix {path} {file} --tls {other} {certificate}")
    found = proof(scene, old)
    told = {each.address: each for each in found.listeners}
    assert not told[f"unix:{path}"].is_dead
    assert "accepts the old key" in told[f"unix:{path}"].said
    assert row(found, other).is_dead
    assert row(found, scene.lab.port).is_dead


def pem() -> bytes:
    """A key, and a certificate that nobody trusts."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "elsewhere.example")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = (
        builder.serial_number(1).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    )
    plain = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    return private + builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
