"""What the kernel knows of a process: its environment, its group, the port it listens on (Linux /proc)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from keyrotor.secret import Secret

_LISTEN = "0A"  # TCP_LISTEN in /proc/net/tcp


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that holds a lock."""

    pid: int
    since: datetime | None


def variable(pid: int, name: str) -> Secret | None:
    """The variable in the process's own environment, as it was at its start; None if it has none such.

    Raises OSError where the process is gone or another user's.
    """
    wanted = name.encode() + b"="
    for entry in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
        if entry.startswith(wanted):
            return Secret(entry.removeprefix(wanted))
    return None


def is_alive(pid: int) -> bool:
    return os.path.exists(f"/proc/{pid}")


def groups(pid: int) -> frozenset[str]:
    """The control groups that the process is in, as paths; empty if it is gone."""
    with contextlib.suppress(OSError):
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
        return frozenset(line.split(":", 2)[2] for line in lines)
    return frozenset()


def listeners(port: int) -> frozenset[int]:
    """The processes that have a listening TCP socket on the port open; those we may not look into are left out."""
    inodes = frozenset(_listening_inodes(port))
    return frozenset(pid for pid in _pids() if inodes & frozenset(_opened(pid))) if inodes else frozenset()


def lock_holder(folder: Path) -> Holder | None:
    """Who took the flock on the folder; None where the kernel does not tell, or the taker is gone."""
    try:
        wanted = str(os.stat(folder).st_ino)
        rows = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    except OSError:
        return None
    for row in rows:
        if len(row) > 5 and row[1] == "FLOCK" and row[5].rsplit(":", 1)[-1] == wanted:
            pid = int(row[4])
            return Holder(pid, _started(pid)) if is_alive(pid) else _heir(folder)
    return None


def _heir(folder: Path) -> Holder | None:
    """A child that outlived the taker of the lock and still has the folder open, if we may see it."""
    real = os.path.realpath(folder)
    heirs = (pid for pid in _pids() if pid != os.getpid() and real in _opened(pid))
    return next((Holder(pid, _started(pid)) for pid in heirs), None)


def _started(pid: int) -> datetime | None:
    with contextlib.suppress(OSError):
        return datetime.fromtimestamp(os.stat(f"/proc/{pid}").st_mtime, UTC)
    return None


def _pids() -> Iterator[int]:
    return (int(entry) for entry in os.listdir("/proc") if entry.isdigit())


def _listening_inodes(port: int) -> Iterator[str]:
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                field = line.split()
                if field[3] == _LISTEN and int(field[1].rsplit(":", 1)[1], 16) == port:
                    yield f"socket:[{field[9]}]"


def _opened(pid: int) -> Iterator[str]:
    """What the process has open, by name; nothing of one that we may not look into."""
    with contextlib.suppress(OSError):
        for number in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                yield os.readlink(f"/proc/{pid}/fd/{number}")


def name(pid: int) -> str:
    """The program's short name; "?" if the process is gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "?"
