"""The splice itself: guards, proof, comments."""

from __future__ import annotations

from dataclasses import replace as changed

import pytest

from keyrotor.errors import FormatError
from keyrotor.formats import dotenv, ini, json, toml, yaml
from keyrotor.formats.splice import Leaf, Reader, raw_hits, raw_tokens, replace, tokens, whole, words

OLD, NEW = b"sk-OLD", b"sk-NEW"


def leaf(text: bytes) -> Leaf:
    return Leaf("K", "K", text, range(len(text) + 1))


@pytest.mark.parametrize(
    ("text", "starts"),
    [
        (b"sk-OLD", [0]),
        (b"Bearer sk-OLD", [7]),
        (b"sk-OLD2", []),
        (b"sk-OLD_", []),
        (b"sk-OLD-", []),
        (b"xsk-OLD", []),
        (b"-sk-OLD", []),
        (b"sk-OLDsk-OLD", []),
        (b"sk-OLD sk-OLD", [0, 7]),
        (b"sk-OLD2 sk-OLD", [8]),
        (b"sk-OLD.", [0]),
        (b"\xc3\xa9sk-OLD\xc3\xa9", [2]),
        (b"sk-old", []),
        (b"", []),
    ],
)
def test_a_value_counts_only_as_a_whole_token(text: bytes, starts: list[int]) -> None:
    """What goes on with a letter, digit, dash or underscore on either side is another key."""
    assert [token.start for token in tokens([leaf(text)], OLD)] == starts


def test_an_empty_value_is_not_looked_for() -> None:
    """Looking for nothing is a mistake of the caller, not a hit everywhere."""
    with pytest.raises(ValueError, match="empty value"):
        tokens([leaf(b"x")], b"")


@pytest.mark.parametrize(
    "value",
    [b"", b"a b", b'a"b', b"a\\b", b"a$b", b"a\n", b"a;b", b"a'b", b"a~", b"a\0", b"\xc3\xa9", b"a#"],
)
def test_an_unsafe_value_is_refused_and_not_shown(value: bytes) -> None:
    """Only a value that needs no quoting anywhere is spliced in, and the refusal does not show it."""
    data = b'{"k": "sk-OLD"}'
    with pytest.raises(ValueError, match=r"^the value has characters outside of the safe alphabet$"):
        replace(json.read, data, tokens(json.read(data), OLD), value)


@pytest.mark.parametrize("value", [b"x", b"sk-a_B-9", b"YWJj=", b"YWI=="])
def test_a_safe_value_goes_in_and_comes_out_again(value: bytes) -> None:
    """Every value of the safe alphabet is found where it was put, and can be put back."""
    data = b'{"k": "a sk-OLD b", "l": "sk-OLD"}'
    there = replace(json.read, data, tokens(json.read(data), OLD), value)
    assert there == data.replace(OLD, value)
    assert replace(json.read, there, tokens(json.read(there), value), OLD) == data


def test_no_token_no_change() -> None:
    """A file without the value comes back as it is."""
    assert replace(dotenv.read, b"A=1\n", (), NEW) == b"A=1\n"


def test_an_escaped_token_is_found_and_written_plainly() -> None:
    """A key behind escapes is a token over all of its raw bytes; what stands beside it stays escaped."""
    data = rb'{"k": "\u00e9 \u0073k\u002dOL\u0044 \u00e9"}'
    found = tokens(json.read(data), OLD)
    assert [data[token.start : token.end] for token in found] == [rb"\u0073k\u002dOL\u0044"]
    assert replace(json.read, data, found, NEW) == rb'{"k": "\u00e9 sk-NEW \u00e9"}'


def test_an_escape_before_a_token_guards_by_its_meaning() -> None:
    """The n of a line feed is no letter, and an escaped letter is one."""
    assert len(tokens(json.read(rb'["\nsk-OLD"]'), OLD)) == 1
    assert tokens(json.read(rb'["\u006esk-OLD"]'), OLD) == ()


def test_tokens_of_a_file_that_moved_are_refused() -> None:
    """A splice planned on other bytes is not made."""
    data, moved = b"A=sk-OLD\nB=1\n", b"# more\nA=sk-OLD\nB=1\n"
    with pytest.raises(FormatError):
        replace(dotenv.read, moved, tokens(dotenv.read(data), OLD), NEW)


def test_a_leaf_that_was_changed_meanwhile_is_refused() -> None:
    """The same place with another text is not the leaf that was chosen, even if its token still fits."""
    found = tokens(dotenv.read(b"A=sk-OLD 1\n"), OLD)
    with pytest.raises(FormatError, match="no longer where it was seen at line 1, column 3"):
        replace(dotenv.read, b"A=sk-OLD 2\n", found, NEW)


def test_a_leaf_that_is_gone_is_refused() -> None:
    """A token whose place is no leaf now, as in a line turned into a comment, is not spliced."""
    found = tokens(dotenv.read(b" A=sk-OLD\n"), OLD)
    with pytest.raises(FormatError, match="no longer where it was seen"):
        replace(dotenv.read, b"#A=sk-OLD\n", found, NEW)


def test_overlapping_spans_are_refused() -> None:
    """The same token twice would cut into its own result."""
    data = b"A=sk-OLD\n"
    (token,) = tokens(dotenv.read(data), OLD)
    with pytest.raises(FormatError, match="spans that overlap"):
        replace(dotenv.read, data, [token, token], NEW)


def test_a_span_outside_of_the_file_is_refused() -> None:
    """A token beyond the end is a plan for another file."""
    data = b"A=sk-OLD\n"
    (token,) = tokens(dotenv.read(data), OLD)
    with pytest.raises(FormatError, match="leave the file"):
        replace(dotenv.read, data, [changed(token, end=len(data) + 1)], NEW)


def test_a_span_over_a_quote_is_refused() -> None:
    """A token that takes the syntax with it leaves a file that no longer reads the same."""
    data = b'["sk-OLD", "b"]'
    (token,) = tokens(json.read(data), OLD)
    with pytest.raises(FormatError):
        replace(json.read, data, [changed(token, end=token.end + 4)], NEW)
    data = b"A=sk-OLD\nB=1\n"
    (token,) = tokens(dotenv.read(data), OLD)
    with pytest.raises(FormatError, match="how many values"):
        replace(dotenv.read, data, [changed(token, end=token.end + 1)], NEW)


def test_a_reader_that_reads_the_result_otherwise_is_refused() -> None:
    """The proof looks at every leaf: a path, a key or a text that moved elsewhere stops the splice."""
    data = b"A=sk-OLD\nB=1\n"
    first, second = dotenv.read(data)
    for other in (changed(second, path="C"), changed(second, key="C"), changed(second, text=b"2")):

        def read(seen: bytes, other: Leaf = other) -> tuple[Leaf, ...]:
            return (first, second) if seen == data else (dotenv.read(seen)[0], other)

        with pytest.raises(FormatError, match="the splice changed another value at line 2, column 3"):
            replace(read, data, tokens(read(data), OLD), NEW)


def test_raw_hits_counts_whole_tokens_outside_of_leaves() -> None:
    """Comments and names are counted; leaves and longer keys are not."""
    data = b'// sk-OLD sk-OLD2\n{"sk-OLD": "sk-OLD", "x": "Bearer sk-OLD"} /* sk-OLD */'
    assert raw_hits(data, json.read(data), OLD) == 3


@pytest.mark.parametrize(
    ("read", "data"),
    [
        (json.read, b'// sk-OLD\n{"k": "sk-OLD" /* sk-OLD */}'),
        (yaml.read, b"# sk-OLD\nk: sk-OLD # sk-OLD\n"),
        (toml.read, b"# sk-OLD\nk = 'sk-OLD' # sk-OLD\n"),
        (ini.read, b"# sk-OLD\n[a] ; sk-OLD\nk = sk-OLD\n"),
        (dotenv.read, b"# sk-OLD\nK=sk-OLD # sk-OLD\n"),
    ],
)
def test_comments_are_spliced_only_if_asked(read: Reader, data: bytes) -> None:
    """Both in one go, and back; without being asked only the value moves."""
    found, raw = tokens(read(data), OLD), raw_tokens(data, read(data), OLD)
    assert len(found) == 1
    assert len(raw) == 2
    assert replace(read, data, found, NEW).count(NEW) == 1
    there = replace(read, data, found, NEW, raw)
    assert there == data.replace(OLD, NEW)
    assert replace(read, there, tokens(read(there), NEW), OLD, raw_tokens(there, read(there), NEW)) == data


@pytest.mark.parametrize(
    ("read", "data", "column"),
    [
        (json.read, b'{"sk-OLD": "x"}', 3),
        (json.read, b'{"sk-OLD": {}}', 3),
        (json.read, b'{"sk-OLD": [], "k": "sk-OLD"}', 3),
        (json.read, b'/* sk-OLD */ {"a": {"sk-OLD": 1}}', 22),
        (yaml.read, b"sk-OLD: x", 1),
        (yaml.read, b"sk-OLD: {}", 1),
        (yaml.read, b"sk-OLD:", 1),
        (toml.read, b"sk-OLD = 1", 1),
        (toml.read, b"[sk-OLD]", 2),
        (toml.read, b"[[sk-OLD]]", 3),
        (toml.read, b"sk-OLD = {}", 1),
        (ini.read, b"[sk-OLD]", 2),
        (ini.read, b"sk-OLD = 1", 1),
    ],
)
def test_a_value_in_a_name_is_never_spliced(read: Reader, data: bytes, column: int) -> None:
    """A path would change, also where nothing stands behind it; the refusal points at it."""
    with pytest.raises(FormatError, match=f"^the value stands in a name at line 1, column {column}$"):
        replace(read, data, tokens(read(data), OLD), NEW, raw_tokens(data, read(data), OLD))


@pytest.mark.parametrize(
    ("read", "data"),
    [
        (toml.read, b'a = """\\\n  sk-OLD\\\n  , x"""\n'),
        (yaml.read, b'a: "\\\n  sk-OLD\\\n  , x"\n'),
        (yaml.read, b"a: >\n  sk-OLD\n\n  x\n"),
    ],
)
def test_a_line_that_goes_on_behind_a_token_is_left_as_it_is(read: Reader, data: bytes) -> None:
    """What means nothing is no part of the token before it, nor of the one behind it."""
    (token,) = tokens(read(data), OLD)
    assert data[token.start : token.end] == OLD
    assert replace(read, data, [token], NEW) == data.replace(OLD, NEW)


@pytest.mark.parametrize(
    ("text", "said"), [(b"x", b"x"), (b"  x y ", b"x y"), (b"", b""), (b"  ", b""), (b"x\n", b"x")]
)
def test_the_whole_of_a_leaf_is_all_but_what_is_blank_around_it(text: bytes, said: bytes) -> None:
    """So that a line's end stays where it is."""
    token = whole(leaf(text))
    assert text[token.start : token.end] == said


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (b"sk-OLD", "K"),
        (b"A=sk-OLD", "A"),
        (b'x A="sk-OLD"', "A"),
        (b"A='sk-OLD'", "A"),
        (b"A=x sk-OLD", "K"),
        (b"A = sk-OLD", "K"),
        (b"--a-key=sk-OLD", "key"),
        (b"1=sk-OLD", "K"),
        (b"x" * 999 + b" A=sk-OLD", "A"),
        (b"${A:-sk-OLD}", "A"),
        (b"B=${A-sk-OLD}", "A"),
        (b"x ${A:=sk-OLD}", "A"),
    ],
)
def test_a_token_knows_the_variable_that_it_is_the_value_of(text: bytes, key: str) -> None:
    """A text may assign several; else the leaf's own name counts."""
    (token,) = tokens([leaf(text)], OLD)
    assert token.key == key


def test_a_number_is_not_replaced_by_a_number() -> None:
    """Only a text is; what stands bare in JSON or TOML is none, even if the file could be read again."""
    for read, data in ((json.read, b'{"k": 1234567890}'), (toml.read, b"k = 1234567890\n")):
        with pytest.raises(FormatError, match="a number or the like, not a text"):
            replace(read, data, tokens(read(data), b"1234567890"), b"987654321")


@pytest.mark.parametrize(
    "text", ["${A:-@}", "${A-@}", "${A:=@}", "${A=@}", "${A:+@}", "${A+@}", "${A:?@}", "x ${A?@} y", "${B}${A-@}"]
)
def test_the_default_of_a_reference_is_a_value_like_any_other(text: str) -> None:
    """Whichever way a shell or Compose is told it; found among the words, too."""
    here = leaf(text.replace("@", OLD.decode()).encode())
    (token,) = tokens([here], OLD)
    assert here.text[token.start : token.end] == OLD
    assert OLD in words(here)


@pytest.mark.parametrize("text", ["a-@", "-@", "$A-@", "{A-@", "${A-b-@}", "${a b-@}", "${1-@x}", "${A:--@}"])
def test_what_a_hyphen_belongs_to_is_another_word(text: str) -> None:
    """Only the one that begins a default is none of the value's."""
    here = leaf(text.replace("@", OLD.decode()).encode())
    assert tokens([here], OLD) == ()
    assert OLD not in words(here)
