"""A row of lines as a person reads it."""

from __future__ import annotations

from keyrotor.checklist import COLUMNS, lines_of
from keyrotor.core.checkup import Line, State


def test_each_state_has_its_sign_and_the_names_stand_in_a_column() -> None:
    """A symbol, the name, what was seen."""
    lines = [
        Line("sops", State.WELL, "3.11.0"),
        Line("identity", State.UNKNOWN, "cannot be told"),
        Line("git", State.SKIPPED, "not asked"),
    ]
    assert lines_of(lines, "all is well") == [
        "✓ sops      3.11.0",
        "? identity  cannot be told",
        "– git       not asked",
        "all is well",
    ]


def test_the_mend_stands_below_an_ill_line_alone() -> None:
    """And the last line counts what is to be mended."""
    well = Line("disk", State.WELL, "there is room", "rm -r /")
    sick = Line("sops", State.ILL, "cannot run sops", "apt install sops")
    assert lines_of([well, sick], "all is well")[1:] == [
        "✗ sops  cannot run sops",
        "  mend: apt install sops",
        "1 thing to mend",
    ]
    assert lines_of([sick, sick], "all is well")[-1] == "2 things to mend"


def test_what_is_said_is_wrapped_and_a_command_is_not() -> None:
    """80 columns for words; a command is there to be copied."""
    words, command = "many words " * 30, "command " * 30
    told = lines_of([Line("sops", State.ILL, words, command)], "")
    assert all(len(line) <= COLUMNS for line in told if not line.startswith("  mend:"))
    assert f"  mend: {command}" in told
    assert " ".join(" ".join(told[:-2]).split()) == f"✗ sops {words}".strip()


def test_a_long_name_moves_no_column() -> None:
    """It is told in full; the others stay where they are."""
    told = lines_of([Line("a" * 50, State.WELL, "said"), Line("b", State.WELL, "said")], "")
    assert told[0] == f"✓ {'a' * 50}  said"
    assert told[1] == f"✓ b{' ' * 19}  said"


def test_a_look_that_took_its_time_says_so() -> None:
    assert lines_of([Line("sops", State.WELL, "3.11.0", seconds=1.26)], "")[0] == "✓ sops  3.11.0 (1.3 s)"
    assert lines_of([Line("sops", State.WELL, "3.11.0", seconds=0.04)], "")[0] == "✓ sops  3.11.0"


def test_nothing_looked_at_is_well() -> None:
    assert lines_of([], "all is well") == ["all is well"]
