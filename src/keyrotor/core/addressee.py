"""Who is told how a command ended, and of what. Pure data; an address may be a secret, and no `repr` shows it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Occasion(StrEnum):
    """What people are told of."""

    SUCCESS = "success"  # it ended as it was meant to
    FAILURE = "failure"  # it did not, whatever the reason: the next two are of these
    STUCK = "stuck"  # neither all old nor all new; a person is needed
    OLD_ALIVE = "old-alive"  # the old key is not proven dead
    TASKS = "tasks"  # something is left to a person
    INCIDENT = "incident"  # a key has leaked, and how that is going
    TEST = "test"  # whether a notice arrives; everybody gets it


CHOICES = tuple(each for each in Occasion if each is not Occasion.TEST)
USUAL = tuple(each for each in CHOICES if each is not Occasion.SUCCESS)  # no news is good news


@dataclass(frozen=True, slots=True)
class Addressee:
    """One [[notify]] of a playbook, checked."""

    kind: str  # desktop, webhook, command or apprise
    label: str  # what a person reads: never more of an address than its host
    on: tuple[Occasion, ...]
    within: float  # seconds that telling may take
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)  # the kind's own settings

    def wants(self, occasions: Iterable[Occasion]) -> bool:
        """Whether one of these is what it is told of."""
        return any(each is Occasion.TEST or each in self.on for each in occasions)
