"""Strangers are kept from a real unit of a real `systemd --user`, and let in again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from on_incident import Scene, Stage, outside, reaches, staged
from on_lab import Keyrotor, MakeLab

from keyrotor.deeds.containing import Containing
from keyrotor.demo.user_systemd import UserManager
from keyrotor.errors import PlaceError


@pytest.fixture
def stage(make_lab: MakeLab, manager: UserManager, tmp_path: Path) -> Iterator[Stage]:
    yield from staged(make_lab, manager, tmp_path)


def is_shut(scene: Scene) -> bool:
    """Whether only this machine reaches it, and the key works there."""
    return not scene.is_open() and scene.lab.status(scene.lab.current_key()) == 200


def is_as_before(scene: Scene) -> bool:
    found = (scene.is_open(), scene.lab.status(scene.lab.current_key()), scene.drop_ins())
    assert found == (True, 200, [])
    return True


def test_a_gateway_that_listens_on_loopback_only_is_left_alone(stage: Stage) -> None:
    """Nothing is written and nothing restarted, and it says why."""
    scene = stage("--host 127.0.0.1 --port {port}")
    pid = scene.pid()
    found = scene.deeds().contain("loopback")
    assert (found.how, found.restarts, found.doors) == ("loopback", False, {})
    assert found.listened == found.listens == (f"127.0.0.1:{scene.lab.port}",)
    assert "loopback only" in found.said
    assert (scene.pid(), scene.drop_ins()) == (pid, [])
    assert "not contained" in scene.deeds().lift().said


def test_none_tells_where_it_listens(stage: Stage) -> None:
    """And changes nothing."""
    scene = stage()
    found = scene.deeds().contain("none")
    assert f"0.0.0.0:{scene.lab.port}" in found.said
    assert (scene.is_open(), scene.drop_ins()) == (True, [])


@pytest.mark.parametrize("arguments", ["--host 0.0.0.0 --port {port}", "--port {port}"])
def test_a_service_is_moved_to_loopback_and_back(stage: Stage, arguments: str) -> None:
    """By its listening sockets, before and after; whatever its command says of the host."""
    scene = stage(arguments)
    assert scene.is_open()
    found = scene.deeds().contain("loopback")
    assert is_shut(scene)
    assert found.listened == (f"0.0.0.0:{scene.lab.port}",)
    assert found.listens == (f"127.0.0.1:{scene.lab.port}",)
    assert found.restarts
    pid = scene.pid()
    again = scene.deeds().contain("loopback")
    assert (again.listened, again.listens, scene.pid()) == (found.listened, found.listens, pid)
    lifted = scene.deeds().lift()
    assert lifted.listens == found.listened
    assert is_as_before(scene)
    assert "not contained" in scene.deeds().lift().said


@pytest.mark.parametrize("held", ["{port}", "0.0.0.0:{port}"])
def test_a_socket_is_moved_to_loopback_and_back(stage: Stage, held: str) -> None:
    """The socket unit has the port, so its drop-in moves it."""
    scene = stage(held=held)
    assert scene.is_open()
    found = scene.deeds().contain("loopback")
    assert is_shut(scene)
    assert found.listens == (f"127.0.0.1:{scene.lab.port}",)
    assert [each.parent.name for each in scene.drop_ins()] == [f"{scene.unit}.d", f"{scene.socket}.d"]
    assert scene.deeds().lift().listens == found.listened
    assert is_as_before(scene)


def test_what_others_have_made_stays(stage: Stage) -> None:
    """A drop-in of a person's, whose command counts, is what is moved; it is there as it was afterwards."""
    scene = stage("--host 127.0.0.1 --port {port}")
    theirs = scene.manager.units / f"{scene.unit}.d" / "override.conf"
    theirs.parent.mkdir()
    text = (scene.manager.units / scene.unit).read_text()
    command = next(line for line in text.splitlines() if line.startswith("ExecStart="))
    theirs.write_text(f"[Service]\nExecStart=\n{command.replace('127.0.0.1', '0.0.0.0')}\n")
    scene.manager.systemctl("daemon-reload")
    rotated_by = scene.manager.systemctl("restart", scene.unit)
    scene.lab.wait_until_healthy()
    assert scene.is_open(), rotated_by
    before = theirs.read_bytes()
    scene.deeds().contain("loopback")
    assert is_shut(scene)
    scene.deeds().lift()
    assert is_as_before(scene)
    assert theirs.read_bytes() == before


def test_a_file_of_our_name_that_is_not_ours_is_never_touched(stage: Stage) -> None:
    """It is an error that names it."""
    scene = stage()
    scene.deeds().contain("loopback")
    (theirs,) = scene.drop_ins()
    theirs.write_text("[Service]\nNice=1\n")
    for deed in (scene.deeds().lift, lambda: scene.deeds().contain("loopback")):
        with pytest.raises(PlaceError, match="somebody else has made it"):
            deed()
    assert theirs.read_text() == "[Service]\nNice=1\n"


def test_a_command_that_does_not_tell_is_left_with_what_a_person_can_do(stage: Stage) -> None:
    """A wrapper decides by itself where it listens; the gateway stays up as it was."""
    scene = stage("--port {port}", program="start.sh")
    pid = scene.pid()
    with pytest.raises(PlaceError, match="does not tell where it listens") as refused:
        scene.deeds().contain("loopback")
    assert "keyrotor incident resume --contain stop" in refused.value.hint
    assert "iptables" in refused.value.hint
    assert (scene.pid(), scene.drop_ins()) == (pid, [])


def test_a_containment_that_does_not_hold_is_taken_back(stage: Stage) -> None:
    """A program that does not heed its --host is open after the restart too, which the sockets tell."""
    scene = stage("--port {port} --metrics {other} 200", program="deaf")
    script = scene.lab.root.parent / "bin with blank" / "deaf"
    script.write_text(script.read_text().replace("import runpy", "import runpy, sys; sys.argv[1:3] = []"))
    unit = scene.manager.units / scene.unit
    unit.write_text(unit.read_text().replace('deaf" ', 'deaf" --host 0.0.0.0 '))
    scene.manager.systemctl("daemon-reload")
    scene.manager.systemctl("restart", scene.unit)
    scene.lab.wait_until_healthy()
    with pytest.raises(PlaceError, match="still listens at"):
        shortened(scene, 1.0).contain("loopback")
    scene.lab.wait_until_healthy()
    assert is_as_before(scene)


def shortened(scene: Scene, within: float) -> Containing:
    """The gateway's containing, with less patience."""
    found = scene.deeds().gateways[0].containing
    assert isinstance(found, Containing)
    return replace(found, unit=replace(found.unit, within=within))


@pytest.mark.parametrize("held", ["", "0.0.0.0:{port}"])
def test_a_stop_keeps_it_down_until_a_restart_and_lets_it_come_back_on_loopback(stage: Stage, held: str) -> None:
    """A connection starts nothing; the rotation's restart brings the socket along; a lift opens it again."""
    scene = stage(held=held)
    found = scene.deeds().contain("stop")
    assert (found.how, found.listens) == ("stop", ())
    assert scene.lab.status(None) is None
    assert scene.active(scene.unit) == "inactive"
    again = scene.deeds().contain("stop")
    assert again.listened == found.listened == (f"0.0.0.0:{scene.lab.port}",)
    scene.manager.systemctl("restart", scene.unit)  # as the rotation does
    scene.lab.wait_until_healthy()
    assert is_shut(scene)
    if held:
        assert scene.active(scene.socket) == "active"
    assert scene.deeds().lift().listens == found.listened
    assert is_as_before(scene)


def test_a_stop_of_a_gateway_on_loopback_is_lifted_without_a_restart(stage: Stage) -> None:
    """It listens as before already."""
    scene = stage("--host 127.0.0.1 --port {port}")
    scene.deeds().contain("stop")
    scene.manager.systemctl("restart", scene.unit)
    scene.lab.wait_until_healthy()
    pid = scene.pid()
    assert scene.deeds().lift().listens == (f"127.0.0.1:{scene.lab.port}",)
    assert (scene.pid(), scene.drop_ins()) == (pid, [])


HELD = "0.0.0.0:{port}"


def test_a_door_at_an_address_of_the_network_is_reached_on_loopback_meanwhile(stage: Stage) -> None:
    """The rotation asks there as long as it is contained."""
    scene = stage()
    text = scene.lab.playbook.read_text()
    scene.lab.playbook.write_text(text.replace(scene.lab.url, f"http://{outside()}:{scene.lab.port}"))
    found = scene.deeds().contain("loopback")
    assert found.doors == {"litellm": scene.lab.url}
    assert not reaches(outside(), scene.lab.port)


@pytest.mark.parametrize(("how", "held"), [("stop", HELD), ("loopback", "")])
def test_a_whole_incident_on_a_public_gateway(stage: Stage, keyrotor: Keyrotor, how: str, held: str) -> None:
    """Frozen, contained, rotated while strangers are out, proven, and open again with the new key alone."""
    scene = stage(held=held)
    old = scene.lab.current_key()
    text = scene.lab.playbook.read_text()
    scene.lab.playbook.write_text(text.replace(scene.lab.url, f"http://{outside()}:{scene.lab.port}"))
    (scene.lab.project / "playbooks" / "incident-response.toml").write_text(
        '[incident]\nplaybooks = ["litellm-master-key"]\nproof = "1s"\n[sweep]\nroots = ["."]\nelsewhere = false\n'
    )
    done = keyrotor(scene.lab, "incident", "open", "--yes", "--reason", "a drill", "--contain", how)
    assert done.returncode in (0, 10), done.stderr + done.stdout
    assert scene.lab.current_key() != old
    assert scene.lab.status(old) == 400
    assert is_as_before(scene)
