"""The state machine of a run: what can happen, what follows, and what a record of it means.

Owns: the events, `TRANSITIONS`, `fold`. Rules:
1. `fold` is the only reader of events; a run is nothing but its events.
2. An event that is impossible in the present phase raises and changes nothing.
3. The diagram in docs/explanation/architecture.md is made from `TRANSITIONS`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from keyrotor.core.marks import Mark as Mark  # noqa: PLC0414  everybody knows the two by this module
from keyrotor.core.marks import Step as Step  # noqa: PLC0414  as above
from keyrotor.core.model import Act, Holds, Outcome, Plan, Purpose, Row, Task, Value
from keyrotor.errors import JournalError


class Phase(StrEnum):
    """Where a run is. `forward` and `back` are its two directions."""

    UNOPENED = "unopened"
    FORWARD = "forward"
    BACK = "back"
    SETTLED = "settled"
    CLOSED = "closed"
    FORGOTTEN = "forgotten"


@dataclass(frozen=True, slots=True)
class Opened:
    plan: Plan


@dataclass(frozen=True, slots=True)
class Moving:
    """The intent: durable before the effect begins."""

    row: str
    value: Value


@dataclass(frozen=True, slots=True)
class Moved:
    """The result: the place holds the value, durable and read again."""

    row: str
    value: Value
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    row: str
    value: Value
    reason: str
    unproven: bool = False  # the goal is accepted, the other value not proven dead


@dataclass(frozen=True, slots=True)
class Passed:
    """A place that needs no put and gets none: never ours to move, or a reference."""

    row: str
    value: Value
    holds: Holds


@dataclass(frozen=True, slots=True)
class Drifted:
    """A place that was moved, and then found holding something else; it is put once more per occasion."""

    row: str
    holds: Holds
    occasion: str  # "restart": seen before the unit took it up · "settle": seen in the last look


ASKED = "asked for"  # the reason of a rollback that a person typed
SIGNALLED = "interrupted by "  # how a reason begins where a signal has ended a go, or turned it back


@dataclass(frozen=True, slots=True)
class TurnedBack:
    reason: str


@dataclass(frozen=True, slots=True)
class Resumed:
    """Somebody asked to go on: failures are forgiven, the direction stays."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class Settled:
    """The last look is over. `tasks`: row id -> what a person must still do there."""

    tasks: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Closed:
    outcome: Outcome
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Forgotten:
    """The former value's ciphertext is gone; the run can never be rolled back again."""


@dataclass(frozen=True, slots=True)
class Done:
    """A person has done what was left to do at this row."""

    row: str


Event = Opened | Moving | Moved | Failed | Passed | Drifted | TurnedBack | Resumed | Settled | Closed | Forgotten | Done

EVENTS: Mapping[str, type[Event]] = {
    "opened": Opened,
    "moving": Moving,
    "moved": Moved,
    "failed": Failed,
    "passed": Passed,
    "drifted": Drifted,
    "turned-back": TurnedBack,
    "resumed": Resumed,
    "settled": Settled,
    "closed": Closed,
    "forgotten": Forgotten,
    "done": Done,
}

_STEPS = (Moving, Moved, Failed, Passed, Drifted, Resumed)

TRANSITIONS: Mapping[tuple[Phase, type[Event]], Phase] = {
    (Phase.UNOPENED, Opened): Phase.FORWARD,
    **{(Phase.FORWARD, step): Phase.FORWARD for step in _STEPS},
    (Phase.FORWARD, TurnedBack): Phase.BACK,
    (Phase.FORWARD, Settled): Phase.SETTLED,
    (Phase.FORWARD, Closed): Phase.CLOSED,  # abandoned by a person
    **{(Phase.BACK, step): Phase.BACK for step in _STEPS},
    (Phase.BACK, Settled): Phase.SETTLED,
    (Phase.BACK, Closed): Phase.CLOSED,  # abandoned by a person
    (Phase.SETTLED, Resumed): Phase.SETTLED,
    (Phase.SETTLED, TurnedBack): Phase.BACK,  # `rollback` of a run that was killed just before its close
    (Phase.SETTLED, Closed): Phase.CLOSED,
    (Phase.CLOSED, TurnedBack): Phase.BACK,  # `rollback` of a closed run, asked for by name
    (Phase.CLOSED, Forgotten): Phase.FORGOTTEN,
    (Phase.CLOSED, Done): Phase.CLOSED,
    (Phase.FORGOTTEN, Done): Phase.FORGOTTEN,
}


@dataclass(frozen=True, slots=True)
class Run:
    """A run, as its events tell it."""

    plan: Plan
    phase: Phase = Phase.FORWARD
    goal: Value = Value.NEW
    marks: Mapping[str, Mark] = field(default_factory=dict)
    reason: str = ""
    outcome: Outcome | None = None
    tasks: Mapping[str, str] = field(default_factory=dict)  # row id -> what was left to a person
    done: frozenset[str] = frozenset()  # the rows of those that were ticked off
    counted: int = 0  # tasks of an end that was undone: their numbers are not given again

    def mark(self, row: Row) -> Mark:
        return self.marks.get(row.id, Mark())

    @property
    def is_owed(self) -> bool:
        return self.phase in (Phase.FORWARD, Phase.BACK, Phase.SETTLED)

    @property
    def has_way_back(self) -> bool:
        """Whether there is one old value that every place held before. A repair has none."""
        return self.plan.purpose is Purpose.ROTATE

    @property
    def open_tasks(self) -> tuple[Task, ...]:
        """What a person must still do; nothing before the run is closed."""
        numbered = enumerate(self.tasks.items(), self.counted + 1)
        tasks = (Task(f"{self.plan.run}-{number}", row, text) for number, (row, text) in numbered)
        return () if self.is_owed else tuple(task for task in tasks if task.row not in self.done)

    @property
    def has_rotated(self) -> bool:
        """Whether the key's age is reckoned from this run."""
        return self.has_way_back and self.outcome in (Outcome.ROTATED, Outcome.OLD_ALIVE)


def fold(events: Iterable[Event]) -> Run:
    """The run that these events tell. Raises JournalError for a sequence that cannot have happened."""
    run: Run | None = None
    for event in events:
        run = follow(run, event)
    if run is None:
        raise JournalError("cannot read the run: it has no events")
    return run


def follow(run: Run | None, event: Event) -> Run:
    """The run after one more event."""
    phase = Phase.UNOPENED if run is None else run.phase
    after = TRANSITIONS.get((phase, type(event)))
    if after is None:
        raise JournalError(f"cannot follow the record: `{type(event).__name__}` in a run that is {phase}")
    if isinstance(event, Opened):
        return Run(event.plan, marks={row.id: Mark() for row in event.plan.rows})
    assert run is not None  # TRANSITIONS: only `opened` leaves UNOPENED
    return _effect(replace(run, phase=after), event)


def _effect(run: Run, event: Event) -> Run:
    match event:
        case Moving() | Moved() | Failed() | Passed() | Drifted():
            mark = run.marks.get(event.row)
            if mark is None:
                raise JournalError(f"cannot follow the record: the plan has no row `{event.row}`")
            return replace(run, marks={**run.marks, event.row: _marked(mark, event)})
        case TurnedBack(reason):
            begun = {row: Mark(has_begun=mark.has_begun) for row, mark in run.marks.items()}
            return Run(run.plan, run.phase, Value.OLD, begun, reason, counted=run.counted + len(run.tasks))
        case Resumed():
            lasting = {row.id for row in run.plan.rows if row.act in (Act.FILE, Act.COMMAND, Act.STORE)}
            return replace(run, marks={row: _forgiven(mark, row in lasting) for row, mark in run.marks.items()})
        case Settled() | Closed() | Done():
            return _ended(run, event)
        case _:
            return run


def _ended(run: Run, event: Settled | Closed | Done) -> Run:
    match event:
        case Settled(tasks):
            return replace(run, tasks=tasks)
        case Closed(outcome, reason):
            tasks = run.plan.todo if outcome is Outcome.ABANDONED else run.tasks  # the new value may be in force
            return replace(run, outcome=outcome, reason=reason or run.reason, tasks=tasks)
        case Done(row):
            if row not in run.tasks:
                raise JournalError(f"cannot follow the record: nothing is left to do at row `{row}`")
            return replace(run, done=run.done | {row})


def _marked(mark: Mark, event: Moving | Moved | Failed | Passed | Drifted) -> Mark:
    match event:
        case Moving():
            return replace(mark, step=Step.MOVING, has_begun=True, is_again=mark.has_begun)
        case Moved():
            return replace(mark, step=Step.MOVED, detail=event.detail, reason="", unproven=False)
        case Failed():
            return replace(
                mark,
                step=Step.FAILED,
                failures=mark.failures + 1,
                reason=event.reason,
                unproven=event.unproven,
            )
        case Passed():
            return replace(mark, step=Step.PASSED, detail=event.holds)
        case Drifted():
            return replace(mark, step=Step.PENDING, failures=0, drifts=mark.drifts | {event.occasion})


def _forgiven(mark: Mark, is_lasting: bool) -> Mark:
    """What a resume makes of a row. One that failed is in doubt, like one whose put was killed; one that was
    passed is looked at again; so is what does not outlast a reboot: a running unit, and what its door proved."""
    if mark.step is Step.MOVED and is_lasting:
        return mark
    return replace(mark, step=Step.MOVING if mark.has_begun else Step.PENDING, failures=0)
