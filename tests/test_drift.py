"""What a repair may bring back, by the lineage of a key: never a former value unasked, never a leaked one."""

from __future__ import annotations

from typing import cast

import pytest

from keyrotor import drift
from keyrotor.boundary.plaintext import unseal
from keyrotor.core.lineage import Lineage
from keyrotor.core.model import Source
from keyrotor.errors import RefusedError
from keyrotor.ports import World
from keyrotor.secret import Secret

SOURCE = Source("/lab/global.enc.env", "KEY", "", "/lab")
KNOWN = Lineage("sk-…now", "r3", {"sk-…old": "r2", "sk-…leak": "r3"}, frozenset({"sk-…leak"}))


class Printing:
    """As much of a world as this needs: a value's fingerprint is the value."""

    def known_fingerprinter(self) -> object:
        return "k", lambda secret: f"sk-…{unseal(secret).decode()}"


def want(value: str, accepted: str = "") -> None:
    drift.want_present(cast("World", Printing()), SOURCE, Secret(value.encode()), KNOWN, accepted, "book")


@pytest.mark.parametrize("value", ["now", "byhand"])
def test_a_value_that_is_not_former_may_be_put(value: str) -> None:
    """The present one, or one that nobody has seen before."""
    want(value)


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


@pytest.mark.parametrize(("value", "accepted"), [("old", "leak"), ("now", "old"), ("byhand", "byhand")])
def test_accepting_another_value_than_stands_there_is_refused(value: str, accepted: str) -> None:
    """What is typed must be what is meant."""
    with pytest.raises(RefusedError):
        want(value, accepted)
