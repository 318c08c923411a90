"""Which sops is let near a file: the version gate, and what it is given. The real one works in tests/places."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from keyrotor.boundary.process import Processes
from keyrotor.boundary.sops import Identity, Sops
from keyrotor.errors import PlaceError, RefusedError
from keyrotor.secret import Secret

Fake = Callable[[str], Sops]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def fake(tmp_path: Path, log: Path) -> Fake:
    """A sops of shell lines that notes how it was called, and with which environment."""

    def make(lines: str) -> Sops:
        program = tmp_path / "sops"
        program.write_text(f'#!/bin/sh\necho "$@" >> {log}\nenv >> {log}.env\n{lines}\n')
        program.chmod(0o700)
        env = {"PATH": os.environ["PATH"], "KEYROTOR_SOPS": str(program), "HOME": str(tmp_path)}
        env |= {"LITELLM_MASTER_KEY": "in-our-shell", "SOPS_KEYSERVICE": "tcp://x", "AWS_PROFILE": "x", "EDITOR": "vi"}
        return Sops(Processes(), env, Identity({"SOPS_AGE_KEY_FILE": "/some/keys.txt"}))

    return make


@pytest.mark.parametrize("said", ["sops 3.11.0", "sops 3.11.0 (latest)", "sops 3.13.3\n", "sops 4.0.0", "sops 3.100.0"])
def test_a_sops_that_reads_from_stdin_is_taken(fake: Fake, said: str) -> None:
    """3.11.0 is the first; versions are numbers, not texts."""
    fake(f"echo '{said}'").want_version()


@pytest.mark.parametrize("said", ["sops 3.10.2", "sops 3.8.1", "sops 2.0.4", "sops 3.9.100"])
def test_an_older_sops_is_refused(fake: Fake, said: str) -> None:
    """Its `set` cannot read the value from stdin, or is the name of a file to edit."""
    with pytest.raises(RefusedError, match=said) as raised:
        fake(f"echo '{said}'").want_version()
    assert "3.11.0" in raised.value.hint


@pytest.mark.parametrize(
    "lines", ["echo garbage", "true", "echo 'sops three'", "exit 1", "echo 3.13.0", "echo 'not sops 3.13.0'"]
)
def test_a_program_that_does_not_say_its_version_is_refused(fake: Fake, lines: str) -> None:
    """What it is cannot be told."""
    with pytest.raises(RefusedError, match="which version"):
        fake(lines).want_version()


def test_no_sops_at_all_is_refused(tmp_path: Path) -> None:
    """With what to install."""
    nobody = Sops(Processes(), {"PATH": "/nowhere", "KEYROTOR_SOPS": str(tmp_path / "none")})
    with pytest.raises(RefusedError, match="no such program") as raised:
        nobody.want_version()
    assert "install sops" in raised.value.hint


def test_the_version_is_asked_without_the_network_and_without_anything_else(fake: Fake, log: Path) -> None:
    """One call, with the flag and the variable that keep it from GitHub."""
    fake("echo sops 3.13.0").want_version()
    assert log.read_text() == "--version --disable-version-check\n"
    assert "SOPS_DISABLE_VERSION_CHECK=1" in Path(f"{log}.env").read_text()


def test_sops_gets_what_it_needs_and_no_secret(fake: Fake, log: Path, tmp_path: Path) -> None:
    """No key of our shell, no remote key service, no editor that could open; the identity as the playbook says."""
    fake("exit 0").set_value(tmp_path / "copy.env", "A_KEY", Secret(b"the-value-itself"), tmp_path)
    env = Path(f"{log}.env").read_text().splitlines()
    assert {"SOPS_EDITOR=false", "EDITOR=false", "SOPS_AGE_KEY_FILE=/some/keys.txt"} <= set(env)
    assert not any(line.startswith(("LITELLM", "SOPS_KEYSERVICE", "AWS")) for line in env)
    assert "the-value-itself" not in log.read_text() + "\n".join(env)


def test_every_flag_stands_before_the_file(fake: Fake, log: Path, tmp_path: Path) -> None:
    """sops takes a flag after the file's name for another name."""
    fake("exit 0").set_value(tmp_path / "copy.env", "A_KEY", Secret(b"x"), tmp_path)
    words = log.read_text().split()
    assert words[0] == "set"
    assert words[-2:] == [str(tmp_path / "copy.env"), '["A_KEY"]']
    assert {"--value-stdin", "--idempotent", "--input-type", "--output-type"} <= set(words[:-2])


@pytest.mark.parametrize("out", ["", "[]", "garbage", '"text"', "{", '{"A": 1}', '{"A": {"B": "C"}}', "\\xff"])
def test_an_answer_that_is_no_table_of_texts_is_told(fake: Fake, tmp_path: Path, out: str) -> None:
    """What sops prints is checked, and not shown."""
    with pytest.raises(PlaceError, match="something else"):
        fake(f"printf '%b' '{out}'").decrypt(tmp_path / "file.env", tmp_path)
