"""A playbook's `every`, changed in its text: one token, or one line more."""

from __future__ import annotations

import tomllib

import pytest

from keyrotor.errors import FormatError
from keyrotor.formats.playbook_text import with_every


@pytest.mark.parametrize(
    ("text", "becomes"),
    [
        ('name = "k"\nevery = "month"  # so\n[secret]\n', 'name = "k"\nevery = "30d"  # so\n[secret]\n'),
        ("every = 'month'\nname = 'k'\n", "every = '30d'\nname = 'k'\n"),
        ('every = """month"""\nname="k"', 'every = """30d"""\nname="k"'),
        ('name = "k"  # x\n[secret]\n', 'name = "k"  # x\nevery = "30d"\n[secret]\n'),
        ('name = "k"\r\n[secret]\r\n', 'name = "k"\r\nevery = "30d"\r\n[secret]\r\n'),
        ('name = "k"', 'name = "k"\nevery = "30d"\n'),
        (
            '# every = "week"\nname = "k"\n[x]\nevery = "1"\n',
            '# every = "week"\nname = "k"\nevery = "30d"\n[x]\nevery = "1"\n',
        ),
    ],
)
def test_one_token_changes(text: str, becomes: str) -> None:
    """Comments, quotes and line ends stay as they are."""
    made = with_every(text.encode(), "30d").decode()
    assert made == becomes
    assert tomllib.loads(made)["every"] == "30d"


@pytest.mark.parametrize("text", ["no toml", "[secret]\nx = 1\n", "\ufeffname = 'k'\n"])
def test_what_is_no_playbook_is_refused(text: str) -> None:
    """Where nothing tells where it belongs."""
    with pytest.raises(FormatError):
        with_every(text.encode(), "30d")
