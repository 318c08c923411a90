"""The splice itself: guards, proof, references."""

from __future__ import annotations

from dataclasses import replace as changed

import pytest

from keyrotor.errors import FormatError
from keyrotor.formats import dotenv, json
from keyrotor.formats.splice import Leaf, raw_hits, references, replace, tokens

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
    "text",
    [
        b"$K", b"${K}", b"${K:-x}", b"${K-x}", b"${K:?none}", b"${K:+x}", b"Bearer ${K}", b"http://h/$K/x",
        b"env:K", b"{env:K}", b"${env:K}", b"Bearer {env:K}", b"${{ secrets.K }}", b"${{secrets.K}}",
        b"os.environ/K",
    ],
)  # fmt: skip
def test_a_reference_is_recognised(text: bytes) -> None:
    """A leaf that takes its value from the variable needs no splice, in all the ways clients write that."""
    assert references([leaf(b"other"), leaf(text)], "K")


@pytest.mark.parametrize(
    "text",
    [
        b"K", b"$KK", b"$K_2", b"${KK}", b"${XK}", b"$XK", b"${K", b"{K}", b"$$K", b"$${K}", b"\\$K",
        b"env:KK", b"myenv:K", b"{env:XK}", b"${{ secrets.KK }}", b"${{ secrets.X }}", b"secrets.K",
        b"os.environ/KK", b"xos.environ/K", b"$k", b"",
    ],
)  # fmt: skip
def test_what_is_no_reference_is_not_taken_for_one(text: bytes) -> None:
    """Longer names, escaped dollars and bare words refer to nothing."""
    assert not references([leaf(text)], "K")


def test_a_name_with_a_dot_is_taken_literally() -> None:
    """A name is text, not a pattern."""
    assert not references([leaf(b"${AxB}")], "A.B")
    assert references([leaf(b"${A.B}")], "A.B")
