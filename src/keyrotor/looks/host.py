"""What keeps the services of a user alive, and wakes the rotation: linger and the timer.

The timer is `keyrotor-PLAYBOOK.timer` or `keyrotor.timer`; one that is started goes before one that is not.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from keyrotor.boundary import files
from keyrotor.boundary.reading import inode
from keyrotor.boundary.systemd import Systemd, timer_names
from keyrotor.boundary.unit_text import Timer
from keyrotor.core import due
from keyrotor.core.findings import Finding, found
from keyrotor.core.model import Playbook
from keyrotor.errors import PlaceError
from keyrotor.formats import timer_units
from keyrotor.ports import Seen

GRACE = timedelta(days=1)  # past its moment: a random delay, a machine that was asleep
SKIPPED = "exec-condition"  # the result of a service that found nothing due
PATIENCE = timedelta(days=2)  # of a key that is due: a timer wakes daily, with a day's grace


@dataclass(frozen=True, slots=True)
class Host:
    scope: str  # of the gateway's unit
    systemd: Systemd

    def findings(self, seen: Seen) -> Iterator[Finding]:
        if self.systemd.lingers() is False:
            user = _user()
            yield found("linger-off", user, user=user)
        names = timer_names(seen.book.name)
        book = f"{seen.book.name}{' --system' if self.scope == 'system' else ''}"
        asked = self.systemd.timers(names)
        known = [timer for timer in asked[:2] if timer.is_known]
        if not known:
            yield found("timer-absent", names[0], playbook=book)
            return
        timer = next((each for each in known if each.active == "active"), known[0])
        service = self._woken(timer, asked[2:])
        if other := _other(service, seen.book):
            yield _strayed(timer, other, book)
        else:
            yield from self._of(timer, service, seen, book)

    def _woken(self, timer: Timer, asked: list[Timer]) -> Timer:
        """The service that the timer wakes; it is asked for only where it has another name than the timer's."""
        return next((each for each in asked if each.name == timer.wakes), None) or self.systemd.timers([timer.wakes])[0]

    def _of(self, timer: Timer, service: Timer, seen: Seen, book: str) -> Iterator[Finding]:
        if timer.active != "active":
            yield found("timer-inactive", timer.name, scope=self.scope, playbook=book)
        elif why := _silence(timer, seen):
            words = {"scope": self.scope, "playbook": book, "since": f"{timer.since:%Y-%m-%d}", "how": why}
            yield found("timer-silent", timer.name, **words)
        if service.active == "failed" or service.result not in ("", "success", SKIPPED):
            words = {"service": service.name, "result": service.result, "scope": self.scope}
            yield found("timer-failed", timer.name, **words)


def _other(service: Timer, book: Playbook) -> str:
    """The playbook that a service of ours rotates by, where that is not this one; "" otherwise."""
    try:
        text = files.look(Path(service.fragment)).data if service.fragment else b""
    except PlaceError:
        return ""
    other = timer_units.playbook(text.decode("utf-8", "surrogateescape"))
    return "" if not other or inode(other) == inode(book.path) else other


def _strayed(timer: Timer, other: str, book: str) -> Finding:
    """The mend is an install, which takes the timer from a playbook that is gone, and from no other."""
    install = f"keyrotor timer install {book}"
    is_gone = inode(other) is None
    how = "which is gone" if is_gone else "which is another playbook"
    mend = install if is_gone else f"give one of the two playbooks another name, then: {install}"
    return found("timer-strayed", timer.name, path=other, how=how, mend=mend)


def _silence(timer: Timer, seen: Seen) -> str:
    """Why nothing is to be expected of a timer that is started; "" if something is.

    A persistent timer calls the stamp of its first start a firing from its second start on.
    """
    if timer.since is None:
        return ""
    if timer.sub == "elapsed":
        return "will not fire again"
    if timer.has_fired or timer.counts:
        return ""
    if timer.next is None:
        return "will never fire"
    is_late = seen.now - timer.next > GRACE or (seen.now - timer.since > PATIENCE and _is_owed(seen))
    return "has never fired" if is_late else ""


def _is_owed(seen: Seen) -> bool:
    """Whether the key should have been rotated days ago."""
    last = seen.recorded.last_rotation(seen.book.source)
    if last is None or last.closed is None:
        return False
    return due.is_due(seen.book.every, last.closed.astimezone(), (seen.now - PATIENCE).astimezone())


def _user() -> str:
    """The user whose manager this is, by name if there is one."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
