"""git, with real repositories."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from keyrotor.boundary.git import Git, Standing
from keyrotor.boundary.process import Done, Processes
from keyrotor.errors import PlaceError, RefusedError

AUTHOR = {
    "GIT_AUTHOR_NAME": "a test",
    "GIT_AUTHOR_EMAIL": "test@localhost",
    "GIT_COMMITTER_NAME": "a test",
    "GIT_COMMITTER_EMAIL": "test@localhost",
}


class Repository:
    """A repository with one tracked secret file and another file."""

    def __init__(self, root: Path, *how: str) -> None:
        self.root = root
        self.env = {"PATH": os.environ["PATH"], "HOME": str(root.parent), **AUTHOR}
        self.file = root / "secrets" / "global.enc.env"
        self.file.parent.mkdir(parents=True)
        self.file.write_text("one\n")
        (root / "other").write_text("one\n")
        self("init", "--quiet", "--template=", *how)
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


# -- what an audit asks ----------------------------------------------------------------------------------------------


def standing(repository: Repository) -> Standing:
    return repository.git.standing(repository.file.read_bytes() if repository.file.exists() else None)


def change(repository: Repository) -> None:
    repository.file.write_text("two\n")


def stage(repository: Repository) -> None:
    change(repository)
    repository("add", "--all")


def stage_and_change_back(repository: Repository) -> None:
    stage(repository)
    repository.file.write_text("one\n")


def untrack(repository: Repository) -> None:
    repository("rm", "--quiet", "--cached", "--", str(repository.file))


def ignore(repository: Repository) -> None:
    untrack(repository)
    (repository.root / ".gitignore").write_text("*.env\n")


def forget_the_repository(repository: Repository) -> None:
    shutil.rmtree(repository.root / ".git")


def make_it_anothers(repository: Repository) -> None:
    if os.geteuid():
        pytest.skip("only root can give a folder away")
    os.chown(repository.root, 12345, 12345)
    os.chown(repository.root / ".git", 12345, 12345)


def start_over(repository: Repository) -> None:
    """A repository with everything staged and nothing committed."""
    forget_the_repository(repository)
    repository("init", "--quiet", "--template=")
    repository("add", "--all")


def merge_two_edits(repository: Repository) -> None:
    repository("checkout", "--quiet", "-b", "theirs")
    repository.file.write_text("theirs\n")
    repository("commit", "--quiet", "--all", "-m", "theirs")
    repository("checkout", "--quiet", "-")
    repository.file.write_text("ours\n")
    repository("commit", "--quiet", "--all", "-m", "ours")
    merge = ["git", "merge", "theirs"]
    subprocess.run(merge, check=False, cwd=repository.root, env=repository.env, capture_output=True)


def merge_and_take_ours(repository: Repository) -> None:
    merge_two_edits(repository)
    repository("checkout", "--ours", "--", str(repository.file))


def rename_the_branch(repository: Repository) -> None:
    repository("branch", "--move", "trunk")


def detach(repository: Repository) -> None:
    repository("checkout", "--quiet", "--detach")


def end_lines_as_windows_does(repository: Repository) -> None:
    """git takes them back when it commits."""
    repository("config", "core.autocrlf", "true")
    repository.file.write_bytes(b"one\r\n")


def filter_it(repository: Repository) -> None:
    """What is committed is not what lies there, and only the filter could tell."""
    (repository.root / ".gitattributes").write_text("*.env filter=other\n")
    change(repository)


def hide_changes(repository: Repository) -> None:
    repository("update-index", "--assume-unchanged", "--", str(repository.file))
    change(repository)


STANDINGS: dict[str, tuple[Callable[[Repository], object], Standing]] = {
    "as committed": (lambda _: None, Standing.COMMITTED),
    "changed": (change, Standing.CHANGED),
    "staged": (stage, Standing.CHANGED),
    "staged, and changed back": (stage_and_change_back, Standing.CHANGED),
    "changed behind git's back": (hide_changes, Standing.CHANGED),
    "gone": (lambda repository: repository.file.unlink(), Standing.CHANGED),
    "untracked": (untrack, Standing.UNTRACKED),
    "ignored": (ignore, Standing.IGNORED),
    "in conflict": (merge_two_edits, Standing.UNMERGED),
    "in conflict, without a mark in the file": (merge_and_take_ours, Standing.UNMERGED),
    "another branch name": (rename_the_branch, Standing.COMMITTED),
    "no branch": (detach, Standing.COMMITTED),
    "no commit yet": (start_over, Standing.CHANGED),
    "no repository": (forget_the_repository, Standing.UNKNOWN),
    "another's repository": (make_it_anothers, Standing.UNKNOWN),
    "other line ends": (end_lines_as_windows_does, Standing.COMMITTED),
    "another form": (filter_it, Standing.UNKNOWN),
}


@pytest.mark.parametrize(("arrange", "expected"), STANDINGS.values(), ids=STANDINGS.keys())
def test_how_git_sees_the_file(
    repository: Repository, arrange: Callable[[Repository], object], expected: Standing
) -> None:
    """In one word; what cannot be told is not guessed."""
    arrange(repository)
    assert standing(repository) is expected


def test_a_repository_with_the_longer_names(tmp_path: Path) -> None:
    """SHA-256 names are told from SHA-1 ones by their length."""
    repository = Repository(tmp_path / "project", "--object-format=sha256")
    assert standing(repository) is Standing.COMMITTED
    change(repository)
    assert standing(repository) is Standing.CHANGED


def test_a_file_with_a_name_that_means_something_to_git(tmp_path: Path) -> None:
    """A name is a name, not a pattern."""
    repository = Repository(tmp_path / "project")
    odd = repository.file.with_name("*.env")
    odd.write_text("odd\n")
    repository("add", "--all")
    repository("commit", "--quiet", "-m", "odd")
    repository.file.with_name("a.env").write_text("untracked\n")
    git = Git(Processes(), repository.env, odd)
    assert git.standing(b"odd\n") is Standing.COMMITTED
    magic = repository.file.with_name(":(top)other")
    magic.write_text("one\n")
    assert git.tracked([odd, magic, repository.file]) == {odd, repository.file}
    assert Git(Processes(), repository.env, magic).standing(b"one\n") is Standing.UNTRACKED


def test_without_git_nothing_can_be_told(repository: Repository, tmp_path: Path) -> None:
    """No program, no answer, no error."""
    git = Git(Processes(), {"PATH": str(tmp_path)}, repository.file)
    assert git.standing(b"one\n") is Standing.UNKNOWN
    assert git.tracked([repository.file]) == frozenset()
    assert list(git.tracked_lines("one", ["*"])) == []


def test_which_files_are_tracked(repository: Repository, tmp_path: Path) -> None:
    """Each in its own repository, with odd names; a link is tracked where the link is."""
    other = Repository(tmp_path / "other")
    odd = other.root / "a name with 'quotes', äöü and :0: in it"
    odd.write_text("one\n")
    other("add", "--all")
    fresh, outside, link = repository.root / "fresh", tmp_path / "outside", repository.root / "link"
    fresh.write_text("x")
    outside.write_text("x")
    link.symlink_to(other.root / "other")
    asked = [repository.file, other.file, odd, fresh, outside, link, tmp_path / "absent"]
    assert repository.git.tracked(asked) == {repository.file, other.file, odd}


def test_a_thousand_files_cost_one_call_for_each_repository(repository: Repository, tmp_path: Path) -> None:
    """And none where there is no repository."""

    class Counting(Processes):
        calls = 0

        def run(self, *arguments: Any, **named: Any) -> Done:
            self.calls += 1
            return super().run(*arguments, **named)

    processes = Counting()
    git = Git(processes, repository.env, repository.file)
    inside = [repository.root / f"file{at}" for at in range(500)]
    assert git.tracked([*inside, *(tmp_path / f"file{at}" for at in range(500)), repository.file]) == {repository.file}
    assert processes.calls == 1


def test_a_git_that_does_not_answer_in_time_has_not_found_nothing(repository: Repository, tmp_path: Path) -> None:
    """That it could not look is told; only where there is no git at all nothing can be told."""
    (tmp_path / "git").write_text("#!/bin/sh\nsleep 60\n")
    (tmp_path / "git").chmod(0o700)
    processes = Processes()
    processes.until = time.monotonic() + 0.3
    git = Git(processes, {**repository.env, "PATH": f"{tmp_path}:{os.environ['PATH']}"}, repository.file)
    with pytest.raises(PlaceError, match="cannot wait longer for git"):
        list(git.tracked_lines("one", ["*"]))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_of_anothers_repository_nothing_is_told(repository: Repository) -> None:
    """git refuses to read it, and that is no fault."""
    make_it_anothers(repository)
    assert repository.git.tracked([repository.file]) == frozenset()
    assert list(repository.git.tracked_lines("one", ["*"])) == []


def test_an_empty_folder_of_git_is_no_repository(repository: Repository) -> None:
    """The repository is the one above, as it is to git."""
    (repository.file.parent / ".git").mkdir()
    assert repository.git.tracked([repository.file]) == {repository.file}
    assert standing(repository) is Standing.COMMITTED


def test_the_lines_of_tracked_files(repository: Repository) -> None:
    """As they are staged and as they lie there, anywhere in the repository, and only where the name fits."""
    lines = {".env": "KEY=one", "deep/down/x.env": "export KEY = two", "deep/x.py": "KEY=no", "y.env": "OTHER=no"}
    for name, line in lines.items():
        path = repository.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(line + "\n")
    repository("add", "--all")
    (repository.root / ".env").unlink()
    (repository.root / "deep/down/x.env").write_text("KEY=three\n")
    (repository.root / "untracked.env").write_text("KEY=no\n")
    found = sorted(repository.git.tracked_lines("KEY[[:space:]]*=", ["*.env", ".env*"]))
    assert found == [
        (repository.root / ".env", b"KEY=one"),
        (repository.root / "deep/down/x.env", b"KEY=three"),
        (repository.root / "deep/down/x.env", b"export KEY = two"),
    ]


def test_a_question_runs_nothing_that_the_repository_names(repository: Repository, tmp_path: Path) -> None:
    """No monitor, filter, text converter, hook or pager of it; and it writes nothing."""
    ran = tmp_path / "ran"
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\necho ran >> {ran}\ncat\n")
    program.chmod(0o700)
    for name in ("core.fsmonitor", "filter.x.clean", "filter.x.smudge", "diff.x.textconv", "core.pager"):
        repository("config", name, str(program))
    repository("config", "color.ui", "always")
    repository("config", "grep.lineNumber", "true")
    hooks = repository.root / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    for name in ("post-index-change", "query-watchman"):
        shutil.copy(program, hooks / name)
    (repository.root / ".gitattributes").write_text("* filter=x diff=x\n")
    os.utime(repository.file, (1, 1))
    change(repository)
    ran.unlink(missing_ok=True)
    before = {path: path.read_bytes() for path in repository.root.rglob("*") if path.is_file()}
    assert standing(repository) is Standing.UNKNOWN  # only the filter could tell
    assert repository.git.tracked([repository.file]) == {repository.file}
    found = list(repository.git.tracked_lines("o", ["*.env"]))
    assert found == [(repository.file, b"one"), (repository.file, b"two")]
    assert not ran.exists()
    assert {path: path.read_bytes() for path in repository.root.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("name", ["secrets/global.enc.env", "*.env", "a 'b'.env", ":x"])
@pytest.mark.parametrize("state", ["as committed", "only staged", "staged and changed", "gone", "staged and gone"])
def test_what_is_to_be_typed_makes_git_let_go_of_a_file(repository: Repository, name: str, state: str) -> None:
    """Of it alone, whatever stands there by now, which stays as it is; only where git would refuse it is forced."""
    path = repository.root / name
    path.write_text("one\n")
    (repository.root / "another.env").write_text("one\n")
    repository("add", "--all")
    repository("commit", "--quiet", "--allow-empty", "-m", "second")
    if "staged" in state:
        path.write_text("two\n")
        repository("add", "--all")
    if "changed" in state:
        path.write_text("three\n")
    if "gone" in state:
        path.unlink()
        if path.parent != repository.root:
            path.parent.rmdir()
    before = path.read_text() if path.exists() else None
    tracked = set(repository("ls-files", "-z").split("\0")) - {""}
    repository.git = Git(Processes(), repository.env, repository.root / "other")
    command = repository.git.command_to_untrack(path)
    subprocess.run(["sh", "-c", command], cwd="/", env=repository.env, capture_output=True, check=True)
    assert set(repository("ls-files", "-z").split("\0")) - {""} == tracked - {name}
    assert (path.read_text() if path.exists() else None) == before
    assert (" -f " in command) == (state == "staged and changed")
