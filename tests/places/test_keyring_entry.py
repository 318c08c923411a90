"""An entry of the OS keyring, in a real Secret Service of its own (gnome-keyring's)."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import secretstorage

from keyrotor.boundary.keyring_entry import Entry
from keyrotor.boundary.plaintext import unseal
from keyrotor.boundary.process import Processes
from keyrotor.core.model import ALREADY, Holds, Value
from keyrotor.errors import PlaceError, StrangerError
from keyrotor.places.keyring_entry import KeyringEntry
from keyrotor.secret import Pair, Secret
from places.contract import Blow, PlaceContract, Rest, Scene
from places.wanted import missing
from secret_service import absent, secret_service

# As Rust programs make theirs (Goose is one): what they look for is service and username.
RUST = {"application": "rust-keyring", "target": "default"}
HINT = "keyring set goose secrets"


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    if programs := absent():
        missing(f"no {', '.join(programs)}")
    with secret_service(tmp_path_factory.mktemp("session")) as env:
        yield env


class EntryScene(Scene):
    """Every scene is an entry of its own in the one keyring."""

    shows: ClassVar = frozenset({Holds.OLD, Holds.NEW, Holds.BOTH, Holds.NEITHER})

    def __init__(self, root: Path, pair: Pair, env: Mapping[str, str]) -> None:
        self.root, self.pair, self.env, self.rest = root, pair, env, Rest()
        self.attributes = {"service": "goose", "username": secrets.token_hex(6)}
        self.use()

    def use(self, member: str = "", attributes: Mapping[str, str] | None = None, **more: Any) -> None:
        env, within = more.get("env", self.env), more.get("within", 30.0)
        entry = Entry(attributes or self.attributes, within, Processes(more.get("rest", self.rest)), env)
        self.place = KeyringEntry("the entry", entry, member, HINT, "restart every goose")

    def make(self, text: bytes, **more: str) -> None:
        with contextlib.closing(self.connection()) as bus:
            collection = secretstorage.get_default_collection(bus)
            collection.create_item("an entry", {**self.attributes, **RUST, **more}, text)

    def items(self) -> list[tuple[str, dict[str, str], bytes]]:
        with contextlib.closing(self.connection()) as bus:
            found = secretstorage.search_items(bus, {"service": "goose", "username": self.attributes["username"]})
            return [(item.get_label(), _own(item.get_attributes()), item.get_secret()) for item in found]

    def connection(self) -> Any:
        return secretstorage.dbus_init()  # which the fixture leads to the session

    def show(self, holds: Holds) -> None:
        with contextlib.closing(self.connection()) as bus:
            for item in list(secretstorage.search_items(bus, self.attributes)):
                item.delete()
        old, new = unseal(self.pair.old), unseal(self.pair.new)
        shown = {Holds.OLD: [old], Holds.NEW: [new], Holds.BOTH: [old, new], Holds.NEITHER: [b"another"]}
        for at, text in enumerate(shown[holds]):
            self.make(text, number=str(at))

    def kills(self) -> Iterable[int]:
        return (20,)

    def killed_at(self, step: int) -> AbstractContextManager[Blow]:
        return self.rest.killed_at(step)


def _own(attributes: Mapping[str, str]) -> dict[str, str]:
    """Without the one that gnome-keyring adds by itself."""
    return {name: text for name, text in attributes.items() if name != "xdg:schema"}


@pytest.fixture
def scene(tmp_path: Path, pair: Pair, session: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> EntryScene:
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", session["DBUS_SESSION_BUS_ADDRESS"])
    root = tmp_path / "world"
    root.mkdir()
    made = EntryScene(root, pair, session)
    made.show(Holds.OLD)
    return made


class TestContract(PlaceContract):
    @pytest.fixture
    def scene(self, scene: EntryScene) -> EntryScene:
        return scene


def test_the_very_entry_of_its_program_is_changed(scene: EntryScene) -> None:
    """Label and attributes stay, and no second entry of the name appears beside it."""
    (before,) = scene.items()
    assert scene.place.put(Value.NEW, scene.pair) == "written"
    assert scene.place.put(Value.NEW, scene.pair) == ALREADY
    assert scene.items() == [(*before[:2], unseal(scene.pair.new))]


@pytest.mark.parametrize("member", ["LITELLM_API_KEY", "a key/of: mine"])
def test_of_an_object_one_member_changes(scene: EntryScene, member: str) -> None:
    """Goose keeps all its secrets in one entry: what else stands there stays to the byte, the same value too."""
    old = unseal(scene.pair.old).decode()
    text = '{ "OTHER": "%s",\n "%s":"%s", "other": {"%s": "%s"} }' % (old, member, old, member, old)  # noqa: UP031
    scene.attributes = {"service": "goose", "username": secrets.token_hex(6)}
    scene.make(text.encode())
    scene.use(member=member)
    assert (scene.place.check(scene.pair), scene.place.holds(scene.pair)) == ([], Holds.OLD)
    scene.place.put(Value.NEW, scene.pair)
    ((_, _, after),) = scene.items()
    assert after.decode() == text.replace(f'":"{old}', f'":"{unseal(scene.pair.new).decode()}')
    assert json.loads(after)["OTHER"] == old
    scene.place.put(Value.OLD, scene.pair)
    assert scene.items()[0][2] == text.encode()


def test_a_leaked_value_need_not_be_put_back(scene: EntryScene) -> None:
    """One that must be quoted is refused in an object on any other day; in an incident the new one replaces it."""
    pair = replace(scene.pair, old=Secret(b'sk it\'s "a" $b'))
    leaked = replace(pair, is_leaked=True)
    scene.attributes = {"service": "goose", "username": secrets.token_hex(6)}
    scene.make(json.dumps({"KEY": unseal(pair.old).decode()}).encode())
    scene.use(member="KEY")
    assert "must be quoted" in scene.place.check(pair)[0]
    assert scene.place.check(leaked) == []
    assert scene.place.put(Value.NEW, leaked) == "written"
    assert json.loads(scene.items()[0][2]) == {"KEY": unseal(pair.new).decode()}


def test_an_entry_is_found_by_whatever_its_program_finds_it(scene: EntryScene) -> None:
    """Zed's have an address and a name, and no service."""
    zed = {"url": "http://127.0.0.1:4000/v1", "username": scene.attributes["username"]}
    with contextlib.closing(scene.connection()) as bus:
        secretstorage.get_default_collection(bus).create_item("zed-github-account", zed, unseal(scene.pair.old))
    scene.use(attributes=zed)
    assert scene.place.put(Value.NEW, scene.pair) == "written"
    assert scene.place.holds(scene.pair) is Holds.NEW
    assert scene.items()[0][2] == unseal(scene.pair.old), "the entry of the same name"


def test_an_entry_that_is_not_there_is_refused_and_never_made(scene: EntryScene) -> None:
    """Nobody would know which program looks for it under which attributes."""
    scene.use(attributes={"service": "goose", "username": "nobody"})
    assert scene.place.check(scene.pair) == [f"cannot write the entry: there is no such entry; make it: {HINT}"]
    assert scene.place.holds(scene.pair) is Holds.NEITHER
    with pytest.raises(PlaceError, match="there is no such entry") as raised:
        scene.place.put(Value.NEW, scene.pair)
    assert not isinstance(raised.value, StrangerError), "another session's keyring may have it"
    scene.use(member="NO_SUCH")
    assert scene.place.holds(scene.pair) is Holds.UNKNOWN, "it is no object"


def test_what_somebody_else_put_there_is_left(scene: EntryScene) -> None:
    """Neither value is written over; a repair that was shown it does."""
    scene.show(Holds.NEITHER)
    for goal in Value:
        with pytest.raises(StrangerError, match="somebody has changed it: it holds neither value"):
            scene.place.put(goal, scene.pair)
    (shown,) = scene.place.shows()
    assert scene.place.put(Value.NEW, replace(scene.pair, by_name=(shown,))) == "written"


def test_a_locked_keyring_that_nobody_unlocks_is_refused(
    scene: EntryScene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here no window can ask for its password; where one can, `within` ends the wait."""
    (tmp_path / "session").mkdir()
    with secret_service(tmp_path / "session") as env:
        monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", env["DBUS_SESSION_BUS_ADDRESS"])
        scene.make(unseal(scene.pair.old))
        with contextlib.closing(scene.connection()) as bus:
            secretstorage.get_default_collection(bus).lock()
        scene.use(env=env)
        assert scene.place.check(scene.pair) == [
            "cannot use the keyring: it is locked (run keyrotor in the session that unlocks it)"
        ]
        assert scene.place.holds(scene.pair) is Holds.UNKNOWN


def test_without_a_keyring_it_is_refused(scene: EntryScene, tmp_path: Path) -> None:
    """No bus: the fault is told by its name, and a look knows nothing."""
    scene.use(env={"PATH": os.environ["PATH"], "DBUS_SESSION_BUS_ADDRESS": f"unix:path={tmp_path}/none"})
    (reason,) = scene.place.check(scene.pair)
    assert reason.startswith("cannot use the keyring: none answers here (run keyrotor in a session that has one")
    assert scene.place.holds(scene.pair) is Holds.UNKNOWN
    assert scene.place.shows() == []


def test_a_keyring_of_another_kind_is_asked_by_service_and_user(scene: EntryScene, tmp_path: Path) -> None:
    """Here one in a file, as `keyring` itself loads it; macOS' is asked in the same way."""
    kept = tmp_path / "kept.json"
    (tmp_path / "in_file.py").write_text(_IN_FILE.format(path=str(kept)))
    kept.write_text(json.dumps({"goose secrets": unseal(scene.pair.old).decode()}))
    config = tmp_path / "python_keyring"
    config.mkdir()
    (config / "keyringrc.cfg").write_text(f"[backend]\ndefault-keyring=in_file.Keyring\nkeyring-path={tmp_path}\n")
    env = {"PATH": os.environ["PATH"], "XDG_CONFIG_HOME": str(tmp_path), "HOME": str(tmp_path)}
    scene.use(attributes={"service": "goose", "username": "secrets"}, env=env)
    assert scene.place.put(Value.NEW, scene.pair) == "written"
    assert json.loads(kept.read_text()) == {"goose secrets": unseal(scene.pair.new).decode()}
    scene.use(attributes={"service": "goose", "username": "other"}, env=env)
    assert scene.place.holds(scene.pair) is Holds.NEITHER


_IN_FILE = """
import json, pathlib
from keyring.backend import KeyringBackend
PATH = pathlib.Path({path!r})
class Keyring(KeyringBackend):
    priority = 9
    def get_password(self, service, username):
        return json.loads(PATH.read_text()).get(service + " " + username)
    def set_password(self, service, username, password):
        PATH.write_text(json.dumps({{**json.loads(PATH.read_text()), service + " " + username: password}}))
    def delete_password(self, service, username): ...
"""
