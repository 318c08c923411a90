"""The age identity in the OS keyring, fetched by sops itself through SOPS_AGE_KEY_CMD."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from on_lab import Keyrotor, MakeLab

BACKEND = """
from pathlib import Path
from keyring.backend import KeyringBackend

class Folder(KeyringBackend):
    priority = 1
    def _path(self, service, user):
        return Path(__file__).parent / f"{service}-{user}"
    def get_password(self, service, user):
        path = self._path(service, user)
        return path.read_text() if path.exists() else None
    def set_password(self, service, user, password):
        self._path(service, user).write_text(password)
    def delete_password(self, service, user):
        self._path(service, user).unlink()
"""


def test_an_identity_in_the_keyring_is_enough(make_lab: MakeLab, keyrotor: Keyrotor, tmp_path: Path) -> None:
    """With `identity = "keyring"` no identity file is needed: sops asks the keyring; so does the fingerprint key."""
    lab = make_lab(unit=False)
    lab.identity.rename(tmp_path / "keyrotor-age-identity")
    lab.playbook.write_text(lab.playbook.read_text().replace("[secret]", '[secret]\nidentity = "keyring"'))

    refused = keyrotor(lab, "rotate", "--yes")
    assert refused.returncode == 3, refused.stderr
    assert "no age identity here can decrypt it" in refused.stderr

    (tmp_path / "folder_keyring.py").write_text(BACKEND)
    config = lab.home / ".config" / "python_keyring" / "keyringrc.cfg"
    config.parent.mkdir()
    config.write_text(f"[backend]\ndefault-keyring=folder_keyring.Folder\nkeyring-path={tmp_path}\n")
    env = {name: text for name, text in lab.environment().items() if name != "PYTHON_KEYRING_BACKEND"}
    command = [sys.executable, "-m", "keyrotor", "rotate", "--yes"]
    done = subprocess.run(command, cwd=lab.project, env=env, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "keyrotor-fingerprint-key").exists()
    assert not (lab.state / "fingerprint.key").exists()
