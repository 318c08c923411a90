"""A secret of GitHub's, with the real `gh` against a little HTTPS server that keeps the contract of GitHub's API and
opens the sealed box that `gh` sends (see `store_servers`)."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest

from keyrotor.boundary.api import Token
from keyrotor.boundary.plaintext import unseal
from keyrotor.boundary.process import Processes
from keyrotor.core.model import Holds, Value
from keyrotor.core.stores import LEFT, updated, written
from keyrotor.errors import PlaceError, StrangerError
from keyrotor.places.github_actions import GithubActions
from keyrotor.secret import Pair, Secret
from places.contract import Blow, PlaceContract, Rest, Scene
from places.store_servers import TOKEN, Certificate, GithubStore, served
from places.wanted import missing

REPO = "repos/lab/gateway/actions/secrets/GATEWAY_KEY"
ORG = "orgs/lab/actions/secrets/GATEWAY_KEY"


@dataclass(frozen=True)
class Seen:
    """The place, with the truth about what it holds: nobody but the server can open what was sealed."""

    place: GithubActions
    store: GithubStore

    def holds(self, pair: Pair) -> Holds:
        assert self.place.holds(pair) is Holds.UNKNOWN
        value = self.store.secrets[REPO]["value"].encode()
        return Holds.seen(old=value == unseal(pair.old), new=value == unseal(pair.new))

    def check(self, pair: Pair) -> list[str]:
        return self.place.check(pair)

    def put(self, goal: Value, pair: Pair) -> str:
        return self.place.put(goal, pair)


class GithubScene(Scene):
    shows: ClassVar = frozenset({Holds.OLD, Holds.NEW, Holds.NEITHER})
    restores: ClassVar = False  # the update time never comes back

    def __init__(self, root: Path, pair: Pair, certificate: Certificate) -> None:
        self.root, self.rest = root, Rest()
        self.store = GithubStore(root / "store.json", secrets.token_hex(12))
        self.pair = replace(pair, siblings={**pair.siblings, TOKEN: Secret(self.store.token.encode())})
        self.env = {"PATH": os.environ["PATH"], "HOME": str(root), "SSL_CERT_FILE": str(certificate.file)}

    def use(self, **more: object) -> None:
        settings: dict[str, object] = {"repo": "lab/gateway", "org": "", "environment": "", "app": "actions"}
        self.github = GithubActions(
            label="the secret",
            host=self.store.url.removeprefix("https://"),
            name="GATEWAY_KEY",
            token=Token(TOKEN, {}),
            recorded="",
            within=20.0,
            processes=Processes(self.rest),
            env=self.env,
            rest=self.rest,
            **settings,  # type: ignore[arg-type]
        )
        self.github = replace(self.github, **more)  # type: ignore[arg-type]
        self.place = Seen(self.github, self.store)  # type: ignore[assignment]  as far as the contract asks it

    def show(self, holds: Holds) -> None:
        shown = {Holds.OLD: self.pair.old, Holds.NEW: self.pair.new, Holds.NEITHER: Secret(b"another")}
        self.store.make(REPO, unseal(shown[holds]).decode())

    def may_hold(self) -> set[Path]:
        return {self.store.file}

    def kills(self) -> Iterable[int]:
        return (0, 9, 4000)

    def killed_at(self, step: int) -> AbstractContextManager[Blow]:
        return self.rest.killed_at(step)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def scene(tmp_path: Path, pair: Pair, certificate: Certificate) -> Iterator[GithubScene]:
    if shutil.which("gh") is None:
        missing("no gh")
    root = tmp_path / "world"
    root.mkdir()
    made = GithubScene(root, pair, certificate)
    with served(made.store, certificate.served()):
        made.use()
        made.show(Holds.OLD)
        yield made


class TestContract(PlaceContract):
    """But for what a store that shows nobody its value cannot promise: a put where the goal stands writes it again."""

    @pytest.fixture
    def scene(self, scene: GithubScene) -> GithubScene:
        return scene

    @pytest.mark.parametrize("goal", Value)
    def test_a_second_put_changes_nothing(self, scene: GithubScene, goal: Value) -> None:
        """The value is written again; its update time alone is another."""
        times = [updated(scene.place.put(goal, scene.pair)) for _ in range(2)]
        assert scene.place.holds(scene.pair) is Holds(goal)
        assert times == sorted(set(times))

    @pytest.mark.parametrize("goal", Value)
    def test_a_put_where_the_goal_stands_already_changes_nothing(self, scene: GithubScene, goal: Value) -> None:
        """The same for the very first put."""
        scene.show(Holds(goal))
        scene.place.put(goal, scene.pair)
        assert scene.place.holds(scene.pair) is Holds(goal)


def test_a_put_tells_the_update_time_and_by_it_the_secret_is_known_again(scene: GithubScene) -> None:
    """As long as GitHub tells that time nobody else has written it."""
    told = scene.github.put(Value.NEW, scene.pair)
    assert told == written("2026-01-01T00:00:01Z") == "written; updated 2026-01-01T00:00:01Z"
    scene.use(recorded=updated(told))
    assert scene.github.holds(scene.pair) is Holds.OLD
    scene.store.make(REPO, "somebody else's")
    scene.store.secrets[REPO]["updated_at"] = "2026-01-01T00:05:00Z"
    assert scene.github.holds(scene.pair) is Holds.UNKNOWN


def test_a_write_within_the_same_second_is_written_again(scene: GithubScene) -> None:
    """An update time that has not moved proves nothing: after a while it is written once more."""
    waits: list[float] = []

    def rest(seconds: float) -> None:
        waits.append(seconds)
        scene.store.ticks = 1

    scene.store.ticks = 0
    scene.use(rest=rest)
    assert updated(scene.github.put(Value.NEW, scene.pair)) == "2026-01-01T00:00:01Z"
    assert len(waits) == 1


def test_an_update_time_that_never_moves_fails_the_put(scene: GithubScene) -> None:
    """`gh` ended well, and nothing proves that it wrote."""
    scene.store.ticks = 0
    scene.use(rest=lambda _: None)
    with pytest.raises(PlaceError, match="its update time does not move"):
        scene.github.put(Value.NEW, scene.pair)


def test_no_value_and_no_token_is_in_an_argument_or_an_address(scene: GithubScene, tmp_path: Path) -> None:
    """`gh` gets the value on standard input and the token in a variable of its own; what it leaves holds neither."""
    real, log = shutil.which("gh"), tmp_path / "argv"
    seen = f'#!{sys.executable}\nimport os, sys\nopen("{log}", "a").write(repr((sys.argv, list(os.environ))))\n'
    (tmp_path / "gh").write_text(f'{seen}os.execv("{real}", sys.argv)\n')
    (tmp_path / "gh").chmod(0o700)
    scene.env["PATH"] = f"{tmp_path}:{os.environ['PATH']}"
    scene.env |= {"GH_TOKEN": "somebody's", "GITHUB_TOKEN": "somebody's"}
    scene.use()
    scene.github.put(Value.NEW, scene.pair)
    told = log.read_text() + " ".join(f"{asked.path} {asked.query}" for asked in scene.store.asked)
    kept = "".join(path.read_text() for path in scene.root.rglob("*") if path.is_file() and path != scene.store.file)
    assert "GITHUB_TOKEN" not in told
    hidden = [scene.store.token, *(unseal(scene.pair[value]).decode() for value in Value)]
    assert not any(text in told + kept + repr(scene.github) for text in hidden)
    assert {asked.headers["Authorization"] for asked in scene.store.asked} == {f"token {scene.store.token}"}


@pytest.mark.parametrize(
    ("path", "settings"),
    [
        ("repos/lab/gateway/environments/live system/secrets/GATEWAY_KEY", {"environment": "live system"}),
        ("repos/lab/gateway/dependabot/secrets/GATEWAY_KEY", {"app": "dependabot"}),
        ("repos/lab/gateway/codespaces/secrets/GATEWAY_KEY", {"app": "codespaces"}),
    ],
)
def test_each_of_a_repositorys_stores_is_its_own(scene: GithubScene, path: str, settings: dict[str, object]) -> None:
    """An environment's, Dependabot's, Codespaces': that one is written, and the repository's stays."""
    scene.store.make(path, unseal(scene.pair.old).decode())
    scene.use(**settings)
    assert scene.github.check(scene.pair) == []
    scene.github.put(Value.NEW, scene.pair)
    assert scene.store.secrets[path]["value"] == unseal(scene.pair.new).decode()
    assert scene.store.secrets[REPO]["value"] == unseal(scene.pair.old).decode()
    assert scene.github.after(Value.NEW, scene.pair)


@pytest.mark.parametrize(
    "kept",
    [
        {"visibility": "all"},
        {"visibility": "private"},
        {"visibility": "selected", "selected": ["lab/gateway", "lab/third"]},
    ],
)
def test_an_organisations_secret_stays_for_whom_it_was(scene: GithubScene, kept: dict[str, object]) -> None:
    """Left alone `gh` would make it one of all private repositories."""
    scene.store.make(ORG, unseal(scene.pair.old).decode(), **kept)
    scene.use(org="lab", repo="")
    assert scene.github.check(scene.pair) == []
    scene.github.put(Value.NEW, scene.pair)
    secret = scene.store.secrets[ORG]
    assert secret["value"] == unseal(scene.pair.new).decode()
    assert {"visibility": secret["visibility"], "selected": secret["selected"]} == {"selected": [], **kept}


def test_a_secret_that_is_selected_by_nobody_is_refused(scene: GithubScene) -> None:
    """There is no way to say that to `gh`."""
    scene.store.make(ORG, "x", visibility="selected", selected=[])
    scene.use(org="lab", repo="")
    assert "no repository is selected" in scene.github.check(scene.pair)[0]


def test_a_secret_that_is_not_there_is_refused_with_the_command_that_makes_it(scene: GithubScene) -> None:
    """It is never made by a rotation."""
    scene.store.secrets.clear()
    (reason,) = scene.github.check(scene.pair)
    assert reason.endswith(f"GH_HOST={scene.github.host} gh secret set GATEWAY_KEY --repo lab/gateway")
    assert scene.github.holds(scene.pair) is Holds.NEITHER
    with pytest.raises(StrangerError, match="no such secret"):
        scene.github.put(Value.NEW, scene.pair)
    assert scene.store.writes() == []


def test_a_login_that_opens_nothing_is_refused(scene: GithubScene) -> None:
    """A wrong token, none at all, no token of that name: each by its name, and none in a message."""
    wrong = replace(scene.pair, siblings={TOKEN: Secret(b"nobody-knows-it")})
    assert "the token NOBODYS_TOKEN is not known there" in scene.github.check(wrong)[0]
    assert "neither the encrypted file" in scene.github.check(replace(scene.pair, siblings={}))[0]
    scene.use(token=None)
    assert "gh has no login there" in scene.github.check(scene.pair)[0]


def test_a_login_of_ghs_own_is_used_where_no_token_is_named(scene: GithubScene) -> None:
    """Its variables are passed on to it."""
    scene.env["GH_ENTERPRISE_TOKEN"] = scene.store.token
    scene.use(token=None)
    assert scene.github.check(scene.pair) == []
    scene.github.put(Value.NEW, scene.pair)
    assert scene.store.secrets[REPO]["value"] == unseal(scene.pair.new).decode()


def test_a_token_that_may_only_read_fails_the_put(scene: GithubScene) -> None:
    """Nothing tells before the write."""
    scene.store.is_read_only = True
    assert scene.github.check(scene.pair) == []
    with pytest.raises(PlaceError, match=f"the token {TOKEN} is not known there, or lacks the right"):
        scene.github.put(Value.NEW, scene.pair)
    assert scene.github.put(Value.OLD, scene.pair) == LEFT, "a no is certain"


def test_a_write_that_may_have_arrived_must_be_put_back(scene: GithubScene) -> None:
    """The connection was cut after it: what a later no says tells nothing of it."""
    scene.store.is_cut = True
    with pytest.raises(PlaceError, match="gh secret set ended with exit code 1"):
        scene.github.put(Value.NEW, scene.pair)
    scene.store.is_cut, scene.store.is_read_only = False, True
    with pytest.raises(PlaceError, match="lacks the right"):
        scene.github.put(Value.OLD, scene.pair)


def test_a_repository_that_is_not_shown_is_no_absence(scene: GithubScene) -> None:
    """404 is also what GitHub answers to a login that may not see it: the secret may well be there."""
    scene.use(repo="theirs/gateway")
    (reason,) = scene.github.check(scene.pair)
    assert "it shows no secrets of repos/theirs/gateway" in reason
    assert scene.github.holds(scene.pair) is Holds.UNKNOWN
    with pytest.raises(PlaceError, match="shows no secrets") as raised:
        scene.github.put(Value.NEW, scene.pair)
    assert not isinstance(raised.value, StrangerError)


def test_a_certificate_that_nobody_vouches_for_is_not_trusted(scene: GithubScene) -> None:
    """The token goes nowhere."""
    scene.env.pop("SSL_CERT_FILE")
    scene.use()
    assert "exit code 1" in scene.github.check(scene.pair)[0]
    assert scene.store.asked == []


def test_without_gh_it_is_refused(scene: GithubScene) -> None:
    """Before anything is done."""
    scene.env["PATH"] = "/nowhere"
    scene.use()
    assert "cannot run gh: no such program" in scene.github.check(scene.pair)[0]
