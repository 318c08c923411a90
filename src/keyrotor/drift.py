"""What a repair finds: the places that do not hold the present value, and what stands there in its stead.

In a repair's pair the present value is `new`, for it is the goal. `old` is what the gateway runs with in its stead, if
that is a key that can be asked for, else a decoy. `stale` is whatever else is known to be a former value, or stands
under the key's own name and cannot be taken for anything but a key: it is replaced wherever it is found. All else is
`by_name`: replaced only where the key's own name stands before it, or where the playbook says that the key belongs; so
is every unknown value in a client's file, for elsewhere it may be somebody else's key. Looks, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from keyrotor.core import clients, plan
from keyrotor.core.lineage import Lineage, lineage
from keyrotor.core.model import Act, Holds, Outcome, Row, Source, Value
from keyrotor.errors import RefusedError
from keyrotor.journal import Journal
from keyrotor.ports import Place, World
from keyrotor.secret import Pair, Secret

UNKNOWN = "unknown"  # what `--accept-former` takes where no fingerprint can be compared
_ADMITTED = (Holds.NEW, Holds.BOTH)
# How a repair's rows differ from a rotation's: the encrypted file is read only; a unit may be down, for nothing has to
# be proven with a former value first; a store may hold what nobody knows, where the playbook names the key in it; a
# door may be open until its unit is restarted, for its last row proves it shut.
_OPTIONS: Mapping[Act, Mapping[str, Any]] = {Act.RESTART: {"may_be_down": True}, Act.STORE: {"may_be_other": True}}
_SOURCE: Mapping[str, Any] = {"is_source": True}
_OPEN: Mapping[str, Any] = {"may_be_open": True}


@dataclass(frozen=True, slots=True)
class Spot:
    """One row, as a repair sees it."""

    row: Row
    holds: Holds  # `new` is the present value
    must_put: bool  # the place does not hold it, or follows one above it that does not
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
        return {spot.row.id: spot.skipped for spot in self.spots if spot.skipped}

    @property
    def is_none(self) -> bool:
        """Whether there is nothing to put."""
        return not any(spot.must_put for spot in self.spots)

    @property
    def reasons(self) -> list[str]:
        """Why a repair must not begin; a place that needs nothing may be as it likes."""
        return [why for spot in self.spots for why in spot.reasons]


@dataclass(frozen=True, slots=True)
class _Scene:
    """What every row is looked at with."""

    world: World
    source: Source
    ciphertext: bytes
    pair: Pair
    checked: Pair  # what is checked is that the present value can be put, so it stands where a rotation's own is

    def place(self, row: Row, rows: Sequence[Row], **options: Any) -> Place:
        mine = replace(row, options={**row.options, **options})
        others = [mine if each.id == row.id else each for each in rows]
        return self.world.places(others, self.source, {Value.NEW: self.ciphertext}, self.world.state)[row.id]


def look(world: World, rows: Sequence[Row], source: Source, ciphertext: bytes, present: Pair, known: Lineage) -> Drift:
    """Look at every row. `present` is the file's own pair: the present value as `old`, and a decoy."""
    rows = [_as_repaired(row) for row in rows]
    places = world.places(rows, source, {Value.NEW: ciphertext}, world.state)
    pair, has_old = pair_of(world, rows, places, present.old, present.siblings, known)
    stale = (pair.old, *pair.stale) if has_old else pair.stale
    scene = _Scene(world, source, ciphertext, pair, replace(pair, old=present.old, new=present.new, stale=stale))
    spots = [_spot(scene, row, rows, places[row.id]) for row in rows if not row.act.is_proof]
    spots = _with_followers(spots)
    restarted = {spot.row.id for spot in spots if spot.must_put and spot.row.act in (Act.RESTART, Act.COMMAND)}
    doors = [_door(scene, row, rows, restarted) for row in rows if row.act.is_proof]
    spots = _with_doors(spots, doors, rows)
    if not any(spot.must_put or spot.reasons for spot in spots):
        doors = [_hopeless(spot, source.key) for spot in doors]
    found = {spot.row.id: spot for spot in (*spots, *doors)}
    return Drift(tuple(found[row.id] for row in rows if not _is_nothing(found[row.id])), pair, has_old)


def pair_of(
    world: World,
    rows: Sequence[Row],
    places: Mapping[str, Place],
    present: Secret,
    siblings: Mapping[str, Secret],
    known: Lineage,
) -> tuple[Pair, bool]:
    """The present value as `new`, and every value that stands in its stead; and whether `old` is one of these.

    Another of the file's secrets is never hunted for, whatever stands under the key's name: it belongs where it is.
    """
    former = former_by(world, known, present)
    hunted: list[Secret] = []
    by_name: list[Secret] = []
    for row in sorted(rows, key=lambda row: row.act is not Act.RESTART):  # what the gateway runs with comes first
        for secret in places[row.id].shows():
            if any(world.are_same(secret, other) for other in (present, *hunted, *by_name)):
                continue
            is_other = any(world.are_same(secret, sibling) for sibling in siblings.values())
            is_named = not _is_guess(row)
            is_ours = is_named and not clients.is_client(row.kind) and world.is_key_like(secret)
            if not is_other and (former(secret) or is_ours):
                hunted.append(secret)
            elif is_named:
                by_name.append(secret)
    at = next((at for at, secret in enumerate(hunted) if world.is_key_like(secret)), None)
    old = world.decoy() if at is None else hunted.pop(at)
    return Pair(old, present, siblings, tuple(hunted), tuple(by_name)), at is not None


def former_by(world: World, known: Lineage, present: Secret) -> Callable[[Secret], str]:
    """What tells a former value by its fingerprint; "" for any other, and where none can be made."""
    prints = world.known_fingerprinter() if known.formers or known.present else None
    if prints is None:
        return lambda _: ""
    _, fingerprint = prints
    return among(known.superseded(fingerprint(present)), fingerprint)


def among(formers: Collection[str], fingerprint: Callable[[Secret], str]) -> Callable[[Secret], str]:
    """What tells the fingerprint of a value that is one of these; "" for any other. Without any none is made."""

    def former(secret: Secret) -> str:
        mark = fingerprint(secret) if formers else ""
        return mark if mark in formers else ""

    return former


def recorded(world: World, source: Source, ciphertext: bytes) -> tuple[Lineage, bool | None]:
    """What the record knows of the key's values; and whether the encrypted file is byte for byte as the last run left
    it, which needs no fingerprint to be told. None: no run is on record."""
    with Journal.peek(world.state) as journal:
        runs = [account.run for account in journal.accounts()]
    mine = [run for run in runs if run.plan.source.is_of(source)]
    if not mine:
        return Lineage(), None
    prints = world.known_fingerprinter()
    left = mine[-1].plan.ciphertexts.get(mine[-1].goal) if mine[-1].outcome is not Outcome.ABANDONED else None
    return lineage(mine, source, prints[0] if prints else ""), left == world.digest(ciphertext)


def want_present(
    world: World,
    source: Source,
    present: Secret,
    known: Lineage,
    accepted: str,
    name: str,
    *,
    is_left: bool | None,
    verb: str = "repair",
) -> None:
    """Raises RefusedError where the encrypted file holds a former value, or might, unless it was accepted by name.

    A stale checkout or an editor that was left open brings a dead, perhaps leaked key back; what an incident has
    replaced may never come back. `is_left`: whether the file is byte for byte as the last run left it; None if no
    run is on record. `verb`: what is refused.
    """
    if is_left is not False and not accepted:
        return
    prints = world.known_fingerprinter()
    mark = prints[1](present) if prints else ""
    run = known.formers.get(mark, "") or known.doubtful.get(mark, "")
    if mark in known.leaked:
        why = f"cannot {verb}: {source.file} holds a value of {source.key} ({mark}) that had leaked"
        raise RefusedError(f"{why}; run {run} had replaced it", hint=f"keyrotor rotate {name}")
    if (not mark or known.is_partial) and not run and mark != (known.present or None) and is_left is False:
        _want_accepted(accepted, UNKNOWN, _cannot_tell(source), name, verb)
    elif run:
        told = f"{source.file} holds a former value of {source.key} ({mark}), which run {run} had replaced"
        if mark in known.doubtful:
            why = f"run {run} was abandoned, so it may be a former one"
            told = f"{source.file} holds a value of {source.key} ({mark}) of which little is known: {why}"
        _want_accepted(accepted.rpartition("…")[2], mark.rpartition("…")[2], told, name, verb)
    elif accepted:
        why = f"cannot accept {accepted}: the present {source.key} is {mark or 'not on record'}, no former value"
        raise RefusedError(why, hint=f"keyrotor repair {name}")


def _cannot_tell(source: Source) -> str:
    return (
        f"it cannot be told whether {source.file} holds a former value of {source.key}: the record's fingerprints "
        "were made with another key than there is now"
    )


def _want_accepted(accepted: str, wanted: str, told: str, name: str, verb: str) -> None:
    if accepted != wanted:
        hint = f"bring the present file back (git log -p), or: keyrotor repair {name} --accept-former {wanted}"
        raise RefusedError(f"cannot {verb}: {told}", hint=hint)


def _is_guess(row: Row) -> bool:
    """Whether the place shows whatever looks like a key; the others show what bears its name, or stands where the
    playbook says that the key belongs."""
    is_client = clients.is_client(row.kind) and not clients.is_own(row.kind, row.options.get("at", ()))
    return is_client or row.kind == "open-webui"


def _is_nothing(spot: Spot) -> bool:
    """Whether it is a file that its client may have, and that has nothing of ours."""
    return bool(spot.row.options.get("implied") and spot.skipped and spot.holds is not Holds.REFERS)


def _as_repaired(row: Row) -> Row:
    more = _SOURCE if row.kind == "sops-file" else _OPTIONS.get(row.act, {})
    return replace(row, options={**row.options, **more})


def _spot(scene: _Scene, row: Row, rows: Sequence[Row], place: Place) -> Spot:
    holds, reasons = place.holds(scene.pair), tuple(place.check(scene.checked))
    if holds is Holds.REFERS:
        return Spot(row, holds, False, skipped=f"refers to {scene.source.key}; restart what reads it")
    if row.act is Act.FILE or (row.act is Act.STORE and holds is not Holds.UNKNOWN):
        return _file(row, place, scene.source.key, holds, reasons)
    if row.act is Act.RESTART and holds is Holds.UNKNOWN and not reasons:
        is_down = bool(scene.place(row, rows, may_be_down=False).check(scene.checked))
        return Spot(row, holds, is_down)
    must_put = holds not in (Holds.NEW, Holds.UNKNOWN) or (bool(reasons) and holds is not Holds.NEW)
    return Spot(row, holds, must_put, reasons if must_put else ())


def _file(row: Row, place: Place, key: str, holds: Holds, reasons: tuple[str, ...]) -> Spot:
    is_guess = _is_guess(row)
    if holds is Holds.NEITHER and row.optional and (is_guess or not place.shows()):
        return Spot(row, holds, False, skipped="absent" if reasons and is_guess else f"has no {key}, or another key")
    if holds is Holds.NEITHER and clients.is_client(row.kind) and (is_guess or not place.shows()):
        found = "nothing in it is known to be a former" if is_guess else "there is no place in it for the"
        why = f"cannot repair {row.label}: {found} {key}; put the present one there once"
        return Spot(row, holds, True, reasons or (why,))
    return Spot(row, holds, holds is not Holds.NEW, reasons if holds is not Holds.NEW else ())


def _with_followers(spots: Sequence[Spot]) -> list[Spot]:
    """What cannot be told is put where a place above it is (a unit, a command may have read that), else left out."""
    found: list[Spot] = []
    for spot in spots:
        above = any(other.must_put for other in found if other.row.act not in (Act.COMMAND, Act.STORE))
        if spot.holds is not Holds.UNKNOWN or spot.must_put or spot.row.act is Act.FILE:
            found.append(spot)
        elif above:
            found.append(replace(spot, must_put=True))
        else:
            found.append(replace(spot, skipped="cannot be told what it holds, and nothing above it changes"))
    return found


def _with_doors(spots: Sequence[Spot], doors: Sequence[Spot], rows: Sequence[Row]) -> list[Spot]:
    """A unit whose environment cannot be seen is put when its own door does not accept the present value."""
    refusing = (door.row for door in doors if door.holds in (Holds.OLD, Holds.NEITHER))
    ill = {unit.id for door in refusing if (unit := plan.unit_of(rows, door))}
    return [replace(spot, must_put=True, skipped="") if spot.row.id in ill and spot.skipped else spot for spot in spots]


def _door(scene: _Scene, row: Row, rows: Sequence[Row], restarted: set[str]) -> Spot:
    """A door that fails its check (another process has the port, say) is shown no key."""
    unit = plan.unit_of(rows, row)
    options = _OPEN if unit and unit.id in restarted else {}
    place = scene.place(row, rows, **options)
    reasons = tuple(place.check(scene.checked))
    is_asked = row.act is Act.ADMIT and not reasons
    opened = replace(row, options={**row.options, **options})
    return Spot(opened, place.holds(scene.pair) if is_asked else Holds.UNKNOWN, False, reasons)


def _hopeless(spot: Spot, key: str) -> Spot:
    """A door that does not accept what everything behind it holds: no put would change that."""
    if spot.row.act is not Act.ADMIT or spot.holds in _ADMITTED or spot.reasons:
        return spot
    how = "gives no clear answer to it (is it still starting?)" if spot.holds is Holds.UNKNOWN else "does not accept it"
    return replace(
        spot, reasons=(f"cannot repair {spot.row.label}: every place holds the present {key}, and it {how}",)
    )
