"""The tutorial, typed: its commands run in their order, in one shell of a newcomer's home, on the real parts.

A block that begins with `$ ` is a session: what stands after `$ ` (and `> `) is typed, the rest is all that is said.
What differs from run to run is masked in the page and in what was said alike (`MASKS`); a `…` in the page stands for
whatever stands there, and alone on a line for any lines. Other blocks are for the eye. KEYROTOR_TUTORIAL=write writes
what was said into the page, but for what is told with a `…`; read the difference before it is committed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from newcomer import Newcomer

PAGE = Path(__file__).parents[2] / "docs" / "tutorial.md"
SESSION = re.compile(r"^```\n(\$ .*?)^```$", re.DOTALL | re.MULTILINE)
END = "\x1e"  # between what two commands say; carries the code, and gives it back to `$?`
AFTER = f"code=$?; printf '{END}%s\\n' $code; (exit $code)"
COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
GIT = "[user]\n\tname = You\n\temail = you@localhost\n[init]\n\tdefaultBranch = main\n"
MASKS = (
    (r"sk-…[0-9a-f]{12}", "sk-F"),
    (r"\b(run|resume|rollback|log|forget) [0-9a-f]{6}\b", r"\1 R"),
    (r"(?m)^[0-9a-f]{6}(?=  )", "R"),
    (r"\b\d{4}-\d\d-\d\d( \d\d:\d\d(:\d\d)?)?", "T"),
    (r"\bpid \d+", "pid N"),
    (r" \(\d+\.\d s\)", ""),  # of a thing that took long enough to be told
    (r"\b\d+ (s|minutes?) old", "N old"),
    (r"\b\d+\.\d s\b", "N s"),
)


@dataclass(frozen=True, slots=True)
class Step:
    """One command of the page, and what it says there."""

    typed: str
    told: str


def steps(block: str) -> Iterator[Step]:
    """The commands of a session; a line that begins with `> ` goes on with the one above."""
    for part in re.split(r"(?m)^\$ ", block)[1:]:
        lines = part.splitlines(keepends=True)
        more = next((at for at, line in enumerate(lines[1:], 1) if not line.startswith(("> ", ">\n"))), len(lines))
        typed = lines[0] + "".join(line[2:] or "\n" for line in lines[1:more])
        yield Step(typed, "".join(lines[more:]))


def masked(text: str) -> list[str]:
    for pattern, word in MASKS:
        text = re.sub(pattern, word, text)
    return [line.rstrip() for line in text.rstrip().splitlines()]


def is_told(told: str, said: str) -> bool:
    """Whether the page tells what was said: line by line, but for each `…`."""
    lines = (r"(?:.*\n)*?" if line == "…" else re.escape(line).replace("…", ".*") + "\n" for line in masked(told))
    pattern = "".join(lines)
    return re.fullmatch(pattern, "".join(line + "\n" for line in masked(said))) is not None


def test_what_the_tutorial_says_is_what_happens(newcomer: Newcomer) -> None:
    """Every command of the page says what the page says it says; at its end nothing of the lab is left."""
    page = PAGE.read_text()
    asked = [step for block in SESSION.findall(page) for step in steps(block)]
    assert asked
    (newcomer.home / ".gitconfig").write_text(GIT)
    theirs, here = ("/home/you", "127.0.0.1:4000"), (str(newcomer.home), f"127.0.0.1:{newcomer.port}")
    said = answers(newcomer, [with_words(step.typed, theirs, here) for step in asked])
    told = [with_words(answer, here, theirs) for answer in said]
    if os.environ.get("KEYROTOR_TUTORIAL") == "write":
        PAGE.write_text(rewritten(page, told))
    wrong = [
        f"$ {step.typed}says:\n{newcomer.without_keys(answer)}and not:\n{step.told}"
        for step, answer in zip(asked, told, strict=False)
        if not is_told(step.told, answer)
    ]
    assert wrong == [], "\n".join(wrong)
    assert len(said) == len(asked)
    assert not newcomer.lab.exists()
    assert newcomer.manager.systemctl("list-units", "--all", "--plain", "--no-legend", "litellm.*") == ""


def with_words(text: str, these: Iterable[str], those: Iterable[str]) -> str:
    for one, other in zip(these, those, strict=True):
        text = text.replace(one, other)
    return text


def answers(newcomer: Newcomer, typed: Iterable[str]) -> list[str]:
    """What each command says, all of them typed into one shell; fewer if the shell ended early."""
    session = newcomer.programs.with_name("session")
    session.write_text("".join(f"{command.rstrip()}\n{AFTER}\n" for command in typed))
    said = newcomer.types(f"exec bash --norc {session}", folder=newcomer.home, code=None, timeout=300)
    first, *rest = COLOURS.sub("", said).split(END)
    return [first, *(part.partition("\n")[2] for part in rest)][:-1]


def rewritten(page: str, told: Iterable[str]) -> str:
    """The page with what was said where it does not tell it, but for what is not told in full."""
    left = iter(told)

    def block(found: re.Match[str]) -> str:
        written = ""
        for part, step, answer in zip(found[1].split("\n$ "), steps(found[1]), left, strict=False):
            typed = part.removeprefix("$ ").rstrip("\n") + "\n"
            is_kept = is_told(step.told, answer) or re.search(r"(?<!sk-)…", step.told)
            said = answer.rstrip() + "\n" if answer.strip() else ""
            written += f"$ {typed}" if is_kept else f"$ {typed.removesuffix(step.told)}{said}"
        return f"```\n{written}```"

    return SESSION.sub(block, page)
