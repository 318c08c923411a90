"""From a playbook to the rows of a plan."""

from __future__ import annotations

import pytest

from keyrotor.core import plan
from keyrotor.core.model import Act, Declared
from keyrotor.errors import PlaybookError
from world import KINDS, place, playbook_of

FILE = place("file", "sops-file")
ENV = place("env", "env-file")
UNIT = place("unit", "systemd-unit")
DOOR = place("door", "litellm")
CLIENT = place("one", "client-file")
COMMAND = place("hook", "command")


def ids(*places: Declared) -> list[str]:
    return [row.id for row in plan.rows(playbook_of(*places))]


def test_the_door_admits_where_it_is_written_and_refuses_last() -> None:
    """One door in the playbook is two rows in the plan: new clients wait for the one, the other waits for them."""
    rows = plan.rows(playbook_of(*(place(*pair) for pair in KINDS.items())))
    assert [(row.id, row.act) for row in rows] == [
        ("file", Act.FILE),
        ("env", Act.FILE),
        ("unit", Act.RESTART),
        ("door:accepts", Act.ADMIT),
        ("one", Act.FILE),
        ("two", Act.FILE),
        ("door:refuses", Act.RETIRE),
    ]


def test_several_doors_refuse_in_the_order_in_which_they_are_written() -> None:
    """Every door is proven twice, and all refusals come after all else."""
    assert ids(FILE, ENV, UNIT, DOOR, CLIENT, place("side", "litellm"), COMMAND)[3:] == [
        *("door:accepts", "one", "side:accepts", "hook"),
        *("door:refuses", "side:refuses"),
    ]


def test_a_row_carries_what_its_place_was_declared_with() -> None:
    """Label, time, options and optional travel from the playbook into the plan."""
    declared = Declared("one", "client-file", "~/c.json", 7.5, optional=True, options={"path": "/home/me/c.json"})
    row = plan.rows(playbook_of(FILE, declared))[1]
    assert (row.place, row.kind, row.label, row.within, row.optional, row.options) == (
        *("one", "client-file", "~/c.json"),
        *(7.5, True, {"path": "/home/me/c.json"}),
    )


@pytest.mark.parametrize(
    ("places", "message"),
    [
        ([], "exactly one place of kind sops-file, and has 0"),
        ([ENV], "exactly one place of kind sops-file, and has 0"),
        ([FILE, place("again", "sops-file")], "exactly one place of kind sops-file, and has 2"),
        ([ENV, FILE], "place env stands before sops-file"),
        ([FILE, CLIENT, place("one", "env-file")], "two places have the id one"),
        ([FILE, ENV, DOOR, UNIT], "place door proves a key before any systemd-unit or command has taken it up"),
        ([FILE, ENV, DOOR], "place door proves a key before any"),
        ([FILE, UNIT, ENV], "place env stands after unit, which reads it when it starts"),
        (
            [FILE, UNIT, place("door", "litellm", unit="other")],
            "unit = 'other' is not the id of a place above; those are: unit",
        ),
        ([FILE, place("door", "litellm", unit="unit"), UNIT], "place door proves a key before any"),
    ],
)
def test_an_order_that_cannot_work_is_an_error_that_names_the_place(places: list[Declared], message: str) -> None:
    """The author of the playbook learns the file, the place and what is wrong before anything is touched."""
    with pytest.raises(PlaybookError, match=message) as caught:
        plan.rows(playbook_of(*places))
    assert str(caught.value).startswith("cannot use /lab/litellm.toml: ")


@pytest.mark.parametrize(
    "places",
    [
        [FILE],
        [FILE, CLIENT],
        [FILE, COMMAND, DOOR],
        [FILE, CLIENT, ENV, UNIT, DOOR],
        [FILE, ENV, UNIT, COMMAND, DOOR, CLIENT],
    ],
)
def test_an_order_that_can_work_is_taken(places: list[Declared]) -> None:
    """Only what cannot work is refused."""
    assert ids(*places)[0] == "file"


def test_the_unit_behind_a_door_is_the_nearest_above_unless_one_is_named() -> None:
    """A door is answered by the unit above it, and by a named one if it is named; never by one below."""

    def behind(*places: Declared) -> str:
        rows = plan.rows(playbook_of(*places))
        found = plan.unit_of(rows, next(row for row in rows if row.act is Act.ADMIT))
        return found.id if found else ""

    first, below = place("first", "systemd-unit"), place("below", "systemd-unit")
    assert behind(FILE, first, UNIT, DOOR, below) == "unit"
    assert behind(FILE, first, UNIT, place("door", "litellm", unit="first"), below) == "first"
    assert behind(FILE, first, COMMAND, DOOR) == "first"
    assert behind(FILE, first, COMMAND, place("door", "litellm", unit="hook")) == "hook"
    assert behind(FILE, COMMAND, DOOR) == ""
