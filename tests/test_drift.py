"""What a repair may bring back, by the lineage of a key: never a former value unasked, never a leaked one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import pytest

from keyrotor import drift
from keyrotor.boundary.plaintext import are_same, is_key_like, unseal
from keyrotor.core.lineage import Lineage
from keyrotor.core.model import Act, Row, Source
from keyrotor.errors import RefusedError
from keyrotor.ports import Place, World
from keyrotor.secret import Secret

SOURCE = Source("/lab/global.enc.env", "KEY", "", "/lab")
KNOWN = Lineage(
    "sk-…now", "r3", {"sk-…old": "r2", "sk-…leak": "r3"}, {"sk-…either": "r1"}, frozenset({"sk-…leak", "sk-…popped"})
)


class Printing:
    """As much of a world as this needs: a value's fingerprint is the value."""

    def known_fingerprinter(self) -> object:
        return "k", lambda secret: f"sk-…{unseal(secret).decode()}"

    def are_same(self, one: Secret, other: Secret) -> bool:
        return are_same(one, other)

    def is_key_like(self, secret: Secret) -> bool:
        return is_key_like(secret)

    def decoy(self) -> Secret:
        return Secret(b"decoy")


@dataclass
class Showing:
    """As much of a place."""

    values: Sequence[str]

    def shows(self) -> list[Secret]:
        return [Secret(value.encode()) for value in self.values]


def want(value: str, accepted: str = "", *, is_left: bool | None = False, known: Lineage = KNOWN) -> None:
    world, secret = cast("World", Printing()), Secret(value.encode())
    drift.want_present(world, SOURCE, secret, known, accepted, "book", is_left=is_left)


@pytest.mark.parametrize("value", ["now", "byhand"])
def test_a_value_that_is_not_former_may_be_put(value: str) -> None:
    """The present one, or one that nobody has seen before."""
    want(value)


def test_a_file_that_is_as_the_last_run_left_it_needs_no_fingerprint() -> None:
    """Byte for byte: then it holds the present value."""
    want("now", is_left=True, known=Lineage(is_partial=True))


@pytest.mark.parametrize("known", [Lineage(is_partial=True), Lineage("sk-…now", "r3", is_partial=True)])
def test_what_cannot_be_compared_is_not_put_unasked(known: Lineage) -> None:
    """The fingerprint key was lost: a former value would not be recognised. A word of one's own lets it pass."""
    with pytest.raises(RefusedError, match="cannot be told"):
        want("byhand", known=known)
    want("byhand", "unknown", known=known)
    if known.present:
        want("now", known=known)


def test_a_value_of_an_abandoned_run_is_put_when_it_is_named() -> None:
    """Nobody has proven which of the two is dead."""
    with pytest.raises(RefusedError, match="abandoned"):
        want("either")
    want("either", "either")


@pytest.mark.parametrize("accepted", ["sk-…old", "old"])
def test_a_former_value_may_be_put_when_it_is_named(accepted: str) -> None:
    """By its whole fingerprint, or by the part that can be typed."""
    with pytest.raises(RefusedError, match="former value"):
        want("old")
    want("old", accepted)


@pytest.mark.parametrize("accepted", ["", "leak", "sk-…leak"])
def test_a_leaked_value_is_never_put_again(accepted: str) -> None:
    """An incident has replaced it; naming it changes nothing."""
    with pytest.raises(RefusedError, match="leaked"):
        want("leak", accepted)
    with pytest.raises(RefusedError, match="leaked"):
        want("popped", accepted)


@pytest.mark.parametrize(("value", "accepted"), [("old", "leak"), ("now", "old"), ("byhand", "byhand")])
def test_accepting_another_value_than_stands_there_is_refused(value: str, accepted: str) -> None:
    """What is typed must be what is meant."""
    with pytest.raises(RefusedError):
        want(value, accepted)


FOREIGN = "sk-proj-of-somebody-else"


@pytest.mark.parametrize(
    ("kind", "options", "shown", "hunted", "by_name"),
    [
        ("env-file", {}, FOREIGN, [FOREIGN], []),
        ("client-file", {"at": ["key"]}, FOREIGN, [], [FOREIGN]),
        ("client-file", {"at": ["key"]}, "short", [], ["short"]),
        ("client-file", {"at": ["key"]}, "old", ["old"], []),
        ("client-file", {}, FOREIGN, [], []),
        ("client-file", {}, "old", ["old"], []),
        ("droid", {"at": ["key"]}, FOREIGN, [], []),
    ],
)
def test_what_stands_in_a_clients_file_is_hunted_for_as_a_former_value_only(
    kind: str, options: dict[str, object], shown: str, hunted: list[str], by_name: list[str]
) -> None:
    """What is hunted for is replaced in every file; what stands where our key belongs may be somebody's elsewhere."""
    row = Row(id="a", place="a", kind=kind, act=Act.FILE, label="a", within=1, optional=False, options=options)
    world, places = cast("World", Printing()), {"a": cast("Place", Showing([shown]))}
    pair, has_old = drift.pair_of(world, [row], places, Secret(b"now"), {}, KNOWN)
    found = [*([pair.old] if has_old else []), *pair.stale]
    assert [unseal(secret).decode() for secret in found] == hunted
    assert [unseal(secret).decode() for secret in pair.by_name] == by_name
