"""The materialised env file as a place."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from keyrotor.boundary import files, in_place
from keyrotor.boundary.plaintext import unseal
from keyrotor.core.model import ALREADY, Holds, Value
from keyrotor.errors import PlaceError
from keyrotor.places.env_file import EnvFile
from keyrotor.secret import Pair, Secret
from places.contract import Killed, PlaceContract, Scene, in_clear, tree, umask, whole
from places.sealed import KEY, value

SALT = "LITELLM_SALT_KEY"


class EnvScene(Scene):
    shows: ClassVar = frozenset(Holds) - {Holds.REFERS}

    def __init__(self, root: Path, pair: Pair, keys: Sequence[str] = (KEY, SALT)) -> None:
        self.root, self.pair = root, pair
        self.file = root / "etc" / "litellm.env"
        self.place = EnvFile(self.file, KEY, keys)

    def may_hold(self) -> set[Path]:
        return {self.file}

    def text(self, *values: bytes) -> bytes:
        salt = unseal(self.pair.siblings[SALT])
        ours = b"".join(b'export %b="%b"  # the door\n' % (KEY.encode(), text) for text in values)
        return b"# made by hand\n%b\nPORT=4000\nLITELLM_SALT_KEY='%b'\n" % (ours, salt)

    def write(self, data: bytes, mode: int = 0o600) -> None:
        files.clear_leftover(self.file)
        self.file.parent.mkdir(exist_ok=True, mode=0o700)
        self.file.unlink(missing_ok=True)
        self.file.write_bytes(data)
        self.file.chmod(mode)

    def show(self, holds: Holds) -> None:
        old, new = unseal(self.pair.old), unseal(self.pair.new)
        shown = {
            Holds.OLD: self.text(old),
            Holds.NEW: self.text(new),
            Holds.BOTH: self.text(old, new),
            Holds.NEITHER: self.text(b"sk-a-third-value-altogether"),
            Holds.UNKNOWN: b"<<<<<<< HEAD\n" + self.text(old),
        }
        self.write(shown[holds])


class AbsentScene(EnvScene):
    """The same place where there is no file yet, nor the folder for it."""

    shows: ClassVar = frozenset({Holds.OLD, Holds.NEW, Holds.NEITHER})
    restores: ClassVar = False

    def show(self, holds: Holds) -> None:
        files.clear_leftover(self.file)
        self.file.unlink(missing_ok=True)
        if self.file.parent.exists():
            self.file.parent.rmdir()
        if holds is not Holds.NEITHER:
            self.write(self.text(unseal(self.pair[Value(holds)])))


@pytest.fixture
def scene(tmp_path: Path, pair: Pair) -> EnvScene:
    root = tmp_path / "world"
    root.mkdir()
    made = EnvScene(root, pair)
    made.show(Holds.OLD)
    return made


class TestContract(PlaceContract):
    @pytest.fixture
    def scene(self, scene: EnvScene) -> EnvScene:
        return scene


class TestContractLinked(PlaceContract):
    """The same for a file that has a second name: it is written in place."""

    @pytest.fixture
    def scene(self, scene: EnvScene) -> EnvScene:
        class Linked(EnvScene):
            def may_hold(self) -> set[Path]:
                return {self.file, self.root / "twin"}

            def show(self, holds: Holds) -> None:
                (self.root / "twin").unlink(missing_ok=True)
                super().show(holds)
                (self.root / "twin").hardlink_to(self.file)

        return Linked(scene.root, scene.pair)


class TestContractAbsent:
    """Where the file is absent it is rendered, whole or not at all."""

    @pytest.fixture
    def absent(self, tmp_path: Path, pair: Pair) -> AbsentScene:
        root = tmp_path / "world"
        root.mkdir()
        return AbsentScene(root, pair)

    @pytest.mark.parametrize("goal", list(Value))
    def test_an_absent_file_is_rendered_for_its_owner_alone(self, absent: AbsentScene, goal: Value) -> None:
        """The file has the playbook's keys and mode 0600, in a private folder, also under `umask 000`."""
        absent.show(Holds.NEITHER)
        with umask(0):
            absent.place.put(goal, absent.pair)
        expected = {KEY: absent.pair[goal], SALT: absent.pair.siblings[SALT]}
        assert absent.file.read_bytes() == b"".join(b"%b=%b\n" % (k.encode(), unseal(v)) for k, v in expected.items())
        assert absent.file.stat().st_mode & 0o7777 == 0o600
        assert absent.file.parent.stat().st_mode & 0o7777 == 0o700
        assert absent.place.holds(absent.pair) is Holds(goal)

    def test_without_keys_every_value_is_rendered(self, absent: AbsentScene) -> None:
        """A playbook that names no keys means all of the encrypted file's."""
        absent.show(Holds.NEITHER)
        EnvFile(absent.file, KEY, ()).put(Value.NEW, absent.pair)
        names = {line.partition(b"=")[0].decode() for line in absent.file.read_bytes().splitlines()}
        assert names == {KEY, *absent.pair.siblings}

    def test_killed_at_any_step_it_is_whole_or_absent(self, absent: AbsentScene) -> None:
        """Never half a file under the real name, and the next put leaves nothing beside it."""
        for step in absent.kills():
            absent.show(Holds.NEITHER)
            with umask(0), absent.killed_at(step) as blow, suppress(Killed):
                absent.place.put(Value.NEW, absent.pair)
            assert absent.place.holds(absent.pair) in (Holds.NEITHER, Holds.NEW)
            assert all(path.stat().st_mode & 0o077 == 0 for path in in_clear(absent.root, absent.pair))
            if not blow.fell:
                break
            absent.place.put(Value.NEW, absent.pair)
            assert absent.place.holds(absent.pair) is Holds.NEW, blow.on
            assert in_clear(absent.root, absent.pair) == [absent.file], blow.on
            assert absent.is_clean(), blow.on

    def test_a_left_over_of_an_absent_file_does_not_hold_a_second_put_back(self, absent: AbsentScene) -> None:
        """A sibling that a killed run left, whosever mode it has, is replaced and not followed."""
        absent.show(Holds.NEITHER)
        absent.file.parent.mkdir(mode=0o700)
        trap = absent.root / "trap"
        trap.write_bytes(b"keep")
        files.sibling_of(absent.file).symlink_to(trap)
        absent.place.put(Value.NEW, absent.pair)
        assert trap.read_bytes() == b"keep"
        assert absent.place.holds(absent.pair) is Holds.NEW

    def test_a_key_that_the_encrypted_file_lacks_is_refused(self, absent: AbsentScene) -> None:
        """What could not be rendered is said before the first effect."""
        absent.show(Holds.NEITHER)
        (why,) = EnvFile(absent.file, KEY, (KEY, "NO_SUCH")).check(absent.pair)
        assert "NO_SUCH" in why

    def test_a_value_that_readers_would_quote_is_refused_and_not_shown(self, absent: AbsentScene) -> None:
        """A sibling with both kinds of quotes cannot be rendered for every reader; the message names the key alone."""
        absent.show(Holds.NEITHER)
        pair = Pair(absent.pair.old, absent.pair.new, {SALT: Secret(b'it\'s a "spaced" value')})
        (why,) = absent.place.check(pair)
        assert SALT in why
        assert "spaced" not in why

    def test_an_absent_file_under_a_folder_that_cannot_be_made_is_refused(self, absent: AbsentScene) -> None:
        """A folder that is a file in truth can never hold the env file: `check` says so before the first effect."""
        absent.show(Holds.NEITHER)
        absent.file.parent.write_bytes(b"a file where a folder should be")
        assert absent.place.check(absent.pair)


@pytest.mark.parametrize(
    "line",
    [
        b"%b=%b",
        b"export %b=%b",
        b'%b="%b"',
        b"%b='%b'",
        b"  export\t%b = '%b'  # %%(the old one)",
        b"%b=%b\r",
        b"%b=%b   # kept",
    ],
)
def test_only_the_token_differs(scene: EnvScene, line: bytes) -> None:
    """Export, quotes, blanks, comments and line ends stay; one token changes, and back again."""
    shape = b"\xef\xbb\xbf# a\n\n" + line.replace(b"%b=%b", b"%b=%b") + b"\nZ=1"
    old, new = (shape % (KEY.encode(), unseal(secret)) for secret in (scene.pair.old, scene.pair.new))
    scene.write(old)
    scene.place.put(Value.NEW, scene.pair)
    assert scene.file.read_bytes() == new
    scene.place.put(Value.OLD, scene.pair)
    assert scene.file.read_bytes() == old


def test_the_same_value_under_another_key_stays(scene: EnvScene) -> None:
    """The place is one key of the file; a copy under another key is another place."""
    old = unseal(scene.pair.old)
    scene.write(b"%b=%b\nCOPY=%b\n" % (KEY.encode(), old, old))
    scene.place.put(Value.NEW, scene.pair)
    assert scene.file.read_bytes() == b"%b=%b\nCOPY=%b\n" % (KEY.encode(), unseal(scene.pair.new), old)


def test_keys_that_are_not_ours_are_never_removed(scene: EnvScene) -> None:
    """A file with more keys than the playbook names keeps them."""
    scene.place.put(Value.NEW, scene.pair)
    assert b"PORT=4000\n" in scene.file.read_bytes()


def test_a_key_that_differs_from_the_encrypted_file_is_refused(scene: EnvScene) -> None:
    """Another salt key in the env file is never written over in silence, nor shown."""
    other = unseal(value())
    scene.write(b"%b=%b\n%b=%b\n" % (KEY.encode(), unseal(scene.pair.old), SALT.encode(), other))
    (why,) = scene.place.check(scene.pair)
    assert SALT in why
    assert "differs" in why
    assert other.decode() not in why


def test_a_key_that_the_playbook_does_not_name_may_differ(scene: EnvScene) -> None:
    """Only `keys` are compared."""
    scene.write(b"%b=%b\n%b=another\n" % (KEY.encode(), unseal(scene.pair.old), SALT.encode()))
    assert EnvFile(scene.file, KEY, (KEY,)).check(scene.pair) == []


def test_a_file_without_the_key_holds_neither_and_gets_a_line(scene: EnvScene) -> None:
    """A rotation's preflight refuses it; a repair, or a put after somebody took the line away, adds it at the end."""
    scene.write(b"PORT=4000")
    assert scene.place.holds(scene.pair) is Holds.NEITHER
    scene.place.put(Value.NEW, scene.pair)
    assert scene.file.read_bytes() == b"PORT=4000\n%b=%b\n" % (KEY.encode(), unseal(scene.pair.new))


def test_a_third_value_is_not_written_over(scene: EnvScene) -> None:
    """Somebody else's value is reported and left."""
    scene.show(Holds.NEITHER)
    before = tree(scene.root)
    with pytest.raises(PlaceError):
        scene.place.put(Value.NEW, scene.pair)
    assert {k: v for k, v in tree(scene.root).items() if k != "etc"} == {k: v for k, v in before.items() if k != "etc"}


@pytest.mark.parametrize("holds", [Holds.BOTH])
def test_both_values_become_one(scene: EnvScene, holds: Holds) -> None:
    """Half a file of one value and half of the other is a place in doubt, and is simply put."""
    scene.show(holds)
    scene.place.put(Value.OLD, scene.pair)
    assert scene.place.holds(scene.pair) is Holds.OLD


def test_an_unreadable_file_is_refused_with_line_and_column_only(scene: EnvScene) -> None:
    """A malformed file is told by place, never by content."""
    scene.write(b"A=1\n" + unseal(scene.pair.old) + b"\n")
    (why,) = scene.place.check(scene.pair)
    assert "line 2" in why
    assert unseal(scene.pair.old).decode() not in why


def test_a_read_only_file_is_refused(scene: EnvScene) -> None:
    """Mode 0444 says that somebody wants it so; also for root."""
    scene.file.chmod(0o444)
    assert any("read-only" in why for why in scene.place.check(scene.pair))


def test_another_owners_file_is_refused(scene: EnvScene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of another user could not be given back as it was."""
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    assert any("belongs to user" in why for why in scene.place.check(scene.pair))


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o400])
def test_the_mode_survives_both_ways(scene: EnvScene, mode: int) -> None:
    """Wide or narrow, the file has the mode it had; and the hidden sibling is never wider."""
    scene.write(scene.text(unseal(scene.pair.old)), mode)
    before = whole(scene.root)
    scene.place.put(Value.NEW, scene.pair)
    assert scene.file.stat().st_mode & 0o7777 == mode
    scene.place.put(Value.OLD, scene.pair)
    assert whole(scene.root) == before


@pytest.mark.parametrize("begins", [False, True])
def test_what_a_killed_writer_left_is_tidied(scene: EnvScene, begins: bool) -> None:
    """A torn file is finished, a sibling is gone; where there is none nothing is touched."""
    twin = scene.root / "twin"
    twin.hardlink_to(scene.file)
    old = scene.file.read_bytes()
    new = old.replace(unseal(scene.pair.old), unseal(scene.pair.new))
    at = old.index(unseal(scene.pair.old)) + 20
    files.sibling_of(scene.file).write_bytes(in_place.intent(old, new))
    if begins:
        twin.write_bytes(new[:at] + old[at:])
        with pytest.raises(PlaceError, match="a write of it was not finished"):
            scene.place.values()
    assert scene.place.has_leftover
    scene.place.tidy()
    assert (twin.read_bytes(), scene.place.has_leftover) == (new if begins else old, False)


def test_a_line_that_is_added_is_no_part_of_a_comment(scene: EnvScene) -> None:
    """A last comment that ends in a backslash takes the next line with it, for systemd: an empty one."""
    scene.write(b"# old stuff \\")
    scene.place.put(Value.NEW, scene.pair)
    assert scene.file.read_bytes() == b"# old stuff \\\n\n%b=%b\n" % (KEY.encode(), unseal(scene.pair.new))


def test_a_link_that_leads_nowhere_is_made_where_it_leads(scene: EnvScene) -> None:
    """With its folder; the link stays."""
    scene.file.unlink()
    scene.file.symlink_to(scene.root / "run" / "real.env")
    assert scene.place.check(scene.pair) == []
    scene.place.put(Value.NEW, scene.pair)
    assert scene.file.is_symlink()
    assert (scene.root / "run" / "real.env").stat().st_mode & 0o7777 == 0o600
    assert scene.place.holds(scene.pair) is Holds.NEW


@pytest.mark.parametrize(
    ("text", "after"),
    [
        (b"# all taken out\n", b"# all taken out\n%b=%b\nLITELLM_SALT_KEY=%b\n"),
        (b"PORT=4000\n", b"PORT=4000\n%b=%b\n"),
        (b"LITELLM_MASTER_KEY=\n", b"%b=%b\n"),
        (b"LITELLM_MASTER_KEY='  '\nPORT=4000\n", b"%b='%b'\nPORT=4000\n"),
    ],
)
def test_where_the_old_value_is_leaked_the_new_one_is_put_where_nothing_stands(
    scene: EnvScene, text: bytes, after: bytes
) -> None:
    """No value, no line, or nothing at all: then what reads it lacks the other keys, too. Nobody else may read it."""
    scene.write(text, 0o644)
    leaked = replace(scene.pair, is_leaked=True)
    assert scene.place.check(leaked) == []
    assert scene.place.put(Value.NEW, leaked) == "written"
    values = (KEY.encode(), unseal(leaked.new), unseal(leaked.siblings[SALT]))
    assert scene.file.read_bytes() == after % values[: after.count(b"%b")]
    assert scene.file.stat().st_mode & 0o7777 == 0o600
    assert scene.place.put(Value.NEW, leaked) == ALREADY


def test_another_value_may_be_the_one_that_has_leaked(scene: EnvScene) -> None:
    """It is told, without a byte of it, and kept, alone or beside the old one, even where it comes in the middle of a
    run; old and blank ones are replaced all the same. What a run has put there already is no other value."""
    third = b"sk-a-third-value-altogether"
    leaked = replace(scene.pair, is_leaked=True)
    for values in ([third], [unseal(leaked.old), third, b""]):
        scene.write(scene.text(*values))
        (why,) = scene.place.check(leaked)
        assert why.startswith(f"cannot tell what has leaked: {scene.file} holds another value than the ")
        assert third.decode() not in why
        with pytest.raises(PlaceError, match="does not hold"):
            scene.place.put(Value.NEW, leaked)
        after = [third if each == third else unseal(leaked.new) for each in values]
        assert scene.file.read_bytes() == scene.text(*after)
    scene.write(scene.text(unseal(leaked.old), unseal(leaked.new), b""))
    assert scene.place.check(leaked) == []


def test_a_leaked_value_need_not_be_put_back(scene: EnvScene) -> None:
    """One that must be quoted keeps no new one from being written, there or into an absent file."""
    pair = replace(scene.pair, old=Secret(b"sk it's a$b"))
    leaked = replace(pair, is_leaked=True)
    scene.write(scene.text(unseal(pair.old)))
    assert "must be quoted" in scene.place.check(pair)[0]
    assert scene.place.check(leaked) == []
    scene.place.put(Value.NEW, leaked)
    assert scene.file.read_bytes() == scene.text(unseal(pair.new))
    scene.file.unlink()
    assert (scene.place.check(pair) == [], scene.place.check(leaked)) == (False, [])


def test_a_line_that_would_be_read_in_more_than_one_way_is_told_before(scene: EnvScene) -> None:
    """A comment behind an emptied value: what is put there would be a part of it."""
    scene.write(b"%b= # taken out\n" % KEY.encode())
    (why,) = scene.place.check(replace(scene.pair, is_leaked=True))
    assert why.startswith(f"cannot write {scene.file}: ")
