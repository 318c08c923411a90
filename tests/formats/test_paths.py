"""Paths and patterns: which leaves are a client's key, and for which gateway."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyrotor.formats import json, yaml
from keyrotor.formats.paths import chosen, is_pattern, step

HERE = ["http://127.0.0.1:4000"]


def picked(data: bytes, at: str, beside: str = "", gateways: list[str] = HERE) -> list[str]:
    return [leaf.path for leaf in chosen(json.read(data), at.split("; "), beside, gateways)]


@pytest.mark.parametrize(
    ("at", "paths"),
    [
        ("a.b", ["a.b"]),
        ("a.*", ["a.b", 'a["c d"]']),
        ("*.b", ["a.b"]),
        ('a["c d"]', ['a["c d"]']),
        ('["a"].b', ["a.b"]),
        ('a["*"]', []),
        ("l[*].k", ["l[0].k", "l[1].k"]),
        ("l[1].k", ["l[1].k"]),
        ("l.*.k", []),
        ("a[*]", []),
        ("*", ["s"]),
        ("*.*", ["a.b", 'a["c d"]']),
        ("l[*]", []),
        ("a.b; s", ["a.b", "s"]),
        ("A.b", []),
        ("a", []),
        ("é", []),
        ("not(a pattern", []),
    ],
)
def test_a_pattern_picks_leaves_of_its_own_depth(at: str, paths: list[str]) -> None:
    """`*` is any name, `[*]` any place in a list, quotes make every character a plain one."""
    data = b'{"a": {"b": 1, "c d": 2}, "l": [{"k": 3}, {"k": 4}], "s": "x"}'
    assert picked(data, at) == paths


def test_a_document_of_one_value_has_a_pattern() -> None:
    """Its path is the dollar."""
    assert picked(b'"x"', "$") == ["$"]
    assert picked(b'["x"]', "$") == []


@given(st.text(max_size=6), st.text(max_size=6))
def test_the_path_of_every_leaf_is_a_pattern_of_that_leaf_alone(one: str, other: str) -> None:
    """Whatever its name is made of."""
    data = yaml_of(one, other)
    leaves = json.read(data)
    assert all(is_pattern(leaf.path) for leaf in leaves)
    for leaf in leaves:
        assert chosen(leaves, [leaf.path], "", ()) == tuple(each for each in leaves if each.path == leaf.path)


def yaml_of(one: str, other: str) -> bytes:
    names = [step(one).removeprefix("."), step(other).removeprefix(".")]
    quoted = [name[1:-1] if name.startswith("[") else f'"{name}"' for name in names]
    return f"{{{quoted[0]}: {{{quoted[1]}: 1}}, {quoted[1]}: [2]}}".encode()


@pytest.mark.parametrize("text", ["a", "$", "a.b", "a[0]", "a[*].b", "*.b", '["x y"].z', "[0]", "1.a", "ключ", '[""]'])
def test_a_pattern_is_one(text: str) -> None:
    """Names, places, quoted names, and the two that stand for any."""
    assert is_pattern(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        ".a",
        "a.",
        "a..b",
        "a b",
        "**",
        "a.**",
        "a[",
        "a]",
        "a[x]",
        "[x]b",
        "a[-1]",
        "$.a",
        'a["x]',
        'a["\n"]',
        "line 1",
    ],
)
def test_what_is_no_pattern_is_told(text: str) -> None:
    """A misspelt path must not pass for one that picks nothing."""
    assert not is_pattern(text)


@pytest.mark.parametrize(
    ("url", "is_ours"),
    [
        ("http://127.0.0.1:4000", True),
        ("http://127.0.0.1:4000/v1", True),
        ("http://localhost:4000/v1/", True),
        ("HTTP://LOCALHOST:4000", True),
        ("http://[::1]:4000", True),
        (" http://127.0.0.1:4000 ", True),
        ("https://127.0.0.1:4000", False),
        ("http://127.0.0.1:4001", False),
        ("http://127.0.0.1", False),
        ("http://127.0.0.1:4000@evil.example/", False),
        ("http://127.0.0.1.evil.example:4000", False),
        ("https://api.openai.com/v1", False),
        ("${BASE}", False),
        ("", False),
        ("http://[::1", False),
        ("http://127.0.0.1:99999999", False),
    ],
)
def test_a_key_is_the_gateways_if_what_stands_beside_it_says_so(url: str, is_ours: bool) -> None:
    """By scheme, host and port, loopback by any of its names."""
    data = f'{{"m": [{{"u": "{url}", "k": "x"}}]}}'.encode()
    assert picked(data, "m[*].k", "u") == (["m[0].k"] if is_ours else [])


def test_default_ports_are_known() -> None:
    """As every client knows them."""
    data = b'[{"u": "https://llm.example/v1", "k": 1}, {"u": "http://llm.example:443", "k": 2}]'
    assert picked(data, "[*].k", "u", ["https://llm.example:443"]) == ["[0].k"]


def test_another_gateways_key_is_not_chosen_and_one_without_neighbour_is() -> None:
    """Each entry is judged by itself."""
    data = b'{"m": [{"u": "http://127.0.0.1:4000", "k": 1}, {"u": "http://other:1", "k": 2}, {"k": 3}], "k": 4}'
    assert picked(data, "m[*].k; k", "u") == ["m[0].k", "m[2].k", "k"]
    assert picked(data, "m[*].k") == ["m[0].k", "m[1].k", "m[2].k"]
    assert picked(data, "m[*].k", "u", []) == ["m[2].k"]


def test_of_two_neighbours_with_one_name_both_must_say_so() -> None:
    """Which of them wins is up to the client, and the key must go to nobody else."""
    data = b'{"u": "http://127.0.0.1:4000", "k": 1, "u": "http://other:1"}'
    assert picked(data, "k", "u") == []
    leaves = yaml.read(b"u: http://127.0.0.1:4000\nk: 1\n---\nu: http://other\nk: 2\n")
    assert chosen(leaves, ["k"], "u", HERE) == ()


def test_a_neighbour_may_lie_deeper() -> None:
    """A path beside the key."""
    data = b'{"p": {"x": {"k": 1, "o": {"u": "http://other:1"}}, "y": {"k": 2, "o": {"u": "http://localhost:4000"}}}}'
    assert picked(data, "p.*.k", "o.u") == ["p.y.k"]


def test_what_is_to_be_written_needs_a_neighbour_that_says_so() -> None:
    """Without one nothing tells whose key it is, and the one that stands there may be somebody else's."""
    leaves = json.read(b'{"m": [{"u": "http://127.0.0.1:4000", "k": 1}, {"u": "http://other:1", "k": 2}, {"k": 3}]}')
    assert [leaf.path for leaf in chosen(leaves, ["m[*].k"], "u", HERE, is_sure=True)] == ["m[0].k"]
    assert chosen(leaves, ["m[*].k"], "u", (), is_sure=True) == ()
    assert len(chosen(leaves, ["m[*].k"], "", (), is_sure=True)) == 3
