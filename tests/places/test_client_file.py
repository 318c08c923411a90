"""A client's own config file as a place."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest

from keyrotor.boundary import files
from keyrotor.boundary.plaintext import unseal
from keyrotor.core.model import Holds, Value
from keyrotor.errors import PlaceError, PlaybookError
from keyrotor.places.client_file import ClientFile, format_of
from keyrotor.secret import Pair
from places.contract import Killed, PlaceContract, Scene, in_clear, tree, whole
from places.sealed import KEY, fresh_pair, value

JSON = b"""{
  "zeta": 1,
  "customModels": [
    { "model": "mock", "apiKey": "@", "baseUrl": "http://127.0.0.1:4000/v1" }
  ],
  "alpha": {"auth": "Bearer @", "longer": "@x"}
}
"""
JSONC = (
    b"\xef\xbb\xbf// settings of a client; the key was @ once\r\n"
    b"{\r\n"
    b'  /* key order matters to nobody but the reader */ "b": [1, 2,], // trailing comma\r\n'
    b'  "apiKey" : "@",\r\n'
    b'  "a": "\\u00e9 \\"quoted\\" @",\r\n'
    b"}"
)
DOTENV = b"# client\r\nexport OPENAI_API_KEY='@' # kept\r\nBASE=http://127.0.0.1:4000\r\nX=\"Bearer @\"\n"

SHAPES = {"json": JSON, "jsonc": JSONC, "dotenv": DOTENV}
REFERENCES = {"json": b'{"apiKey": "${%b}"}\n', "jsonc": b'// x\n{"apiKey": "${%b}"}', "dotenv": b"K=${%b}\n"}
BROKEN = {"json": b'{"a": ', "jsonc": b'{"a": 1 // \n', "dotenv": b'K="\n'}


class ClientScene(Scene):
    def __init__(self, root: Path, pair: Pair, shape: str, data: bytes | None = None) -> None:
        self.root, self.pair, self.shape = root, pair, shape
        self.data = data or SHAPES[shape]
        self.file = root / "home" / f"settings.{shape}"
        self.file.parent.mkdir(exist_ok=True)
        self.place = ClientFile(self.file, KEY, "dotenv" if shape == "dotenv" else "json")

    def may_hold(self) -> set[Path]:
        return {self.file}

    def filled(self, secret: bytes, first: bytes | None = None) -> bytes:
        """The file with the secret; what is longer than a value, or stands in a comment, stays the old one's."""
        theirs = unseal(self.pair.old) + b"x"
        data = self.data.replace(b"@x", theirs).replace(b"was @", b"was " + theirs)
        return data.replace(b"@", first or secret, 1).replace(b"@", secret)

    def write(self, data: bytes, mode: int = 0o600) -> None:
        files.clear_leftover(self.file)
        self.file.unlink(missing_ok=True)
        self.file.write_bytes(data)
        self.file.chmod(mode)

    def show(self, holds: Holds) -> None:
        old, new = unseal(self.pair.old), unseal(self.pair.new)
        shown = {
            Holds.OLD: self.filled(old),
            Holds.NEW: self.filled(new),
            Holds.BOTH: self.filled(old, first=new),
            Holds.NEITHER: self.filled(b"sk-a-third-value-altogether"),
            Holds.REFERS: REFERENCES[self.shape] % KEY.encode(),
            Holds.UNKNOWN: BROKEN[self.shape],
        }
        self.write(shown[holds])


class LinkedScene(ClientScene):
    """A file with two names."""

    @property
    def twin(self) -> Path:
        return self.root / "twin"

    def may_hold(self) -> set[Path]:
        return {self.file, self.twin}

    def show(self, holds: Holds) -> None:
        self.twin.unlink(missing_ok=True)
        super().show(holds)
        self.twin.hardlink_to(self.file)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "world"
    folder.mkdir()
    return folder


@pytest.fixture(params=SHAPES)
def scene(request: pytest.FixtureRequest, root: Path, pair: Pair) -> ClientScene:
    made = ClientScene(root, pair, request.param)
    made.show(Holds.OLD)
    return made


class TestContract(PlaceContract):
    @pytest.fixture
    def scene(self, scene: ClientScene) -> ClientScene:
        return scene


class TestContractLinked(PlaceContract):
    """The same for a file with two names, whose values have one length: it is written in place."""

    @pytest.fixture
    def scene(self, root: Path, pair: Pair) -> LinkedScene:
        return LinkedScene(root, pair, "json")


@pytest.mark.parametrize(("shorter", "longer"), [(32, 48), (48, 32)])
class TestContractLinkedAndLonger(PlaceContract):
    """The same where the two values differ in length: room must be taken or given back in place."""

    @pytest.fixture
    def scene(self, root: Path, shorter: int, longer: int) -> LinkedScene:
        return LinkedScene(root, Pair(value(shorter), value(longer)), "json")

    # The parametrization is for the scene; pytest wants each test to name what it is given.
    @pytest.fixture(autouse=True)
    def _named(self, shorter: int, longer: int) -> None: ...


class TestContractLonger(PlaceContract):
    """The same for one name and two lengths."""

    @pytest.fixture
    def scene(self, root: Path) -> ClientScene:
        return ClientScene(root, Pair(value(32), value(48)), "jsonc")


def test_only_the_token_differs(scene: ClientScene) -> None:
    """BOM, CRLF, comments, key order, escapes and a missing last newline stay as they were."""
    scene.place.put(Value.NEW, scene.pair)
    assert scene.file.read_bytes() == scene.filled(unseal(scene.pair.new))


def test_a_longer_word_around_the_value_is_another_key(root: Path, pair: Pair) -> None:
    """`sk-…x` is not `sk-…`."""
    scene = ClientScene(root, pair, "json")
    scene.show(Holds.OLD)
    scene.place.put(Value.NEW, pair)
    assert scene.file.read_bytes().count(unseal(pair.new)) == 2
    assert b'"longer": "%bx"' % unseal(pair.old) in scene.file.read_bytes()


def test_a_link_is_kept_and_its_target_rewritten(scene: ClientScene) -> None:
    """A dotfiles repository's link goes on leading there; the new file appears beside the real one only."""
    real = scene.root / "dotfiles" / "settings"
    real.parent.mkdir()
    scene.file.rename(real)
    scene.file.symlink_to("../dotfiles/settings")
    before = whole(scene.root)
    scene.place.put(Value.NEW, scene.pair)
    assert os.readlink(scene.file) == "../dotfiles/settings"
    assert real.read_bytes() == scene.filled(unseal(scene.pair.new))
    scene.place.put(Value.OLD, scene.pair)
    assert whole(scene.root) == before


def test_both_names_of_a_hard_link_get_the_value(root: Path, pair: Pair) -> None:
    """A rename would leave the old value under the other name."""
    scene = LinkedScene(root, pair, "json")
    scene.show(Holds.OLD)
    inode = scene.file.stat().st_ino
    scene.place.put(Value.NEW, pair)
    assert scene.file.read_bytes() == scene.twin.read_bytes() == scene.filled(unseal(pair.new))
    assert scene.file.stat().st_ino == scene.twin.stat().st_ino == inode


@pytest.mark.parametrize("goal", list(Value))
def test_a_write_in_place_that_tears_at_a_page_ends_right(
    root: Path, pair: Pair, goal: Value, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel may end a killed write between two pages, in the midst of a value; the next put ends right."""
    scene = LinkedScene(root, pair, "json", b'{"pad": "%b", "apiKey": "@", "more": "@"}' % (b"." * 4050))
    scene.show(Holds.OLD)
    starts = scene.file.read_bytes().index(unseal(pair.old))
    assert starts < 4096 < starts + len(unseal(pair.old))

    def tear(descriptor: int, data: bytes) -> None:
        os.write(descriptor, data[: 4096 - os.lseek(descriptor, 0, os.SEEK_CUR)])
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(files, "_write_all", tear)
        with pytest.raises(Killed):
            scene.place.put(Value.NEW, pair)
    scene.place.put(goal, pair)
    assert scene.file.read_bytes() == scene.filled(unseal(pair[goal]))


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o664, 0o4600])
def test_the_mode_survives(scene: ClientScene, mode: int) -> None:
    """The file has the mode it had, forward and back."""
    scene.write(scene.filled(unseal(scene.pair.old)), mode)
    before = whole(scene.root)
    scene.place.put(Value.NEW, scene.pair)
    assert scene.file.stat().st_mode & 0o7777 == mode
    scene.place.put(Value.OLD, scene.pair)
    assert whole(scene.root) == before


@pytest.mark.parametrize("mode", [0o444, 0o400])
def test_a_read_only_file_is_refused_before_anything_is_done(scene: ClientScene, mode: int) -> None:
    """Read-only is somebody's wish; `check` says how to lift it."""
    scene.file.chmod(mode)
    (why,) = scene.place.check(scene.pair)
    assert f"chmod u+w {scene.file}" in why


def test_the_owner_survives(scene: ClientScene) -> None:
    """A file that root rewrites stays its owner's."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    os.chown(scene.file, 4242, 4243)
    scene.place.put(Value.NEW, scene.pair)
    assert (scene.file.stat().st_uid, scene.file.stat().st_gid) == (4242, 4243)
    assert scene.file.stat().st_mode & 0o7777 == 0o600


def test_another_writer_keeps_their_edit(scene: ClientScene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that saves its settings while we write ours loses nothing, and ends on the goal."""
    theirs = scene.filled(unseal(scene.pair.old)).replace(b"4000", b"4001").replace(b"[1, 2,]", b"[1, 2, 3]")
    real, saves = files.replace, [theirs]

    def replace(seen: files.Look, data: bytes, **how: bool) -> None:
        if saves:
            scene.file.write_bytes(saves.pop())
        real(seen, data, **how)

    monkeypatch.setattr(files, "replace", replace)
    scene.place.put(Value.NEW, scene.pair)
    old, new = unseal(scene.pair.old), unseal(scene.pair.new)
    assert scene.file.read_bytes() == theirs.replace(old, new).replace(new + b"x", old + b"x")


def test_a_writer_that_never_rests_is_not_written_over(scene: ClientScene, monkeypatch: pytest.MonkeyPatch) -> None:
    """After three tries the put fails; their last save stands, and nothing is left beside it."""
    real, count = files.replace, 0

    def replace(seen: files.Look, data: bytes, **how: bool) -> None:
        nonlocal count
        count += 1
        scene.file.write_bytes(scene.filled(unseal(scene.pair.old)).replace(b"4000", b"4%03d" % count) + b"\n" * count)
        real(seen, data, **how)

    monkeypatch.setattr(files, "replace", replace)
    with pytest.raises(files.ChangedMeanwhile):
        scene.place.put(Value.NEW, scene.pair)
    assert count == 3
    assert scene.place.holds(scene.pair) is Holds.OLD
    assert in_clear(scene.root, scene.pair) == [scene.file]


def test_a_reference_is_never_put(scene: ClientScene) -> None:
    """`${LITELLM_MASTER_KEY}` follows the variable; writing a literal over it would leak the key into the file."""
    scene.show(Holds.REFERS)
    before = tree(scene.root)
    with suppress(PlaceError):
        scene.place.put(Value.NEW, scene.pair)
    assert tree(scene.root)[f"home/settings.{scene.shape}"] == before[f"home/settings.{scene.shape}"]


def test_an_absent_file_holds_neither_and_is_refused(scene: ClientScene) -> None:
    """What is not there is not unknown."""
    scene.file.unlink()
    assert scene.place.holds(scene.pair) is Holds.NEITHER
    assert any("no such file" in why for why in scene.place.check(scene.pair))


def test_a_malformed_file_is_told_by_line_and_column_only(scene: ClientScene) -> None:
    """The message of a broken file names the file and where, and holds no byte of it."""
    scene.write(unseal(scene.pair.old) + b"\n")
    (why,) = scene.place.check(scene.pair)
    assert str(scene.file) in why
    assert "line 1" in why
    assert unseal(scene.pair.old).decode() not in why


def test_a_folder_in_its_place_is_refused(scene: ClientScene) -> None:
    """A path that is a folder is no client's file."""
    scene.file.unlink()
    scene.file.mkdir()
    assert scene.place.check(scene.pair)
    assert scene.place.holds(scene.pair) is Holds.UNKNOWN


@pytest.mark.parametrize(
    ("name", "said", "expected"),
    [
        ("settings.json", "", "json"),
        ("settings.jsonc", "", "json"),
        ("client.env", "", "dotenv"),
        (".env", "", "dotenv"),
        ("config", "json", "json"),
        ("x.json", "dotenv", "dotenv"),
    ],
)
def test_the_format_is_said_or_told_by_the_name(name: str, said: str, expected: str) -> None:
    """What the playbook says wins over the suffix."""
    assert format_of(Path(name), said) == expected


def test_an_unknown_format_is_the_authors_to_say() -> None:
    """A name that tells nothing asks for `format`, with the allowed ones."""
    with pytest.raises(PlaybookError, match="json, dotenv"):
        format_of(Path("config"), "")


def test_pairs_are_made_anew() -> None:
    """No value stands in the repository: each test has its own."""
    assert unseal(fresh_pair().old) != unseal(fresh_pair().old)
