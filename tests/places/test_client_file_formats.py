"""A client's file in each of the formats that are no JSON, and one whose key has a place of its own."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from keyrotor.boundary.plaintext import unseal
from keyrotor.core.model import Holds, Value
from keyrotor.errors import PlaceError
from keyrotor.places.client_file import ClientFile, Known
from keyrotor.secret import Pair, Secret
from places.contract import PlaceContract
from places.sealed import KEY, value
from places.test_client_file import BROKEN, REFERENCES, SHAPES, ClientScene

MORE = {
    "yaml": b"""\
# models of a client; the key was @ once
models:
    - name:   mock
      apiKey: "@"   # kept
      apiBase: http://127.0.0.1:4000/v1
    - {name: other, apiKey: '@', headers: {Authorization: Bearer @}}\r
longer: @x
text: |
  one line
  and @ in another
""",
    "toml": b"""\
# the key was @ once
[model_providers.lab]
base_url = "http://127.0.0.1:4000/v1"
experimental_bearer_token = '@' # kept
http_headers = { "X-Key" = "Bearer @", odd = 0xFF }
longer = "@x"
""",
    "ini": b"""\
# the key was @ once
[Service]
Environment=A=@
Environment="B=Bearer @" "C=@x"
ExecStart=/usr/bin/true
""",
    "text": b"# was @x\nexport OPENAI_API_KEY='@'\r\ncurl -H \"Authorization: Bearer @\" # @x\n",
}
MORE_REFERENCES = {
    "yaml": b'models:\n  - apiKey: "${{ secrets.%b }}"\n',
    "toml": b'[a]\nkey = "${%b}"\n',
    "ini": b"[a]\nkey = ${%b}\n",
    "text": b"export OPENAI_API_KEY=$%b\n",
}
MORE_BROKEN = {"yaml": b'a: "\n', "toml": b"a = \n", "ini": b"[a\n", "text": b"\xff\xfe"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "world"
    folder.mkdir()
    return folder


class FormatScene(ClientScene):
    def __init__(self, root: Path, pair: Pair, shape: str) -> None:
        super().__init__(root, pair, "json", MORE[shape])
        self.shape = shape
        self.place = ClientFile(self.file, KEY, shape)

    def show(self, holds: Holds) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(REFERENCES, self.shape, MORE_REFERENCES[self.shape])
            patch.setitem(BROKEN, self.shape, MORE_BROKEN[self.shape])
            super().show(holds)


class TestFormats(PlaceContract):
    @pytest.fixture(params=MORE)
    def scene(self, request: pytest.FixtureRequest, root: Path, pair: Pair) -> FormatScene:
        return FormatScene(root, pair, request.param)

    def test_only_the_token_differs(self, scene: FormatScene) -> None:
        """Comments, quotes, indentation and line ends stay as they were."""
        scene.show(Holds.OLD)
        scene.place.put(Value.NEW, scene.pair)
        assert scene.file.read_bytes() == scene.filled(unseal(scene.pair.new))


class OwnScene(ClientScene):
    """A file of which the playbook says where the key belongs."""

    def __init__(self, root: Path, pair: Pair, shape: str) -> None:
        super().__init__(root, pair, shape)
        at = ("OPENAI_API_KEY",) if shape == "dotenv" else ("customModels[*].apiKey", "apiKey")
        at = ("K", *at) if shape == "dotenv" else at
        self.place = ClientFile(self.file, KEY, "dotenv" if shape == "dotenv" else "json", Known(at=at, is_own=True))


class TestWhereTheKeyBelongs(PlaceContract):
    @pytest.fixture(params=SHAPES)
    def scene(self, request: pytest.FixtureRequest, root: Path, pair: Pair) -> OwnScene:
        return OwnScene(root, pair, request.param)


def own(path: Path, text: str, **more: Any) -> ClientFile:
    path.write_text(text)
    return ClientFile(path, KEY, "json", Known(at=("models[*].key",), is_own=True, **more))


@pytest.mark.parametrize(
    ("stands", "spelt"),
    [
        ("changeme", '"%s"'),
        ("", '"%s"'),
        ("two words", '"%s"'),
        ('quo\\"ted', '"%s"'),
        ("sk-of-nobody-we-know", '" %s "'),
        ("x", '"Bearer %s"'),
    ],
)
def test_a_repair_replaces_whatever_stands_where_the_key_belongs(
    tmp_path: Path, pair: Pair, stands: str, spelt: str
) -> None:
    """As in an env file, by the place and not by what it looks like; the scheme of a header stays."""
    place = own(tmp_path / "a.json", f'{{"x": "{stands}", "models": [{{"key": {spelt % stands}}}]}}')
    assert place.holds(pair) is Holds.NEITHER
    (shown,) = place.shows()
    repaired = Pair(value(), pair.new, by_name=(shown,))
    assert place.holds(repaired) is Holds.OLD
    assert place.check(repaired) == []
    place.put(Value.NEW, repaired)
    expected = f'{{"x": "{stands}", "models": [{{"key": {spelt % unseal(pair.new).decode()}}}]}}'
    assert place.path.read_text() == expected
    assert place.holds(repaired) is Holds.NEW


def test_a_short_value_is_found_where_the_key_belongs_and_nowhere_else(tmp_path: Path, pair: Pair) -> None:
    """`sk-1` may be a word like any other, but not there."""
    short = Pair(Secret(b"sk-1"), pair.new)
    place = own(tmp_path / "a.json", '{"name": "sk-1", "models": [{"key": "sk-1"}]}')
    assert place.check(short) == []
    place.put(Value.NEW, short)
    key = unseal(pair.new).decode()
    assert place.path.read_text() == f'{{"name": "sk-1", "models": [{{"key": "{key}"}}]}}'


@pytest.mark.parametrize("text", ['{"models": []}', '{"models": [{"key": "other"}, {"key": "@"}]}', "{}"])
def test_one_place_with_another_key_is_a_file_with_another_key(tmp_path: Path, pair: Pair, text: str) -> None:
    """Nor is a file of ours what has no such leaf at all, even if the value stands elsewhere."""
    old = unseal(pair.old).decode()
    place = own(tmp_path / "a.json", text.replace("@", old).replace("{}", f'{{"else": "{old}"}}'))
    assert place.holds(pair) is Holds.NEITHER


def test_a_reference_where_the_key_belongs_stays(tmp_path: Path, pair: Pair) -> None:
    """Beside a literal, too: that one is put, the other is not."""
    both = f'{{"models": [{{"key": "${{{KEY}}}"}}, {{"key": "@"}}]}}'
    place = own(tmp_path / "a.json", both.replace("@", unseal(pair.old).decode()))
    assert place.holds(pair) is Holds.OLD
    place.put(Value.NEW, pair)
    assert place.path.read_text() == both.replace("@", unseal(pair.new).decode())
    place = own(tmp_path / "a.json", f'{{"models": [{{"key": "${{{KEY}}}"}}]}}')
    assert place.holds(pair) is Holds.REFERS
    with pytest.raises(PlaceError):
        place.put(Value.NEW, pair)
    assert KEY in place.path.read_text()


def test_a_key_for_another_gateway_is_not_ours_to_judge(tmp_path: Path, pair: Pair) -> None:
    """`beside` tells whose it is, loopback by any of its names."""
    old = unseal(pair.old).decode()
    text = (
        f'{{"models": [{{"key": "another", "url": "https://elsewhere.example/v1"}},'
        f' {{"key": "{old}", "url": "http://localhost:4000/v1"}}]}}'
    )
    place = own(tmp_path / "a.json", text, beside="url", gateways=("http://127.0.0.1:4000",))
    assert place.holds(pair) is Holds.OLD
    place = own(tmp_path / "a.json", text, beside="url", gateways=("http://127.0.0.1:4001",))
    assert place.holds(pair) is Holds.NEITHER


def _model(key: str) -> str:
    return json.dumps({"models": [{"key": key}]})


def test_a_key_without_the_neighbour_that_names_its_gateway_is_nobody_elses_to_write(
    tmp_path: Path, pair: Pair
) -> None:
    """Not shown, not replaced, not healed, whichever gateways are known; what refers there counts as referring."""
    entries = [{"url": "http://localhost:4000/v1", "key": "mine"}, {"key": "theirs"}, {"key": f"env:{KEY}"}]
    text = json.dumps({"models": entries})
    for gateways in (("http://127.0.0.1:4000",), ()):
        more: dict[str, Any] = {"beside": "url", "gateways": gateways, "resolves": (), "heals": True}
        place = own(tmp_path / "a.json", text, **more)
        shown = place.shows()
        assert [unseal(secret) for secret in shown] == [b"mine"] * len(gateways)
        assert place.broken(pair) == []
        repaired = Pair(value(), pair.new, by_name=(Secret(b"mine"), Secret(b"theirs")))
        if gateways:
            place.put(Value.NEW, repaired)
            assert place.path.read_text() == text.replace("mine", unseal(pair.new).decode())
        else:
            assert place.holds(repaired) is Holds.NEITHER
    place = own(tmp_path / "b.json", _model(f"${{{KEY}}}"), beside="url", gateways=("http://x",))
    assert replace(place, known=replace(place.known, is_own=False)).holds(pair) is Holds.REFERS


@pytest.mark.parametrize(("mode", "narrowed"), [(0o644, 0o600), (0o606, 0o600), (0o640, 0o640), (0o400, 0o400)])
@pytest.mark.parametrize("how", ["healed", "replaced"])
def test_a_file_into_which_the_key_comes_is_closed_to_others_first(
    tmp_path: Path, pair: Pair, mode: int, narrowed: int, how: str
) -> None:
    """Nobody had chosen who may read the key there; who has it there already has chosen, and a reference is no key."""
    stands = f"env:{KEY}" if how == "healed" else "other"
    more = {"resolves": (), "heals": True} if how == "healed" else {}
    place = own(tmp_path / "a.json", _model(stands), **more)
    place.path.chmod(mode)
    repaired = Pair(value(), pair.new, by_name=(Secret(b"other"),))
    place.put(Value.NEW, repaired)
    assert unseal(pair.new) in place.path.read_bytes()
    assert place.path.stat().st_mode & 0o777 == narrowed
    place.path.chmod(0o644)
    place.put(Value.OLD, Pair(repaired.old, pair.new))
    assert place.path.stat().st_mode & 0o777 == 0o644
    known = Known(at=("models[*].key",), resolves=("${NAME}",), heals=True, heal="${NAME}")
    refers = ClientFile(tmp_path / "b.json", KEY, "json", known)
    refers.path.write_text(_model(f"env:{KEY}"))
    refers.path.chmod(0o644)
    refers.put(Value.NEW, repaired)
    assert refers.path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("reference", [f"${{{KEY}:-@}}", "${OTHER:-@}", "${OTHER-@}", "Bearer ${OTHER:=@}"])
def test_the_default_of_a_reference_is_rewritten_and_the_reference_is_not(
    tmp_path: Path, pair: Pair, reference: str
) -> None:
    """Such a file holds the key, whatever it refers to besides."""
    path = tmp_path / "a.env"
    path.write_bytes(b"OPENAI_API_KEY=%b\n" % reference.replace("@", unseal(pair.old).decode()).encode())
    place = ClientFile(path, KEY, "dotenv")
    assert place.holds(pair) is Holds.OLD
    place.put(Value.NEW, pair)
    assert path.read_text() == f"OPENAI_API_KEY={reference.replace('@', unseal(pair.new).decode())}\n"
    assert place.holds(pair) is Holds.NEW
    assert unseal(pair.new) in [unseal(secret) for secret in place.shows()]
