"""The contract of a place, as tests: every place's test class inherits `PlaceContract` and makes a `Scene`.

A scene is one place in a small world of its own, on real parts. Everything that the place can touch is below
`scene.root`, so that a look at that tree is a look at the world.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from keyrotor.boundary import files, private
from keyrotor.boundary.plaintext import unseal
from keyrotor.core.model import Holds, Value
from keyrotor.engine import Place
from keyrotor.secret import Pair

VALUES = (Value.OLD, Value.NEW)


class Killed(BaseException):
    """The process has just died."""


class Scene:
    """One place, and the world that it stands in."""

    shows: ClassVar[frozenset[Holds]] = frozenset(Holds)  # what the place can be made to hold
    restores: ClassVar[bool] = True  # whether put(old) gives back the tree's bytes
    root: Path
    place: Place
    pair: Pair

    def show(self, holds: Holds) -> None:
        """Make the world so that the place holds this, from the beginning."""
        raise NotImplementedError

    def ready(self, goal: Value) -> None:
        """What the places above have done before this one's turn comes."""

    def may_hold(self) -> set[Path]:
        """The files in which a value may stand in clear."""
        return set()

    def kills(self) -> Iterable[int]:
        """Which steps of a put the process may die at."""
        return range(200)

    def killed_at(self, step: int) -> AbstractContextManager[Blow]:
        """Within it the put dies at this step; `blow.fell` says whether it came so far."""
        return axe(step)

    def is_clean(self) -> bool:
        """Whether nothing is left over beside what belongs there."""
        return not list(self.root.rglob("*.keyrotor"))


@dataclass
class Blow:
    """Whether the axe has fallen, and on what."""

    fell: bool = False
    on: str = ""
    steps: int = 0


_STEPS = frozenset(
    [
        "open",
        "write",
        "fsync",
        "rename",
        "replace",
        "link",
        "unlink",
        "fchmod",
        "fchown",
        "setxattr",
        "ftruncate",
        "posix_fallocate",
        "lseek",
    ]
)


class _Os:
    """`os`, until its n-th step; from there on the process is dead and does nothing more.

    Descriptors are closed all the same: the kernel does that for the dead. A write dies half done.
    """

    def __init__(self, at: int, blow: Blow) -> None:
        self._at = at
        self._blow = blow

    def __getattr__(self, name: str) -> object:
        real = getattr(os, name)
        return self.step(name, real) if name in _STEPS else real

    def step(self, name: str, real: Callable[..., object]) -> Callable[..., object]:
        def taken(*args: object, **named: object) -> object:
            if self._blow.fell:
                raise Killed
            if self._blow.steps == self._at:
                self._blow.fell, self._blow.on = True, name
                if name == "write":
                    os.write(args[0], bytes(args[1])[: len(args[1]) // 2])
                raise Killed(name)
            self._blow.steps += 1
            return real(*args, **named)

        return taken


@contextmanager
def axe(at: int) -> Iterator[Blow]:
    """Everything that `boundary.files` asks of the kernel in order to write, killed at the n-th step."""
    blow = Blow()
    dying = _Os(at, blow)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "os", dying)
        patch.setattr(private, "os", dying)
        for name in ("unlink", "mkdir", "chmod"):
            patch.setattr(Path, name, dying.step(f"Path.{name}", getattr(Path, name)))
        yield blow


class Rest:
    """The waits of a place. A blow ends the one that it falls in, and the process with it."""

    def __init__(self) -> None:
        self._blow: Blow | None = None
        self._at = 0

    def __call__(self, seconds: float) -> None:
        if (blow := self._blow) is not None:
            if blow.steps == self._at:
                blow.fell, blow.on = True, "rest"
                raise Killed
            blow.steps += 1
        time.sleep(seconds)

    @contextmanager
    def killed_at(self, step: int) -> Iterator[Blow]:
        self._blow, self._at = Blow(), step
        try:
            yield self._blow
        finally:
            self._blow = None


def tree(root: Path) -> dict[str, tuple[object, ...]]:
    """Everything below the root: kind, mode, owner, inode, names, time of change, bytes or where a link leads."""
    seen = {}
    for path in sorted([root, *root.rglob("*")]):
        status = os.lstat(path)
        body: object = None
        if stat.S_ISLNK(status.st_mode):
            body = os.readlink(path)
        elif stat.S_ISREG(status.st_mode):
            body = path.read_bytes()
        key = str(path.relative_to(root))
        seen[key] = (
            status.st_mode,
            status.st_uid,
            status.st_gid,
            status.st_ino,
            status.st_nlink,
            status.st_mtime_ns,
            body,
        )
    return seen


def whole(root: Path) -> dict[str, tuple[object, ...]]:
    """The tree without inodes and times: what must be as before after a rollback. Folders count by mode only."""
    return {
        name: (mode, uid, gid, links if stat.S_ISREG(mode) else 0, body)
        for name, (mode, uid, gid, _, links, _, body) in tree(root).items()
    }


def in_clear(root: Path, pair: Pair) -> list[Path]:
    """The files that hold a whole value, or most of one: half a value in a left-over file is a leak too."""
    pieces = [unseal(pair[value])[: len(unseal(pair[value])) // 2] for value in VALUES]
    found = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
    return [path for path in found if any(piece in path.read_bytes() for piece in pieces)]


def open_to_others(root: Path, pair: Pair) -> list[Path]:
    """The files with a value that somebody else may read."""
    return [path for path in in_clear(root, pair) if path.stat().st_mode & 0o077]


@contextmanager
def umask(mask: int) -> Iterator[None]:
    former = os.umask(mask)
    try:
        yield
    finally:
        os.umask(former)


class PlaceContract:
    """What every place promises."""

    @pytest.fixture
    def scene(self) -> Scene:
        raise NotImplementedError

    @pytest.mark.parametrize("goal", VALUES)
    def test_put_makes_it_hold_the_goal(self, scene: Scene, goal: Value) -> None:
        """After a put the place holds that value, whichever of the two it held before."""
        scene.show(Holds(goal.other))
        scene.ready(goal)
        assert scene.place.put(goal, scene.pair)
        assert scene.place.holds(scene.pair) is Holds(goal)

    @pytest.mark.parametrize("goal", VALUES)
    def test_a_second_put_changes_nothing(self, scene: Scene, goal: Value) -> None:
        """A put that finds the goal there writes nothing: no byte, no inode, no time of change."""
        scene.show(Holds(goal.other))
        scene.ready(goal)
        scene.place.put(goal, scene.pair)
        before = tree(scene.root)
        scene.place.put(goal, scene.pair)
        assert tree(scene.root) == before

    @pytest.mark.parametrize("goal", VALUES)
    def test_a_put_where_the_goal_stands_already_changes_nothing(self, scene: Scene, goal: Value) -> None:
        """The very first put of a place that holds the goal writes nothing either."""
        scene.show(Holds(goal))
        before = tree(scene.root)
        scene.place.put(goal, scene.pair)
        assert tree(scene.root) == before

    @pytest.mark.parametrize("goal", VALUES)
    def test_a_put_after_half_a_put_ends_right(self, scene: Scene, goal: Value) -> None:
        """Killed at any step, the same put again ends on the goal and leaves nothing over, nor a value elsewhere."""
        falls, broken = 0, []
        for step in scene.kills():
            scene.show(Holds(goal.other))
            scene.ready(goal)
            with scene.killed_at(step) as blow, suppress(Killed):
                scene.place.put(goal, scene.pair)
            if not blow.fell:
                break
            falls += 1
            try:
                scene.place.put(goal, scene.pair)
                is_right = scene.place.holds(scene.pair) is Holds(goal)
            except Exception as error:  # noqa: BLE001  (whatever it is, the step is told)
                broken.append(f"step {step} ({blow.on}): {type(error).__name__}: {error}")
            else:
                strays = [str(path) for path in in_clear(scene.root, scene.pair) if path not in scene.may_hold()]
                if not (is_right and scene.is_clean() and not strays):
                    broken.append(
                        f"step {step} ({blow.on}): right {is_right}, clean {scene.is_clean()}, strays {strays}"
                    )
        assert falls >= 1
        assert broken == []

    @pytest.mark.parametrize("goal", VALUES)
    def test_a_put_of_the_other_value_after_half_a_put_ends_right(self, scene: Scene, goal: Value) -> None:
        """Killed at any step, a put of the other value ends on that one: a rollback meets half a put."""
        broken = []
        for step in scene.kills():
            scene.show(Holds(goal.other))
            scene.ready(goal)
            with scene.killed_at(step) as blow, suppress(Killed):
                scene.place.put(goal, scene.pair)
            if not blow.fell:
                break
            scene.ready(goal.other)
            try:
                scene.place.put(goal.other, scene.pair)
                is_right = scene.place.holds(scene.pair) is Holds(goal.other)
            except Exception as error:  # noqa: BLE001  (whatever it is, the step is told)
                broken.append(f"step {step} ({blow.on}): {type(error).__name__}: {error}")
            else:
                if not (is_right and scene.is_clean()):
                    broken.append(f"step {step} ({blow.on}): right {is_right}, clean {scene.is_clean()}")
        assert broken == []

    def test_put_old_after_new_gives_every_byte_back(self, scene: Scene) -> None:
        """After new and old again the tree is as before: bytes, modes, owners, links."""
        if not scene.restores:
            return
        scene.show(Holds.OLD)
        before = whole(scene.root)
        scene.ready(Value.NEW)
        scene.place.put(Value.NEW, scene.pair)
        scene.ready(Value.OLD)
        scene.place.put(Value.OLD, scene.pair)
        assert whole(scene.root) == before

    def test_holds_tells_the_truth(self, scene: Scene) -> None:
        """What `holds` says is what there is, for everything that the place can hold."""
        said = {}
        for shown in sorted(scene.shows):
            scene.show(shown)
            said[shown] = scene.place.holds(scene.pair)
        assert said == {shown: shown for shown in sorted(scene.shows)}

    def test_looking_touches_nothing(self, scene: Scene) -> None:
        """`check` and `holds` write nothing and raise nothing, whatever they find."""
        for shown in sorted(scene.shows):
            scene.show(shown)
            before = tree(scene.root)
            assert isinstance(scene.place.check(scene.pair), list)
            scene.place.holds(scene.pair)
            assert tree(scene.root) == before

    def test_a_place_that_holds_old_is_not_refused(self, scene: Scene) -> None:
        """`check` has nothing to say against a place that can be changed and changed back."""
        scene.show(Holds.OLD)
        assert scene.place.check(scene.pair) == []

    def test_nothing_is_open_to_others_under_a_wide_umask(self, scene: Scene) -> None:
        """Under `umask 000` no file with a value is readable by others, at any step of a put."""
        scene.show(Holds.OLD)
        modes = {path: path.stat().st_mode for path in scene.may_hold() if path.exists()}
        assert not any(stat.S_IMODE(mode) & 0o077 for mode in modes.values())
        with umask(0):
            for step in scene.kills():
                scene.show(Holds.OLD)
                scene.ready(Value.NEW)
                with scene.killed_at(step) as blow, suppress(Killed):
                    scene.place.put(Value.NEW, scene.pair)
                assert open_to_others(scene.root, scene.pair) == []
                if not blow.fell:
                    break
