"""What travels with the program."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from keyrotor import playbook, shipped

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def test_the_wheel_carries_the_playbooks_and_the_rules(wheel: Path) -> None:
    """Somebody who installs the wheel has the shipped playbooks, the sops rules and the typing marker."""
    names = zipfile.ZipFile(wheel).namelist()
    for name in ("shipped/playbooks/litellm-master-key.toml", "shipped/sops.yaml", "py.typed"):
        assert f"keyrotor/{name}" in names


def test_an_installed_wheel_finds_what_it_carries(wheel: Path, tmp_path: Path) -> None:
    """`shipped` looks beside the code first, so that it works without a checkout."""
    zipfile.ZipFile(wheel).extractall(tmp_path)
    asks = "shipped.playbook('litellm-master-key'), 'age1' in shipped.rules()"
    script = f"from keyrotor import shipped; print({asks})"
    done = subprocess.run(
        [sys.executable, "-c", script], env={"PYTHONPATH": str(tmp_path)}, cwd=tmp_path, check=True, capture_output=True
    )
    assert str(tmp_path) in done.stdout.decode()
    assert "True" in done.stdout.decode()


def test_the_shipped_playbook_loads() -> None:
    """The playbook that people start from is one that keyrotor accepts."""
    book = playbook.load(shipped.playbook("litellm-master-key"), {"HOME": "/home/nobody"})
    assert [place.kind for place in book.places] == ["sops-file", "env-file", "systemd-unit", "litellm", "client-file"]
