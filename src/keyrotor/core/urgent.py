"""What is different about a rotation when the old value has leaked. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from keyrotor.core.machine import Moved, Run
from keyrotor.core.model import Act, Playbook, Source, Value
from keyrotor.core.report import Timed

NONE: Mapping[str, str] = {}  # every door is where the playbook says


def hurried(book: Playbook, doors: Mapping[str, str]) -> Playbook:
    """The playbook as it is rotated now: the gateway may be down, or be kept from answering the old value. `doors` are
    the addresses at which its doors are reached meanwhile, where they are others: place -> url."""
    more: Mapping[str, Mapping[str, Any]] = {"systemd-unit": {"may_be_down": True}, "litellm": {"may_be_open": True}}
    places = (
        replace(each, options={**each.options, **more.get(each.kind, {}), **at(each.id, doors)}) for each in book.places
    )
    return replace(book, places=tuple(places))


def at(place: str, doors: Mapping[str, str]) -> Mapping[str, str]:
    """The option of a door that is reached at another address meanwhile."""
    return {"url": doors[place]} if place in doors else {}


def is_replaced(run: Run) -> bool:
    """Whether the gateway has the new value, by its own proof; a client may be behind all the same."""
    proofs = [run.mark(row) for row in run.plan.rows if row.act.is_proof]
    is_proven = bool(proofs) and all(mark.is_done or mark.unproven for mark in proofs)
    return run.has_rotated or (run.goal is Value.NEW and is_proven)


def another_may_have_leaked(source: Source, earlier: str) -> str:
    """What a person must judge where the value that was replaced is not the one that the run before it has put."""
    where = f"{source.file} was given another {source.key} by hand since run {earlier}"
    what = "if it is the one before that which leaked, nobody has asked the gateway with it or looked for it"
    return f"{where}: {what}; git log has it, and keyrotor sweep --value-from stdin looks for it"


def taken_up(run: Run, timed: Sequence[Timed]) -> datetime:
    """When the gateway took up the new value: from then on counts what it has cached of the old one."""
    restarts = {row.id for row in run.plan.rows if row.act is Act.RESTART}
    moved = [at for at, event in timed if isinstance(event, Moved) and event.row in restarts]
    return moved[-1] if moved else timed[-1][0]
