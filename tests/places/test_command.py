"""A place that the user's own commands move, with real little scripts."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import ClassVar

import pytest

from keyrotor.boundary.plaintext import unseal
from keyrotor.boundary.process import Processes
from keyrotor.core.model import Holds, Value
from keyrotor.errors import PlaceError
from keyrotor.places.command import Command
from keyrotor.secret import Pair
from places.contract import Blow, PlaceContract, Rest, Scene, umask

PUT = """#!/bin/sh
umask 077
cat > {store}.half
sleep 0.02
mv {store}.half {store}
"""

# 0 when what is on stdin stands in the store, 1 when not, 2 when there is no telling.
HOLDS = """#!/bin/sh
test -e {store} || exit 2
wanted=$(cat)
while read -r line || test -n "$line"; do test "$line" = "$wanted" && exit 0; done < {store}
exit 1
"""


class CommandScene(Scene):
    shows: ClassVar = frozenset(Holds) - {Holds.REFERS}
    restores: ClassVar = False  # what a put leaves is the command's own doing

    def __init__(self, root: Path, pair: Pair) -> None:
        self.root, self.pair, self.rest = root, pair, Rest()
        self.store = root / "store"
        self.use(PUT, HOLDS)

    def use(self, put: str, holds: str, within: float = 10.0, env: dict[str, str] | None = None) -> None:
        argv = [[str(self.program(name, text))] if text else [] for name, text in (("put", put), ("holds", holds))]
        env = env or {"PATH": os.environ["PATH"]}
        self.place = Command("box", argv[0], argv[1], within, Processes(self.rest), env, self.root)

    def program(self, name: str, text: str) -> Path:
        path = self.root / name
        path.write_text(text.format(store=self.store))
        path.chmod(0o700)
        return path

    def may_hold(self) -> set[Path]:
        return {self.store}

    def show(self, holds: Holds) -> None:
        old, new = unseal(self.pair.old), unseal(self.pair.new)
        (self.root / "store.half").unlink(missing_ok=True)
        self.store.unlink(missing_ok=True)
        shown = {Holds.OLD: [old], Holds.NEW: [new], Holds.BOTH: [old, new], Holds.NEITHER: [b"third"]}
        if holds in shown:
            with umask(0o077):
                self.store.write_bytes(b"".join(line + b"\n" for line in shown[holds]))

    def kills(self) -> Iterable[int]:
        return (0, 1, 2, 4, 8, 400)

    def killed_at(self, step: int) -> AbstractContextManager[Blow]:
        return self.rest.killed_at(step)


@pytest.fixture
def scene(tmp_path: Path, pair: Pair) -> CommandScene:
    root = tmp_path / "world"
    root.mkdir()
    made = CommandScene(root, pair)
    made.show(Holds.OLD)
    return made


class TestContract(PlaceContract):
    @pytest.fixture
    def scene(self, scene: CommandScene) -> CommandScene:
        return scene


def test_the_value_comes_on_stdin_and_nowhere_else(scene: CommandScene) -> None:
    """No argument and no variable of the child holds a value, also where our own environment does."""
    put = "#!/bin/sh\ntr '\\0' '\\n' < /proc/$$/cmdline > {store}.seen\nenv >> {store}.seen\ncat > {store}\n"
    scene.use(put, "", env={"PATH": os.environ["PATH"], "LITELLM_MASTER_KEY": unseal(scene.pair.old).decode()})
    scene.place.put(Value.NEW, scene.pair)
    seen = (scene.root / "store.seen").read_bytes()
    assert scene.store.read_bytes() == unseal(scene.pair.new)
    assert unseal(scene.pair.old) not in seen
    assert unseal(scene.pair.new) not in seen


def test_the_child_knows_which_place_and_which_value(scene: CommandScene) -> None:
    """One script can serve several places, and tell a rollback."""
    scene.use('#!/bin/sh\necho "$KEYROTOR_PLACE $KEYROTOR_VALUE $PWD" > {store}\n', "")
    for goal in Value:
        scene.place.put(goal, scene.pair)
        assert scene.store.read_text() == f"box {goal} {scene.root}\n"


def test_without_a_holds_command_nothing_can_be_told(scene: CommandScene) -> None:
    """A place that cannot be asked is unknown, and is put."""
    scene.use(PUT, "")
    assert scene.place.holds(scene.pair) is Holds.UNKNOWN
    assert scene.place.put(Value.NEW, scene.pair) == "done"
    assert scene.store.read_bytes() == unseal(scene.pair.new)


@pytest.mark.parametrize("code", [2, 3, 127, 255])
def test_any_other_exit_code_means_that_it_cannot_be_told(scene: CommandScene, code: int) -> None:
    """Only 0 and 1 are answers."""
    scene.use(PUT, f"#!/bin/sh\nexit {code}\n")
    assert scene.place.holds(scene.pair) is Holds.UNKNOWN


def test_a_command_that_fails_is_told_by_its_exit_code_alone(scene: CommandScene) -> None:
    """What it printed can hold the value, so it is not shown."""
    scene.use("#!/bin/sh\ncat >&2\necho >&2\nexit 7\n", "")
    with pytest.raises(PlaceError) as raised:
        scene.place.put(Value.NEW, scene.pair)
    assert "exit code 7" in str(raised.value)
    assert unseal(scene.pair.new).decode() not in f"{raised.value!r} {raised.value.__context__!r}"


def test_a_command_that_does_nothing_is_not_believed(scene: CommandScene) -> None:
    """Exit code 0 is not enough where the place can be asked."""
    scene.use("#!/bin/sh\nexit 0\n", HOLDS)
    with pytest.raises(PlaceError, match="holds old"):
        scene.place.put(Value.NEW, scene.pair)


def test_a_command_that_does_not_end_is_ended_with_all_that_it_started(scene: CommandScene) -> None:
    """A timeout ends the whole group, not the shell alone."""
    scene.use("#!/bin/sh\nsleep 600 &\necho $! > {store}.child\nwait\n", "", within=0.3)
    with pytest.raises(PlaceError, match=r"0\.3 s"):
        scene.place.put(Value.NEW, scene.pair)
    child = int((scene.root / "store.child").read_text())
    assert not _lives_on(child)


def test_a_program_that_is_not_there_is_refused_before_anything_is_done(scene: CommandScene) -> None:
    """Both commands must be found, on PATH or in the project."""
    nobody = Command("box", ["no-such-program"], ["./nor-this"], 1.0, Processes(), scene.place.env, scene.root)
    whys = nobody.check(scene.pair)
    assert [word for why in whys for word in ("no-such-program", "./nor-this") if word in why] == [
        "no-such-program",
        "./nor-this",
    ]
    with pytest.raises(PlaceError, match="no such program"):
        nobody.put(Value.NEW, scene.pair)


@pytest.mark.parametrize("folder", ["/", "project"])
def test_a_path_is_looked_for_in_the_project(scene: CommandScene, monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    """What `check` finds is what `put` runs, whatever the folder we stand in."""
    monkeypatch.chdir(scene.root if folder == "project" else folder)
    place = Command("box", ["./put"], ["./holds"], 5.0, Processes(), scene.place.env, scene.root)
    assert place.check(scene.pair) == []
    place.put(Value.NEW, scene.pair)
    assert place.holds(scene.pair) is Holds.NEW


def test_a_bare_name_is_looked_for_on_the_path(scene: CommandScene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name without a slash is found along PATH, by `check` and by `put`."""
    folder = scene.root / "tools"
    folder.mkdir()
    (scene.root / "put").rename(folder / "move-the-key")
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    place = Command("box", ["move-the-key"], [], 5.0, Processes(), dict(os.environ), scene.root)
    assert place.check(scene.pair) == []
    place.put(Value.NEW, scene.pair)
    assert scene.store.read_bytes() == unseal(scene.pair.new)


def _lives_on(pid: int, seconds: float = 2.0) -> bool:
    """Whether the process is still there after so long; one that is being ended gets the time for it."""
    deadline = time.monotonic() + seconds
    while _lives(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    return _lives(pid)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
