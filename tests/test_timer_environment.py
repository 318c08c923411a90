"""Which variables of a shell are written into the units of a timer: what a rotation finds its files by, no value."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from keyrotor import playbook
from keyrotor.units.timer_wanting import variables

PLAYBOOK = """
name = "key"
[secret]
file = "${{SECRETS}}/x.enc.env"
key  = "KEY"
[[place]]
kind = "sops-file"
[[place]]
kind = "env-file"
path = "${{WHERE}}/.env"
keys = ["KEY", "SALT"]
# ${{COMMENT}} is no path
[[place]]
kind = "client-file"
path = "/x/{path}"
todo = "${{TODO}}"
[[place]]
kind = "codex"
optional = true
"""
Written = Callable[..., dict[str, str]]
BASE = {"SECRETS": "/s", "WHERE": "/w", "HOME": "/home/me", "PATH": "/bin"}


@pytest.fixture
def written(tmp_path: Path) -> Written:
    def of(env: dict[str, str], path: str = "y") -> dict[str, str]:
        file = tmp_path / "key.toml"
        file.write_text(PLAYBOOK.format(path=path))
        full = {**BASE, **env}
        return variables(full, playbook.load(file, full), "")

    return of


def test_what_paths_name_is_written(written: Written) -> None:
    """Those of the playbook, those of known clients that are set, and what programs are found by; no others."""
    env = {"CODEX_HOME": "/c", "COMMENT": "c", "TODO": "t", "EDITOR": "vi", "TZ": "Europe/Vienna", "LANG": ""}
    assert written(env) == {**BASE, "CODEX_HOME": "/c", "TZ": "Europe/Vienna"}


@pytest.mark.parametrize("name", ["KEY", "SALT", "SOPS_AGE_KEY", "SOPS_AGE_KEY_CMD", "GH_TOKEN"])
def test_what_may_hold_a_value_is_not_written(written: Written, name: str) -> None:
    """Not even where a path names it: direnv puts values into a shell under these names."""
    assert name not in written({name: "value"}, f"${{{name}}}/z")


def test_a_proxy_with_a_password_is_not_written(written: Written) -> None:
    """One without is; a folder of PATH that depends on where one is goes."""
    env = {"HTTPS_PROXY": "http://me:word@proxy:1", "https_proxy": "http://proxy:1", "PATH": "/a:.::bin:/b"}
    told = written(env)
    assert (told["https_proxy"], "HTTPS_PROXY" in told, told["PATH"]) == ("http://proxy:1", False, "/a:/b")
