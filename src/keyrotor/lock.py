"""One run per secret file, whatever the state folder: a flock on the folder of the encrypted file.

The kernel lets go of it when the last process that has it ends: a run that was killed, and its children.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from keyrotor.boundary import proc
from keyrotor.errors import BusyError, RefusedError


@contextmanager
def held(secret_file: Path) -> Iterator[int]:
    """Hold the lock; gives the descriptor that children are to inherit. Raises BusyError, naming the holder."""
    folder = secret_file.parent
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise RefusedError(f"cannot lock {folder}: {(error.strerror or '').lower()}") from None
    try:
        _take(descriptor, secret_file)
        os.set_inheritable(descriptor, True)
        yield descriptor
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)  # also where a child that lives on still has the descriptor
        os.close(descriptor)


@contextmanager
def shared(folder: Path) -> Iterator[None]:
    """Hold the folder together with others who hold it so. Where it cannot be locked it is not."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def unshared(folder: Path) -> Iterator[bool]:
    """Whether nobody holds the folder; then nobody can until this block ends."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_free = True
        except OSError:
            is_free = False
        yield is_free
    finally:
        os.close(descriptor)


def holder(folder: Path) -> str:
    """Who holds the lock of this folder, for people; "" for nobody."""
    found = proc.lock_holder(folder) if folder.is_dir() else None
    return f"process {found.pid}" if found else ""


def at_work(folder: Path, last: datetime) -> str:
    """The keyrotor that holds the lock of this folder, and did at that moment, for people; "" for nobody."""
    return proc.at_work(folder, last)


def _take(descriptor: int, secret_file: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = _holder(secret_file.parent)
        raise BusyError(f"cannot start: {holder} holds the lock of {secret_file}", hint="keyrotor status") from None


def _holder(folder: Path) -> str:
    holder = proc.lock_holder(folder)
    if holder is None:
        return "another run (or a child that outlived one)"
    since = f", started {holder.since.astimezone():%Y-%m-%d %H:%M:%S}" if holder.since else ""
    return f"another run (pid {holder.pid}{since})"
