"""One small world in memory, for the machine and the engine: files, a unit, its door, and what goes wrong.

Owns: `World`, its living places, `Stop`, the trace of a record in one line. Rules:
1. A place holds a word: `old`, `new`, `other` (somebody else's) or `torn` (half written); a unit
   that is down holds none.
2. The places keep the promises of `ports.Place` and share one state: a unit takes up what the env file holds when it
   starts, the door answers for the value that the unit runs with.
3. What goes wrong is said in words (`World("unit:new fails; one drifts after refuses:old")`) and happens the same way
   each time, so that a run can be repeated with a death at each of its points.
4. A point stands before and after each record, and before, in the middle of and after each effect.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from keyrotor.core import machine, plan
from keyrotor.core.machine import Event, Phase, Run, fold
from keyrotor.core.model import ALREADY, Act, Declared, Holds, Outcome, Plan, Playbook, Purpose, Row, Source, Value
from keyrotor.engine import Ending, Engine
from keyrotor.errors import InterruptedRun, JournalError, PlaceError, StrangerError, UnprovenError
from keyrotor.secret import Pair, Secret

PAIR = Pair(Secret(b"sk-old"), Secret(b"sk-new"))
SOURCE = Source(file="/lab/global.enc.env", key="LITELLM_MASTER_KEY", identity="", project="/lab")

KINDS = {
    "file": "sops-file",
    "env": "env-file",
    "unit": "systemd-unit",
    "door": "litellm",
    "one": "client-file",
    "two": "client-file",
}
ENDLESS = 300  # events; the longest run of these tests has some 80
FILES = ("file", "env", "one", "two")
FORWARD = ("file:new", "env:new", "unit:new", "door:new", "one:new", "two:new", "refuses:old")
BACK = ("file:old", "env:old", "unit:old", "door:old", "one:old", "two:old", "refuses:new")


class Died(BaseException):
    """The process was killed here. Nothing of keyrotor may catch it."""


class Stop:
    """Signals that arrive at the looks with these numbers, treated as `boundary.signals` treats them."""

    def __init__(self, *at: int) -> None:
        self._at = Counter(at)
        self._count = 0
        self._is_pending = False
        self.looks = 0
        self.answered = 0  # signals that got a message and no more
        self.is_firm = False

    def ask(self) -> None:
        self._count += 1
        if self._count == 1 and self.is_firm:
            self.answered += 1
        else:
            self._is_pending = True

    def stand_firm(self, doing: str) -> None:
        self._count, self._is_pending, self.is_firm = 0, False, True

    @property
    def must_stop_now(self) -> bool:
        return self._count > 1

    def raise_if_asked(self) -> None:
        self.looks += 1
        for _ in range(self._at[self.looks]):
            self.ask()
        if self._is_pending:
            self._is_pending = False
            raise InterruptedRun("SIGINT")


@dataclass(frozen=True)
class Fault:
    """A put that fails: how often, and how far it has come by then."""

    first: int
    last: float
    how: str  # "" before anything, "halfway", "afterwards"
    is_bug: bool = False


class World:
    """Everything that a rotation changes, and everything that goes wrong."""

    def __init__(
        self,
        faults: str = "",
        *,
        no_return: str = "",
        purpose: Purpose = Purpose.ROTATE,
        die_at: int | None = None,
        stop: Stop | None = None,
        clients: int = 0,
    ) -> None:
        self.plan = plan_of(no_return, purpose, clients)
        self.files = {row.id: "old" for row in self.plan.rows if row.act is Act.FILE}
        self.unit: str | None = "old"
        self.alive: set[str] = set()  # values that the door accepts besides the unit's
        self.is_open = False
        self.events: list[Event] = []
        self._read: tuple[list[Event], int, Run | None] = (self.events, 0, None)
        self.effects: list[str] = []  # what was really changed, in this order
        self.prepared: list[str] = []  # what was worked out before the restart
        self.spoilt: set[str] = set()  # rows for which that fails
        self.told: list[str] = []  # the places that were asked what is left to do
        self.left: dict[str, str] = {}  # what they answer
        self.points = 0
        self.die_at = die_at
        self.stop = stop or Stop()
        self.record_fails_at: int | None = None
        self.places = {row.id: _PLACES[row.act](self, row) for row in self.plan.rows}
        self._puts: Counter[str] = Counter()
        self._faults: dict[str, Fault] = {}
        self._deeds: dict[tuple[str, str, int], list[Callable[[], None]]] = {}
        for words in filter(None, map(str.strip, faults.split(";"))):
            self._suffer(words)

    # -- what goes wrong ------------------------------------------------------------------------------------------

    def _suffer(self, words: str) -> None:
        if found := re.fullmatch(
            r"(\w+:\w+) (fails|breaks)( once| twice| from the 2nd)?( halfway| afterwards)?", words
        ):
            token, verb, often, how = found.groups(default="")
            assert token in FORWARD + BACK or token.startswith("c"), words
            last = {" once": 1, " twice": 2}.get(often, float("inf"))
            first = 2 if often == " from the 2nd" else 1
            self._faults[token] = Fault(first, last, how.strip(), is_bug=verb == "breaks")
        elif found := re.fullmatch(r"(.+) (before|during|after) (2nd )?(\w+:\w+)", words):
            deed, when, second, token = found.groups(default="")
            assert token in FORWARD + BACK or token.startswith("c"), words
            self._deeds.setdefault((when, token, 2 if second else 1), []).append(lambda: self.deed(deed))
        elif found := re.fullmatch(r"record fails at (\d+)", words):
            self.record_fails_at = int(found[1])
        else:
            self.deed(words)

    def deed(self, words: str) -> None:
        """Somebody, or something, does this now."""
        match words.split():
            case [row, "drifts"]:
                self.files[row] = "other"
            case [row, "vanishes"]:
                self.files[row] = "gone"
            case [row, "holds", value] if row in self.files:
                self.files[row] = value
            case ["unit", "crashes"]:
                self.start_unit()
            case ["unit", "goes", "down"]:
                self.unit = None
            case [value, "stays", "alive"]:
                self.alive.add(value)
            case ["door", "opens"]:
                self.is_open = True
            case ["signal"]:
                self.stop.ask()
            case ["two", "signals"]:
                self.stop.ask()
                self.stop.ask()
            case _:
                raise AssertionError(f"this world does not know how: {words}")

    def mend(self) -> None:
        """A person has mended everything that fails."""
        self._faults.clear()

    def point(self) -> None:
        self.points += 1
        if self.points == self.die_at:
            raise Died

    def happen(self, when: str, token: str) -> None:
        for deed in self._deeds.get((when, token, self._puts[token]), ()):
            deed()

    def fault(self, token: str) -> Fault | None:
        """How this put fails; None if it does not."""
        self._puts[token] += 1
        found = self._faults.get(token)
        return found if found and found.first <= self._puts[token] <= found.last else None

    # -- what is so ------------------------------------------------------------------------------------------------

    def start_unit(self) -> None:
        """The unit starts; it does not come up on an env file that is half written."""
        self.unit = None if self.files["env"] == "torn" else self.files["env"]

    def accepted(self) -> set[str]:
        """The values that the door lets in."""
        if self.unit is None:
            return set()
        return {self.unit, "old", "new"} if self.is_open else {self.unit, *self.alive}

    def whole(self) -> Value | None:
        """The one value that every place holds and that alone works; None if there is no such."""
        held = {*self.files.values(), self.unit}
        word = next(iter(held))
        return Value(word) if len(held) == 1 and word in ("old", "new") and self.accepted() == held else None

    # -- the runs ----------------------------------------------------------------------------------------------------

    def record(self, *events: Event) -> None:
        """As the journal does: all of them, or none."""
        self.point()
        if self.record_fails_at is not None and 0 <= self.record_fails_at - len(self.events) < len(events):
            raise JournalError("cannot write the record: the disk is full")
        assert len(self.events) < ENDLESS, "the run goes on without end"
        self.events.extend(events)
        self.point()

    @property
    def run(self) -> Run:
        """What the record says; only what is new in it is read, for speed."""
        events, read, run = self._read
        if events is not self.events:
            read, run = 0, None
        for event in self.events[read:]:
            run = machine.follow(run, event)
        if run is None:
            return fold(())
        self._read = (self.events, len(self.events), run)
        return run

    def rotate(self) -> Ending:
        self.record(machine.Opened(self.plan))
        return self._drive()

    def resume(self) -> Ending:
        return self._go_on(machine.Resumed("resume"))

    def rollback(self) -> Ending:
        is_back = self.run.phase is Phase.BACK
        return self._go_on(machine.Resumed("rollback") if is_back else machine.TurnedBack("asked for"))

    def _go_on(self, event: Event) -> Ending:
        machine.follow(self.run, event)
        self.record(event)
        return self._drive()

    def _drive(self) -> Ending:
        return Engine(fold(self.events), self.places, PAIR, lambda events: self.record(*events), self.stop).drive()

    def revive(self, die_at: int | None = None) -> None:
        """A new process, which may die in its turn."""
        self.points, self.die_at, self.stop = 0, die_at, Stop()


class _Place:
    """What every place here has in common: the points, the faults, looking before it changes anything."""

    def __init__(self, world: World, row: Row) -> None:
        self.world = world
        self.row = row

    def check(self, pair: Pair) -> list[str]:
        return []

    def holds(self, pair: Pair) -> Holds:
        raise NotImplementedError

    def prepare(self, goal: Value, pair: Pair) -> None:
        """Fails as a put would that fails at once."""
        self.world.prepared.append(token_of(self.row.id, goal))
        if self.row.id in self.world.spoilt:
            raise PlaceError("cannot be spliced")

    def after(self, goal: Value, pair: Pair) -> str:
        self.world.told.append(token_of(self.row.id, goal))
        return self.world.left.get(self.row.id, "")

    def put(self, goal: Value, pair: Pair) -> str:
        world, token = self.world, token_of(self.row.id, goal)
        fault = world.fault(token)
        world.point()
        world.happen("before", token)
        self._fail(fault, "")
        has_it = self.holds(pair) is Holds(goal) and not self.row.act.is_proof
        if not has_it:
            self._begin()
        world.point()
        world.happen("during", token)
        self._fail(fault, "halfway")
        if not has_it:
            self._finish(goal)
            world.effects.append(token)
        world.happen("after", token)
        world.point()
        self._fail(fault, "afterwards")
        return ALREADY if has_it else "done"

    def _fail(self, fault: Fault | None, how: str) -> None:
        if fault and fault.how == how:
            if fault.is_bug:
                raise ZeroDivisionError("a bug of ours")
            raise PlaceError("cannot")

    def _begin(self) -> None:
        """The first half of the change."""

    def _finish(self, goal: Value) -> None:
        """The second half; raises PlaceError if the goal is not reached."""


class File(_Place):
    """The encrypted file, the env file, a client's file."""

    def holds(self, pair: Pair) -> Holds:
        word = self.world.files[self.row.id]
        if word == "unreadable":
            return Holds.UNKNOWN
        return Holds.seen(old=word == "old", new=word == "new") if word != "refers" else Holds.REFERS

    def _begin(self) -> None:
        if self.world.files[self.row.id] == "gone":
            raise StrangerError("no such file")
        self.world.files[self.row.id] = "torn"

    def _finish(self, goal: Value) -> None:
        self.world.files[self.row.id] = goal


class Unit(_Place):
    def holds(self, pair: Pair) -> Holds:
        word = self.world.unit
        return Holds.UNKNOWN if word is None else Holds.seen(old=word == "old", new=word == "new")

    def _begin(self) -> None:
        self.world.unit = None

    def _finish(self, goal: Value) -> None:
        self.world.stop.raise_if_asked()
        self.world.start_unit()
        if self.world.unit != goal:
            raise PlaceError("it did not come up with the value")


class Door(_Place):
    def holds(self, pair: Pair) -> Holds:
        if self.world.unit is None:
            return Holds.UNKNOWN
        accepted = self.world.accepted()
        return Holds.seen(old="old" in accepted, new="new" in accepted)

    def _finish(self, goal: Value) -> None:
        self.world.stop.raise_if_asked()
        if self.world.is_open:
            raise PlaceError("the gateway is open")
        if goal not in self.world.accepted():
            raise PlaceError("it refuses the value")
        if self.row.act is Act.RETIRE and goal.other in self.world.accepted():
            raise UnprovenError("it accepts both")


_PLACES = {Act.FILE: File, Act.RESTART: Unit, Act.ADMIT: Door, Act.RETIRE: Door}


def playbook_of(*places: Declared) -> Playbook:
    return Playbook("litellm", "/lab/litellm.toml", SOURCE, "month", 60.0, {}, places)


def place(id: str, kind: str, **options: object) -> Declared:
    return Declared(id, kind, f"the {id}", 1.0, optional=False, options=options)


@functools.cache
def plan_of(no_return: str = "", purpose: Purpose = Purpose.ROTATE, clients: int = 0) -> Plan:
    more = {f"c{number}": "client-file" for number in range(clients)}  # further clients, after the others
    rows = plan.rows(playbook_of(*(place(*pair) for pair in (KINDS | more).items())))
    marks = {Value.OLD: "0" * 12, Value.NEW: "1" * 12}
    return Plan(
        run="r1",
        playbook="litellm",
        source=SOURCE,
        rows=rows,
        fingerprints=marks,
        fingerprint_key="k1",
        ciphertexts=marks,
        no_return=no_return,
        incident="inc-1" if no_return else "",
        purpose=purpose,
    )


# -- the trace ---------------------------------------------------------------------------------------------------------


def token_of(row: str, value: Value) -> str:
    """A put in a word: `unit:new`; the door's last row says what it proves, `refuses:old`."""
    return {"door:accepts": f"door:{value}", "door:refuses": f"refuses:{value.other}"}.get(row, f"{row}:{value}")


def trace(events: Iterable[Event], ending: Ending | None = None) -> str:
    """A record in one line.

    `env:new` put · `env:new✗` failed · `refuses:old?` not proven · `env:new…` begun and never ended ·
    `(one:other)` left as it is · `env~neither` found drifted · `settled!one` with a task left.
    """
    words: list[str] = []
    for event in events:
        if isinstance(event, machine.Moved | machine.Failed):
            intent = token_of(event.row, event.value) + "…"  # that it is the result of
            del words[len(words) - 1 - words[::-1].index(intent)]
        words.append(_word(event))
    words = words[1:] if words[:1] == ["opened"] else words
    if ending and ending.run.is_owed:
        words.append(f"halt:{ending.outcome}")
    return " ".join(words)


def _word(event: Event) -> str:
    match event:
        case machine.Moving(row, value):
            return token_of(row, value) + "…"
        case machine.Moved(row, value):
            return token_of(row, value)
        case machine.Failed(row, value, _, is_unproven):
            return token_of(row, value) + ("?" if is_unproven else "✗")
        case machine.Passed(row, _, holds):
            return f"({row}:{holds})"
        case machine.Drifted(row, holds, _):
            return f"{row}~{holds}"
        case machine.TurnedBack():
            return "turn-back"
        case machine.Settled(tasks):
            return "".join(["settled", *(f"!{row}" for row in tasks)])
        case machine.Closed(outcome):
            return f"closed:{outcome}"
        case _:
            return type(event).__name__.lower()


def deaths(make: Callable[[int | None], World], go: Callable[[World], object]) -> Iterator[World]:
    """The same run, killed at each of its points in turn."""
    alive = make(None)
    go(alive)
    for at in range(1, alive.points + 1):
        dying = make(at)
        try:
            go(dying)
        except Died:
            yield dying
        else:
            raise AssertionError(f"nobody died at point {at}")


def is_closed_half_done(world: World) -> bool:
    """Whether the record says `closed` where the world does not hold the one value that this promises."""
    if not world.events or world.run.phase is not Phase.CLOSED:
        return False
    promised = {Outcome.ROTATED: Value.NEW, Outcome.ROLLED_BACK: Value.OLD}
    return world.run.outcome not in promised or world.whole() is not promised[world.run.outcome]
