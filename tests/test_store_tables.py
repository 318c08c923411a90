"""The tables of stores in a playbook: what each must say, and what it must not."""

from __future__ import annotations

from pathlib import Path

import pytest

from keyrotor import playbook
from keyrotor.core import plan
from keyrotor.core.model import Act
from keyrotor.errors import PlaybookError

HEAD = """name = "x"
[secret]
file = "global.enc.env"
key = "KEY"
[[place]]
kind = "sops-file"
[[place]]
"""
GITHUB = 'kind = "github-actions"\nname = "N"\n'
GITEA = 'kind = "gitea"\nurl = "https://git.example"\nname = "N"\ntoken = "T"\n'
GITLAB = 'kind = "gitlab"\nname = "N"\ntoken = "T"\n'


def load(tmp_path: Path, place: str) -> plan.Row:
    (tmp_path / "x.toml").write_text(HEAD + place)
    return plan.rows(playbook.load(tmp_path / "x.toml", {}))[1]


@pytest.mark.parametrize(
    ("place", "label"),
    [
        ('kind = "keyring"\nservice = "goose"\nuser = "secrets"\nmember = "M"', "keyring goose/secrets M"),
        ('kind = "keyring"\nattributes = { url = "u", username = "Bearer" }', "keyring u/Bearer"),
        ('kind = "open-webui"\nurl = "http://webui:8080"\ntoken = "T"', "http://webui:8080"),
        (f'{GITHUB}repo = "o/.github"', "github.com/o/.github N"),
        (f'{GITHUB}repo = "o/r"\nenvironment = "live system"', "github.com/o/r live system N"),
        (f'{GITHUB}org = "o"\napp = "dependabot"\nhost = "ghe.lab:8443"', "ghe.lab:8443/o dependabot N"),
        (f'{GITEA}org = "o"', "https://git.example/o N"),
        (f'{GITLAB}project = "a/b/c"\nscope = "live/*"', "https://gitlab.com/a/b/c N (live/*)"),
    ],
)
def test_a_store_is_labelled_by_what_tells_it_from_every_other(tmp_path: Path, place: str, label: str) -> None:
    """The record knows a store by its label again, so nothing that makes it another may be missing there."""
    row = load(tmp_path, place)
    assert (row.label, row.act) == (label, Act.STORE)


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ('kind = "keyring"\nservice = "goose"', "name it by service and user, or by attributes"),
        ('kind = "keyring"\nservice = "g"\nuser = "u"\nattributes = { a = "b" }', "name it by service and user, or by"),
        ('kind = "open-webui"\nurl = "http://webui/v1"\ntoken = "T"', "url: not an address"),
        ('kind = "open-webui"\nurl = "http://webui"\ntoken = "sk-1"', "token: use letters, digits and `_`"),
        (f'{GITHUB}repo = "o/r"\norg = "o"', "name a repo or an org"),
        (f'{GITHUB}repo = "o/.."', "write it as OWNER/REPO, or ORG"),
        (f'{GITHUB}repo = "--help"', "write it as OWNER/REPO, or ORG"),
        (f'{GITHUB}repo = "o/r"\nenvironment = "a/b"', "environment: only Actions secrets of a repo"),
        (f'{GITHUB}org = "o"\nenvironment = "live"', "environment: only Actions secrets of a repo"),
        (f'{GITHUB}repo = "o/r"\napp = "pages"', "app: unknown 'pages'; allowed: actions, dependabot, codespaces"),
        (f'{GITHUB}repo = "o/r"\nhost = "https://github.com"', "host: write it as github.com"),
        (GITEA, "name a repo or an org"),
        (f'{GITEA.replace("N", "a-b")}org = "o"', "name: use letters, digits and `_`"),
        (GITLAB, "name a project or a group"),
    ],
)
def test_a_store_that_is_not_one_is_an_error_of_the_playbook(tmp_path: Path, place: str, why: str) -> None:
    """Before anything is asked, with the key's name."""
    with pytest.raises(PlaybookError) as raised:
        load(tmp_path, place)
    assert why in str(raised.value)
