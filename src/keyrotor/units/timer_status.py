"""How a playbook's timer stands, as lines. Told from what was looked at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from keyrotor.boundary.unit_text import Timer
from keyrotor.core.checkup import Line, State
from keyrotor.core.due import Due
from keyrotor.core.timing import Wish
from keyrotor.formats.timer_units import Wanted
from keyrotor.formats.unit_lines import Origin

SKIPPED = "exec-condition"  # the result of a service that was skipped, for nothing was due


@dataclass(frozen=True, slots=True)
class File:
    """A unit file, and how far it is what it should be."""

    name: str
    path: str
    origin: Origin
    elsewhere: str  # the unit of this name in another folder
    other: str  # the timer that has it by the same name
    is_masked: bool
    is_enabled: bool
    owes_reload: bool
    is_as_wanted: bool  # but for the environment, which another shell would write otherwise


@dataclass(frozen=True, slots=True)
class Facts:
    """All that the lines besides tell of."""

    wanted: Wanted
    wakes: str  # when, in words
    wish: Wish
    timer: Timer
    service: Timer
    lingers: bool | None
    due: Due | str  # or why nothing tells

    def systemctl(self, verb: str, name: str) -> str:
        return f"systemctl --{self.wanted.scope} {verb} {name}"


def lines(facts: Facts, files: Sequence[File], troubles: Sequence[str]) -> Iterator[Line]:
    """A line for each thing that makes the timer rotate."""
    for file in reversed(files):
        yield _file(facts, file)
    enabled = next(file.is_enabled for file in files if file.name == facts.wanted.timer)
    install = facts.wish.command("install")
    said = "it is started at boot" if facts.wanted.scope == "system" else "it is started with the user"
    yield Line("enabled", *((State.WELL, said) if enabled else (State.ILL, "it will not be started at boot", install)))
    yield _timer(facts, install)
    yield _last(facts)
    yield from _linger(facts)
    yield from (Line("install", State.ILL, why, install) for why in troubles)
    yield _due(facts)


def of_another(facts: Facts, why: str, mend: str) -> list[Line]:
    """What is to be told where the timer of that name is another playbook's: how that one stands is not ours to say."""
    return [Line(facts.wanted.timer, State.ILL, why, mend), _due(facts)]


def _file(facts: Facts, file: File) -> Line:
    install = facts.wish.command("install")
    if file.is_masked:
        return Line(file.name, State.ILL, "masked: nobody can start it", facts.systemctl("unmask", file.name))
    said = {
        Origin.ABSENT: f"{file.elsewhere} is not keyrotor's" if file.elsewhere else "not installed",
        Origin.FOREIGN: f"{file.path} is not keyrotor's",
        Origin.EDITED: f"{file.path} was changed by hand",
        Origin.OURS: "systemd has not read its file again" if file.owes_reload else "",
    }[file.origin]
    if file.other:
        said = f"{file.path} is {file.other}'s"
    elif not said and not file.is_as_wanted:
        said = f"{file.path} is not what an install would write today"
    return Line(file.name, State.ILL, said, install) if said else Line(file.name, State.WELL, file.path)


def _timer(facts: Facts, install: str) -> Line:
    timer = facts.timer
    if timer.active != "active":
        return Line("next wake", State.ILL, f"none: it is {timer.active or 'not there'}", install)
    if timer.next is None and timer.sub != "running":
        return Line("next wake", State.ILL, "none: it will not wake again", install)
    when = f"{timer.next.astimezone():%Y-%m-%d %H:%M:%S}, " if timer.next else ""
    return Line("next wake", State.WELL, f"{when}{facts.wakes}")


def _last(facts: Facts) -> Line:
    service, name = facts.service, facts.wanted.service
    if service.active == "failed" or service.result not in ("", "success", SKIPPED):
        shown = f"{facts.systemctl('status', name)}   and   keyrotor status"
        return Line("last run", State.ILL, f"it failed ({service.result})", shown)
    if service.active in ("activating", "deactivating"):
        return Line("last run", State.WELL, "it is at work just now")
    if not (facts.timer.has_fired or service.begun):
        return Line("last run", State.WELL, "it has not woken yet")
    said = "nothing was due" if service.result == SKIPPED else "nothing failed"
    return Line("last run", State.WELL, said)


def _linger(facts: Facts) -> Iterator[Line]:
    if facts.wanted.scope != "user":
        return
    match facts.lingers:
        case True:
            yield Line("linger", State.WELL, "the timer outlives your last logout")
        case False:
            yield Line("linger", State.ILL, "the timer ends with your last logout", "loginctl enable-linger")
        case None:
            yield Line("linger", State.UNKNOWN, "no login manager tells whether the timer outlives your logout")


def _due(facts: Facts) -> Line:
    if isinstance(facts.due, str):
        return Line("due", State.ILL, facts.due, "keyrotor status")
    return Line("due", State.WELL, f"{'now: ' if facts.due.is_now else 'not now: '}{facts.due.reason}")
