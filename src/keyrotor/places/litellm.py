"""The gateway's door: which keys it accepts now, asked of LiteLLM itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from keyrotor.boundary import files, proc
from keyrotor.boundary.generate import bogus_key
from keyrotor.boundary.http import Answer, Http, poll
from keyrotor.boundary.litellm_api import Verdict, has_salt, models, runs_with, stranger, verdict
from keyrotor.boundary.litellm_process import included
from keyrotor.boundary.plaintext import unseal
from keyrotor.boundary.systemd import Systemd
from keyrotor.boundary.unit_text import Unit
from keyrotor.core.model import Act, Holds, Value
from keyrotor.core.preview import Change
from keyrotor.errors import PlaceError, UnprovenError
from keyrotor.formats import gateway_config
from keyrotor.secret import Pair, Secret

EVERY = 0.05  # seconds between questions
TIMES = 3  # refusals in a row before the other key counts as dead
START = 12.0  # seconds: the slowest quiet start of LiteLLM measured was 11.6
PRISMA = " (and answers 500 without a key: its `prisma` package is missing)"
CACHED = 75.0  # seconds: a key in LiteLLM's auth cache lives 60 after the restart (litellm.md 1)


@dataclass(frozen=True, slots=True)
class Behind:
    """The unit whose process answers at the door."""

    name: str
    systemd: Systemd


@dataclass(frozen=True, slots=True)
class Litellm:
    """One of the door's two rows: `admit` proves that the goal is accepted, `retire` that the other is refused."""

    url: str
    act: Act
    variable: str
    config: Path | None
    within: float
    behind: Behind | None
    http: Http
    rest: Callable[[float], None]
    may_be_open: bool = False  # before a repair restarts what answers here; its last row proves it shut

    def check(self, pair: Pair) -> list[str]:
        if self.act is Act.RETIRE:
            return []  # the door is one place: its other row has told
        unit = self.unit()
        reasons = self._config_refusals(pair, unit) + self._unit_refusals(unit)
        if reasons or self.may_be_open:
            return reasons
        if unit and _would_start(unit):
            return [f"cannot ask {self.url}: {unit.name} is {unit.active or 'down'}, and a question would start it"]
        return self._open(self.ask(bogus_key()), self.ask(None))

    def holds(self, pair: Pair) -> Holds:
        """Which of the two it accepts. A unit that is down is not asked, for who only looks must not start it, and a
        stranger at its port is shown neither."""
        if ((unit := self.unit()) and _would_start(unit)) or self.stranger():
            return Holds.UNKNOWN
        old, new = (self.ask(unseal(secret)) for secret in (pair.old, pair.new))
        if Verdict.UNKNOWN in (old, new):
            return Holds.UNKNOWN
        return Holds.seen(old=old is Verdict.ACCEPTED, new=new is Verdict.ACCEPTED)

    def put(self, goal: Value, pair: Pair) -> str:
        return self._retire(goal, pair) if self.act is Act.RETIRE else self._admit(goal, pair)

    def prepare(self, goal: Value, pair: Pair) -> None:
        """Nothing: a put is quick."""

    def after(self, goal: Value, pair: Pair) -> str:
        return ""

    def shows(self) -> list[Secret]:
        return []

    def changes(self, pair: Pair) -> list[Change]:
        said = f"GET {self.asked} with the new key: 200 proves that it is accepted; asked for {self.within:g} s at most"
        if self.act is Act.RETIRE:
            within = min(self.within, CACHED)
            said = (
                f"GET {self.asked} with the old key, a bogus one and none: 400, 401 or 403, {TIMES} times in a row for "
                f"the old one, proves that it is dead; asked for {within:g} s at most"
            )
        return [Change(text=said)]

    def inputs(self) -> list[Path]:
        return [self.config] if self.config else []

    def _admit(self, goal: Value, pair: Pair) -> str:
        """Wait until the goal is accepted; end at once when that cannot come."""
        wait = _Wait(self, goal, pair)
        found = poll(wait.look, is_done=Verdict.ACCEPTED.__eq__, within=self.within, every=EVERY, rest=self.rest)
        if found is not Verdict.ACCEPTED:
            why = f"{self._told(wait.last)} for {self.within:g} s{self.last_words(wait.unit, pair)}"
            raise PlaceError(f"cannot prove the {goal} key: {why}")
        return "proven"

    def _retire(self, goal: Value, pair: Pair) -> str:
        """Prove the goal accepted and the other key refused, three times, with no key and a bogus one refused too."""
        self._admit(goal, pair)
        note = ""

        def look() -> Verdict:
            nonlocal note
            bogus, no_key = self.ask(bogus_key()), self.get(None)
            if reasons := self._open(bogus, verdict(no_key)):
                raise PlaceError(reasons[0])
            note = PRISMA if no_key.status == 500 else ""
            if bogus is Verdict.UNKNOWN or (verdict(no_key) is Verdict.UNKNOWN and not note):
                return Verdict.UNKNOWN
            for at in range(TIMES):
                if at:
                    self.rest(EVERY)
                if (found := self.ask(unseal(pair[goal.other]))) is not Verdict.REFUSED:
                    return found
            return Verdict.REFUSED

        within = min(self.within, CACHED)
        found = poll(look, is_done=Verdict.REFUSED.__eq__, within=within, every=EVERY, rest=self.rest)
        if found is Verdict.REFUSED:
            return f"proven{note}"
        how = "still accepts it" if found is Verdict.ACCEPTED else "does not answer clearly"
        raise UnprovenError(f"cannot prove the {goal.other} key dead: {self.url} {how} after {within:g} s")

    def _open(self, bogus: Verdict, no_key: Verdict) -> list[str]:
        """A reason if the door lets in whoever comes."""
        if bogus is Verdict.ACCEPTED:
            return [f"cannot trust {self.url}: it accepts a key that nobody has; the gateway is open"]
        if no_key is Verdict.ACCEPTED:
            return [f"cannot trust {self.url}: it answers 200 without a key; the gateway is open"]
        return []

    def _config_refusals(self, pair: Pair, unit: Unit | None) -> list[str]:
        """What the config file and the running gateway's environment say against a new value."""
        config = gateway_config.UNKNOWN
        if self.config is not None:
            try:
                config = gateway_config.read(files.look(self.config).data, str(self.config), included)
            except PlaceError as error:
                why = str(error)
                return [why if str(self.config) in why else f"cannot read {self.config}: {why}"]
        has_database = any(runs_with(unit, name) for name in gateway_config.DATABASE_VARIABLES)
        found = config.refusals(self.variable, has_database=has_database, has_salt=bool(has_salt(pair, unit)))
        return [f"cannot rotate with {self.config or self.url}: {why}" for why in found]

    def _unit_refusals(self, unit: Unit | None) -> list[str]:
        if unit is None:
            return []
        reasons = []
        if unit.load == "loaded" and self.within < unit.stop_timeout + START:
            reasons.append(
                f"cannot wait long enough for {self.url}: within is {self.within:g} s, but {unit.name} may take "
                f"{unit.stop_timeout:g} s to stop and {START:g} s to start (set TimeoutStopSec, or a longer within)"
            )
        if who := stranger(self.url, unit):
            reasons.append(f"cannot use {self.url}: {who}")
        return reasons

    def unit(self) -> Unit | None:
        if self.behind is None:
            return None
        try:
            return self.behind.systemd.seen(self.behind.name)
        except PlaceError:
            return None

    def stranger(self) -> str:
        """Who has the unit's port in its stead; "" for nobody. An older look at the unit accuses nobody."""
        if self.behind is None or (seen := self.unit()) is None or not stranger(self.url, seen):
            return ""
        try:
            return stranger(self.url, self.behind.systemd.show(self.behind.name))
        except PlaceError:
            return ""

    def last_words(self, unit: Unit | None, pair: Pair) -> str:
        return self.behind.systemd.last_words(unit, pair) if self.behind and unit else ""

    def _told(self, answer: Answer | None) -> str:
        if answer is None or answer.status is None:
            return f"no answer from {self.url} ({answer.fault if answer else 'not asked'})"
        return f"{self.url} answered {answer.status}"

    def ask(self, key: bytes | None) -> Verdict:
        return verdict(self.get(key))

    def get(self, key: bytes | None) -> Answer:
        self.rest(0.0)  # a signal is heeded between two questions
        return self.http.get(self.asked, key)

    @property
    def asked(self) -> str:
        return models(self.url)


def _would_start(unit: Unit) -> bool:
    """Whether a connection would: a socket has the port while the unit is down."""
    return bool(unit.sockets) and not unit.is_active


class _Wait:
    """One wait for a key to be accepted: what was seen so far."""

    def __init__(self, door: Litellm, goal: Value, pair: Pair) -> None:
        self._door, self._goal, self._pair = door, goal, pair
        self._stale = 0
        self.last: Answer | None = None
        self.unit: Unit | None = None  # whose process is to answer; looked at only when it does not at once
        self._is_ours = door.behind is None  # whether it is known who answers, as far as anybody can know

    def look(self) -> Verdict:
        """What the door says of the goal now. Raises PlaceError when it can never accept it."""
        if not self._is_ours and not self._want_ours():
            return Verdict.UNKNOWN
        self.last = self._door.get(unseal(self._pair[self._goal]))
        found = verdict(self.last)
        if found is not Verdict.ACCEPTED:
            self._want_fresh(found)
            self._want_alive()
        return found

    def _want_ours(self) -> bool:
        """Whether anybody answers by now, asked without a key: who has taken the port meanwhile is shown none."""
        self.last = self._door.get(None)
        if self.last.status is None:
            self._want_alive()
            return False
        if who := self._door.stranger():
            raise PlaceError(f"cannot prove the {self._goal} key: {who}")
        self._is_ours = True
        return True

    def _want_fresh(self, found: Verdict) -> None:
        """The unit's former process is gone by now: who accepts the other key, thrice, was started with it."""
        door, other = self._door, self._goal.other
        is_stale = found is Verdict.REFUSED and door.ask(unseal(self._pair[other])) is Verdict.ACCEPTED
        self._stale = self._stale + 1 if is_stale else 0
        if door.behind and self._stale >= TIMES:
            why = f"{door.url} runs on with the {other} one; something sets it over {door.variable}"
            raise PlaceError(f"cannot prove the {self._goal} key: {why}")

    def _want_alive(self) -> None:
        """When the process that is to answer has ended, nothing is left to wait for."""
        self.unit = self.unit or self._door.unit()
        if self.unit is None or (self.unit.is_active and proc.is_alive(self.unit.pid)):
            return
        said = self._door.last_words(self.unit, self._pair)
        raise PlaceError(f"cannot start {self.unit.name}: its process ended before it answered{said}")
