"""What is recorded of an incident: its case, its steps, and the events that tell how they went. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from keyrotor.core import marks

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


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to be done."""

    deed: Deed
    playbook: str = ""  # its name, where it is done once for each

    @property
    def id(self) -> str:
        return f"{self.deed}:{self.playbook}" if self.playbook else str(self.deed)

    @classmethod
    def of(cls, id: str) -> Step:
        """The step of that id. Raises ValueError."""
        deed, _, playbook = id.partition(":")
        return cls(Deed(deed), playbook)


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
