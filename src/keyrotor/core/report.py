"""What is told of a run, to a person or a program: outcome, exit code, a line for each place. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from keyrotor.core import plan
from keyrotor.core.machine import (
    ASKED,
    Event,
    Failed,
    Moved,
    Moving,
    Opened,
    Passed,
    Resumed,
    Run,
    Step,
    TurnedBack,
)
from keyrotor.core.model import ALREADY, Act, Outcome, Purpose, Row, Task, Value
from keyrotor.core.ways import brings_back_leaked
from keyrotor.errors import Exit

EXITS: Mapping[Outcome, Exit] = {
    Outcome.ROTATED: Exit.DONE,
    Outcome.REPAIRED: Exit.DONE,
    Outcome.NOT_DUE: Exit.DONE,
    Outcome.NOTHING_CHANGED: Exit.FAILED,
    Outcome.REFUSED: Exit.REFUSED,
    Outcome.ROLLED_BACK: Exit.ROLLED_BACK,
    Outcome.STUCK: Exit.STUCK,
    Outcome.INTERRUPTED: Exit.INTERRUPTED,
    Outcome.OLD_ALIVE: Exit.OLD_ALIVE,
    Outcome.BUSY: Exit.BUSY,
    Outcome.ABANDONED: Exit.DONE,
}

Timed = tuple[datetime, Event]


@dataclass(frozen=True, slots=True)
class PlaceReport:
    id: str
    kind: str
    state: str  # pending, moving, moved, failed, passed, skipped
    seconds: float
    detail: str
    label: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """One command's answer."""

    outcome: Outcome
    exit: Exit
    playbook: str = ""
    run: str = ""
    reason: str = ""
    turned_back: str = ""  # why the run went back, where it did
    hint: str = ""
    seconds: float = 0.0
    outage: float | None = None  # seconds from the restart's beginning to the first proof; None without a restart
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    places: tuple[PlaceReport, ...] = ()
    tasks: Mapping[str, str] = field(default_factory=dict)
    todo: tuple[Task, ...] = ()  # those of them that are open
    public: str = ""
    goal: Value = Value.NEW
    purpose: Purpose = Purpose.ROTATE
    is_leaked: bool = False  # whether a way back would put a leaked value in force again
    notes: tuple[str, ...] = ()  # what a person should know or do besides


def of_run(run: Run, events: Iterable[Timed], outcome: Outcome, reason: str, notes: Iterable[str] = ()) -> Report:
    """The report of a run, from its record."""
    timed = list(events)
    spent = _spent(timed)
    return Report(
        outcome=outcome,
        exit=EXITS[outcome],
        playbook=run.plan.playbook,
        run=run.plan.run,
        reason=reason or run.reason,
        turned_back=run.reason if run.goal is Value.OLD else "",
        seconds=_between(_began(timed), timed[-1][0]) if timed else 0.0,
        outage=outage(run, timed),
        fingerprints={str(value): name for value, name in run.plan.fingerprints.items()},
        places=tuple(_place(run, row, spent.get(row.id, 0.0)) for row in run.plan.rows)
        + tuple(PlaceReport(place, "", "skipped", 0.0, why) for place, why in run.plan.skipped.items()),
        tasks=run.tasks,
        todo=run.open_tasks,
        public=run.plan.public,
        goal=run.goal,
        purpose=run.plan.purpose,
        is_leaked=brings_back_leaked(run),
        notes=tuple(notes),
    )


def _began(timed: list[Timed]) -> datetime:
    """When the command that is being reported took the run up."""
    starts = (Opened, Resumed)
    return [at for at, event in timed if isinstance(event, starts) or event == TurnedBack(ASKED)][-1]


def still_open(runs: Sequence[Run]) -> list[Task]:
    """What a person must still do, of these runs, oldest first; what a later run says of a row outdoes what an earlier
    one said of it."""
    found: list[Task] = []
    seen: set[tuple[str, str, str]] = set()
    for run in reversed(runs):
        source = run.plan.source
        fresh = [task for task in run.open_tasks if (source.file, source.key, task.row) not in seen]
        seen |= {(source.file, source.key, row) for row in run.tasks}
        found = fresh + found
    return found


def _place(run: Run, row: Row, spent: float) -> PlaceReport:
    mark = run.mark(row)
    detail = mark.reason if mark.step is Step.FAILED else mark.detail
    return PlaceReport(row.id, row.kind, mark.step, round(spent, 3), detail, row.label)


def _spent(timed: list[Timed]) -> dict[str, float]:
    """Seconds between each row's last intent and its result."""
    began: dict[str, datetime] = {}
    spent: dict[str, float] = {}
    for at, event in timed:
        if isinstance(event, Moving):
            began[event.row] = at
        elif isinstance(event, Moved | Failed | Passed) and event.row in began:
            spent[event.row] = _between(began.pop(event.row), at)
    return spent


def outage(run: Run, timed: Iterable[Timed]) -> float | None:
    """Seconds from a restart's intent to the next proof that the goal is accepted; the last such stretch."""
    restarts = plan.restarts(run.plan.rows)
    proofs = {row.id for row in run.plan.rows if row.act is Act.ADMIT}
    began: datetime | None = None
    away: float | None = None
    for at, event in timed:
        if isinstance(event, Moving) and event.row in restarts and began is None:
            began = at
        elif isinstance(event, Moved) and event.row in restarts and event.detail == ALREADY:
            began = None
        elif isinstance(event, Moved) and event.row in proofs and began:
            away, began = _between(began, at), None
    return away


def _between(one: datetime, other: datetime) -> float:
    return round(max(0.0, (other - one).total_seconds()), 3)  # a clock may be set back in mid-run
