"""The use case `sweep`: look for a value wherever it may have leaked, and touch nothing.

Rules:
1. It handles Secrets only; a hit tells where a value stands and in which form, never a byte of it.
2. What is keyrotor's own, or a place of a playbook, is told apart from leaks, and what was not looked into is told.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Protocol

from keyrotor import incident_playbook, playbook, shelf
from keyrotor.core.machine import Phase
from keyrotor.core.model import Outcome, Playbook, Source, Value
from keyrotor.core.swept import CURRENT, MOST, Hit, Swept
from keyrotor.errors import Exit, InterruptedRun, PlaceError, RefusedError, UsageError
from keyrotor.journal import Account, Journal
from keyrotor.ports import World
from keyrotor.secret import Secret
from keyrotor.session import KEPT

Told = Callable[[str, int, int], None]
GIVEN = "given"
FROM = ("former", "current", "stdin")
_TITLES: Mapping[str, str] = {
    "file": "in files",
    "archive": "packed in files",
    "git": "in git",
    "journal": "in the systemd journal",
    "process": "in processes",
}
_SHOWN = 200  # hits, and paths, that are printed one by one; --json has more


class Ground(World, Protocol):
    """A world that can be swept."""

    def sweep(
        self,
        values: Mapping[str, Secret],
        roots: Sequence[Path],
        books: Sequence[Playbook],
        told: Told,
        *,
        files_only: bool,
    ) -> Swept:
        """Everything in which one of these values stands: in files below the roots and the git repositories there and
        around the playbooks, and, unless `files_only`, in the journal and in processes. `told` hears what is being
        looked through, how many files and how many bytes so far. Ends early, and says so, if somebody asks. Writes
        nothing."""  # fmt: skip

    def tells(self, text: str, secrets: Iterable[Secret]) -> bool:
        """Whether there is one of these in the text, in whatever form, or a piece of one."""

    def usual_roots(self, books: Sequence[Playbook]) -> Sequence[Path]:
        """Where to look if nobody says: homes, projects, and wherever things are left behind."""

    def weight(self, roots: Sequence[Path]) -> tuple[int, int]:
        """How many files and bytes are below the roots, roughly; much quicker than to look into them."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What the person who types `sweep` asks for."""

    value_from: str = "former"
    given: Secret | None = None  # from standard input
    roots: tuple[str, ...] = ()
    files_only: bool = False


@dataclass(frozen=True, slots=True)
class Sweep:
    """What a sweep for one playbook has come to."""

    book: Playbook | None
    values: tuple[str, ...]  # the names of those that were looked for
    roots: tuple[Path, ...]
    swept: Swept

    @property
    def exit(self) -> Exit:
        """A leak that is found is found, even if somebody stopped the rest; what is unknown alone is told, no more."""
        if self.swept.leak_count:
            return Exit.FINDINGS
        return Exit.FAILED if self.swept.stopped else Exit.DONE

    @property
    def is_alive(self) -> bool:
        """Whether what has leaked is the present value."""
        return any(hit.value == CURRENT for hit in self.swept.leaks)

    def lines(self) -> Iterator[str]:
        """All of it, as a person reads it."""
        swept = self.swept
        yield from _grouped(swept.leaks)
        if swept.more:
            yield f"and {swept.more:,} more leaks: of each kind the first {MOST:,} are told, in --json as well"
            yield ""
        own = [hit for hit in swept.hits if hit.whose]
        if own:
            yield "no leak: where it is known to stand"
            yield from (f"  {hit.where}: {hit.whose}{f' ({hit.note})' if hit.note else ''}" for hit in own[:_SHOWN])
            yield from _rest(len(own), "places")
            yield ""
        yield from (f"left out: {count:,} {what}" for what, count in sorted(swept.skipped.items()))
        yield from (f"cannot read {which}" for which in swept.unreadable[:_SHOWN])
        yield from _rest(len(swept.unreadable), "that cannot be read")
        yield from (f"cannot read {as_size(swept.unread)} in all" for _ in range(bool(swept.unread)))
        yield from (f"unknown: {doubt}" for doubt in swept.doubts)
        yield self._result()

    def _result(self) -> str:
        swept = self.swept
        rate = as_size(int(swept.size / swept.seconds)) if swept.seconds else "0 B"
        how = f"{swept.files:,} files, {as_size(swept.size)} in {swept.seconds:.1f} s ({rate}/s)"
        end = f"stopped by {swept.stopped} before its end: " if swept.stopped else ""
        leaks, value = swept.leak_count, f"the {' and the '.join(self.values)} value"
        things = f"{leaks:,} thing{'s' if leaks != 1 else ''} where it must not be"
        said = f"found {value} in {things}" if leaks else f"found {value} nowhere it must not be"
        return f"{end}{said}; looked through {how}"

    def as_json(self) -> dict[str, object]:
        """The one object that `sweep --json` prints (docs/reference/json.md)."""
        swept = self.swept
        return {
            "schema": 1,
            "playbook": self.book.name if self.book else None,
            "exit": int(self.exit),
            "values": list(self.values),
            "roots": list(swept.roots),
            "hits": [asdict(hit) for hit in swept.hits],
            "leaks": swept.leak_count,
            "more": swept.more,
            "files": swept.files,
            "size": swept.size,
            "seconds": round(swept.seconds, 3),
            "skipped": dict(swept.skipped),
            "unreadable": list(swept.unreadable),
            "unread": swept.unread,
            "doubts": list(swept.doubts),
            "stopped": swept.stopped,
        }


def sweep(
    world: Ground,
    values: Mapping[str, Secret],
    roots: Sequence[Path],
    books: Sequence[Playbook],
    told: Told = lambda what, files, size: None,
) -> Swept:
    """Look for these values to the end, below these roots or, if there are none, wherever is usual.
    Raises InterruptedRun."""
    swept = world.sweep(values, roots or world.usual_roots(books), books, told, files_only=False)
    if swept.stopped:
        raise InterruptedRun(swept.stopped)
    return swept


def look_for(world: Ground, name: str | None, wish: Wish, told: Callable[[Sequence[Path]], Told]) -> Sweep:
    """Look for a value of the playbook. What was found before somebody asks us to stop is told. Raises what refuses;
    `told` is given the roots, and makes what hears how it goes on."""
    book = _book(world, name, is_needed=wish.given is None)
    values = _values(world, book, wish)
    books = [book] if book else []
    roots = _typed(world, wish.roots, values.values()) or _usual(world, books)
    return Sweep(book, tuple(values), roots, world.sweep(values, roots, books, told(roots), files_only=wish.files_only))


def _typed(world: Ground, roots: Sequence[str], values: Iterable[Secret]) -> tuple[Path, ...]:
    """Raises UsageError, which tells nothing of the values."""
    try:
        return tuple(shelf.root(root, world.folder) for root in roots)
    except UsageError as error:
        if world.tells(str(error), values):
            raise UsageError("cannot look through a root that has the value in its path: it cannot be opened") from None
        raise


def _book(world: World, name: str | None, *, is_needed: bool) -> Playbook | None:
    """A value that is given needs no playbook; then its places are told apart where one is known."""
    try:
        return playbook.load(shelf.find(name, world.folder, world.env), world.env)
    except UsageError:
        if is_needed or name:
            raise
        return None


def _values(world: World, book: Playbook | None, wish: Wish) -> dict[str, Secret]:
    if wish.given is not None:
        present = _present(world, book.source) if book else None
        is_present = present is not None and world.are_same(present, wish.given)
        return {CURRENT if is_present else GIVEN: wish.given}
    assert book
    if wish.value_from == "current":
        return {CURRENT: world.read_secret(book.source, to_set=False)[1][book.source.key]}
    return _formers(world, book)


def _present(world: World, source: Source) -> Secret | None:
    try:
        return world.read_secret(source, to_set=False)[1].get(source.key)
    except (PlaceError, RefusedError):
        return None


def _formers(world: World, book: Playbook) -> dict[str, Secret]:
    """Every value that a closed run has replaced and that is kept, by the run's name; the newest first."""
    with Journal.peek(world.state) as journal:
        runs = [one for one in journal.accounts() if one.run.plan.source.is_of(book.source)]
        kept = [(one, journal.folder(one.id)) for one in reversed(runs) if one.run.phase is Phase.CLOSED]
    found: dict[str, Secret] = {}
    present = _present(world, book.source)
    known = [] if present is None else [present]
    for account, folder in kept:
        for value, secret in _replaced(world, account, folder):
            if not any(world.are_same(secret, other) for other in known):
                known.append(secret)
                found[f"former {account.id}{'' if value is Value.OLD else ' (new)'}"] = secret
    if not found:
        why = "it is forgotten" if any(one.run.phase is Phase.FORGOTTEN for one in runs) else "no run has replaced one"
        hint = f"keyrotor sweep --playbook {shlex.quote(book.name)} --value-from stdin  (takes it from you)"
        raise RefusedError(f"cannot look for the former value of {book.source.key}: {why}", hint=hint)
    return found


def _replaced(world: World, account: Account, folder: Path) -> Iterator[tuple[Value, Secret]]:
    """The value that a closed run has replaced: the new one where it turned back, either where nobody knows."""
    run = account.run
    for value in run.plan.ciphertexts:
        if value is run.goal.other or run.outcome is Outcome.ABANDONED:
            try:
                yield value, world.read_copy(run.plan.source, folder / KEPT[value])[run.plan.source.key]
            except PlaceError as error:
                why = f"cannot look for the former value of run {account.id}: {error}"
                raise RefusedError(why, hint=error.hint or "keyrotor sweep --value-from stdin") from None


def _usual(world: Ground, books: Sequence[Playbook]) -> tuple[Path, ...]:
    """Where an incident would look; without an incident playbook wherever is usual."""
    path = shelf.find_incident(None, world.folder, world.env)
    if path is None:
        return tuple(world.usual_roots(books))
    response = incident_playbook.load(path, world.env)
    more = world.usual_roots(books) if response.elsewhere else ()
    return tuple(dict.fromkeys((*map(Path, response.roots), *more)))


def _grouped(leaks: Sequence[Hit]) -> Iterator[str]:
    for kind, hits in groupby(sorted(leaks, key=lambda hit: list(_TITLES).index(hit.kind)), key=lambda hit: hit.kind):
        several = list(hits)
        yield f"{_TITLES[kind]}:"
        for hit in several[:_SHOWN]:
            times = f", {hit.count:,} times" if hit.count > 1 else ""
            yield f"  {hit.where}"
            yield f"    the {hit.value} value {', '.join(hit.forms)}{times}"
            if hit.note:
                yield f"    {hit.note}"
        yield from _rest(len(several), "of them")
        yield ""


def _rest(count: int, what: str) -> Iterator[str]:
    if count > _SHOWN:
        yield f"  and {count - _SHOWN:,} more {what}; --json has all"


def as_size(size: int) -> str:
    """Bytes as people read them: `1.3 GiB`."""
    number = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} TiB"
