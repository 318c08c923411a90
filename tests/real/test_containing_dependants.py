"""Who needs a contained gateway goes down with it and comes back, whoever would start it stays down; on a real unit."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from on_incident import Scene, Stage, reaches, staged
from on_lab import MakeLab

from keyrotor.boundary.systemd import Systemd
from keyrotor.boundary.unit_folder import UnitFolder
from keyrotor.demo.build import free_port
from keyrotor.demo.user_systemd import UserManager
from keyrotor.errors import PlaceError

Neighbour = Callable[[Scene, str, str], str]
SLEEPS = "[Service]\nExecStart=/bin/sleep infinity\n"


@pytest.fixture
def stage(make_lab: MakeLab, manager: UserManager, tmp_path: Path) -> Iterator[Stage]:
    yield from staged(make_lab, manager, tmp_path)


@pytest.fixture
def neighbour(manager: UserManager) -> Iterator[Neighbour]:
    """Another unit, started: `neighbour(scene, "app.service", "[Unit]\\nRequires={unit}\\n")`."""
    made: list[str] = []

    def add(scene: Scene, name: str, text: str) -> str:
        made.append(name)
        (manager.units / name).write_text(text.format(unit=scene.unit, socket=scene.socket))
        manager.systemctl("daemon-reload")
        manager.systemctl("start", name)
        return name

    yield add
    for name in made:
        manager.systemctl("stop", name, check=False)
        (manager.units / name).unlink(missing_ok=True)
    manager.systemctl("daemon-reload")


@pytest.mark.parametrize("held", ["", "0.0.0.0:{port}"])
@pytest.mark.parametrize("needs", ["Requires={unit}\nAfter={unit}", "BindsTo={unit}", "PartOf={unit}"])
def test_who_needs_it_runs_again_as_after_a_restart(stage: Stage, neighbour: Neighbour, needs: str, held: str) -> None:
    """On loopback at once, after a stop with the end of the containment; and whoever needs those in their turn."""
    scene = stage(held=held)
    app = neighbour(scene, "an-app.service", f"[Unit]\n{needs}\n{SLEEPS}")
    second = neighbour(scene, "second.service", f"[Unit]\nRequires=an-app.service\nAfter=an-app.service\n{SLEEPS}")
    idle = neighbour(scene, "idle.service", f"[Unit]\nRequires={{unit}}\n{SLEEPS}")
    scene.manager.systemctl("stop", idle)

    def states() -> list[str]:
        return [scene.active(each) for each in (app, second, idle)]

    scene.manager.systemctl("restart", scene.unit)
    assert states() == ["active", "active", "inactive"]
    scene.lab.wait_until_healthy()
    found = scene.deeds().contain("loopback")
    assert states() == ["active", "active", "inactive"]
    assert app in found.said
    stopped = scene.deeds().contain("stop")
    assert (scene.active(scene.unit), states()) == ("inactive", ["inactive"] * 3)
    assert app in stopped.said
    assert second in stopped.said
    scene.manager.systemctl("restart", scene.unit)  # as the rotation does
    scene.lab.wait_until_healthy()
    lifted = scene.deeds().lift()
    assert states() == ["active", "active", "inactive"]
    assert idle not in lifted.said
    assert scene.drop_ins() == []


def test_who_cannot_be_started_again_is_told(stage: Stage, neighbour: Neighbour) -> None:
    """And the containment ends all the same."""
    scene = stage()
    app = neighbour(scene, "an-app.service", f"[Unit]\nRequires={{unit}}\n{SLEEPS}")
    scene.deeds().contain("stop")
    (scene.manager.units / app).write_text("[Service]\nType=oneshot\nExecStart=/bin/false\n")
    scene.manager.systemctl("daemon-reload")
    found = scene.deeds().lift()
    assert f"not started again: {app}" in found.said
    assert (scene.is_open(), scene.drop_ins()) == (True, [])


def test_a_stop_is_not_undone_by_a_connection_to_who_needs_it(stage: Stage, neighbour: Neighbour) -> None:
    """A proxy's socket would start the proxy, and that the gateway: it is down, too, until the containment ends."""
    scene, door = stage(), free_port()
    proxy = neighbour(scene, "a-proxy.service", f"[Unit]\nRequires={{unit}}\n{SLEEPS}")
    scene.manager.systemctl("stop", proxy)  # a socket does not start while its service runs
    waker = neighbour(scene, "a-proxy.socket", f"[Socket]\nListenStream=127.0.0.1:{door}\n")
    scene.manager.systemctl("start", proxy)
    found = scene.deeds().contain("stop")
    assert waker in found.said
    assert not reaches("127.0.0.1", door)
    assert scene.active(scene.unit) == "inactive"
    scene.deeds().lift()
    assert (scene.active(waker), scene.active(proxy), scene.is_open()) == ("active", "active", True)


@contextmanager
def knocking(port: int) -> Iterator[None]:
    """Somebody who connects again and again."""
    over = threading.Event()

    def knock() -> None:
        while not over.wait(0.01):
            reaches("127.0.0.1", port)

    thread = threading.Thread(target=knock)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize("held", ["", "0.0.0.0:{port}"])
def test_a_stop_holds_against_who_knocks_and_a_unit_that_always_restarts(stage: Stage, held: str) -> None:
    """Neither a socket nor `Restart=always` brings it back, not even in the midst of the stop."""
    scene = stage(held=held)
    drop_in = scene.manager.units / f"{scene.unit}.d" / "always.conf"
    drop_in.parent.mkdir()
    drop_in.write_text("[Service]\nRestart=always\nRestartSec=0\n")
    scene.manager.systemctl("daemon-reload")
    scene.manager.systemctl("restart", scene.unit)
    scene.lab.wait_until_healthy()
    with knocking(scene.lab.port):
        scene.deeds().contain("stop")
        for _ in range(20):
            assert not reaches("127.0.0.1", scene.lab.port)
    assert scene.active(scene.unit) == "inactive"
    scene.manager.systemctl("restart", scene.unit)
    scene.lab.wait_until_healthy()
    assert not scene.is_open()
    scene.deeds().lift()
    assert scene.is_open()
    drop_in.unlink()


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


class Effects:
    """Counts whatever changes something, and kills before one of them."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.left = -1
        for owner, name in ((Systemd, "do"), (UnitFolder, "place"), (UnitFolder, "remove")):
            patch.setattr(owner, name, self._counted(getattr(owner, name)))

    def _counted(self, effect: Callable[..., object]) -> Callable[..., object]:
        def counted(*arguments: object, **more: object) -> object:
            if self.left == 0:
                raise Killed
            self.left -= 1
            return effect(*arguments, **more)

        return counted

    def is_killed_in(self, deed: Callable[[], object], before: int) -> bool:
        """Whether there was an effect of that number to kill it before."""
        self.left = before
        try:
            deed()
        except Killed:
            return True
        finally:
            self.left = -1
        return False


def test_killed_between_any_two_effects_it_is_done_again(
    stage: Stage, neighbour: Neighbour, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Contained when the containment is done again, as before when its end is; and nobody stays down."""
    scene = stage(held="0.0.0.0:{port}")
    app = neighbour(scene, "an-app.service", f"[Unit]\nRequires={{unit}}\nAfter={{unit}}\n{SLEEPS}")
    effects, counted = Effects(monkeypatch), 0
    is_cut = True
    while is_cut:
        how = ("loopback", "stop")[counted % 2]
        is_cut = effects.is_killed_in(partial(scene.deeds().contain, how), counted)
        found = scene.deeds().contain(how)
        assert found.listened == (f"0.0.0.0:{scene.lab.port}",)
        assert not scene.is_open()
        assert scene.active(app) == ("inactive" if how == "stop" else "active")
        is_cut = effects.is_killed_in(scene.deeds().lift, counted) or is_cut
        scene.deeds().lift()
        assert (scene.is_open(), scene.active(app), scene.drop_ins()) == (True, "active", [])
        counted += 1
    assert counted > 9


def test_a_containment_that_cannot_be_taken_back_is_told_as_it_is(stage: Stage) -> None:
    """The gateway ends on loopback, and does not start any more afterwards: it is down, and nobody says otherwise."""
    scene = stage("--host 0.0.0.0 --port {port}")
    script = scene.lab.root.parent / "bin with blank" / "litellm"
    flag = scene.lab.root.parent / "flag"
    lines = f"import os, sys; flag = {str(flag)!r}; local = '127.0.0.1' in sys.argv\n"
    lines += "if local: open(flag, 'w').close()\nif os.path.exists(flag): sys.exit(3)\n"
    script.write_text(script.read_text().replace("import runpy\n", f"{lines}import runpy\n"))
    scene.fails_at_once()
    with pytest.raises(PlaceError, match="does not come up on loopback") as refused:
        scene.deeds().contain("loopback")
    assert scene.active(scene.unit) == "failed"
    assert "it is not as it was: it is failed (exit-code) and listens at no address" in str(refused.value)
    assert scene.drop_ins() == []
