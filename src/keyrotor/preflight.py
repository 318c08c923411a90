"""Preflight: everything that is looked at before the first effect. It changes nothing.

Every place must be able to change and to change back, hold the old value or be out of sight, and the door
must accept the old value now. Then a rotation may begin.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from keyrotor.core import plan
from keyrotor.core.model import Act, Holds, Playbook, Row, Value
from keyrotor.errors import PlaceError, RefusedError
from keyrotor.ports import Place, World
from keyrotor.secret import Pair, Secret


@dataclass(frozen=True, slots=True)
class Ready:
    """What preflight has found: a rotation may begin."""

    rows: tuple[Row, ...]
    skipped: Mapping[str, str]
    pair: Pair  # its new value is the decoy
    ciphertext: bytes


@dataclass(frozen=True, slots=True)
class Looked:
    """What one row has said."""

    row: Row
    why: str = ""  # why it is left out; "" if it is not
    reasons: tuple[str, ...] = ()  # why it forbids a rotation


@dataclass(frozen=True, slots=True)
class Found:
    """What every row has said, and what they were looked at with."""

    book: Playbook
    looked: tuple[Looked, ...]
    record: tuple[str, ...]  # why nothing could be recorded
    places: Mapping[str, Place]
    pair: Pair
    ciphertext: bytes

    def refusal(self) -> RefusedError | None:
        """Every reason why a rotation must not begin; None if it may."""
        refusals = [*self.record, *(reason for each in self.looked for reason in each.reasons)]
        if not refusals:
            return None
        several = f"cannot rotate {self.book.source.key}, for {len(refusals)} reasons:\n  " + "\n  ".join(refusals)
        return RefusedError(several if len(refusals) > 1 else refusals[0], hint=mend(refusals, self.book))


def check(
    world: World, book: Playbook, given: Secret | None = None, first: Callable[[Found], None] = lambda _: None
) -> Ready:
    """Look at every place, change none. Raises RefusedError with every reason why a rotation must not begin.

    `first` is asked before that: it may refuse for a reason of its own that explains the others.
    """
    found = look(world, book, given)
    skipped = {each.row.place: each.why for each in found.looked if each.why}
    for each in found.looked:
        if each.why:
            world.screen.skipped(each.row, each.why)
    first(found)
    if refusal := found.refusal():
        raise refusal
    kept = tuple(each.row for each in found.looked if not each.why)
    return Ready(kept, skipped, found.pair, found.ciphertext)


def look(world: World, book: Playbook, given: Secret | None = None) -> Found:
    """What every place says. Raises RefusedError only where the secret itself cannot be read.

    It looks with a decoy in the new value's stead: the real one is not shown to a door before the run is opened.
    Files are looked through for the value that was given, if one was: it must not stand anywhere yet.
    """
    rows = plan.rows(book)
    world.screen.preflight(book, rows)
    ciphertext, values = told_as_refusal(lambda: world.read_secret(book.source))
    pair = Pair.read(values, book.source.key, world.decoy())
    places = world.places(rows, book.source, {Value.OLD: ciphertext}, world.state)
    looked = []
    for row in rows:
        seen = replace(pair, new=given) if given is not None and row.act is Act.FILE else pair
        why, reasons = judged(row, places[row.id], seen, book.source.key)
        looked.append(Looked(row, why, tuple(reasons)))
    return Found(book, tuple(looked), tuple(world.record_refusals()), places, pair, ciphertext)


def judged(row: Row, place: Place, pair: Pair, key: str) -> tuple[str, list[str]]:
    """Why the place is skipped, and why it forbids a rotation. A door that fails its check (another
    process has the port, say) is shown no key."""
    holds = place.holds(pair) if row.act is Act.FILE else None
    reasons = place.check(pair)
    if why := _why_skipped(row, holds, key, is_readable=not reasons):
        return why, []
    if not reasons and row.act not in (Act.FILE, Act.RETIRE):
        holds = place.holds(pair)
    return "", reasons or _refusals(row, holds)


def _why_skipped(row: Row, holds: Holds | None, key: str, *, is_readable: bool) -> str:
    if holds is Holds.REFERS:
        return f"refers to {key}; restart what reads it"
    if row.optional and holds is Holds.NEITHER:
        return "has another key, or none" if is_readable else "absent"
    return ""


def _refusals(row: Row, holds: Holds | None) -> list[str]:
    """Why what a place holds now forbids a rotation: it must be the old value, or be out of sight."""
    if holds in (None, Holds.OLD) or (holds is Holds.UNKNOWN and row.act in (Act.COMMAND, Act.RESTART)):
        return []
    if row.act is Act.ADMIT:
        return [f"cannot prove the present key: {row.label} {_DOOR.get(holds, 'gives no clear answer to it')}"]
    if holds in (Holds.NEW, Holds.BOTH):
        return [f"cannot rotate {row.label}: the value given stands there already"]
    return [f"cannot rotate {row.label}: it does not hold the present value, or is absent"]


_DOOR: Mapping[Holds | None, str] = {
    Holds.NEITHER: "refuses it",
    Holds.BOTH: "accepts it, and a key that nobody has: the gateway is open",
    Holds.NEW: "refuses it, and accepts a key that nobody has",
}


def mend(refusals: Sequence[str], book: Playbook) -> str:
    """The command that mends these; "" where each says it itself."""
    if any("does not hold the present value" in reason for reason in refusals):
        return f"keyrotor repair {book.name}"
    return ""


def told_as_refusal(read: Callable[[], tuple[bytes, dict[str, Secret]]]) -> tuple[bytes, dict[str, Secret]]:
    """Before the first effect, what the world does not give is a reason to refuse."""
    try:
        return read()
    except PlaceError as error:
        raise RefusedError(str(error), hint=error.hint) from None
