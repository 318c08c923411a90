"""What people are told of how a command ended. Pure.

A notice is made of what the screen and the record say, so it holds no value: fingerprints, names, paths, words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keyrotor.core.addressee import Occasion
from keyrotor.core.model import Outcome, Task
from keyrotor.core.report import Report
from keyrotor.errors import Exit


@dataclass(frozen=True, slots=True)
class Scene:
    """Where it is that something happened."""

    host: str
    at: str  # ISO 8601 in UTC
    playbook: str
    key: str = ""  # the variable's name


@dataclass(frozen=True, slots=True)
class Notice:
    """One notice, the same for everybody."""

    scene: Scene
    occasions: tuple[Occasion, ...]  # what it is about; the first one names it
    title: str
    lines: tuple[str, ...]
    run: str = ""
    outcome: str = ""  # of a run, or of an incident; "" where none was begun
    exit: int | None = None  # None: nobody knows, or there is none
    reason: str = ""
    tasks: tuple[Task, ...] = ()
    hint: str = ""  # the command to go on

    @property
    def event(self) -> Occasion:
        return self.occasions[0]

    @property
    def body(self) -> str:
        """All but the title, for a person."""
        return "\n".join([*self.lines, f"{self.scene.host}, {self.scene.at}"])

    def as_json(self) -> dict[str, Any]:
        """What a webhook and a command get (docs/reference/notify.md)."""
        return {
            "schema": 1,
            "event": str(self.event),
            "title": self.title,
            "text": f"{self.title}\n{self.body}",
            "lines": list(self.lines),
            "playbook": self.scene.playbook or None,
            "key": self.scene.key or None,
            "run": self.run or None,
            "outcome": self.outcome or None,
            "exit": self.exit,
            "reason": self.reason,
            "tasks": [{"id": task.id, "place": task.row, "text": task.text} for task in self.tasks],
            "hint": self.hint,
            "host": self.scene.host,
            "at": self.scene.at,
        }


_WORSE: Mapping[Outcome, Occasion] = {Outcome.STUCK: Occasion.STUCK, Outcome.OLD_ALIVE: Occasion.OLD_ALIVE}
_TITLES: Mapping[Outcome, str] = {
    Outcome.ROTATED: "{playbook} is rotated",
    Outcome.REPAIRED: "{playbook} is repaired",
    Outcome.ROLLED_BACK: "{playbook} is rolled back",
    Outcome.STUCK: "{playbook} is stuck: a person is needed",
    Outcome.INTERRUPTED: "{playbook} is not finished: a run is owed",
    Outcome.OLD_ALIVE: "the old key of {playbook} may still be accepted",
    Outcome.REFUSED: "cannot {verb} {playbook}: refused, nothing was changed",
}


def of_report(scene: Scene, verb: str, report: Report, lines: Sequence[str]) -> Notice:
    """The notice of a command that ended with this report, told in these lines."""
    title = _TITLES.get(report.outcome, "cannot {verb} {playbook}").format(verb=verb, playbook=scene.playbook)
    if report.outcome is Outcome.ROLLED_BACK and report.exit is not Exit.DONE:
        title = f"cannot {verb} {scene.playbook}: rolled back"
    return Notice(
        scene,
        occasions=_occasions(report),
        title=f"{title}; something is left to do" if report.todo else title,
        lines=tuple(lines),
        run=report.run,
        outcome=str(report.outcome),
        exit=int(report.exit),
        reason=report.reason,
        tasks=report.todo,
        hint=_hint(report, scene.playbook),
    )


def _occasions(report: Report) -> tuple[Occasion, ...]:
    left = (Occasion.TASKS,) if report.todo else ()
    if report.exit is Exit.DONE:
        return (*left, Occasion.SUCCESS)
    worse = _WORSE.get(report.outcome)
    return (*((worse,) if worse else ()), Occasion.FAILURE, *left)


def _hint(report: Report, playbook: str) -> str:
    if report.hint:
        return report.hint
    match report.outcome:
        case Outcome.STUCK | Outcome.INTERRUPTED:
            return f"keyrotor resume {report.run}"
        case Outcome.OLD_ALIVE:
            return f"keyrotor rotate {playbook}"
        case Outcome.ROLLED_BACK if report.exit is not Exit.DONE:
            return f"keyrotor rotate {playbook}"
        case _:
            return f"keyrotor done {report.todo[0].id}" if report.todo else ""


# What has become of a service that failed, by systemd's word for it (systemd.exec(5), MONITOR_SERVICE_RESULT).
_RESULTS: Mapping[str, str] = {
    "timeout": "it took too long, and was ended",
    "oom-kill": "it was ended, for memory was short",
    "watchdog": "it was ended by its watchdog",
    "start-limit-hit": "it failed too often, and is not started again by itself",
    "resources": "systemd could not start it",
}


def fate(monitored: Mapping[str, str]) -> str:
    """How a service ended, in words, from what systemd tells the unit of its OnFailure=."""
    result, code = monitored.get("MONITOR_SERVICE_RESULT", ""), monitored.get("MONITOR_EXIT_CODE", "")
    status = monitored.get("MONITOR_EXIT_STATUS", "")
    if code == "exited" and result in ("exit-code", ""):
        return f"it ended with exit code {status}"
    if code in ("killed", "dumped") and result not in _RESULTS:
        return f"it was ended by SIG{status.removeprefix('SIG')}"
    return _RESULTS.get(result, f"systemd says: {result}" if result else "systemd does not say how")


def of_fate(scene: Scene, monitored: Mapping[str, str], owed: Sequence[str], run: str, *, is_stuck: bool) -> Notice:
    """The notice of a service that failed and told nobody itself; `owed` is what the record says of what it left."""
    status = monitored.get("MONITOR_EXIT_STATUS", "")
    unit = monitored.get("MONITOR_UNIT", "")
    has_ended = monitored.get("MONITOR_EXIT_CODE") == "exited" and status.isdecimal()
    return Notice(
        scene,
        occasions=(Occasion.STUCK, Occasion.FAILURE) if is_stuck else (Occasion.FAILURE,),
        title=f"{unit or scene.playbook} failed",
        lines=(fate(monitored), *owed),
        run=run,
        exit=int(status) if has_ended else None,
        reason=fate(monitored),
        hint=f"keyrotor resume {run}" if run else "keyrotor status",
    )


def of_test(scene: Scene) -> Notice:
    """A notice that only shows that it arrives."""
    line = f"This is a test of who is told how {scene.playbook} ends. Nothing has happened."
    return Notice(scene, (Occasion.TEST,), f"test: keyrotor can tell you of {scene.playbook}", (line,))
