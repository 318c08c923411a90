"""`keyrotor demo`, as somebody who has just installed it runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from keyrotor.demo.user_systemd import UserManager


def demo(tmp_path: Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """A demo with an empty home, its lab below `tmp_path`."""
    base = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LANG": "C.UTF-8", "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "keyrotor", "demo"]
    return subprocess.run(command, cwd=tmp_path, env={**base, **env}, check=False, capture_output=True, text=True)


def test_the_demo_rotates_and_rolls_back_without_systemd(tmp_path: Path) -> None:
    """With no manager to be found the gateway is a child process; both rotations end as they should; nothing stays."""
    done = demo(tmp_path, {"XDG_RUNTIME_DIR": str(tmp_path / "nowhere")})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "as a child process" in done.stdout
    assert "the new key gets 200, the old one 400" in done.stdout
    assert "exit code 20" in done.stdout
    assert "Every file is byte for byte as before." in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_the_demo_uses_the_systemd_that_is_there(tmp_path: Path, manager: UserManager) -> None:
    """Where a user's manager answers the gateway is a unit of it, which is gone afterwards."""
    done = demo(tmp_path, {"XDG_RUNTIME_DIR": str(manager.runtime)})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "of your systemd" in done.stdout
    assert "restart keyrotor-demo-" in done.stdout
    assert "Every file is byte for byte as before." in done.stdout
    assert "keyrotor-demo-" not in manager.systemctl("list-units", "--all", "--plain")
    assert list(tmp_path.iterdir()) == []
