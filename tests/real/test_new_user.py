"""The whole of it as somebody new would do it: from an empty home to a rotation, with the real droid and LiteLLM.

The gateway is started twice: by `service install`, and by the rotation. Every test stands on what came before it, and
holds whether the rotation has been or not.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest
from newcomer import SECRET_FILE, Newcomer
from on_lab import stray

AUTHOR = "git config --global user.name 'Somebody New' && git config --global user.email new@localhost"
TIMER = (
    "systemd-run --quiet --user --unit=keyrotor-litellm-master-key --on-calendar=monthly"
    " --timer-property=Persistent=true --working-directory=$PWD keyrotor rotate --if-due --yes"
)
COMMIT = "git commit --quiet --all --message 'rotated'"


@dataclass(frozen=True, slots=True)
class Founded:
    """What the newcomer was told on the way to a lab."""

    person: Newcomer
    bootstrap: str
    install: str
    model: str  # what droid calls its entry


@pytest.fixture(scope="module")
def founded(newcomer: Newcomer) -> Founded:
    """A lab, a commit, and a gateway that answers; three commands."""
    bootstrap = newcomer.types(f"keyrotor bootstrap --yes --url {newcomer.url} lab")
    newcomer.types(f"{AUTHOR} && git init --quiet && git add --all && git commit --quiet --message 'a lab'")
    install = newcomer.types("keyrotor service install --yes")
    entries = json.loads((newcomer.lab / ".factory" / "settings.json").read_text())["customModels"]
    name = entries[0]["displayName"].replace(" ", "-")
    return Founded(newcomer, bootstrap, install, f"custom:{name}-0")


@pytest.fixture(scope="module")
def rotated(founded: Founded) -> tuple[Newcomer, str, str]:
    """The newcomer after a rotation and its commit, the former key and the present one."""
    person = founded.person
    old = person.secret()
    person.types("keyrotor rotate --yes")
    person.types(COMMIT)
    return person, old, person.secret()


def droid_says(founded: Founded, through: str) -> str:
    line = f"{through} env FACTORY_AIRGAP_ENABLED=1 droid exec -m {founded.model} 'say something'"
    return founded.person.types(line)


def the_answer(person: Newcomer) -> str:
    """What the sample gateway's model says to everything."""
    return next(
        line.partition("mock_response:")[2].strip().strip("\"'")
        for line in config(person).splitlines()
        if "mock_response:" in line
    )


def config(person: Newcomer) -> str:
    named = person.types("sed -n 's/^config *= *\"\\(.*\\)\".*/\\1/p' playbooks/litellm-master-key.toml").strip()
    return (person.lab / named).read_text()


def test_no_value_is_shown(founded: Founded) -> None:
    """Neither key stands in anything that was printed on the way."""
    values = [founded.person.secret(name) for name in ("LITELLM_MASTER_KEY", "LITELLM_SALT_KEY")]
    assert not any(value in said for value in values for said in (founded.bootstrap, founded.install))


def test_only_what_was_shown_was_committed(founded: Founded) -> None:
    """git has no value in clear, and nothing is left over that it does not know."""
    person = founded.person
    known = person.types("git ls-files").split()
    assert {".sops.yaml", ".gitattributes", ".gitignore", ".envrc", SECRET_FILE} <= set(known)
    values = [person.secret(name).encode() for name in ("LITELLM_MASTER_KEY", "LITELLM_SALT_KEY")]
    assert [name for name in known if any(value in (person.lab / name).read_bytes() for value in values)] == []
    assert person.types("git status --short --untracked-files=all -- ':!secrets'") == ""


def test_a_second_bootstrap_makes_nothing(founded: Founded) -> None:
    """0, and no file of the home is another, in content, mode or time."""
    person = founded.person
    places = [person.lab, person.home / ".config"]
    before = person.files(*places)
    said = person.types(f"keyrotor bootstrap --yes --url {person.url} lab", folder=person.home)
    assert "nothing to make" in said.lower()
    assert person.files(*places) == before


def test_a_second_install_does_nothing(founded: Founded) -> None:
    """0, no restart: the process that answers is the same."""
    person = founded.person
    pid = "systemctl --user show --property=MainPID --value litellm.service"
    before = person.types(pid)
    person.types("keyrotor service install --yes")
    assert person.types(pid) == before
    assert person.types("keyrotor service status")


@pytest.mark.parametrize("command", ["healthcheck", "doctor"])
def test_nothing_is_ill(founded: Founded, command: str) -> None:
    """0, and no line of it is ill."""
    assert founded.person.found(command) == []
    founded.person.types(f"keyrotor {command}")


def test_a_plan_is_clean(founded: Founded) -> None:
    """0, and every place can change."""
    said = founded.person.types("keyrotor plan")
    assert "A rotation can run." in said
    assert "cannot" not in said.replace("0 cannot", "")


def test_droid_answers_through_exec(founded: Founded) -> None:
    """keyrotor hands the key over and nothing else is needed."""
    assert the_answer(founded.person) in droid_says(founded, "keyrotor exec --")


def test_droid_answers_through_direnv(founded: Founded) -> None:
    """One approval of `.envrc`, and droid has the key from the env file."""
    founded.person.types("direnv allow")
    assert the_answer(founded.person) in droid_says(founded, "direnv exec .")


def test_droid_without_the_key_is_refused(founded: Founded) -> None:
    """The answers above are the key's doing: without it the same command gets none."""
    line = f"FACTORY_AIRGAP_ENABLED=1 droid exec -m {founded.model} 'say something'"
    assert the_answer(founded.person) not in founded.person.types(line, code=None)


def test_a_rotation_gives_the_key_to_all_and_takes_it_from_the_old(rotated: tuple[Newcomer, str, str]) -> None:
    """The new key opens, the old one and no key do not; the old one is in no file of the home."""
    person, old, new = rotated
    assert old != new
    assert [person.status(key) for key in (new, old, None)] == [200, 400, 401]
    assert stray(person.home, [old]) == []
    assert stray(person.home, [new], besides=[person.env_file]) == []


def test_droid_answers_after_the_rotation(founded: Founded, rotated: tuple[Newcomer, str, str]) -> None:
    """Through both ways, and with no new approval for direnv."""
    founded.person.types("direnv allow")  # the only one, should this test run alone
    assert the_answer(founded.person) in droid_says(founded, "keyrotor exec --")
    assert the_answer(founded.person) in droid_says(founded, "direnv exec .")


def test_an_audit_finds_nothing(rotated: tuple[Newcomer, str, str]) -> None:
    """0 and no finding, once a timer is there."""
    person, _, _ = rotated
    person.types(TIMER)
    assert person.found("audit") == []
    person.types("keyrotor audit")
