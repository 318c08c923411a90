"""One-page stories: commands, output and files of one situation, run as they are written on a lab of their own.

A line `$ command` runs in a shell of the project; what follows is all that it says, with what varies masked, and
`[code]` where it does not end with 0. `$ lab door|sicken|heal` asks or changes the lab itself. After a wanted change of
words KEYROTOR_STORIES=write writes the pages anew; read the difference before it is committed.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from on_lab import MakeLab, keyrotor_argv, keyrotor_env

from keyrotor.demo.lab import Lab

PAGES = sorted((Path(__file__).parents[1] / "stories").glob("*.txt"))
SHELL = 'keyrotor() { "%s" -m keyrotor "$@"; }\n'


class Stage:
    """A lab on which a story is played."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._first = self._key = lab.current_key()

    def play(self, command: str) -> str:
        """All that the command says, masked, and its code if it is not 0."""
        if command.startswith("lab "):
            return self._on_lab(command.split()[1])
        done = subprocess.run(
            ["/bin/sh", "-c", SHELL % keyrotor_argv()[0] + command],
            check=False,
            cwd=self._lab.project,
            env=keyrotor_env(self._lab),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        said = self._masked(done.stdout)
        return said + (f"[{done.returncode}]\n" if done.returncode else "")

    def _on_lab(self, word: str) -> str:
        if word == "door":
            present = self._lab.current_key()
            whose = "the first key" if present == self._first else "another key"
            asked = {"it": present, "the first key": self._first, "no key": None}
            return (
                f"the file holds {whose}; " + ", ".join(f"{n}: {self._lab.status(k)}" for n, k in asked.items()) + "\n"
            )
        {"sicken": self._lab.sicken, "heal": self._lab.heal}[word]()
        return ""

    def _masked(self, text: str) -> str:
        lab = self._lab
        for part, word in ((str(lab.root), "LAB"), (lab.url, "URL"), (str(lab.unit), "UNIT")):
            text = text.replace(part, word)
        rules = [
            (r"sk-[A-Za-z0-9_-]{20,}", "sk-KEY"),
            (r"\x1b\[[0-9;?]*[A-Za-z]", ""),
            (r" \(\d+\.\d s\)", ""),
            (r"\b\d+(\.\d+)? s\b", "N s"),
            (r"\bpid \d+", "pid N"),
            (r"\b\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?", "TIME"),
            (r"\b(run|resume|rollback|log|forget) [0-9a-f]{6}\b", r"\1 RUN"),
            (r"(?m)^[0-9a-f]{6}  ", "RUN  "),
            (r"runs/[0-9a-f]{6}\b", "runs/RUN"),
            (r"forgotten: [0-9a-f]{6}(, [0-9a-f]{6})*", "forgotten: RUN"),
            (r"sk-…[0-9a-f]{12}", "sk-…FINGERPRINT"),
            (r'("run": )"[0-9a-f]{6}"', r'\1"RUN"'),
            (r'("(?:seconds|outage)": )[0-9.]+', r"\1N"),
        ]
        for pattern, word in rules:
            text = re.sub(pattern, word, text)
        return text


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_the_story_is_true(make_lab: MakeLab, page: Path) -> None:
    """Every command on the page says what the page says it says."""
    stage = Stage(make_lab(unit_lines="TimeoutStopSec=1\n", within="13.5s"))
    told = page.read_text()
    head, *scenes = re.split(r"(?m)^\$ ", told)
    played = head
    for scene in scenes:
        command, _, rest = scene.partition("\n")
        blank = "\n" if rest.endswith("\n\n") or rest == "\n" else ""
        played += f"$ {command}\n{stage.play(command)}{blank}"
    if os.environ.get("KEYROTOR_STORIES") == "write":
        page.write_text(played)
    assert played == told
