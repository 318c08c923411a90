"""A lab whose gateway listens where a person has put it, and the deeds of an incident on it."""

from __future__ import annotations

import socket
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from on_lab import MakeLab

from keyrotor import playbook
from keyrotor.boundary.plaintext import seal_all
from keyrotor.boundary.proc import own_addresses
from keyrotor.boundary.signals import Signals
from keyrotor.core import plan
from keyrotor.demo.build import free_port
from keyrotor.demo.lab import Lab
from keyrotor.demo.runner import UnitRunner
from keyrotor.demo.user_systemd import UserManager
from keyrotor.secret import Secret
from keyrotor.world import RealWorld
from keyrotor.world.responding import Deeds, responder

KEYS = ("LITELLM_MASTER_KEY", "LITELLM_SALT_KEY", "GRAFANA_TOKEN")
PROGRAM = Path(__file__).with_name("listening_gateway.py")


def outside() -> str:
    """An address of this machine that others could reach."""
    found = [each for each in own_addresses() if ":" not in each and not each.startswith("127.")]
    if not found:
        pytest.skip("this machine has no address but loopback's")
    return found[0]


def reaches(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=2).close()
    except OSError:
        return False
    return True


@dataclass
class Scene:
    """The lab, its manager, and the world in which it is answered."""

    lab: Lab
    manager: UserManager

    @property
    def unit(self) -> str:
        assert self.lab.unit
        return self.lab.unit

    @property
    def socket(self) -> str:
        return self.unit.replace(".service", ".socket")

    @property
    def world(self) -> RealWorld:
        return RealWorld(self.lab.environment(), self.lab.project, None, Signals())  # type: ignore[arg-type]

    def deeds(self, *, is_blind: bool = False) -> Deeds:
        book = playbook.load(self.lab.playbook, self.lab.environment())
        values = None if is_blind else self.values()
        return responder(self.world, book, plan.rows(book), values)

    def values(self) -> dict[str, Secret]:
        return seal_all({name: self.lab.current_key(name) for name in KEYS})

    def drop_ins(self) -> list[Path]:
        folder = Path(self.manager.systemctl("show", "--property=UnitPath", "--value").split()[4])
        return sorted(each for name in (self.unit, self.socket) for each in folder.glob(f"{name}.d/*"))

    def active(self, name: str) -> str:
        return self.manager.systemctl("show", name, "--property=ActiveState", "--value")

    def pid(self) -> int:
        return int(self.manager.systemctl("show", self.unit, "--property=MainPID", "--value"))

    def fails_at_once(self) -> None:
        """From now on it is not started again by itself when it has ended."""
        unit = self.manager.units / self.unit
        unit.write_text(unit.read_text().replace("Restart=on-failure", "Restart=no"))
        self.manager.systemctl("daemon-reload")

    def is_open(self) -> bool:
        return reaches(outside(), self.lab.port)


Stage = Callable[..., Scene]


def staged(make_lab: MakeLab, manager: UserManager, folder: Path) -> Iterator[Stage]:
    """Makes scenes: `stage("--host 0.0.0.0 --port {port}")`, with a socket unit that listens at `held`."""
    made: list[Scene] = []

    def stage(arguments: str = "--host 0.0.0.0 --port {port}", held: str = "", program: str = "litellm") -> Scene:
        lab = make_lab(start=False)
        bin_folder = folder / "bin with blank"
        bin_folder.mkdir(exist_ok=True)
        script = bin_folder / program
        script.write_text(
            f"#!{sys.executable} -IS\nimport runpy\nrunpy.run_path({str(PROGRAM)!r}, run_name='__main__')\n"
        )
        script.chmod(0o755)
        assert isinstance(lab.runner, UnitRunner)
        lines = lab.runner.text.splitlines(keepends=True)
        command = f'ExecStart="{script}" {arguments.format(port=lab.port, other=free_port())}\n'
        text = "".join(command if line.startswith("ExecStart=") else line for line in lines)
        lab = replace(lab, runner=replace(lab.runner, text=text))
        scene = Scene(lab, manager)
        made.append(scene)
        if held:
            manager.units.mkdir(parents=True, exist_ok=True)
            (manager.units / scene.unit).write_text(text)
            (manager.units / scene.socket).write_text(f"[Socket]\nListenStream={held.format(port=lab.port)}\n")
            manager.systemctl("daemon-reload")
            manager.systemctl("start", scene.socket)
        lab.start()
        lab.wait_until_healthy()
        return scene

    yield stage
    for scene in made:
        manager.systemctl("stop", scene.socket, check=False)
        scene.lab.stop()
        (manager.units / scene.socket).unlink(missing_ok=True)
        for drop_in in scene.drop_ins():
            drop_in.unlink()
            drop_in.parent.rmdir()
        manager.systemctl("daemon-reload", check=False)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)
