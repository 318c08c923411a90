"""What every reader owes: leaves whose offsets are true, or a refusal that shows nothing; and who reads which file."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path, PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyrotor.core import clients
from keyrotor.errors import FormatError
from keyrotor.formats import readers
from keyrotor.formats.splice import Leaf, raw_tokens, replace, tokens

OLD, NEW = b"sk-OLD-OLD", b"sk-NEW="
TRICKY = [path for path in sorted((Path(__file__).parent / "tricky").glob("[!.]*"))]
# What means something in one of the formats, and the value between it.
PIECES = [
    *("sk-OLD-OLD", "sk-OLD-OLD", "sk-OLD-OLD", "a", "k", "1", "é", "🔑", "\n", "\n", "\n", "\r\n", " ", "  ", "    "),
    *(": ", "- ", "= ", "=", "#", " # ", '"', "'", '"""', "'''", "\\", "\\n", "\\\n", "|", ">", "|-", ">+", "[", "]"),
    *("{", "}", ",", "&a ", "*a", "!!str ", "? ", "---\n", "...\n", "[a]\n", "[[b]]\n", "k = ", 'k = "', "k: ", ";"),
    *("\t", "<<: ", "export ", "a: |\n  ", "a: >\n  ", "/*", "*/", "//", "\ufeff", "[]", "{}", "%", "$K"),
]
soups = st.lists(st.sampled_from(PIECES), max_size=14).map("".join).map(str.encode)
formats = st.sampled_from(readers.FORMATS)


def leaves_of(format: str, data: bytes) -> tuple[Leaf, ...] | None:
    """The leaves, or None where the reader refuses; any other exception goes through."""
    try:
        return readers.of(format)(data)
    except FormatError as error:
        refused = error
    assert re.fullmatch(r"[A-Za-z0-9 =,-]+ at line \d+, column \d+", str(refused))
    assert refused.line <= data.count(b"\n") + 1
    assert refused.__context__ is None
    assert refused.__cause__ is None
    return None


@given(formats, st.binary() | soups)
def test_anything_is_read_or_refused_without_showing_content(format: str, data: bytes) -> None:
    """A refusal has fixed words, a line and a column; no input makes a reader stumble."""
    leaves_of(format, data)


@given(st.sampled_from(TRICKY), st.data())
def test_a_torn_file_is_read_or_refused_without_showing_content(path: Path, draw: st.DataObject) -> None:
    """A file cut, torn or scribbled into is no reason to stumble, either."""
    data = path.read_bytes()
    start = draw.draw(st.integers(0, len(data)))
    end = draw.draw(st.integers(start, min(len(data), start + 4)))
    torn = data[:start] + draw.draw(st.sampled_from(PIECES)).encode() + data[end:]
    leaves_of(readers.of_path(path) or "text", torn)


@given(formats, soups)
def test_offsets_are_true_for_whatever_is_read(format: str, data: bytes) -> None:
    """They rise, stay in the file, and a byte that is no escape stands where they say."""
    for leaf in leaves_of(format, data) or ():
        offsets = list(leaf.offsets)
        assert offsets == sorted(offsets)
        assert 0 <= offsets[0] <= offsets[-1] <= len(data)
        assert len(offsets) == len(leaf.text) + 1
        for at, byte in zip(offsets, leaf.text, strict=False):
            assert data[at] in (byte, ord("\\")) or byte in b" \n'"


@given(formats, soups)
def test_a_splice_of_whatever_is_read_changes_the_value_alone_or_is_refused(format: str, data: bytes) -> None:
    """Done, every token and comment has the new value, nothing else moved, and it can be undone."""
    before = leaves_of(format, data)
    if before is None:
        return
    read, found, raw = readers.of(format), tokens(before, OLD), raw_tokens(data, before, OLD)
    try:
        after = replace(read, data, found, NEW, raw)
    except FormatError:
        return
    spans = sorted([*((token.start, token.end) for token in found), *raw])
    expected, done = b"", 0
    for start, end in spans:
        assert (data[start:end] == OLD) or b"\\" in data[start:end]
        expected, done = expected + data[done:start] + NEW, end
    assert after == expected + data[done:]
    assert [(leaf.path, leaf.text.replace(NEW, OLD)) for leaf in read(after)] == [
        (leaf.path, leaf.text) for leaf in before
    ]


@pytest.mark.parametrize("format", readers.FORMATS)
@pytest.mark.parametrize("value", [b"x" * 40, b"fernet_like-0123456789ABCDEFabcdef0123456789AB==", b"a/b+c=", b"YWI=="])
def test_a_value_goes_into_every_format_and_comes_out_again(format: str, value: bytes) -> None:
    """What keyrotor makes needs no quotes in any of them, bare words included."""
    shapes = {
        "json": b'{"k": "sk-OLD-OLD"}', "dotenv": b"K=sk-OLD-OLD\n", "yaml": b"k: sk-OLD-OLD\nl: {m: sk-OLD-OLD}\n",
        "toml": b"k = 'sk-OLD-OLD'\n", "ini": b"[a]\nk = sk-OLD-OLD\n l\n", "text": b"x sk-OLD-OLD\n",
    }  # fmt: skip
    read, data = readers.of(format), shapes[format]
    there = replace(read, data, tokens(read(data), OLD), value)
    assert there == data.replace(OLD, value)
    assert replace(read, there, tokens(read(there), value), OLD) == data


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("settings.json", "json"), ("opencode.jsonc", "json"), ("X.JSON", "json"), (".crush.json", "json"),
        (".env", "dotenv"), ("lab.env", "dotenv"), (".env.local", "dotenv"), (".env.production", "dotenv"),
        ("config.yaml", "yaml"), (".aider.conf.yml", "yaml"), ("config.toml", "toml"), ("a.ini", "ini"),
        ("litellm.service", "ini"), ("litellm.socket", "ini"), ("litellm.service.d/key.conf", "ini"), ("x.cfg", "ini"),
        ("environment.d/50-key.conf", "dotenv"), (".env.yaml", "yaml"),
        (".envrc", ""), (".zshrc", ""), ("env", ""), ("notes.txt", ""), ("json", ""), ("environment", ""), ("", ""),
    ],
)  # fmt: skip
def test_a_name_tells_the_format(name: str, format: str) -> None:
    """By its end, or for being an env file's; where it tells none, the playbook must."""
    assert readers.of_path(PurePath("/home/you/.config") / name) == format


def test_every_format_has_a_reader_and_the_core_knows_them_all() -> None:
    """The playbook's words are those of the readers."""
    assert readers.FORMATS == clients.FORMATS
    assert all(callable(readers.of(format)) for format in readers.FORMATS)
    with pytest.raises(ValueError, match="no format of ours"):
        readers.of("splice")


def test_a_reader_costs_nothing_before_it_is_asked_for() -> None:
    """Who has JSON and env files only never waits for the YAML parser."""
    code = "import sys; from keyrotor.formats import readers; readers.of('json'); print('ruamel.yaml' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
