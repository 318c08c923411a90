"""Whether a file could be written, and back again later. Looks, and changes nothing."""

from __future__ import annotations

import os
import shlex
import stat
from pathlib import Path

from keyrotor.boundary import leftover
from keyrotor.boundary.reading import why

NAMES = 16  # new files that must be possible there: two copies and their folder, siblings, the journal's own
ROOM = 1 << 20  # bytes that must be free where a file is to be written: a config file, its sibling, a journal page


def refusals(path: Path) -> list[str]:
    """Every reason why this file could not be written, or put back later. Writes nothing."""
    real = Path(os.path.realpath(path))
    try:
        status = os.stat(real)
    except OSError as error:
        return [f"cannot read {path}: {why(error)}"]
    reasons = []
    if not stat.S_ISREG(status.st_mode):
        return [f"cannot write {path}: it is not a file"]
    if os.geteuid() not in (0, status.st_uid):
        reasons.append(f"cannot write {path}: it belongs to user {status.st_uid}")
    elif os.geteuid() != 0 and status.st_gid not in (os.getegid(), *os.getgroups()):
        reasons.append(f"cannot write {path}: it belongs to group {status.st_gid}, which could not be given back")
    if os.statvfs(real).f_flag & os.ST_RDONLY:
        reasons.append(f"cannot write {path}: {real} is on a read-only file system")
    elif not status.st_mode & stat.S_IWUSR:
        reasons.append(f"cannot write {path}: it is read-only (chmod u+w {shlex.quote(str(path))})")
    elif not os.access(real, os.W_OK):
        reasons.append(f"cannot write {path}: the kernel forbids it (is it immutable? lsattr {shlex.quote(str(real))})")
    if os.access(real.parent, os.W_OK | os.X_OK):
        return reasons + room_refusals(real.parent)
    return reasons + _in_place_refusals(path, real)


def _in_place_refusals(path: Path, real: Path) -> list[str]:
    """Every reason why a file in a read-only folder could not be written in place: its intent must lie elsewhere."""
    if leftover.aside is None:
        return [f"cannot write {path}: its folder is read-only"]
    return room_refusals(real) + absent_refusals(leftover.aside / "any")


def absent_refusals(path: Path) -> list[str]:
    """Every reason why a file that is not there could not be made, with the folders that are missing."""
    folder = next(parent for parent in path.parents if os.path.lexists(parent))
    if not folder.is_dir():
        return [f"cannot make {path}: {folder} is not a folder"]
    if not os.access(folder, os.W_OK | os.X_OK):
        return [f"cannot make {path}: {folder} is read-only"]
    return room_refusals(folder)


def room_refusals(folder: Path) -> list[str]:
    """A reason if the disk under the folder, or the file, is full."""
    try:
        space = os.statvfs(folder)
    except OSError as error:
        return [f"cannot write in {folder}: {why(error)}"]
    if space.f_flag & os.ST_RDONLY:
        return [f"cannot write in {folder}: the file system is read-only"]
    if space.f_bavail * space.f_frsize < ROOM:
        return [f"cannot write in {folder}: the disk is full"]
    if space.f_files and space.f_favail < NAMES:  # 0 in all: the file system counts none (btrfs)
        return [f"cannot write in {folder}: the disk has no inode free for another file"]
    return []
