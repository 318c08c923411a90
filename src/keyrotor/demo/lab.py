"""A lab that stands: where its things are, how its gateway is started and asked, how it is taken down.

Rules:
1. Only what the lab itself started is ended; only its own folder is removed.
2. The lab reads keys for its own questions (`current_key`, `status`) and never prints one.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from keyrotor.demo import texts
from keyrotor.demo.runner import Runner, UnitRunner
from keyrotor.errors import KeyrotorError

PASSED_ON = ("PATH", "TERM", "COLUMNS", "NO_COLOR")
POLL = 0.02  # seconds between looks at the door; a start takes 0.1 s (embedded) to 5.5 s (LiteLLM)


@dataclass(frozen=True)
class Places:
    """Where things are in a lab's folder."""

    root: Path

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def project(self) -> Path:
        return self.root / "project"

    @property
    def playbook(self) -> Path:
        return self.project / "playbooks" / "litellm-master-key.toml"

    @property
    def secret_file(self) -> Path:
        return self.project / "secrets" / "global.enc.env"

    @property
    def config(self) -> Path:
        return self.project / texts.CONFIG

    @property
    def env_file(self) -> Path:
        return self.home / texts.ENV_FILE

    @property
    def settings(self) -> Path:
        return self.home / texts.SETTINGS

    @property
    def identity(self) -> Path:
        return self.home / ".config" / "sops" / "age" / "keys.txt"

    @property
    def state(self) -> Path:
        return self.home / ".local" / "state" / "keyrotor"

    @property
    def log(self) -> Path:
        return self.root / "gateway" / "log"

    @property
    def sick_file(self) -> Path:
        return self.root / "gateway" / "sick"


@dataclass(frozen=True)
class Lab(Places):
    """The lab; `keyrotor.demo.build.build` makes one."""

    port: int
    runner: Runner
    runtime: Path
    sops: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def unit(self) -> str | None:
        """The name of the gateway's unit; None where it is a child process."""
        return self.runner.unit if isinstance(self.runner, UnitRunner) else None

    def environment(self) -> dict[str, str]:
        """The environment of a keyrotor process on this lab: nothing of the user's own home, bus or keyring."""
        passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        return {
            "PATH": os.defpath,
            **passed,
            "LANG": "C.UTF-8",
            "HOME": str(self.home),
            "XDG_CONFIG_HOME": str(self.home / ".config"),
            "XDG_DATA_HOME": str(self.home / ".local" / "share"),
            "XDG_STATE_HOME": str(self.home / ".local" / "state"),
            "XDG_CACHE_HOME": str(self.home / ".cache"),
            "XDG_RUNTIME_DIR": str(self.runtime),
            "SOPS_AGE_KEY_FILE": str(self.identity),
            "KEYROTOR_SOPS": self.sops,
            "KEYROTOR_STATE_DIR": str(self.state),
            "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring",
        }

    def run(self, *command: str, stdin: str = "") -> str:
        """What a program prints that runs in the project; what it says on stderr is not shown, it may be a value."""
        environment = {**self.environment(), "SOPS_DISABLE_VERSION_CHECK": "1"}
        done = subprocess.run(
            command,
            check=False,
            cwd=self.project,
            env=environment,
            input=stdin,
            capture_output=True,
            text=True,
            umask=0o022,
        )
        if done.returncode:
            program = Path(command[0]).name
            raise KeyrotorError(f"cannot work in the lab: {program} {command[1]} ended with {done.returncode}")
        return done.stdout

    def current_key(self, name: str = "LITELLM_MASTER_KEY") -> str:
        """What the encrypted file holds now."""
        types = ("--input-type", "dotenv", "--output-type", "json")
        path = ("--extract", f'["{name}"]')
        return self.run(self.sops, "decrypt", *types, *path, str(self.secret_file)).strip()

    def status(self, key: str | None, path: str = "/v1/models") -> int | None:
        """The gateway's answer to this key, or to none; None when it does not answer."""
        request = urllib.request.Request(self.url + path)
        if key is not None:
            request.add_header("Authorization", f"Bearer {key}")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code
        except (OSError, http.client.HTTPException):
            return None

    def start(self) -> None:
        self.runner.start()

    def wait_until_healthy(self, within: float = 60.0) -> float:
        """Returns after how many seconds the current key got its 200."""
        began, key = time.monotonic(), self.current_key()
        while self.status(key) != 200:
            if time.monotonic() - began > within:
                raise KeyrotorError(f"cannot reach the gateway at {self.url}", hint=f"tail {self.log}")
            time.sleep(POLL)
        return time.monotonic() - began

    def sicken(self) -> None:
        """From now on the gateway comes up with the current key only: with a new one it never answers."""
        self.sick_file.write_text(hashlib.sha256(self.current_key().encode()).hexdigest())

    def heal(self) -> None:
        self.sick_file.unlink(missing_ok=True)

    def stop(self) -> None:
        """Ends the gateway and removes its unit; the files stay."""
        self.runner.remove()

    def take_down(self) -> None:
        """Ends the gateway and removes the folder."""
        self.stop()
        shutil.rmtree(self.root)
