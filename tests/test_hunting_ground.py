"""The ground on which keys are hunted: whoever asks to stop is heard, wherever it is; and what is remembered."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest

from keyrotor.boundary.plaintext import unseal
from keyrotor.errors import InterruptedRun
from keyrotor.looks.hunting_ground import HuntingGround
from keyrotor.looks.mentions import Sought


def asked_at(step: int) -> HuntingGround:
    """A ground on which somebody asks to stop when it is asked so often."""
    asked = count(1)

    def raise_if_asked() -> None:
        if next(asked) == step:
            raise InterruptedRun("SIGINT")

    return HuntingGround([], raise_if_asked)


@pytest.mark.parametrize("kind", ["folders", "files"])
def test_a_stop_is_heard_where_nothing_is_found(tmp_path: Path, kind: str) -> None:
    """A tree of nothing but empty folders, and one of nothing but binary files, give nobody a turn."""
    for at in range(5):
        if kind == "folders":
            (tmp_path / str(at)).mkdir()
        else:
            (tmp_path / str(at)).write_bytes(b"\0")
    with pytest.raises(InterruptedRun):
        list(asked_at(4).below(tmp_path))
    assert list(asked_at(99).below(tmp_path)) == []


def test_what_is_no_former_key_is_not_remembered() -> None:
    """A home has millions of words."""
    former = b"sk-a-former-key-of-this-test-0123456789"
    sought = Sought("KEY", None, {}, lambda secret: "mark" if unseal(secret) == former else "", [])
    text = b" ".join(b"word-number-%d-of-many-0123456789abcdef" % at for at in range(100))
    sought.said_by(text + b" " + former, "text", {})
    assert sought._known == {former}
