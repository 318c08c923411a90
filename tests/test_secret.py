"""A value that nobody sees."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import pprint
import traceback
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from keyrotor.boundary.plaintext import are_same, unseal
from keyrotor.core.model import Value
from keyrotor.secret import Pair, Secret

VALUE = b"sk-marker-4f7c"
MARK = "marker"

SHOWN: dict[str, Callable[[Any], str]] = {
    "str": str,
    "repr": repr,
    "ascii": ascii,
    "format": format,
    "f-string": lambda it: f"{it}",
    "f-string with a width": lambda it: f"{it!s:>40}",
    "f-string with !r": lambda it: f"{it!r}",
    "%s": lambda it: "%s" % (it,),  # noqa: UP031  (a way of showing that is tried here)
    "%r": lambda it: "%r" % (it,),  # noqa: UP031  (a way of showing that is tried here)
    "str.format": "{}".format,
    "in a list": lambda it: str([it]),
    "in a dict": lambda it: str({"key": it}),
    "pprint": pprint.pformat,
    "in an exception": lambda it: repr(ValueError(it)) + str(ValueError(it)),
    "in a traceback": lambda it: "".join(traceback.format_exception(ValueError(it))),
    "dir": lambda it: repr(dir(it)),
}
REFUSED: dict[str, Callable[[Any], object]] = {
    "pickle": pickle.dumps,
    "pickle, oldest": lambda it: pickle.dumps(it, 0),
    "json": json.dumps,
    "json by str": lambda it: json.dumps(it, default=vars),
    "msgspec": msgspec.json.encode,
    "msgpack": msgspec.msgpack.encode,
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "asdict": lambda it: dataclasses.asdict(Pair(it, it)),
    "astuple": lambda it: dataclasses.astuple(Pair(it, it)),
    "==": lambda it: it == Secret(VALUE),
    "!=": lambda it: it != Secret(VALUE),
    "== bytes": lambda it: it == VALUE,
    "bytes ==": lambda it: it == VALUE,
    "<": lambda it: it < Secret(VALUE),
    ">=": lambda it: it >= Secret(VALUE),
    "in": lambda it: it in [Secret(VALUE)],
    "hash": hash,
    "set": lambda it: {it},
    "bool": bool,
    "not": lambda it: not it,
    "len": len,
    "iter": lambda it: list(it),  # noqa: PLW0108  (reads like its neighbours)
    "bytes": bytes,
    "bytearray": bytearray,
    "memoryview": memoryview,
    "int": int,
    "index": lambda it: it[0],
    "slice": lambda it: it[:3],
    "+": lambda it: it + b"",
    "%b": lambda it: b"%b" % (it,),
    "vars": vars,
    "join": lambda it: b"".join([it]),
    "getstate": lambda it: it.__getstate__(),
    "reduce": lambda it: it.__reduce__(),
}


def pair_of(value: bytes) -> Pair:
    return Pair(Secret(value), Secret(value), {"OTHER": Secret(value)})


@pytest.mark.parametrize("way", SHOWN)
@pytest.mark.parametrize("made", [Secret, pair_of])
def test_no_way_of_showing_shows_the_value(made: Callable[[bytes], object], way: str) -> None:
    """Whatever turns things into text turns a Secret, and a pair of them, into a word that says nothing."""
    shown = SHOWN[way](made(VALUE))
    assert MARK not in shown
    assert "Secret(…)" in shown or way in ("ascii", "dir")


@pytest.mark.parametrize("way", REFUSED)
def test_no_way_of_copying_comparing_or_measuring_works(way: str) -> None:
    """Nothing serialises, copies, compares, hashes or measures a Secret, and the refusal does not show it either."""
    with pytest.raises(TypeError) as caught:
        REFUSED[way](Secret(VALUE))
    assert MARK not in str(caught.value)


def test_a_traceback_that_shows_local_variables_does_not_show_the_value() -> None:
    """A crash report with every local variable in it carries Secrets as words."""

    def crash(secret: Secret, pair: Pair) -> None:
        raise RuntimeError("a bug of ours")

    try:
        crash(Secret(VALUE), Pair(Secret(VALUE), Secret(VALUE), {"OTHER": Secret(VALUE)}))
    except RuntimeError as error:
        report = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert "secret = Secret(…)" in report
    assert MARK not in report


def test_a_pair_gives_the_value_that_a_run_moves_towards() -> None:
    """`old` and `new` are looked up by the two words of a run."""
    pair = Pair(Secret(b"former"), Secret(b"present"))
    assert unseal(pair[Value.OLD]) == b"former"
    assert unseal(pair[Value.NEW]) == b"present"


def test_a_pair_is_not_compared_either() -> None:
    """Comparing two pairs would compare their secrets."""
    with pytest.raises(TypeError):
        assert Pair(Secret(VALUE), Secret(VALUE)) == Pair(Secret(VALUE), Secret(VALUE))


@pytest.mark.parametrize(("other", "is_same"), [(VALUE, True), (b"another", False), (b"", False)])
def test_the_boundary_alone_compares(other: bytes, is_same: bool) -> None:
    """Whether two Secrets are the same is answered where they may be unsealed."""
    assert are_same(Secret(VALUE), Secret(other)) is is_same


def test_a_format_of_its_own_does_not_show_the_value_either() -> None:
    """A width or a type in a format string changes nothing."""
    assert [f"{Secret(VALUE):>40}", f"{Secret(VALUE):x}", f"{Secret(VALUE):s}"] == ["Secret(…)"] * 3


def test_nothing_can_be_hung_on_a_secret() -> None:
    """It has no room for more than its value, so that nothing is kept beside it."""
    with pytest.raises(AttributeError):
        Secret(VALUE).plain = VALUE  # type: ignore[attr-defined]
