"""git, with real repositories."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from keyrotor.boundary.git import Git
from keyrotor.boundary.process import Processes
from keyrotor.errors import PlaceError, RefusedError

AUTHOR = {
    "GIT_AUTHOR_NAME": "a test",
    "GIT_AUTHOR_EMAIL": "test@localhost",
    "GIT_COMMITTER_NAME": "a test",
    "GIT_COMMITTER_EMAIL": "test@localhost",
}


class Repository:
    """A repository with one tracked secret file and another file."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.env = {"PATH": os.environ["PATH"], "HOME": str(root.parent), **AUTHOR}
        self.file = root / "secrets" / "global.enc.env"
        self.file.parent.mkdir(parents=True)
        self.file.write_text("one\n")
        (root / "other").write_text("one\n")
        self("init", "--quiet", "--template=")
        self("add", "--all")
        self("commit", "--quiet", "-m", "first")
        self.git = Git(Processes(), self.env, self.file)

    def __call__(self, *words: str) -> str:
        done = subprocess.run(["git", *words], cwd=self.root, env=self.env, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def changed(self) -> list[str]:
        return self("show", "--name-only", "--format=").split()


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "project")


def test_the_file_is_committed_alone(repository: Repository) -> None:
    """Other changes in the working tree stay where they are."""
    (repository.root / "other").write_text("two\n")
    (repository.root / "fresh").write_text("two\n")
    repository.git.want_alone()
    repository.file.write_text("two\n")
    repository.git.commit("Rotate it")
    assert repository.changed() == ["secrets/global.enc.env"]
    assert repository("log", "-1", "--format=%s") == "Rotate it"
    assert repository("status", "--porcelain").split() == ["M", "other", "??", "fresh"]


@pytest.mark.parametrize("where", ["other", "secrets/another", "secrets/global.enc.env.bak"])
def test_other_staged_changes_are_refused(repository: Repository, where: str) -> None:
    """Anywhere in the repository: somebody is in the middle of something."""
    (repository.root / where).write_text("two\n")
    repository("add", where)
    with pytest.raises(RefusedError, match="other changes are staged"):
        repository.git.want_alone()


@pytest.mark.parametrize("is_staged", [False, True])
def test_an_edit_of_the_file_itself_is_refused(repository: Repository, is_staged: bool) -> None:
    """It would go along with a rotation that has nothing to do with it."""
    repository.file.write_text("two\n")
    if is_staged:
        repository("add", "--all")
    with pytest.raises(RefusedError, match="changed already"):
        repository.git.want_alone()


def test_a_hook_that_says_no_is_told(repository: Repository) -> None:
    """As a PlaceError with git's exit code; nothing is committed."""
    hook = repository.root / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o700)
    repository.file.write_text("two\n")
    with pytest.raises(PlaceError, match="exit code 1"):
        repository.git.commit("Rotate it")
    assert repository("log", "-1", "--format=%s") == "first"


def test_nothing_to_commit_is_told(repository: Repository) -> None:
    """git says no, and so do we."""
    with pytest.raises(PlaceError, match="cannot commit"):
        repository.git.commit("Rotate it")


def test_a_file_outside_of_a_repository(tmp_path: Path) -> None:
    """Never changed for git, and not to be committed."""
    file = tmp_path / "global.enc.env"
    file.write_text("x")
    git = Git(Processes(), {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}, file)
    assert not git.is_changed()
    with pytest.raises(RefusedError, match="does not track"):
        git.want_alone()


def test_whether_a_file_is_changed(repository: Repository) -> None:
    """Changed means known to git, and not as it is committed; a file that just lies there is no concern."""
    assert not repository.git.is_changed()
    repository.file.write_text("two\n")
    assert repository.git.is_changed()
    (repository.root / "fresh").write_text("x")
    assert not Git(Processes(), repository.env, repository.root / "fresh").is_changed()


def test_the_command_to_type_does_what_it_says(tmp_path: Path) -> None:
    """Also where folder and message need quoting."""
    repository = Repository(tmp_path / "a lab's folder")
    repository.file.write_text("two\n")
    command = repository.git.command_to_commit("Rotate the lab's key")
    subprocess.run(["sh", "-c", command], env=repository.env, check=True, capture_output=True)
    assert repository.changed() == ["secrets/global.enc.env"]
    assert repository("log", "-1", "--format=%s") == "Rotate the lab's key"
