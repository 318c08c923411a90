"""An Actions secret, against a little server that keeps the contract of Gitea's and Forgejo's API (`store_servers`)."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest

from keyrotor.boundary.api import Api, Sent, Token
from keyrotor.boundary.plaintext import unseal
from keyrotor.core.model import Holds, Value
from keyrotor.core.stores import LEFT, updated
from keyrotor.errors import InterruptedRun, PlaceError, StrangerError
from keyrotor.places.gitea import Gitea
from keyrotor.secret import Pair, Secret
from places.contract import Blow, PlaceContract, Rest, Scene
from places.store_servers import TOKEN, Asked, GiteaStore, served


@dataclass(frozen=True)
class Seen:
    """The place, with the truth about what it holds: nobody but the server knows that."""

    place: Gitea
    store: GiteaStore

    def holds(self, pair: Pair) -> Holds:
        assert self.place.holds(pair) is Holds.UNKNOWN
        value = self.store.secrets["GATEWAY_KEY"].encode()
        return Holds.seen(old=value == unseal(pair.old), new=value == unseal(pair.new))

    def check(self, pair: Pair) -> list[str]:
        return self.place.check(pair)

    def put(self, goal: Value, pair: Pair) -> str:
        return self.place.put(goal, pair)


class GiteaScene(Scene):
    shows: ClassVar = frozenset({Holds.OLD, Holds.NEW, Holds.NEITHER})

    def __init__(self, root: Path, pair: Pair) -> None:
        self.root, self.rest = root, Rest()
        self.store = GiteaStore(root / "store.json", secrets.token_hex(12))
        self.pair = replace(pair, siblings={**pair.siblings, TOKEN: Secret(self.store.token.encode())})

    def use(self, owner: str = "repos/lab/gateway", name: str = "gateway_key", recorded: str = "") -> None:
        api = Api(self.store.url, "Authorization", b"token ", Token(TOKEN, {}), 10.0, self.rest)
        self.gitea = Gitea("the secret", api, owner, name, recorded)
        self.place = Seen(self.gitea, self.store)  # type: ignore[assignment]  as far as the contract asks it

    def show(self, holds: Holds) -> None:
        shown = {Holds.OLD: self.pair.old, Holds.NEW: self.pair.new, Holds.NEITHER: Secret(b"another")}
        self.store.put("GATEWAY_KEY", unseal(shown[holds]).decode())

    def may_hold(self) -> set[Path]:
        return {self.store.file}

    def kills(self) -> Iterable[int]:
        return range(8)

    def killed_at(self, step: int) -> AbstractContextManager[Blow]:
        return self.rest.killed_at(step)


@pytest.fixture
def scene(tmp_path: Path, pair: Pair) -> Iterator[GiteaScene]:
    root = tmp_path / "world"
    root.mkdir()
    made = GiteaScene(root, pair)
    with served(made.store):
        made.use()
        made.show(Holds.OLD)
        yield made


class TestContract(PlaceContract):
    """But for what a store that shows nobody its value cannot promise: a put that finds the goal there writes it again,
    the very same."""

    @pytest.fixture
    def scene(self, scene: GiteaScene) -> GiteaScene:
        return scene

    @pytest.mark.parametrize("goal", Value)
    def test_a_second_put_changes_nothing(self, scene: GiteaScene, goal: Value) -> None:
        """The value is written again, and nothing else changes."""
        scene.place.put(goal, scene.pair)
        before = scene.store.file.read_bytes()
        scene.place.put(goal, scene.pair)
        assert scene.store.file.read_bytes() == before

    @pytest.mark.parametrize("goal", Value)
    def test_a_put_where_the_goal_stands_already_changes_nothing(self, scene: GiteaScene, goal: Value) -> None:
        """The same for the very first put."""
        scene.show(Holds(goal))
        before = scene.store.file.read_bytes()
        scene.place.put(goal, scene.pair)
        assert scene.store.file.read_bytes() == before


def test_a_write_is_proven_by_its_status_where_no_time_moves(scene: GiteaScene) -> None:
    """Gitea leaves `created_at` as it is: what was answered is told, and the record learns no time from it."""
    told = scene.gitea.put(Value.NEW, scene.pair)
    assert told == "written; it answers 204 and tells no time"
    assert updated(told) == ""


def test_a_time_that_moves_is_the_proof_and_the_record_knows_it_again(scene: GiteaScene) -> None:
    """Where the list tells another time after the write, it holds the present value as long as it tells that one."""
    scene.store.moves_time = True
    time = updated(scene.gitea.put(Value.NEW, scene.pair))
    assert time == scene.store.made["GATEWAY_KEY"]
    scene.use(recorded=time)
    assert scene.gitea.holds(scene.pair) is Holds.OLD
    scene.store.put("GATEWAY_KEY", "somebody else's")
    assert scene.gitea.holds(scene.pair) is Holds.UNKNOWN


def test_a_secret_of_an_organisation_is_found_on_its_last_page(scene: GiteaScene) -> None:
    """Names are looked for in all of the list, whatever a page holds, in capitals."""
    scene.store.page = 2
    for name in "ABCDE":
        scene.store.put(name, "x")
    scene.store.put("LATE", "x")
    scene.use("orgs/lab", "late")
    assert scene.gitea.check(scene.pair) == []
    scene.gitea.put(Value.NEW, scene.pair)
    assert scene.store.secrets["LATE"] == unseal(scene.pair.new).decode()


@pytest.mark.parametrize(
    ("owner", "name", "told"),
    [("repos/lab/gateway", "OTHER", "there is no such secret"), ("repos/lab/none", "X", "no such repository")],
)
def test_what_is_not_there_is_refused_and_never_made(scene: GiteaScene, owner: str, name: str, told: str) -> None:
    """A PUT would make it; a rotation makes nothing that was not there."""
    scene.use(owner, name)
    assert told in scene.gitea.check(scene.pair)[0]
    with pytest.raises(PlaceError, match=told):
        scene.gitea.put(Value.NEW, scene.pair)
    assert scene.store.writes() == []


def test_a_token_that_may_only_read_fails_the_put(scene: GiteaScene) -> None:
    """Nothing tells before the write; the put then fails, and the run turns back."""
    scene.store.is_read_only = True
    assert scene.gitea.check(scene.pair) == []
    with pytest.raises(PlaceError, match="lacks the right"):
        scene.gitea.put(Value.NEW, scene.pair)


def test_what_has_taken_nothing_is_left_on_the_way_back(scene: GiteaScene) -> None:
    """A no is certain, so what stood there stands there still: the run need not be stuck for it."""
    scene.store.is_read_only = True
    for _ in range(2):
        with pytest.raises(PlaceError, match="lacks the right"):
            scene.gitea.put(Value.NEW, scene.pair)
    assert scene.gitea.put(Value.OLD, scene.pair) == LEFT
    assert scene.store.secrets["GATEWAY_KEY"] == unseal(scene.pair.old).decode()


@pytest.mark.parametrize("how", ["cut off", "a gateway's 504", "taken", "interrupted", "begun by another process"])
def test_what_may_have_taken_it_must_be_put_back(scene: GiteaScene, how: str) -> None:
    """Where a write is in doubt a later no tells nothing of it; nor does this process know what a killed one did."""
    if how == "begun by another process":
        scene.gitea = replace(scene.gitea, sent=Sent(may_be_there=True))
    else:
        _write_in_doubt(scene, how)
    scene.store.fault, scene.store.is_cut, scene.store.is_read_only = (lambda _: None), False, True
    with pytest.raises(PlaceError, match="lacks the right"):
        scene.gitea.put(Value.NEW, scene.pair)
    with pytest.raises(PlaceError, match="lacks the right"):
        scene.gitea.put(Value.OLD, scene.pair)


def _write_in_doubt(scene: GiteaScene, how: str) -> None:
    puts: list[Asked] = []

    def fault(asked: Asked) -> tuple[int, object] | None:
        puts.extend([asked] if asked.method == "PUT" else [])
        return None if asked.method == "GET" else (403 if len(puts) > 1 else 504, None)

    def rest(seconds: float) -> None:
        if scene.store.writes():
            raise InterruptedRun("SIGINT")
        scene.rest(seconds)

    scene.store.is_cut = how == "cut off"
    if how == "a gateway's 504":
        scene.store.fault = fault
    if how == "interrupted":
        scene.store.fault = lambda asked: (scene.rest(0.2), None)[1] if asked.method == "PUT" else None
        scene.gitea = replace(scene.gitea, api=replace(scene.gitea.api, rest=rest))
    try:
        scene.gitea.put(Value.NEW, scene.pair)
    except (PlaceError, InterruptedRun):
        assert how != "taken"
    scene.gitea = replace(scene.gitea, api=replace(scene.gitea.api, rest=scene.rest))


def test_a_secret_that_is_gone_holds_nobody_on_the_way_back(scene: GiteaScene) -> None:
    """Its list is there, and has none of the name: somebody has taken it away."""
    scene.store.secrets.clear()
    with pytest.raises(StrangerError, match="there is no such secret"):
        scene.gitea.put(Value.OLD, scene.pair)


def test_a_busy_store_is_asked_again_in_a_while(scene: GiteaScene) -> None:
    """A limit of requests, or a proxy whose server starts anew: a second or two, or what it says, within bounds."""
    said, waits = [429, 503], list[float]()
    scene.store.fault = lambda asked: (said.pop(), None) if asked.method == "PUT" and said else None
    scene.store.retry_after = "3600"
    scene.gitea = replace(scene.gitea, api=replace(scene.gitea.api, within=30.0, rest=waits.append))
    assert scene.gitea.put(Value.NEW, scene.pair).startswith("written")
    assert [wait for wait in waits if wait] == [5.0, 5.0]
    scene.store.retry_after, said[:] = "soon", [502, 502]
    waits.clear()
    assert scene.gitea.put(Value.NEW, scene.pair).startswith("written")
    assert [wait for wait in waits if wait] == [1.0, 2.0]


def test_a_store_that_stays_busy_is_given_up_within_its_time(scene: GiteaScene) -> None:
    """No rest that would outlast `within` is begun, and no third one."""
    waits = list[float]()
    scene.store.fault = lambda _: (429, None)
    for within, rests in ((30.0, [1.0, 2.0]), (1.5, [1.0])):
        scene.store.asked.clear()
        waits.clear()
        scene.gitea = replace(scene.gitea, api=replace(scene.gitea.api, within=within, rest=_clock(waits)))
        assert "it answers 429" in scene.gitea.check(scene.pair)[0]
        assert [wait for wait in waits if wait] == rests
        assert len(scene.store.asked) == len(rests) + 1


def _clock(waits: list[float]) -> Callable[[float], None]:
    """A rest that is short where nothing would come of it being long."""

    def rest(seconds: float) -> None:
        waits.append(seconds)
        time.sleep(seconds if seconds == 1.0 else 0.0)

    return rest


def test_an_address_that_leads_elsewhere_is_told_so(scene: GiteaScene) -> None:
    """No redirect is followed: a person writes where it leads."""
    scene.store.fault = lambda _: (301, None)
    (reason,) = scene.gitea.check(scene.pair)
    assert "it answers 301, which leads elsewhere: write the address it leads to as `url`" in reason
