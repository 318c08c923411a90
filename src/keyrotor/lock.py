"""One run per secret file, whatever the state folder: a flock on the folder of the encrypted file.

The kernel lets go of it when the last process that has it ends: a run that was killed, and its children.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from keyrotor.boundary import files, proc
from keyrotor.errors import BusyError


@contextmanager
def held(secret_file: Path) -> Iterator[int]:
    """Hold the lock; gives the descriptor that children are to inherit. Raises BusyError, naming the holder."""
    folder = secret_file.parent
    descriptor = files.try_lock(folder)
    if descriptor is None:
        raise BusyError(f"cannot start: {_holder(folder)} holds the lock of {secret_file}", hint="keyrotor status")
    try:
        yield descriptor
    finally:
        files.unlock(descriptor)


def _holder(folder: Path) -> str:
    holder = proc.lock_holder(folder)
    if holder is None:
        return "another run (or a child that outlived one)"
    since = f", started {holder.since.astimezone():%Y-%m-%d %H:%M:%S}" if holder.since else ""
    return f"another run (pid {holder.pid}{since})"
