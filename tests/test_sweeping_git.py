"""The objects of a repository as git streams them: none is missed, wherever a block ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyrotor.boundary.forms import forms
from keyrotor.boundary.process import Done
from keyrotor.errors import PlaceError
from keyrotor.secret import Secret
from keyrotor.sweeping.finder import Finder
from keyrotor.sweeping.git_objects import Objects

VALUE = b"sk-" + b"no-key-of-anybody" * 2
FINDER = Finder({"it": forms(Secret(VALUE))})


class Told:
    """A git that prints what it is told to, in blocks of this size: where blocks end cannot be had of the real one."""

    def __init__(self, data: bytes, block: int) -> None:
        self._data, self._block = data, block
        self.done: Done | None = Done(0, b"", b"")

    @contextmanager
    def streaming(self, *_: object, **__: object) -> Iterator[Told]:
        yield self

    def blocks(self) -> Iterator[memoryview]:
        for at in range(0, len(self._data), self._block):
            yield memoryview(self._data)[at : at + self._block]


def printed(objects: list[tuple[str, bytes]]) -> bytes:
    return b"".join(
        b"%040x %b %d\n%b\n" % (at, kind.encode(), len(data), data) for at, (kind, data) in enumerate(objects)
    )


def suspects(data: bytes, block: int) -> set[int]:
    objects = Objects(Told(data, block), {}, Path("/"))  # type: ignore[arg-type]
    return {int(name, 16) for name in objects.suspects(FINDER, lambda _: None)}


contents = st.one_of(
    st.binary(max_size=2000),
    st.tuples(st.integers(0, 3000), st.integers(0, 3000)).map(lambda sizes: b"x" * sizes[0] + VALUE + b"\n" * sizes[1]),
    st.just(b""),
)


@given(st.lists(st.tuples(st.sampled_from(("blob", "tree", "commit", "tag")), contents), max_size=12), st.data())
def test_whatever_holds_the_value_is_suspected(objects: list[tuple[str, bytes]], data: st.DataObject) -> None:
    """Also where it stands at the end of a block, and of whichever size the blocks are."""
    block = data.draw(st.integers(1000, 6000))
    holding = {at for at, (_, content) in enumerate(objects) if VALUE in content}
    found = suspects(printed(objects), block)
    assert holding <= found
    packed = {at for at, (_, content) in enumerate(objects) if content[:1] and not content.startswith(b"x")}
    assert found - holding <= packed, "nothing else but what may be packed"


@pytest.mark.parametrize("cut", [1, 20, 33, 36, 40])
def test_a_value_that_two_blocks_share_is_found(cut: int) -> None:
    """It begins in one and ends in the next."""
    head = len(b"%040x blob 9999\n" % 0)
    content = b"x" * (4096 - head - cut) + VALUE + b"x" * 3000
    assert suspects(printed([("blob", content + b"y" * (9999 - len(content))), ("blob", b"z")]), 4096) == {0}


def test_what_is_no_answer_of_git_is_refused() -> None:
    """It is told, and nothing is made of it."""
    with pytest.raises(PlaceError, match="not understood"):
        suspects(printed([("blob", b"x" * 2000)]) + b"fatal: this is no header\n" + b"x" * 2000, 1000)
