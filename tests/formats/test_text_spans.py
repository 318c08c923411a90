"""Plain text: lines, of which nothing is known."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyrotor.errors import FormatError
from keyrotor.formats.splice import replace, tokens
from keyrotor.formats.text import read

OLD, NEW = b"sk-OLD-OLD", b"sk-NEW"


@given(
    st.lists(st.sampled_from(["{}", " ", "\n", "\r\n", "\r", "é", "🔑", "=", '"', "# ", "$", "\t", "\ufeff"])).map(
        "".join
    )
)
def test_a_splice_changes_the_tokens_of_any_text_and_nothing_else(text: str) -> None:
    """Wherever the value stands alone, be it a comment; the inverse splice gives the old bytes."""
    spaced = text.replace("{}", " {} ").encode()
    data = spaced.replace(b"{}", OLD)
    changed = replace(read, data, tokens(read(data), OLD), NEW)
    assert changed == spaced.replace(b"{}", NEW)
    assert replace(read, changed, tokens(read(changed), NEW), OLD) == data


def test_a_line_is_a_leaf() -> None:
    """Blank ones are none; a mark of the byte order and a line's end belong to no line."""
    data = "\ufeffone\r\n\n  \n# two \n".encode()
    assert [(leaf.path, leaf.key, leaf.text) for leaf in read(data)] == [
        ("line 1", "", b"one"),
        ("line 4", "", b"# two "),
    ]
    assert read(b"") == ()


def test_a_value_in_an_assignment_is_told_from_another_variables() -> None:
    """Each token knows the name before it, so that a salt with the same value is not rotated along."""
    line = b"A=sk-OLD-OLD env LITELLM_SALT_KEY='sk-OLD-OLD' x --key=sk-OLD-OLD sk-OLD-OLD"
    assert [token.key for token in tokens(read(line), OLD)] == ["A", "LITELLM_SALT_KEY", "key", ""]


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"a\n\xff", "invalid utf-8 at line 2, column 1"), (b"a\nb\0", "a nul byte at line 2, column 2")],
)
def test_what_is_no_text_is_refused(data: bytes, message: str) -> None:
    """A program or a picture is nobody's config."""
    with pytest.raises(FormatError) as refused:
        read(data)
    assert str(refused.value) == message
