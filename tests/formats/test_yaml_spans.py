"""The YAML reader: what is a leaf, what is refused and where, and that another reading of the file agrees."""

from __future__ import annotations

import json
import re
from random import Random
from typing import Any, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from keyrotor.errors import FormatError
from keyrotor.formats.splice import Leaf, replace, tokens, whole
from keyrotor.formats.yaml import MAX_DEPTH, MAX_SIZE, read

OLD, NEW = "sk-OLD-OLD", "sk-NEW"
GUARDED = re.compile(rf"(?<![A-Za-z0-9_-])({OLD}|{NEW})(?![A-Za-z0-9_-])")
PLAIN = re.compile(r"[a-zé🔑][a-zA-Z0-9é🔑./_-]*(?: [a-zé🔑][a-zA-Z0-9é🔑./_-]*)*")

Tree: TypeAlias = "str | int | list[Tree] | dict[str, Tree] | None"

words = st.lists(
    st.sampled_from([OLD, OLD, OLD + "2", " ", "é", "🔑", '"', "\\", "\n", "x", "'", "#", ": ", "- "]), max_size=6
).map("".join)
names = st.sampled_from(["apiKey", "b", "c d", "é", "#", OLD])
trees = st.recursive(
    words | st.integers(0, 99) | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)


class Hand:
    """Some careless person's, which types the same way for the same random."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.end = random.choice(["\n", "\n", "\r\n"])

    def document(self, tree: Tree) -> str:
        return self.random.choice(["", "\ufeff", f"# {OLD}{self.end}"]) + "---" + self.block(tree, "")

    def block(self, node: Tree, pad: str) -> str:
        """What stands behind a name or a dash, its line's end included."""
        if isinstance(node, str):
            properties = self.random.choice(["", "", f"&x{self.random.random()} ", "!!str "])
            return f" {properties}{self.scalar(node, pad + '  ')}{self.end}"
        if not isinstance(node, list | dict) or not node or self.often():
            return f" {self.flow(node)}{self.gap()}{self.end}"
        heads = [f"{json.dumps(name)}:" for name in node] if isinstance(node, dict) else ["-"] * len(node)
        inner = node.values() if isinstance(node, dict) else node
        lines = [f"{pad}{head}{self.block(each, pad + '  ')}" for head, each in zip(heads, inner, strict=True)]
        return self.gap() + self.end + self.random.choice(["", f"{pad}# {OLD}{self.end}", self.end]).join(lines)

    def flow(self, node: Tree) -> str:
        if isinstance(node, list):
            return "[" + ", ".join(map(self.flow, node)) + self.random.choice(["", " "]) + "]"
        if isinstance(node, dict):
            return "{" + ", ".join(f"{json.dumps(name)}: {self.flow(inner)}" for name, inner in node.items()) + "}"
        return self.scalar(node, "") if isinstance(node, str) else "~" if node is None else str(node)

    def scalar(self, text: str, pad: str) -> str:
        """In one of the styles that hold it; without a pad all in one line."""
        style = self.random.choice([self.plain, self.single, self.lines, self.folded])
        return style(text, pad) or self.double(text, pad)

    def plain(self, text: str, pad: str) -> str:
        return self.broken(text, pad) if PLAIN.fullmatch(text) else ""

    def single(self, text: str, pad: str) -> str:
        return "" if "\n" in text else "'" + text.replace("'", "''") + "'"

    def lines(self, text: str, pad: str) -> str:
        if not pad or not text.strip() or text.startswith((" ", "\n")) or " \n" in text or text.endswith((" ", "\n\n")):
            return ""
        lines = text.removesuffix("\n").split("\n")
        sign = "|" if text.endswith("\n") else "|-"
        return f"{sign}{self.gap()}{self.end}" + self.end.join(f"{pad}{line}" if line else "" for line in lines)

    def folded(self, text: str, pad: str) -> str:
        if not pad or not text or text != " ".join(text.split()):
            return ""
        return f">-{self.gap()}{self.end}{pad}" + text.replace(" ", f"{self.end}{pad}")

    def double(self, text: str, pad: str) -> str:
        """A whole token is typed plainly; its neighbours may be escaped, and lines end before and behind it."""
        joint = f"\\{self.end}{pad}" if pad and self.often() else ""
        return '"' + joint.join(self.parts(text, is_joined=bool(joint))) + '"'

    def parts(self, text: str, *, is_joined: bool) -> list[str]:
        typed = [part if at % 2 else "".join(map(self.escaped, part)) for at, part in enumerate(GUARDED.split(text))]
        return [part.replace(" ", "\\x20") for part in typed] if is_joined else typed

    def escaped(self, one: str) -> str:
        return f"\\U{ord(one):08x}" if self.often() else json.dumps(one, ensure_ascii=False)[1:-1]

    def broken(self, text: str, pad: str) -> str:
        return text.replace(" ", f"{self.end}{pad}") if pad and self.often() else text

    def gap(self) -> str:
        return self.random.choice(["", "", "", "  ", f" # {OLD} é", " #"])

    def often(self) -> bool:
        return self.random.random() < 0.3


def rendered(tree: Tree, seed: int) -> str:
    return Hand(Random(seed)).document(tree)


def with_new(tree: Any) -> Any:
    """The tree as it should be after the rotation; names are not values."""
    if isinstance(tree, str):
        return GUARDED.sub(NEW, tree)
    if isinstance(tree, list):
        return [with_new(item) for item in tree]
    if isinstance(tree, dict):
        return {key: with_new(item) for key, item in tree.items()}
    return tree


def loaded(data: bytes) -> Any:
    return YAML(typ="safe", pure=True).load(data.decode())


@given(trees, st.integers())
def test_a_splice_changes_the_tokens_of_any_tree_and_nothing_else(tree: Tree, seed: int) -> None:
    """The spliced file is, byte for byte, the same hand's writing of the tree with the new key, and is read as such."""
    data = rendered(tree, seed).encode()
    wanted = rendered(with_new(tree), seed).encode()
    assert loaded(data) == tree
    changed = replace(read, data, tokens(read(data), OLD.encode()), NEW.encode())
    assert changed == wanted
    assert loaded(changed) == with_new(tree)
    assert replace(read, changed, tokens(read(changed), NEW.encode()), OLD.encode()) == data


def said(data: str) -> list[tuple[str, str, bytes]]:
    return [(leaf.path, leaf.key, leaf.text) for leaf in read(data.encode())]


def test_paths_and_keys_say_where_a_leaf_is() -> None:
    """As in JSON; an alias is no leaf, what is merged is none a second time, a document has no name."""
    data = """
models:
- name: &n x
  apiKey: k
  <<: *n
- [a, [], {"b c": ~}]
"": {1: yes}
---
models: z
"""
    assert said(data) == [
        ("models[0].name", "name", b"x"),
        ("models[0].apiKey", "apiKey", b"k"),
        ("models[1][0]", "models", b"a"),
        ("models[1][1]", "models", b""),
        ('models[1][2]["b c"]', "b c", b"~"),
        ('[""]["1"]', "1", b"yes"),
        ("models", "models", b"z"),
    ]
    assert said("x") == [("$", "", b"x")]
    assert said("- x") == [("[0]", "", b"x")]
    assert said("# nothing\n") == []


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("a: it's # c", b"it's"),
        ("a: one\n  two\n\n  three", b"one two\nthree"),
        ("a: 'it''s\n  x'", b"it's x"),
        (r'a: "\x41\u00e9\U0001F511\t\"\/\_"', 'Aé🔑\t"/\xa0'.encode()),
        ('a: "x\\\n   y"', b"xy"),
        ('a: "x\\\n\n   y"', b"x\ny"),
        ("a: |\n  x\n   y\n\n  z\n\n", b"x\n y\n\nz\n"),
        ("a: |-\n  x\n\n", b"x"),
        ("a: |+\n  x\n\n", b"x\n\n"),
        ("a: |2\n   x\n", b" x\n"),
        ("a: >\n  x\n  y\n\n  z\n   i\n  j", b"x y\nz\n i\nj"),
        ("a: |\r\n  x\r\n  y\r\n", b"x\ny\n"),
        ("a: !!str &b # c\n  'x'", b"x"),
        ("a: !!str", b""),
        ("a:", b""),
        ("a: |\n\nb: 1", b""),
    ],
)
def test_the_text_of_a_leaf_is_what_the_scalar_means(data: str, text: bytes) -> None:
    """Folded, unescaped, without its margin."""
    assert said(data)[0] == ("a", "a", text)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("a: [1", "not YAML at line 1, column 6"),
        ("a: 1\n b: 2\n", "not YAML at line 2, column 3"),
        ("é: 'x\n", "not YAML at line 2, column 1"),
        ("\ufeffa: @x\n", "not YAML at line 1, column 4"),
        ("a: x\n\tb: y\n", "a tab where YAML wants none at line 2, column 1"),
        ("a:\tx", "a tab where YAML wants none at line 1, column 3"),
        ("a: *none", "an alias of nothing at line 1, column 4"),
        ("--- &x a\n--- *x\n", "an alias of nothing at line 2, column 5"),
        ("? [a, b]\n: c\n", "a name that is no word at line 1, column 3"),
        ("a: &x b\n*x : c\n", "a name that is no word at line 2, column 1"),
        ('a: "\\UFFFFFFFF"', "not YAML at line 1, column 1"),
        ("a: \x01", "not YAML at line 1, column 4"),
        ("<<<<<<< HEAD\na: 1\n", "not YAML at line 2, column 2"),
        ("[" * (MAX_DEPTH + 1), f"nested too deep at line 1, column {MAX_DEPTH + 1}"),
        ("- " * 5000 + "x", f"nested too deep at line 1, column {MAX_DEPTH * 2 + 1}"),
        ("# x\n" * (MAX_SIZE // 4 + 1), f"more than a megabyte at line {MAX_SIZE // 4 + 1}, column 1"),
    ],
)
def test_what_is_no_yaml_is_refused_with_its_place(data: str, message: str) -> None:
    """The error names the line and the column, in characters, and nothing of what stands there."""
    with pytest.raises(FormatError) as refused:
        read(data.encode())
    assert str(refused.value) == message


def test_aliases_of_aliases_cost_nothing() -> None:
    """What would be a billion strings for who composes it is nine leaves."""
    lines = ["a0: &a0 [" + ", ".join(["x"] * 9) + "]"]
    lines += [f"a{at}: &a{at} [" + ", ".join([f"*a{at - 1}"] * 9) + "]" for at in range(1, 12)]
    assert len(read("\n".join(lines).encode())) == 9


@pytest.mark.parametrize(
    "value", ["12345678901234567890", "0x1234567890abcdef", "1234567890e10", "2026-11-22", "true", "1_0"]
)
def test_a_word_that_is_no_text_is_not_replaced_nor_written_without_quotes(value: str) -> None:
    """The client would be given a number, or had one; in quotes, or by its tag, it is a text like any other."""
    bare, quoted = f"a: {value}\n".encode(), f"a: '{value}'\n".encode()
    with pytest.raises(FormatError, match="a number or the like, not a text, at line 1, column 4"):
        replace(read, bare, tokens(read(bare), value.encode()), b"sk-NEW")
    with pytest.raises(FormatError, match="a number or the like"):
        replace(read, b"a: sk-OLD\n", tokens(read(b"a: sk-OLD\n"), b"sk-OLD"), value.encode())
    for text in (quoted, b"a: !!str " + value.encode()):
        assert replace(read, text, tokens(read(text), value.encode()), b"sk-NEW") == text.replace(
            value.encode(), b"sk-NEW"
        )


@pytest.mark.parametrize(
    ("data", "value"), [(b"{a: sk-OLD}", b"x,y"), (b"a: sk-OLD", b"x:"), (b"a: sk-OLD", b"@x"), (b"a: sk-OLD", b"%x")]
)
def test_a_value_that_would_be_syntax_there_is_refused(data: bytes, value: bytes) -> None:
    """Where quotes would be needed the file is left as it is."""
    with pytest.raises(FormatError):
        replace(read, data, tokens(read(data), b"sk-OLD"), value)


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        ("apiKey: ~\n", "apiKey: sk-NEW\n"),
        ("apiKey: null # c\n", "apiKey: sk-NEW # c\n"),
        ("apiKey: '' # c\n", "apiKey: 'sk-NEW' # c\n"),
        ("apiKey: |\n  old\n", "apiKey: |\n  sk-NEW\n"),
        ("apiKey: >-\n  old\n\n", "apiKey: >-\n  sk-NEW\n\n"),
        ("apiKey: ${X}\n", "apiKey: sk-NEW\n"),
    ],
)
def test_all_that_a_leaf_says_can_be_replaced(data: str, wanted: str) -> None:
    """What is blank around it, and its quotes, stay."""
    (leaf,) = read(data.encode())
    assert replace(read, data.encode(), [whole(leaf)], b"sk-NEW") == wanted.encode()


@pytest.mark.parametrize("data", ["apiKey:\n", "apiKey: {}\n", "apiKey: []\n", "apiKey: 12\n"])
def test_what_has_no_room_for_a_value_is_left_as_it_is(data: str) -> None:
    """Nothing at all, a list, a table, a number: the splice would not be read back."""
    (leaf,) = read(data.encode())
    with pytest.raises(FormatError):
        replace(read, data.encode(), [whole(leaf)], b"sk-NEW")


def test_a_leaf_is_the_same_whatever_it_was_read_from() -> None:
    """Two readings of the same bytes are equal, which the splice relies on."""
    data = b'a: "\\u0041 x"\nb: |\n  y\n'
    assert read(data) == read(data)
    assert all(isinstance(leaf, Leaf) for leaf in read(data))
