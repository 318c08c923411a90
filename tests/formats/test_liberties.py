"""Where a JSON file takes a liberty that its strict readers do not forgive."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyrotor.formats import liberties

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda one: st.lists(one) | st.dictionaries(st.text(), one)
)


@pytest.mark.parametrize(
    ("data", "taken"),
    [
        (b'{"a": "// [1,], /* */", "b": [","]}', {}),
        (b'\xef\xbb\xbf{"a": 1}', {"byte order mark": 1}),
        (b'{\n"a": [1, 2,\n],\n// x,\n}', {"trailing comma": 2, "comment": 4}),
        (b'{"a": 1, /* over\ntwo lines */ }', {"comment": 1, "trailing comma": 1}),
        (b'{"a": "\\",]",\n "b": 1}', {}),
    ],
)
def test_each_liberty_is_told_with_its_first_line(data: bytes, taken: dict[str, int]) -> None:
    """Never for what stands in a string."""
    assert liberties.found(data) == taken


@given(PLAIN)
def test_strict_json_takes_none(value: object) -> None:
    """Whatever it says."""
    assert liberties.found(json.dumps(value, indent=1).encode()) == {}
