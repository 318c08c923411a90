"""What the record knows of stores that take a value and never show it: when a run wrote each. Pure.

The detail of a row's `moved` says the time that the store itself gives its last write; as long as the store still gives
that time, it holds what the run put.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from keyrotor.core.machine import Run, Step
from keyrotor.core.model import Act, Row
from keyrotor.core.recorded import Past

WRITTEN = "written"
LEFT = "left as it is: nothing of this run was taken there"
_UPDATED = f"{WRITTEN}; updated "


def written(updated: str) -> str:
    """The detail of a put that the store's update time proves."""
    return _UPDATED + updated


def updated(detail: str) -> str:
    """The update time in such a detail; "" in any other."""
    return detail.removeprefix(_UPDATED) if detail.startswith(_UPDATED) else ""


def with_recorded(rows: Sequence[Row], pasts: Iterable[Past], key: str, present: str) -> tuple[Row, ...]:
    """The rows; a store's with `recorded`, the update time at which it was given the present value, if it was so.

    `pasts`: the runs of this secret, oldest first. `present`: the present value's fingerprint by the key of this name.
    """
    closed = [past.run for past in pasts if not past.run.is_owed]
    times = {row.id: _written_at(row, closed, key, present) for row in rows if row.act is Act.STORE}
    return tuple(_with(row, {"recorded": times[row.id]}) if times.get(row.id) else row for row in rows)


def with_begun(rows: Sequence[Row], run: Run) -> list[Row]:
    """The rows; a store's with `begun` where a process before this one may have put something there."""
    begun = {row.id for row in rows if row.act is Act.STORE and row.id in run.marks and run.marks[row.id].has_begun}
    return [_with(row, {"begun": True}) if row.id in begun else row for row in rows]


def _with(row: Row, more: Mapping[str, object]) -> Row:
    return replace(row, options={**row.options, **more})


def _written_at(row: Row, runs: Sequence[Run], key: str, present: str) -> str:
    """What the newest run that touched this very store says; "" if that put another value, or nothing for certain."""
    for run in reversed(runs):
        mine = next((each for each in run.plan.rows if each.id == row.id), None)
        mark = run.marks.get(row.id)
        if mine is None or mark is None or not mark.has_begun:
            continue
        is_it = (mine.kind, mine.label) == (row.kind, row.label) and mark.step is Step.MOVED
        is_present = run.plan.fingerprint_key == key and run.plan.fingerprints.get(run.goal) == present
        return updated(mark.detail) if is_it and is_present and present else ""
    return ""
