"""Another writer of a client's file undoes our put: the real place on a real file, the rest of the run in memory.

The writer is droid's, step by step as it was traced (docs/reference/clients.md): it reads, edits in memory, writes a
new file beside the real one, syncs it and renames it over ours, without a lock or a second look.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable
from pathlib import Path

import pytest

from keyrotor.boundary.plaintext import unseal
from keyrotor.core.model import Holds, Outcome, Value
from keyrotor.places.client_file import ClientFile
from keyrotor.secret import Pair
from places.sealed import KEY, fresh_pair
from world import File, World, trace

REAL = fresh_pair()


class Droid:
    """A droid that has a settings file open."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.settings = json.loads(path.read_bytes())

    def saves(self) -> None:
        """A first start writes what is in its memory, and a setting of its own."""
        self.settings["logoAnimation"] = "off"
        real = Path(os.path.realpath(self.path))
        beside = real.with_name(f"{real.name}.tmp-{secrets.randbelow(10**10):010}{secrets.token_hex(3)}")
        with beside.open("x") as file:
            json.dump(self.settings, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        beside.chmod(real.stat().st_mode & 0o777)
        os.rename(beside, real)


class Settings(File):
    """The first client, with a real file and real values; after each put the next of the deeds is done."""

    def __init__(self, world: World, path: Path, deeds: list[Callable[[], None]]) -> None:
        super().__init__(world, next(row for row in world.plan.rows if row.id == "one"))
        self.real = ClientFile(path, KEY, "json")
        self.deeds = deeds

    def holds(self, pair: Pair) -> Holds:
        return self.real.holds(REAL)

    def prepare(self, goal: Value, pair: Pair) -> None:
        self.real.prepare(goal, REAL)

    def put(self, goal: Value, pair: Pair) -> str:
        said = self.real.put(goal, REAL)
        if self.deeds:
            self.deeds.pop()()
        return said

    def after(self, goal: Value, pair: Pair) -> str:
        return ""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where droid looks is a link, as dotfiles managers make them."""
    real, link = tmp_path / "dotfiles" / "settings.json", tmp_path / ".factory" / "settings.json"
    for folder in (real.parent, link.parent):
        folder.mkdir()
    key = unseal(REAL.old).decode()
    real.write_text(
        json.dumps({"customModels": [{"model": "mock", "apiKey": key, "baseUrl": "http://127.0.0.1:4000"}]})
    )
    real.chmod(0o600)
    link.symlink_to(real)
    return link


def rotate(path: Path, times: int) -> tuple[World, Outcome]:
    """A rotation during which a droid that has read the old key saves so many times, each time after our put."""
    world = World()
    world.places["one"] = Settings(world, path, [Droid(path).saves] * times)
    return world, world.rotate().outcome


def key_in(path: Path) -> bytes:
    found = json.loads(path.read_bytes())
    assert found["logoAnimation"] == "off"
    return found["customModels"][0]["apiKey"].encode()


def test_a_lost_update_within_the_run_ends_with_the_new_key(path: Path) -> None:
    """The last look sees the old key, and puts the new one once more; droid's own setting stays."""
    world, outcome = rotate(path, times=1)
    assert trace(world.events).endswith("two:new refuses:old one~old one:new settled closed:rotated")
    assert outcome is Outcome.ROTATED
    assert key_in(path) == unseal(REAL.new)
    assert path.is_symlink()
    assert sorted(os.listdir(path.resolve().parent)) == ["settings.json"]


def test_a_writer_that_undoes_it_again_is_left_to_a_person(path: Path) -> None:
    """No third put, no wait: the run closes, and its task names the file."""
    world, outcome = rotate(path, times=2)
    assert trace(world.events).endswith("one~old one:new settled!one closed:rotated")
    assert outcome is Outcome.ROTATED
    assert key_in(path) == unseal(REAL.old)
    assert "holds old again: something else writes it" in str(world.run.tasks)
