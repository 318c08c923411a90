"""What an audit tells a person: lines of 80 columns, in which no command is ever broken."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from keyrotor import verdicts
from keyrotor.core.audited import Audited
from keyrotor.core.findings import CATALOGUE, Finding, Severity
from keyrotor.core.model import Playbook, Source

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
SOURCE = Source("/lab/a", "LITELLM_MASTER_KEY", "", "/lab")
BOOK = Playbook("litellm-master-key", "/lab/a.toml", SOURCE, "month", 0, {}, ())


def plain(_: Severity, word: str) -> str:
    return word


def audited(*findings: Finding) -> Audited:
    return Audited(BOOK, NOW, (), "", None, None, (), None, findings)


def mended(mend: str) -> list[str]:
    """The lines of a finding that this mends, from its `mend:` on."""
    finding = Finding("key-weak", Severity.HIGH, "a place", "is wrong", "it matters", mend)
    lines = verdicts.lines_of([audited(finding)], plain)
    at = next(at for at, line in enumerate(lines) if "mend:" in line)
    return [line.strip().removeprefix("mend: ") for line in lines[at : lines.index("", at)]]


LONG = "keyrotor resume 7a7fd1 " + "--set a-place-with-a-long-name.within=120s " * 3


@pytest.mark.parametrize(
    ("mend", "lines"),
    [
        ("keyrotor rotate it", ["keyrotor rotate it"]),
        (LONG.strip(), [LONG.strip()]),
        ("keyrotor resume it  (goes on)", ["keyrotor resume it  (goes on)"]),
        (
            "keyrotor resume 7a7fd1  (goes on)   or   keyrotor rollback 7a7fd1  (ends all old)",
            ["keyrotor resume 7a7fd1  (goes on)  or  keyrotor rollback 7a7fd1", "(ends all old)"],
        ),
        (
            "take the key out of the unit, and whatever else there is in it, then: keyrotor rotate it-all",
            ["take the key out of the unit, and whatever else there is in it,", "then: keyrotor rotate it-all"],
        ),
        (
            "set general_settings.master_key, take allow_requests_on_db_unavailable out, and restart it",
            ["set general_settings.master_key, take", "allow_requests_on_db_unavailable out, and restart it"],
        ),
    ],
)
def test_a_mend_is_broken_between_a_command_and_prose_only(mend: str, lines: list[str]) -> None:
    """A command stands whole on its line, however long it is; prose is wrapped."""
    assert mended(mend) == lines


@pytest.mark.parametrize("kind", CATALOGUE)
def test_every_mend_of_the_catalogue_can_be_copied(kind: str) -> None:
    """Put together again, the lines are the mend; those over 80 columns begin with a command."""
    mend = re.sub(r"\{(\w+)\}", lambda word: word[1] + "-" * 20, CATALOGUE[kind].mend)
    lines = mended(mend)
    assert " ".join(" ".join(lines).split()) == " ".join(mend.split())
    assert [line for line in lines if len(line) > 66 and not re.search(verdicts._COMMAND.pattern, line)] == []
    for command in re.findall(rf"(?:^| {{2,}}|: )((?:{verdicts._PROGRAMS})\b.*?)(?= {{2}}|$)", mend):
        assert any(command in line for line in lines), command


def test_a_severity_is_painted_and_nothing_else() -> None:
    """Whoever paints gets the word with its margin; the width of the line is reckoned without paint."""
    finding = Finding("key-weak", Severity.HIGH, "a place", "is wrong", "it matters", "mend it")
    painted: list[str] = []

    def paint(severity: Severity, word: str) -> str:
        painted.append(word)
        return f"<{severity}>{word}"

    lines = verdicts.lines_of([audited(finding)], paint)
    assert painted == ["high    "]
    assert "<high>high    a place: is wrong" in lines


@pytest.mark.parametrize(
    ("due", "said"),
    [
        (NOW + timedelta(days=9), "12 days old, due in 9 days (2026-12-01); 0 places looked at"),
        (NOW - timedelta(days=3), "12 days old, overdue for 3 days (2026-11-19); 0 places looked at"),
    ],
)
def test_a_playbook_is_told_in_one_sentence(due: datetime, said: str) -> None:
    """How old its key is, and when it is due."""

    class Aged(Audited):
        age = timedelta(days=12)  # type: ignore[assignment]

    one = Aged(BOOK, NOW, (), "", None, None, (), due, ())
    assert said in " ".join(" ".join(verdicts.lines_of([one], plain)).split())


@pytest.mark.parametrize("sign", ["\x1b[2J", "\n", "\r", "\x9b", "\u202e", "\u2028", "\udcff"])
def test_nothing_that_steers_a_terminal_is_told(sign: str) -> None:
    """File names may hold anything; what is shown of it is its code. Colours are ours, and stay."""
    told = f"a{sign}b"
    finding = Finding("twin-beside", Severity.HIGH, told, told, told, f"shred -u {told}  (if {told})")
    book = Playbook(told, "/lab/a.toml", SOURCE, "month", 0, {}, ())
    one = Audited(book, NOW, (), "", None, None, (), None, (finding,))
    lines = verdicts.lines_of([one], lambda _, word: f"\x1b[1m{word}\x1b[0m")
    said = "".join(lines).replace("\x1b[1m", "").replace("\x1b[0m", "")
    assert said.isprintable()
    assert said.count("a\\") == 6
