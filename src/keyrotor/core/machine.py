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

from keyrotor.core.model import Act, Holds, Outcome, Plan, Purpose, Row, Value
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


Event = Opened | Moving | Moved | Failed | Passed | Drifted | TurnedBack | Resumed | Settled | Closed | Forgotten

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
}


class Step(StrEnum):
    """The tense of a row tells its state."""

    PENDING = "pending"
    MOVING = "moving"
    MOVED = "moved"
    FAILED = "failed"
    PASSED = "passed"


@dataclass(frozen=True, slots=True)
class Mark:
    """What the record says of one row, in the run's present direction."""

    step: Step = Step.PENDING
    failures: int = 0
    reason: str = ""
    detail: str = ""
    unproven: bool = False
    drifts: frozenset[str] = frozenset()
    has_begun: bool = False  # some `moving`, in either direction, stands in the record

    @property
    def is_done(self) -> bool:
        return self.step in (Step.MOVED, Step.PASSED)


@dataclass(frozen=True, slots=True)
class Run:
    """A run, as its events tell it."""

    plan: Plan
    phase: Phase = Phase.FORWARD
    goal: Value = Value.NEW
    marks: Mapping[str, Mark] = field(default_factory=dict)
    reason: str = ""
    outcome: Outcome | None = None
    tasks: Mapping[str, str] = field(default_factory=dict)

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
        return Run(event.plan)
    assert run is not None  # TRANSITIONS: only `opened` leaves UNOPENED
    return _effect(replace(run, phase=after), event)


def _effect(run: Run, event: Event) -> Run:
    match event:
        case Moving() | Moved() | Failed() | Passed() | Drifted():
            if event.row not in {row.id for row in run.plan.rows}:
                raise JournalError(f"cannot follow the record: the plan has no row `{event.row}`")
            mark = run.marks.get(event.row, Mark())
            return replace(run, marks={**run.marks, event.row: _marked(mark, event)})
        case TurnedBack(reason):
            begun = {row: Mark(has_begun=mark.has_begun) for row, mark in run.marks.items()}
            return replace(run, goal=Value.OLD, marks=begun, reason=reason, outcome=None, tasks={})
        case Resumed():
            lasting = {row.id for row in run.plan.rows if row.act in (Act.FILE, Act.COMMAND)}
            return replace(run, marks={row: _forgiven(mark, row in lasting) for row, mark in run.marks.items()})
        case Settled(tasks):
            return replace(run, tasks=tasks)
        case Closed(outcome, reason):
            return replace(run, outcome=outcome, reason=reason or run.reason)
        case _:
            return run


def _marked(mark: Mark, event: Moving | Moved | Failed | Passed | Drifted) -> Mark:
    match event:
        case Moving():
            return replace(mark, step=Step.MOVING, has_begun=True)
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
