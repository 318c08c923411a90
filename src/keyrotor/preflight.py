"""Preflight: everything that is looked at before the first effect. It changes nothing.

Every place must be able to change and to change back, hold the old value or be out of sight, and the door
must accept the old value now. Then a rotation may begin.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

from keyrotor.core import plan
from keyrotor.core.model import Act, Holds, Playbook, Row, Value
from keyrotor.errors import PlaceError, RefusedError, refused
from keyrotor.ports import Client, Place, World
from keyrotor.secret import Pair, Secret


@runtime_checkable
class Following(Protocol):
    def follows(self) -> bool:
        """Whether what reads this place, which refers to the key, takes up another one by itself. Writes nothing."""


@dataclass(frozen=True, slots=True)
class Ready:
    """What preflight has found: a rotation may begin."""

    rows: tuple[Row, ...]
    skipped: Mapping[str, str]
    pair: Pair  # its new value is the decoy
    ciphertext: bytes
    todo: Mapping[str, str] = field(default_factory=dict)  # row id -> what a person must do once all is rotated
    no_way_back: str = ""  # why what stands there now could not be put back


@dataclass(frozen=True, slots=True)
class Looked:
    """What one row has said."""

    row: Row
    why: str = ""  # why it is left out; "" if it is not
    reasons: tuple[str, ...] = ()  # why it forbids a rotation
    refers: bool = False
    todo: str = ""  # what a person must do once the key is another one

    @property
    def is_nothing(self) -> bool:
        """Whether it is a file that its client may have, and that has nothing of ours: not worth a word."""
        return bool(self.row.options.get("implied") and self.why and not self.refers)


@dataclass(frozen=True, slots=True)
class Found:
    """What every row has said, and what they were looked at with."""

    book: Playbook
    looked: tuple[Looked, ...]
    record: tuple[str, ...]  # why nothing could be recorded
    places: Mapping[str, Place]
    pair: Pair
    ciphertext: bytes

    def refusal(self, hint: str = "") -> RefusedError | None:
        """Every reason why a rotation must not begin, with that hint or the command that mends them; None if it may."""
        refusals = [*self.record, *(reason for each in self.looked for reason in each.reasons)]
        if not refusals:
            return None
        return refused(f"cannot rotate {self.book.source.key}", refusals, hint or mend(refusals, self.book))


def check(
    world: World,
    book: Playbook,
    given: Secret | None = None,
    first: Callable[[Found], None] = lambda _: None,
    *,
    incident: str = "",
) -> Ready:
    """Look at every place, change none. Raises RefusedError with every reason why a rotation must not begin.

    `first` is asked before that: it may refuse for a reason of its own that explains the others. In an `incident` the
    key is replaced though a client cannot follow, which is left to a person, and though nothing could be put back.
    """
    found = look(world, book, given, is_leaked=bool(incident))
    if incident:
        found = replace(found, looked=tuple(_left_to_do(each, found.looked) for each in found.looked))
    skipped = {each.row.id: each.why for each in found.looked if each.why}
    for each in found.looked:
        if each.why:
            world.screen.skipped(each.row, each.why)
    first(found)
    # Never a repair: that would put the leaked value back where somebody has taken it away.
    if refusal := found.refusal(f"keyrotor incident resume {incident}  (once that is mended)" if incident else ""):
        raise refusal
    kept = tuple(each.row for each in found.looked if not each.why)
    todo = {each.row.id: each.todo for each in found.looked if each.todo}
    no_way_back = _no_way_back(found, kept) if incident else ""
    return Ready(kept, skipped, found.pair, found.ciphertext, todo, no_way_back)


def look(world: World, book: Playbook, given: Secret | None = None, *, is_leaked: bool = False) -> Found:
    """What every place says. Raises RefusedError only where the secret itself cannot be read.

    It looks with a decoy in the new value's stead: the real one is not shown to a door before the run is opened.
    Files are looked through for the value that was given, if one was: it must not stand anywhere yet.
    """
    rows = plan.rows(book)
    world.screen.preflight(book, rows)
    ciphertext, values = told_as_refusal(lambda: world.read_secret(book.source))
    pair = replace(Pair.read(values, book.source.key, world.decoy()), is_leaked=is_leaked)
    places = world.places(rows, book.source, {Value.OLD: ciphertext}, world.state)
    looked = []
    for row in rows:
        seen = replace(pair, new=given) if given is not None and row.act is Act.FILE else pair
        looked.append(judged(row, places[row.id], seen, book))
    looked = _of_interest(book, looked)
    return Found(book, tuple(looked), tuple(world.record_refusals()), places, pair, ciphertext)


def judged(row: Row, place: Place, pair: Pair, book: Playbook) -> Looked:
    """What the place says. A door that fails its check (another process has the port, say) is shown no key."""
    holds = place.holds(pair) if row.act in (Act.FILE, Act.STORE) else None
    reasons = place.check(pair)
    if holds is Holds.REFERS:
        return Looked(row, *_referring(row, place, pair, book))
    if pair.is_leaked and row.kind == "env-file" and holds is Holds.NEITHER:
        return Looked(row, reasons=tuple(reasons))  # somebody has emptied it; what reads it needs the new value
    if row.optional and holds is Holds.NEITHER:
        return Looked(row, "absent" if reasons else "has another key, or none")
    if not reasons and row.act not in (Act.FILE, Act.STORE, Act.RETIRE):
        holds = place.holds(pair)
    return Looked(row, reasons=tuple(reasons or _refusals(row, holds)))


def _of_interest(book: Playbook, looked: Sequence[Looked]) -> list[Looked]:
    """Without the files that a client may have and that have nothing of ours; but one of them must, where the
    playbook does not say `optional`."""
    kept = [each for each in looked if not each.is_nothing]
    present = {each.row.place for each in kept}
    for declared in book.places:
        if declared.id in present or declared.optional or declared.options.get("shares"):
            continue
        mine = [each.row for each in looked if each.row.place == declared.id]
        names = ", ".join(row.label for row in mine)
        said = f"none of its files holds the present value, or refers to it (looked at: {names})"
        kept += [Looked(row, reasons=(f"cannot rotate {declared.id}: {said}",)) for row in mine[:1]]
    return kept


def _left_to_do(each: Looked, looked: Sequence[Looked]) -> Looked:
    """The same, but that a client's reasons are left to a person: nothing that the gateway needs depends on it."""
    if not each.reasons or not plan.is_client([one.row for one in looked], each.row):
        return each
    said = "; ".join(each.reasons)
    return replace(each, why=said, reasons=(), todo=f"put the new key there by hand: {said}")


def _no_way_back(found: Found, kept: Sequence[Row]) -> str:
    """Why what stands at these places could not be put back; "" if it could."""
    usual = replace(found.pair, is_leaked=False)
    for row in kept:
        place = found.places[row.id]
        if row.kind == "env-file" and place.holds(usual) is Holds.NEITHER:
            return f"{row.label} was absent before it, or without the old key"
        if row.act in (Act.FILE, Act.STORE) and place.check(usual):
            return f"the old key would have to be quoted in {row.label}"
    return ""


def _referring(row: Row, place: Place, pair: Pair, book: Playbook) -> tuple[str, tuple[str, ...], bool, str]:
    """Of a place that refers to the key: why it is left out, no reason against that, and what a person must do."""
    key, known = book.source.key, row.options.get("todo_referring")
    todo = f"restart what reads {row.label}: it refers to {key}" if known is None else str(known)
    broken = place.broken(pair) if isinstance(place, Client) else ()
    if broken:
        at, form = broken[0]
        why = f"its {at} is {form.replace('NAME', key)}, which its client sends as it is"
        return why, (), True, f"keyrotor repair {book.name} --heal  ({row.label}: {why})"
    if isinstance(place, Following) and place.follows():
        return f"refers to {key}, and follows by itself", (), True, ""
    return f"refers to {key}; restart what reads it", (), True, todo


def _refusals(row: Row, holds: Holds | None) -> list[str]:
    """Why what a place holds now forbids a rotation: it must be the old value, or be out of sight."""
    if row.options.get("may_be_down") or row.options.get("may_be_open"):
        return []  # in an incident the gateway may be contained, and is not asked first
    if holds in (None, Holds.OLD) or (holds is Holds.UNKNOWN and row.act in (Act.COMMAND, Act.STORE, Act.RESTART)):
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
