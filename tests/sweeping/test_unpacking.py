"""What is packed: each packing found in and with each other, and what can go wrong with an archive."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import secrets
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyrotor.boundary.forms import forms
from keyrotor.core.swept import Hit
from keyrotor.errors import InterruptedRun
from keyrotor.secret import Secret
from keyrotor.sweeping import unpacking
from keyrotor.sweeping.finder import Finder
from keyrotor.sweeping.left_out import LeftOut
from keyrotor.sweeping.source import PIECE, Source
from keyrotor.sweeping.unpacking import DEEPEST, Unpacking, packing

KEY = b"sk-" + secrets.token_urlsafe(32).encode()
FINDER = Finder({"former": forms(Secret(KEY))})
TEXT = b"# settings\nkey=" + KEY + b"\n" + b"some more lines of text\n" * 40


def cut(data: bytes, size: int = 1 << 20) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def search(data: bytes, size: int = 1 << 20) -> tuple[list[Hit], LeftOut]:
    left_out = LeftOut()
    source = Source(cut(data, size), FINDER.stream())
    return list(Unpacking(FINDER, left_out).search(source, "box", len(data))), left_out


def places(hits: list[Hit]) -> list[tuple[str, str]]:
    return [(hit.kind, hit.where) for hit in hits]


def in_tar(data: bytes, name: str = "member", form: int = tarfile.PAX_FORMAT) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as tar:
        for each, content in (("first", b"nothing\n" * 99), (name, data), ("last", b"nothing")):
            about = tarfile.TarInfo(each)
            about.size = len(content)
            tar.addfile(about, io.BytesIO(content))
    return file.getvalue()


def in_zip(data: bytes, method: int = zipfile.ZIP_DEFLATED, name: str = "member") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.mkdir("folder") if hasattr(archive, "mkdir") else None
        archive.writestr("first", b"nothing\n" * 99)
        archive.writestr(name, data)
        archive.writestr("last", b"nothing")
    return file.getvalue()


class Unseekable(io.RawIOBase):
    """A pipe, as `zip -` writes into: then a zip tells a member's size behind it."""

    def __init__(self) -> None:
        self.data = b""

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self.data += bytes(data)
        return len(data)


def in_streamed_zip(data: bytes) -> bytes:
    pipe = Unseekable()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:  # type: ignore[arg-type]
        archive.writestr("first", b"nothing\n" * 99)
        archive.writestr("member", data)
    return pipe.data


PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "tar": in_tar,
    "old tar": lambda data: in_tar(data, form=tarfile.USTAR_FORMAT),
    "gnu tar": lambda data: in_tar(data, form=tarfile.GNU_FORMAT),
    "zip": in_zip,
    "stored zip": lambda data: in_zip(data, zipfile.ZIP_STORED),
    "bzip2 zip": lambda data: in_zip(data, zipfile.ZIP_BZIP2),
    "streamed zip": in_streamed_zip,
}


@pytest.mark.parametrize("size", [1 << 20, 1000, 7])
@pytest.mark.parametrize("packed", PACKINGS)
def test_each_packing_is_looked_into(packed: str, size: int) -> None:
    """In chunks of any size; with the member's name, where there is one."""
    hits, left_out = search(PACKINGS[packed](TEXT), size)
    where = "box › member" if "tar" in packed or "zip" in packed.split() else "box"
    assert places(hits) == [("archive", where)]
    assert (hits[0].forms, hits[0].count) == (("as it is",), 1)
    assert left_out == LeftOut()


@pytest.mark.parametrize("outer", PACKINGS)
@pytest.mark.parametrize("inner", PACKINGS)
def test_each_packing_is_looked_into_within_each_other(outer: str, inner: str) -> None:
    """A tar.gz within a wheel is nothing special."""
    hits, left_out = search(PACKINGS[outer](PACKINGS[inner](TEXT)))
    assert [hit.count for hit in hits] == [1]
    assert left_out == LeftOut()


def test_every_form_is_found_in_an_archive() -> None:
    """What is packed is searched for all of them."""
    for form in forms(Secret(KEY)):
        hits, _ = search(gzip.compress(in_tar(b"|" + form.needle + b"|")))
        assert [hit.forms for hit in hits] == [(form.name,)]


def test_as_deep_as_that_and_no_deeper() -> None:
    """A matryoshka of archives ends; that it went on is told."""
    data = TEXT
    for _ in range(DEEPEST):
        data = gzip.compress(data)
    assert len(search(data)[0]) == 1
    hits, left_out = search(gzip.compress(data))
    assert hits == []
    assert sum(left_out.skipped.values()) == 1


def test_gzips_that_were_appended_to_each_other() -> None:
    """Rotated logs are put together so."""
    hits, left_out = search(gzip.compress(b"first") + gzip.compress(TEXT) + bz2.compress(b""))
    assert [hit.count for hit in hits] == [1]
    assert left_out == LeftOut()


def test_an_xz_with_padding_between_its_streams() -> None:
    """The format allows nuls there, in fours."""
    hits, left_out = search(lzma.compress(b"first") + bytes(8) + lzma.compress(TEXT))
    assert [hit.count for hit in hits] == [1]
    assert left_out == LeftOut()


def test_what_was_deleted_from_a_zip_is_found() -> None:
    """`zipfile` and others only drop it from the directory at the end."""
    data = in_zip(TEXT)
    hits, _ = search(data[: data.index(b"PK\x01\x02")])
    assert places(hits) == [("archive", "box › member")]


def test_behind_a_damaged_member_of_a_zip_the_next_is_found() -> None:
    """And the damage is told."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bad", secrets.token_hex(4000))
        archive.writestr("good", TEXT)
    data = bytearray(file.getvalue())
    data[60:100] = b"\xff" * 40
    hits, left_out = search(bytes(data))
    assert places(hits) == [("archive", "box › good")]
    assert left_out.unreadable == ["box › bad: not unpacked to its end: its deflate is damaged"]


def test_a_mark_is_found_wherever_it_stands() -> None:
    """Also where it begins in one window and ends in the next, and where only half of it stands at the end."""
    mark = b"PK\x03\x04"
    for before in (0, 1, 999, *range(PIECE - 6, PIECE + 3), 2 * PIECE):
        for size in (1000, PIECE, 1 << 20):
            source = Source(cut(b"P" * before + mark + b"rest", size), FINDER.stream())
            assert source.skip_to(mark)
            assert source.take(99) == mark + b"rest"
            assert not Source(cut(b"P" * before + mark[:3], size), FINDER.stream()).skip_to(mark)


@pytest.mark.parametrize("packed", ["gzip", "bzip2", "xz", "tar", "zip"])
def test_what_is_left_of_an_archive_is_searched(packed: str) -> None:
    """A download that broke off: what can be unpacked is, and the rest is told."""
    noise = secrets.token_hex(900_000).encode()
    whole = PACKINGS[packed](b"".join((TEXT, noise)))
    hits, left_out = search(whole[: len(whole) - len(whole) // 10])
    assert [hit.count for hit in hits] == [1]
    assert left_out.unreadable_count >= 1
    assert "not unpacked to its end" in left_out.unreadable[0]


def test_what_only_looks_like_an_archive_is_searched_as_it_is() -> None:
    """The first bytes may lie; what follows them is searched all the same."""
    for start in (b"\x1f\x8b\x08", b"\xfd7zXZ\0", b"PK\x03\x04", b"BZh91AY&SY", b"x" * 257 + b"ustar"):
        hits, _ = search(start + b"?" * 600 + TEXT)
        assert places(hits) == [("file", "box")]


def test_a_word_is_no_archive() -> None:
    """Text may begin with any letters."""
    assert packing(b"BZh is what a bzip2 begins with") == ""
    assert packing(b"") == ""


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"7z\xbc\xaf\x27\x1c", "7z"),
        (b"Rar!\x1a\x07", "rar"),
        (b"!<arch>\ndebian", "deb"),
    ],
)
def test_what_is_not_unpacked_is_counted(start: bytes, name: str) -> None:
    """Silence would say that nothing is in it; and as it is, it is searched."""
    hits, left_out = search(start + TEXT)
    assert places(hits) == [("file", "box")]
    assert left_out.skipped == {f"{name} archives": 1}


def test_an_encrypted_member_is_counted(tmp_path: Path) -> None:
    """Nobody looks into it without its password; the one beside it is looked into."""
    data = bytearray(in_zip(b"nothing") + in_zip(TEXT))
    data[6] |= 1  # the first member says that it is encrypted
    hits, left_out = search(bytes(data))
    assert places(hits) == [("archive", "box › member")]
    assert left_out.skipped == {"encrypted members of archives": 1}


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
def test_a_member_of_a_zip_with_a_note_about_it(method: int) -> None:
    """A jar begins with one that says that it is a jar; and one that may grow large notes its sizes there."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        about = zipfile.ZipInfo("noted")
        about.extra, about.compress_type = b"\xfe\xca\0\0", method
        archive.writestr(about, gzip.compress(TEXT))
        with archive.open("large", "w", force_zip64=True) as member:
            member.write(gzip.compress(TEXT))
    hits, left_out = search(file.getvalue())
    assert places(hits) == [("archive", "box › noted"), ("archive", "box › large")]
    assert left_out == LeftOut()


def test_a_bomb_is_told_and_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is unpacked as far as an honest archive goes; what was found until then is told, and it is told once."""
    monkeypatch.setattr(unpacking, "AT_LEAST", 1 << 20)
    bomb = gzip.compress(gzip.compress(TEXT + bytes(1 << 26), 9), 9)
    hits, left_out = search(bomb)
    assert [hit.count for hit in hits] == [1]
    assert len(left_out.unreadable) == 1
    assert "is packed in it" in left_out.unreadable[0]


def test_a_long_log_is_no_bomb() -> None:
    """It packs to a hundredth, and to a thousandth where it says nothing: up to 1 GiB nobody has to fear."""
    hits, left_out = search(gzip.compress(bytes(50 << 20) + TEXT))
    assert len(hits) == 1
    assert left_out == LeftOut()


def test_a_tar_that_stands_as_it_is_is_told_once() -> None:
    """Its bytes stand in the file, too; but the member is what a person wants to know."""
    hits, _ = search(in_tar(TEXT) + b"appended: " + KEY)
    assert places(hits) == [("archive", "box › member"), ("file", "box")]
    assert [hit.count for hit in hits] == [1, 1]


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_and_odd_names_in_a_tar(form: int) -> None:
    """More than 100 bytes, not ASCII, with a newline: shown on one line, the value in it hidden."""
    name = "folder/" * 30 + "ü\n" + KEY.decode()
    hits, left_out = search(in_tar(TEXT, name, form))
    assert hits[0].where == "box › " + "folder/" * 30 + "ü\\n[redacted]"
    assert left_out == LeftOut()


def test_a_value_in_a_members_name_is_found() -> None:
    """The packed bytes do not show it, the unpacked ones do."""
    hits, _ = search(gzip.compress(in_tar(b"nothing", KEY.decode())))
    assert [(hit.forms, KEY.decode() in hit.where) for hit in hits] == [(("as it is",), False)]


def test_a_sparse_file_in_a_tar(tmp_path: Path) -> None:
    """GNU tar leaves holes away and notes where they were."""
    with open(tmp_path / "sparse", "wb") as file:
        for at in range(0, 60 << 20, 2 << 20):
            file.seek(at)
            file.write(b"data")
        file.write(TEXT)
    (tmp_path / "zipped").write_bytes(gzip.compress(TEXT))
    options = ("--sparse", "--format=gnu", "-cf", "-")
    data = subprocess.check_output(["tar", *options, "sparse", "zipped"], cwd=tmp_path)
    assert len(data) < 1 << 20
    hits, left_out = search(data)
    assert places(hits) == [("archive", "box › sparse"), ("archive", "box › zipped")]
    assert left_out == LeftOut()


def test_what_other_programs_pack_is_unpacked(tmp_path: Path) -> None:
    """The programs of this machine, as far as it has them."""
    (tmp_path / "member").write_bytes(TEXT)
    for argv in (["gzip", "-k"], ["bzip2", "-k"], ["xz", "-k"]):
        if shutil.which(argv[0]):
            subprocess.run([*argv, "member"], cwd=tmp_path, check=True)
    packed = [path for path in tmp_path.iterdir() if path.suffix]
    assert packed
    for path in packed:
        assert [hit.count for hit in search(path.read_bytes())[0]] == [1]


def test_somebody_who_asks_to_stop_is_heard_while_it_unpacks() -> None:
    """Between two pieces."""

    def stop() -> None:
        raise InterruptedRun("SIGINT")

    source = Source(cut(gzip.compress(TEXT)), FINDER.stream())
    with pytest.raises(InterruptedRun):
        list(Unpacking(FINDER, LeftOut(), stop).search(source, "box", 1))


@given(st.sampled_from(sorted(PACKINGS)), st.data())
def test_no_damage_is_more_than_a_finding(packed: str, data: st.DataObject) -> None:
    """Whatever is cut out of an archive or written over it: nothing is raised, nothing hangs, nothing is shown."""
    whole = bytearray(PACKINGS[packed](TEXT))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at : at + data.draw(st.integers(0, 40))] = data.draw(st.binary(max_size=40))
    hits, left_out = search(bytes(whole), data.draw(st.integers(1, 2000)))
    assert KEY.decode() not in repr((hits, left_out))


@given(st.binary(max_size=3000), st.sampled_from([b"\x1f\x8b\x08", b"\xfd7zXZ\0", b"PK\x03\x04", b"BZh91AY&SY"]))
def test_any_bytes_may_follow_the_first(data: bytes, start: bytes) -> None:
    """The key behind them is found."""
    hits, _ = search(start + data + b"|" + TEXT)
    assert any(hit.kind == "file" for hit in hits)


def test_the_size_that_was_unpacked_is_known() -> None:
    """For the rate, and for the report."""
    one = Unpacking(FINDER, LeftOut())
    list(one.search(Source(cut(gzip.compress(TEXT)), FINDER.stream()), "box", 1))
    assert one.size == len(TEXT)
