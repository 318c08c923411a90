"""The folder that units are installed in: what a killed install leaves there is in nobody's way."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from keyrotor.boundary import files
from keyrotor.boundary.unit_folder import UnitFolder, staged

UNIT = "gateway.service"


@pytest.fixture
def folder(tmp_path: Path) -> UnitFolder:
    """A folder with a unit file that has another name: the one that a killed install has written it under."""
    folder = UnitFolder(tmp_path / "user")
    folder.place(UNIT, b"[Service]\n", None)
    os.link(folder.path / UNIT, files.sibling_of(folder.path / UNIT))
    return folder


def test_the_second_name_of_a_killed_write_is_not_somebody_elses(folder: UnitFolder) -> None:
    """It is refused for another name only."""
    assert folder.refusals([UNIT]) == []
    os.link(folder.path / UNIT, folder.path / "mine")
    assert ["other names" in reason for reason in folder.refusals([UNIT])] == [True]


def test_the_second_name_of_a_killed_write_goes_with_the_next_one(folder: UnitFolder) -> None:
    """Whether the file is written or removed."""
    folder.place(UNIT, b"[Unit]\n", folder.seen(UNIT))
    assert [path.name for path in folder.path.iterdir()] == [UNIT]
    os.link(folder.path / UNIT, files.sibling_of(folder.path / UNIT))
    seen = folder.seen(UNIT)
    assert seen
    folder.remove(UNIT, seen)
    assert list(folder.path.iterdir()) == []


def test_copies_for_systemd_to_look_at_go_with_the_next_ones_if_their_process_is_gone(tmp_path: Path) -> None:
    """Those of a process that is still there stay."""
    if (child := os.fork()) == 0:
        with staged(tmp_path / "units", {UNIT: "[Service]\n"}):
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert [path.name for path in tmp_path.rglob("*.service")] == [UNIT]
    with staged(tmp_path / "units", {UNIT: "1"}) as ours, staged(tmp_path / "units", {UNIT: "2"}):
        assert ours[0].read_text() == "1"
        assert [path.parent for path in tmp_path.rglob("*.service") if str(child) in path.parent.name] == []
    assert list(tmp_path.iterdir()) == []


def test_what_killed_writes_left_of_a_unit_and_of_what_is_kept_of_it_goes(folder: UnitFolder) -> None:
    """It may hold a former unit's key. What is another unit's, or no file, stays."""
    for name in (f"{UNIT}.before-keyrotor", f"{UNIT}.edited.2", "other.service"):
        files.sibling_of(folder.path / name).write_text("Environment=KEY=literal")
    (folder.path / f".{UNIT}.d.keyrotor").mkdir()
    folder.tidy(UNIT)
    assert sorted(path.name for path in folder.path.iterdir()) == [
        f".{UNIT}.d.keyrotor",
        ".other.service.keyrotor",
        UNIT,
    ]
    UnitFolder(folder.path / "none").tidy(UNIT)
