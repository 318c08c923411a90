"""What a sweep looks through, put together: files, repositories, processes, the journal; and whose each hit is."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from keyrotor.boundary import proc
from keyrotor.boundary.forms import forms
from keyrotor.boundary.git import root_of
from keyrotor.core import plan
from keyrotor.core.model import Act, Playbook, Row
from keyrotor.core.swept import CURRENT, Hit, Swept
from keyrotor.errors import InterruptedRun, PlaceError
from keyrotor.secret import Secret
from keyrotor.sweeping import haunts, journals, processes, repositories
from keyrotor.sweeping.files import Files
from keyrotor.sweeping.finder import Finder
from keyrotor.sweeping.ledger import Ledger
from keyrotor.sweeping.left_out import LeftOut
from keyrotor.sweeping.tally import Judge, Tally
from keyrotor.world.parts import Parts

OWN = "keyrotor's own state"
_ASIDE = "a killed write left it; the next rotation or repair clears it away"


def sweep(
    parts: Parts,
    values: Mapping[str, Secret],
    roots: Sequence[Path],
    books: Sequence[Playbook],
    told: Callable[[str, int, int], None],
    *,
    files_only: bool,
) -> Swept:
    """Look for the values; what was found before somebody asks us to stop is told."""
    began, stopped = time.monotonic(), ""
    finder = Finder({name: forms(secret) for name, secret in values.items()})
    ledger = Ledger(finder, parts.stop.raise_if_asked, told)
    whose = _Whose(parts, books)
    try:
        if not files_only:
            processes.look(ledger, dict(whose.pids()))
        _look_through_files(parts, ledger, roots, books, whose.judged)
        if not files_only:
            journals.look(ledger, parts.processes, parts.env)
    except InterruptedRun as asked:
        stopped = str(asked)
    left_out = ledger.left_out
    more = left_out.unreadable_count - len(left_out.unreadable)
    return Swept(
        hits=tuple(whose.of_process(hit) if hit.kind == "process" else hit for hit in ledger.hits),
        files=ledger.files,
        size=ledger.size,
        seconds=time.monotonic() - began,
        skipped=dict(left_out.skipped),
        unreadable=(*left_out.unreadable, *([f"and {more} more"] if more else [])),
        doubts=tuple(ledger.doubts),
        unread=left_out.unreadable_size,
        stopped=stopped,
        roots=tuple(finder.shown(str(root)) for root in roots),
        more=ledger.more,
    )


def usual(parts: Parts, books: Sequence[Playbook]) -> list[Path]:
    """Where to look if nobody says: the home, the projects, keyrotor's own state, and where things are left behind."""
    home = parts.env.get("HOME") or os.path.expanduser("~")
    projects = [Path(book.source.project) for book in books]
    found = (Path(home), *projects, parts.state, *haunts.usual(parts.env))
    return [path for path in dict.fromkeys(found) if path.exists()]


def weight(parts: Parts, roots: Sequence[Path]) -> tuple[int, int]:
    """How many files and bytes are below the roots, roughly."""
    return Files(Finder({}), LeftOut(), parts.stop.raise_if_asked).weight(roots)


def _look_through_files(
    parts: Parts, ledger: Ledger, roots: Sequence[Path], books: Sequence[Playbook], judge: Judge
) -> None:
    def told(count: int, size: int) -> None:
        ledger.looked("files", before + size - ledger.size, count - ledger.files)

    before = ledger.size
    files = Files(ledger.finder, ledger.left_out, parts.stop.raise_if_asked, told, tally=Tally(judge))
    try:
        ledger.found(files.below(roots))
    finally:
        ledger.more += files.tally.more
    told(files.count, files.size)
    ledger.size += files.unpacked
    own = (root_of(Path(path)) for book in books for path in (book.source.file, book.path))
    folders = [*map(Path, files.repositories), *(root for root in own if root)]
    repositories.look(ledger, folders, parts.processes, parts.env)


class _Whose:
    """Tells what is keyrotor's own, or a place of a playbook, from leaks."""

    def __init__(self, parts: Parts, books: Sequence[Playbook]) -> None:
        self._parts = parts
        self._rows = [(book, row) for book in books for row in plan.rows(book)]
        self._several = len(books) > 1
        self._state = os.path.realpath(parts.state)
        self._paths = {
            os.path.realpath(row.options["path"]): (book, row)
            for book, row in reversed(self._rows)
            if row.options.get("path")
        }

    def pids(self) -> Iterator[tuple[int, str]]:
        """The processes of the playbooks' units, and the place that each belongs to."""
        for book, row in self._rows:
            if row.act is Act.RESTART:
                try:
                    unit = self._parts.manager(row.options["scope"]).show(row.options["unit"])
                except PlaceError:  # no manager can be asked: then none of its processes is told apart
                    continue
                for pid in proc.family(unit.pid):
                    yield pid, self._name(book, row)

    def of_process(self, hit: Hit) -> Hit:
        return self._drift(hit) if hit.whose else hit

    def judged(self, path: str, hit: Hit) -> Hit:
        """A hit in the file at this real path."""
        if path in self._paths:
            return self._drift(replace(hit, whose=self._name(*self._paths[path])))
        if path.startswith(f"{self._state}/"):
            note = _ASIDE if path.startswith(f"{self._state}/aside/") else hit.note
            return replace(hit, whose=OWN, note=note)
        if what := haunts.kind(path):
            return replace(hit, note="; ".join(filter(None, (what, hit.note))))
        return hit

    def _drift(self, hit: Hit) -> Hit:
        """A place holds the present value; any other there is drift."""
        if hit.value == CURRENT:
            return hit
        return replace(hit, note="; ".join(filter(None, (hit.note, "a former value: keyrotor repair"))))

    def _name(self, book: Playbook, row: Row) -> str:
        return f"place {row.place} of {book.name}" if self._several else f"place {row.place}"
