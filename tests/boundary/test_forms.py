"""The forms in which a value is looked for, and hidden: each as a program or a library writes it down."""

from __future__ import annotations

import base64
import codecs
import hashlib
import json
import re
import secrets
import shlex
import subprocess
import urllib.parse
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyrotor.boundary.forms import _WINDOW, Form, Veil, forms, redacted
from keyrotor.boundary.plaintext import SHORTEST
from keyrotor.secret import Secret

KEY = b"sk-" + secrets.token_urlsafe(32).replace("a", "-").replace("b", "_").encode()
ODD = b"p\"a's$s`w\\ord /+<&>=%!" + secrets.token_hex(8).encode()


def names_in(data: bytes, value: bytes) -> set[str]:
    return {form.name for form in forms(Secret(value)) if form.needle in data}


def with_percents(value: bytes) -> bytes:
    return b"".join(b"%%%02x" % byte for byte in value)


@pytest.mark.parametrize("value", [KEY, ODD], ids=["key", "odd"])
@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("as it is", lambda value: b"Authorization: Bearer " + value),
        ("base64", base64.b64encode),
        ("base64", lambda value: b"Authorization: Basic " + base64.b64encode(b"user:" + value)),
        ("base64", lambda value: base64.b64encode(b"admin:" + value + b"\n")),
        ("base64", lambda value: base64.urlsafe_b64encode(b"Bearer " + value)),
        ("hex", lambda value: value.hex().encode()),
        ("hex", lambda value: base64.b16encode(b"x" + value + b"y")),
        ("SHA-256", lambda value: hashlib.sha256(value).hexdigest().encode()),
        ("SHA-256", lambda value: hashlib.sha256(value).hexdigest().upper().encode()),
        ("SHA-256", lambda value: hashlib.sha256(value).digest()),
        ("SHA-256", lambda value: b"sha256-" + base64.b64encode(hashlib.sha256(value).digest())),
        ("URL-escaped", with_percents),
        ("URL-escaped", lambda value: with_percents(value).upper()),
        ("JSON-escaped", lambda value: "".join(f"\\u{byte:04x}" for byte in value).encode()),
        ("UTF-16", lambda value: value.decode().encode("utf-16")),
        ("UTF-16", lambda value: ("key: " + value.decode() + "\n").encode("utf-16-be")),
    ],
)
def test_a_form_is_found_as_others_write_it(value: bytes, name: str, written: Callable[[bytes], bytes]) -> None:
    """Whatever stands beside the value, in both kinds of hex digits, in both alphabets of base64."""
    assert name in names_in(written(value), value)


@given(st.binary(min_size=SHORTEST, max_size=60), st.binary(max_size=5), st.binary(max_size=5))
def test_base64_is_found_whatever_stands_beside_the_value(value: bytes, before: bytes, after: bytes) -> None:
    """In each of the three alignments and both alphabets, for any value."""
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        assert names_in(encode(before + value + after), value) & {"base64"}


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("URL-escaped", lambda text: urllib.parse.quote(text, safe="")),
        ("URL-escaped", lambda text: urllib.parse.urlencode({"key": text})),
        ("URL-escaped", lambda text: re.sub("%..", lambda found: found[0].lower(), urllib.parse.quote_plus(text))),
        ("JSON-escaped", lambda text: json.dumps({"key": text})),
        ("JSON-escaped", lambda text: json.dumps({"key": text}).replace("/", "\\/")),
        ("JSON-escaped", lambda text: json.dumps(json.dumps({"key": text}))),
        ("shell-escaped", lambda text: shlex.join(["curl", text])),
        ("shell-escaped", lambda text: "'" + text.replace("'", "'\\''") + "'"),
        ("shell-escaped", lambda text: subprocess.check_output(["bash", "-c", 'printf %q "$1"', "_", text], text=True)),
        ("shell-escaped", lambda text: "$'" + codecs.encode(text, "unicode_escape").decode().replace("'", "\\'") + "'"),
    ],
)
def test_what_has_to_be_escaped_is_found_escaped(name: str, written: Callable[[str], str]) -> None:
    """A value with quotes, blanks and slashes, of the kind that other programs' passwords are."""
    assert names_in(written(ODD.decode()).encode(), ODD) == {name}


def test_a_unit_named_after_a_value_is_found() -> None:
    """systemd escapes dashes in names, which is where the keys of LiteLLM have one."""
    escaped = subprocess.check_output(["systemd-escape", KEY.decode()]).strip()
    assert "shell-escaped" in names_in(escaped, KEY)


@pytest.mark.parametrize("width", [64, 76])
@pytest.mark.parametrize("before", range(80))
def test_base64_that_is_broken_over_lines_is_found(width: int, before: int) -> None:
    """Mail and PEM break lines wherever it happens to be; one part of the needle stays whole."""
    encoded = base64.b64encode(b"x" * before + KEY + b"y" * 80)
    broken = b"\n".join(encoded[at : at + width] for at in range(0, len(encoded), width))
    assert names_in(broken, KEY) & {"base64", "base64, broken over lines"}


@pytest.mark.parametrize("width", [64, 76])
@pytest.mark.parametrize("size", [17, 18, 19, 20, 24, 25, 49, 60, 97, 114, 115, 150, 300])
def test_a_value_of_any_length_whose_base64_is_broken_over_lines_is_found(width: int, size: int) -> None:
    """However many lines it takes, and wherever the first one breaks."""
    value = secrets.token_urlsafe(size).encode()[:size]
    for before in range(width):
        encoded = base64.b64encode(b"x" * before + value + b"y" * 80)
        broken = b"\n".join(encoded[at : at + width] for at in range(0, len(encoded), width))
        assert names_in(broken, value) & {"base64", "base64, broken over lines"}, before


def test_the_key_without_its_prefix_is_a_form_of_its_own() -> None:
    """Only where enough is left of it to be told from other words."""
    assert names_in(b"'" + KEY[3:] + b"'", KEY) == {"without its prefix"}
    assert "without its prefix" not in {form.name for form in forms(Secret(b"sk-" + b"x" * (SHORTEST - 1)))}


@given(st.binary(min_size=1, max_size=60))
def test_no_form_is_there_twice_or_empty(value: bytes) -> None:
    """Of any value at all; the first is the value itself."""
    found = forms(Secret(value))
    needles = [form.needle for form in found]
    assert found[0] == Form("as it is", value)
    assert len(set(needles)) == len(needles)
    assert all(len(needle) >= min(8, len(value)) for needle in needles)


def test_no_form_is_shown() -> None:
    """Neither in a trace nor in a message."""
    shown = repr(forms(Secret(KEY))) + str(forms(Secret(KEY))[0])
    assert not any(form.needle.decode("latin-1") in shown for form in forms(Secret(KEY)))


# -- hiding ----------------------------------------------------------------------------------------------------------


@given(st.binary(max_size=30), st.data())
def test_no_form_survives_redaction(around: bytes, data: st.DataObject) -> None:
    """Nor a piece of one that tells as much as 8 bytes of the value."""
    form = data.draw(st.sampled_from(forms(Secret(KEY))))
    told = redacted(around + form.needle + around, [Secret(KEY), Secret(ODD)])
    size = max(8, 8 * len(form.needle) // len(KEY))
    assert not any(form.needle[at : at + size] in told for at in range(len(form.needle) - size + 1))


def test_a_value_is_hidden_wherever_it_stands() -> None:
    """What is hidden is gone through in windows: also on the border of two."""
    for form in (KEY, KEY.hex().encode()):
        for before in (0, *range(_WINDOW - 95, _WINDOW + 5), 2 * _WINDOW - 20):
            assert redacted(b"." * before + form + b".", [Secret(KEY)]) == b"." * before + b"[redacted]."


def test_what_stands_around_a_value_stays() -> None:
    """A log is still to be read."""
    told = redacted(b"before " + KEY + b" and " + KEY.hex().encode() + b" after", [Secret(KEY)])
    assert told == b"before [redacted] and [redacted] after"


def test_a_value_that_was_cut_is_hidden() -> None:
    """journald and LiteLLM cut long lines."""
    for piece in (KEY[:12], KEY[-12:], KEY[8:20]):
        assert redacted(b"key " + piece + b" end", [Secret(KEY)]) == b"key [redacted] end"


def test_keys_of_others_are_hidden_as_well() -> None:
    """Evidence of one leak must not be another."""
    other = b"sk-" + secrets.token_urlsafe(16).encode()
    assert other not in redacted(b"virtual key " + other, [Secret(KEY)])


def test_without_a_value_nothing_is_hidden() -> None:
    """An empty row of values is none."""
    assert Veil([]).over(b"all of it") == b"all of it"
