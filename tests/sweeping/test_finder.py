"""Finding forms in blocks and in streams: the same, however the bytes are cut."""

from __future__ import annotations

import base64
import secrets
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyrotor.boundary.forms import Form, forms
from keyrotor.secret import Secret
from keyrotor.sweeping.finder import AT_ONCE, FIRST, Finder, Stream

OLD, NEW = (b"sk-" + secrets.token_urlsafe(32).encode() for _ in range(2))
FORMS = forms(Secret(OLD))
FINDER = Finder({"former": FORMS, "current": forms(Secret(NEW))})
# Whole forms, forms that are cut, what a form begins with, and other bytes: in any order.
PARTS = st.one_of(
    st.sampled_from([form.needle for form in FORMS]),
    st.builds(lambda form, at: form.needle[:at], st.sampled_from(FORMS), st.integers(0, 60)),
    st.builds(lambda form, at: form.needle[at:], st.sampled_from(FORMS), st.integers(0, 60)),
    st.just(NEW),
    st.binary(max_size=20),
)


def fed(*chunks: bytes) -> Stream:
    stream = FINDER.stream()
    for chunk in chunks:
        stream.feed(chunk)
    return stream


def test_a_form_is_found_wherever_a_chunk_ends() -> None:
    """At every offset of the border between two chunks, and byte by byte."""
    for form in FORMS:
        data = b"before " + form.needle + b"|" * 400
        whole = FINDER.counts(data)
        assert whole == {("former", form.name): 1}
        for at in range(len(data) + 1):
            assert fed(data[:at], data[at:]).counts == whole
        assert fed(*(data[at : at + 1] for at in range(len(data)))).counts == whole
        assert fed(*(data[at : at + 7] for at in range(0, len(data), 7))).first == [7]


@given(st.lists(PARTS, max_size=8), st.lists(st.integers(1, 400), min_size=1, max_size=30))
def test_a_stream_finds_what_its_bytes_hold_at_once(parts: list[bytes], sizes: list[int]) -> None:
    """Whatever the bytes are and however they are cut: the same counts."""
    data, chunks, at = b"".join(parts), [], 0
    while at < len(data):
        chunks.append(data[at : at + sizes[len(chunks) % len(sizes)]])
        at += len(chunks[-1])
    assert fed(*chunks).counts == FINDER.counts(data)


@given(st.lists(st.sampled_from(FORMS), max_size=8))
def test_one_occurrence_counts_once(several: list[Form]) -> None:
    """The key as it is is not also the key without its prefix, nor whole base64 one half of it."""
    data = b"|".join(form.needle for form in several)
    assert FINDER.counts(data) == Counter(("former", form.name) for form in several)


def test_a_chunk_may_be_overwritten() -> None:
    """The caller has one buffer."""
    buffer, stream = bytearray(64), FINDER.stream()
    data = bytes(100) + OLD + bytes(100)
    for at in range(0, len(data), len(buffer)):
        piece = data[at : at + len(buffer)]
        buffer[: len(piece)] = piece
        stream.feed(memoryview(buffer)[: len(piece)])
    assert stream.counts == {("former", "as it is"): 1}


def test_values_are_counted_apart() -> None:
    """One value may stand within another, and two names may be of the same value."""
    inner = OLD[4:30]
    finder = Finder({"outer": forms(Secret(OLD)), "inner": forms(Secret(inner)), "again": forms(Secret(OLD))})
    assert finder.counts(OLD) == {("outer", "as it is"): 1, ("inner", "as it is"): 1, ("again", "as it is"): 1}


def test_more_needles_than_can_be_looked_for_at_once() -> None:
    """Four values have some hundred."""
    values = [b"sk-" + secrets.token_urlsafe(32).encode() for _ in range(4)]
    finder = Finder({str(at): forms(Secret(value)) for at, value in enumerate(values)})
    assert sum(len(forms(Secret(value))) for value in values) > AT_ONCE
    data = b" ".join(base64.b64encode(value) for value in values)
    assert finder.counts(data) == Counter({(str(at), "base64"): 1 for at in range(4)})


def test_where_the_first_matches_begin_is_remembered() -> None:
    """In order, also of what stands at the very end; and no more than a person looks at."""
    data = b"x" * 1000 + OLD + b"y" * 50 + NEW
    assert fed(data).first == [1000, 1000 + len(OLD) + 50]
    assert fed(data[:1010], data[1010:]).first == [1000, 1000 + len(OLD) + 50]
    assert len(fed(*[OLD + b" "] * 100).first) == FIRST


def test_without_a_value_nothing_is_found() -> None:
    """It weighs folders, and looks for nothing."""
    stream = Finder({}).stream()
    stream.feed(OLD)
    assert (stream.counts, stream.first) == ({}, [])


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("/a/plain name", "/a/plain name"),
        ("/a/new\nline\t", "/a/new\\nline\\t"),
        ("/a/\udcff\udc80", "/a/\\xff\\x80"),
        ("/a/\u202eright to left", "/a/\\u202eright to left"),
    ],
)
def test_a_name_is_shown_on_one_line(name: str, shown: str) -> None:
    """Whoever names files must not get anything onto a terminal."""
    assert FINDER.shown(name) == shown


def test_a_name_is_shown_without_a_value() -> None:
    """In whatever form it stands there."""
    for form in FORMS:
        name = f"/a/{form.needle.decode('utf-8', 'surrogateescape')}.txt"
        assert FINDER.shown(name) == "/a/[redacted].txt"
