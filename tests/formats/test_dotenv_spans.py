"""The env file reader and writer: what they take, what they refuse, and that real readers agree."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyrotor.errors import FormatError
from keyrotor.formats.dotenv import read, render, with_line
from keyrotor.formats.splice import replace, tokens

OLD, NEW = "sk-OLD-OLD", "sk-NEW"
TRICKY = sorted((Path(__file__).parent / "tricky").glob("*.env"))

# A line is what stands before the value, the value, and what stands after it; {} is the key in question.
befores = st.sampled_from(["A=", "export B=", " \tC=", "D = ", "export\t E_2\t=\t"])
quotings = st.sampled_from(
    ["{}", '"{}"', "'{}'", '"Bearer {}"', "x {}", "{},{}", '"\\"{}\\""', "'a\n{} # b\n'", "{}#{}"]
)
afters = st.sampled_from(["", "  ", "\t# {old}", " #"])
values = st.builds("".join, st.tuples(befores, quotings, afters))
others = st.sampled_from(
    ["", "  ", "# {old}", " ; {old} \\", "X=", "Y={old}2", "Z= # {old}", 'W="é" # "', "V=a'b\"c", "U=##"]
)
files = st.tuples(
    st.sampled_from(["", "\ufeff"]), st.lists(values | others), st.sampled_from(["\n", "\r\n"]), st.booleans()
)

names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
plain_values = st.from_regex(rb"([A-Za-z0-9_./:@%+,-][A-Za-z0-9_./:@%+,=-]*)?", fullmatch=True)


def refusal(data: bytes) -> FormatError | None:
    """The error the reader gives, if it gives one; any other exception goes through."""
    try:
        read(data)
    except FormatError as error:
        return error
    return None


def written(file: tuple[str, list[str], str, bool], key: str) -> bytes:
    mark, lines, end, ends = file
    text = end.join(line.replace("{old}", OLD).replace("{}", key) for line in lines)
    return (mark + text + (end if ends else "")).encode()


@given(files)
def test_a_splice_changes_the_tokens_of_any_env_file_and_nothing_else(
    file: tuple[str, list[str], str, bool],
) -> None:
    """The spliced file is the same file written with the new key; the inverse splice gives the old bytes."""
    data = written(file, OLD)
    changed = replace(read, data, tokens(read(data), OLD.encode()), NEW.encode())
    assert changed == written(file, NEW)
    assert replace(read, changed, tokens(read(changed), NEW.encode()), OLD.encode()) == data


@given(st.binary() | st.text(st.sampled_from("A= \t\n\r\"'\\#;export")).map(str.encode))
def test_random_bytes_raise_nothing_but_a_format_error(data: bytes) -> None:
    """No input makes the reader stumble."""
    refusal(data)


@given(st.sampled_from(TRICKY).map(Path.read_bytes), st.data())
def test_a_damaged_file_is_read_or_refused_without_showing_content(data: bytes, draw: st.DataObject) -> None:
    """A file cut, torn or scribbled into gives leaves, or an error of fixed words, line and column."""
    start = draw.draw(st.integers(0, len(data)))
    end = draw.draw(st.integers(start, min(len(data), start + 4)))
    damaged = data[:start] + draw.draw(st.binary(max_size=2) | st.sampled_from([b'"', b"'", b"\\", b"\r"])) + data[end:]
    if error := refusal(damaged):
        assert re.fullmatch(r"[A-Za-z0-9 =,-]+ at line \d+, column \d+", str(error))
        assert "sk-" not in str(error)
        assert error.__context__ is None
        assert error.__cause__ is None


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b"K=", b""),
        (b"K= ", b""),
        (b"K=v", b"v"),
        (b"K = v w \t", b"v w"),
        (b"K=v\r\n", b"v"),
        (b"K=v # c", b"v"),
        (b"K=v#c", b"v#c"),
        (b"K=#c", b"#c"),
        (b"K= #c", b""),
        (b"K=''", b""),
        (b"K='v # w' # c", b"v # w"),
        (b'K="v\\"w"', b'v\\"w'),
        (b'K="v\n#w"', b"v\n#w"),
        (b'K="v\\\nw"', b"v\\\nw"),
        (b"K='a\\nb'", b"a\\nb"),
        (b"K=it's", b"it's"),
        (b"K=a=b==", b"a=b=="),
        (b"export K=v", b"v"),
        (b" K=v", b"v"),
        (b"\xef\xbb\xbfK=v", b"v"),
    ],
)
def test_the_text_of_a_leaf_is_the_bare_value(line: bytes, text: bytes) -> None:
    """Without export, quotes, blanks, comment and line end, and its offsets point at it."""
    (leaf,) = read(line)
    assert (leaf.path, leaf.key, leaf.text) == ("K", "K", text)
    assert line[leaf.offsets[0] : leaf.offsets[-1]] == text


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"A=1\n<<<<<<< HEAD\n", "expected KEY=value or a comment at line 2, column 1"),
        (b"A=1\n  garbage\n", "expected KEY=value or a comment at line 2, column 3"),
        (b"=v", "expected KEY=value or a comment at line 1, column 1"),
        (b"2A=v", "expected KEY=value or a comment at line 1, column 1"),
        (b"export A\n", "expected KEY=value or a comment at line 1, column 1"),
        (b"A: v\n", "expected KEY=value or a comment at line 1, column 1"),
        (b'A="v\n', "a quote that is not closed, or not in a way all readers agree on at line 1, column 3"),
        (
            b"A='it\\'s'\n",
            "a quote that is not closed, or not in a way all readers agree on at line 1, column 3",
        ),
        (b'A="v"w\n', "text after the closing quote at line 1, column 6"),
        (b'A="v" B="w"\n', "text after the closing quote at line 1, column 6"),
        (b'A="v"#c\n', "text after the closing quote at line 1, column 6"),
        ('A="é\né"w\n'.encode(), "text after the closing quote at line 2, column 3"),
        (b"A=v\\\nB=w\n", "a backslash or carriage return readers differ in at line 1, column 5"),
        (b"A=v\rB=w\n", "a backslash or carriage return readers differ in at line 1, column 4"),
        (b"A=v\n#\rB=w\n", "expected KEY=value or a comment at line 2, column 1"),
        (b"A=\0\n", "a nul byte at line 1, column 3"),
        (b"A=1\nB=\xff\n", "invalid utf-8 at line 2, column 3"),
    ],
)
def test_what_readers_take_differently_is_refused_with_its_place(data: bytes, message: str) -> None:
    """No side is taken: the error names line and column, in characters."""
    with pytest.raises(FormatError) as refused:
        read(data)
    assert str(refused.value) == message


def test_an_empty_file_has_no_leaves() -> None:
    """An env file may be empty, unlike a JSON document."""
    assert read(b"") == ()
    assert read(b"\xef\xbb\xbf") == ()


@pytest.mark.parametrize(
    "data", [b"A=" + b" " * 500_000 + b'"', b'A="' + b"\\a" * 250_000, b"A=" + b"a " * 250_000 + b"\\\n"]
)
def test_a_hostile_file_is_refused_at_once(data: bytes) -> None:
    """No pattern goes back over what it has eaten."""
    with pytest.raises(FormatError):
        read(data)


@given(st.dictionaries(names, plain_values))
def test_what_is_rendered_is_read_back(values: dict[str, bytes]) -> None:
    """Rendering and reading are inverse, line by line."""
    data = render(values)
    assert {leaf.key: leaf.text for leaf in read(data)} == values
    assert data.count(b"\n") == len(values)


def test_bash_sources_what_is_rendered(tmp_path: Path) -> None:
    """The shell sees the very values, whatever the allowed character."""
    values = {
        "A": b"",
        "B": b"sk-abc_D9==",
        "C": b"a./:@%+,=-z",
        "D": b"-n",
        "E": b"%h@x:",
        "F": b"a=:=b",
    }
    (tmp_path / "env").write_bytes(render(values))
    script = f"set -eu; . {tmp_path}/env; printf '%s\\n' " + " ".join(f'"${name}"' for name in values)
    said = subprocess.run(["bash", "-c", script], capture_output=True, check=True).stdout
    assert said == b"".join(value + b"\n" for value in values.values())


@pytest.mark.parametrize(
    "value",
    [b"a\n", b"a\0", b"a\r", b"a\\", b"a\\\\b", b"${a}", b"it's $a", b"'\"", b"'`", b"'\\a"],
)
def test_a_value_that_no_quotes_hold_is_not_rendered(value: bytes) -> None:
    """The refusal names the key and says nothing of the value."""
    with pytest.raises(ValueError, match=r"^cannot render SECRET: it(s| has| holds) [a-z, -]*$"):
        render({"SECRET": value})


@pytest.mark.parametrize("name", ["", "1A", "A-B", "A B", "A\n", "É", "A=B"])
def test_a_name_no_shell_takes_is_not_rendered(name: str) -> None:
    """A key that is no variable name would end the file for some reader."""
    with pytest.raises(ValueError, match="not the name of a variable"):
        render({name: b"v"})


@given(files, names, plain_values)
def test_a_line_more_is_the_last_assignment_and_nothing_else_moves(
    parts: tuple[str, list[str], str, bool], name: str, value: bytes
) -> None:
    """Every file that can be read keeps its bytes; the new line stands at its end, in its own line ends."""
    mark, lines, newline, is_ended = parts
    data = (
        mark + newline.join(line.replace("{}", OLD).replace("{old}", OLD) for line in lines) + newline * is_ended
    ).encode()
    if refusal(data) is not None:
        return
    result = with_line(data, name, value)
    assert result.startswith(data)
    assert [(leaf.key, leaf.text) for leaf in read(result)] == [
        *((leaf.key, leaf.text) for leaf in read(data)),
        (name, value),
    ]
