"""A living `systemctl` for one unit: it keeps a state file and really starts the unit's process.

It stands in for the manager where its faults cannot be had from a real one at will; tests/real has the real one.
The process gets the variables of the env file in its own environment, so that /proc/PID/environ is the truth.
"""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

UNIT = "litellm.service"

PROGRAM = """#!{python} -IS
import json, os, signal, subprocess, sys, time, uuid
ROOT = {root!r}
UNIT, STATE, LOG = ROOT + "/unit.json", ROOT + "/state.json", ROOT + "/log"
words = [word for word in sys.argv[1:] if not word.startswith("-")]
verb, name = words[0], words[-1]
unit = json.load(open(UNIT))
state = json.load(open(STATE))

def keep():
    with open(STATE + ".tmp", "w") as file:
        json.dump(state, file)
    os.replace(STATE + ".tmp", STATE)

def lives(pid):
    try:
        return open(f"/proc/{{pid}}/stat").read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False

def stop():
    if state["pid"]:
        try:
            os.kill(state["pid"], signal.SIGKILL)
        except ProcessLookupError:
            pass
        while lives(state["pid"]):
            time.sleep(0.002)
    state.update(pid=0)
    keep()

def start():
    env = {{"PATH": os.environ.get("PATH", os.defpath), "FAKE_UNIT": ROOT}}
    for line in open(unit["env_file"]):
        key, equals, text = line.strip().removeprefix("export ").partition("=")
        if equals and not key.startswith("#"):
            env[key] = text.strip("'\\"")
    for key in unit["without"]:
        env.pop(key, None)
    env.update(unit["drop_in"])
    null = open(os.devnull, "r+b")
    child = subprocess.Popen(unit["exec"], env=env, start_new_session=True, stdin=null, stdout=null, stderr=null)
    while lives(child.pid) and not open(f"/proc/{{child.pid}}/environ", "rb").read():
        time.sleep(0.001)  # Popen returns a moment before the kernel has put the environment there
    state.update(pid=child.pid, invocation=uuid.uuid4().hex, starts=state["starts"] + 1)
    keep()

def fail(said):
    print(said, file=sys.stderr)
    sys.exit(1)

if unit["bus"] is False:
    fail("Failed to connect to bus: No medium found")
if unit["hang"] and verb == unit["hang"]:
    time.sleep(600)
if verb == "show":
    alive = bool(state["pid"]) and lives(state["pid"])
    active = "active" if alive else "failed" if state["pid"] else "inactive"
    said = dict(
        Id=name, LoadState=unit["load"], ActiveState=unit["active"] or active,
        SubState=dict(active="running", failed="failed").get(active, "dead"),
        Result="success" if alive else "exit-code", MainPID=state["pid"] if alive else 0,
        NRestarts=0, InvocationID=state["invocation"], TimeoutStopUSec=unit["stop_timeout"],
        TriggeredBy=unit["triggered_by"], Environment="",
        EnvironmentFiles=(unit["env_file_shown"] or unit["env_file"]) + " (ignore_errors=no)",
        FragmentPath=unit["fragment"],
    )
    print("\\n".join(f"{{key}}={{text}}" for key, text in said.items()))
elif verb == "restart":
    if unit["load"] == "masked":
        fail(f"Failed to restart {{name}}: Unit {{name}} is masked.")
    if unit["limit"] is not None and state["starts"] >= unit["limit"]:
        fail(f"Job for {{name}} failed: start-limit-hit")
    stop()
    time.sleep(unit["away"])
    start()
elif verb == "reset-failed":
    state.update(starts=0)
    keep()
else:
    fail(f"Unknown command verb {{verb}}.")
"""

JOURNAL = """#!/bin/sh
test -f {log} && exec cat {log}
exit 0
"""


@dataclass
class FakeSystemd:
    """One unit, its env file, and the folder with the two programs."""

    root: Path

    @property
    def bin(self) -> Path:
        return self.root / "bin"

    @property
    def env_file(self) -> Path:
        return self.root / "unit.env"

    @property
    def log(self) -> Path:
        return self.root / "log"

    @property
    def env(self) -> dict[str, str]:
        """The environment in which these programs are the ones on PATH."""
        return {"PATH": f"{self.bin}:{os.environ['PATH']}", "HOME": str(self.root), "XDG_RUNTIME_DIR": str(self.root)}

    @classmethod
    @contextmanager
    def made(cls, folder: Path) -> Iterator[FakeSystemd]:
        made = cls(folder / "systemd")
        made.bin.mkdir(parents=True)
        made._program("systemctl", PROGRAM.format(python=os.path.realpath(sys.executable), root=str(made.root)))
        made._program("journalctl", JOURNAL.format(log=made.log))
        made.reset()
        try:
            yield made
        finally:
            made.end()

    def reset(self, **how: Any) -> None:
        """A stopped unit; `how` names its traits."""
        self.end()
        traits = {
            "exec": ["sleep", "600"],
            "env_file": str(self.env_file),
            "env_file_shown": "",
            "drop_in": {},
            "without": [],
            "load": "loaded",
            "active": "",
            "away": 0.0,
            "limit": None,
            "bus": True,
            "hang": "",
            "stop_timeout": "5s",
            "triggered_by": "",
            "fragment": "",
        }
        self._write("unit.json", traits | how)
        self._write("state.json", {"pid": 0, "invocation": "", "starts": 0})

    def change(self, **how: Any) -> None:
        """Other traits for a unit that runs on."""
        self._write("unit.json", json.loads((self.root / "unit.json").read_text()) | how)

    def hold(self, variables: dict[str, bytes]) -> None:
        """Write the env file."""
        with open(self.env_file, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write(b"".join(b"%b=%b\n" % (name.encode(), text) for name, text in variables.items()))

    def restart(self) -> None:
        subprocess.run([str(self.bin / "systemctl"), "--user", "restart", "--", UNIT], env=self.env, check=True)

    @property
    def state(self) -> dict[str, Any]:
        return dict(json.loads((self.root / "state.json").read_text()))

    @property
    def pid(self) -> int:
        return int(self.state["pid"])

    def end(self) -> None:
        """End every process that this unit has ever started, told by the mark in its environment."""
        mark = f"FAKE_UNIT={self.root}".encode()
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                with suppress(OSError):
                    if mark in Path(f"/proc/{entry}/environ").read_bytes().split(b"\0"):
                        os.kill(int(entry), signal.SIGKILL)

    def _program(self, name: str, text: str) -> None:
        path = self.bin / name
        path.write_text(text)
        path.chmod(stat.S_IRWXU)

    def _write(self, name: str, what: object) -> None:
        (self.root / name).write_text(json.dumps(what))
