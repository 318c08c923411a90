"""Preflight on places that are no more than answers: what is kept, skipped and refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from keyrotor import preflight
from keyrotor.core.model import Declared, Holds, Playbook, Row, Source, Value
from keyrotor.errors import RefusedError
from keyrotor.ports import Place, World
from keyrotor.secret import Pair, Secret

SOURCE = Source("/lab/global.enc.env", "KEY", "", "/lab")
KINDS = {"file": "sops-file", "unit": "systemd-unit", "door": "litellm", "client": "client-file"}


class Answer:
    """A place that says what it was told to say, and keeps what it was asked with."""

    def __init__(self, holds: Holds = Holds.OLD, reasons: Sequence[str] = ()) -> None:
        self.answer, self.reasons, self.shown = holds, list(reasons), list[Secret]()

    def check(self, pair: Pair) -> list[str]:
        return self.reasons

    def holds(self, pair: Pair) -> Holds:
        self.shown.append(pair.new)
        return self.answer

    def put(self, goal: Value, pair: Pair) -> str:
        raise AssertionError("preflight puts nothing")


class Looking:
    """As much of a world as preflight needs."""

    def __init__(self, **answers: Answer) -> None:
        self.answers = {name: answers.get(name, Answer()) for name in KINDS}
        self.told: dict[str, str] = {}
        self.state, self.screen, self.the_decoy = Path("/state"), self, Secret(b"decoy")

    def preflight(self, *_: object) -> None: ...

    def skipped(self, row: Row, why: str) -> None:
        self.told[row.id] = why

    def read_secret(self, _: Source) -> tuple[bytes, dict[str, Secret]]:
        return b"", {"KEY": Secret(b"old"), "OTHER": Secret(b"other")}

    def decoy(self) -> Secret:
        return self.the_decoy

    def record_refusals(self) -> list[str]:
        return []

    def places(self, rows: Sequence[Row], *_: Any) -> Mapping[str, Place]:
        return {row.id: self.answers[row.place] for row in rows}

    def check(self, given: Secret | None = None, optional: Sequence[str] = (), incident: str = "") -> preflight.Ready:
        declared = (
            Declared(name, kind, f"the {name}", 1.0, name in optional, {"unit": ""}) for name, kind in KINDS.items()
        )
        book = Playbook("book", "book.toml", SOURCE, "month", 1.0, {}, tuple(declared))
        return preflight.check(cast("World", self), book, given, incident=incident)


def test_a_world_that_is_well_keeps_every_row() -> None:
    """Nothing skipped, and the door's two rows where the plan has them."""
    ready = Looking().check()
    assert [row.id for row in ready.rows] == ["file", "unit", "door:accepts", "client", "door:refuses"]
    assert ready.skipped == {}


@pytest.mark.parametrize("name", ["unit", "door"])
def test_only_a_file_can_be_absent(name: str) -> None:
    """A unit or a door that does not do what it should is a reason to stop, `optional` or not."""
    with pytest.raises(RefusedError):
        Looking(**{name: Answer(Holds.NEITHER)}).check(optional=[name])


def test_a_door_that_fails_its_check_is_shown_no_key() -> None:
    """Another process may have the port."""
    door = Answer(reasons=["cannot use it: another process has the port"])
    with pytest.raises(RefusedError, match="another process"):
        Looking(door=door).check()
    assert door.shown == []


def test_only_files_are_looked_through_for_a_given_value() -> None:
    """The real value is not shown to a door before the run is opened; a file that holds it already is refused."""
    given = Secret(b"given")
    world = Looking()
    world.check(given)
    assert world.answers["client"].shown == [given]
    assert world.answers["door"].shown == [world.the_decoy]
    with pytest.raises(RefusedError, match="stands there already"):
        Looking(client=Answer(Holds.BOTH)).check(given)


@pytest.mark.parametrize(("can_be_read", "why"), [(True, "has another key, or none"), (False, "absent")])
def test_an_optional_client_is_skipped_and_told_why(can_be_read: bool, why: str) -> None:
    """A client on a third key is worth knowing; one that is not there is not."""
    world = Looking(client=Answer(Holds.NEITHER, [] if can_be_read else ["cannot read it"]))
    assert world.check(optional=["client"]).skipped == {"client": why}
    assert world.told == {"client": why}


def test_a_reference_is_skipped_and_told() -> None:
    """It follows the variable; there is nothing to put."""
    ready = Looking(client=Answer(Holds.REFERS)).check()
    assert "refers to KEY" in ready.skipped["client"]


@pytest.mark.parametrize("holds", [Holds.NEITHER, Holds.NEW, Holds.BOTH, Holds.UNKNOWN])
@pytest.mark.parametrize("name", ["file", "client", "door"])
def test_a_place_that_does_not_hold_the_old_value_refuses(name: str, holds: Holds) -> None:
    """Else a rollback would bring it to where it never was."""
    with pytest.raises(RefusedError):
        Looking(**{name: Answer(holds)}).check()


def test_in_an_incident_no_hint_puts_the_leaked_key_back() -> None:
    """A repair puts the present value everywhere, and that is the leaked one; on any other day it is what mends it."""
    world = Looking(file=Answer(Holds.NEITHER))
    for incident, hint in (("", "keyrotor repair book"), ("inc-1", "keyrotor incident resume inc-1  (")):
        with pytest.raises(RefusedError) as refused:
            world.check(incident=incident)
        assert refused.value.hint.startswith(hint)


class OneWay(Answer):
    """A client's file in which the old value could not be written again."""

    def check(self, pair: Pair) -> list[str]:
        return [] if pair.is_leaked else ["it must be quoted to be put back"]


def test_what_cannot_be_put_back_is_known_from_the_beginning() -> None:
    """An incident begins all the same, and its run knows that it cannot be rolled back."""
    assert Looking().check(incident="inc-1").no_way_back == ""
    ready = Looking(client=OneWay()).check(incident="inc-1")
    assert ready.no_way_back == "the old key would have to be quoted in the client"
    assert (ready.todo, "client" in [row.id for row in ready.rows]) == ({}, True)
    with pytest.raises(RefusedError, match="must be quoted"):
        Looking(client=OneWay()).check()


def test_a_unit_that_cannot_be_observed_is_kept() -> None:
    """Its variable may not be in its environment at all; the door proves it."""
    assert "unit" in [row.id for row in Looking(unit=Answer(Holds.UNKNOWN)).check().rows]


def test_every_reason_is_told_at_once() -> None:
    """Nobody likes to mend one thing only to be told the next."""
    with pytest.raises(RefusedError, match="2 reasons") as refused:
        Looking(unit=Answer(reasons=["cannot a"]), client=Answer(reasons=["cannot b"])).check()
    assert "cannot a" in str(refused.value)
    assert "cannot b" in str(refused.value)


def client(*names: str, optional: bool = False, **options: Any) -> Declared:
    """A client of which these files are known."""
    files = [{"name": name, "label": f"~/{name}", "path": f"/home/me/{name}", **options} for name in names]
    return Declared("droid", "droid", "DROID", 1.0, optional, {"files": files})


class Clients(Looking):
    """The same world, where the client is one whose files are known."""

    def places(self, rows: Sequence[Row], *_: Any) -> Mapping[str, Place]:
        return {row.id: self.answers.get(row.id) or self.answers.get(row.place) or Answer() for row in rows}

    def look(self, declared: Declared) -> preflight.Ready:
        places = [Declared(name, kind, f"the {name}", 1.0, False, {"unit": ""}) for name, kind in KINDS.items()]
        book = Playbook("book", "book.toml", SOURCE, "month", 1.0, {}, (*places[:-1], declared))
        return preflight.check(cast("World", self), book)

    def answering(self, **answers: Answer) -> Clients:
        self.answers |= {f"droid:{name}": answer for name, answer in answers.items()}
        return self


def test_files_that_a_client_may_have_are_left_out_without_a_word() -> None:
    """Absent, or with nothing of ours: neither told nor kept on record; the one with the key is rotated."""
    world = Clients().answering(
        absent=Answer(Holds.NEITHER, ["cannot read it"]), other=Answer(Holds.NEITHER), mine=Answer()
    )
    ready = world.look(client("absent", "mine", "other"))
    assert [row.id for row in ready.rows if row.place == "droid"] == ["droid:mine"]
    assert (ready.skipped, world.told, ready.todo) == ({}, {}, {})


def test_a_client_with_nothing_of_ours_in_any_file_is_refused() -> None:
    """The author has said that it has the key; where it was looked for is told."""
    world = Clients().answering(a=Answer(Holds.NEITHER), b=Answer(Holds.NEITHER, ["cannot read it"]))
    with pytest.raises(RefusedError) as refused:
        world.look(client("a", "b"))
    said = "none of its files holds the present value, or refers to it (looked at: ~/a, ~/b)"
    assert str(refused.value) == f"cannot rotate droid: {said}"
    assert world.look(client("a", "b", optional=True)).skipped == {}


def test_a_client_whose_files_another_place_has_may_have_none_itself() -> None:
    """What the playbook names twice is put once."""
    world = Clients().answering(a=Answer(Holds.NEITHER))
    shared = client("a")
    assert world.look(replace(shared, options={**shared.options, "shares": True})).skipped == {}


class Refers(Answer):
    """A client's file that refers to the key, in a way that works or does not."""

    def __init__(self, *, follows: bool = False, broken: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(Holds.REFERS)
        self.does, self.ill = follows, broken

    def follows(self) -> bool:
        return self.does

    def broken(self, _: Pair) -> Sequence[tuple[str, str]]:
        return self.ill


def test_what_asks_us_is_left_to_nobody_and_what_is_broken_is_to_be_healed() -> None:
    """Neither is told to be restarted: that would help neither."""
    told = {"todo_referring": "restart every droid"}
    world = Clients().answering(a=Refers(follows=True), b=Refers(broken=[("x[0].key", "env:NAME")]), c=Refers())
    ready = world.look(client("a", "b", "c", **told))
    why = "its x[0].key is env:KEY, which its client sends as it is"
    assert ready.skipped == {
        "droid:a": "refers to KEY, and follows by itself",
        "droid:b": why,
        "droid:c": "refers to KEY; restart what reads it",
    }
    assert ready.todo == {
        "droid:b": f"keyrotor repair book --heal  (~/b: {why})",
        "droid:c": "restart every droid",
    }


def test_a_file_that_may_be_there_and_cannot_be_put_is_refused_like_any_other() -> None:
    """It has the key."""
    world = Clients().answering(a=Answer(Holds.OLD, ["cannot write it"]), b=Answer())
    with pytest.raises(RefusedError, match="cannot write it"):
        world.look(client("a", "b"))


@pytest.mark.parametrize(
    ("known", "todo"),
    [
        ({"todo_referring": "restart every droid"}, "restart every droid"),
        ({"todo_referring": ""}, None),
        ({}, "restart what reads ~/a: it refers to KEY"),
    ],
)
def test_what_refers_is_told_with_what_is_left_to_do(known: dict[str, str], todo: str | None) -> None:
    """Each file for itself: as the catalogue says, or where nothing is known by its name."""
    world = Clients().answering(a=Answer(Holds.REFERS), b=Answer())
    ready = world.look(client("a", "b", **known))
    assert ready.skipped == world.told == {"droid:a": "refers to KEY; restart what reads it"}
    assert ready.todo == ({"droid:a": todo} if todo else {})
