"""What a repair finds: the places that do not hold the present value, and what stands there in its stead.

In a repair's pair the present value is `new`, for it is the goal; `old` is what the gateway runs with in its stead,
if that could be told, else a decoy; `stale` is everything that a put may replace. Looks, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from keyrotor.core.lineage import Lineage
from keyrotor.core.model import Act, Holds, Row, Source, Value
from keyrotor.errors import RefusedError
from keyrotor.ports import Place, World
from keyrotor.secret import Pair, Secret

_ADMITTED = (Holds.NEW, Holds.BOTH)
_GUESSING = ("client-file",)  # kinds that show whatever looks like a key; the others show what bears its name
# A unit that is down may be started by a repair: nothing has to be proven with the old value first.
_STARTABLE: Mapping[str, bool] = {"may_be_down": True}


@dataclass(frozen=True, slots=True)
class Spot:
    """One row, as a repair sees it."""

    row: Row
    holds: Holds  # `new` is the present value
    must_put: bool  # this row alone is reason enough for a repair
    reasons: tuple[str, ...] = ()  # why it cannot be put
    skipped: str = ""  # why it is left out; "" if it is not


@dataclass(frozen=True, slots=True)
class Drift:
    """All that a repair needs to know before its first effect."""

    spots: tuple[Spot, ...]
    pair: Pair
    has_old: bool  # whether `old` is what stands somewhere, not a decoy

    @property
    def rows(self) -> tuple[Row, ...]:
        return tuple(spot.row for spot in self.spots if not spot.skipped)

    @property
    def skipped(self) -> dict[str, str]:
        return {spot.row.place: spot.skipped for spot in self.spots if spot.skipped}

    @property
    def is_none(self) -> bool:
        """Whether every place holds the present value already."""
        return not any(spot.must_put for spot in self.spots)

    @property
    def reasons(self) -> list[str]:
        """Why a repair must not begin; a place that needs nothing may be as it likes."""
        return [why for spot in self.spots for why in spot.reasons]


def look(world: World, rows: Sequence[Row], source: Source, ciphertext: bytes, present: Pair, known: Lineage) -> Drift:
    """Look at every row. `present` is the file's own pair: the present value as `old`, and a decoy."""
    rows = [replace(row, options={**row.options, **_STARTABLE}) if row.act is Act.RESTART else row for row in rows]
    places = world.places(rows, source, {Value.NEW: ciphertext}, world.state)
    pair, has_old = pair_of(world, rows, places, present.old, present.siblings, known)
    # What is checked is that the present value can be put, so it stands where a rotation's own is checked.
    checked = replace(pair, old=present.old, new=present.new)
    doors = {row.id: _door(row, places[row.id], pair, checked) for row in rows if row.act.is_proof}
    is_proven = bool(doors) and all(spot.holds in _ADMITTED for spot in doors.values() if spot.row.act is Act.ADMIT)
    spots = [
        doors.get(row.id) or _spot(row, places[row.id], pair, checked, source.key, is_proven=is_proven) for row in rows
    ]
    if not is_proven and doors and not any(spot.must_put or spot.reasons for spot in spots):
        spots = [_hopeless(spot, source.key) for spot in spots]
    return Drift(tuple(spots), pair, has_old)


def pair_of(
    world: World,
    rows: Sequence[Row],
    places: Mapping[str, Place],
    present: Secret,
    siblings: Mapping[str, Secret],
    known: Lineage,
) -> tuple[Pair, bool]:
    """The present value as `new`, and every value that stands in its stead: by its name, or by being a former one;
    and whether `old` is one of these, not a decoy."""
    former = former_by(world, known)
    stale: list[Secret] = []
    for row in sorted(rows, key=lambda row: row.act is not Act.RESTART):  # what the gateway runs with comes first
        for secret in places[row.id].shows():
            is_ours = row.kind not in _GUESSING or bool(former(secret))
            if is_ours and not any(world.are_same(secret, other) for other in (present, *stale)):
                stale.append(secret)
    at = next((at for at, secret in enumerate(stale) if world.is_telling(secret)), None)
    old = world.decoy() if at is None else stale.pop(at)
    return Pair(old, present, siblings, tuple(stale)), at is not None


def former_by(world: World, known: Lineage) -> Callable[[Secret], str]:
    """What tells a former value by its fingerprint; "" for any other, and where none can be made."""
    prints = world.known_fingerprinter() if known.formers else None
    if prints is None:
        return lambda _: ""
    _, fingerprint = prints

    def former(secret: Secret) -> str:
        mark = fingerprint(secret)
        return mark if mark in known.formers else ""

    return former


def want_present(world: World, source: Source, present: Secret, known: Lineage, accepted: str, name: str) -> None:
    """Raises RefusedError where the encrypted file holds a former value, unless its fingerprint was accepted by name.

    A stale checkout or an editor that was left open brings a dead, perhaps leaked key back; what an incident has
    replaced may never come back.
    """
    prints = world.known_fingerprinter()
    mark = prints[1](present) if prints else ""
    if mark not in known.formers:
        if accepted:
            why = f"cannot accept {accepted}: the present {source.key} is {mark or 'not on record'}, no former value"
            raise RefusedError(why, hint=f"keyrotor repair {name}")
        return
    told = f"{source.file} holds a former value of {source.key} ({mark}), which run {known.formers[mark]} had replaced"
    if mark in known.leaked:
        raise RefusedError(f"cannot repair: {told} because it had leaked", hint=f"keyrotor rotate {name}")
    bare = mark.rpartition("…")[2]
    if accepted not in (mark, bare):
        hint = f"bring the present file back (git log -p), or: keyrotor repair {name} --accept-former {bare}"
        raise RefusedError(f"cannot repair: {told}", hint=hint)


def _door(row: Row, place: Place, pair: Pair, checked: Pair) -> Spot:
    """A door that fails its check (another process has the port, say) is shown no key."""
    reasons = tuple(place.check(checked))
    is_asked = row.act is Act.ADMIT and not reasons
    return Spot(row, place.holds(pair) if is_asked else Holds.UNKNOWN, False, reasons)


def _hopeless(spot: Spot, key: str) -> Spot:
    """A door that refuses what everything behind it holds: no put would change that."""
    if spot.row.act is not Act.ADMIT or spot.holds in _ADMITTED:
        return spot
    why = f"cannot repair {spot.row.label}: every place holds the present {key}, and it does not accept it"
    return replace(spot, reasons=(why,))


def _spot(row: Row, place: Place, pair: Pair, checked: Pair, key: str, *, is_proven: bool) -> Spot:
    holds, reasons = place.holds(pair), tuple(place.check(checked))
    if holds is Holds.REFERS:
        return Spot(row, holds, False, skipped=f"refers to {key}; restart what reads it")
    if row.act is Act.FILE:
        return _file(row, key, holds, reasons)
    must_put = holds is not Holds.NEW
    if holds is Holds.UNKNOWN:  # a unit that is down, or whose environment is hidden; a command that cannot look
        must_put = row.act is Act.RESTART and not is_proven
    return Spot(row, holds, must_put, reasons if must_put else ())


def _file(row: Row, key: str, holds: Holds, reasons: tuple[str, ...]) -> Spot:
    if holds is not Holds.NEITHER or row.kind not in _GUESSING:
        return Spot(row, holds, holds is not Holds.NEW, reasons if holds is not Holds.NEW else ())
    if row.optional:
        return Spot(row, holds, False, skipped="absent" if reasons else "has another key, or none")
    why = f"cannot repair {row.label}: nothing in it is known to be a former {key}; put the present one there once"
    return Spot(row, holds, True, reasons or (why,))
