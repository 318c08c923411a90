"""What is taken into evidence from files."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
from pathlib import Path

import pytest

from keyrotor.boundary import evidence
from keyrotor.errors import PlaceError


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_the_end_of_a_log_packed_or_not(tmp_path: Path, pack: object) -> None:
    """And how much stood before it."""
    path = tmp_path / "log"
    path.write_bytes(pack(b"one\ntwo\nthree\n"))  # type: ignore[operator]
    assert evidence.tail(path) == (b"one\ntwo\nthree\n", 0)
    assert evidence.tail(path, 6) == (b"three\n", 8)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_broken_packed_log_is_told(tmp_path: Path, pack: object) -> None:
    """Cut off, or with other bytes in it; in our words."""
    whole = pack(os.urandom(5000))  # type: ignore[operator]
    for data in (whole[:2000], whole[:300] + bytes(200) + whole[500:]):
        (tmp_path / "log").write_bytes(data)
        with pytest.raises(PlaceError, match="packed, and broken"):
            evidence.tail(tmp_path / "log")


def test_what_is_no_log_is_told(tmp_path: Path) -> None:
    """A pipe, a folder, nothing at all; none of them keeps us waiting."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, tmp_path / "absent"):
        with pytest.raises(PlaceError, match="cannot read"):
            evidence.tail(path)


def test_traits_and_imprint(tmp_path: Path) -> None:
    """Mode, owner and time; the imprint depends on salt, path, mode and content."""
    path = tmp_path / "file"
    path.write_text("x")
    path.chmod(0o640)
    os.utime(path, (0, 86400))
    found = evidence.traits(path)
    assert (found.mode, found.changed) == ("0640", "1970-01-02T00:00:00+00:00")
    assert evidence.traits(tmp_path / "absent") == evidence.Traits()
    one = evidence.imprint(path, "00")
    path.chmod(0o600)
    assert len({one, evidence.imprint(path, "00"), evidence.imprint(path, "01")}) == 3
    assert evidence.imprint(tmp_path / "absent", "00") == ""
