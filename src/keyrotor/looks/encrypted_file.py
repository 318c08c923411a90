"""The encrypted file: who can read it, what git makes of it, and copies of it in clear.

Rules:
1. A copy in clear is known by the present value, wherever it stands in a file, or by a line `KEY=…` that holds a
   literal: no reference, no placeholder, nothing that sops has encrypted.
2. The files of the places of all the project's playbooks are no copies, by whatever name: they are to hold a value.
3. Nothing in clear is given to git, and nothing is shredded that may be in use: what has another name, or is not
   called like the encrypted file.
4. What cannot be told without a key, or without git, is not guessed at; the rest is still looked at.
"""

from __future__ import annotations

import os
import re
import shlex
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from glob import escape
from pathlib import Path

from keyrotor.boundary import files
from keyrotor.boundary.git import Git, Standing
from keyrotor.boundary.plaintext import is_key_like, is_same, is_telling, unseal
from keyrotor.core.findings import Finding, found
from keyrotor.errors import PlaceError
from keyrotor.formats import creation_rules, encrypted_dotenv
from keyrotor.ports import Seen
from keyrotor.secret import Secret

BIGGEST = 1 << 20  # bytes; a larger file beside the encrypted one is no env file, nor an editor's copy of one
MOST = 300  # files beside it; those that are named like it, or like an env file, come first
DEPTH = 100  # folders, up from the project: where sops stops looking for its rules

ENV_NAMES = ("*.env", "*.env.*", ".env*", ".envrc")

_RULES = ".sops.yaml"
_RECIPIENT = re.compile(rb"sops_(?:key_groups__list_\d+__map_)?age__list_\d+__map_recipient")
_CONFLICT = re.compile(rb"^(?:<{7}|>{7})(?: |\r?$)", re.MULTILINE)
# An editor's swap file has a nul where a line ends.
_LINE = rb"^[\xef\xbb\xbf \t]*(?P<comment>#[# \t]*)?(?:export[ \t]+)?%b[ \t]*=[ \t]*(?P<text>[^\r\n\0]*)"
_TEXT = re.compile(rb"\"([^\"]*)\"|'([^']*)'|([^\s#]*)")
# What a generator makes where the key has no `sk-`: of the safe alphabet, with digits among letters, and no __NAME__.
_LITERAL = re.compile(rb"(?=[^0-9]*[0-9][^0-9]*[0-9])(?=[0-9_-]*[A-Za-z])(?!__)[A-Za-z0-9_-]+={0,2}")
_PLACEHOLDER = re.compile(rb"[<>]|\.\.\.|xxx|your|change|replace|example|placeholder|insert|dummy", re.IGNORECASE)
_EXAMPLES = ("*example*", "*sample*", "*template*", "*.dist", "*.md")


@dataclass(frozen=True, slots=True)
class EncryptedFile:
    path: Path
    project: Path  # where sops runs: .sops.yaml is looked for from there upward
    git: Git
    in_use: Callable[[], Iterable[Path]]  # the files of the places of all the project's playbooks; asked if need be

    def findings(self, seen: Seen) -> Iterable[Finding]:
        data = _read(self.path)  # None: it cannot be decrypted either, which is told elsewhere
        is_torn = data is not None and _CONFLICT.search(data) is not None
        is_clear = data is not None and not is_torn and (_has_clear_line(data) or _holds(data, self.path, seen))
        if data is not None and is_clear:
            hint = self._command_to_encrypt(data)
            yield self._found("file-in-clear", hint=hint, playbook=seen.book.name)
        else:
            yield from self._in_git(data, is_torn)
        yield from self._twins(seen)
        if data is not None and not is_torn:
            yield from self._recipients(data)  # the last: it raises where .sops.yaml cannot be read

    # -- git

    def _in_git(self, data: bytes | None, is_torn: bool) -> Iterator[Finding]:
        standing, words = self.git.standing(data), _typed(self.path)
        git = f"git -C {words['folder']}"
        if standing is Standing.UNMERGED:
            hint = f"{git} checkout --ours -- {words['name']}  (or --theirs), then set the other's edit again with sops"
            yield self._found("file-conflict", hint=hint)
        elif is_torn:
            hint = f"{git} log -p -- {words['name']}  (bring one side back, then set the other's edit again with sops)"
            yield self._found("file-conflict", hint=hint)
        elif data is None or not _has_metadata(data):
            return  # nobody can read it: it is not to be committed as it is
        elif standing is Standing.CHANGED:
            yield self._found("file-uncommitted", hint=self.git.command_to_commit(f"Change {self.path.name}"))
        elif standing is Standing.UNTRACKED:
            yield self._found("file-untracked", **words)

    def _command_to_encrypt(self, data: bytes) -> str:
        """sops encrypts no file twice: what it has encrypted once and somebody has spoilt comes back from git."""
        if _has_metadata(data):
            words = _typed(self.path)
            log = f"git -C {words['folder']} log -p -- {words['name']}"
            return f"{log}  (bring the encrypted version back, then set the values again with sops edit)"
        types = "" if self.path.name.endswith(".env") else "--input-type dotenv --output-type dotenv "
        try:
            rules = self._rules()
            recipients = "" if rules and self._wanted(rules) is not None else "--age … "
        except PlaceError:
            recipients = ""
        return f"cd {self._project()} && sops encrypt -i {types}{recipients}{shlex.quote(str(self.path))}"

    def _project(self) -> str:
        """The folder as it is typed: sops looks for its rules from where it runs."""
        return shlex.quote(str(self.project))

    def _found(self, kind: str, **words: str) -> Finding:
        return found(kind, str(self.path), **words)

    # -- copies in clear

    def _twins(self, seen: Seen) -> Iterator[Finding]:
        words = {"key": seen.book.source.key, "playbook": seen.book.name}
        beside = {path for path in self._beside() if _holds(_read(path) or b"", path, seen)}
        tracked = set(self.git.tracked(beside))
        try:
            tracked |= {path for path, line in self._tracked_lines(seen) if _holds(line, path, seen)}
        except PlaceError as error:
            hint = f"keyrotor audit {seen.book.name}  (git was too slow to tell what it tracks)"
            yield self._found("cannot-look", reason=str(error), hint=hint)
        mine = self._not_copies(seen) if beside or tracked else set()
        for path in sorted(path for path in tracked if not _identities(path) & mine):
            yield found("twin-tracked", str(path), **words, untrack=self.git.command_to_untrack(path))
        for path in sorted(path for path in beside - tracked if not _identities(path) & mine):
            yield found("twin-beside", str(path), **words, hint=self._against_copy(path, seen))

    def _not_copies(self, seen: Seen) -> set[object]:
        """The encrypted file itself and what the playbooks keep; told only where a copy is found: there may be
        thousands."""
        paths = [each.options.get("path") for each in seen.book.places]
        known = [self.path, *(Path(path) for path in paths if path), *self.in_use()]
        return {identity for path in known for identity in _identities(path)}

    def _against_copy(self, path: Path, seen: Seen) -> str:
        """What is called like the encrypted file, and nothing else, is a copy that nobody will miss."""
        is_named = any(fnmatch(path.name, name) for name in self._names())
        try:
            is_alone = os.lstat(path).st_nlink == 1
        except OSError:
            is_alone = False
        if is_named and is_alone:
            return f"shred -u {shlex.quote(str(path))}  (if nothing reads it)"
        return f"take {seen.book.source.key} out of it, or the file out of this folder"

    def _beside(self) -> list[Path]:
        """The regular files in its folder, as many and as large as can be read while somebody waits."""
        try:
            with os.scandir(self.path.parent) as entries:
                candidates = [Path(entry) for entry in entries if _is_small_file(entry)]
        except OSError:
            return []
        likely = [*ENV_NAMES, *self._names()]
        candidates.sort(key=lambda path: (not any(fnmatch(path.name, name) for name in likely), path.name))
        return [path for path in candidates[:MOST] if path != self.path]

    def _tracked_lines(self, seen: Seen) -> Iterator[tuple[Path, bytes]]:
        name = re.escape(seen.book.source.key)  # its value would be seen in the list of processes
        return self.git.tracked_lines(f"{name}[[:space:]]*=", [*ENV_NAMES, *self._names()])

    def _names(self) -> list[str]:
        """What a copy of the file may be called: itself and more, hidden, without the word for encrypted."""
        name = self.path.name
        plain = re.sub(r"\.(?:enc|sops|encrypted)(?=\.|$)", "", name)
        return [
            pattern for each in dict.fromkeys((name, plain)) for pattern in (f"{escape(each)}*", f".{escape(each)}*")
        ]

    # -- recipients

    def _recipients(self, data: bytes) -> Iterator[Finding]:
        lines = encrypted_dotenv.lines(data)
        rules = self._rules()
        if rules is None or not any(line.key == b"sops_mac" for line in lines):
            return
        wanted = self._wanted(rules)
        has = {
            line.value.decode(errors="replace").strip() for line in lines if line.key and _RECIPIENT.fullmatch(line.key)
        }
        if wanted is None or wanted == has:
            return
        parts = [f"{_short(each)} is missing" for each in sorted(wanted - has)]
        parts += [f"{_short(each)} is not wanted there" for each in sorted(has - wanted)]
        types = "" if self.path.name.endswith(".env") else "--input-type dotenv "
        words = {"rules": str(rules), "difference": ", ".join(parts), "project": self._project()}
        yield self._found("recipients-differ", **words, types=types)

    def _rules(self) -> Path | None:
        """The rules that sops would follow, if there are any."""
        real = Path(os.path.realpath(self.project))
        folders = [real, *real.parents][:DEPTH]
        return next((folder / _RULES for folder in folders if files.exists(folder / _RULES)), None)

    def _wanted(self, rules: Path) -> frozenset[str] | None:
        path = str(self.path).removeprefix(f"{rules.parent}{os.sep}")
        data = files.look(rules).data
        try:
            return creation_rules.wanted(data, path)
        except PlaceError as error:
            raise PlaceError(f"cannot read {rules}: {error}") from None


def _read(path: Path) -> bytes | None:
    try:
        return files.look(path).data
    except PlaceError:
        return None


def _is_small_file(entry: os.DirEntry[str]) -> bool:
    try:
        status = entry.stat(follow_symlinks=False)
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_size <= BIGGEST


def _identities(path: Path) -> set[object]:
    """By what a file is known: its real path, and the inode that it may share with other names."""
    real = os.path.realpath(path)
    try:
        status = os.stat(real)
    except OSError:
        return {real}
    return {real, (status.st_dev, status.st_ino)}


def _has_metadata(data: bytes) -> bool:
    """Whether sops' own lines are there."""
    keys = {line.key for line in encrypted_dotenv.lines(data)}
    return {b"sops_mac", b"sops_version"} <= keys


def _has_clear_line(data: bytes) -> bool:
    """Whether a value stands there that sops would have encrypted; an empty one it leaves as it is."""
    lines = encrypted_dotenv.lines(data)
    return any(
        line.value.strip()
        and not line.value.startswith(b"ENC[")
        and not line.key.startswith(b"sops_")
        and not encrypted_dotenv.clear_rule(lines, line.key.decode(errors="replace"))
        for line in lines
        if line.key
    )


def _holds(data: bytes, path: Path, seen: Seen) -> bool:
    """Whether the key stands there in clear."""
    if seen.pair and is_telling(seen.pair.old) and unseal(seen.pair.old) in data:
        return True
    line = re.compile(_LINE % re.escape(seen.book.source.key.encode()), re.MULTILINE)
    is_example = any(fnmatch(path.name.lower(), name) for name in _EXAMPLES)
    return any(
        _is_clear(each["text"], seen, is_known_only=is_example or each["comment"] is not None)
        for each in line.finditer(data.replace(b"\0", b"\n"))
    )


def _is_clear(text: bytes, seen: Seen, *, is_known_only: bool) -> bool:
    """Whether this is a value: the present one, a former one, or one that looks like any."""
    quoted = _TEXT.match(text)
    value = next((group for group in quoted.groups() if group is not None), b"") if quoted else b""
    secret = Secret(value)
    if (seen.pair and is_same(seen.pair.old, value)) or seen.former(secret):
        return bool(value)
    if is_known_only or _PLACEHOLDER.search(value):
        return False
    if seen.pair is None or is_key_like(seen.pair.old):
        return is_key_like(secret)  # a reference and a template are none
    return is_telling(secret) and _LITERAL.fullmatch(value) is not None


def _typed(path: Path) -> dict[str, str]:
    """A path as a person types it for git, which asks where from."""
    return {"folder": shlex.quote(str(path.parent)), "name": shlex.quote(path.name)}


def _short(recipient: str) -> str:
    """Enough to be known by: a recipient of the post-quantum kind has 2,000 characters."""
    return recipient if len(recipient) <= 64 else f"{recipient[:20]}…{recipient[-12:]}"
