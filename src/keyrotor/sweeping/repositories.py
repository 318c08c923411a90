"""What stands in git repositories: every object, and where git knows it from.

Rules:
1. A repository is looked through once, by however many work trees, links and names it was found.
2. One whose objects another borrows (alternates) is looked through with that one; where an object is known from, each
   of them is asked.
"""

from __future__ import annotations

import os
import shlex
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from keyrotor.boundary.process import Processes, found
from keyrotor.boundary.reading import why
from keyrotor.core.swept import Hit
from keyrotor.errors import InterruptedRun, PlaceError
from keyrotor.sweeping.git_objects import Objects
from keyrotor.sweeping.ledger import Ledger
from keyrotor.sweeping.source import Source
from keyrotor.sweeping.unpacking import Unpacking

_PIECE = 64 * 1024  # bytes
_SHORT = 12  # hex digits of an object's name, as people write it
_PARTIAL_PACKS = "packs that git has not finished (git gc removes them)"
_UNFINISHED = "an object that git has not finished writing: git gc --prune=now"
_MEND: Mapping[str, str] = {
    "a remote's branch": "whoever can fetch it has it; git -C {repo} log --all --oneline --find-object={name}",
    "a branch or a tag": "git -C {repo} log --all --oneline --find-object={name}",
    "a stash": "git -C {repo} stash list, stash drop, then gc --prune=now",
    "the reflog": "git -C {repo} reflog expire --expire=now --all, then gc --prune=now",
    "the index": "git -C {repo} restore --staged .",
    "": "git -C {repo} gc --prune=now",
}


@dataclass(frozen=True, slots=True)
class Repository:
    """A git repository, as it lies on the disk."""

    folder: Path  # where git sees it: a work tree, or the repository itself
    common: Path  # what all its work trees share; its real path
    stores: frozenset[Path]  # the folders that its objects lie in: its own, and those that it borrows from


@dataclass(frozen=True, slots=True)
class _Known:
    """Where git knows an object from."""

    where: Repository
    way: str = ""  # one of WAYS; "" where nothing leads to it
    path: str = ""


def repository_at(folder: Path) -> Repository | None:
    """The repository whose top folder this is; None for any other folder. Raises PlaceError for one that is broken."""
    inner = folder / ".git"
    if inner.is_dir():
        inner_is_one = _is_bare(inner)
    elif inner.is_file():
        inner, inner_is_one = _pointed_at(inner), True
    else:
        inner, inner_is_one = folder, _is_bare(folder)
    if not inner_is_one:
        return None
    common = Path(os.path.realpath(inner / _first_line(inner / "commondir")))
    seen_at = folder.parent if folder.name == ".git" and folder == inner else folder
    return Repository(seen_at, common, frozenset(_stores(common / "objects")))


def look(ledger: Ledger, folders: Iterable[Path], processes: Processes, env: Mapping[str, str]) -> None:
    """Everything in the repositories at these folders, which may be none, or the same."""
    several = list(_each_once(ledger, folders))
    if several and found("git", env) is None:
        ledger.doubt(f"{len(several)} git repositories: there is no git to read them with")
        return
    covered: set[Path] = set()
    for one in sorted(several, key=lambda one: -len(one.stores)):  # who borrows comes before whom it borrows from
        if not one.stores <= covered:
            covered |= one.stores
            kin = [other for other in several if other != one and one.stores & other.stores]
            _Looking(ledger, processes, env).through(one, kin)


def _each_once(ledger: Ledger, folders: Iterable[Path]) -> Iterator[Repository]:
    known: set[Path] = set()
    for folder in folders:
        try:
            one = repository_at(folder)
        except (PlaceError, OSError) as error:
            ledger.cannot_read(str(folder), why(error) if isinstance(error, OSError) else str(error))
            continue
        if one and one.common not in known:
            known.add(one.common)
            yield one


class _Looking:
    """Looks through one repository."""

    def __init__(self, ledger: Ledger, processes: Processes, env: Mapping[str, str]) -> None:
        self._ledger, self._processes, self._env = ledger, processes, env
        self._unpacking = Unpacking(ledger.finder, ledger.left_out, ledger.raise_if_asked)

    def through(self, one: Repository, kin: Sequence[Repository]) -> None:
        what = f"git: {self._ledger.finder.shown(str(one.folder))}"
        objects = Objects(self._processes, self._env, one.folder)
        suspects: dict[str, None] = {}
        hits: list[tuple[str, str, Hit]] = []
        try:
            for name in objects.suspects(self._ledger.finder, partial(self._ledger.looked, what)):
                suspects[name] = None
        except PlaceError as error:  # what git has given until then counts
            self._ledger.cannot_read(str(one.folder), f"its objects were not read to the last: {error}")
        try:
            for hit in self._hits(one, objects, suspects) if suspects else ():
                hits.append(hit)
        except PlaceError as error:
            self._ledger.cannot_read(str(one.folder), str(error))
        except InterruptedRun:
            self._ledger.found(hit for _, _, hit in hits)
            raise
        self._ledger.found(self._told(one, kin, hits))
        for store in sorted(one.stores):
            self._garbage(store)

    def _hits(self, one: Repository, objects: Objects, names: Iterable[str]) -> Iterator[tuple[str, str, Hit]]:
        """Name, kind and hit."""
        for name, kind, size, body in objects.read(names):
            source = Source(body, self._ledger.finder.stream())
            for hit in self._unpacking.search(source, f"{one.folder}:{name[:_SHORT]}", size, "git"):
                yield name, kind, hit

    def _told(self, one: Repository, kin: Sequence[Repository], hits: Sequence[tuple[str, str, Hit]]) -> Iterator[Hit]:
        """The hits with where git knows them from; versions of one file are told together."""
        names = dict.fromkeys(name for name, _, _ in hits)
        if not names:
            return
        known: dict[str, _Known] = {}
        for each in (one, *kin):
            objects = Objects(self._processes, self._env, each.folder)
            for name, (way, path) in objects.known([name for name in names if name not in known]).items():
                known[name] = _Known(each, way, path)
        together: dict[tuple[object, ...], list[tuple[str, _Known, str, Hit]]] = {}
        for name, kind, hit in hits:
            at = known.get(name, _Known(one))
            group = (at.where.folder, at.way, at.path or name, kind, hit.kind, hit.value, hit.forms)
            together.setdefault(group, []).append((name, at, kind, hit))
        for versions in together.values():
            name, at, kind, hit = versions[0]
            count = sum(each.count for *_, each in versions)
            yield replace(hit, count=count, note=self._note(name, at, kind, len(versions)))

    def _note(self, name: str, at: _Known, kind: str, versions: int) -> str:
        what = f"{kind} {at.path}" if at.path else kind
        more = f" and {versions - 1} more versions of it" if versions > 1 else ""
        where = f"known from {at.way}" if at.way else "nothing leads to it"
        mend = _MEND[at.way].format(repo=shlex.quote(str(at.where.folder)), name=name)
        return self._ledger.finder.shown(f"{what}{more}, {where}: {mend}")

    def _garbage(self, store: Path) -> None:
        """What git has not finished writing: objects under names of its own, and packs."""
        for path in sorted(store.glob("??/tmp_obj_*")):
            try:
                size = path.stat().st_size
                source = Source(_inflated(path), self._ledger.finder.stream())
                self._ledger.found(self._unpacking.search(source, str(path), size, "git", lambda _: _UNFINISHED))
                self._ledger.looked("git", source.stream.size, 1)
            except OSError as error:
                self._ledger.cannot_read(str(path), why(error))
        if packs := len(list(store.glob("pack/tmp_pack_*"))):
            self._ledger.left_out.skipped[_PARTIAL_PACKS] += packs


def _inflated(path: Path) -> Iterator[bytes]:
    """What is in a loose object, as far as it was written."""
    unpacker = zlib.decompressobj()
    with open(path, "rb") as file:
        while data := unpacker.unconsumed_tail or file.read(_PIECE):
            try:
                yield unpacker.decompress(data, _PIECE)
            except zlib.error:
                return


def _is_bare(folder: Path) -> bool:
    return (folder / "HEAD").is_file() and (folder / "objects").is_dir() and (folder / "refs").is_dir()


def _pointed_at(link: Path) -> Path:
    """The repository that a `.git` file leads to. Raises PlaceError where it leads nowhere."""
    line = _first_line(link)
    if not line.startswith("gitdir: "):
        raise PlaceError("its .git is neither a repository nor leads to one")
    inner = link.parent / line.removeprefix("gitdir: ")
    if not inner.is_dir():
        raise PlaceError("the repository that its .git leads to is gone")
    return inner


def _stores(folder: Path) -> Iterator[Path]:
    """The folder of objects, and those that it borrows from."""
    pending, known = [folder], set[Path]()
    while pending:
        one = Path(os.path.realpath(pending.pop()))
        if one in known or not one.is_dir():
            continue
        known.add(one)
        yield one
        lines = _text(one / "info" / "alternates").splitlines()
        pending += [one / line for line in lines if line and not line.startswith("#")]


def _first_line(path: Path) -> str:
    return next(iter(_text(path).splitlines()), "")


def _text(path: Path) -> str:
    """What is in a file of git's own; "" where there is none."""
    try:
        with open(path, "rb") as file:
            return os.fsdecode(file.read(_PIECE))
    except (FileNotFoundError, NotADirectoryError):
        return ""
