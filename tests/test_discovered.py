"""The entries that `clients discover` adds: valid TOML whatever the path, in the playbook's own line ends."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyrotor import playbook
from keyrotor.core.discovered import Entry, Holder, Hunted, appended, entries, may_be_written

TEXT = """name = "it"
[secret]
file = "secrets/it.enc.env"
key = "KEY"
[[place]]
kind = "sops-file"
"""
FILE = Holder("/home/you/a.json", "~/a.json", "client-file", "json", present=1)
DROID = Holder("/home/you/.factory/settings.json", "~/.factory/settings.json", "droid", "json", True, present=1)


def loaded(tmp_path: Path, text: str = TEXT) -> playbook.Playbook:
    path = tmp_path / "it.toml"
    path.write_text(text)
    return playbook.load(path, {"HOME": "/home/you"})


@given(st.text(min_size=1).filter(may_be_written))
def test_any_path_is_read_back_as_it_is(path: str) -> None:
    """Quotes, backslashes, controls and everything of Unicode are what they were."""
    made = appended(b"", [Entry("client-file", path, "json")])
    assert tomllib.loads(made.decode()) == {"place": [{"kind": "client-file", "path": path, "format": "json"}]}


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("last", ["", "\n", "# the end"])
def test_what_was_there_stays_and_what_is_added_has_its_line_ends(end: str, last: str) -> None:
    """With or without a newline at the end of the file."""
    before = (TEXT + last).replace("\n", end).encode()
    made = appended(before, [Entry("droid"), Entry("client-file", "~/a", "text")])
    assert made.startswith(before)
    assert made.endswith(end.encode())
    added = made[len(before) :].decode()
    assert added.count("\n") == added.count(end)
    assert [place["kind"] for place in tomllib.loads(made.decode())["place"]] == ["sops-file", "droid", "client-file"]


def test_a_client_is_added_once_and_finds_its_files_itself(tmp_path: Path) -> None:
    """One whose file lies elsewhere is told where."""
    local = replace(DROID, path="/home/you/.factory/settings.local.json", written="~/.factory/settings.local.json")
    other = replace(DROID, path="/x/.factory/settings.json", written="/x/.factory/settings.json", is_known=False)
    found = entries(loaded(tmp_path), Hunted((DROID, local, other, FILE)))
    assert found == (
        Entry("droid"),
        Entry("droid", "/x/.factory/settings.json"),
        Entry("client-file", "~/a.json", "json"),
    )


def test_what_is_shown_of_a_path_cannot_garble_a_terminal() -> None:
    """The entry has it as it is, escaped."""
    odd = replace(FILE, path="/a\ufffd.json", written="/a\x1b]0;x\x07.json")
    assert next(odd.lines("KEY")).startswith("/a\ufffd]0;x\ufffd.json: ")


def test_nothing_is_added_for_what_needs_no_place(tmp_path: Path) -> None:
    """A file that is covered, one that cannot be, a value in a comment, a reference in a file that is no client's."""
    holders = (
        replace(FILE, covered="client-file"),
        replace(FILE, hindrance="its path cannot be written in a playbook"),
        replace(FILE, present=2, former=1, loose=3),
        replace(FILE, present=0, refers=("$NAME",)),
    )
    assert entries(loaded(tmp_path), Hunted(holders)) == ()
    refers = replace(DROID, present=0, refers=("${NAME}",))
    assert entries(loaded(tmp_path), Hunted((refers,))) == (Entry("droid"),)


def test_an_id_that_is_taken_is_not_given_again(tmp_path: Path) -> None:
    """A person may have called another place as this one would be called."""
    text = TEXT + '[[place]]\nkind = "client-file"\nid = "droid"\npath = "~/x.json"\n'
    text += '[[place]]\nkind = "client-file"\nid = "client-file-3"\npath = "~/y.json"\n'
    book = loaded(tmp_path, text)
    wanted = entries(book, Hunted((DROID, FILE)))
    assert [entry.id for entry in wanted] == ["droid-2", "client-file-4"]
    made = loaded(tmp_path, appended(text.encode(), wanted).decode())
    assert made.places[:3] == book.places


def test_a_store_that_is_named_already_is_not_added_again(tmp_path: Path) -> None:
    """What a person must do there stands in the playbook."""
    assert entries(loaded(tmp_path), Hunted((), stores=("zed",))) == (Entry("zed"),)
    text = f'{TEXT}[[place]]\nkind = "zed"\n'
    assert entries(loaded(tmp_path, text), Hunted((), stores=("zed",))) == ()
