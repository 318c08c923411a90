"""Files that nothing can be renamed onto: over the same inode, whole at any kill, and the intent gone after it.

Each case is a real one, in a process of its own: a mount point and a read-only file system in a mount namespace that
ends with it, a folder without `w` for a root that has given up the power to write there all the same.
"""

from __future__ import annotations

import os
import shlex
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from keyrotor.boundary import files, in_place, leftover, writable
from keyrotor.errors import PlaceError
from places.contract import Killed, axe

TESTS = Path(__file__).parents[1]
SHORT, LONG = b'{"key": "before"}' * 700, b'{"key": "afterwards"}' * 900
PRIVATE = ("unshare", "--mount", "--propagation", "private")
POWERLESS = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--inh-caps", "-all")
# How the file is made one that nothing can be renamed onto; `$0` is the file.
CASES = {
    "mount point": (PRIVATE, 'mount --bind "$(dirname "$(dirname "$0")")/mounted" "$0"'),
    "read-only file system": (
        PRIVATE,
        'cd / && folder=$(dirname "$0") && mount --bind "$folder" "$folder" && mount -o remount,ro,bind "$folder"'
        ' && mount --bind "$(dirname "$folder")/mounted" "$0"',
    ),
    "read-only folder": (POWERLESS if os.geteuid() == 0 else (), 'chmod u-w "$(dirname "$0")"'),
}


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "mounted").write_bytes(SHORT)
    path = tmp_path / "a folder" / "it's 100% $HOME"
    path.parent.mkdir()
    path.write_bytes(SHORT)
    yield path
    path.parent.chmod(0o700)


@pytest.fixture
def aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The private folder, as the world names it; it is not there yet."""
    folder = tmp_path / "state" / "aside"
    monkeypatch.setattr(leftover, "aside", folder)
    return folder


def within(case: str, deed: str, file: Path) -> None:
    """Have the deed, a function of this module, done with the file in a process for which the case is true."""
    wrapper, prelude = CASES[case]
    probe = subprocess.run([*wrapper, "sh", "-c", prelude, str(file)], capture_output=True, text=True, check=False)
    if probe.returncode:
        pytest.skip(f"cannot have a {case} here: {probe.stderr.strip()}")
    program = f"import sys; from pathlib import Path; from boundary.test_files_in_place import {deed}; "
    program += f"{deed}(Path(sys.argv[1]))"
    python = shlex.join([sys.executable, "-c", program])
    done = subprocess.run(
        [*wrapper, "sh", "-c", f'{prelude} && exec {python} "$0"', str(file)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])},
    )
    assert done.returncode == 0, done.stderr


def name_aside(file: Path) -> Path:
    leftover.aside = file.parents[1] / "state" / "aside"
    return leftover.aside


def assert_private(aside: Path) -> None:
    """What lies aside is its owner's alone."""
    for path in (aside, *aside.iterdir()) if aside.exists() else ():
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0


def is_clean(file: Path) -> bool:
    return not [path for path in file.parents[1].rglob("*.keyrotor") if path.is_file()]


def only_on(*contents: bytes, to: bytes) -> Callable[[bytes], bytes]:
    """An edit that, like a parser, can do nothing with half of either."""

    def edit(data: bytes) -> bytes:
        assert data in contents
        return to

    return edit


def kill_at_every_step(file: Path, *, keeps_inode: bool = False) -> None:
    """Longer or shorter, on or back: after the next put it holds that, over the same inode, and nothing is left."""
    os.umask(0)
    aside, inode = name_aside(file), file.stat().st_ino
    for before, after in ((SHORT, LONG), (LONG, SHORT)):
        for ending in (before, after):
            steps, torn = 0, 0
            while True:
                file.write_bytes(before)
                with axe(steps) as blow, suppress(Killed):
                    files.update(file, only_on(before, to=after), in_place=keeps_inode)
                if not blow.fell:
                    break
                torn += files.is_torn(file, file.read_bytes())
                assert_private(aside)
                files.update(file, only_on(before, after, to=ending), in_place=keeps_inode)
                assert (file.read_bytes(), file.stat().st_ino) == (ending, inode), (steps, blow.on)
                assert is_clean(file), (steps, blow.on)
                steps += 1
            assert (file.read_bytes(), is_clean(file)) == (after, True)
            assert steps >= 8
            assert torn >= 1


def write_without_asking(file: Path) -> None:
    """Preflight has nothing to say against it; in a read-only folder only if the intent can lie elsewhere."""
    leftover.aside = None
    without = writable.refusals(file)
    name_aside(file)
    assert writable.refusals(file) == []
    is_closed = not os.access(file.parent, os.W_OK)
    assert without == ([f"cannot write {file}: its folder is read-only"] if is_closed else [])
    mode, inode = file.stat().st_mode, file.stat().st_ino
    assert files.update(file, lambda data: data.replace(b"before", b"after"))
    assert not files.update(file, lambda data: data)
    assert (file.stat().st_mode, file.stat().st_ino) == (mode, inode)
    assert b"before" not in file.read_bytes()
    assert is_clean(file)


def refuse_without_a_folder_aside(file: Path) -> None:
    """Nobody has named a folder for the intent: the file stays as it was."""
    leftover.aside = None
    with pytest.raises(PlaceError, match=r"permission denied|read-only file system"):
        files.update(file, lambda _: LONG)
    assert file.read_bytes() == SHORT


def refuse_where_the_record_cannot_be(file: Path) -> None:
    """The folder aside can be made no more than a sibling: said before the first effect."""
    leftover.aside = file.parent / "state"
    assert [why for why in writable.refusals(file) if "read-only" in why]
    with pytest.raises(PlaceError):
        files.update(file, lambda _: LONG)
    assert file.read_bytes() == SHORT


@pytest.mark.parametrize("case", CASES)
def test_killed_at_any_step_a_file_that_cannot_be_renamed_onto_is_mended(file: Path, case: str) -> None:
    """EBUSY, EROFS and EACCES alike: the next put finds the intent, beside the file or aside, and clears it."""
    within(case, "kill_at_every_step", file)


@pytest.mark.parametrize("case", CASES)
def test_what_can_be_written_in_place_is_not_refused(file: Path, case: str) -> None:
    """Preflight and the put agree."""
    within(case, "write_without_asking", file)


@pytest.mark.parametrize("case", ["read-only file system", "read-only folder"])
@pytest.mark.parametrize("deed", ["refuse_without_a_folder_aside", "refuse_where_the_record_cannot_be"])
def test_without_a_place_for_the_intent_nothing_is_written(file: Path, case: str, deed: str) -> None:
    """A write in place that could not be mended is not begun."""
    within(case, deed, file)


def test_the_playbook_may_want_the_inode_kept(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The source of a container's mount: whoever reads the inode sees the new content, at any kill."""
    monkeypatch.setattr(leftover, "aside", None)
    with file.open("rb") as reader:
        kill_at_every_step(file, keeps_inode=True)
        assert reader.read() == file.read_bytes()


def test_a_torn_file_that_somebody_has_edited_since_is_theirs(file: Path, aside: Path) -> None:
    """An intent aside mends what it can have torn, and is cleared in any case."""
    intent = aside / f"{files.digest(os.fsencode(file))}.keyrotor"
    intent.parent.mkdir(parents=True)
    intent.write_bytes(in_place.intent(SHORT, LONG))
    file.write_bytes(b"theirs")
    assert files.update(file, lambda data: data + b", and ours")
    assert file.read_bytes() == b"theirs, and ours"
    assert is_clean(file)


def test_a_write_in_place_that_has_no_room_leaves_no_intent(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was written, so nothing is to be mended, and no value is left lying about."""

    def fails(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "posix_fallocate", fails)
    with pytest.raises(PlaceError, match="no space left"):
        files.update(file, lambda _: LONG, in_place=True)
    assert file.read_bytes() == SHORT
    assert is_clean(file)


def test_an_immutable_file_is_told_and_stays_so(file: Path, aside: Path) -> None:
    """`chattr +i` was somebody's wish: refused before the first effect, and by the put, without a trace."""
    if subprocess.run(["chattr", "+i", str(file)], capture_output=True, check=False).returncode:
        pytest.skip("no immutable files here")
    try:
        assert [why for why in writable.refusals(file) if "immutable" in why]
        with pytest.raises(PlaceError, match=r"not permitted|permission denied"):
            files.update(file, lambda _: LONG)
        assert file.read_bytes() == SHORT
        assert is_clean(file)
        assert not aside.exists()
    finally:
        subprocess.run(["chattr", "-i", str(file)], check=True)


def test_a_torn_file_is_judged_by_what_the_next_put_makes_of_it(file: Path, aside: Path) -> None:
    """Until then it is as it was left; `tidy` finishes it, and does nothing the second time."""
    files.sibling_of(file).write_bytes(in_place.intent(SHORT, LONG))
    assert (files.whole(file), files.is_torn(file, SHORT)) == (SHORT, False)
    torn = LONG[:99] + SHORT[99:]
    file.write_bytes(torn)
    assert (files.whole(file), file.read_bytes(), files.is_torn(file, torn)) == (LONG, torn, True)
    for _ in range(2):
        files.tidy(file)
        assert (file.read_bytes(), is_clean(file)) == (LONG, True)


def test_what_a_killed_writer_left_is_cleared_where_the_file_is_whole_or_gone(file: Path, aside: Path) -> None:
    """A sibling of a rename that never was, an intent aside that is not whole; somebody's own file is kept."""
    aside.mkdir(parents=True)
    for left in (files.sibling_of(file), aside / f"{files.digest(os.fsencode(file))}.keyrotor"):
        left.write_bytes(LONG)
        assert files.leftovers(file) == [left]
        files.tidy(file)
        assert (file.read_bytes(), is_clean(file)) == (SHORT, True)
    file.unlink()
    files.sibling_of(file).write_bytes(in_place.intent(SHORT, LONG))
    files.tidy(file)
    assert (file.exists(), is_clean(file)) == (False, True)


def test_a_folder_of_that_name_is_nothing_that_we_left(file: Path) -> None:
    """What the file holds is told all the same; only a write needs the name, and says so."""
    (folder := files.sibling_of(file)).mkdir()
    assert (files.whole(file), files.leftovers(file)) == (SHORT, [])
    files.tidy(file)
    with pytest.raises(PlaceError, match="is a directory"):
        files.update(file, lambda _: LONG)
    assert (file.read_bytes(), folder.is_dir()) == (SHORT, True)
