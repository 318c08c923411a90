"""Preflight on places that are no more than answers: what is kept, skipped and refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

    def check(self, given: Secret | None = None, optional: Sequence[str] = ()) -> preflight.Ready:
        declared = (
            Declared(name, kind, f"the {name}", 1.0, name in optional, {"unit": ""}) for name, kind in KINDS.items()
        )
        book = Playbook("book", "book.toml", SOURCE, "month", 1.0, {}, tuple(declared))
        return preflight.check(cast("World", self), book, given)


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


def test_a_unit_that_cannot_be_observed_is_kept() -> None:
    """Its variable may not be in its environment at all; the door proves it."""
    assert "unit" in [row.id for row in Looking(unit=Answer(Holds.UNKNOWN)).check().rows]


def test_every_reason_is_told_at_once() -> None:
    """Nobody likes to mend one thing only to be told the next."""
    with pytest.raises(RefusedError, match="2 reasons") as refused:
        Looking(unit=Answer(reasons=["cannot a"]), client=Answer(reasons=["cannot b"])).check()
    assert "cannot a" in str(refused.value)
    assert "cannot b" in str(refused.value)
