"""A `systemd --user` for the lab: the one that is already there, or a private one.

Rules:
1. `systemd --system` is never started: it would take the machine over.
2. A private one lives in its own runtime folder and ends with the block that opened it, with everything it started.
3. Units go to the runtime folder ($XDG_RUNTIME_DIR/systemd/user): they vanish with the session at the latest.
4. A private one gets a control group of its own where it can be made: two of them in the same one would take each
   other's services of the same name for their own, and end them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from keyrotor.errors import KeyrotorError

SYSTEMD = Path("/usr/lib/systemd/systemd")
BOOTED = Path("/run/systemd/system")  # its being there is all that `sd_booted` asks
GROUPS = Path("/sys/fs/cgroup")
START_WITHIN = 100.0  # seconds; 0.2 to 2 are usual
STOP_WITHIN = 20.0


@dataclass(frozen=True, slots=True)
class UserManager:
    """A running `systemd --user`, by its runtime folder."""

    runtime: Path

    @property
    def units(self) -> Path:
        return self.runtime / "systemd" / "user"

    def systemctl(self, *arguments: str, check: bool = True) -> str:
        """What `systemctl --user …` prints; the derived runtime folder wins over any bus address around us."""
        path = os.environ.get("PATH", os.defpath)
        done = subprocess.run(
            ["systemctl", "--user", "--no-pager", *arguments],
            check=False,
            env={"PATH": path, "XDG_RUNTIME_DIR": str(self.runtime), "LANG": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if check and done.returncode:
            raise KeyrotorError(f"cannot run systemctl --user {arguments[0]}: {done.stderr.strip()}")
        return done.stdout.strip()

    def is_running(self) -> bool:
        return self.systemctl("is-system-running", check=False) in ("running", "degraded")


def existing_user_manager() -> UserManager | None:
    """The user's own manager, if it answers here and now."""
    named = os.environ.get("XDG_RUNTIME_DIR")
    runtime = Path(named) if named else Path(f"/run/user/{os.getuid()}")
    manager = UserManager(runtime)
    with contextlib.suppress(OSError):
        if shutil.which("systemctl") and runtime.stat().st_uid == os.geteuid() and manager.is_running():
            return manager
    return None


def why_no_private_manager() -> str:
    """The reason why none can be started here; empty when one can."""
    if not SYSTEMD.exists() or not shutil.which("systemctl"):
        return "there is no systemd here"
    if not BOOTED.exists() and os.geteuid() != 0:
        return f"{BOOTED} is missing and only root can make it"
    return ""


@contextlib.contextmanager
def private_user_manager(home: Path | None = None) -> Iterator[UserManager]:
    """A manager of our own, from when it says `running` to the end of the block; of this home, or of an empty one."""
    if why := why_no_private_manager():
        raise KeyrotorError(f"cannot start systemd --user: {why}")
    BOOTED.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="kr-", dir="/tmp"))  # short: a socket's path may have 107 bytes
    for name in ("run", "home"):
        (folder / name).mkdir(mode=0o700)
    manager = UserManager(folder / "run")
    process = _start(folder, home or folder / "home")
    try:
        _wait(manager, process, folder / "log")
        yield manager
    finally:
        _end(manager, process)
        with contextlib.suppress(OSError):
            (manager.runtime / "systemd" / "inaccessible" / "dir").chmod(0o700)  # its mode is 0000
        shutil.rmtree(folder, ignore_errors=True)
        _remove_groups(folder.name)


def _start(folder: Path, home: Path) -> subprocess.Popen[bytes]:
    """Starts systemd in a session of its own; should we be killed, `setpriv` makes it end all the same."""
    mourner = ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []
    enter = "".join(f"echo $$ > {group}/cgroup.procs; " for group in _made_groups(folder.name))
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", "HOME": str(home)}
    environment |= {"XDG_RUNTIME_DIR": str(folder / "run"), "XDG_CONFIG_HOME": str(home / ".config")}
    with open(folder / "log", "wb") as log:
        return subprocess.Popen(
            ["/bin/sh", "-c", f'{enter}exec "$@"', "sh", *mourner, str(SYSTEMD), "--user"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            umask=0o022,
        )


def _made_groups(name: str) -> list[Path]:
    """New control groups of this name in the trees by which systemd knows its services; none where they cannot be."""
    trees = [GROUPS] if (GROUPS / "cgroup.procs").exists() else [GROUPS / "systemd", GROUPS / "unified"]
    made = []
    for tree in trees:
        with contextlib.suppress(OSError):
            (tree / name).mkdir()
            made.append(tree / name)
    return made


def _remove_groups(name: str) -> None:
    """What is left of them in every tree; a group in which a process is left stays."""
    for top in (GROUPS / name, *GROUPS.glob(f"*/{name}")):
        for group, _, _ in os.walk(top, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(group)


def _wait(manager: UserManager, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_WITHIN
    while not manager.is_running():
        if process.poll() is not None or time.monotonic() > deadline:
            last = log.read_text(errors="replace").strip().splitlines()[-1:]
            silent = "it says nothing; without root it needs a cgroup of its own"
            raise KeyrotorError(f"cannot start systemd --user: {last[0] if last else silent}")
        time.sleep(0.05)


def _end(manager: UserManager, process: subprocess.Popen[bytes]) -> None:
    """Stops its services, then the manager, then whatever of its services should still be there."""
    handles = []
    if process.poll() is None:
        shown = manager.systemctl("show", "*.service", "--property=MainPID", "--value", check=False)
        for pid in {int(word) for word in shown.split()} - {0}:
            with contextlib.suppress(ProcessLookupError):
                handles.append(os.pidfd_open(pid))
        manager.systemctl("stop", "*.service", "*.socket", "*.timer", check=False)
        process.terminate()
    try:
        process.wait(STOP_WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for handle in handles:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        os.close(handle)
