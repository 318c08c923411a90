"""A notice for any of the services that apprise knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from keyrotor.boundary import apprise
from keyrotor.boundary.process import Processes
from keyrotor.core.addressee import Occasion
from keyrotor.core.notice import Notice
from keyrotor.secret import Secret

_TYPES: Mapping[Occasion, str] = {
    Occasion.SUCCESS: "success",
    Occasion.TEST: "info",
    Occasion.TASKS: "warning",
    Occasion.OLD_ALIVE: "warning",
}


@dataclass(frozen=True, slots=True)
class Apprise:
    addresses: Sequence[Secret]
    within: float
    processes: Processes
    env: Mapping[str, str] = field(repr=False)

    def send(self, notice: Notice) -> None:
        """Send it. Raises PlaceError, which says why it has not arrived."""
        said = {"title": notice.title, "body": notice.body, "type": _TYPES.get(notice.event, "failure")}
        apprise.send(self.addresses, said, within=self.within, processes=self.processes, env=self.env)
