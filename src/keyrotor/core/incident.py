"""The state machine of an incident: what is done when a key has leaked, step by step, and what a record of it means.

Owns: `fold`, the one reader of the events of incident_events.py, and `next_step`. Rules:
1. An incident is nothing but its events; `fold` is their only reader.
2. A step's intent (`began`) is durable before its effect, its result after it; a step in doubt is simply done again.
3. A step that fails is told and left open, and the others are done all the same, but for those that depend on it.
Pure: no clock, no I/O, no secret.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from keyrotor.core.incident_events import (
    Began,
    Case,
    Chosen,
    Deed,
    Did,
    Event,
    IncidentClosed,
    IncidentOpened,
    Missed,
    Step,
    Ticked,
    Undone,
)
from keyrotor.errors import JournalError


class State(StrEnum):
    """How a step stands."""

    OPEN = "open"
    BEGUN = "begun"  # its result is not known
    DONE = "done"
    FAILED = "failed"


# What must be done before: a key that is not rotated is not dead, and is kept away from strangers meanwhile.
_AFTER: Mapping[Deed, Deed] = {Deed.PROVE: Deed.ROTATE, Deed.LIFT: Deed.PROVE}


# What is done again once a rotation was undone.
_AGAIN = (Deed.CONTAIN, Deed.PROVE, Deed.LIFT, Deed.EXPOSURE, Deed.SWEEP)


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
    is_shut: bool = False  # whether a gateway was contained, or that was cut off on its way, and nobody has lifted it

    def stand(self, step: Step) -> Stand:
        return self.stands.get(step.id, Stand())

    @property
    def open_steps(self) -> tuple[Step, ...]:
        return tuple(
            step for step in self.case.steps if self.stand(step).state is not State.DONE and not self.is_moot(step)
        )

    @property
    def is_contained(self) -> bool:
        """Whether strangers are kept away, as far as the record knows: also by a step that came half-way."""
        return self.is_shut or self._is_cut_off

    @property
    def is_surely_contained(self) -> bool:
        """Whether that is what the last containment has come to, and not the rest of one that was cut off."""
        last = self.stand(Step(Deed.CONTAIN))
        return self.is_shut and last.state in (State.DONE, State.FAILED) and _shuts(last.facts)

    @property
    def _is_cut_off(self) -> bool:
        """Whether a containment was begun, and what came of it is not known."""
        return self.stand(Step(Deed.CONTAIN)).state is State.BEGUN

    def is_moot(self, step: Step) -> bool:
        """Whether there is nothing to keep strangers from any more."""
        return step.deed is Deed.CONTAIN and self.stand(Step(Deed.LIFT)).state is State.DONE

    @property
    def open_tasks(self) -> tuple[tuple[str, str], ...]:
        """What a person must still do: what is typed to tick it off, and the text."""
        tasks = (task for step in self.case.steps for task in self.stand(step).tasks)
        return tuple((f"{self.case.id}-{number}", text) for number, text in tasks if number not in self.ticked)


def _shuts(facts: Mapping[str, Any]) -> bool:
    """Whether the containment has changed anything for a gateway: it may have listened on loopback only before. Of one
    that is down the drop-ins tell."""
    return any(
        each.get("how") == "stop" or each.get("restarts") or each.get("listened") != each.get("listens")
        for each in facts.get("gateways", ())
    )


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
            again = [deed for deed, said in ((Deed.CONTAIN, contain), (Deed.EXPOSURE, exposed)) if said]
            case = incident.case
            case = replace(case, contain=contain or case.contain, exposed=exposed or case.exposed)
            return replace(_opened(incident, again), case=case)
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
            begun = _stood(incident, step, replace(before, state=State.BEGUN, said="", hint=""))
            return replace(begun, is_shut=incident.is_contained)
        case Did(step, said, facts, tasks):
            numbered = tuple(enumerate(tasks, incident.counted + 1))
            stood = _stood(incident, step, Stand(State.DONE, said, facts=facts, tasks=numbered))
            late = (Deed.EXPOSURE,) if Step.of(step).deed is Deed.PROVE else ()  # until now something could be made
            shut = _shuts(facts) if step == Deed.CONTAIN else incident.is_shut and step != Deed.LIFT
            return replace(_opened(stood, late), counted=incident.counted + len(tasks), is_shut=shut)
        case Missed(step, reason, hint, facts):
            missed = _stood(incident, step, Stand(State.FAILED, reason, hint, facts))
            if step == Deed.LIFT and "proofs" in facts:  # strangers are let in, and an old key is not dead: shut again
                return replace(_opened(_revoked(missed, reason, facts), (Deed.CONTAIN,)), is_shut=False)
            return replace(missed, is_shut=incident.is_shut or (step == Deed.CONTAIN and _shuts(facts)))
        case Undone(step, reason):
            return _opened(_stood(incident, step, Stand(State.FAILED, reason)), _AGAIN)


def _opened(incident: Incident, deeds: Sequence[Deed]) -> Incident:
    """With the steps of these deeds to be done again."""
    stands = {name: at for name, at in incident.stands.items() if Step.of(name).deed not in deeds}
    return replace(incident, stands=stands, is_shut=incident.is_contained)


def _revoked(incident: Incident, reason: str, facts: Mapping[str, Any]) -> Incident:
    """Without the proof of each playbook whose old key was not dead once the containment had ended."""
    proofs = zip(incident.case.playbooks, facts["proofs"], strict=False)
    alive = [Step(Deed.PROVE, name) for name, proof in proofs if not (proof["is_dead"] or proof["is_moot"])]
    void = {step.id: replace(incident.stand(step), state=State.FAILED, said=reason) for step in alive}
    return replace(incident, stands={**incident.stands, **void})


def next_step(incident: Incident, since: frozenset[str] = frozenset()) -> Step | None:
    """The one step to do now; None: nothing more can be done. `since` are those that failed since somebody asked to go
    on: they are not tried again."""
    if incident.is_closed:
        return None
    for step in incident.open_steps:
        lift = Step(Deed.LIFT)
        if step.deed is Deed.CONTAIN and incident.stand(lift).state is not State.OPEN and _is_ready(incident, lift):
            continue  # it is being lifted
        if step.id not in since and _is_ready(incident, step):
            return step
    return None


def _is_ready(incident: Incident, step: Step) -> bool:
    """Whether all is done that must be done before it."""
    before = [each for each in incident.case.steps if each.deed is _AFTER.get(step.deed)]
    mine = [each for each in before if each.playbook == step.playbook or not step.playbook]
    return all(incident.stand(each).state is State.DONE for each in mine)


def _stood(incident: Incident, step: str, stand: Stand) -> Incident:
    if step not in {each.id for each in incident.case.steps}:
        raise JournalError(f"cannot follow the record: the incident has no step `{step}`")
    return replace(incident, stands={**incident.stands, step: stand})
