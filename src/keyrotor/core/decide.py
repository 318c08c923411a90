"""What a run does next. Pure: a plan and a record in, one move out; the engine carries it out.

Kept free of the engine: another driver may ask it one day (a fleet's).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from keyrotor.core import plan
from keyrotor.core.machine import ASKED, Mark, Phase, Run, Step
from keyrotor.core.model import Act, Holds, Outcome, Purpose, Row, Value
from keyrotor.errors import JournalError

MANY = 16  # rows from which on a go is worth it: 16 files are put one by one in 50 ms
MOST = 64  # rows of one go; with them the commits are 2 % of what 1,000 files cost


@dataclass(frozen=True, slots=True)
class Put:
    row: Row
    value: Value


@dataclass(frozen=True, slots=True)
class TurnBack:
    reason: str


@dataclass(frozen=True, slots=True)
class Settle:
    """Look once over all places."""


@dataclass(frozen=True, slots=True)
class Close:
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Halt:
    """Nothing more can be done without a person: the run stays owed."""

    outcome: Outcome
    reason: str


Move = Put | TurnBack | Settle | Close | Halt


def next_move(run: Run) -> Move:
    """The one thing to do now. Raises JournalError for a run that is closed."""
    match run.phase:
        case Phase.FORWARD:
            return _forward(run)
        case Phase.BACK:
            return _back(run)
        case Phase.SETTLED:
            return Close(_outcome(run))
        case _:
            raise JournalError(f"cannot go on with run {run.plan.run}: it is {run.phase}")


def _forward(run: Run) -> Move:
    spent: list[str] = []
    for row, mark in _undone(run):
        if mark.failures < row.act.tries:
            return Put(row, Value.NEW)
        if mark.unproven or is_given_up(run, row):
            continue  # the new value works everywhere else: going back would only cost a second outage
        if may_turn_back(run):
            return TurnBack(_why(row, mark))
        spent.append(_why(row, mark))
        if not (is_past_return(run) and plan.is_client(run.plan.rows, row)):
            break
    return Halt(Outcome.STUCK, " · ".join(spent)) if spent else Settle()


def _back(run: Run) -> Move:
    spent: list[str] = []
    for row, mark in _undone(run):
        if mark.failures < row.act.tries:
            return Put(row, Value.OLD)
        if not is_given_up(run, row):
            spent.append(_why(row, mark))
    return Halt(Outcome.STUCK, " · ".join(spent)) if spent else Settle()


def _undone(run: Run) -> Iterator[tuple[Row, Mark]]:
    return ((row, run.mark(row)) for row in run.plan.rows if not run.mark(row).is_done)


def _why(row: Row, mark: Mark) -> str:
    return f"{row.id}: {mark.reason}"


def _outcome(run: Run) -> Outcome:
    if run.goal is Value.OLD:
        return Outcome.ROLLED_BACK
    if any(mark.unproven for mark in run.marks.values()):
        return Outcome.OLD_ALIVE
    return Outcome.REPAIRED if run.plan.purpose is Purpose.REPAIR else Outcome.ROTATED


def may_turn_back(run: Run) -> bool:
    """Whether the run may turn back by itself: data in the plan, and how far the run has come."""
    return run.has_way_back and not run.plan.no_way_back and run.goal is Value.NEW and not is_past_return(run)


def must_go_back(run: Run, row: Row, holds: Holds) -> bool:
    """Whether a row is to be put, on the way back, or passed as it is.

    A place that we never began to move is touched only if it holds the new value all the same (a unit
    that restarted by itself); what else it holds is somebody else's and is left. A unit that went down
    meanwhile would come up with whatever the files above it held then, so it is started on the old value.
    """
    if holds is Holds.REFERS or _stays_down(run, row, holds):
        return False
    went_down = row.act is Act.RESTART and holds is Holds.UNKNOWN and any(m.has_begun for m in run.marks.values())
    return row.act.is_proof or run.mark(row).has_begun or went_down or holds in (Holds.NEW, Holds.BOTH)


def _stays_down(run: Run, row: Row, holds: Holds) -> bool:
    """Whether it is a unit that is down, or its door: in an incident nobody starts it with the leaked value, or asks
    it, unless it was a person who turned the run back. What was put on the way back is proven all the same."""
    if holds is not Holds.UNKNOWN or not run.plan.incident or run.reason == ASKED:
        return False
    if row.act is Act.RESTART:
        return not run.mark(row).has_begun
    unit = plan.unit_of(run.plan.rows, row)
    takers = [unit] if unit else filter(takes_up, run.plan.rows)
    return row.act.is_proof and not any(run.mark(taker).has_begun for taker in takers)


def has_drifted(run: Run, row: Row, holds: Holds) -> bool:
    """Whether a row that was moved holds something else now. What cannot be told counts as held."""
    was_moved = run.mark(row).step is Step.MOVED
    return was_moved and holds is not Holds.UNKNOWN and not row.is_satisfied(run.goal, holds)


def is_hopeless(run: Run, row: Row) -> bool:
    """Whether a proof need not be waited for: the same door has just failed to accept the goal."""
    doors = (other for other in run.plan.rows if other.place == row.place and other.act is Act.ADMIT)
    return row.act is Act.RETIRE and any(run.mark(door).step is Step.FAILED for door in doors)


def together(run: Run, row: Row) -> tuple[Row, ...]:
    """The rows that are put in one go with this one: files that follow each other.

    Alone, unless there are many: each costs two commits of the record, and a thousand files took longer to record
    than to write. In one go, what a kill leaves in doubt is the whole go; so it is no more than `MOST`.
    """
    found: list[Row] = []
    for each in run.plan.rows[(at := run.plan.rows.index(row)) : at + MOST]:
        if each.act is not Act.FILE:
            break
        found += [] if run.mark(each).is_done else [each]
    return tuple(found) if len(found) >= MANY else (row,)


def is_given_up(run: Run, row: Row) -> bool:
    """Whether a client that was moved, and was then found with something else, cannot be put once more: all is proven
    by then, so it is left to a person."""
    mark = run.mark(row)
    return "settle" in mark.drifts and mark.failures >= row.act.tries and plan.is_client(run.plan.rows, row)


def is_past_return(run: Run) -> bool:
    """Whether the old value has leaked, and what ran with it was told to take up the new one."""
    barrier = run.marks.get(run.plan.no_return)
    return run.goal is Value.NEW and bool(barrier and barrier.has_begun)


def begins_outage(run: Run, row: Row) -> bool:
    """Whether the gateway is away from this row's put until it is proven again."""
    return row.act is Act.RESTART or row.id in plan.restarts(run.plan.rows)


def takes_up(row: Row) -> bool:
    """Whether putting this row makes something read the rows above it, so that they are asked again first."""
    return row.act in (Act.RESTART, Act.COMMAND)


def to_settle(run: Run) -> Iterator[Row]:
    """The rows of the last look: all, but a door once, by its stricter row."""
    retired = {row.place for row in run.plan.rows if row.act is Act.RETIRE}
    return (row for row in run.plan.rows if not (row.act is Act.ADMIT and row.place in retired))


def is_stuck(run: Run) -> bool:
    """Neither all old nor all new, and nothing left to try without a person."""
    return run.is_owed and isinstance(next_move(run), Halt)
