"""git, for the one file that a rotation leaves changed in a repository."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from keyrotor.boundary.process import Processes, environment
from keyrotor.errors import PlaceError, RefusedError


class Git:
    """The repository around one file."""

    def __init__(self, processes: Processes, env: Mapping[str, str], file: Path) -> None:
        self._processes = processes
        self._env = environment(env, "SSH_AUTH_SOCK", prefixes=("GIT_AUTHOR_", "GIT_COMMITTER_", "GNUPG", "GPG_"))
        self._file = file

    def command_to_commit(self, message: str) -> str:
        """What a person types to commit the file alone."""
        folder, name = shlex.quote(str(self._file.parent)), shlex.quote(self._file.name)
        return f"git -C {folder} commit --only -m {shlex.quote(message)} -- {name}"

    def is_changed(self) -> bool:
        """Whether git tracks the file, and it differs from what is committed; without git, or a repository: no."""
        try:
            code, out = self._git("status", "--porcelain", "--untracked-files=no", "--", self._file.name)
        except PlaceError:
            return False
        return code == 0 and bool(out.strip())

    def want_alone(self) -> None:
        """Raises RefusedError where a commit of the file would take anything else along, or nothing."""
        try:
            is_tracked = self._git("ls-files", "--error-unmatch", "--", self._file.name)[0] == 0
        except PlaceError as error:
            raise RefusedError(f"cannot commit {self._file}: {error}") from None
        if not is_tracked:
            raise RefusedError(f"cannot commit {self._file}: git does not track it", hint=f"git add {self._file}")
        if self.is_changed():
            hint = self.command_to_commit("what was changed before")
            raise RefusedError(f"cannot commit {self._file} alone: it is changed already", hint=hint)
        _, out = self._git("diff", "--cached", "--name-only", "--", ":/", f":(exclude){self._file.name}")
        if out.strip():
            raise RefusedError(
                f"cannot commit {self._file} alone: other changes are staged",
                hint="git commit  (or `git restore --staged .`), or leave --commit out",
            )

    def commit(self, message: str) -> None:
        """Commit the file and nothing else. Raises PlaceError when git or a hook says no."""
        code, _ = self._git("commit", "--quiet", "--only", "-m", message, "--", self._file.name, within=120.0)
        if code:
            raise PlaceError(f"cannot commit {self._file}: git ended with exit code {code}")

    def _git(self, *words: str, within: float = 30.0) -> tuple[int, bytes]:
        # Without optional locks a question rewrites nothing, not even the index's time stamps.
        done = self._processes.run(
            ["git", "--no-optional-locks", *words], env=self._env, cwd=self._file.parent, within=within
        )
        return done.code, done.out
