"""What the kernel knows of a process: its environment, its group, the port it listens on (Linux /proc)."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from keyrotor.secret import Secret

_LISTEN = "0A"  # TCP_LISTEN in /proc/net/tcp


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that holds a lock."""

    pid: int
    since: datetime | None  # when the process was started
    is_taker: bool = True  # whether it took the lock itself; a child that outlived the taker only has it


@dataclass(frozen=True, slots=True)
class Listener:
    """A listening socket."""

    address: str  # `127.0.0.1` or `::`
    socket: str  # its name among what a process has open


def variable(pid: int, name: str) -> Secret | None:
    """The variable in the process's own environment, as it was at its start; None if it has none such.

    Raises OSError where the process is gone or another user's.
    """
    wanted = name.encode() + b"="
    for entry in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
        if entry.startswith(wanted):
            return Secret(entry.removeprefix(wanted))
    return None


def variables(pid: int) -> frozenset[str]:
    """The names of all variables in the process's own environment that are not empty, as they were at its start.

    Raises OSError where the process is gone or another user's.
    """
    entries = (entry.partition(b"=") for entry in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"))
    return frozenset(os.fsdecode(name) for name, _, value in entries if value.strip())


def is_alive(pid: int) -> bool:
    return os.path.exists(f"/proc/{pid}")


def groups(pid: int) -> frozenset[str]:
    """The control groups that the process is in, as paths; empty if it is gone."""
    with contextlib.suppress(OSError):
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
        return frozenset(line.split(":", 2)[2] for line in lines)
    return frozenset()


def listening(port: int) -> tuple[Listener, ...]:
    """Every socket of this machine that listens on the TCP port; the kernel takes 12 ms to tell."""
    return tuple(dict.fromkeys(_listening(port)))  # it may tell one twice while others come and go


def holds(pid: int, listeners: Sequence[Listener]) -> bool:
    """Whether the process has one of the sockets open: a look at this one process, not at all of them."""
    return not {each.socket for each in listeners}.isdisjoint(opened(pid))


def holders(listeners: Sequence[Listener]) -> frozenset[int]:
    """The processes that have one of the sockets open; those we may not look into are left out."""
    return frozenset(pid for pid in pids() if holds(pid, listeners)) if listeners else frozenset()


def is_loopback(address: str) -> bool:
    found = ipaddress.ip_address(address)
    mapped = getattr(found, "ipv4_mapped", None)  # `::ffff:127.0.0.1` is not called loopback by Python 3.11
    return bool((mapped or found).is_loopback)


def is_own(host: str) -> bool:
    """Whether a host of an address is this machine, as far as that can be told without asking a name server."""
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return is_loopback(str(address)) or address.is_unspecified or str(address) in own_addresses()


def own_addresses() -> Iterator[str]:
    """The addresses of this machine's interfaces."""
    with contextlib.suppress(OSError):
        lines = Path("/proc/net/fib_trie").read_text().splitlines()
        for leaf, kind in pairwise(lines):
            if kind.strip() == "/32 host LOCAL":
                yield leaf.split()[-1]
    with contextlib.suppress(OSError):
        for line in Path("/proc/net/if_inet6").read_text().splitlines():
            yield str(ipaddress.IPv6Address(bytes.fromhex(line.split()[0])))


def address_of(kernels: str) -> str:
    """`0100007F` as `127.0.0.1`: 32-bit words in hexadecimal, each in the machine's own byte order."""
    raw = bytes.fromhex(kernels)
    words = (raw[at : at + 4] for at in range(0, len(raw), 4))
    ordered = b"".join(word[::-1] if sys.byteorder == "little" else word for word in words)
    return str(ipaddress.ip_address(ordered))


def family(pid: int) -> frozenset[int]:
    """The process and all that descend from it; empty for no process."""
    found, pending = set(), [pid] if pid > 0 else []
    while pending:
        found.add(one := pending.pop())
        pending += [child for child in _children(one) if child not in found]
    return frozenset(found)


def _children(pid: int) -> Iterator[int]:
    """Those of each of its threads."""
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError):
                yield from map(int, Path(f"/proc/{pid}/task/{thread}/children").read_text().split())


def command_line(pid: int) -> bytes:
    """The process's command line as it is, which may hold a value; empty if it is gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def arguments(pid: int) -> list[str]:
    """The process's command line, word by word; empty if it is gone."""
    return os.fsdecode(command_line(pid)).split("\0")[:-1]


def is_keyrotor(pid: int) -> bool:
    """Whether the process is a keyrotor, by its command line: the program itself, or a Python that runs it."""
    program, *words = arguments(pid) or [""]
    if os.path.basename(program) == "keyrotor":
        return True
    if not os.path.basename(program).startswith("python"):
        return False
    script = next((word for word in words if not word.startswith("-")), "")
    return ("-m", "keyrotor") in pairwise(words) or os.path.basename(script) == "keyrotor"


def lock_holder(folder: Path) -> Holder | None:
    """Who took the flock on the folder; None where the kernel does not tell, or the taker is gone."""
    try:
        wanted = _identities(folder)
        rows = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    except OSError:
        return None
    for row in rows:
        if len(row) > 5 and row[1] == "FLOCK" and row[5] in wanted:
            pid = int(row[4])
            return Holder(pid, _started(pid)) if is_alive(pid) else _heir(folder)
    return None


def at_work(folder: Path, last: datetime | None) -> str:
    """The keyrotor that took the folder's lock itself, and was there at that moment, for people; "" for nobody."""
    found = lock_holder(folder) if folder.is_dir() else None
    was_there = found is None or found.since is None or last is None or found.since <= last
    return f"process {found.pid}" if found and found.is_taker and was_there and is_keyrotor(found.pid) else ""


def _identities(folder: Path) -> frozenset[str]:
    """What /proc/locks may call the folder: device and inode. On btrfs the device is the mount's, not stat's."""
    opened = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        status = os.fstat(opened)
        devices = {(os.major(status.st_dev), os.minor(status.st_dev))}
        told = re.search(r"^mnt_id:\s*(\d+)$", Path(f"/proc/self/fdinfo/{opened}").read_text(), re.MULTILINE)
    finally:
        os.close(opened)
    mounts = (line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines())
    for mount in mounts:
        if told and mount[0] == told[1]:
            major, minor = map(int, mount[2].split(":"))
            devices.add((major, minor))
    return frozenset(f"{major:02x}:{minor:02x}:{status.st_ino}" for major, minor in devices)


def _heir(folder: Path) -> Holder | None:
    """A child that outlived the taker of the lock and still has the folder open, if we may see it."""
    real = os.path.realpath(folder)
    heirs = (pid for pid in pids() if pid != os.getpid() and real in opened(pid))
    return next((Holder(pid, _started(pid), is_taker=False) for pid in heirs), None)


def _started(pid: int) -> datetime | None:
    """By its age; the times of /proc/PID are those of the first look at it."""
    seconds = age(pid)
    if seconds is None:
        return None
    return datetime.fromtimestamp(time.clock_gettime(time.CLOCK_REALTIME) - seconds, UTC)


def age(pid: int) -> float | None:
    """For how many seconds it has run, by the kernel's own count of ticks since boot: whatever clock was set meanwhile.
    None where that cannot be seen."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        ticks = int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19])
        return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return None


def pids() -> Iterator[int]:
    return (int(entry) for entry in os.listdir("/proc") if entry.isdigit())


def _listening(port: int) -> Iterator[Listener]:
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                field = line.split()
                address, number = field[1].rsplit(":", 1)
                if field[3] == _LISTEN and int(number, 16) == port:
                    yield Listener(address_of(address), f"socket:[{field[9]}]")


def opened(pid: int) -> Iterator[str]:
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
