"""The one writer of files: whole or absent, and everything else as it was."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from keyrotor.boundary import files, writable
from keyrotor.errors import PlaceError
from places.contract import Killed, axe, umask

BEFORE, AFTER = b"before " * 700, b"after! " * 900


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "folder" / "file"
    path.parent.mkdir()
    path.write_bytes(BEFORE)
    path.chmod(0o640)
    return path


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def put(path: Path, data: bytes = AFTER) -> None:
    files.replace(files.look(path), data)


@pytest.mark.parametrize("mode", [0o400, 0o444, 0o600, 0o640, 0o664, 0o755, 0o2640, 0o4711])
def test_replacing_keeps_the_mode(file: Path, mode: int) -> None:
    """Every bit of it, under any umask."""
    file.chmod(mode)
    for mask in (0, 0o077):
        with umask(mask):
            put(file)
        assert file.stat().st_mode & 0o7777 == mode


def test_replacing_keeps_the_owner(file: Path) -> None:
    """Root gives the new file to whom the former one belonged."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    os.chown(file, 4242, 4243)
    put(file)
    assert (file.stat().st_uid, file.stat().st_gid) == (4242, 4243)


def test_replacing_keeps_extended_attributes(file: Path) -> None:
    """Labels and notes of the user travel to the new file."""
    try:
        os.setxattr(file, "user.note", b"kept")
    except OSError as error:
        pytest.skip(f"no extended attributes here: {error.strerror}")
    put(file)
    assert os.getxattr(file, "user.note") == b"kept"


def test_replacing_behind_a_link_keeps_the_link(file: Path, tmp_path: Path) -> None:
    """A chain of links still leads to the file, and the sibling was beside the real one."""
    (tmp_path / "link").symlink_to(file)
    (tmp_path / "chain").symlink_to("link")
    put(tmp_path / "chain")
    assert os.readlink(tmp_path / "chain") == "link"
    assert file.read_bytes() == AFTER
    assert names(tmp_path) == ["chain", "folder", "link"]


@pytest.mark.parametrize("data", [AFTER, b"", b"b", BEFORE[:-1], BEFORE + b"x"])
def test_a_file_with_two_names_is_written_in_place(file: Path, tmp_path: Path, data: bytes) -> None:
    """Longer or shorter, both names go on being one file."""
    os.link(file, tmp_path / "twin")
    inode = file.stat().st_ino
    put(file, data)
    assert file.read_bytes() == (tmp_path / "twin").read_bytes() == data
    assert file.stat().st_ino == inode


@pytest.mark.parametrize("mask", [0, 0o022])
def test_killed_at_any_step_the_file_is_whole(file: Path, mask: int) -> None:
    """All old or all new, never between, never open wider than it was; the next update clears up."""
    file.chmod(0o600)
    steps = 0
    while True:
        file.write_bytes(BEFORE)
        with umask(mask), axe(steps) as blow, suppress(Killed):
            files.update(file, lambda _: AFTER)
        assert file.read_bytes() in (BEFORE, AFTER)
        assert all(path.stat().st_mode & 0o077 == 0 for path in file.parent.iterdir())
        if not blow.fell:
            break
        files.update(file, lambda _: AFTER)
        assert file.read_bytes() == AFTER
        assert names(file.parent) == ["file"]
        steps += 1
    assert steps >= 5


def test_the_order_is_write_sync_rename_sync(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is renamed is durable first, and the rename is made durable after."""
    did = []
    for name in ("write", "fsync", "rename"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *args, real=real, name=name: (did.append(name), real(*args))[1])
    put(file)
    assert did == ["write", "fsync", "rename", "fsync"]


@pytest.mark.parametrize("step", ["write", "fsync", "rename", "fchmod"])
def test_a_failing_step_leaves_the_file_and_nothing_beside_it(
    file: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """An error of the kernel is told in its own words, and nothing has changed."""

    def fails(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, step, fails)
    with pytest.raises(PlaceError, match="no space left"):
        put(file)
    monkeypatch.undo()
    assert file.read_bytes() == BEFORE
    assert names(file.parent) == ["file"]


@contextmanager
def tiny(folder: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("cannot mount here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_leaves_the_file(tmp_path: Path) -> None:
    """No room for the sibling: the file is as it was, the sibling gone, and `refusals` would have said so."""
    with tiny(tmp_path / "tiny") as folder:
        file = folder / "file"
        file.write_bytes(BEFORE)
        assert any("disk is full" in why for why in writable.refusals(file))
        with pytest.raises(PlaceError, match="no space left"):
            put(file, AFTER * 20)
        assert file.read_bytes() == BEFORE
        with pytest.raises(PlaceError, match="no space left"):
            files.create(folder / "fresh", AFTER * 20)
        assert names(folder) == ["file"]


def test_a_full_disk_leaves_a_file_with_two_names(tmp_path: Path) -> None:
    """In place the room is taken before a byte is written."""
    with tiny(tmp_path / "tiny") as folder:
        file = folder / "file"
        file.write_bytes(BEFORE)
        os.link(file, folder / "twin")
        with pytest.raises(PlaceError, match="no space left"):
            put(file, AFTER * 20)
        assert file.read_bytes() == BEFORE


def test_a_file_that_may_not_grow_leaves_the_former_one(file: Path) -> None:
    """RLIMIT_FSIZE, as a quota would: refused by the kernel, and the file is as it was."""
    program = (
        "import resource, signal, sys; from pathlib import Path; from keyrotor.boundary import files\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, (5000, {resource.RLIM_INFINITY}))\n"
        f"seen = files.look(Path({str(file)!r}))\n"
        "try: files.replace(seen, b'x' * 9000)\n"
        "except files.PlaceError as error: print(error); sys.exit(7)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, "file too large" in done.stdout) == (7, True), done.stderr
    assert file.read_bytes() == BEFORE
    assert names(file.parent) == ["file"]


@pytest.mark.parametrize("links", [1, 2])
def test_somebody_elses_change_is_not_written_over(file: Path, tmp_path: Path, links: int) -> None:
    """What was seen must still be there when we write."""
    if links == 2:
        os.link(file, tmp_path / "twin")
    seen = files.look(file)
    file.write_bytes(b"theirs")
    with pytest.raises(files.ChangedMeanwhile):
        files.replace(seen, AFTER)
    assert file.read_bytes() == b"theirs"
    assert names(file.parent) == ["file"]


def test_an_update_is_made_again_on_somebody_elses_change(file: Path) -> None:
    """Twice they write meanwhile; the third edit is made on their last."""
    theirs = [b"two", b"one"]

    def edit(data: bytes) -> bytes:
        if theirs:
            file.write_bytes(theirs.pop())
        return data + b" and ours"

    assert files.update(file, edit)
    assert file.read_bytes() == b"two and ours"


def test_an_update_without_a_change_writes_nothing(file: Path) -> None:
    """Not even a time of change."""
    before = file.stat()
    assert not files.update(file, lambda data: data)
    assert (file.stat().st_mtime_ns, file.stat().st_ino) == (before.st_mtime_ns, before.st_ino)


def test_an_update_clears_what_a_killed_run_left(file: Path) -> None:
    """Also where there is nothing to write: a left-over may hold a value."""
    files.sibling_of(file).write_bytes(b"half a value")
    files.update(file, lambda data: data)
    assert names(file.parent) == ["file"]


def test_the_second_name_of_a_killed_creation_keeps_nobody_from_replacing(file: Path, tmp_path: Path) -> None:
    """It is ours, and a rename leaves nothing under it; a link in its place stands for no name."""
    os.link(file, files.sibling_of(file))
    assert not files.has_other_names(file)
    inode = file.stat().st_ino
    files.replace(files.look(file), AFTER)
    assert (file.read_bytes(), names(file.parent)) == (AFTER, ["file"])
    assert file.stat().st_ino != inode
    os.link(file, tmp_path / "twin")
    files.sibling_of(file).symlink_to(file)
    assert files.has_other_names(file)


def test_creating_never_writes_over(file: Path) -> None:
    """A file that is there stays, and is told."""
    with pytest.raises(PlaceError, match="file exists"):
        files.create(file, AFTER)
    assert file.read_bytes() == BEFORE
    assert names(file.parent) == ["file"]


def test_creating_never_writes_over_one_that_appears_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between our look and our link somebody makes the file: theirs stays."""
    path, real = tmp_path / "fresh", os.fsync

    def fsync(descriptor: int) -> None:
        if not path.exists():
            path.write_bytes(b"theirs")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(PlaceError, match="file exists"):
        files.create(path, AFTER)
    assert path.read_bytes() == b"theirs"
    assert names(tmp_path) == ["fresh"]


@pytest.mark.parametrize("mask", [0, 0o077, 0o777])
def test_a_new_file_is_its_owners_alone(tmp_path: Path, mask: int) -> None:
    """0600, whatever the umask."""
    with umask(mask):
        files.create(tmp_path / "fresh", AFTER)
    assert (tmp_path / "fresh").stat().st_mode & 0o7777 == 0o600


def test_killed_while_creating_it_is_whole_or_absent(tmp_path: Path) -> None:
    """Never half a file under its name, and the next try succeeds."""
    path, steps = tmp_path / "fresh", 0
    while True:
        path.unlink(missing_ok=True)
        with axe(steps) as blow, suppress(Killed):
            files.create(path, AFTER)
        assert not path.exists() or path.read_bytes() == AFTER
        if not blow.fell:
            break
        if not path.exists():
            files.create(path, AFTER)
        files.clear_leftover(path)
        assert names(tmp_path) == ["fresh"]
        steps += 1
    assert steps >= 5


def test_a_trap_in_the_siblings_place_is_not_followed(file: Path, tmp_path: Path) -> None:
    """A link under the hidden name is removed, not written through."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"keep")
    for act in (lambda: put(file), lambda: files.create(file.parent / "fresh", AFTER)):
        for name in ("file", "fresh"):
            (file.parent / f".{name}.keyrotor").symlink_to(victim)
        act()
        for name in ("file", "fresh"):
            (file.parent / f".{name}.keyrotor").unlink(missing_ok=True)
    assert victim.read_bytes() == b"keep"


def test_a_trap_that_comes_back_at_once_is_refused(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """O_EXCL and O_NOFOLLOW: a link made after our unlink is an error, not a way out of the folder."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"keep")
    files.sibling_of(file).symlink_to(victim)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda *_, **__: None)
        with pytest.raises(PlaceError):
            put(file)
    assert victim.read_bytes() == b"keep"
    assert file.read_bytes() == BEFORE


def test_nothing_is_refused_of_a_file_that_can_be_written(file: Path) -> None:
    """An ordinary file has no reasons against it."""
    assert writable.refusals(file) == []


def test_what_cannot_be_written_is_refused(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing, a folder, a device, read-only, another owner's, a full disk: each with its reason."""
    assert "no such file" in writable.refusals(tmp_path / "missing")[0]
    assert "not a file" in writable.refusals(tmp_path)[0]
    assert "not a file" in writable.refusals(Path("/dev/null"))[0]
    (tmp_path / "dangling").symlink_to("nowhere")
    assert writable.refusals(tmp_path / "dangling")
    file.chmod(0o440)
    assert "chmod u+w" in writable.refusals(file)[0]
    file.chmod(0o640)
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    assert f"belongs to user {file.stat().st_uid}" in writable.refusals(file)[0]
    monkeypatch.undo()
    monkeypatch.setattr(writable, "ROOM", 1 << 62)
    assert "disk is full" in writable.refusals(file)[0]


def test_refusing_writes_nothing(file: Path) -> None:
    """A look at what could be written leaves no trace."""
    before = (file.stat().st_mtime_ns, file.parent.stat().st_mtime_ns, names(file.parent))
    writable.refusals(file)
    assert (file.stat().st_mtime_ns, file.parent.stat().st_mtime_ns, names(file.parent)) == before


def test_a_read_only_file_system_is_refused(tmp_path: Path) -> None:
    """Said before the first effect."""
    with tiny(tmp_path / "tiny") as folder:
        (folder / "file").write_bytes(b"x")
        if subprocess.run(["mount", "-o", "remount,ro", str(folder)], capture_output=True, check=False).returncode:
            pytest.skip("cannot remount here")
        assert writable.refusals(folder / "file")


@pytest.mark.parametrize("name", ["missing", "."])
def test_looking_at_what_is_no_file_is_told(tmp_path: Path, name: str) -> None:
    """A missing file and a folder: PlaceError, never another kind."""
    with pytest.raises(PlaceError):
        files.look(tmp_path / name)


def test_looking_at_a_pipe_does_not_wait_for_a_writer(tmp_path: Path) -> None:
    """Some password managers serve an env file as a named pipe: told, not waited for; in a process of its own."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    program = f"from pathlib import Path; from keyrotor.boundary import files; files.look(Path({str(pipe)!r}))"
    try:
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=100, check=False)
    except subprocess.TimeoutExpired:
        pytest.fail("looking at a pipe waits for a writer")
    assert b"PlaceError" in done.stderr


def test_folders_are_made_private(tmp_path: Path) -> None:
    """New ones are 0700 under any umask; one that is there keeps its mode."""
    (tmp_path / "there").mkdir(mode=0o755)
    with umask(0):
        files.make_folder(tmp_path / "there" / "a" / "b")
    assert (tmp_path / "there").stat().st_mode & 0o7777 == 0o755
    assert (tmp_path / "there" / "a").stat().st_mode & 0o7777 == 0o700
    assert (tmp_path / "there" / "a" / "b").stat().st_mode & 0o7777 == 0o700


def test_removing_what_is_not_there_is_no_error(tmp_path: Path) -> None:
    """Twice is as good as once."""
    files.remove(tmp_path / "missing")
    files.remove_folder(tmp_path / "missing")
