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

from keyrotor.core import marks
from keyrotor.errors import JournalError

PREFIX = marks.INCIDENT  # of an incident's id


class Deed(StrEnum):
    """What a step does."""

    FREEZE = "freeze"  # keeps evidence as it is, before anything is changed
    CONTAIN = "contain"  # keeps strangers away from the gateway
    ROTATE = "rotate"  # a new value everywhere, with no grace
    PROVE = "prove"  # the old value is refused by every listener, also past every cache
    LIFT = "lift"  # ends the containment
    EXPOSURE = "exposure"  # what was made at the gateway while the key was exposed
    REACH = "reach"  # the upstream keys that could be used through the gateway
    SWEEP = "sweep"  # looks for the old value wherever it may have leaked; last, for it may take long

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


# What is done again once a rotation was undone.
_AGAIN = (Deed.CONTAIN, Deed.PROVE, Deed.LIFT, Deed.SWEEP)


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
class Undone:
    """A rotation that was done is not any more: a person has brought the leaked value back."""

    step: str
    reason: str


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a person says anew: how it is contained from now on, or since when the key is exposed; "" for no word."""

    contain: str = ""
    exposed: str = ""


@dataclass(frozen=True, slots=True)
class Ticked:
    """A person has done what was left to do."""

    task: int


@dataclass(frozen=True, slots=True)
class IncidentClosed:
    cause: str
    forced: str = ""  # why it was closed though something was open


Event = IncidentOpened | Began | Did | Missed | Undone | Chosen | Ticked | IncidentClosed

EVENTS: Mapping[str, type[Event]] = {
    "incident-opened": IncidentOpened,
    "step-began": Began,
    "step-done": Did,
    "step-failed": Missed,
    "step-undone": Undone,
    "told-anew": Chosen,
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
        return tuple(
            step for step in self.case.steps if self.stand(step).state is not State.DONE and not self._is_moot(step)
        )

    @property
    def is_contained(self) -> bool:
        """Whether strangers are kept away, as far as the record knows: also by a step that came half-way."""
        contained, lifted = (self.stand(Step(deed)) for deed in (Deed.CONTAIN, Deed.LIFT))
        is_shut = contained.state is State.BEGUN or any(map(_shuts, contained.facts.get("gateways", ())))
        return self.case.contain != "none" and is_shut and lifted.state is not State.DONE

    def _is_moot(self, step: Step) -> bool:
        """Whether there is nothing to keep strangers from any more."""
        return step.deed is Deed.CONTAIN and self.stand(Step(Deed.LIFT)).state is State.DONE

    @property
    def open_tasks(self) -> tuple[tuple[str, str], ...]:
        """What a person must still do: what is typed to tick it off, and the text."""
        tasks = (task for step in self.case.steps for task in self.stand(step).tasks)
        return tuple((f"{self.case.id}-{number}", text) for number, text in tasks if number not in self.ticked)


def _shuts(gateway: Mapping[str, Any]) -> bool:
    """Whether the containment has changed anything for this one: it may have listened on loopback only before."""
    return gateway.get("how") == "stop" or gateway.get("listened") != gateway.get("listens")


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
        case Chosen(contain, exposed):
            again = {Deed.CONTAIN: contain, Deed.EXPOSURE: exposed}
            stands = {name: at for name, at in incident.stands.items() if not again.get(Deed(name.split(":")[0]))}
            case = incident.case
            case = replace(case, contain=contain or case.contain, exposed=exposed or case.exposed)
            return replace(incident, case=case, stands=stands)
        case Ticked(task):
            return replace(incident, ticked=incident.ticked | {task})
        case IncidentClosed(cause, forced):
            return replace(incident, cause=cause, forced=forced, is_closed=True)
        case _:
            return _stepped(incident, event)


def _stepped(incident: Incident, event: Began | Did | Missed | Undone) -> Incident:
    match event:
        case Began(step):
            before = incident.stands.get(step, Stand())
            return _stood(incident, step, replace(before, state=State.BEGUN, said="", hint=""))
        case Did(step, said, facts, tasks):
            numbered = tuple(enumerate(tasks, incident.counted + 1))
            stood = _stood(incident, step, Stand(State.DONE, said, facts=facts, tasks=numbered))
            return replace(stood, counted=incident.counted + len(tasks))
        case Missed(step, reason, hint, facts):
            return _stood(incident, step, Stand(State.FAILED, reason, hint, facts))
        case Undone(step, reason):
            failed = _stood(incident, step, Stand(State.FAILED, reason))
            again = {each.id for each in incident.case.steps if each.deed in _AGAIN}
            return replace(failed, stands={name: at for name, at in failed.stands.items() if name not in again})


def next_step(incident: Incident, since: frozenset[str] = frozenset()) -> Step | None:
    """The one step to do now; None: nothing more can be done. `since` are those that failed since somebody asked to go
    on: they are not tried again."""
    if incident.is_closed:
        return None
    for step in incident.open_steps:
        if step.deed is Deed.CONTAIN and incident.stand(Step(Deed.LIFT)).state is not State.OPEN:
            continue  # nobody would lift it again
        before = [each for each in incident.case.steps if each.deed is _AFTER.get(step.deed)]
        mine = [each for each in before if each.playbook == step.playbook or not step.playbook]
        if step.id not in since and all(incident.stand(each).state is State.DONE for each in mine):
            return step
    return None


def _stood(incident: Incident, step: str, stand: Stand) -> Incident:
    if step not in {each.id for each in incident.case.steps}:
        raise JournalError(f"cannot follow the record: the incident has no step `{step}`")
    return replace(incident, stands={**incident.stands, step: stand})
