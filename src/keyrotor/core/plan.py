"""From a playbook to the rows of a plan. Pure; an order that cannot work is an error before the first effect."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from keyrotor.core import clients
from keyrotor.core.model import Act, Declared, Playbook, Row
from keyrotor.errors import PlaybookError

BY_HAND: Final = ("by-hand", *clients.OPAQUE)  # only a person can change these
STORES: Final = ("keyring", "open-webui", "github-actions", "gitea", "forgejo", "gitlab")  # somebody else keeps these

# What putting each kind does. The door is one place and two rows: it admits where it is written, before
# the clients, and retires last, after them.
ACTS: Mapping[str, tuple[Act, ...]] = {
    "sops-file": (Act.FILE,),
    "env-file": (Act.FILE,),
    "systemd-unit": (Act.RESTART,),
    "litellm": (Act.ADMIT, Act.RETIRE),
    "client-file": (Act.FILE,),
    "command": (Act.COMMAND,),
    **dict.fromkeys(clients.CLIENTS, (Act.FILE,)),
    **dict.fromkeys((*BY_HAND, *STORES), (Act.STORE,)),
}


def rows(playbook: Playbook) -> tuple[Row, ...]:
    """The rows in the order in which they are put. Raises PlaybookError for an order that cannot work."""
    _want_order(playbook)
    written = [(declared, act) for declared in playbook.places for act in ACTS[declared.kind]]
    firsts = [row for declared, act in written if act is not Act.RETIRE for row in _rows(declared, act)]
    lasts = [_row(declared, act) for declared, act in written if act is Act.RETIRE]
    return (*firsts, *lasts)


def _rows(declared: Declared, act: Act) -> Iterator[Row]:
    """The place's row; or one for each of the files that its client is known to read, there or not."""
    row = _row(declared, act)
    if "files" not in declared.options:
        yield row
    for file in declared.options.get("files", ()):
        own = {**file, "implied": True}
        name, label = own.pop("name"), own.pop("label")
        yield replace(row, id=f"{row.id}:{name}", label=label, optional=True, options=own)


def _row(declared: Declared, act: Act) -> Row:
    suffix = {Act.ADMIT: ":accepts", Act.RETIRE: ":refuses"}.get(act, "")
    return Row(
        id=declared.id + suffix,
        place=declared.id,
        kind=declared.kind,
        act=act,
        label=declared.label,
        within=declared.within,
        optional=declared.optional,
        options=declared.options,
    )


def _want_order(playbook: Playbook) -> None:
    where = f"cannot use {playbook.path}"
    kinds = [declared.kind for declared in playbook.places]
    if kinds.count("sops-file") != 1:
        raise PlaybookError(
            f"{where}: it needs exactly one place of kind sops-file, and has {kinds.count('sops-file')}"
        )
    if kinds[0] != "sops-file":
        raise PlaybookError(f"{where}: place {playbook.places[0].id} stands before sops-file, which must come first")
    _want_unique(where, playbook.places)
    for at, declared in enumerate(playbook.places):
        if declared.kind == "litellm":
            _want_unit_above(where, declared, playbook.places[:at])
        if declared.kind == "systemd-unit":
            _want_files_above(where, declared, playbook.places[at:])


def _want_unique(where: str, places: Iterable[Declared]) -> None:
    seen: set[str] = set()
    for declared in places:
        if declared.id in seen:
            raise PlaybookError(f"{where}: two places have the id {declared.id}")
        seen.add(declared.id)


def _want_unit_above(where: str, door: Declared, above: tuple[Declared, ...]) -> None:
    moving = [declared.id for declared in above if declared.kind in ("systemd-unit", "command")]
    if not moving:
        raise PlaybookError(f"{where}: place {door.id} proves a key before any systemd-unit or command has taken it up")
    named = door.options.get("unit", "")
    if named and named not in moving:
        raise PlaybookError(
            f"{where}: place {door.id}: unit = {named!r} is not the id of a place above; those are: {', '.join(moving)}"
        )


def _want_files_above(where: str, unit: Declared, below: tuple[Declared, ...]) -> None:
    for declared in below:
        if declared.kind == "env-file":
            raise PlaybookError(f"{where}: place {declared.id} stands after {unit.id}, which reads it when it starts")


def is_client(all_rows: Sequence[Row], row: Row) -> bool:
    """Whether nothing in the plan depends on what this row holds: it stands below every unit and door."""
    below = all_rows[all_rows.index(row) + 1 :]
    is_last = not any(each.act in (Act.RESTART, Act.COMMAND, Act.ADMIT) for each in below)
    return row.act in (Act.FILE, Act.STORE) and is_last and any(each.act.is_proof for each in below)


def restarts(all_rows: Sequence[Row]) -> frozenset[str]:
    """The rows by whose put a door goes away until it is proven again."""
    units = (unit_of(all_rows, row) for row in all_rows if row.act is Act.ADMIT)
    return frozenset(unit.id for unit in units if unit)


def unit_of(playbook_rows: Iterable[Row], door: Row) -> Row | None:
    """The row of the unit whose process answers at the door: the named one, else the nearest above."""
    above: list[Row] = []
    for row in playbook_rows:
        if row.place == door.place:
            break
        if row.act in (Act.RESTART, Act.COMMAND):
            above.append(row)
    named = door.options.get("unit", "")
    found = [row for row in above if row.place == named] if named else above
    return next((row for row in reversed(found) if row.act is Act.RESTART or named), None)
