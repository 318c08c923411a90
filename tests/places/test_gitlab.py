"""A CI/CD variable, against a little server that keeps the contract of GitLab's API (see `store_servers`)."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from keyrotor.boundary.api import Api, Token
from keyrotor.boundary.plaintext import unseal
from keyrotor.core.model import ALREADY, Holds, Value
from keyrotor.core.stores import LEFT
from keyrotor.errors import PlaceError, StrangerError
from keyrotor.places.gitlab import Gitlab
from keyrotor.secret import Pair, Secret
from places.contract import Blow, PlaceContract, Rest, Scene
from places.store_servers import TOKEN, Asked, GitlabStore, served


class GitlabScene(Scene):
    shows: ClassVar = frozenset({Holds.OLD, Holds.NEW, Holds.NEITHER})

    def __init__(self, root: Path, pair: Pair) -> None:
        self.root, self.rest = root, Rest()
        self.store = GitlabStore(root / "store.json", secrets.token_hex(12))
        self.pair = replace(pair, siblings={**pair.siblings, TOKEN: Secret(self.store.token.encode())})

    def use(self, scope: str = "production", within: float = 10.0) -> None:
        api = Api(self.store.url, "PRIVATE-TOKEN", b"", Token(TOKEN, {}), within, self.rest)
        self.place = Gitlab("the variable", api, "projects/lab%2Fgate%20way", "GATEWAY_KEY", scope)

    def show(self, holds: Holds) -> None:
        shown = {Holds.OLD: self.pair.old, Holds.NEW: self.pair.new, Holds.NEITHER: Secret(b"another")}
        self.store.variables.clear()
        self.store.make("GATEWAY_KEY", "*", "for all else")
        self.store.make("GATEWAY_KEY", "production", unseal(shown[holds]).decode(), raw=True)

    @property
    def value(self) -> str:
        return str(self.store.variables["GATEWAY_KEY", "production"]["value"])

    def may_hold(self) -> set[Path]:
        return {self.store.file}

    def kills(self) -> Iterable[int]:
        return range(8)

    def killed_at(self, step: int) -> AbstractContextManager[Blow]:
        return self.rest.killed_at(step)


@pytest.fixture
def scene(tmp_path: Path, pair: Pair) -> Iterator[GitlabScene]:
    root = tmp_path / "world"
    root.mkdir()
    made = GitlabScene(root, pair)
    with served(made.store):
        made.use()
        made.show(Holds.OLD)
        yield made


class TestContract(PlaceContract):
    @pytest.fixture
    def scene(self, scene: GitlabScene) -> GitlabScene:
        return scene


def test_only_the_variable_of_its_scope_changes_and_nothing_of_it_but_the_value(scene: GitlabScene) -> None:
    """What is sent is the value, and `raw`; what it is hidden from, and the other scope, stay as they are."""
    before = scene.store.variables["GATEWAY_KEY", "production"].copy()
    assert scene.place.put(Value.NEW, scene.pair) == "written"
    assert scene.store.variables["GATEWAY_KEY", "*"]["value"] == "for all else"
    after = scene.store.variables["GATEWAY_KEY", "production"]
    assert {key for key in after if after[key] != before[key]} == {"value"}
    assert set(scene.store.writes()[0].body) == {"value", "raw"}


def test_the_token_opens_it_and_stands_in_no_address(scene: GitlabScene) -> None:
    """Neither the token nor a value is in any path or query."""
    scene.place.put(Value.NEW, scene.pair)
    told = " ".join(f"{asked.path} {asked.query}" for asked in scene.store.asked)
    assert scene.store.token not in told
    assert not any(unseal(scene.pair[value]).decode() in told for value in Value)


def test_a_hidden_variable_is_written_and_nobody_can_tell(scene: GitlabScene) -> None:
    """Its value is not read back, so it is unknown, and put; `masked` is not sent, which GitLab would refuse."""
    scene.store.make("GATEWAY_KEY", "production", unseal(scene.pair.old).decode(), hidden=True)
    assert (scene.place.check(scene.pair), scene.place.holds(scene.pair)) == ([], Holds.UNKNOWN)
    assert scene.place.put(Value.NEW, scene.pair) == "written; hidden, so it cannot be read back"
    assert scene.value == unseal(scene.pair.new).decode()


def test_a_variable_that_is_not_there_is_refused_and_never_made(scene: GitlabScene) -> None:
    """A 404 is a reason in preflight, nothing to a look, and a failure of a put; nothing is written."""
    scene.use(scope="staging")
    assert "no such variable for the scope staging" in scene.place.check(scene.pair)[0]
    assert scene.place.holds(scene.pair) is Holds.NEITHER
    with pytest.raises(PlaceError, match="no such variable"):
        scene.place.put(Value.NEW, scene.pair)
    assert scene.store.writes() == []


def test_a_project_that_is_not_shown_is_no_absence(scene: GitlabScene) -> None:
    """404 is also what GitLab answers to a token that may not see the project: the variable may well be there."""
    api = scene.place.api  # type: ignore[attr-defined]
    scene.place = Gitlab("the variable", api, "projects/lab%2Fother", "GATEWAY_KEY", "production")
    (reason,) = scene.place.check(scene.pair)
    assert "there is no such project or group, or the token does not show it" in reason
    assert scene.place.holds(scene.pair) is Holds.UNKNOWN
    with pytest.raises(PlaceError, match="no such project") as raised:
        scene.place.put(Value.NEW, scene.pair)
    assert not isinstance(raised.value, StrangerError)


def test_a_hidden_variable_that_has_taken_nothing_is_left_on_the_way_back(scene: GitlabScene) -> None:
    """The token may only read: the no is certain."""
    scene.store.make("GATEWAY_KEY", "production", unseal(scene.pair.old).decode(), hidden=True)
    scene.store.is_read_only = True
    with pytest.raises(PlaceError, match="lacks the right"):
        scene.place.put(Value.NEW, scene.pair)
    assert scene.place.put(Value.OLD, scene.pair) == LEFT
    assert scene.value == unseal(scene.pair.old).decode()


def test_what_somebody_else_wrote_meanwhile_is_left(scene: GitlabScene) -> None:
    """A put finds neither value: it is not written over; a repair, which is told so, does."""
    scene.show(Holds.NEITHER)
    for goal in Value:
        with pytest.raises(StrangerError, match="somebody has changed it: it holds neither value"):
            scene.place.put(goal, scene.pair)
    assert scene.value == "another"
    assert replace(scene.place, may_be_other=True).put(Value.NEW, scene.pair) == "written"
    assert scene.value == unseal(scene.pair.new).decode()


def test_a_write_whose_answer_is_lost_is_found_done(scene: GitlabScene) -> None:
    """The put fails, for nothing was heard; the same put again finds the value there, and the other takes it back."""
    scene.store.is_cut = True
    with pytest.raises(PlaceError, match=r"cut|RemoteProtocolError"):
        scene.place.put(Value.NEW, scene.pair)
    scene.store.is_cut = False
    assert scene.place.put(Value.NEW, scene.pair) == ALREADY
    assert scene.place.put(Value.OLD, scene.pair) == "written"


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ((401, {"message": "{value}"}), "the token NOBODYS_TOKEN is not known there, or lacks the right"),
        ((403, {"message": "{value}"}), "lacks the right"),
        ((500, {"message": "{value}"}), "it answers 500"),
        ((302, {}), "it answers 302, which leads elsewhere"),
        ((200, ["no variable"]), "no variable of GitLab's"),
        ((0, None), "cannot ask"),
    ],
)
def test_what_is_no_answer_is_refused_and_its_words_are_not_shown(
    scene: GitlabScene, fault: tuple[int, object], told: str
) -> None:
    """A look is unknown, preflight names the store and the status, a redirect is not followed."""
    value = unseal(scene.pair.old).decode()
    body = {"message": value} if fault[1] == {"message": "{value}"} else fault[1]
    scene.store.fault = lambda _: (fault[0], body)
    assert scene.place.holds(scene.pair) is Holds.UNKNOWN
    (reason,) = scene.place.check(scene.pair)
    assert told in reason
    assert value not in reason
    assert not any("elsewhere" in asked.path for asked in scene.store.asked)


def test_a_store_that_does_not_answer_is_given_up_in_time(scene: GitlabScene) -> None:
    """`within` bounds each question."""
    hold = []

    def never(_: Asked) -> tuple[int, object]:
        import threading

        hold.append(gate := threading.Event())
        gate.wait(10)
        return 0, None

    scene.store.fault = never
    scene.use(within=0.3)
    (reason,) = scene.place.check(scene.pair)
    for gate in hold:
        gate.set()
    assert "no answer within 0.3 s" in reason


@pytest.mark.parametrize("value", [b"", b"two words", b"line\nbreak", "grün".encode()])
def test_what_can_be_no_token_is_refused_before_it_is_sent(scene: GitlabScene, value: bytes) -> None:
    """A header could not say it, or would say more than one thing."""
    pair = replace(scene.pair, siblings={TOKEN: Secret(value)})
    assert "the token NOBODYS_TOKEN" in scene.place.check(pair)[0]
    assert scene.store.asked == []


def test_a_token_may_stand_in_the_environment(scene: GitlabScene) -> None:
    """The encrypted file comes first; without either the name is told, and how to give it."""
    pair, token = replace(scene.pair, siblings={}), Token(TOKEN, {TOKEN: scene.store.token})
    assert "neither the encrypted file nor the environment" in scene.place.check(pair)[0]
    place = replace(scene.place, api=replace(scene.place.api, token=token))
    assert place.check(pair) == []
    assert scene.store.token not in repr(place)


def test_nothing_is_sent_in_clear_to_a_public_address(scene: GitlabScene) -> None:
    """Plain http is for this machine and private networks; an address of nobody's (RFC 5737's kin) is not asked."""
    place = replace(scene.place, api=replace(scene.place.api, base="http://192.88.99.1"))
    (reason,) = place.check(scene.pair)
    assert "the address is public" in reason
