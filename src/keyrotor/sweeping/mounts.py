"""The file systems of this machine: which hold files of its own, which only show the kernel, which are elsewhere."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_KERNELS = frozenset(
    (
        *("proc", "sysfs", "devtmpfs", "devpts", "cgroup", "cgroup2", "securityfs", "debugfs", "tracefs", "pstore"),
        *("bpf", "mqueue", "hugetlbfs", "configfs", "fusectl", "binfmt_misc", "autofs", "efivarfs", "selinuxfs"),
        *("rpc_pipefs", "nsfs", "nfsd", "smackfs", "resctrl"),
    )
)
_REMOTE = frozenset(
    (
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "glusterfs", "afs", "ncpfs", "lustre", "gfs2", "ocfs2"),
        *("davfs", "coda", "beegfs", "orangefs", "fuse"),
    )
)
_LOCAL_FUSE = frozenset(("fuseblk", "fuse.ntfs-3g", "fuse.exfat", "fuse.gocryptfs", "fuse.encfs", "fuse.mergerfs"))


@dataclass(frozen=True, slots=True)
class Mounts:
    """What is mounted where, at one moment."""

    kinds: dict[int, str]  # a device -> its kind of file system
    points: tuple[tuple[str, int], ...]  # (path, device)

    @classmethod
    def now(cls) -> Mounts:
        """As the kernel tells it; where it does not, all counts as this machine's own."""
        kinds, points = {}, []
        for line in _lines():
            before, _, after = line.partition(b" - ")
            fields = before.split()
            major, _, minor = fields[2].partition(b":")
            device = os.makedev(int(major), int(minor))
            kinds[device] = after.split()[0].decode("ascii", "replace")
            points.append((os.fsdecode(_unescaped(fields[4])), device))
        return cls(kinds, tuple(points))

    def is_kernels(self, device: int) -> bool:
        """Whether what looks like files there are the kernel's answers, made when they are read."""
        return self.kinds.get(device, "") in _KERNELS

    def is_remote(self, device: int) -> bool:
        """Whether another machine, or a program, answers for it: slow, not ours alone, and it may hang."""
        kind = self.kinds.get(device, "")
        return kind in _REMOTE or (kind.startswith("fuse.") and kind not in _LOCAL_FUSE)

    def below(self, folder: str) -> Iterator[str]:
        """Where this machine's own file systems are mounted somewhere below: /dev/shm is, in /dev."""
        for path, device in self.points:
            is_own = not self.is_kernels(device) and not self.is_remote(device)
            if is_own and path.startswith(folder.rstrip("/") + "/"):
                yield path


def _lines() -> list[bytes]:
    try:
        return Path("/proc/self/mountinfo").read_bytes().splitlines()
    except OSError:
        return []


def _unescaped(field: bytes) -> bytes:
    """Spaces, tabs, newlines and backslashes are told in octal."""
    return re.sub(rb"\\([0-7]{3})", lambda found: bytes([int(found[1], 8)]), field)
