"""What stands in git repositories: every object, and where git knows it from.

Rules:
1. A repository is looked through once, by however many work trees, links and names it was found.
2. One whose objects another borrows (alternates) is looked through with that one; where an object is known from, each
   of them is asked.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from keyrotor.boundary.process import Processes, found
from keyrotor.boundary.reading import why
from keyrotor.core.swept import MOST, Hit
from keyrotor.errors import InterruptedRun, PlaceError
from keyrotor.sweeping.git_folders import Repository, inflated, repository_at, unfinished, unfinished_packs
from keyrotor.sweeping.git_objects import Objects
from keyrotor.sweeping.ledger import Ledger
from keyrotor.sweeping.source import Source
from keyrotor.sweeping.unpacking import Unpacking

_AT_ONCE = 10_000  # objects
_SHORT = 12  # hex digits of an object's name, as people write it
_PARTIAL_PACKS = "packs that git has not finished (git gc removes them)"
_UNFINISHED = "an object that git has not finished writing: git gc --prune=now"
# What shows who brought an object, and where it is.
_TOLD_BY: Mapping[str, str] = {
    "commit": "{git} cat-file -p {name}; {git} for-each-ref --contains {name}",
    "tag": "{git} cat-file -p {name}; {git} tag --points-at {name}",
    "tree of a commit": "{git} log --all --format='%h %T %s' | grep {name}",
}
_FIND = "{git} log --all --oneline --find-object={name}"  # says nothing of commits and tags themselves
_MEND: Mapping[str, str] = {
    "a remote's branch": "whoever can fetch it has it; {told}",
    "a branch or a tag": "{told}",
    "a stash": "{git} stash list, stash drop, then gc --prune=now",
    "the reflog": "{git} reflog expire --expire=now --all, then gc --prune=now",
    "the index": "{git} restore --staged .",
    "": "{git} gc --prune=now",
}


@dataclass(frozen=True, slots=True)
class _Known:
    """Where git knows an object from."""

    where: Repository
    way: str = ""  # one of WAYS; "" where nothing leads to it
    path: str = ""


def look(ledger: Ledger, folders: Iterable[Path], processes: Processes, env: Mapping[str, str]) -> None:
    """Everything in the repositories at these folders, which may be none, or the same."""
    groups = _by_common(ledger, folders)
    if groups and found("git", env) is None:
        ledger.doubt(f"{len(groups)} git repositories: there is no git to read them with")
        return
    covered, looking = set[Path](), _Looking(ledger, processes, env)
    for group in sorted(groups, key=lambda group: -len(group[0].stores)):  # who borrows comes before the lender
        stores = group[0].stores
        if not stores <= covered:
            kin = [one for other in groups if other is not group for one in other if one.stores & stores]
            if looking.through(group, kin):
                covered |= stores


def _by_common(ledger: Ledger, folders: Iterable[Path]) -> list[list[Repository]]:
    """The repositories, each at every folder where it was found: git may read it there, or only here."""
    groups: dict[Path, list[Repository]] = {}
    for folder in dict.fromkeys(folders):
        try:
            if one := repository_at(folder):
                groups.setdefault(one.common, []).append(one)
            elif folder.is_dir():
                ledger.cannot_read(str(folder), "it looks like a git repository, and is none")
        except (PlaceError, OSError) as error:
            ledger.cannot_read(str(folder), why(error) if isinstance(error, OSError) else str(error))
    return list(groups.values())


_Found = tuple[str, str, Hit]  # in the object of this name, and of this kind


class _Looking:
    """Looks through one repository after the other."""

    def __init__(self, ledger: Ledger, processes: Processes, env: Mapping[str, str]) -> None:
        self._ledger, self._processes, self._env = ledger, processes, env
        self._seen: set[Path] = set()  # stores

    def through(self, group: Sequence[Repository], kin: Sequence[Repository]) -> bool:
        """Whether git has read it to its end at one of its folders; what it gave until it refused counts."""
        best, hits, refusals = group[0], list[_Found](), dict[Path, PlaceError]()
        for one in group:
            several: list[_Found] = []
            try:
                self._collect(one, several)
                refusals.clear()
            except PlaceError as refusal:
                refusals[one.folder] = refusal
            except InterruptedRun:
                self._ledger.found(hit for _, _, hit in several)
                raise
            if not refusals or len(several) > len(hits):
                best, hits = one, several
            if not refusals:
                break
        for folder, said in refusals.items():
            self._ledger.cannot_read(str(folder), f"its objects were not read to the last: {said}")
        self._ledger.found(self._told(best, kin, hits))
        for store in sorted(best.stores):
            self._garbage(store)
        return not refusals

    def _collect(self, one: Repository, hits: list[_Found]) -> None:
        """All that stands there. Raises PlaceError where git does not come to the end, once all that it gives was
        looked at."""
        objects = Objects(self._processes, self._env, one.folder)
        unpacking = Unpacking(self._ledger.finder, self._ledger.left_out, self._ledger.raise_if_asked, is_streamed=True)
        if pipe := one.pipe():
            raise PlaceError(f"git would wait for ever at {pipe}, which is no file")
        if objects.common() != one.common:
            raise PlaceError("git does not take it for a repository")
        what = f"git: {self._ledger.finder.shown(str(one.folder))}"
        refusal: PlaceError | None = None
        for names in _some_at_once(objects.suspects(self._ledger.finder, partial(self._ledger.looked, what))):
            try:
                for name, kind, size, body in objects.read(names):
                    source = Source(body, self._ledger.finder.stream())
                    found = unpacking.search(source, f"{one.folder}:{name[:_SHORT]}", size, "git")
                    for hit in found:
                        self._keep(hits, (name, kind, hit))
            except PlaceError as refused:
                refusal = refused
        if refusal:
            raise refusal

    def _keep(self, hits: list[_Found], hit: _Found) -> None:
        """What is more than people read is only counted."""
        if len(hits) < MOST:
            hits.append(hit)
        else:
            self._ledger.more += 1

    def _told(self, one: Repository, kin: Sequence[Repository], hits: Sequence[_Found]) -> Iterator[Hit]:
        """The hits with where git knows them from; versions of one file are told together."""
        names = dict.fromkeys(name for name, _, _ in hits)
        if not names:
            return
        known: dict[str, _Known] = {}
        for each in (one, *(each for each in kin if not each.pipe())):
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
        told = _TOLD_BY.get("tree of a commit" if kind == "tree" and not at.path else kind, _FIND)
        how = _MEND[at.way].replace("{told}", told)
        mend = how.format(git=f"git -C {shlex.quote(str(at.where.folder))}", name=name)
        return self._ledger.finder.shown(f"{what}{more}, {where}: {mend}")

    def _garbage(self, store: Path) -> None:
        """What git has not finished writing, and never lists."""
        if store in self._seen:
            return
        self._seen.add(store)
        ledger = self._ledger
        unpacking = Unpacking(ledger.finder, ledger.left_out, ledger.raise_if_asked)
        for path in unfinished(store):
            ledger.raise_if_asked()
            try:
                source = Source(inflated(path), ledger.finder.stream())
                size = path.lstat().st_size
                ledger.found(unpacking.search(source, str(path), size, "git", lambda _: _UNFINISHED))
                ledger.looked("git", source.stream.size, 1)
            except OSError as error:
                ledger.cannot_read(str(path), why(error))
        if packs := unfinished_packs(store):
            ledger.left_out.skipped[_PARTIAL_PACKS] += packs


def _some_at_once(names: Iterable[str]) -> Iterator[list[str]]:
    """Some thousands at a time, each once: memory is bounded. What came before git gave up is given, too."""
    several: dict[str, None] = {}
    try:
        for name in names:
            several[name] = None
            if len(several) >= _AT_ONCE:
                yield list(several)
                several = {}
    except PlaceError:
        yield list(several)
        raise
    if several:
        yield list(several)
