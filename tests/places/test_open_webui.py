"""Open WebUI's keys, against a little server that keeps the contract of its admin API.

The documents are those that the real Open WebUI 0.12.4 answers with, but for members that no rule is about. The place
was run against the real program by hand: seven keys written and put back, and every document as it was.
"""

from __future__ import annotations

import copy
import secrets
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from keyrotor.boundary.api import Api, Token
from keyrotor.boundary.plaintext import unseal
from keyrotor.core.model import ALREADY, Holds, Value
from keyrotor.errors import PlaceError, StrangerError
from keyrotor.places.open_webui import OpenWebui
from keyrotor.secret import Pair, Secret
from places.contract import Blow, PlaceContract, Rest, Scene
from places.store_servers import EMBEDDING, TOKEN, OpenWebuiStore, served

GATEWAY = "http://127.0.0.1:4000/v1"
OTHER = "https://api.openai.com/v1"


def documents(key: str, *, is_everywhere: bool = False) -> dict[str, Any]:
    """What the server answers with when it was given this key for the gateway."""
    copy, url = (key, GATEWAY) if is_everywhere else ("sk-other", OTHER)
    speech = {"OPENAI_API_BASE_URL": url, "OPENAI_API_KEY": copy, "ENGINE": "openai" if is_everywhere else ""}
    images = {f"{part}_API_{word}": text for part in _PARTS for word, text in (("BASE_URL", url), ("KEY", copy))}
    return {
        "/openai/config": {
            "ENABLE_OPENAI_API": True,
            "OPENAI_API_BASE_URLS": [OTHER, GATEWAY, "http://localhost:4000/v1/"],
            "OPENAI_API_KEYS": ["sk-other", key, "sk-virtual-key-of-its-own"],
            "OPENAI_API_CONFIGS": {"1": {"enable": True, "prefix_id": "lab", "tags": []}},
        },
        EMBEDDING: {
            "status": True,
            "RAG_EMBEDDING_ENGINE": "openai" if is_everywhere else "",
            "RAG_EMBEDDING_BATCH_SIZE": 1,
            "openai_config": {"url": url, "key": copy},
            "ollama_config": {"url": "http://localhost:11434", "key": ""},
        },
        "/api/v1/audio/config": {"realtime": {**speech}, "tts": {**speech, "VOICE": "alloy"}, "stt": {**speech}},
        "/api/v1/images/config": {"ENABLE_IMAGE_GENERATION": False, "IMAGE_STEPS": 50, "IMAGE_SIZE": None, **images},
    }


_PARTS = ("IMAGES_OPENAI", "IMAGES_EDIT_OPENAI")


class WebuiScene(Scene):
    shows: ClassVar = frozenset({Holds.OLD, Holds.NEW, Holds.BOTH, Holds.NEITHER})

    def __init__(self, root: Path, pair: Pair) -> None:
        self.root, self.rest = root, Rest()
        self.store = OpenWebuiStore(root / "store.json", secrets.token_hex(12), {})
        self.pair = replace(pair, siblings={**pair.siblings, TOKEN: Secret(self.store.token.encode())})

    def use(self, *gateways: str) -> None:
        api = Api(self.store.url, "Authorization", b"Bearer ", Token(TOKEN, {}), 10.0, self.rest)
        self.place = OpenWebui("http://webui", api, gateways)

    def show(self, holds: Holds) -> None:
        shown = {Holds.NEW: self.pair.new, Holds.NEITHER: Secret(b"sk-another-key-altogether")}
        self.store.documents = documents(unseal(shown.get(holds, self.pair.old)).decode(), is_everywhere=True)
        if holds is Holds.BOTH:
            self.store.documents[EMBEDDING]["openai_config"]["key"] = unseal(self.pair.new).decode()
        self.store.keep(self.store.documents)

    def may_hold(self) -> set[Path]:
        return {self.store.file}

    def kills(self) -> Iterable[int]:
        return range(0, 14, 2)

    def killed_at(self, step: int) -> AbstractContextManager[Blow]:
        return self.rest.killed_at(step)


@pytest.fixture
def scene(tmp_path: Path, pair: Pair) -> Iterator[WebuiScene]:
    root = tmp_path / "world"
    root.mkdir()
    made = WebuiScene(root, pair)
    with served(made.store):
        made.use("http://localhost:4000")
        made.show(Holds.OLD)
        yield made


class TestContract(PlaceContract):
    @pytest.fixture
    def scene(self, scene: WebuiScene) -> WebuiScene:
        return scene


def test_every_copy_of_the_key_is_written_and_nothing_else(scene: WebuiScene) -> None:
    """The connection, embeddings, speech both ways, realtime, images both ways: seven keys, four documents."""
    assert len(scene.place.changes(scene.pair)) == 7
    assert scene.place.put(Value.NEW, scene.pair) == "written, 7 keys"
    assert scene.store.documents == documents(unseal(scene.pair.new).decode(), is_everywhere=True)
    assert len(scene.store.writes()) == 4
    assert scene.place.put(Value.NEW, scene.pair) == ALREADY


def test_only_the_document_that_holds_it_is_written(scene: WebuiScene) -> None:
    """Where one connection has the key, the others' documents are read and left."""
    scene.store.documents = documents(unseal(scene.pair.old).decode())
    assert scene.place.put(Value.NEW, scene.pair) == "written, 1 key"
    assert [asked.path for asked in scene.store.writes()] == ["/openai/config/update"]
    assert scene.store.documents == documents(unseal(scene.pair.new).decode())


def test_another_key_for_the_gateway_is_left(scene: WebuiScene) -> None:
    """A virtual key beside the gateway's address is somebody's choice."""
    scene.place.put(Value.NEW, scene.pair)
    assert scene.store.documents["/openai/config"]["OPENAI_API_KEYS"][2] == "sk-virtual-key-of-its-own"


def test_an_edit_that_fell_between_the_look_and_the_write_is_kept(scene: WebuiScene) -> None:
    """The document is read again right before it is written whole."""
    scene.place.holds(scene.pair)
    scene.store.documents["/openai/config"]["OPENAI_API_CONFIGS"]["1"]["prefix_id"] = "another"
    scene.place.put(Value.NEW, scene.pair)
    assert scene.store.documents["/openai/config"]["OPENAI_API_CONFIGS"]["1"]["prefix_id"] == "another"


def test_the_key_at_an_address_that_is_not_the_gateways_is_refused(scene: WebuiScene) -> None:
    """The new one would be sent there; that it is the gateway by another name a person must say."""
    scene.store.documents["/openai/config"]["OPENAI_API_BASE_URLS"][1] = "http://litellm:4000/v1"
    (reason,) = scene.place.check(scene.pair)
    assert "OPENAI_API_KEYS.1 of /openai/config holds the key, too, for http://litellm:4000:" in reason
    scene.use("http://localhost:4000", "http://litellm:4000")
    assert scene.place.check(scene.pair) == []
    assert scene.place.put(Value.NEW, scene.pair) == "written, 7 keys"


ODD = [
    "http://user:{secret}@litellm:4000/v1?key={key}#{key}",
    "http://litellm:4000/{key}\x1b[31m",
    "{key}",
    "{key}://{key}:{key}",
    "http://{key}:4000",
    "http://litellm\x1b[31m:4000",
    "http://[::1",
    "\ud800",
]


@pytest.mark.parametrize("address", ODD)
def test_an_address_is_shown_without_what_is_secret_in_it(scene: WebuiScene, address: str) -> None:
    """Scheme, host and port: a password, a key in a query and what would steer a terminal stay where they are."""
    secret, key = secrets.token_hex(8), unseal(scene.pair.old).decode()
    connections = scene.store.documents["/openai/config"]
    connections["OPENAI_API_BASE_URLS"][1] = address.format(secret=secret, key=key)
    connections["OPENAI_API_CONFIGS"][f"\x1b]0;{key}"] = {"headers": {"X-Key": f"Bearer {key}\ud800"}}
    reasons = scene.place.check(scene.pair)
    assert any("OPENAI_API_KEYS.1 of /openai/config holds the key, too, for " in reason for reason in reasons)
    assert any("X-Key of /openai/config holds the key, too, where none is looked for" in reason for reason in reasons)
    assert all(reason.isprintable() and key not in reason and secret not in reason for reason in reasons)
    assert not any(key.lower() in reason.lower() for reason in reasons)


def test_what_a_put_would_change_is_told_without_a_password(scene: WebuiScene) -> None:
    """The gateway's own address may have a user and a password in it."""
    secret = secrets.token_hex(8)
    scene.store.documents["/openai/config"]["OPENAI_API_BASE_URLS"][1] = f"http://u:{secret}@127.0.0.1:4000/v1\x1b"
    told = [change.text for change in scene.place.changes(scene.pair)]
    assert "/openai/config: OPENAI_API_KEYS.1, the key for http://127.0.0.1:4000" in told
    assert not any(secret in text for text in told)


def test_a_text_that_is_no_unicode_is_written_as_it_was(scene: WebuiScene) -> None:
    """JSON can say half a character; the document keeps it."""
    scene.store.documents["/openai/config"]["OPENAI_API_CONFIGS"]["1"]["prefix_id"] = "\ud800"
    scene.place.put(Value.NEW, scene.pair)
    assert scene.store.documents["/openai/config"]["OPENAI_API_CONFIGS"]["1"]["prefix_id"] == "\ud800"


def test_a_document_is_not_sent_twice_without_being_read_again(scene: WebuiScene) -> None:
    """Who edits it while a busy server is waited for would lose that: the next put reads it first."""
    scene.store.fault = lambda asked: (503, None) if asked.method == "POST" else None
    with pytest.raises(PlaceError, match="it answers 503"):
        scene.place.put(Value.NEW, scene.pair)
    assert len(scene.store.writes()) == 1


def test_connections_that_somebody_has_changed_hold_nobody_on_the_way_back(scene: WebuiScene) -> None:
    """The gateway's were deleted, or given a key of their own: neither value stands there, which is told."""
    scene.show(Holds.NEITHER)
    before = copy.deepcopy(scene.store.documents)
    for goal in Value:
        with pytest.raises(StrangerError, match="somebody has changed it: it holds neither value"):
            scene.place.put(goal, scene.pair)
    assert scene.store.documents == before


def test_the_key_where_none_is_looked_for_is_refused(scene: WebuiScene) -> None:
    """In a header that a person has written, say: its client would break."""
    key = unseal(scene.pair.old).decode()
    scene.store.documents["/openai/config"]["OPENAI_API_CONFIGS"]["0"] = {"headers": {"X-Key": f"Bearer {key}"}}
    (reason,) = scene.place.check(scene.pair)
    assert "OPENAI_API_CONFIGS.0.headers.X-Key of /openai/config" in reason
    assert key not in reason


def test_a_key_that_the_server_does_not_use_is_left(scene: WebuiScene) -> None:
    """While embeddings are made by another engine the server takes no key for them; the copy is dead then."""
    scene.store.documents[EMBEDDING]["RAG_EMBEDDING_ENGINE"] = "ollama"
    assert scene.place.check(scene.pair) == []
    assert scene.place.put(Value.NEW, scene.pair) == "written, 6 keys"
    assert scene.place.holds(scene.pair) is Holds.NEW


def test_an_older_version_without_a_document_has_no_key_there(scene: WebuiScene) -> None:
    """What answers 404 is no reason to stop; but the connections must be there."""
    del scene.store.documents["/api/v1/images/config"], scene.store.documents["/api/v1/audio/config"]["realtime"]
    assert scene.place.put(Value.NEW, scene.pair) == "written, 4 keys"
    del scene.store.documents["/openai/config"]
    assert "is not Open WebUI's" in scene.place.check(scene.pair)[0]


def test_a_document_that_the_server_refuses_fails_the_put_without_its_words(scene: WebuiScene) -> None:
    """422 says the body back, keys and all; a half that was written is put back by the other put."""
    scene.store.fault = lambda asked: (
        (422, {"input": asked.body}) if asked.path.endswith("audio/config/update") else None
    )
    with pytest.raises(PlaceError, match="it answers 422") as raised:
        scene.place.put(Value.NEW, scene.pair)
    assert not any(unseal(scene.pair[value]).decode() in str(raised.value) for value in Value)
    assert scene.place.holds(scene.pair) is Holds.BOTH
    assert scene.place.put(Value.OLD, scene.pair) == "written, 2 keys"
    assert scene.store.documents == documents(unseal(scene.pair.old).decode(), is_everywhere=True)


def test_a_token_that_is_no_admins_is_refused(scene: WebuiScene) -> None:
    """Open WebUI answers 401 to both."""
    assert "401" in scene.place.check(replace(scene.pair, siblings={TOKEN: Secret(b"somebody")}))[0]


def test_a_write_that_is_not_kept_is_not_believed(scene: WebuiScene) -> None:
    """200 is not enough: what is read back must be the value."""
    scene.store.fault = lambda asked: (200, asked.body) if asked.method == "POST" else None
    with pytest.raises(PlaceError, match="does not hold the new value"):
        scene.place.put(Value.NEW, scene.pair)
