"""The use case `repair`: the present value in every place that does not hold it.

The same machine as a rotation's, towards the value that the encrypted file holds, and recorded like one. There
is no way back: what stood there before was a mixture. It never makes a value, and never touches the encrypted file.
A reference is left alone, unless its client sends it as it is and the person wants it healed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from keyrotor import drift, playbook, recall, shelf
from keyrotor.core import plan
from keyrotor.core.machine import Run
from keyrotor.core.model import Act, Holds, Outcome, Playbook, Purpose, Row, Source, Value
from keyrotor.core.report import Report
from keyrotor.drift import Drift, Spot
from keyrotor.errors import Exit, RefusedError, refused
from keyrotor.journal import Journal
from keyrotor.ports import Client, Place, World
from keyrotor.preflight import told_as_refusal
from keyrotor.secret import Pair
from keyrotor.session import begin, discard_unopened, drive, locked, report_of, want_nothing_owed

_EXPOSED = "git tracks it, and only the key itself works there"
Broken = Sequence[tuple[str, str]]  # the paths of leaves, and the forms of the references there


@dataclass(frozen=True, slots=True)
class Wish:
    """What the person who types `repair` asks for besides."""

    accept_former: str = ""  # the fingerprint of the former value that is to count again
    reason: str = ""
    heals: bool = False  # whether what works is put in the stead of a reference that does not


@dataclass(frozen=True, slots=True)
class Found:
    """What a repair would begin with."""

    book: Playbook
    drift: Drift
    ciphertext: bytes
    broken: Mapping[str, Broken]  # row id -> the references in it that its client sends as they are
    exposed: frozenset[str]  # those of these rows that cannot be healed while git tracks them

    def lines(self) -> list[str]:
        """What would be done, place by place, and one line that sums it up."""
        key = self.book.source.key
        puts = [spot for spot in self.drift.spots if spot.must_put]
        units = [spot for spot in puts if spot.row.act is Act.RESTART]
        return [
            f"{self.book.name}: {key} as {self.book.source.file} holds it now",
            *(f"  {_symbol(spot)} {spot.row.label}: {self._told(spot)}" for spot in self.drift.spots if _is_told(spot)),
            f"repair: {len(puts)} to put, {len(units)} of them by a restart" if puts else "repair: nothing to do",
        ]

    def as_json(self) -> dict[str, object]:
        """The one object that `repair --dry-run --json` prints (docs/reference/json.md)."""
        spots = [spot for spot in self.drift.spots if _is_told(spot)]
        return {
            "schema": 1,
            "playbook": self.book.name,
            "places": [
                {
                    "id": spot.row.id,
                    "kind": spot.row.kind,
                    "label": spot.row.label,
                    "state": _STATE[_symbol(spot)],
                    "detail": self._told(spot),
                }
                for spot in spots
            ],
        }

    def _told(self, spot: Spot) -> str:
        if not _is_healed(spot.row) or not spot.must_put:
            return _told(spot)
        forms = ", ".join(sorted({form for _, form in self.broken[spot.row.id]}))
        works = _named(_works(spot.row), self.book.source) or "the key itself"
        return f"{forms} does not work there; put in its stead: {works}"


def repair(world: World, name: str | None, wish: Wish) -> Report:
    """Put the present value everywhere, and prove it. Raises what refuses before the first effect."""
    book = playbook.load(shelf.find(name, world.folder, world.env), world.env)
    file = Path(book.source.file)
    with locked(world, file):
        want_nothing_owed(world, file)
        world.tidy(plan.rows(book))  # what is half written would hide what it holds
        found = _look(world, book, wish)
        if found.drift.is_none:
            return Report(Outcome.NOTHING_CHANGED, Exit.DONE, book.name, reason=_nothing(found), notes=_notes(found))
        if not world.screen.agrees(found.lines(), "Repair now?"):
            return Report(Outcome.NOTHING_CHANGED, Exit.FAILED, book.name, reason="not agreed to")
        if not world.is_still(file, found.ciphertext):
            raise RefusedError(f"cannot repair: {file} was changed meanwhile", hint=f"keyrotor repair {book.name}")
        with Journal.open(world.state) as journal:
            discard_unopened(journal)
            run, places = _open(world, journal, found, wish.reason)
            return report_of(journal, drive(world, journal, run, places, found.drift.pair), _notes(found))


def look(world: World, name: str | None, wish: Wish) -> Found:
    """What a repair would do. Changes nothing. Raises what refuses it."""
    book = playbook.load(shelf.find(name, world.folder, world.env), world.env)
    want_nothing_owed(world, Path(book.source.file))
    return _look(world, book, wish)


def _look(world: World, book: Playbook, wish: Wish) -> Found:
    source = book.source
    _want_no_leak_in_force(world, book)
    ciphertext, values = told_as_refusal(lambda: world.read_secret(source))
    known, is_left = drift.recorded(world, source, ciphertext)
    present = Pair.read(values, source.key, world.decoy())
    drift.want_present(world, source, present.old, known, wish.accept_former, book.name, is_left=is_left)
    rows = plan.rows(book)
    broken = _broken(world, rows, source, ciphertext, present)
    exposed = _exposed(world, source, [row for row in rows if wish.heals and row.id in broken])
    rows = tuple(_healed(row) if wish.heals and row.id in broken.keys() - exposed else row for row in rows)
    seen = drift.look(world, rows, source, ciphertext, present, known)
    found = Found(book, seen, ciphertext, broken, exposed)
    reasons = seen.reasons + (_left_exposed(found, rows) if seen.is_none else world.record_refusals())
    if reasons:
        raise refused(f"cannot repair {source.key}", reasons, f"keyrotor audit {book.name}")
    return found


def _want_no_leak_in_force(world: World, book: Playbook) -> None:
    """Raises RefusedError while an incident is open in which the key is not replaced yet: the leaked value would be put
    back wherever somebody has taken it away."""
    with Journal.peek(world.state) as journal:
        if not journal.knows_incidents:
            return
        known = recall.recorded(journal, world.env)
    for leak in known.leaks_of(book):
        if not known.is_replaced(leak, book.source):
            why = f"{book.source.key} has leaked, is not replaced yet, and would be put back ({leak.case})"
            raise RefusedError(f"cannot repair: {why}", hint=f"keyrotor incident resume {leak.case}")


def _broken(
    world: World, rows: Sequence[Row], source: Source, ciphertext: bytes, present: Pair
) -> Mapping[str, Broken]:
    """The references that do not work, by the rows that have any."""
    places = world.places(rows, source, {Value.OLD: ciphertext}, world.state)
    seen = ((row.id, place.broken(present)) for row in rows if isinstance(place := places[row.id], Client))
    return {row: [(at, _named(form, source)) for at, form in broken] for row, broken in seen if broken}


def _healed(row: Row) -> Row:
    return replace(row, options={**row.options, "heals": True})


def _exposed(world: World, source: Source, rows: Sequence[Row]) -> frozenset[str]:
    """Those of the rows that cannot be healed: only the value itself works there, and git would show it to others."""
    bare = {Path(os.path.realpath(row.options["path"])): row.id for row in rows if not _works(row)}
    tracked = world.repository(Path(source.file)).tracked(bare) if bare else ()
    return frozenset(bare[path] for path in tracked)


def _left_exposed(found: Found, rows: Sequence[Row]) -> list[str]:
    """Where there is nothing else to heal: why these are not."""
    return [f"cannot heal {row.label}: {_EXPOSED}" for row in rows if row.id in found.exposed]


def _is_healed(row: Row) -> bool:
    return bool(row.options.get("heals"))


def _named(form: str, source: Source) -> str:
    return form.replace("NAME", source.key)


def _works(row: Row) -> str:
    """The form of a reference that works there; "": none does."""
    return str(row.options["heal"])


def _open(world: World, journal: Journal, found: Found, reason: str) -> tuple[Run, Mapping[str, Place]]:
    """Make `after` and `opened` durable, in this order."""
    book, seen = found.book, found.drift
    more: dict[str, Any] = {"skipped": seen.skipped, "reason": reason, "purpose": Purpose.REPAIR}

    def prepare(folder: Path) -> Mapping[Value, bytes]:
        return world.keep(book.source, found.ciphertext, seen.pair, folder, has_old=seen.has_old)

    return begin(world, journal, book, seen.rows, seen.pair, prepare, has_old=seen.has_old, **more)


def _notes(found: Found) -> tuple[str, ...]:
    """What was left out, and may hold another key."""
    spots = [spot for spot in found.drift.spots if spot.row.id not in found.broken]
    skipped = [(spot.row.label, spot.skipped) for spot in spots if spot.skipped and spot.skipped != "absent"]
    return (*(f"{label} is left as it is: {why}" for label, why in skipped), *_left_broken(found))


def _left_broken(found: Found) -> list[str]:
    """What could be healed, and was not asked to be, or cannot be yet."""
    rows = [spot.row for spot in found.drift.spots if not _is_healed(spot.row)]
    ill = [(row, *each) for row in rows if row.id not in found.exposed for each in found.broken.get(row.id, ())]
    heal, audit = f"keyrotor repair {found.book.name} --heal", f"keyrotor audit {found.book.name}"
    return [
        *(f"{row.label}: its {at} is {form}, which its client sends as it is: {heal}" for row, at, form in ill),
        *(f"{row.label}: {_EXPOSED}: {audit}" for row in rows if row.id in found.exposed),
    ]


def _nothing(found: Found) -> str:
    besides = " but those named below" if _notes(found) else ""
    return f"nothing to repair: every place{besides} holds the present {found.book.source.key}"


def _is_told(spot: Spot) -> bool:
    """A door is told once; the encrypted file is where the value is read."""
    return spot.row.act is not Act.RETIRE


def _symbol(spot: Spot) -> str:
    if spot.skipped:
        return "–"
    if spot.row.act.is_proof:
        return "?"
    return "~" if spot.must_put else "="


_STATE: Mapping[str, str] = {"–": "skipped", "?": "proof", "~": "put", "=": "held"}


_UNKNOWN: Mapping[Act, str] = {Act.RESTART: "cannot be told, or is down: restarted"}


def _told(spot: Spot) -> str:
    if spot.skipped:
        return spot.skipped
    if spot.row.act.is_proof:
        accepts = "accepts" if spot.holds in (Holds.NEW, Holds.BOTH) else "does not accept"
        return f"{accepts} the present key now; asked again at the end"
    if spot.row.kind in plan.BY_HAND:
        return "told at the end, for only a person can" if spot.must_put else "left to a person"
    if not spot.must_put:
        return "holds it" if spot.holds is Holds.NEW else "cannot be told; put again if anything is"
    return {
        Holds.UNKNOWN: _UNKNOWN.get(spot.row.act, "cannot be told: put again"),
        Holds.NEITHER: "does not hold it",
        Holds.BOTH: "holds a former value besides",
    }.get(spot.holds, "holds another value")
