"""The one writer of files. Whole or absent, never half; mode, owner, links and newlines as they were.

Rules:
1. A file is replaced by rename of a hidden sibling in the folder of its *real* path, fsynced before and after.
2. A sibling has a fixed name, so that one left by a killed run is found and removed by the next put; but for what
   is published, which is no secret and takes no lock: there each writer has its own.
3. A file with more than one name is written in place (a rename would leave the old value under the others),
   with an intent laid beside it first, by which the next put mends a file that a killed one left torn.
4. Nothing is created readable by others, whatever the umask; but for what is published.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from keyrotor.boundary import generate, in_place
from keyrotor.errors import PlaceError


class ChangedMeanwhile(PlaceError):  # noqa: N818  (a state of the world, which callers meet by trying again)
    """Somebody else wrote the file between our look and our write."""


@dataclass(frozen=True, slots=True)
class Look:
    """A file as it was when it was read."""

    path: Path  # real path
    data: bytes
    mode: int
    links: int

    @property
    def digest(self) -> str:
        return digest(self.data)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def look(path: Path) -> Look:
    """The file behind the path, links followed. Raises PlaceError, FileNotFoundError never."""
    try:
        real = Path(os.path.realpath(path))
        with open(real, "rb", opener=_without_waiting) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise PlaceError(f"cannot read {path}: it is not a file")
            return Look(real, file.read(), stat.S_IMODE(status.st_mode), status.st_nlink)
    except OSError as error:
        raise PlaceError(f"cannot read {path}: {why(error)}") from None


def _without_waiting(path: str, flags: int) -> int:
    """A pipe would keep us waiting for its writer before we could see that it is one."""
    return os.open(path, flags | os.O_NONBLOCK)


def exists(path: Path) -> bool:
    return os.path.exists(path)


def replace(seen: Look, data: bytes) -> None:
    """Make the file hold `data`, durably; raises ChangedMeanwhile if it is no longer as it was seen."""
    try:
        if seen.links > 1:
            _write_in_place(seen, data)
        else:
            _write_beside(seen, data)
    except OSError as error:
        raise PlaceError(f"cannot write {seen.path}: {why(error)}") from None


def update(path: Path, edit: Callable[[bytes], bytes]) -> bool:
    """Replace the file by `edit` of its bytes; whether anything was written.

    Somebody else's write meanwhile is taken up: the edit is made again on theirs, three times at the most.
    """
    _mend_torn(path)
    clear_leftover(path)
    for last in (False, False, True):
        seen = look(path)
        data = edit(seen.data)
        if data == seen.data:
            return False
        try:
            replace(seen, data)
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


def sibling_of(path: Path) -> Path:
    """The hidden name beside a file that its next content is written under."""
    real = Path(os.path.realpath(path))
    return real.with_name(f".{real.name}.keyrotor")


def clear_leftover(path: Path) -> None:
    """Remove what a killed run left beside the file."""
    remove(sibling_of(path))


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
            _dress_like(descriptor, seen.path)
            os.fsync(descriptor)
        _want_unchanged(seen)
        os.rename(sibling, seen.path)
    except BaseException:
        sibling.unlink(missing_ok=True)
        raise
    sync_folder(seen.path.parent)


def _write_in_place(seen: Look, data: bytes) -> None:
    """The intent, one write of the changed part over the same inode, the intent gone; room is taken first."""
    _staged(sibling_of(seen.path), in_place.intent(seen.data, data), 0o600)
    sync_folder(seen.path.parent)
    try:
        _overwrite(seen, data)
    except ChangedMeanwhile:
        clear_leftover(seen.path)
        raise
    clear_leftover(seen.path)


def _mend_torn(path: Path) -> None:
    """Finish an in-place write that a killed run began, unless somebody else has written the file since."""
    sibling = sibling_of(path)
    found = in_place.parsed(look(sibling).data) if exists(sibling) else None
    if found is None:
        return
    seen, (old, new) = look(path), found
    if seen.data not in (old, new) and in_place.is_torn(seen.data, old, new):
        try:
            _overwrite(seen, new)
        except OSError as error:
            raise PlaceError(f"cannot write {path}: {why(error)}") from None


def _overwrite(seen: Look, data: bytes) -> None:
    start = in_place.common_start(seen.data, data)
    descriptor = os.open(seen.path, os.O_RDWR)
    try:
        _want_unchanged(seen)
        if len(data) > len(seen.data):
            os.posix_fallocate(descriptor, len(seen.data), len(data) - len(seen.data))
        os.lseek(descriptor, start, os.SEEK_SET)
        _write_all(descriptor, data[start:])
        os.ftruncate(descriptor, len(data))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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


def _dress_like(descriptor: int, path: Path) -> None:
    """Owner first (it clears bits), then attributes and mode: never wider than the file it replaces.

    The folder may have given the new file a group (setgid) or readers (a default ACL) of its own.
    """
    status, given = os.stat(path), os.fstat(descriptor)
    if (status.st_uid, status.st_gid) != (given.st_uid, given.st_gid):
        os.fchown(descriptor, status.st_uid, status.st_gid)
    for name in set(os.listxattr(descriptor)) - set(os.listxattr(path)):
        os.removexattr(descriptor, name)
    for name in os.listxattr(path):
        try:
            os.setxattr(descriptor, name, os.getxattr(path, name))
        except OSError as error:
            if error.errno not in (errno.ENOTSUP, errno.EPERM, errno.EACCES):
                raise
    os.fchmod(descriptor, stat.S_IMODE(status.st_mode))


def why(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()
