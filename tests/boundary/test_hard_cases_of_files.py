"""Files in folders that give what is made in them a group or readers, and files whose group is not ours."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from keyrotor.boundary import files, writable
from keyrotor.boundary.plaintext import redacted, unseal
from keyrotor.boundary.process import Processes
from keyrotor.boundary.systemd import Systemd
from keyrotor.boundary.unit_text import parsed
from keyrotor.secret import Pair
from places.sealed import fresh_pair

PIECE = 8  # bytes of a value that must never be shown together
NOBODY = 65534


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "folder" / "file"
    path.parent.mkdir()
    path.write_bytes(b"before")
    path.chmod(0o640)
    return path


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o2640])
def test_a_replaced_file_keeps_its_group_in_a_setgid_folder(file: Path, mode: int) -> None:
    """The folder gives new files its own group; a replaced one is not new."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder to any group")
    os.chown(file.parent, 0, 4243)
    file.parent.chmod(0o2770)
    os.chown(file, 0, 0)
    file.chmod(mode)
    files.update(file, lambda _: b"after")
    status = file.stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (0, 0, mode)


def acl(*entries: tuple[int, int, int]) -> bytes:
    """A POSIX ACL as the kernel keeps it: version 2, then (tag, permissions, id)."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


@pytest.mark.parametrize("mode", [0o600, 0o640])
def test_a_replaced_file_gains_no_reader_from_a_default_acl(file: Path, mode: int) -> None:
    """The folder lets one more user read what is made in it; who could not read the file before still cannot."""
    everyone = 0xFFFFFFFF
    readers = acl((1, 7, everyone), (2, 4, NOBODY), (4, 0, everyone), (0x10, 4, everyone), (0x20, 0, everyone))
    try:
        os.setxattr(file.parent, "system.posix_acl_default", readers)
    except OSError as error:
        pytest.skip(f"no access control lists here: {error.strerror}")
    file.chmod(mode)
    before = os.listxattr(file)
    files.update(file, lambda _: b"after")
    assert os.listxattr(file) == before == []
    assert file.stat().st_mode & 0o777 == mode


def test_a_replaced_file_keeps_its_own_acl(file: Path) -> None:
    """Whom its owner lets read it goes on reading it."""
    everyone = 0xFFFFFFFF
    own = acl((1, 6, everyone), (2, 4, NOBODY), (4, 0, everyone), (0x10, 4, everyone), (0x20, 0, everyone))
    try:
        os.setxattr(file, "system.posix_acl_access", own)
    except OSError as error:
        pytest.skip(f"no access control lists here: {error.strerror}")
    files.update(file, lambda _: b"after")
    assert os.getxattr(file, "system.posix_acl_access") == own


@pytest.mark.parametrize(("groups", "is_refused"), [([1], True), ([1, 4243], False)])
def test_a_file_of_a_group_that_we_are_not_in_is_refused(
    file: Path, monkeypatch: pytest.MonkeyPatch, groups: list[int], is_refused: bool
) -> None:
    """Only root may give a file any group, so without it the replaced one could not be as before."""
    if os.geteuid() == 0:
        os.chown(file, 4242, 4243)
    status = file.stat()
    member = [status.st_gid] if not is_refused else []
    monkeypatch.setattr(os, "geteuid", lambda: status.st_uid)
    monkeypatch.setattr(os, "getegid", lambda: 1)
    monkeypatch.setattr(os, "getgroups", lambda: [group for group in groups if group != 4243] + member)
    found = [why for why in writable.refusals(file) if "group" in why]
    assert found == (
        [f"cannot write {file}: it belongs to group {status.st_gid}, which could not be given back"]
        if is_refused
        else []
    )


def pieces(value: bytes) -> set[bytes]:
    return {value[at : at + PIECE] for at in range(len(value) - PIECE + 1)}


def last_words(folder: Path, log: bytes, pair: Pair) -> bytes:
    """What is shown of a unit's log file."""
    path, fragment = folder / "log", folder / "x.service"
    path.write_bytes(log)
    fragment.write_text(f"[Service]\nStandardOutput=append:{path}\n")
    unit = parsed("keyrotor-no-such.service", f"FragmentPath={fragment}\n")
    return redacted(Systemd(Processes(), {"PATH": os.environ["PATH"]}, "user").last_lines(unit), pair)


@pytest.mark.parametrize("end", [b" was refused\n", b"\n", b""])
def test_the_tail_of_a_log_never_shows_a_piece_of_a_value(tmp_path: Path, end: bytes) -> None:
    """Wherever the look begins, in a value or beside it, no eight bytes of it are shown."""
    pair = fresh_pair()
    value = unseal(pair.old)
    reach = 16384
    for into in range(0, len(value) + 1, 3):
        line = b"key=" + value + end
        rest = b"q" * (reach - (len(line) - 4 - into) - 2) + b"\n"
        shown = last_words(tmp_path, b"p" * 3000 + b"\n" + line + rest, pair)
        assert [piece for piece in pieces(value) if piece in shown] == []


def test_half_a_value_in_a_log_is_hidden(tmp_path: Path) -> None:
    """A program may shorten what it prints, or break it over lines; what is left of it is still a piece."""
    pair = fresh_pair()
    for secret in (pair.old, pair.new, *pair.siblings.values()):
        value = unseal(secret)
        log = b"refused %b\xe2\x80\xa6\n%b\nit was the port\n" % (value[:14], value[14:])
        shown = last_words(tmp_path, log, pair)
        assert [piece for piece in pieces(value) if piece in shown] == []
        assert b"it was the port" in shown


def test_the_first_line_of_a_tail_is_dropped_where_it_is_cut(tmp_path: Path) -> None:
    """A line without its beginning is not shown, a whole one is; so is the first line of a short file."""
    pair = fresh_pair()
    line = b"x" * 99 + b"\n"
    shown = last_words(tmp_path, b"cut" * 9999 + b"\n" + line, pair)
    assert shown == line.strip()
    assert last_words(tmp_path, b"cut" * 9999, pair) == b""
    assert last_words(tmp_path, b"first\nsecond\n", pair) == b"first\nsecond"


def test_a_line_that_begins_where_the_look_begins_is_shown(tmp_path: Path) -> None:
    """A tail that begins with a whole line keeps it."""
    lines = [b"%04d%b" % (number, b"x" * 1019) for number in range(20)]
    shown = last_words(tmp_path, b"\n".join(lines) + b"\n", fresh_pair())
    assert shown.splitlines() == lines[-15:]
