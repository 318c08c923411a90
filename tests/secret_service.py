"""A real Secret Service in a session of its own: dbus-daemon and gnome-keyring-daemon, in a folder of the test's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from desktop import wait_for_bus

PROGRAMS = ("dbus-daemon", "gnome-keyring-daemon")
_BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>unix:path={bus}</listen><policy context="default">
<allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy></busconfig>"""
_READY = """import sys, time, secretstorage
for _ in range(6000):
    try:
        with secretstorage.dbus_init() as bus:
            if secretstorage.check_service_availability(bus):
                secretstorage.get_default_collection(bus)
                sys.exit()
    except secretstorage.exceptions.SecretStorageException: pass
    time.sleep(0.02)
sys.exit("no secret service")"""


@contextmanager
def secret_service(folder: Path) -> Iterator[Mapping[str, str]]:
    """The variables by which programs find it; it is unlocked by a password that is thrown away."""
    bus, run, home = folder / "bus", folder / "run", folder / "home"
    run.mkdir(mode=0o700)
    home.mkdir()
    (folder / "bus.conf").write_text(_BUS.format(bus=bus))
    env = {"PATH": os.environ["PATH"], "HOME": str(home), "XDG_RUNTIME_DIR": str(run), "XDG_DATA_HOME": str(home)}
    env["DBUS_SESSION_BUS_ADDRESS"] = f"unix:path={bus}"
    started = []
    try:
        started.append(_start(["dbus-daemon", "--nofork", f"--config-file={folder / 'bus.conf'}"], env))
        wait_for_bus(bus, started[0])
        daemon = ["gnome-keyring-daemon", "--foreground", "--unlock", "--components=secrets"]
        started.append(_start([*daemon, f"--control-directory={run / 'keyring'}"], env, os.urandom(12).hex()))
        subprocess.run([sys.executable, "-c", _READY], env=env, check=True, timeout=300)
        yield env
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait()


def absent() -> list[str]:
    """What of it is not on this machine."""
    return [program for program in PROGRAMS if shutil.which(program) is None]


def _start(argv: list[str], env: Mapping[str, str], said: str = "") -> subprocess.Popen[bytes]:
    """The program, which was told this on its standard input."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(argv, env=env, stdin=subprocess.PIPE, **quiet)
    assert process.stdin
    process.stdin.write(said.encode())
    process.stdin.close()
    return process
