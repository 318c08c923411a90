"""The state machine of an incident: what is done when a key has leaked, step by step, and what a record of it means.

Owns: the events, the steps and their order, `fold`, `next_step`. Rules:
1. An incident is nothing but its events; `fold` is their only reader.
2. A step's intent (`began`) is durable before its effect, its result after it; a step in doubt is simply done again.
3. A step that fails is told and left open, and the others are done all the same, but for those that depend on it.
Pure: no clock, no I/O, no secret.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from keyrotor.errors import JournalError

PREFIX = "inc-"  # of an incident's id; a run's has six hex digits alone


class Deed(StrEnum):
    """What a step does."""

    FREEZE = "freeze"  # keeps evidence as it is, before anything is changed
    CONTAIN = "contain"  # keeps strangers away from the gateway
    ROTATE = "rotate"  # a new value everywhere, with no grace
    PROVE = "prove"  # the old value is refused by every listener, also past every cache
    LIFT = "lift"  # ends the containment
    SWEEP = "sweep"  # looks for the old value wherever it may have leaked
    EXPOSURE = "exposure"  # what was made at the gateway while the key was exposed
    REACH = "reach"  # the upstream keys that could be used through the gateway

    @property
    def is_of_each(self) -> bool:
        """Whether it is done once for each playbook."""
        return self in (Deed.ROTATE, Deed.PROVE)


class State(StrEnum):
    """How a step stands."""

    OPEN = "open"
    BEGUN = "begun"  # its result is not known
    DONE = "done"
    FAILED = "failed"


# What must be done before: a key that is not rotated is not dead, and is kept away from strangers meanwhile.
_AFTER: Mapping[Deed, Deed] = {Deed.PROVE: Deed.ROTATE, Deed.LIFT: Deed.PROVE}


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to be done."""

    deed: Deed
    playbook: str = ""  # its name, where it is done once for each

    @property
    def id(self) -> str:
        return f"{self.deed}:{self.playbook}" if self.playbook else str(self.deed)


@dataclass(frozen=True, slots=True)
class Case:
    """What an incident was opened with."""

    id: str
    reason: str
    detected: str  # ISO 8601 in UTC: since when it is known
    exposed: str  # since when the key may have been used by others; "" where nobody knows
    contain: str  # stop, loopback or none
    playbooks: Mapping[str, str]  # name -> path, in the order in which they are rotated
    response: str = ""  # the incident playbook's path; "" where there was none
    proof: float = 75.0  # seconds for which the old value must stay refused; a key in LiteLLM's cache lives 60
    roots: tuple[str, ...] = ()  # where the old value is looked for, absolute
    elsewhere: bool = True  # and wherever things are left behind: temporary folders, histories, backups of editors
    logs: tuple[str, ...] = ()  # access logs besides the unit's own, absolute
    by: str = ""  # who opened it: user@host

    @property
    def steps(self) -> tuple[Step, ...]:
        """All steps, in the order in which they are done."""
        each = {deed: tuple(Step(deed, name) for name in self.playbooks) for deed in Deed if deed.is_of_each}
        return tuple(step for deed in Deed for step in each.get(deed, (Step(deed),)))


@dataclass(frozen=True, slots=True)
class IncidentOpened:
    case: Case


@dataclass(frozen=True, slots=True)
class Began:
    """The intent: durable before the effect begins."""

    step: str


@dataclass(frozen=True, slots=True)
class Did:
    """The result."""

    step: str
    said: str  # one line for a person
    facts: Mapping[str, Any] = field(default_factory=dict)  # the fields of the deed's own record in core/response.py
    tasks: tuple[str, ...] = ()  # what is left to a person


@dataclass(frozen=True, slots=True)
class Missed:
    """The step could not be done."""

    step: str
    reason: str
    hint: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)  # as of a step that was done: what was seen all the same


@dataclass(frozen=True, slots=True)
class Ticked:
    """A person has done what was left to do."""

    task: int


@dataclass(frozen=True, slots=True)
class IncidentClosed:
    cause: str
    forced: str = ""  # why it was closed though something was open


Event = IncidentOpened | Began | Did | Missed | Ticked | IncidentClosed

EVENTS: Mapping[str, type[Event]] = {
    "incident-opened": IncidentOpened,
    "step-began": Began,
    "step-done": Did,
    "step-failed": Missed,
    "task-done": Ticked,
    "incident-closed": IncidentClosed,
}


@dataclass(frozen=True, slots=True)
class Stand:
    """How one step stands."""

    state: State = State.OPEN
    said: str = ""
    hint: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    tasks: tuple[tuple[int, str], ...] = ()  # number -> what is left to a person


@dataclass(frozen=True, slots=True)
class Incident:
    """An incident, as its events tell it."""

    case: Case
    stands: Mapping[str, Stand] = field(default_factory=dict)  # step id -> how it stands
    ticked: frozenset[int] = frozenset()
    counted: int = 0  # tasks that were numbered
    cause: str = ""
    forced: str = ""
    is_closed: bool = False

    def stand(self, step: Step) -> Stand:
        return self.stands.get(step.id, Stand())

    @property
    def open_steps(self) -> tuple[Step, ...]:
        return tuple(step for step in self.case.steps if self.stand(step).state is not State.DONE)

    @property
    def open_tasks(self) -> tuple[tuple[str, str], ...]:
        """What a person must still do: what is typed to tick it off, and the text."""
        tasks = (task for step in self.case.steps for task in self.stand(step).tasks)
        return tuple((f"{self.case.id}-{number}", text) for number, text in tasks if number not in self.ticked)


def fold(events: Iterable[Event]) -> Incident:
    """The incident that these events tell. Raises JournalError for a sequence that cannot have happened."""
    incident: Incident | None = None
    for event in events:
        incident = follow(incident, event)
    if incident is None:
        raise JournalError("cannot read the incident: it has no events")
    return incident


def follow(incident: Incident | None, event: Event) -> Incident:
    """The incident after one more event."""
    if isinstance(event, IncidentOpened):
        if incident is not None:
            raise JournalError(f"cannot follow the record: incident {incident.case.id} is opened twice")
        return Incident(event.case)
    if incident is None or (incident.is_closed and not isinstance(event, Ticked)):
        how = "closed" if incident else "not opened"
        raise JournalError(f"cannot follow the record: `{type(event).__name__}` in an incident that is {how}")
    match event:
        case Began(step):
            return _stood(incident, step, State.BEGUN)
        case Did(step, said, facts, tasks):
            return _did(incident, step, Stand(State.DONE, said, facts=facts), tasks)
        case Missed(step, reason, hint, facts):
            failed = _stood(incident, step, State.FAILED, reason, hint)
            return replace(failed, stands={**failed.stands, step: replace(failed.stands[step], facts=facts)})
        case Ticked(task):
            return replace(incident, ticked=incident.ticked | {task})
        case IncidentClosed(cause, forced):
            return replace(incident, cause=cause, forced=forced, is_closed=True)


def next_step(incident: Incident, since: frozenset[str] = frozenset()) -> Step | None:
    """The one step to do now; None: nothing more can be done. `since` are those that failed since somebody asked to go
    on: they are not tried again."""
    if incident.is_closed:
        return None
    for step in incident.open_steps:
        before = [each for each in incident.case.steps if each.deed is _AFTER.get(step.deed)]
        mine = [each for each in before if each.playbook == step.playbook or not step.playbook]
        if step.id not in since and all(incident.stand(each).state is State.DONE for each in mine):
            return step
    return None


def _stood(incident: Incident, step: str, state: State, said: str = "", hint: str = "") -> Incident:
    if step not in {each.id for each in incident.case.steps}:
        raise JournalError(f"cannot follow the record: the incident has no step `{step}`")
    stand = replace(incident.stands.get(step, Stand()), state=state, said=said, hint=hint)
    return replace(incident, stands={**incident.stands, step: stand})


def _did(incident: Incident, step: str, stand: Stand, tasks: tuple[str, ...]) -> Incident:
    numbered = tuple(enumerate(tasks, incident.counted + 1))
    stood = _stood(incident, step, State.DONE)
    stands = {**stood.stands, step: replace(stand, tasks=numbered)}
    return replace(stood, stands=stands, counted=incident.counted + len(tasks))
