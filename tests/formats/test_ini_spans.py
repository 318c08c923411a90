"""The INI reader: sections, keys, lines that go on; and that Python's own reader agrees where it can read the file."""

from __future__ import annotations

import configparser
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyrotor.errors import FormatError
from keyrotor.formats.ini import read
from keyrotor.formats.splice import replace, tokens, whole

OLD, NEW = "sk-OLD-OLD", "sk-NEW"

# {} is the key in question, {old} one that stays.
lines = st.sampled_from(
    [
        *("k = {}", "apiKey={}", "\tl\t=\t{}\t", "m = Bearer {} x", "n = {old}2", "o = a, {},{}", "é ö = é {}"),
        *("p = '{}'", 'q = "{}"', "r =", "r =\n   {}\n\t{} {}", "# {old}", "; {old}", "  # {old}", "", "u = {} # {}"),
        *('Environment=A={} "B={}" \\\n  # {old}\n  C={}', "v = \"{}' {}", "w = {}=="),
        *("x: {}", "y:{}", "\tz : {} {}", "A: x = {}", "B:\n  http://x?a={}\n  {}", "C = a: {}"),
    ]
)
sections = st.lists(st.tuples(st.sampled_from(["[a]", '[b "c d"] # {old}', "[é]"]), st.lists(lines)))
files = st.tuples(st.sampled_from(["", "\ufeff"]), sections, st.sampled_from(["\n", "\r\n"]), st.booleans())


def written(file: tuple[str, list[tuple[str, list[str]]], str, bool], key: str) -> bytes:
    mark, parts, end, is_ended = file
    text = "\n".join("\n".join([head, *body]) for head, body in parts)
    text = text.replace("{old}", OLD).replace("{}", key) + "\n" * is_ended
    return (mark + text.replace("\n", end)).encode()


def parsed(data: bytes) -> list[tuple[str, str, str]]:
    """What Python's own reader makes of it, each key the first time it stands there."""
    parser = configparser.RawConfigParser(strict=False, default_section="")
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(data.decode("utf-8-sig"))
    return [(section, key, parser[section][key]) for section in parser.sections() for key in parser[section]]


@given(files)
def test_a_splice_changes_the_tokens_of_any_ini_file_and_nothing_else(
    file: tuple[str, list[tuple[str, list[str]]], str, bool],
) -> None:
    """The spliced file is the same file written with the new key, for Python's reader, too; the inverse restores it."""
    data = written(file, OLD)
    changed = replace(read, data, tokens(read(data), OLD.encode()), NEW.encode())
    assert changed == written(file, NEW)
    guarded = rf"{OLD}(?![0-9])"
    # An inline comment of ours is a value's end for nobody but git.
    assert parsed(changed) == [(section, key, re.sub(guarded, NEW, text)) for section, key, text in parsed(data)]
    assert replace(read, changed, tokens(read(changed), NEW.encode()), OLD.encode()) == data


def test_paths_keys_and_texts_say_what_stands_where() -> None:
    """The section is in the path, what repeats is a leaf of its own, a section's name is one with nothing in it."""
    data = b"""; c
top = 1
[Service]
Environment=A=1 "B=2" \\
  # c
  C=3
Environment="D=4"
Exec Start = x # y
list =
    one
    dHdv==
[remote "o.x"]
\turl = 'u'
\tpush: http://x?a=b
\t  c: d
"""
    leaves = read(data)
    assert [(leaf.path, leaf.key, leaf.text) for leaf in leaves] == [
        ("top", "top", b"1"),
        ("Service", "Service", b""),
        ("Service.Environment", "Environment", b'A=1 "B=2"'),
        ("Service.Environment", "Environment", b"C=3"),
        ("Service.Environment", "Environment", b"D=4"),
        ('Service["Exec Start"]', "Exec Start", b"x # y"),
        ("Service.list", "list", b""),
        ("Service.list", "list", b"one"),
        ("Service.list", "list", b"dHdv=="),
        ('["remote \\"o.x\\""]', 'remote "o.x"', b""),
        ('["remote \\"o.x\\""].url', "url", b"u"),
        ('["remote \\"o.x\\""].push', "push", b"http://x?a=b"),
        ('["remote \\"o.x\\""].push', "push", b"c: d"),
    ]
    assert all(data[leaf.offsets[0] : leaf.offsets[-1]] == leaf.text for leaf in leaves)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("[a]\nno\n", "expected key = value, a section or a comment at line 2, column 1"),
        ("  no\n", "expected key = value, a section or a comment at line 1, column 3"),
        ("[a]\n  no\n", "expected key = value, a section or a comment at line 2, column 3"),
        ("[a\nk = 1\n", "expected key = value, a section or a comment at line 1, column 1"),
        ("[a] b\n", "expected key = value, a section or a comment at line 1, column 1"),
        ("[]\n", "expected key = value, a section or a comment at line 1, column 1"),
        ("= 1\n", "expected key = value, a section or a comment at line 1, column 1"),
        (": 1\n", "expected key = value, a section or a comment at line 1, column 1"),
        ("k = 1\\\n\nno\n", "expected key = value, a section or a comment at line 3, column 1"),
        ("k = 1\rl = 2\n", "a carriage return within a line at line 1, column 6"),
        ("é = \0\n", "a nul byte at line 1, column 5"),
        ("<<<<<<< HEAD\n[a]\n", "expected key = value, a section or a comment at line 1, column 1"),
    ],
)
def test_what_is_no_ini_is_refused_with_its_place(data: str, message: str) -> None:
    """The error names the line and the column, and nothing of what stands there."""
    with pytest.raises(FormatError) as refused:
        read(data.encode())
    assert str(refused.value) == message


@pytest.mark.parametrize("line", ["k = {}", "k={}", "k = '{}'", 'k = "{}" ', "k = {} \\", "k = Bearer {}"])
def test_all_that_a_value_says_can_be_replaced(line: str) -> None:
    """Without its quotes and without what makes the line go on."""
    data = f"[a]\n{line}\n".encode()
    _, leaf, *_ = read(data.replace(b"{}", b"${X}"))
    (found,) = [leaf for leaf in read(data.replace(b"{}", b"${X}")) if leaf.key == "k"]
    assert found == leaf
    assert replace(read, data.replace(b"{}", b"${X}"), [whole(leaf)], b"sk-NEW") == data.replace(
        b"Bearer {}" if "Bearer" in line else b"{}", b"sk-NEW"
    )
