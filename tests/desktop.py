"""A session bus of the test's own, and on it somebody who shows notices: what `notify-send` asks for is kept."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

PROGRAMS = ("dbus-daemon", "notify-send")
_BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>unix:path={bus}</listen><policy context="default">
<allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy></busconfig>"""
_NAME = "org.freedesktop.Notifications"


@dataclass(frozen=True)
class Shown:
    """One window."""

    program: str
    title: str
    body: str
    urgency: int


@dataclass
class Desktop:
    runtime: Path
    shown: list[Shown] = field(default_factory=list)


def absent() -> list[str]:
    """What of it is not on this machine."""
    return [program for program in PROGRAMS if shutil.which(program) is None]


def wait_for_bus(bus: Path, daemon: subprocess.Popen[bytes]) -> None:
    """Until it takes a connection; its socket is there before it listens."""
    deadline = time.monotonic() + 100
    while True:
        with socket.socket(socket.AF_UNIX) as caller, suppress(FileNotFoundError, ConnectionRefusedError):
            caller.connect(str(bus))
            return
        if daemon.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"no bus: dbus-daemon made none, and ended with {daemon.poll()}")
        time.sleep(0.01)


@contextmanager
def session_bus(runtime: Path) -> Iterator[Path]:
    """A bus where a timer would look for it: in the runtime folder."""
    runtime.mkdir(mode=0o700, exist_ok=True)
    conf, bus = runtime / "bus.conf", runtime / "bus"
    conf.write_text(_BUS.format(bus=quote(str(bus))))
    daemon = subprocess.Popen(["dbus-daemon", "--nofork", f"--config-file={conf}"], stderr=subprocess.DEVNULL)
    try:
        wait_for_bus(bus, daemon)
        yield bus
    finally:
        daemon.terminate()
        daemon.wait()


@contextmanager
def desktop(runtime: Path, *, answers: bool = True) -> Iterator[Desktop]:
    """The bus, and who shows notices on it; `answers`: or only takes the name and hangs."""
    from jeepney import DBusAddress, HeaderFields, MessageType, new_method_call, new_method_return
    from jeepney.io.blocking import open_dbus_connection

    with session_bus(runtime) as bus:
        kept, stop = Desktop(runtime), threading.Event()
        connection = open_dbus_connection(f"unix:path={quote(str(bus))}")
        to = DBusAddress("/org/freedesktop/DBus", "org.freedesktop.DBus", "org.freedesktop.DBus")
        connection.send_and_get_reply(new_method_call(to, "RequestName", "su", (_NAME, 0)))

        def serve() -> None:
            while not stop.is_set():
                try:
                    asked = connection.receive(timeout=0.02)
                except TimeoutError:
                    continue
                if asked.header.message_type is not MessageType.method_call or not answers:
                    continue
                match asked.header.fields[HeaderFields.member]:
                    case "Notify":
                        program, _, _, title, body, _, hints, _ = asked.body
                        kept.shown.append(Shown(program, title, body, hints["urgency"][1]))
                        reply = new_method_return(asked, "u", (len(kept.shown),))
                    case "GetCapabilities":
                        reply = new_method_return(asked, "as", (["body"],))
                    case _:
                        reply = new_method_return(asked, "ssss", ("tests", "tests", "1", "1.2"))
                connection.send(reply)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield kept
        finally:
            stop.set()
            thread.join()
            connection.close()
