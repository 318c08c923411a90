"""The JSON reader: what it takes, what it refuses and where, and that it agrees with the standard library."""

from __future__ import annotations

import json as stdlib
import re
from pathlib import Path
from random import Random
from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyrotor.errors import FormatError
from keyrotor.formats.json import MAX_DEPTH, read
from keyrotor.formats.splice import replace, tokens

OLD, NEW = "sk-OLD-OLD", "sk-NEW"
EMPTY = object()
TRICKY = sorted((Path(__file__).parent / "tricky").glob("*.json"))
GUARDED = re.compile(rf"(?<![A-Za-z0-9_-])({OLD}|{NEW})(?![A-Za-z0-9_-])")

Tree: TypeAlias = "bool | int | float | str | list[Tree] | dict[str, Tree] | None"

any_text = st.text(st.characters(), max_size=8)
keyed_text = st.lists(st.sampled_from([OLD, OLD + "2", " ", "é", "🔑", '"', "\\", "\n", "x", "/"]), max_size=5).map(
    "".join
)
scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | any_text | keyed_text
)
trees = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(any_text | keyed_text, inner, max_size=4),
    max_leaves=12,
)


def refusal(data: bytes) -> FormatError | None:
    """The error the reader gives, if it gives one; any other exception goes through."""
    try:
        read(data)
    except FormatError as error:
        return error
    return None


def rendered(tree: Tree, random: Random) -> str:
    """The tree as some careless person might have typed it, the same way for the same random."""

    def gap() -> str:
        return random.choice(["", "", "", " ", "\t", "\n", "\r\n", f"// {OLD} é\n", f"/* {OLD} **/", "/**/ "])

    def character(one: str) -> str:
        if random.random() < 0.3:
            units = one.encode("utf-16-be", "surrogatepass")
            return "".join(f"\\u{units[i]:02x}{units[i + 1]:02X}" for i in range(0, len(units), 2))
        if one == "/" and random.random() < 0.5:
            return "\\/"
        return stdlib.dumps(one, ensure_ascii="\ud800" <= one <= "\udfff")[1:-1]

    def string(text: str) -> str:
        # A whole token is typed plainly; the escaped ones have their own tests.
        parts = GUARDED.split(text)
        return '"' + "".join(part if i % 2 else "".join(map(character, part)) for i, part in enumerate(parts)) + '"'

    def value(node: Tree) -> str:
        if isinstance(node, str):
            return string(node)
        if isinstance(node, list):
            inner, ends = [value(item) for item in node], "[]"
        elif isinstance(node, dict):
            inner = [string(key) + gap() + ":" + gap() + value(item) for key, item in node.items()]
            ends = "{}"
        else:
            return stdlib.dumps(node)
        last = random.choice(["", ","]) if inner else ""
        return ends[0] + gap() + (gap() + "," + gap()).join(inner) + gap() + last + gap() + ends[1]

    return random.choice(["", "\ufeff"]) + gap() + value(tree) + gap()


def with_new(tree: Tree) -> Tree:
    """The tree as it should be after the rotation; names are not values."""
    if isinstance(tree, str):
        return GUARDED.sub(NEW, tree)
    if isinstance(tree, list):
        return [with_new(item) for item in tree]
    if isinstance(tree, dict):
        return {key: with_new(item) for key, item in tree.items()}
    return tree


def flat(tree: Tree) -> list[object]:
    """The leaves of a tree as the standard library sees them; what is empty is one."""
    if tree in ([], {}):
        return [EMPTY]
    if isinstance(tree, list):
        return [leaf for item in tree for leaf in flat(item)]
    if isinstance(tree, dict):
        return [leaf for item in tree.values() for leaf in flat(item)]
    return [tree]


@given(trees, st.integers())
def test_a_splice_changes_the_tokens_of_any_tree_and_nothing_else(tree: Tree, seed: int) -> None:
    """The spliced file is, byte for byte, the same hand's writing of the tree with the new key."""
    data = rendered(tree, Random(seed)).encode()
    wanted = rendered(with_new(tree), Random(seed)).encode()
    changed = replace(read, data, tokens(read(data), OLD.encode()), NEW.encode())
    assert changed == wanted
    assert replace(read, changed, tokens(read(changed), NEW.encode()), OLD.encode()) == data


@given(trees, st.booleans(), st.sampled_from([None, 0, 2]))
def test_it_agrees_with_the_standard_library(tree: Tree, ascii_only: bool, indent: int | None) -> None:
    """On strict JSON every leaf has the text, and the order, that json.loads gives it."""
    is_torn = re.search("[\ud800-\udfff]", stdlib.dumps(tree, ensure_ascii=False)) is not None  # no file can hold that
    text = stdlib.dumps(tree, ensure_ascii=ascii_only or is_torn, indent=indent)
    said: list[object] = []
    for leaf in read(text.encode()):
        quoted = text.encode()[leaf.offsets[0] - 1 : leaf.offsets[0]] == b'"'
        if not leaf.text and not quoted:
            said.append(EMPTY)
            continue
        said.append(leaf.text.decode(errors="surrogatepass") if quoted else stdlib.loads(leaf.text))
    assert said == flat(stdlib.loads(text))


@given(st.text(st.sampled_from('{}[]",:\\u0dD8c/ \n-1.e+tru"{}[],:"')))
def test_it_takes_what_the_standard_library_takes_and_little_more(text: str) -> None:
    """Strict JSON is never refused, and what is taken besides has a comment or a trailing comma."""
    try:
        stdlib.loads(text)
        strict = True
    except ValueError:
        strict = False
    try:
        read(text.encode())
        taken = True
    except FormatError:
        taken = False
    assert taken or not strict
    assert strict or not taken or "/" in text or re.search(r",\s*[\]}]", text)


@given(st.binary() | st.text().map(str.encode))
def test_random_bytes_raise_nothing_but_a_format_error(data: bytes) -> None:
    """No input makes the reader stumble."""
    refusal(data)


@given(st.sampled_from(TRICKY).map(Path.read_bytes), st.data())
def test_a_damaged_file_is_read_or_refused_without_showing_content(data: bytes, draw: st.DataObject) -> None:
    """A file cut, torn or scribbled into gives leaves, or an error of fixed words, line and column."""
    start = draw.draw(st.integers(0, len(data)))
    end = draw.draw(st.integers(start, min(len(data), start + 4)))
    damaged = data[:start] + draw.draw(st.binary(max_size=2) | st.sampled_from([b'"', b"/*", b"\\", b","])) + data[end:]
    if error := refusal(damaged):
        assert re.fullmatch(r"[a-z0-9 -]+ at line \d+, column \d+", str(error))
        assert "sk-" not in str(error)
        assert error.__context__ is None
        assert error.__cause__ is None


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file ends before a value at line 1, column 1"),
        (b" \n\n", "the file ends before a value at line 3, column 1"),
        (b"// only\n/* comments */", "the file ends before a value at line 2, column 15"),
        (b"\xef\xbb\xbf", "the file ends before a value at line 1, column 1"),
        (b'\xef\xbb\xbf{"a" 1}', "expected a colon at line 1, column 6"),
        (b'{"a": "b', "unterminated string at line 1, column 7"),
        (b'{"a": "b\n"}', "unterminated string at line 1, column 7"),
        (b'{"a', "unterminated string at line 1, column 2"),
        (b'{"a": "b\\', "bad escape at line 1, column 9"),
        (b'{\r\n  "a": "\\x"}', "bad escape at line 2, column 9"),
        (b'{"\\u12G4": 1}', "bad escape at line 1, column 3"),
        (b'["\t"]', "control character in a string at line 1, column 3"),
        ('["é🔑", x]'.encode(), "expected a value at line 1, column 8"),
        (b"[1 2]", "expected a comma or the closing bracket at line 1, column 4"),
        (b"[1}", "expected a comma or the closing bracket at line 1, column 3"),
        (b"[1", "the file ends before a comma or the closing bracket at line 1, column 3"),
        (b"[,]", "expected a value at line 1, column 2"),
        (b"[1,,]", "expected a value at line 1, column 4"),
        (b"{,}", "expected a key at line 1, column 2"),
        (b'{"a":1,,}', "expected a key at line 1, column 8"),
        (b'{"a":1 "b":2}', "expected a comma or the closing bracket at line 1, column 8"),
        (b"{a: 1}", "expected a key at line 1, column 2"),
        (b"{'a': 1}", "expected a key at line 1, column 2"),
        (b'{"a": }', "expected a value at line 1, column 7"),
        (b'["a": 1]', "expected a comma or the closing bracket at line 1, column 5"),
        (b"[01]", "expected a value at line 1, column 2"),
        (b"[1.]", "expected a value at line 1, column 2"),
        (b"[NaN]", "expected a value at line 1, column 2"),
        (b"]", "expected a value at line 1, column 1"),
        (b"{} x", "expected the end of the document at line 1, column 4"),
        (b"{}\n{}", "expected the end of the document at line 2, column 1"),
        (b"{} /* x", "unterminated comment at line 1, column 4"),
        (b"[1, /* x ]", "unterminated comment at line 1, column 5"),
        (b"[\n\xff]", "invalid utf-8 at line 2, column 1"),
        (b'["\xed\xa0\x80"]', "invalid utf-8 at line 1, column 3"),
        (b"<<<<<<< HEAD\n{}", "expected a value at line 1, column 1"),
        (b"[" * (MAX_DEPTH + 1), f"nested too deep at line 1, column {MAX_DEPTH + 1}"),
        (b'{"a":' * 5000, f"nested too deep at line 1, column {MAX_DEPTH * 5 + 1}"),
    ],
)
def test_what_is_no_json_is_refused_with_its_place(data: bytes, message: str) -> None:
    """The error names the line and the column, in characters, where the file stops being JSON."""
    with pytest.raises(FormatError) as refused:
        read(data)
    assert str(refused.value) == message


def test_paths_and_keys_say_where_a_leaf_is() -> None:
    """A path reads as one would write it in code; the key is the nearest name above the leaf."""
    data = rb'{"a": {"b-c": [1, ["x"]], "d e": null, "": true, "\u0066": 2}, "\u001b[31m": "z"}'
    assert [(leaf.path, leaf.key) for leaf in read(data)] == [
        ("a.b-c[0]", "b-c"),
        ("a.b-c[1][0]", "b-c"),
        ('a["d e"]', "d e"),
        ('a[""]', ""),
        ("a.f", "f"),
        ('["\\u001b[31m"]', "\x1b[31m"),
    ]
    assert [leaf.path for leaf in read(b"[1, {}, [2]]")] == ["[0]", "[1]", "[2][0]"]
    assert [(leaf.path, leaf.key) for leaf in read(b"1")] == [("$", "")]


def test_depth_up_to_the_limit_is_read() -> None:
    """Deep is fine as long as it is not absurd, and needs no recursion."""
    assert len(read(b"[" * MAX_DEPTH + b"1" + b"]" * MAX_DEPTH)) == 1


@pytest.mark.parametrize(
    "data",
    [
        b"/* " * 200_000,
        b'"' + b"\\" * 200_001,
        b'["' + b"a" * 500_000,
        b"[" + b" " * 500_000,
        b"[1" + b"," * 99_999,
        b'{"a"' * 9,
    ],
)
def test_a_hostile_file_is_refused_at_once(data: bytes) -> None:
    """No pattern goes back over what it has eaten: half a megabyte of nonsense takes no time."""
    with pytest.raises(FormatError):
        read(data)


def test_half_a_surrogate_pair_passes() -> None:
    """Broken text beside the key, in a value or in a name, is legal JSON and no reason to refuse the file."""
    data = rb'{"\ud83d": "\ud83d sk-OLD-OLD \ude00"}'
    assert [leaf.path for leaf in read(data)] == [r'["\ud83d"]']
    assert replace(read, data, tokens(read(data), OLD.encode()), NEW.encode()) == data.replace(b"sk-OLD-OLD", b"sk-NEW")
