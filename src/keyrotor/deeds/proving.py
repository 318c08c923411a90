"""The old key is dead at every listener of the gateway, to the end: asked again and again, past every cache.

Rules:
1. A refusal is a clear no (litellm_api.py); an answer that is none proves nothing and is waited out, within a bound.
2. Who accepts a key that nobody has accepts the old one, too. Who answers to none, or to each, in another language than
   the API's (a port of metrics) is told, and is neither dead nor alive.
3. A clock may be set between the restart and the proof. How long ago that was is believed as far as the unit's process
   has run, and nothing else: the rest of the time is waited.
4. A key is shown to the unit's own sockets only, and at the playbook's own address unless somebody else of this machine
   has its port, as may be while the unit is down: who has it is looked at in each round, before a key is shown.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import count
from urllib.parse import urlsplit

from keyrotor.boundary import listeners, proc
from keyrotor.boundary.generate import bogus_key
from keyrotor.boundary.http import Answer, Http
from keyrotor.boundary.listeners import At
from keyrotor.boundary.litellm_api import Verdict, models, port, verdict
from keyrotor.boundary.plaintext import unseal
from keyrotor.boundary.systemd import Systemd
from keyrotor.core.response import Listener, Proof
from keyrotor.errors import PlaceError
from keyrotor.formats import model_list
from keyrotor.secret import Secret

EVERY = 3.0  # seconds between two rounds; a key in LiteLLM's cache lives 60
BRIEF = 0.2  # seconds, likewise, of a proof that is asked for no time
QUIET = 3  # rounds in a row in which the old key must be refused at the end
TIMES = 3  # times that it is shown in each round: one of several workers may be of before
GRACE = 60.0  # seconds beyond the time asked for in which an unclear or a late answer may become a clear one
MOST = 16  # addresses
HEADER = "x-litellm-api-key"  # goes before Authorization (litellm.md 3)


@dataclass(slots=True)
class _Door:
    """One address, and what it has said so far."""

    at: str  # for people
    url: str
    socket: str = ""
    is_own: bool = True
    is_needed: bool = True  # whether it must answer: not an address that a wildcard may stand for
    is_api: bool = False
    asked: int = 0
    refused: int = 0
    quiet: int = 0  # rounds in a row in which the old key was refused
    is_open: bool = False
    takes_new: bool = False
    alive_until: float = 0.0  # seconds after the beginning; 0: it never accepted the old key
    said: str = "not asked"
    is_silent: bool = True  # it has never answered
    stranger: str = ""  # who answers instead of the unit


@dataclass(frozen=True, slots=True)
class Proving:
    """One gateway: a unit, if it has one, and the address of its door."""

    unit: str
    url: str
    systemd: Systemd | None
    http: Http
    rest: Callable[[float], None]
    now: Callable[[], datetime]
    every: float = EVERY
    grace: float = GRACE
    _doors: dict[str, _Door] = field(default_factory=dict)
    _until: dict[datetime, float] = field(default_factory=dict)  # a second old key waits no second time

    def prove(
        self, old: Secret, new: Callable[[], Secret], since: datetime, within: float, told: Callable[[int, int], None]
    ) -> Proof:
        """Ask every listener until `within` seconds after `since`. Raises PlaceError where nobody can be asked."""
        self._doors.clear()
        began, start = self.now(), time.monotonic()
        until = self._until.setdefault(since, start - self._age(since) + within)
        latest, present = max(until, start) + self.grace, new()
        for rounds in count(1):
            self._find()
            for door in self._doors.values():
                self._ask(door, old, present, time.monotonic() - start)
            if any(door.asked and not door.takes_new for door in self._doors.values()):
                present = new()  # somebody may have rotated it meanwhile
            left = max(0.0, until - time.monotonic())
            told(math.floor(within - min(left, within)), math.ceil(within))
            if left <= 0 and (self._is_settled() or (time.monotonic() > latest and rounds > QUIET)):
                break
            every = min(self.every, max(BRIEF, within / QUIET))
            self.rest(min(every, left) if left > 0 and self._is_settled() else every)
        return self._proof(began)

    def _age(self, since: datetime) -> float:
        """How many seconds ago that was, at least."""
        pid = self.systemd.show(self.unit).pid if self.systemd else 0
        runs = proc.age(pid) if pid else None
        return max(0.0, min((self.now() - since).total_seconds(), runs or 0.0))

    def _is_settled(self) -> bool:
        """Whether more questions would change nothing."""
        return bool(self._doors) and all(
            door.quiet >= QUIET or door.is_open or self._is_beside(door) for door in self._doors.values()
        )

    # -- whom to ask

    def _find(self) -> None:
        """Every address at which the gateway listens now; who listens no more needs no proof."""
        found = list(self._listeners())
        ports = {at.port for at in found}
        known = dict(self._doors)
        self._doors.clear()
        for at in found[:MOST]:
            self._add(at, str(at), is_needed=True)
        for at in found:
            for other in _reachable(at):
                if len(self._doors) < MOST:
                    self._add(other, f"{other} (by {at})", is_needed=False)
        if self.url and port(self.url) not in ports:
            self._doors.setdefault(self.url, _Door(self.url, models(self.url), is_own=False, is_needed=not found))
        self._doors.update({at: known[at] for at in self._doors if at in known})

    def _listeners(self) -> Iterator[At]:
        """Those of the unit; without one, of whoever has the door's port on this machine."""
        if self.systemd is None:
            host = urlsplit(self.url).hostname or ""
            yield from listeners.of_port(port(self.url)) if proc.is_own(host) else ()
            return
        unit = self.systemd.show(self.unit)
        if not (unit.pid and listeners.is_apart(unit.pid)):
            yield from listeners.of_unit(self.systemd, unit)

    def _add(self, at: At, told: str, *, is_needed: bool) -> None:
        address = urlsplit(self.url)
        scheme = address.scheme if self.url and port(self.url) == at.port else "http"
        host = At({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(at.host, at.host), at.port)  # noqa: S104  asked, not bound
        place = "localhost" if at.path else str(host)
        url = models(f"{scheme}://{place}{address.path if address.path != '/' else ''}")
        if not any(each.url == url and each.socket == at.path for each in self._doors.values()):
            self._doors[told] = _Door(told, url, at.path, is_needed=is_needed)

    # -- asking

    def _ask(self, door: _Door, old: Secret, new: Secret, after: float) -> None:
        """One round at one address."""
        bogus = self._get(door, bogus_key())
        if bogus.status is None and door.url.startswith("http:") and door.is_own and door.is_silent:
            secure = replace(door, url=door.url.replace("http:", "https:", 1))
            if (other := self._get(secure, bogus_key())).status is not None:
                door.url, bogus = secure.url, other
        door.is_silent = door.is_silent and bogus.status is None
        is_api = _speaks(bogus)
        if door_of_another := self._stranger(door) if is_api else "":
            door.stranger, door.quiet, door.is_open = door_of_another, 0, False
            return
        door.stranger = ""
        door.is_api = door.is_api or is_api
        door.is_open = verdict(bogus) is Verdict.ACCEPTED and is_api
        door.said = _told(bogus)
        if not is_api or door.is_open:
            door.quiet = 0
            return
        none = self._get(door, None)
        door.is_open = verdict(none) is Verdict.ACCEPTED and _speaks(none)
        answers = [self._get(door, unseal(old)) for _ in range(TIMES)]
        answers.append(self._get(door, unseal(old), HEADER))
        verdicts = [verdict(each) for each in answers]
        door.asked += len(answers)
        door.refused += verdicts.count(Verdict.REFUSED)
        at = next((at for at, each in enumerate(verdicts) if each is not Verdict.REFUSED), 0)
        door.said = _told(answers[at])
        if Verdict.ACCEPTED in verdicts:
            door.alive_until = max(after, 0.001)
        door.takes_new = verdict(self._get(door, unseal(new))) is Verdict.ACCEPTED
        is_quiet = set(verdicts) == {Verdict.REFUSED} and door.takes_new and not door.is_open
        door.quiet = door.quiet + 1 if is_quiet else 0

    def _stranger(self, door: _Door) -> str:
        """Who answers there, if it is known not to be the gateway. A path is the unit's own, by the kernel's table."""
        if self.systemd is None or door.socket:
            return ""
        return listeners.stranger(self.systemd, self.systemd.show(self.unit), door.url)

    def _get(self, door: _Door, key: bytes | None, header: str = "") -> Answer:
        self.rest(0.0)  # a signal is heeded between two questions
        return self.http.get(door.url, key, header=header, socket=door.socket, is_own=door.is_own)

    # -- what it comes to

    def _is_beside(self, door: _Door) -> bool:
        """Whether it says nothing of the key: it is another's, it speaks another language, or nobody is there and need
        not be."""
        if door.stranger:
            return True
        if door.is_silent:
            return not door.is_api and (not door.is_needed or _FOREIGN in door.said)
        return not door.is_api and door.said not in _UNCLEAR

    def _proof(self, began: datetime) -> Proof:
        if not self._doors:
            what = self.unit or "the gateway"
            raise PlaceError(f"cannot ask {what}: it listens nowhere, and its playbook names no address of a door")
        seen = [door for door in self._doors.values() if not (door.is_silent and not door.is_needed)]
        rows = tuple(self._row(door) for door in seen)
        speaking = [row for row in rows if row.is_api]
        is_dead = bool(speaking) and all(row.is_dead for row in speaking)
        stranger = next((f"not asked: {door.stranger}" for door in seen if door.stranger), "")
        said = "" if speaking else stranger or "nobody who was asked speaks the gateway's API"
        return Proof(rows, began.isoformat(), self.now().isoformat(), is_dead, said)

    def _row(self, door: _Door) -> Listener:
        is_dead = door.quiet >= QUIET
        said = door.said
        if door.stranger:
            said = f"not asked: {door.stranger}"
        elif door.is_open:
            said = f"{said}: it lets in whoever comes, with any key"
        elif self._is_beside(door):
            said = f"{said}: does not speak the gateway's API"
        elif is_dead and door.alive_until:
            said += f"; still accepted {door.alive_until:.0f} s after the first question"
        elif door.alive_until and not is_dead and door.refused < door.asked and "200" in door.said:
            said += ": accepts the old key"
        elif not is_dead and door.asked and not door.takes_new:
            said += "; the new key is not accepted"
        elif not is_dead:
            said += ": no clear answer"
        return Listener(door.at, door.asked, door.refused, said, is_dead, is_api=not self._is_beside(door))


_FOREIGN = "RemoteProtocolError"  # what answers is no HTTP
_UNCLEAR = frozenset(str(status) for status in (408, 425, 429, *range(500, 600)))


def _speaks(answer: Answer) -> bool:
    """Whether this is how the API answers: a refusal, or a list of models."""
    if verdict(answer) is Verdict.ACCEPTED:
        return model_list.read(answer.body) is not None
    return verdict(answer) is Verdict.REFUSED


def _told(answer: Answer) -> str:
    if answer.status is None:
        return f"no answer ({answer.fault})"
    return "400 no_db_connection" if answer.status == 400 and verdict(answer) is Verdict.REFUSED else str(answer.status)


def _reachable(at: At) -> Sequence[At]:
    """The addresses of this machine that a wildcard stands for besides loopback's; an IPv6 one may have IPv4's, too."""
    if at.host not in ("0.0.0.0", "::"):  # noqa: S104  compared, not bound
        return ()
    found = [At("127.0.0.1", at.port)] if at.host == "::" else []
    for host in proc.own_addresses():
        with suppress(ValueError):
            is_other = proc.is_loopback(host) or host.startswith("fe80:") or (":" in host and at.host != "::")
            found += [] if is_other else [At(host, at.port)]
    return list(dict.fromkeys(found))
