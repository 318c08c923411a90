"""The use case `clients discover`: who holds the key or refers to it, and the playbook entries that would cover them.

Reads, and writes nothing but the playbook, and that only if asked: text is added at its end, and what it says then is
the same playbook with these places more.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from keyrotor import drift, playbook, preflight, shelf
from keyrotor.core import plan
from keyrotor.core.discovered import Entry, Holder, Hunted, appended, entries, entry_of, todo_of
from keyrotor.core.model import Playbook, Row, Value
from keyrotor.errors import Exit, JournalError, PlaceError, PlaybookError, RefusedError
from keyrotor.ports import World
from keyrotor.secret import Pair, Secret

_PARTIAL = "some former values cannot be told: their fingerprints were made with another key than there is now"


class Ground(World, Protocol):
    """A world that can be searched."""

    def hunt(
        self,
        book: Playbook,
        rows: Sequence[Row],
        values: Mapping[str, Secret] | None,
        former: Callable[[Secret], str] | None,
        roots: Sequence[Path],
    ) -> Hunted:
        """Every file that holds the key or refers to it, where clients are known to look and below these folders.
        `values` are the encrypted file's, `former` tells former ones; None where they are not known. Writes nothing."""

    def edit(self, file: Path, edited: Callable[[bytes], bytes]) -> None:
        """Make the file what `edited` makes of its bytes; somebody else's write meanwhile is taken up.
        Raises RefusedError where it may not be written, PlaceError, and what `edited` raises."""


@dataclass(frozen=True, slots=True)
class Discovered:
    """What was found, and what became of the playbook."""

    book: Playbook
    typed: str  # what to call the playbook in a command
    hunted: Hunted
    wanted: tuple[Entry, ...]  # the entries that the playbook lacks, or lacked
    doubts: tuple[str, ...]  # what could not be told
    refusals: tuple[str, ...]  # why the next rotation will be refused once these entries are there
    wrote: bool

    @property
    def exit(self) -> Exit:
        return Exit.FINDINGS if self.wanted and not self.wrote else Exit.DONE

    def lines(self) -> Iterator[str]:
        """All of it, as a person reads it."""
        yield from (line for holder in self.hunted.holders for line in holder.lines(self.book.source.key))
        if not self.hunted.holders:
            yield f"nobody was found who holds {self.book.source.key}, or refers to it"
        for kind in self.hunted.maybe:
            yield f"{kind}: is in use here, and hides its keys; if one is this gateway's, add"
            yield from (f"  {line}" for line in Entry(kind).lines())
        yield from (f"left out: {count} {what}" for what, count in self.hunted.skipped.items())
        yield from (f"cannot read {which}" for which in self.hunted.unreadable)
        yield ""
        yield from self._result()

    def _result(self) -> Iterator[str]:
        if not self.wanted:
            yield f"{self.book.path}: nothing to add"
            return
        yield f"{'added to' if self.wrote else 'to add to'} {self.book.path}:"
        for entry in self.wanted:
            yield ""
            yield from entry.lines()
            if entry.kind in self.hunted.stores:
                yield f"# {todo_of(entry.kind)}"
        yield from ("", *(f"! the next rotation is refused until this is mended: {why}" for why in self.refusals))

    def as_json(self) -> dict[str, object]:
        """The one object that `clients discover --json` prints (docs/reference/json.md)."""
        return {
            "schema": 1,
            "playbook": self.book.name,
            "exit": int(self.exit),
            "wrote": self.wrote,
            "holders": [self._holder(holder) for holder in self.hunted.holders],
            "entries": ["\n".join(entry.lines()) for entry in self.wanted],
            "maybe": list(self.hunted.maybe),
            "skipped": dict(self.hunted.skipped),
            "unreadable": list(self.hunted.unreadable),
            "doubts": list(self.doubts),
            "refusals": list(self.refusals),
        }

    def _holder(self, holder: Holder) -> dict[str, object]:
        own = entry_of(holder)
        at = next((at for at, entry in enumerate(self.wanted) if own and replace(entry, id="") == own), None)
        return holder.as_json(at)


def discover(world: Ground, name: str | None, roots: Sequence[str], *, write: bool) -> Discovered:
    """Look for whoever holds the key; `write`: and add them to the playbook. Raises what refuses."""
    folders = [shelf.root(root, world.folder) for root in roots]
    path = shelf.find(name, world.folder, world.env)
    book = playbook.load(path, world.env)
    typed = shlex.quote(name or book.name)
    values, unread = _values(world, book)
    former, unknown = _former(world, book, values)
    hunted = world.hunt(book, plan.rows(book), values, former, folders)
    wanted = entries(book, hunted)
    again = f"keyrotor clients discover {typed}{roots_as_typed(roots)} --write"
    if write and wanted:
        world.edit(path, lambda data: _extended(world, book, data, wanted, again))
    doubts = tuple(filter(None, (unread, unknown, hunted.doubt)))
    refusals = tuple(_refusals(world, book, values)) if write and wanted and values else ()
    return Discovered(book, typed, hunted, wanted, doubts, refusals, write and bool(wanted))


def roots_as_typed(roots: Sequence[str]) -> str:
    return "".join(f" --root {shlex.quote(root)}" for root in roots)


def _values(world: World, book: Playbook) -> tuple[Mapping[str, Secret] | None, str]:
    """What the encrypted file holds; or why the present value cannot be looked for."""
    try:
        return world.read_secret(book.source, to_set=False)[1], ""
    except (PlaceError, RefusedError) as error:
        return None, f"the present value cannot be looked for, references can: {error}"


def _former(
    world: World, book: Playbook, values: Mapping[str, Secret] | None
) -> tuple[Callable[[Secret], str] | None, str]:
    """What tells a former value, where any is on record; and why not every one can be told."""
    try:
        known, _ = drift.recorded(world, book.source, b"")
        prints = world.known_fingerprinter() if known.formers or known.present else None
    except (JournalError, PlaceError) as error:
        return None, f"former values cannot be told: {error}"
    doubt = _PARTIAL if known.is_partial else ""
    if prints is None:
        return None, doubt
    _, fingerprint = prints
    present = (values or {}).get(book.source.key)
    return drift.among(known.formers if present is None else known.superseded(fingerprint(present)), fingerprint), doubt


def _refusals(world: World, old: Playbook, values: Mapping[str, Secret]) -> Iterator[str]:
    """Why preflight will refuse the next rotation for the sake of what the playbook has more than the old one."""
    if old.source.key not in values:
        return
    book = playbook.load(Path(old.path), world.env)
    pair, rows, known = Pair.read(values, book.source.key, world.decoy()), plan.rows(book), plan.rows(old)
    places = world.places(rows, book.source, {Value.OLD: b""}, world.state)
    for row in rows:
        if row not in known:
            yield from preflight.judged(row, places[row.id], pair, book).reasons


def _extended(world: Ground, book: Playbook, data: bytes, wanted: Sequence[Entry], again: str) -> bytes:
    """The playbook with these entries. Raises RefusedError where it would not be the same with just these more."""
    path, made = Path(book.path), appended(data, wanted)
    try:
        is_same = playbook.load(path, world.env, data.decode()) == book
    except (PlaybookError, UnicodeDecodeError):
        is_same = False
    if not is_same:
        raise RefusedError(f"cannot add to {path}: it was changed meanwhile", hint=again)
    try:
        new = playbook.load(path, world.env, made.decode())
    except PlaybookError as error:
        hint = f"make each of its places a [[place]] of its own, then: {again}"
        raise RefusedError(f"cannot add to {path}: {error}", hint=hint) from None
    more = new.places[len(book.places) :]
    if new != replace(book, places=(*book.places, *more)) or [each.kind for each in more] != [e.kind for e in wanted]:
        hint = f"add what `keyrotor clients discover` prints to {path} by hand"
        raise RefusedError(f"cannot add to {path}: it would say something else before the new places, too", hint=hint)
    return made
