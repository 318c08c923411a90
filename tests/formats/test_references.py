"""References to a variable: in which form, and what is none."""

from __future__ import annotations

import pytest

from keyrotor.core.clients import Form
from keyrotor.formats import readers
from keyrotor.formats.references import FORMS, asks_us, commands, found, prints_key


def test_the_forms_are_those_of_the_core() -> None:
    """The words of this table and of the clients' are the same."""
    assert set(FORMS) == {str(form) for form in Form}


@pytest.mark.parametrize(
    ("text", "forms"),
    [
        (b"$K", ["$NAME"]),
        (b"${K}", ["${NAME}"]),
        (b"${K:-x}", ["${NAME}"]),
        (b"${K-x}", ["${NAME}"]),
        (b"${K:?none}", ["${NAME}"]),
        (b"${K:+x}", ["${NAME}"]),
        (b"Bearer ${K}", ["${NAME}"]),
        (b"http://h/$K/x", ["$NAME"]),
        (b"env:K", ["env:NAME"]),
        (b"{env:K}", ["{env:NAME}"]),
        (b"Bearer {env:K}", ["{env:NAME}"]),
        (b"${env:K}", ["env:NAME"]),
        (b"${{ secrets.K }}", ["${{ secrets.NAME }}"]),
        (b"${{secrets.K}}", ["${{ secrets.NAME }}"]),
        (b"os.environ/K", ["os.environ/NAME"]),
        (b"$K ${K} env:K", ["${NAME}", "$NAME", "env:NAME"]),
    ],
)
def test_a_reference_is_recognised_by_its_form(text: bytes, forms: list[str]) -> None:
    """A leaf that takes its value from the variable needs no splice; which form it is decides whether it works."""
    assert found(text, "K") == tuple(forms)


@pytest.mark.parametrize(
    "text",
    [
        b"K", b"$KK", b"$K_2", b"${KK}", b"${XK}", b"$XK", b"${K", b"{K}", b"$$K", b"$${K}", b"\\$K",
        b"env:KK", b"myenv:K", b"{env:XK}", b"${{ secrets.KK }}", b"${{ secrets.X }}", b"secrets.K",
        b"\\${K}", b"$${{ secrets.K }}", b"\\${env:K}", b"os.environ/KK", b"xos.environ/K", b"$k", b"",
    ],
)  # fmt: skip
def test_what_is_no_reference_is_not_taken_for_one(text: bytes) -> None:
    """Longer names, escaped dollars and bare words refer to nothing."""
    assert found(text, "K") == ()


def test_a_name_with_a_dot_is_taken_literally() -> None:
    """A name is text, not a pattern."""
    assert not found(b"${AxB}", "A.B")
    assert found(b"${A.B}", "A.B")


@pytest.mark.parametrize(
    ("text", "is_command"),
    [
        (b"$(pass lab)", True), (b"Bearer $(cat key)", True), (b"`pass lab`", True),
        (b"$$(x)", False), (b"\\$(x)", False), (b"$((1 + 2))", False), (b"\\`x\\`", False), (b"it`s", False),
        (b"$()", False), (b"${X}", False), (b"", False),
    ],
)  # fmt: skip
def test_a_command_is_told_from_text(text: bytes, is_command: bool) -> None:
    """Escaped ones and arithmetic run nothing."""
    assert commands(text) is is_command


@pytest.mark.parametrize(
    ("text", "is_ours"),
    [
        (b"keyrotor print-key", True), (b"/usr/bin/keyrotor print-key lab", True), (b"$(keyrotor print-key)", True),
        (b'"/a b/keyrotor" print-key', True), (b"keyrotor -q print-key", True), (b"exec keyrotor print-key", True),
        (b"keyrotor print-keys", False), (b"mykeyrotor print-key", False), (b"keyrotor rotate; print-key", False),
        (b"print-key", False), (b"keyrotor", False), (b"", False),
    ],
)  # fmt: skip
def test_a_helper_of_ours_is_recognised(text: bytes, is_ours: bool) -> None:
    """It prints the key of today, whatever the file says besides."""
    assert prints_key(text) is is_ours


@pytest.mark.parametrize(
    ("text", "does"),
    [
        ('{"h": "keyrotor print-key"}', True),
        ('{"command": "/usr/bin/keyrotor", "args": ["print-key", "x"]}', True),
        ('{"a": {"args": ["-m", "keyrotor", "print-key"], "command": "python3"}}', True),
        ('{"run": ["/a b/keyrotor", "print-key"]}', True),
        ('{"command": "keyrotor", "args": ["rotate"]}', False),
        ('{"command": "other", "args": ["print-key"]}', False),
        ('{"a": {"command": "keyrotor"}, "b": {"args": ["print-key"]}}', False),
        ('{"run": [["keyrotor"], ["print-key"]]}', False),
        ("{}", False),
    ],
)
def test_a_helper_of_ours_may_be_written_word_by_word(text: str, does: bool) -> None:
    """As a list, or as a program and its arguments beside it."""
    assert asks_us(readers.of("json")(text.encode())) is does
