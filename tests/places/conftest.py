"""Fixtures for the places."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from keyrotor.secret import Pair
from places.fake_systemd import FakeSystemd
from places.sealed import Sealed, fresh_pair, seal


@pytest.fixture
def pair() -> Pair:
    return fresh_pair()


@pytest.fixture(scope="session")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Sealed:
    """One for the session."""
    return seal(tmp_path_factory.mktemp("sealed"))


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeSystemd]:
    """A systemctl and a journalctl, first on PATH, that really start processes; all of them end with the test."""
    with FakeSystemd.made(tmp_path) as made:
        monkeypatch.setenv("PATH", made.env["PATH"])
        yield made
