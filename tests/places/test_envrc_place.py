"""direnv's `.envrc` as a place: what refers, what is refused, and that nothing is ever written."""

from __future__ import annotations

from pathlib import Path

import pytest

from keyrotor.boundary.plaintext import unseal
from keyrotor.core.model import Holds, Value
from keyrotor.errors import PlaceError
from keyrotor.places.direnv import Direnv
from keyrotor.secret import Pair
from places.contract import tree
from places.sealed import KEY


@pytest.fixture
def place(tmp_path: Path) -> Direnv:
    (tmp_path / "home").mkdir()
    (tmp_path / "project").mkdir()
    ours = (tmp_path / "home" / "li te.env", tmp_path / "project" / ".env")
    return Direnv(tmp_path / "project" / ".envrc", KEY, ours, {"HOME": str(tmp_path / "home")})


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ('dotenv "$HOME/li te.env"', Holds.REFERS),
        ("dotenv_if_exists ~/li\\ te.env", Holds.REFERS),
        ("dotenv", Holds.REFERS),
        ("dotenv  # the project's", Holds.REFERS),
        ("dotenv .env", Holds.REFERS),
        ("dotenv .", Holds.REFERS),
        ("source_env ../home/'li te.env'", Holds.REFERS),
        (f"export {KEY}=$(keyrotor print-key)", Holds.REFERS),
        (f'export {KEY}="$OTHER"', Holds.REFERS),
        ("export OPENAI_API_KEY=$(keyrotor print-key)", Holds.REFERS),
        (f"export OPENAI_API_KEY=${KEY}", Holds.REFERS),
        ('eval "$(keyrotor env --print)"', Holds.REFERS),
        ("dotenv /another.env", Holds.NEITHER),
        ("# dotenv .env", Holds.NEITHER),
        (f"export {KEY}=sk-of-nobody", Holds.NEITHER),
        ("layout python", Holds.NEITHER),
        ("", Holds.NEITHER),
        (f"export {KEY}=OLD", Holds.OLD),
        (f"dotenv .env\nexport {KEY}='OLD'", Holds.OLD),
        (f"export {KEY}=OLDx", Holds.NEITHER),
        (f"export {KEY}=NEW", Holds.NEW),
        (f"export {KEY}=OLD A=NEW", Holds.BOTH),
    ],
)
def test_what_it_loads_refers_and_what_it_exports_does_not(place: Direnv, pair: Pair, text: str, holds: Holds) -> None:
    """A literal counts before a reference; a longer word is another key; nothing is written by any look."""
    old, new = (unseal(pair[value]).decode() for value in (Value.OLD, Value.NEW))
    place.path.write_text(text.replace("OLD", old).replace("NEW", new) + "\n")
    before = tree(place.path.parent)
    assert place.holds(pair) is holds
    reasons = place.check(pair)
    assert bool(reasons) is (holds in (Holds.OLD, Holds.BOTH))
    assert not any(old in why for why in reasons)
    if holds is Holds.NEW:
        place.put(Value.NEW, pair)
    else:
        with pytest.raises(PlaceError, match="direnv would block it"):
            place.put(Value.NEW, pair)
    assert tree(place.path.parent) == before


def test_a_literal_is_refused_with_what_to_put_in_its_stead(place: Direnv, pair: Pair) -> None:
    """The line to type, quoted as a shell needs it."""
    place.path.write_bytes(b"export X=%b\n" % unseal(pair.old))
    (why,) = place.check(pair)
    assert f"put `dotenv '{place.env_files[0]}'` there in the stead of the key, then: direnv allow" in why


def test_one_that_is_not_there_holds_nothing(place: Direnv, pair: Pair) -> None:
    """And is told as any file is."""
    assert place.holds(pair) is Holds.NEITHER
    assert place.check(pair) == [f"cannot read {place.path}: no such file or directory"]
    place.path.mkdir()
    assert place.holds(pair) is Holds.UNKNOWN


@pytest.mark.parametrize(
    ("text", "is_read_again"),
    [
        ("dotenv .env", True),
        ("dotenv", True),
        ("source_env '../home/li te.env'", True),
        ("watch_file .env\n. ./.env", True),
        (f"dotenv .env\nexport {KEY}=$(keyrotor print-key)", True),
        (". ./.env", False),
        ("source ./.env", False),
        (f"export {KEY}=$(keyrotor print-key)", False),
        ('eval "$(keyrotor env --print)"', False),
        ("dotenv /another.env\n. ./.env", False),
    ],
)
def test_what_direnv_does_not_watch_is_left_to_do(place: Direnv, text: str, is_read_again: bool) -> None:
    """A shell that is open there keeps the old key."""
    place.path.write_text(text + "\n")
    assert place.follows() is is_read_again


def test_nothing_else_is_left_to_do(place: Direnv, pair: Pair) -> None:
    """It is never put."""
    place.prepare(Value.NEW, pair)
    assert (place.after(Value.NEW, pair), place.changes(pair), place.shows()) == ("", [], [])
    assert place.inputs() == [place.path]
