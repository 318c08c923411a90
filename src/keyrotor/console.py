"""The last word to a person, hints and errors; and JSON for programs."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Mapping
from typing import Any, TextIO, cast

from keyrotor.core.model import Outcome, Purpose
from keyrotor.core.report import Report
from keyrotor.errors import BusyError, Exit, KeyrotorError, OwedError, RefusedError
from keyrotor.screen import Deaf, Plain


def last_word(report: Report) -> list[str]:
    """What is left on the screen: one line when all is well; on a failure what failed, how things are, on, back."""
    lines = _LAST_WORDS[report.outcome](report)
    lines += [f"still to do: {task.text}  (then: keyrotor done {task.id})" for task in report.todo]
    return lines + [f"note: {note}" for note in report.notes]


def _rotated(report: Report) -> list[str]:
    away = f", gateway away {report.outage:.1f} s" if report.outage is not None else ""
    old, new = (report.fingerprints.get(value, "") for value in ("old", "new"))
    left = ", but for what is left to do below" if report.todo else ""
    lines = [
        f"rotated {report.playbook} in {report.seconds:.1f} s{away}",
        f"now: every place holds the new key ({new}){left}; the old one ({old}) is refused",
    ]
    return lines + ([report.public.rstrip()] if report.public else [])


def _repaired(report: Report) -> list[str]:
    away = f", gateway away {report.outage:.1f} s" if report.outage is not None else ""
    new = report.fingerprints.get("new", "")
    return [
        f"repaired {report.playbook} in {report.seconds:.1f} s{away}",
        f"now: every place{_besides(report)} holds the present key ({new}), proven where there is a door",
    ]


def _besides(report: Report) -> str:
    return " but those named below" if report.tasks or any("is left as it is" in note for note in report.notes) else ""


def _rolled_back(report: Report) -> list[str]:
    if report.exit == Exit.DONE:
        return [
            f"rolled back {report.playbook} in {report.seconds:.1f} s",
            f"now: every place{_besides(report)} holds the old key, proven to work; the new one is refused",
        ]
    why = f": {report.reason}" if report.reason else ""
    return [
        f"cannot rotate {report.playbook}{why}",
        f"now: rolled back and proven: the old key works in every place{_besides(report)}, the new one is refused",
        f"to try again: keyrotor rotate {report.playbook}",
        "to go back: nothing to do",
    ]


def _stuck(report: Report) -> list[str]:
    word = report.goal if report.purpose is Purpose.ROTATE else "present"
    words = {"moved": f"holds the {word} key", "pending": "not reached", "passed": "left as it was"}
    has_way_back = report.purpose is Purpose.ROTATE
    lines = [f"cannot finish run {report.run}: {report.reason}"]
    lines += [f"it had turned back: {report.turned_back}"] if report.turned_back else []
    state = f"neither all old nor all new, on the way to the {report.goal} key"
    lines += [f"now: {state if has_way_back else 'not every place holds the present key'}:"]
    lines += [f"  {place.id}: {words.get(place.state, place.state)}" for place in report.places]
    return [
        *lines,
        f"to go on: keyrotor resume {report.run}  (tries again what failed)",
        *_back(report),
        f'mended by hand: keyrotor abandon {report.run} --reason "what you did"',
    ]


def _interrupted(report: Report) -> list[str]:
    if report.purpose is Purpose.REPAIR:
        return [
            f"run {report.run} is not finished: {report.reason}",
            "now: some places may not hold the present key yet; the encrypted file is untouched",
            f"to go on: keyrotor resume {report.run}",
            f"to leave it as it is: keyrotor abandon {report.run} --reason …",
        ]
    return [
        f"run {report.run} is not finished: {report.reason}",
        f"now: on the way to the {report.goal} key; both values are kept, encrypted",
        f"to go on: keyrotor resume {report.run}",
        *_back(report),
    ]


def _old_alive(report: Report) -> list[str]:
    why = next((place.detail for place in report.places if place.state == "failed"), "")
    return [
        f"cannot prove the old key of {report.playbook} dead: {why}",
        "now: every place has the new key, and it works; the old key may still be accepted",
        "to go on: find what still accepts it (a cache, a second process, a database row), then rotate again",
        *_back(report),
    ]


def _back(report: Report) -> list[str]:
    """The way back, where there is one. A leaked value is not brought back by the way."""
    if report.purpose is not Purpose.ROTATE:
        return []
    return [f"to go back: {'no, the old key has leaked' if report.is_leaked else f'keyrotor rollback {report.run}'}"]


_LAST_WORDS: Mapping[Outcome, Callable[[Report], list[str]]] = {
    Outcome.ROTATED: _rotated,
    Outcome.REPAIRED: _repaired,
    Outcome.ROLLED_BACK: _rolled_back,
    Outcome.STUCK: _stuck,
    Outcome.INTERRUPTED: _interrupted,
    Outcome.OLD_ALIVE: _old_alive,
    Outcome.NOT_DUE: lambda report: [f"{report.playbook} is not due: {report.reason}"],
    Outcome.NOTHING_CHANGED: lambda report: [report.reason or "nothing was changed"],
    Outcome.REFUSED: lambda report: [report.reason],
    Outcome.BUSY: lambda report: [report.reason],
    Outcome.ABANDONED: lambda report: [f"run {report.run} is closed as it is; keyrotor does not know what holds what"],
}


def as_json(report: Report) -> dict[str, Any]:
    """The one object that --json prints (docs/reference/json.md)."""
    return {
        "schema": 1,
        "run": report.run or None,
        "playbook": report.playbook or None,
        "outcome": str(report.outcome),
        "exit": int(report.exit),
        "reason": report.reason,
        "hint": report.hint,
        "seconds": report.seconds,
        "outage": report.outage,
        "fingerprints": dict(report.fingerprints),
        "places": [
            {"id": p.id, "kind": p.kind, "state": p.state, "seconds": p.seconds, "detail": p.detail}
            for p in report.places
        ],
        "tasks": dict(report.tasks),
        "todo": [{"id": task.id, "place": task.row, "text": task.text} for task in report.todo],
        "notes": list(report.notes),
    }


def is_terminal(stream: TextIO | None) -> bool:
    return bool(stream and stream.isatty())


_FAILED: Mapping[type[KeyrotorError], Outcome] = {
    RefusedError: Outcome.REFUSED,
    BusyError: Outcome.BUSY,
    OwedError: Outcome.INTERRUPTED,
}


def failed(error: KeyrotorError) -> Report:
    """The report of a command that ended with an error."""
    outcome = next((found for kind, found in _FAILED.items() if isinstance(error, kind)), Outcome.NOTHING_CHANGED)
    run = error.run if isinstance(error, OwedError) else ""
    return Report(outcome, error.exit, run=run, reason=str(error), hint=error.hint)


def complain(report: Report, *, is_unchanged: bool) -> None:
    """A failure, on stderr: what failed, how things are now, what to type."""
    err = Plain(sys.stderr)
    err.say(f"keyrotor: {report.reason}")
    if is_unchanged:
        err.say("now: nothing was changed")
    if report.hint:
        err.say(f"hint: {report.hint}")


def hang_up() -> None:
    """Before the exit: a reader that left must not change the exit code when Python flushes for the last time,
    and nothing is gained by collecting, object by object, what the kernel takes back at once (50 to 200 ms)."""
    gc.freeze()
    try:
        sys.stdout.flush()
    except OSError:
        sys.stdout = cast("TextIO", Deaf(sys.stdout))
