"""git, for the one file that a rotation leaves changed in a repository, and for what a repository would give away.

Rules of the questions that an audit asks (`standing`, `tracked`, `tracked_lines`):
1. They write nothing and run nothing that the repository configures: no file-system monitor, no filter, no hook.
   So `git status` and `git diff` are not asked: both run filters.
2. A repository that git will not read for us (another owner's) is like none: nothing can be told.
3. What git is asked for stands in its argv, which everybody can read: names, never a value.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path

from keyrotor.boundary.files import look
from keyrotor.boundary.process import Processes, environment, found
from keyrotor.errors import PlaceError, RefusedError

_STAGED = re.compile(rb"\S \d{6} [0-9a-f]+ (?P<stage>\d)\t")
_PLAIN_GREP = ("--no-color", "--no-line-number", "--no-column", "--no-recurse-submodules", "--no-textconv")
_ALONE = {"GIT_NO_LAZY_FETCH": "1", "GIT_ALLOW_PROTOCOL": "none"}  # git before 2.44 knows the second alone
_QUESTION = 10.0  # seconds; 30 ms in a repository of 20,000 files


class Standing(StrEnum):
    """How git sees a file."""

    UNKNOWN = "unknown"  # no repository, no git, or none that can be asked
    COMMITTED = "committed"
    CHANGED = "changed"  # tracked, and not as it is committed
    UNTRACKED = "untracked"
    IGNORED = "ignored"
    UNMERGED = "unmerged"  # git waits for somebody to end a merge of it


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

    def command_to_untrack(self, path: Path) -> str:
        """What a person types so that git lets go of a tracked file, which may be gone with its folder; the file stays.

        Asks git whether something is staged that is neither committed nor there: git would not let go of that.
        """
        root = _root_above(path.parent, {}) or path.parent
        name = os.fspath(path.relative_to(root))
        # In `*` and `[` git sees a pattern, which other files have, too.
        literal = " --literal-pathspecs" if re.search(r"[*?\[\\]|^:", name) else ""
        force = " -f" if self._is_lost_when_untracked(root, name) else ""
        return f"git{literal} -C {shlex.quote(str(root))} rm --cached{force} -- {shlex.quote(name)}"

    def is_changed(self) -> bool:
        """Whether git tracks the file, and it differs from what is committed; without git, or a repository: no."""
        try:
            code, out = self._git("status", "--porcelain", "--untracked-files=no", "--", self._file.name)
        except PlaceError:
            return False
        return code == 0 and bool(out.strip())

    def standing(self, data: bytes | None) -> Standing:
        """How git sees the file, which holds `data` now (None: it is gone)."""
        if root_of(self._file) is None:
            return Standing.UNKNOWN
        try:
            return self._standing(data)
        except PlaceError:
            return Standing.UNKNOWN

    def tracked(self, paths: Iterable[Path]) -> frozenset[Path]:
        """Those of the files that git tracks, whatever repository each lies in; one call for each repository.

        The paths are real ones: of a link git would track the link.
        """
        roots: dict[Path, Path | None] = {}
        files: dict[Path, dict[bytes, Path]] = {}
        for path in paths:
            root = _root_above(path.parent, roots)
            if root and "\n" not in str(path):  # git is asked line by line
                files.setdefault(root, {})[os.fsencode(path.relative_to(root))] = path
        return frozenset(path for root, names in files.items() for path in self._tracked(root, names))

    def ignored(self, names: Sequence[str]) -> frozenset[str]:
        """Those of the paths, from the file's folder on, that `git add` would refuse, whether they are there or not."""
        said = "\0".join(names).encode()
        try:
            _, out = self._ask("check-ignore", "-z", "--stdin", stdin=said)
        except PlaceError:
            return frozenset()
        return frozenset(os.fsdecode(name) for name in out.split(b"\0") if name)

    def tracked_lines(self, expression: str, globs: Sequence[str]) -> Iterator[tuple[Path, bytes]]:
        """Every line in which the extended regular expression is found, in tracked files of these names anywhere in
        the file's repository: as they are staged, and as they lie there. Raises PlaceError where git is too slow."""
        root = root_of(self._file)
        if root is None or found("git", self._env) is None:
            return
        names = [f":(top,glob)**/{each}" for each in globs]
        for where in (["--cached"], []):
            words = [
                "grep",
                *where,
                "-z",
                "-a",
                "-H",
                "--full-name",
                *_PLAIN_GREP,
                "-E",
                "-e",
                expression,
                "--",
                *names,
            ]
            _, out = self._ask(*words, cwd=root)
            for each in out.split(b"\n"):
                name, separator, line = each.partition(b"\0")
                if separator:
                    yield root / os.fsdecode(name), line

    def testimony(self) -> Iterator[tuple[str, bytes]]:
        """What the repository remembers: the command, and what it said. Nothing is fetched, no signature is proven (a
        program that the repository names would do it), no difference is shown. Raises PlaceError."""
        if root_of(self._file) is None:
            return
        refs = "--format=%(objectname) %(objecttype) %(creatordate:iso-strict) %(refname)"
        walk = ("--no-show-signature", "--date=iso-strict")
        commits = "--format=%H %cI %cn <%ce> (author %aI %an <%ae>) %s"
        moved = "--format=%H %gd %gn <%ge> %gs"
        for words in (
            ("rev-parse", "--symbolic-full-name", "HEAD"),
            ("rev-parse", "HEAD"),
            ("for-each-ref", refs),
            ("log", "-g", *walk, moved, "refs/stash", "--"),
            ("log", "-g", "-1000", *walk, moved, "HEAD", "--"),
            ("log", "-20", *walk, commits, "--", self._file.name),
        ):
            code, out = self._git("--literal-pathspecs", *words, within=_QUESTION, more=_ALONE)
            yield shlex.join(["git", *words]), out if code == 0 else b"(nothing: exit code %d)\n" % code

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

    def _standing(self, data: bytes | None) -> Standing:
        staged, committed = self._objects()
        if staged and staged == committed and data is not None and _is_object(staged, data):
            return Standing.COMMITTED
        literal = ("--literal-pathspecs", "ls-files", "-z", "-t", "--stage", "--others", "--exclude-standard")
        code, out = self._ask(*literal, "--", self._file.name)
        if code:
            return Standing.UNKNOWN
        if not out:
            return Standing.UNKNOWN if data is None else Standing.IGNORED
        stage = _STAGED.match(out)
        if stage is None:
            return Standing.UNTRACKED
        if stage["stage"] != b"0":
            return Standing.UNMERGED
        return Standing.UNKNOWN if self._is_converted() else Standing.CHANGED

    def _objects(self) -> tuple[bytes, bytes]:
        """The names of the objects that are staged and committed for the file; "" for one that is not there."""
        if "\n" in self._file.name:
            return b"", b""  # git is asked line by line
        name = os.fsencode(self._file.name)
        _, out = self._ask("cat-file", "--batch-check=%(objectname)", stdin=b":0:./%b\nHEAD:./%b\n" % (name, name))
        staged, committed = [*out.splitlines(), b"", b""][:2]
        return (b"" if b" " in staged else staged, b"" if b" " in committed else committed)

    def _is_lost_when_untracked(self, root: Path, name: str) -> bool:
        """Whether what is staged is neither what is committed nor what lies there."""
        if "\n" in name:
            return True
        raw = os.fsencode(name)
        try:
            _, out = self._ask(
                *("cat-file", "--batch-check=%(objectname)"), cwd=root, stdin=b":0:%b\nHEAD:%b\n" % (raw, raw)
            )
            staged, committed = [*out.splitlines(), b"", b""][:2]
            return staged != committed and not _is_object(staged, look(root / name).data)
        except PlaceError:
            return False  # it is gone, and git lets go of it

    def _is_converted(self) -> bool:
        """Whether git keeps it in another form, which only a filter of the repository's could tell."""
        asked = ("filter", "ident", "working-tree-encoding")
        _, out = self._ask("check-attr", "-z", *asked, "--", self._file.name)
        return any(said not in (b"unspecified", b"unset") for said in out.split(b"\0")[2::3])

    def _tracked(self, root: Path, files: Mapping[bytes, Path]) -> list[Path]:
        """Asked by the names in the index: `ls-files` with 1,000 names takes 150 ms in a large repository, this 20."""
        questions = b"".join(b":0:%b\n" % name for name in files)
        try:
            # With the name alone no object is read, nor fetched from a partial clone's remote.
            words = ("cat-file", "--batch-check=%(objectname)")
            code, out = self._ask(*words, cwd=root, stdin=questions)
        except PlaceError:
            return []
        answers = out.splitlines()
        if code or len(answers) != len(files):
            return []
        return [path for path, answer in zip(files.values(), answers, strict=True) if b" " not in answer]

    def _ask(self, *words: str, cwd: Path | None = None, stdin: bytes = b"") -> tuple[int, bytes]:
        """A question that nothing is fetched for, and that no one waits for."""
        return self._git(*words, within=_QUESTION, cwd=cwd, stdin=stdin, more={"GIT_NO_LAZY_FETCH": "1"})

    def _git(
        self,
        *words: str,
        within: float = 30.0,
        cwd: Path | None = None,
        stdin: bytes = b"",
        more: Mapping[str, str] | None = None,
    ) -> tuple[int, bytes]:
        # Without optional locks a question rewrites nothing, not even the index's time stamps; a monitor is a
        # program that the repository names, and it is run by questions too.
        argv = ["git", "--no-optional-locks", "-c", "core.fsmonitor=false", *words]
        env = {**self._env, **(more or {})}
        done = self._processes.run(argv, env=env, cwd=cwd or self._file.parent, stdin=stdin, within=within)
        return done.code, done.out


def root_of(file: Path) -> Path | None:
    """The top folder of the repository around the file; found without git."""
    return _root_above(Path(os.path.realpath(file)).parent, {})


def _root_above(folder: Path, known: dict[Path, Path | None]) -> Path | None:
    """Remembers the answer for every folder on the way."""
    if folder not in known:
        is_root = os.path.isfile(folder / ".git") or os.path.isfile(folder / ".git" / "HEAD")
        above = None if folder == folder.parent else folder.parent
        known[folder] = folder if is_root else _root_above(above, known) if above else None
    return known[folder]


def _is_object(name: bytes, data: bytes) -> bool:
    """Whether git would give these bytes that name; line ends of the working tree's own are no change to it."""
    make = hashlib.sha1 if len(name) == 40 else hashlib.sha256
    bodies = (data, data.replace(b"\r\n", b"\n"))
    digests = (make(b"blob %d\0" % len(body) + body, usedforsecurity=False).hexdigest() for body in bodies)
    return name.decode() in digests
