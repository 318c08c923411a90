"""The one writer of files. Whole or absent, never half; mode, owner, links and newlines as they were.

Rules:
1. A file is replaced by rename of a hidden sibling in the folder of its *real* path, fsynced before and after.
2. A sibling has a fixed name, so that one left by a killed run is found and removed by the next put; but for what
   is published, which is no secret and takes no lock: there each writer has its own.
3. A file with more than one name is written in place (a rename would leave the old value under the others), and so is
   one that cannot be renamed onto: a mount point, a file in a read-only folder. An intent is laid beside it first, or
   aside where its folder takes none; by it the next put mends a file that a killed one left torn.
4. Nothing is created readable by others, whatever the umask; but for what is published.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from keyrotor.boundary import generate, in_place
from keyrotor.boundary.leftover import has_other_names, intents, is_torn, leftovers, sibling_of, whole
from keyrotor.boundary.private import dress_like
from keyrotor.boundary.reading import Look, digest, exists, look, why
from keyrotor.errors import PlaceError

# Read and written by one name; the rest is defined here.
__all__ = ["Look", "digest", "exists", "has_other_names", "is_torn", "leftovers", "look", "sibling_of", "whole", "why"]


class ChangedMeanwhile(PlaceError):  # noqa: N818  (a state of the world, which callers meet by trying again)
    """Somebody else wrote the file between our look and our write."""


# A mount point; a folder that is not ours to write in, or is read-only; an owner that we may not give.
_NOT_BESIDE = (errno.EBUSY, errno.EACCES, errno.EPERM, errno.EROFS)


def replace(seen: Look, data: bytes, *, in_place: bool = False) -> None:
    """Make the file hold `data`, durably; raises ChangedMeanwhile if it is no longer as it was seen.

    `in_place`: over the same inode, for those who go on reading that one (a container that the file is mounted into).
    """
    try:
        if not (in_place or has_other_names(seen.path)):
            try:
                return _write_beside(seen, data)
            except OSError as error:
                if error.errno not in _NOT_BESIDE:
                    raise
        _write_in_place(seen, data)
    except OSError as error:
        raise PlaceError(f"cannot write {seen.path}: {why(error)}") from None


def update(path: Path, edit: Callable[[bytes], bytes], *, in_place: bool = False) -> bool:
    """Replace the file by `edit` of its bytes; whether anything was written.

    Somebody else's write meanwhile is taken up: the edit is made again on theirs, three times at the most.
    """
    tidy(path)
    for last in (False, False, True):
        seen = look(path)
        data = edit(seen.data)
        if data == seen.data:
            return False
        try:
            replace(seen, data, in_place=in_place)
        except ChangedMeanwhile:
            if last:
                raise
        else:
            return True
    raise AssertionError("unreachable")


def create(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Make a new file, durably; raises PlaceError if there is one."""
    try:
        os.link(sibling := _staged(sibling_of(path), data, mode), path)  # never over what somebody made meanwhile
        os.unlink(sibling)
        sync_folder(path.parent)
    except OSError as error:
        clear_leftover(path)
        raise PlaceError(f"cannot make {path}: {why(error)}") from None


def publish(path: Path, data: bytes) -> None:
    """Make the file hold `data`, for everybody to read, in place of one that is there. Raises PlaceError."""
    fixed = sibling_of(path)
    sibling = fixed.with_name(f"{fixed.name}.{generate.new_run_id()}")  # there may be two who write it
    try:
        os.rename(_staged(sibling, data, 0o644), os.path.realpath(path))
        sync_folder(sibling.parent)
    except OSError as error:
        with suppress(OSError):
            sibling.unlink()
        raise PlaceError(f"cannot write {path}: {why(error)}") from None


def create_if_absent(path: Path) -> None:
    """An empty private file, unless there is one, also if another process makes it at the same moment."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return
    except OSError as error:
        raise PlaceError(f"cannot make {path}: {why(error)}") from None


def tidy(path: Path) -> None:
    """Finish the write that was killed, and clear away what it left. Safe twice; raises PlaceError."""
    if leftovers(path):
        if exists(path):
            _mend_torn(path)
        clear_leftover(path)


def clear_leftover(path: Path) -> None:
    """Remove what a killed run left of this file."""
    for leftover in leftovers(path):
        remove(leftover)


def remove(path: Path) -> None:
    """The file, gone; one that is not there is no error."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise PlaceError(f"cannot remove {path}: {why(error)}") from None


def make_folder(folder: Path, mode: int = 0o700) -> None:
    """The folder, private, with its parents; one that is there keeps its mode."""
    try:
        for missing in reversed([folder, *folder.parents]):
            if not missing.exists():
                missing.mkdir(exist_ok=True)
                missing.chmod(mode)
                sync_folder(missing.parent)
    except OSError as error:
        raise PlaceError(f"cannot make {folder}: {why(error)}") from None


def remove_folder(folder: Path) -> None:
    """The folder and what is in it, gone."""
    try:
        shutil.rmtree(folder)
        sync_folder(folder.parent)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise PlaceError(f"cannot remove {folder}: {why(error)}") from None


def remove_if_empty(folder: Path) -> None:
    """The folder, gone, if there is nothing in it."""
    with suppress(OSError):
        folder.rmdir()
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in the folder durable. NFS cannot (EINVAL), and needs not."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(descriptor)


def _write_beside(seen: Look, data: bytes) -> None:
    sibling = sibling_of(seen.path)
    try:
        with _fresh(sibling) as descriptor:
            _write_all(descriptor, data)
            dress_like(descriptor, seen.path)
            os.fsync(descriptor)
        _want_unchanged(seen)
        os.rename(sibling, seen.path)
    except BaseException:
        sibling.unlink(missing_ok=True)
        raise
    sync_folder(seen.path.parent)


def _write_in_place(seen: Look, data: bytes) -> None:
    """The intent, one write of the changed part over the same inode, the intent gone."""
    descriptor = os.open(seen.path, os.O_RDWR)  # first: for a file that may not be written no intent is laid
    try:
        intent = _laid(seen.path, in_place.intent(seen.data, data))
        try:
            _want_unchanged(seen)
            _overwrite(descriptor, seen.data, data)
        except ChangedMeanwhile:
            remove(intent)
            raise
        except OSError:
            if look(seen.path).digest == seen.digest:
                remove(intent)
            raise
        remove(intent)
    finally:
        os.close(descriptor)


def _laid(path: Path, intent: bytes) -> Path:
    """The intent, durable, beside the file; aside where its folder takes none."""
    beside, *elsewhere = intents(path)
    try:
        return _synced(_staged(beside, intent, 0o600))
    except OSError as error:
        if error.errno not in _NOT_BESIDE or not elsewhere:
            raise
    make_folder(elsewhere[0].parent)
    return _synced(_staged(elsewhere[0], intent, 0o600))


def _synced(path: Path) -> Path:
    sync_folder(path.parent)
    return path


def _mend_torn(path: Path) -> None:
    """Finish an in-place write that a killed run began, unless somebody else has written the file since."""
    seen, data = look(path), whole(path)
    if data == seen.data:
        return
    try:
        descriptor = os.open(seen.path, os.O_RDWR)
        try:
            _want_unchanged(seen)
            _overwrite(descriptor, seen.data, data)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise PlaceError(f"cannot write {path}: {why(error)}") from None


def _overwrite(descriptor: int, seen: bytes, data: bytes) -> None:
    """One write of what differs; room is taken first."""
    start = in_place.common_start(seen, data)
    if len(data) > len(seen):
        os.posix_fallocate(descriptor, len(seen), len(data) - len(seen))
    os.lseek(descriptor, start, os.SEEK_SET)
    _write_all(descriptor, data[start:])
    os.ftruncate(descriptor, len(data))
    os.fsync(descriptor)


def _want_unchanged(seen: Look) -> None:
    if look(seen.path).digest != seen.digest:
        raise ChangedMeanwhile(f"cannot write {seen.path}: somebody else has just changed it")


def _staged(sibling: Path, data: bytes, mode: int) -> Path:
    """The sibling, holding `data` durably, with this mode."""
    with _fresh(sibling) as descriptor:
        _write_all(descriptor, data)
        os.fchmod(descriptor, mode)
        os.fsync(descriptor)
    return sibling


@contextmanager
def _fresh(path: Path) -> Iterator[int]:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
        yield descriptor
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
