"""Where the doors of contained gateways are reached meanwhile, several of one playbook too; on real units."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from on_incident import Scene, Stage, outside, staged
from on_lab import Keyrotor, MakeLab

from keyrotor.demo.build import free_port
from keyrotor.demo.user_systemd import UserManager
from keyrotor.errors import PlaceError


@pytest.fixture
def stage(make_lab: MakeLab, manager: UserManager, tmp_path: Path) -> Iterator[Stage]:
    yield from staged(make_lab, manager, tmp_path)


def abroad(scene: Scene, scheme: str = "http") -> str:
    """The door's address in the network, which the playbook names from now on."""
    url = f"{scheme}://{outside()}:{scene.lab.port}"
    text = scene.lab.playbook.read_text()
    scene.lab.playbook.write_text(text.replace(scene.lab.url, url))
    return url


class Second:
    """A second gateway of the same playbook."""

    def __init__(self, scene: Scene, program: str = "litellm") -> None:
        self.unit, self.port, self.manager = "second-gateway.service", free_port(), scene.manager
        text = (scene.manager.units / scene.unit).read_text()
        text = text.replace(f"--port {scene.lab.port}", f"--port {self.port}")
        folder = scene.lab.root.parent / "bin with blank"
        if program != "litellm":
            (folder / program).write_text((folder / "litellm").read_text())
            (folder / program).chmod(0o755)
            text = text.replace("--host 0.0.0.0 ", "")
        (self.manager.units / self.unit).write_text(text.replace('/litellm"', f'/{program}"'))
        self.manager.systemctl("daemon-reload")
        self.manager.systemctl("start", self.unit)
        self.url = f"http://{outside()}:{self.port}"
        scene.lab.playbook.write_text(
            scene.lab.playbook.read_text()
            + f'\n[[place]]\nkind = "systemd-unit"\nid = "unit-2"\nunit = "{self.unit}"\nscope = "user"\n'
            + f'within = "30s"\n\n[[place]]\nkind = "litellm"\nid = "door-2"\nurl = "{self.url}"\nwithin = "150s"\n'
        )

    def end(self) -> None:
        self.manager.systemctl("stop", self.unit, check=False)
        folder = Path(self.manager.systemctl("show", "--property=UnitPath", "--value").split()[4])
        for drop_in in folder.glob(f"{self.unit}.d/*"):
            drop_in.unlink()
            drop_in.parent.rmdir()
        (self.manager.units / self.unit).unlink()
        self.manager.systemctl("daemon-reload")


@pytest.fixture
def ends() -> Iterator[list[Second]]:
    made: list[Second] = []
    yield made
    for each in made:
        each.end()


def test_each_door_has_its_own_address_meanwhile(stage: Stage, keyrotor: Keyrotor, ends: list[Second]) -> None:
    """Two gateways of one playbook, both contained, are rotated in one incident, and open again."""
    scene = stage()
    abroad(scene)
    ends.append(second := Second(scene))
    old = scene.lab.current_key()
    found = scene.deeds().contain("loopback")
    assert found.doors == {"litellm": scene.lab.url, "door-2": f"http://127.0.0.1:{second.port}"}
    assert not scene.is_open()
    scene.deeds().lift()
    (scene.lab.project / "playbooks" / "incident-response.toml").write_text(
        '[incident]\nplaybooks = ["litellm-master-key"]\nproof = "1s"\n[sweep]\nroots = ["."]\nelsewhere = false\n'
    )
    done = keyrotor(scene.lab, "incident", "open", "--yes", "--reason", "a drill", "--contain", "loopback")
    assert done.returncode in (0, 10), done.stderr + done.stdout
    assert scene.lab.current_key() != old
    assert scene.lab.status(old) == 400
    assert scene.is_open()


def test_one_of_two_that_cannot_be_contained_is_told_and_the_other_is(stage: Stage, ends: list[Second]) -> None:
    """The rotation still finds the door of the one that is."""
    scene = stage()
    abroad(scene)
    ends.append(Second(scene, "start.sh"))
    found = scene.deeds().contain("loopback")
    assert found.doors == {"litellm": scene.lab.url}
    assert "second-gateway.service listen on loopback only: its command does not tell" in found.missed
    assert "keyrotor incident resume --contain stop" in found.hint
    assert not scene.is_open()
    scene.deeds().lift()


def test_a_door_of_tls_in_the_network_is_not_moved_to_loopback(stage: Stage) -> None:
    """Its certificate is for another name, so the rotation could prove nothing; a stop can be had, and is open after
    the rotation."""
    scene = stage()
    url, pid = abroad(scene, "https"), scene.pid()
    with pytest.raises(PlaceError, match="certificate") as refused:
        scene.deeds().contain("loopback")
    assert url in str(refused.value)
    assert "keyrotor incident resume --contain stop" in refused.value.hint
    assert "iptables" in refused.value.hint
    assert (scene.pid(), scene.drop_ins()) == (pid, [])
    found = scene.deeds().contain("stop")
    assert "strangers reach it again once it is started" in found.said
    assert (found.doors, scene.lab.status(None)) == ({}, None)
    scene.manager.systemctl("restart", scene.unit)
    scene.lab.wait_until_healthy()
    assert scene.is_open()
    scene.deeds().lift()
    assert scene.drop_ins() == []


@pytest.mark.parametrize("how", ["loopback", "stop"])
def test_a_gateway_that_was_down_comes_up_on_loopback_and_is_asked_there(stage: Stage, how: str) -> None:
    """Nobody has seen it listen: its command tells the port."""
    scene = stage()
    abroad(scene)
    scene.manager.systemctl("stop", scene.unit)
    assert scene.deeds().contain(how).doors == {"litellm": scene.lab.url}
    scene.manager.systemctl("start", scene.unit)
    scene.lab.wait_until_healthy()
    assert not scene.is_open()
    scene.deeds().lift()
    assert scene.is_open()


def test_none_ends_a_containment(stage: Stage) -> None:
    """Somebody who chooses it meanwhile gets the gateway back as it was."""
    scene = stage()
    scene.deeds().contain("stop")
    found = scene.deeds().contain("none")
    assert (found.how, found.listens, found.doors) == ("none", (f"0.0.0.0:{scene.lab.port}",), {})
    assert (scene.is_open(), scene.drop_ins()) == (True, [])


def test_a_stopped_gateway_that_does_not_come_up_on_loopback_stays_stopped(stage: Stage) -> None:
    """Who chooses loopback after a stop does not get an open gateway."""
    scene = stage("--host 0.0.0.0 --port {port}")
    scene.deeds().contain("stop")
    scene.fails_at_once()
    kept = [each.read_text() for each in scene.drop_ins()]
    script = scene.lab.root.parent / "bin with blank" / "litellm"
    script.write_text(
        script.read_text().replace("import runpy\n", "import runpy, sys; '127.0.0.1' in sys.argv and sys.exit(3)\n")
    )
    with pytest.raises(PlaceError, match="does not come up on loopback") as refused:
        scene.deeds().contain("loopback")
    assert "listens at no address" in str(refused.value)
    assert (scene.is_open(), [each.read_text() for each in scene.drop_ins()]) == (False, kept)
    script.write_text(script.read_text().replace(", sys; '127.0.0.1' in sys.argv and sys.exit(3)", ""))
    scene.deeds().lift()
    assert scene.is_open()
