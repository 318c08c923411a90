"""The TOML reader: it agrees with the standard library on every file, and refuses what that refuses."""

from __future__ import annotations

import json
import re
import tomllib
from random import Random
from typing import Any, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyrotor.errors import FormatError
from keyrotor.formats.splice import replace, tokens, whole
from keyrotor.formats.toml import MAX_DEPTH, MAX_SIZE, read

OLD, NEW = "sk-OLD-OLD", "sk-NEW"
GUARDED = re.compile(rf"(?<![A-Za-z0-9_-])({OLD}|{NEW})(?![A-Za-z0-9_-])")

Tree: TypeAlias = "str | int | list[Tree] | dict[str, Tree]"

words = st.lists(
    st.sampled_from([OLD, OLD, OLD + "2", " ", "é", "🔑", '"', '""', "\\", "\n", "x", "'", "#", "="]), max_size=6
).map("".join)
names = st.sampled_from(["apiKey", "b", "c d", "é", "", "1", OLD])
values = st.recursive(
    words | st.integers(0, 99),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)
trees = st.dictionaries(names, values, max_size=4)


class Hand:
    """Some careless person's, which types the same way for the same random."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.end = random.choice(["\n", "\n", "\r\n"])

    def table(self, tree: dict[str, Tree], names: tuple[str, ...] = ()) -> str:
        """Its values first, then the tables in it, each by a header, or all within braces."""
        typed, tables = "", ""
        for name, each in tree.items():
            path = ".".join(map(self.name, (*names, name)))
            if isinstance(each, dict) and self.often():
                tables += f"[{path}]{self.gap()}{self.end}{self.table(each, (*names, name))}"
            elif isinstance(each, list) and each and all(isinstance(one, dict) for one in each) and self.often():
                inner = [self.table(one, (*names, name)) for one in each if isinstance(one, dict)]
                tables += "".join(f"[[ {path} ]]{self.gap()}{self.end}{one}" for one in inner)
            else:
                typed += f"{self.name(name)} = {self.value(each)}{self.gap()}{self.end}"
        return typed + tables

    def name(self, name: str) -> str:
        if re.fullmatch(r"[A-Za-z0-9_-]+", name) and self.often():
            return name
        return f"'{name}'" if self.often() else json.dumps(name)

    def value(self, node: Tree) -> str:
        if isinstance(node, list):
            space = self.random.choice(["", " ", f"{self.end} # {OLD}{self.end}"])
            inner = f"{space},{space}".join(map(self.value, node))
            return f"[{space}{inner}{space}{',' if node and self.often() else ''}{space}]"
        if isinstance(node, dict):
            return "{" + ", ".join(f"{self.name(name)}={self.value(each)}" for name, each in node.items()) + "}"
        return self.string(node) if isinstance(node, str) else str(node)

    def string(self, text: str) -> str:
        style = self.random.choice([self.literal, self.plain_lines, self.basic, self.lines])
        return style(text) or self.basic(text)

    def literal(self, text: str) -> str:
        return "" if "'" in text or "\n" in text else f"'{text}'"

    def plain_lines(self, text: str) -> str:
        first = self.random.choice(["", self.end])
        is_possible = "'''" not in text and (first or not text.startswith("\n"))
        return f"'''{first}{text.replace(chr(10), self.end)}'''" if is_possible else ""

    def basic(self, text: str) -> str:
        return f'"{self.typed(text, "")}"'

    def lines(self, text: str) -> str:
        return f'"""{self.end}{self.typed(text, chr(92) + self.end + "  ")}"""'

    def typed(self, text: str, joint: str) -> str:
        """A whole token is typed plainly; its neighbours may be escaped, and lines end before and behind it."""
        joint = joint if self.often() else ""
        typed = [part if at % 2 else "".join(map(self.escaped, part)) for at, part in enumerate(GUARDED.split(text))]
        return joint.join(part.replace(" ", "\\u0020") if joint else part for part in typed)

    def escaped(self, one: str) -> str:
        return f"\\U{ord(one):08x}" if self.often() else json.dumps(one, ensure_ascii=False)[1:-1]

    def gap(self) -> str:
        return self.random.choice(["", "", "  ", f" # {OLD} é", f"\t#{self.end}# {OLD}"])

    def often(self) -> bool:
        return self.random.random() < 0.5


def rendered(tree: dict[str, Tree], seed: int) -> str:
    return Hand(Random(seed)).table(tree)


def with_new(tree: Any) -> Any:
    """The tree as it should be after the rotation; names are not values."""
    if isinstance(tree, str):
        return GUARDED.sub(NEW, tree)
    if isinstance(tree, list):
        return [with_new(item) for item in tree]
    if isinstance(tree, dict):
        return {key: with_new(item) for key, item in tree.items()}
    return tree


@given(trees, st.integers())
def test_a_splice_changes_the_tokens_of_any_tree_and_nothing_else(tree: dict[str, Tree], seed: int) -> None:
    """The spliced file is, byte for byte, the same hand's writing of the tree with the new key, and is read as such."""
    data = rendered(tree, seed).encode()
    wanted = rendered(with_new(tree), seed).encode()
    assert tomllib.loads(data.decode()) == tree
    changed = replace(read, data, tokens(read(data), OLD.encode()), NEW.encode())
    assert changed == wanted
    assert tomllib.loads(changed.decode()) == with_new(tree)
    assert replace(read, changed, tokens(read(changed), NEW.encode()), OLD.encode()) == data


@given(
    st.lists(
        st.sampled_from(
            [
                "a",
                '"',
                "'",
                '"""',
                "'''",
                "=",
                "\n",
                ".",
                "[",
                "]",
                "[[",
                "]]",
                "{",
                "}",
                ",",
                " ",
                "1",
                "\\",
                "#",
                "\\n",
                "\\u00e9",
                "-",
                ":",
                "1979-05-27",
                "\r\n",
                'b = "',
                "nan",
                "+1.5",
                "\t",
            ]
        )
    ).map("".join)
)
def test_it_takes_what_the_standard_library_takes_and_nothing_else(text: str) -> None:
    """No file that is TOML is one that cannot be followed."""
    try:
        tomllib.loads(text)
    except ValueError:
        with pytest.raises(FormatError):
            read(text.encode())
    else:
        read(text.encode())


def test_paths_and_keys_say_where_a_leaf_is() -> None:
    """Dotted names, tables by header, lists of tables, tables in braces: the same as in JSON; what is empty is one."""
    data = b"""
a.'b c'."d" = 1
[m.'x.y']
k = "v"
[[p]]
[[p]]
q = [1, [ ], {r = 2, s.t = {}}]
[[p.n]]
k = 1979-05-27 07:32:00 # c
[p.o]
[z]
"""
    assert [(leaf.path, leaf.key, leaf.text) for leaf in read(data)] == [
        ('a["b c"].d', "d", b"1"),
        ('m["x.y"].k', "k", b"v"),
        ("p[0]", "p", b""),
        ("p[1].q[0]", "q", b"1"),
        ("p[1].q[1]", "q", b""),
        ("p[1].q[2].r", "r", b"2"),
        ("p[1].q[2].s.t", "t", b""),
        ("p[1].n[0].k", "k", b"1979-05-27 07:32:00"),
        ("p[1].o", "o", b""),
        ("z", "z", b""),
    ]
    assert read(b"# nothing\n") == ()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("\ufeffa = 1\n", "a byte order mark, which TOML does not allow, at line 1, column 1"),
        ("a = 1\na = 2\n", "not TOML at line 2, column 6"),
        ("é = 1\n", "not TOML at line 1, column 1"),
        ('a = "é" x\n', "not TOML at line 1, column 9"),
        ("a = [1,\n", "not TOML at line 2, column 1"),
        ("a = {b = 1,}\n", "not TOML at line 1, column 12"),
        ("[a]\nb = 1\n[a.b]\nc = 1\n", "not TOML at line 3, column 5"),
        ("a = sk-OLD\n", "not TOML at line 1, column 5"),
        ("<<<<<<< HEAD\na = 1\n", "not TOML at line 1, column 1"),
        ("a = 1\n\n\nb = '''\nx\n", "not TOML at line 6, column 1"),
        ("a = " + "[" * 5000, "nested too deep at line 1, column 1"),
        ("a = " + "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), f"nested too deep at line 1, column {MAX_DEPTH + 5}"),
        ("x = 1\n" + "a." * 3_000 + "a = 1\n", "nested too deep at line 2, column 1"),
        ("# x\n" * (MAX_SIZE // 4 + 1), f"more than a megabyte at line {MAX_SIZE // 4 + 1}, column 1"),
    ],
)
def test_what_is_no_toml_is_refused_with_its_place(data: str, message: str) -> None:
    """The error names the line and the column, and nothing of what stands there."""
    with pytest.raises(FormatError) as refused:
        read(data.encode())
    assert str(refused.value) == message


@pytest.mark.parametrize("data", ["a = ''", "a = 'old'", 'a = """\nold"""', "a = [ 'old' ]"])
def test_all_that_a_text_says_can_be_replaced(data: str) -> None:
    """What is around it stays."""
    (leaf,) = read(data.encode())
    after = replace(read, data.encode(), [whole(leaf)], b"sk-NEW")
    assert [leaf.text for leaf in read(after)] == [b"sk-NEW"]
    assert after.replace(b"sk-NEW", leaf.text) == data.encode()


@pytest.mark.parametrize("data", ["a = 1", "a = true", "a = []", "a = {}", "[a]", "[[a]]"])
def test_what_is_no_text_is_left_as_it_is(data: str) -> None:
    """A number, a truth, something empty: the splice would not be read back."""
    (leaf,) = read(data.encode())
    with pytest.raises(FormatError):
        replace(read, data.encode(), [whole(leaf)], b"12")
