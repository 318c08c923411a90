"""Stores in real rotations: the real `gh` and a real Secret Service; the APIs are little servers (`store_servers`)."""

from __future__ import annotations

import contextlib
import json
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
import secretstorage
from on_lab import Keyrotor, MakeLab, add_place, found, missing, sops_set

from keyrotor.demo.lab import Lab
from places.store_servers import Asked, Certificate, GiteaStore, GithubStore, GitlabStore, OpenWebuiStore, served
from places.test_open_webui import documents
from secret_service import absent, secret_service

REPO = "repos/lab/gateway/actions/secrets/GATEWAY_KEY"
GOOSE = {"service": "goose", "username": "secrets", "application": "rust-keyring"}


@dataclass
class Around:
    """A lab, and the stores around it that its playbook names."""

    lab: Lab
    keyrotor: Keyrotor
    env: Mapping[str, str]
    github: GithubStore
    gitea: GiteaStore
    gitlab: GitlabStore
    webui: OpenWebuiStore

    def run(self, *arguments: str) -> tuple[int, Any]:
        done = self.keyrotor(self.lab, *arguments, "--json", env=self.env)
        return done.returncode, json.loads(done.stdout)

    def held(self) -> dict[str, str]:
        """What each store holds as the key."""
        return {
            "keyring": self.goose()["LITELLM_API_KEY"],
            "open-webui": self.webui.documents["/openai/config"]["OPENAI_API_KEYS"][1],
            "github-actions": self.github.secrets[REPO]["value"],
            "forgejo": self.gitea.secrets["GATEWAY_KEY"],
            "gitlab": self.gitlab.variables["GATEWAY_KEY", "*"]["value"],
        }

    def goose(self) -> dict[str, str]:
        with contextlib.closing(secretstorage.dbus_init()) as bus:
            (item,) = secretstorage.search_items(bus, GOOSE)
            kept: dict[str, str] = json.loads(item.get_secret())
        return kept


PLACES = """kind = "keyring"
service = "goose"
user = "secrets"
member = "LITELLM_API_KEY"
todo = "restart every goose"

[[place]]
kind = "open-webui"
url = "{webui}"
token = "WEBUI_TOKEN"

[[place]]
kind = "github-actions"
host = "{github}"
repo = "lab/gateway"
name = "GATEWAY_KEY"
token = "FORGE_TOKEN"

[[place]]
kind = "forgejo"
url = "{gitea}"
repo = "lab/gateway"
name = "GATEWAY_KEY"
token = "FORGE_TOKEN"

[[place]]
kind = "forgejo"
url = "{gitea}"
repo = "lab/gateway"
name = "NOT_THERE"
token = "FORGE_TOKEN"
optional = true

[[place]]
kind = "gitlab"
url = "{gitlab}"
project = "lab/gate way"
name = "GATEWAY_KEY"
token = "FORGE_TOKEN"
"""


@pytest.fixture
def around(
    make_lab: MakeLab, keyrotor: Keyrotor, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Around]:
    """A lab whose key stands in all five stores; one token is in the encrypted file, the other in the environment."""
    if programs := [*absent(), *(["gh"] if shutil.which("gh") is None else [])]:
        missing(f"no {', '.join(programs)}")
    folder, token, forge = tmp_path_factory.mktemp("stores"), secrets.token_hex(16), secrets.token_hex(16)
    with ExitStack() as stack:
        session = stack.enter_context(secret_service(tmp_path_factory.mktemp("session")))
        monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", bus := session["DBUS_SESSION_BUS_ADDRESS"])
        lab = make_lab(unit=False)
        certificate = Certificate(folder)
        env = {"PYTHON_KEYRING_BACKEND": "keyring.backends.SecretService.Keyring", "DBUS_SESSION_BUS_ADDRESS": bus}
        env |= {"SSL_CERT_FILE": str(certificate.file), "WEBUI_TOKEN": token}
        github, gitea = GithubStore(folder / "github", forge), GiteaStore(folder / "gitea", forge)
        gitlab, webui = GitlabStore(folder / "gitlab", forge), OpenWebuiStore(folder / "webui", token, {})
        around = Around(lab, keyrotor, env, github, gitea, gitlab, webui)
        for store in (github, gitea, gitlab, webui):
            stack.enter_context(served(store, certificate.served() if store is github else None))
        _fill(around)
        lab.run("sh", "-c", sops_set(lab, "FORGE_TOKEN", forge))
        urls = {"webui": webui.url, "gitea": gitea.url, "gitlab": gitlab.url}
        add_place(lab, PLACES.format(github=github.url.removeprefix("https://"), **urls))
        yield around


def _fill(around: Around) -> None:
    key = around.lab.current_key()
    around.github.make(REPO, key)
    around.gitea.put("GATEWAY_KEY", key)
    around.gitlab.make("GATEWAY_KEY", "*", key)
    around.webui.documents = documents(key, is_everywhere=True)
    told = json.dumps(around.webui.documents).replace("127.0.0.1:4000", f"127.0.0.1:{around.lab.port}")
    around.webui.documents = json.loads(told.replace("localhost:4000", f"localhost:{around.lab.port}"))
    with contextlib.closing(secretstorage.dbus_init()) as bus:
        text = json.dumps({"OTHER": "theirs", "LITELLM_API_KEY": key})
        secretstorage.get_default_collection(bus).create_item("goose", GOOSE, text.encode())


def test_a_rotation_reaches_every_store_and_leaves_what_a_person_must_do(around: Around) -> None:
    """Each holds the new value, what is optional and absent is skipped; an audit knows GitHub's by its update time."""
    old = around.lab.current_key()
    assert set(around.held().values()) == {old}
    code, told = around.run("rotate", "--yes")
    assert (code, told["outcome"]) == (0, "rotated"), told
    assert set(around.held().values()) == {around.lab.current_key()} != {old}
    assert around.goose()["OTHER"] == "theirs"
    assert set(around.gitea.secrets) == {"GATEWAY_KEY"}
    assert {task["place"] for task in told["todo"]} == {"keyring", "github-actions", "forgejo", "gitlab"}
    details = {place["id"]: place["detail"] for place in told["places"]}
    assert details["github-actions"] == f"written; updated {around.github.secrets[REPO]['updated_at']}"
    assert details["forgejo"] == "written; it answers 204 and tells no time"
    assert details["open-webui"] == "written, 7 keys"
    assert "value-unknown" not in found(around.keyrotor, around.lab, env=around.env)
    around.github.secrets[REPO]["updated_at"] = "2026-01-01T01:00:00Z"
    assert "value-unknown" in found(around.keyrotor, around.lab, env=around.env)


def test_a_store_that_goes_away_in_the_middle_turns_the_run_back(around: Around) -> None:
    """GitLab fails every write: all that was written before is put back, and the old key is proven."""
    old, refused = around.lab.current_key(), (500, {"message": "down"})
    around.gitlab.fault = lambda asked: refused if asked.method == "PUT" else None
    code, told = around.run("rotate", "--yes")
    assert (code, told["outcome"]) == (20, "rolled-back"), told
    assert set(around.held().values()) == {old} == {around.lab.current_key()}
    assert len(around.github.writes()) == 2


def test_a_store_that_does_not_answer_refuses_the_run(around: Around) -> None:
    """Nothing was written; every reason is told, without a value or a token."""
    around.webui.fault = around.gitea.fault = lambda _: (500, None)
    around.github.secrets.clear()
    done = around.keyrotor(around.lab, "rotate", "--yes", env=around.env)
    assert done.returncode == 3
    assert "it answers 500" in done.stderr
    assert "gh secret set GATEWAY_KEY --repo lab/gateway" in done.stderr
    hidden = (around.lab.current_key(), around.env["WEBUI_TOKEN"], around.gitea.token)
    assert not any(value in done.stdout + done.stderr for value in hidden)
    assert around.gitlab.writes() == around.webui.writes() == around.gitea.writes() == []
    around.gitea.asked.clear()
    assert "value-unknown" in found(around.keyrotor, around.lab, env=around.env)
    assert len(around.gitea.asked) == 4, "two places, each looked at and checked once"


def test_a_token_that_may_not_write_turns_the_run_back(around: Around) -> None:
    """Gitea says no to it, which is certain: its secret is as it was, and the run need not be stuck for it."""
    old, around.gitea.is_read_only = around.lab.current_key(), True
    code, told = around.run("rotate", "--yes")
    assert (code, told["outcome"]) == (20, "rolled-back"), told
    assert set(around.held().values()) == {old} == {around.lab.current_key()}
    details = {place["id"]: place["detail"] for place in told["places"]}
    assert details["forgejo"] == "left as it is: nothing of this run was taken there"


def test_a_run_that_is_stuck_goes_on_with_another_token(around: Around) -> None:
    """A write was in doubt when the token was taken back: once there is another in the encrypted file, it is used."""
    old, taken = around.lab.current_key(), list[int]()

    def fault(asked: Asked) -> tuple[int, None] | None:
        if asked.method == "GET":
            return None
        taken.append(1)
        return (500 if len(taken) == 1 else 403), None

    around.gitea.fault = fault
    code, told = around.run("rotate", "--yes")
    assert (code, told["outcome"]) == (21, "stuck"), told
    around.gitea.fault, fresh = (lambda _: None), secrets.token_hex(16)
    around.gitea.token = around.gitlab.token = around.github.token = fresh
    around.lab.run("sh", "-c", sops_set(around.lab, "FORGE_TOKEN", fresh))
    code, told = around.run("resume")
    assert (code, told["outcome"]) == (20, "rolled-back"), told
    assert set(around.held().values()) == {old} == {around.lab.current_key()}
    assert fresh not in json.dumps(told)


def test_a_repair_puts_what_stores_do_not_hold(around: Around) -> None:
    """A variable whose value nobody knows, for the playbook names it; what shows nobody a value is left alone."""
    around.gitlab.make("GATEWAY_KEY", "*", "somebody-typed-this", masked=False)
    writes = len(around.github.writes())
    code, told = around.run("repair", "--yes")
    assert (code, told["outcome"]) == (0, "repaired"), told
    assert around.gitlab.variables["GATEWAY_KEY", "*"]["value"] == around.lab.current_key()
    assert len(around.github.writes()) == writes
