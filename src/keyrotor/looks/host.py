"""What keeps the services of a user alive, and wakes the rotation: linger and the timer.

The timer is `keyrotor-PLAYBOOK.timer` or `keyrotor.timer`; one that is started goes before one that is not.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from keyrotor.boundary.systemd import Systemd, timer_names
from keyrotor.boundary.unit_text import Timer
from keyrotor.core.findings import Finding, found
from keyrotor.ports import Seen

PATIENCE = timedelta(days=2)  # it wakes daily: a day, a random delay, and a day's grace


@dataclass(frozen=True, slots=True)
class Host:
    scope: str  # of the gateway's unit
    systemd: Systemd

    def findings(self, seen: Seen) -> Iterator[Finding]:
        if self.systemd.lingers() is False:
            user = _user()
            yield found("linger-off", user, user=user)
        names = timer_names(seen.book.name)
        asked = self.systemd.timers(names)
        known = [timer for timer in asked[:2] if timer.is_known]
        if not known:
            yield found("timer-absent", names[0], playbook=seen.book.name)
            return
        timer = next((each for each in known if each.active == "active"), known[0])
        yield from self._of(timer, self._woken(timer, asked[2:]), seen.now)

    def _woken(self, timer: Timer, asked: list[Timer]) -> Timer:
        """The service that the timer wakes; it is asked for only where it has another name than the timer's."""
        return next((each for each in asked if each.name == timer.wakes), None) or self.systemd.timers([timer.wakes])[0]

    def _of(self, timer: Timer, service: Timer, now: datetime) -> Iterator[Finding]:
        if timer.active != "active":
            yield found("timer-inactive", timer.name, scope=self.scope)
        elif why := _silence(timer, now):
            yield found("timer-silent", timer.name, scope=self.scope, since=f"{timer.since:%Y-%m-%d}", how=why)
        if service.active == "failed" or service.result not in ("", "success"):
            words = {"service": service.name, "result": service.result, "scope": self.scope}
            yield found("timer-failed", timer.name, **words)


def _silence(timer: Timer, now: datetime) -> str:
    """Why nothing is to be expected of a timer that is started; "" if something is.

    A persistent timer calls the stamp of its first start a firing from its second start on.
    """
    if timer.since is None:
        return ""
    if timer.sub == "elapsed":
        return "will not fire again"
    return "has never fired" if not timer.has_fired and now - timer.since > PATIENCE else ""


def _user() -> str:
    """The user whose manager this is, by name if there is one."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
