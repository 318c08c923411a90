"""Files of every kind below a folder: each looked through once, nothing else opened, nothing shown."""

from __future__ import annotations

import errno
import gzip
import io
import lzma
import os
import re
import secrets
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from keyrotor.boundary.forms import forms
from keyrotor.core.swept import MOST, Hit
from keyrotor.errors import InterruptedRun
from keyrotor.secret import Secret
from keyrotor.sweeping.beside import Beside
from keyrotor.sweeping.files import LARGE, MANY, ROOM, Files
from keyrotor.sweeping.finder import Finder
from keyrotor.sweeping.left_out import LeftOut
from keyrotor.sweeping.mounts import Mounts
from keyrotor.sweeping.tally import Tally
from keyrotor.sweeping.unpacking import MEMBERS
from keyrotor.sweeping.walking import KERNELS, SPECIAL

KEY = b"sk-" + secrets.token_urlsafe(32).encode()
FINDER = Finder({"former": forms(Secret(KEY))})
NOBODY = 65534
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


def found(*roots: Path) -> dict[str, Hit]:
    """What is found below the roots, by where it is; each thing once."""
    hits = list(Files(FINDER).below(roots))
    assert KEY.decode() not in repr(hits)
    assert len({(hit.kind, hit.where) for hit in hits}) == len(hits)
    return {hit.where: hit for hit in hits}


def tarred(name: str, data: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        about = tarfile.TarInfo(name)
        about.size = len(data)
        tar.addfile(about, io.BytesIO(data))
    return file.getvalue()


# -- what is looked through ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        ".bash_history",
        "core",
        ".settings.json.swp",
        "notes~",
        "#notes#",
        "a/b/c/.env",
        "a b'\"$(x)",
        ".config/x/y.sqlite",
    ],
)
@pytest.mark.parametrize("before", [b"", b"\0\xff\xfe" * 5000, b"line\n" * 10], ids=["nothing", "binary", "text"])
def test_every_regular_file_is_looked_through(tmp_path: Path, name: str, before: bytes) -> None:
    """Hidden ones, binary ones, what editors leave, whatever they are called."""
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(before + KEY + b"\n")
    assert list(found(tmp_path)) == [str(path)]


def test_every_form_is_found_in_a_file(tmp_path: Path) -> None:
    """And told by its name."""
    for form in forms(Secret(KEY)):
        (tmp_path / "file").write_bytes(b"|" + form.needle + b"|")
        (hit,) = found(tmp_path).values()
        assert (hit.forms, hit.count, hit.value, hit.kind) == ((form.name,), 1, "former", "file")


@pytest.mark.parametrize("size", [0, 1, LARGE - 60, LARGE - 1, LARGE, LARGE + 1, 2 * LARGE - 10, ROOM, ROOM + 5])
def test_a_file_of_any_size(tmp_path: Path, size: int) -> None:
    """On both sides of every border that there is."""
    (tmp_path / "a").write_bytes(b"x" * (size // 2))
    (tmp_path / "file").write_bytes(b"y" * size + KEY)
    (tmp_path / "z").write_bytes(KEY + b"x" * (size // 3))
    assert set(found(tmp_path)) == {str(tmp_path / "file"), str(tmp_path / "z")}


def test_many_small_files(tmp_path: Path) -> None:
    """They share a buffer; what ends one file and begins another is no finding."""
    for number in range(MANY + 100):
        (tmp_path / f"{number:05}").write_bytes((KEY[20:] + KEY[:20]) if number % 700 else KEY)
    assert set(found(tmp_path)) == {str(tmp_path / f"{number:05}") for number in range(0, MANY + 100, 700)}


def test_a_file_with_several_names_is_looked_through_once(tmp_path: Path) -> None:
    """And so is what lies below two roots, or is a root itself."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/one").write_bytes(KEY)
    (tmp_path / "folder/only").write_bytes(KEY)
    os.link(tmp_path / "folder/one", tmp_path / "two")
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    files = Files(FINDER)
    roots = (tmp_path, tmp_path / "folder", tmp_path / "link", tmp_path / "folder/one", tmp_path)
    assert len(list(files.below(roots))) == 2
    assert files.count == 2


def test_a_root_may_be_a_link_or_a_file(tmp_path: Path) -> None:
    """It was named by a person."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/file").write_bytes(KEY)
    (tmp_path / "other").write_bytes(KEY)
    (tmp_path / "link").symlink_to("folder")
    assert list(found(tmp_path / "link")) == [str(tmp_path / "folder/file")]
    assert list(found(tmp_path / "other")) == [str(tmp_path / "other")]


def test_no_link_is_followed(tmp_path: Path) -> None:
    """Neither to a folder, nor round in a circle, nor out of the roots; but where one leads is read."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "a").mkdir(parents=True)
    outside.mkdir()
    (outside / "file").write_bytes(KEY)
    (root / "out").symlink_to(outside)
    (root / "a/up").symlink_to(root)
    (root / "self").symlink_to("self")
    (root / "file").symlink_to(outside / "file")
    assert found(root) == {}
    (root / "telling").symlink_to(b"/nowhere/" + KEY)
    assert found(root)[str(root / "telling")].note == "in where the link leads"


def test_nothing_is_opened_that_is_not_a_file(tmp_path: Path) -> None:
    """A pipe would keep us waiting, a device might do something; they are counted."""
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        files = Files(FINDER)
        assert list(files.below([tmp_path, tmp_path / "pipe"])) == []
    assert files.left_out.skipped == {SPECIAL: 3}


def test_what_became_a_pipe_since_it_was_listed_keeps_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So does what has gone, or has become a link, a folder, or a file of a folder that has gone."""
    for name in "abcd":
        (tmp_path / name).write_bytes(KEY)
    (tmp_path / "e").mkdir()

    def changed(self: Files, folder: object) -> Iterator[Hit]:
        if os.path.exists(tmp_path / "e"):
            for name in "abc":
                (tmp_path / name).unlink()
            os.mkfifo(tmp_path / "a")
            (tmp_path / "b").symlink_to("d")
            (tmp_path / "e").rmdir()
        return iter(())

    monkeypatch.setattr(Files, "_names", changed)  # between the listing and the opening
    files = Files(FINDER)
    assert [hit.where for hit in files.below([tmp_path])] == [str(tmp_path / "d")]
    assert (files.left_out.unreadable, files.left_out.skipped) == ([], {SPECIAL: 1})


def test_a_file_that_grows_is_read_as_far_as_it_went(tmp_path: Path) -> None:
    """A log that is written faster than we read it ends all the same."""
    path = tmp_path / "log"
    path.write_bytes(KEY + b"x" * (3 * LARGE))

    def grow(*_: int) -> None:
        with open(path, "ab") as file:
            file.write(b"y" * LARGE + KEY)

    files = Files(FINDER, told=grow)
    assert [hit.count for hit in files.below([tmp_path])] == [1]


@pytest.mark.parametrize("size", [2 * LARGE, 1 << 40])
def test_a_sparse_file(tmp_path: Path, size: int) -> None:
    """A terabyte of nothing is not read; what stands between two holes is found."""
    with open(tmp_path / "sparse", "wb") as file:
        file.seek(size)
        file.write(KEY)
        file.seek(2 * size)
        file.write(b"|" + KEY)
        file.truncate(3 * size)
    (hit,) = found(tmp_path).values()
    assert (hit.count, hit.forms) == (2, ("as it is",))


@pytest.mark.parametrize(
    "start",
    [b"", b"\x1f\x8b\x08", gzip.compress(b"x"), lzma.compress(b"x"), tarred("x", b"x")],
    ids=["nothing", "magic", "gzip", "xz", "tar"],
)
def test_a_file_of_nothing_but_holes_is_not_read(tmp_path: Path, start: bytes) -> None:
    """Terabytes without any block, also behind what looks like an archive, or is one."""
    with open(tmp_path / "sparse", "wb") as file:
        file.write(start)
        file.truncate(1 << 42)

    def told(_: int, size: int) -> None:
        assert size <= 2 << 30, "it reads holes"

    files = Files(FINDER, told=told)
    assert list(files.below([tmp_path])) == []
    assert files.weight([tmp_path])[1] < LARGE


def test_behind_the_holes_of_an_archive_the_value_is_found(tmp_path: Path) -> None:
    """Whatever has become of the archive by then; and holes that `cp --sparse` has made in it do it no harm."""
    with open(tmp_path / "endless", "wb") as file:
        file.write(b"\x1f\x8b\x08")
        file.seek(1 << 41)
        file.write(KEY)
    with tarfile.open(tmp_path / "tar", "w") as tar:
        for name, data in (("zeros", bytes(8 * LARGE)), ("log", KEY)):
            about = tarfile.TarInfo(name)
            about.size = len(data)
            tar.addfile(about, io.BytesIO(data))
    subprocess.run(["cp", "--sparse=always", tmp_path / "tar", tmp_path / "sparse"], check=True)
    assert os.stat(tmp_path / "sparse").st_blocks < os.stat(tmp_path / "tar").st_blocks
    assert set(found(tmp_path)) == {f"{tmp_path}/endless", f"{tmp_path}/tar › log", f"{tmp_path}/sparse › log"}


@pytest.mark.parametrize("size", [10, LARGE])
@pytest.mark.parametrize("start", [b"#!/usr/bin/env python3\n", b"\x7fELF" + bytes(500), b"MZ" + bytes(9000)])
def test_a_zip_that_begins_with_a_program_is_unpacked(tmp_path: Path, size: int, start: bytes) -> None:
    """zipapps, jars that can be run, what extracts itself; of any size, with a comment, and packed again."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("noise", secrets.token_bytes(size))
        archive.writestr("member", KEY * 3)
        archive.comment = b"a comment " * 50
    (tmp_path / "program").write_bytes(start + packed.getvalue())
    (tmp_path / "packed.tar.gz").write_bytes(tarred("program", start + packed.getvalue()))
    assert set(found(tmp_path)) == {f"{tmp_path}/program › member", f"{tmp_path}/packed.tar.gz › program › member"}


def test_a_program_that_only_knows_of_zips_is_no_broken_archive(tmp_path: Path) -> None:
    """It has the marks where it looks for them."""
    program = b"\x7fELF" + b"PK\x03\x04\0PK\x01\x02\0PK\x05\x06\0" * 50 + KEY
    (tmp_path / "program").write_bytes(program)
    (tmp_path / "packed.tar.gz").write_bytes(tarred("program", program))
    files = Files(FINDER)
    assert {hit.where for hit in files.below([tmp_path])} == {
        f"{tmp_path}/program",
        f"{tmp_path}/packed.tar.gz › program",
    }
    assert files.left_out == LeftOut()


@pytest.mark.parametrize("size", [10, LARGE])
def test_what_is_packed_is_looked_into(tmp_path: Path, size: int) -> None:
    """Small ones and large ones, with the name of the member."""
    noise = secrets.token_hex(size).encode()  # twice as long, and packed again half
    (tmp_path / "backup").write_bytes(tarred("etc/env", KEY + noise))
    (tmp_path / "log.xz").write_bytes(lzma.compress(KEY + noise, preset=0))
    (tmp_path / "log.gz").write_bytes(gzip.compress(KEY + noise))
    hits = found(tmp_path)
    assert set(hits) == {f"{tmp_path}/backup › etc/env", f"{tmp_path}/log.xz", f"{tmp_path}/log.gz"}
    assert {hit.kind for hit in hits.values()} == {"archive"}


def test_a_broken_archive_is_told_and_its_bytes_are_searched(tmp_path: Path) -> None:
    """Wherever it was unpacked."""
    for name, size in (("small", 10), ("large", 3 * LARGE)):
        (tmp_path / name).write_bytes(gzip.compress(secrets.token_bytes(size))[:-9] + KEY)
    files = Files(FINDER)
    assert {hit.where for hit in files.below([tmp_path])} == {f"{tmp_path}/small", f"{tmp_path}/large"}
    assert len(files.left_out.unreadable) == files.left_out.unreadable_count == 2


def test_the_objects_of_a_repository_are_left_to_git(tmp_path: Path) -> None:
    """All else of it is looked through; the repository is remembered, also one within, and one without a work tree."""
    for name, options in (("tree", []), ("tree/inner", []), ("bare", ["--bare"])):
        subprocess.run(["git", "init", "--quiet", *options, tmp_path / name], check=True)
    store = tmp_path / "tree/.git/objects"
    for name in (f"aa/{'0' * 38}", f"aa/{'0' * 62}", f"pack/pack-{'0' * 40}.pack", f"pack/pack-{'0' * 40}.idx"):
        (store / name).parent.mkdir(exist_ok=True)
        (store / name).write_bytes(KEY)
    (tmp_path / "tree/.git/COMMIT_EDITMSG").write_bytes(KEY)
    (tmp_path / "tree/objects").mkdir()
    (tmp_path / "tree/objects/file").write_bytes(KEY)
    files = Files(FINDER)
    assert {hit.where for hit in files.below([tmp_path])} == {
        f"{tmp_path}/tree/.git/COMMIT_EDITMSG",
        f"{tmp_path}/tree/objects/file",
    }
    assert set(files.repositories) == {f"{tmp_path}/{name}" for name in ("tree/.git", "tree/inner/.git", "bare")}


@pytest.mark.parametrize(
    "name",
    [
        "stray.txt",
        "aa/loose",
        f"aaa/{'0' * 38}",
        "pack/note",
        f"pack/pack-{'0' * 40}.keep",
        f"pack/pack-{'0' * 40}.pack",
        "tmp_objdir-incoming-x1/note",
        "info/commit-graphs/x",
    ],
)
def test_what_git_never_lists_among_the_objects_is_looked_through(tmp_path: Path, name: str) -> None:
    """A stray file, or a pack without an index, is no object."""
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    path = tmp_path / ".git/objects" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(KEY)
    assert set(found(tmp_path)) == {str(path)}


def test_a_folder_that_only_looks_like_a_repository_is_looked_through(tmp_path: Path) -> None:
    """Its HEAD is a folder; git would not take it for one."""
    for name in ("HEAD", "refs", "objects/aa"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / f"objects/aa/{'0' * 38}").write_bytes(KEY)
    files = Files(FINDER)
    assert [hit.where for hit in files.below([tmp_path])] == [f"{tmp_path}/objects/aa/{'0' * 38}"]
    assert files.repositories == []


# -- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("needle", [KEY, KEY.hex().encode(), KEY[3:]], ids=["as it is", "hex", "without its prefix"])
def test_a_value_in_a_name_is_found_and_hidden(tmp_path: Path, needle: bytes) -> None:
    """Of a file, of a folder, and of what is in such a folder; the note says how to find it, and one does."""
    folder = os.fsencode(tmp_path) + b"/a folder/\xff/" + needle
    os.makedirs(folder)
    with open(folder + b"/file", "wb") as file:
        file.write(KEY)
    hits = found(tmp_path)
    assert set(hits) == {f"{tmp_path}/a folder/\\xff/[redacted]", f"{tmp_path}/a folder/\\xff/[redacted]/file"}
    for hit, path in zip(hits.values(), (folder, folder + b"/file"), strict=True):
        command = re.search("find .*", hit.note)
        assert command
        assert hit.note.isprintable()
        assert subprocess.check_output(command[0], shell=True).strip() == path
    assert hits[f"{tmp_path}/a folder/\\xff/[redacted]"].note.startswith("in its name; find ")


@pytest.mark.parametrize("name", [b"new\nline", b"\xff\xfe", b"tab\t\x1b[31mred", "ünïcode \u202e".encode(), b"-rf"])
def test_an_odd_name_is_shown_on_one_line(tmp_path: Path, name: bytes) -> None:
    """Nothing in it gets onto the terminal as it is."""
    with open(os.fsencode(tmp_path) + b"/" + name, "wb") as file:
        file.write(KEY)
    (where,) = found(tmp_path)
    assert all(each.isprintable() for each in where)
    where.encode()


# -- what is told of a hit -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lines", [10, 200_000])
def test_the_first_lines_are_told_of_a_text(tmp_path: Path, lines: int) -> None:
    """Of a small one and of a large one."""
    text = [b"a line of a text\n"] * lines
    text[2] = text[6] = KEY + b"\n"
    text[-1] = b"key = " + KEY
    (tmp_path / "text").write_bytes(b"".join(text))
    (tmp_path / "text").chmod(0o600)
    (hit,) = found(tmp_path).values()
    assert hit.note == f"lines 3, 7, {lines}"


def test_it_is_told_that_everybody_may_read_a_file(tmp_path: Path) -> None:
    """A binary file has no lines."""
    (tmp_path / "file").write_bytes(b"\0" + KEY)
    (tmp_path / "file").chmod(0o644)
    (hit,) = found(tmp_path).values()
    assert hit.note == "everybody may read it (mode 644)"


def test_when_a_file_was_last_read_stays_as_it_was(tmp_path: Path) -> None:
    """Who else has read it is a question of an incident."""
    for name, size in (("small", 0), ("large", 2 * LARGE)):
        (tmp_path / name).write_bytes(KEY + bytes(size))
        os.utime(tmp_path / name, (1_000_000_000, 1_000_000_000))
    found(tmp_path)
    assert {(tmp_path / name).stat().st_atime for name in ("small", "large")} == {1_000_000_000}


# -- what is left out ------------------------------------------------------------------------------------------------


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may enter."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


@AS_ROOT
def test_what_may_not_be_read_is_told(open_folder: Path) -> None:
    """With its size, where it can be known; all else is looked through."""
    (open_folder / "mine").write_bytes(KEY)
    (open_folder / "theirs").write_bytes(bytes(5000))
    (open_folder / "theirs").chmod(0o600)
    (open_folder / "shut").mkdir(mode=0o700)
    files = Files(FINDER)
    os.seteuid(NOBODY)
    try:
        files = Files(FINDER)
        hits = list(files.below([open_folder]))
    finally:
        os.seteuid(0)
    assert [hit.where for hit in hits] == [f"{open_folder}/mine"]
    left_out = files.left_out
    assert set(left_out.unreadable) == {
        f"{open_folder}/theirs: permission denied",
        f"{open_folder}/shut: permission denied",
    }
    assert (left_out.unreadable_count, left_out.unreadable_size) == (2, 5000)


def test_a_disk_that_fails_half_way_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was found before it is not lost. The fault is made, for no disk here has it."""
    (tmp_path / "file").write_bytes(KEY + bytes(4 * LARGE))
    real = os.preadv

    def preadv(descriptor: int, buffers: tuple[memoryview], offset: int) -> int:
        if offset >= 2 * LARGE:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(descriptor, buffers, offset)

    monkeypatch.setattr(os, "preadv", preadv)
    files = Files(FINDER)
    assert [hit.count for hit in files.below([tmp_path])] == [1]
    assert files.left_out.unreadable == [f"{tmp_path}/file: input/output error"]


def test_a_root_that_is_not_there_is_told(tmp_path: Path) -> None:
    """Nothing found in a folder that was misspelt is no comfort."""
    files = Files(FINDER)
    assert list(files.below([tmp_path / "no-such"])) == []
    assert files.left_out.unreadable == [f"{tmp_path}/no-such: no such file or directory"]


def test_file_systems_of_the_kernels_are_counted() -> None:
    """What is read there is made on the spot, endless at times."""
    files = Files(FINDER)
    assert list(files.below(["/proc", "/sys/kernel"])) == []
    assert files.left_out.skipped == {KERNELS: 2}
    assert files.count == 0


@pytest.mark.parametrize(
    ("kind", "is_kernels", "is_remote"),
    [
        ("ext4", False, False),
        ("tmpfs", False, False),
        ("fuse.ntfs-3g", False, False),
        ("nfs4", False, True),
        ("fuse.sshfs", False, True),
        ("cgroup2", True, False),
    ],
)
def test_file_systems_are_told_apart(kind: str, is_kernels: bool, is_remote: bool) -> None:
    """A device that nobody knows of counts as this machine's own."""
    mounts = Mounts({7: kind}, (("/dev/shm", 7),))
    assert (mounts.is_kernels(7), mounts.is_remote(7)) == (is_kernels, is_remote)
    assert list(mounts.below("/dev")) == ([] if is_kernels or is_remote else ["/dev/shm"])
    assert not mounts.is_kernels(8)
    assert list(mounts.below("/de")) == []


def test_the_kernel_says_where_things_are_mounted() -> None:
    """Of this machine."""
    mounts = Mounts.now()
    assert mounts.is_kernels(os.stat("/proc").st_dev)
    assert not mounts.is_remote(os.stat("/proc").st_dev)


# -- how it goes on --------------------------------------------------------------------------------------------------


def test_how_far_it_is_can_be_told(tmp_path: Path) -> None:
    """It grows up to what was weighed before."""
    for number in range(20):
        (tmp_path / str(number)).write_bytes(bytes(number * 200_000))
    told: list[tuple[int, int]] = []
    files = Files(FINDER, told=lambda *far: told.append(far))
    weight = files.weight([tmp_path])
    assert list(files.below([tmp_path])) == []
    assert told == sorted(told)
    assert told[-1] == weight == (20, sum(range(20)) * 200_000)
    assert (files.count, files.size) == weight


@pytest.mark.parametrize("asked", [0, 3, 30])
def test_somebody_who_asks_to_stop_is_heard(tmp_path: Path, asked: int) -> None:
    """Soon, and nothing goes on behind."""
    for number in range(40):
        (tmp_path / str(number)).mkdir()
        (tmp_path / f"{number}/log.gz").write_bytes(gzip.compress(secrets.token_bytes(1000)))
    heard = iter(range(1000))

    def raise_if_asked() -> None:
        if next(heard) >= asked:
            raise InterruptedRun("SIGINT")

    threads = threading.active_count()
    with pytest.raises(InterruptedRun):
        list(Files(FINDER, raise_if_asked=raise_if_asked).below([tmp_path]))
    assert threading.active_count() == threads


def test_a_job_that_nobody_waits_for_any_more_is_given_up() -> None:
    """Whatever ended the wait; to unpack a bomb takes seconds."""
    threads, begun = threading.active_count(), threading.Event()

    def job(ask: Callable[[], None]) -> None:
        begun.set()
        while True:
            ask()

    def leave() -> None:
        with Beside[None](lambda: None) as beside:
            beside.start(job)
            begun.wait()
            raise KeyError

    with pytest.raises(KeyError):
        leave()
    assert threading.active_count() == threads


PEAK = """
import sys
from pathlib import Path
from keyrotor.boundary.forms import forms
from keyrotor.secret import Secret
from keyrotor.sweeping.beside import Beside
from keyrotor.sweeping.files import Files
from keyrotor.sweeping.finder import Finder

files = Files(Finder({"former": forms(Secret(sys.stdin.buffer.read()))}))
hits = list(files.below([sys.argv[1]]))
peak = Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]
print(len(hits), files.size + files.unpacked, peak)
"""


def test_more_leaks_than_people_read_are_counted(tmp_path: Path) -> None:
    """In a file or packed; what is no leak is told all the same."""
    for number in range(MOST + 50):
        (tmp_path / f"{number:05}").write_bytes(KEY)
    (tmp_path / "own").mkdir()
    (tmp_path / "own/file").write_bytes(KEY)

    def judge(path: str, hit: Hit) -> Hit:
        return replace(hit, whose="mine") if path == f"{tmp_path}/own/file" else hit

    files = Files(FINDER, tally=Tally(judge))
    hits = list(files.below([tmp_path]))
    assert (len(hits), files.tally.more) == (MOST + 1, 50)
    assert sum(bool(hit.whose) for hit in hits) == 1


def test_many_archives_of_many_members_are_told_in_few_words(tmp_path: Path) -> None:
    """Also where all of them are unpacked together: of each one thing is told at least."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for number in range(300):
            about = tarfile.TarInfo(f"{number}")
            about.size = len(KEY)
            tar.addfile(about, io.BytesIO(KEY))
    for number in range(30):
        (tmp_path / f"{number:02}.tgz").write_bytes(packed.getvalue())
    hits = list(Files(FINDER).below([tmp_path]))
    assert len(hits) < MOST + 30
    assert {hit.where.partition(" ")[0] for hit in hits} == {f"{tmp_path}/{number:02}.tgz" for number in range(30)}
    assert sum(hit.count for hit in hits) == 30 * 300


@pytest.mark.parametrize("kind", ["large", "gzip", "tar of gzip", "many", "long names"])
def test_memory_is_bounded(tmp_path: Path, kind: str) -> None:
    """Some 300 MB go through: of one file, of what is packed in one, and of many; with the key at the end."""
    whole, zeros = 300 << 20, bytes(1 << 20)
    if kind == "many":
        for number in range(150):
            (tmp_path / f"{number}.gz").write_bytes(gzip.compress(zeros + zeros + (KEY if number == 149 else b""), 1))
    elif kind == "long names":
        with tarfile.open(tmp_path / "packed.tgz", "w:gz", compresslevel=1) as tar:
            for number in range(4000):
                about = tarfile.TarInfo(f"{number}/" + "n" * 60_000)
                about.size = len(KEY)
                tar.addfile(about, io.BytesIO(KEY))
    elif kind == "large":
        with open(tmp_path / "large", "wb") as file:
            for _ in range(whole >> 20):
                file.write(zeros)
            file.write(KEY)
    else:
        packed = io.BytesIO()
        with gzip.open(packed, "wb", 1) as stream:
            for _ in range(whole >> 20):
                stream.write(zeros)
            stream.write(KEY)
        data = packed.getvalue()
        (tmp_path / "packed").write_bytes(data if kind == "gzip" else tarred("log.gz", data))
    ran = subprocess.run([sys.executable, "-c", PEAK, tmp_path], input=KEY, capture_output=True, check=True)
    hits, size, peak = map(int, ran.stdout.split())
    assert (hits, size >= whole) == ((MEMBERS + 1, False) if kind == "long names" else (1, True))
    assert peak < 90_000  # KiB, of which Python itself takes 30,000
