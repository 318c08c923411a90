"""What a plan tells: lines for a person, one object for a program. Pure.

Rules: of a file nothing is shown but where a value stands in it, and the value masked; 80 columns where paths allow;
a command in brackets at the end of a sentence is never cut, for it is there to be copied.
"""

from __future__ import annotations

import re
import shlex
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from keyrotor.checklist import COLUMNS
from keyrotor.core import plan
from keyrotor.core.model import Act, Value
from keyrotor.core.preview import Change, Planned, State
from keyrotor.preview import Preview
from keyrotor.screen import doing

SYMBOLS: Mapping[State, str] = {
    State.CHANGES: "~",
    State.PROVES: "?",
    State.NOTHING: "=",
    State.BY_HAND: "!",
    State.CANNOT: "✗",
}
_NBSP = "\N{NO-BREAK SPACE}"


def lines(seen: Preview, folder: Path, home: str) -> list[str]:
    """The plan, from top to bottom: a line for each row, then what changes where.

    Paths are written as they can be typed in this folder, and with `~` for the home.
    """
    seen = _shortened(seen, {str(folder): "", home: "~/"})
    told = [f"{seen.book.name} gives {seen.book.source.key} a new value:"]
    told += [line for each in seen.planned for line in _row(each)]
    told += [line for reason in seen.record for line in _wrapped(reason, "  ✗ ", "    ")]
    for each in seen.planned:
        if each.state is State.CHANGES and each.row.act in (Act.FILE, Act.COMMAND, Act.STORE):
            told += ["", each.row.label, *_changes(each.changes, seen)]
    for heading, found in (("restarts", _restarts(seen)), ("asks", _asked(seen))):
        told += ["", heading, *found] if found else []
    return [*told, "", *_wrapped(_summary(seen), "", "  ")]


def ending(seen: Preview, file: Path | None) -> list[str]:
    """What follows from a plan that nothing forbids but a run that is owed; `file` is that of --out."""
    if seen.owed:
        said = f"First run {seen.owed.run} must be finished: keyrotor resume {seen.owed.run}"
        return [said, "Nothing was changed; the plan is not saved." if file else "Nothing was changed."]
    said = "A rotation can run."
    if file is None:
        return [said, "Nothing was changed."]
    return [said, f"Nothing was changed. The plan is saved: keyrotor rotate --plan {shlex.quote(str(file))}"]


def _row(each: Planned) -> Iterator[str]:
    symbol = SYMBOLS[each.state]
    said = f"{each.row.label}: {each.why}" if each.why else doing(each.row, Value.NEW)
    yield from _wrapped(said, f"  {symbol} ", "      ")
    for reason in each.reasons:
        yield from _wrapped(reason, "      ", "      ")


def _changes(changes: tuple[Change, ...], seen: Preview) -> Iterator[str]:
    for change in changes:
        if change.is_span:
            yield from _wrapped(f"{change.path}, {_where(change)}", "  ", "    ")
            yield f"  - {seen.old}"
            yield f"  + {seen.new}{'' if change.after is None else f', {change.after} bytes'}"
        elif change.line:
            yield from _wrapped(f"line {change.line}: {change.path}, {change.text}", "  ", "    ")
        else:
            yield from _wrapped(change.text, f"  {SYMBOLS[State.BY_HAND]} " if change.by_hand else "  ", "    ")


def _where(change: Change) -> str:
    return f"line {change.line}, column {change.column}: {change.end - change.start} bytes from byte {change.start}"


def _restarts(seen: Preview) -> list[str]:
    """Whatever takes a door away, and for how long it did so the last time."""
    doors = plan.restarts([each.row for each in seen.planned])
    away = "how long the gateway will be away is not known yet: no run of this key is on record"
    if seen.last_outage:
        last = seen.last_outage
        away = f"the gateway was away for {last.seconds:.1f} s the last time (run {last.run}, {last.at:%Y-%m-%d})"
    return [
        line
        for each in seen.planned
        if each.state is State.CHANGES and (each.row.act is Act.RESTART or each.row.id in doors)
        for line in _wrapped(each.row.label + (f": {away}" if each.row.id in doors else ""), "  ", "    ")
    ]


def _asked(seen: Preview) -> list[str]:
    asked = (change for each in seen.planned if each.state is State.PROVES for change in each.changes)
    return [line for change in asked for line in _wrapped(change.text, "  ", "    ")]


def counts(seen: Preview) -> dict[str, int]:
    """How many places change, units restart, doors are proven, places cannot change, things are left to a person."""
    states = [(each.row, each.state) for each in seen.planned]
    changing = [row for row, state in states if state is State.CHANGES]
    notes = [each for each in seen.planned if any(change.by_hand for change in each.changes)]
    return {
        "change": sum(row.act is not Act.RESTART for row in changing),
        "restart": sum(row.act is Act.RESTART for row in changing),
        "prove": len({row.place for row, state in states if state is State.PROVES}),
        "cannot": len({row.place for row, state in states if state is State.CANNOT}) + len(seen.record),
        "by_hand": sum(state is State.BY_HAND for _, state in states) + len(notes),
    }


def _summary(seen: Preview) -> str:
    count = counts(seen)
    said = [
        _number(count["change"], "place changes", "places change"),
        _number(count["restart"], "unit restarts", "units restart"),
        _number(count["prove"], "door proves it", "doors prove it"),
        f"{count['cannot']} cannot",
        f"{count['by_hand']} by hand",
    ]
    return f"plan: {', '.join(said)}"


def _number(count: int, one: str, several: str) -> str:
    return f"{count} {one if count == 1 else several}"


def _wrapped(text: str, first: str, rest: str) -> list[str]:
    """The text in lines that fit; what stands in brackets at its end stays in one piece."""
    kept = re.sub(r"\([^()]*\)$", lambda found: found[0].replace(" ", _NBSP), text)
    found = textwrap.wrap(
        kept, COLUMNS, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )
    return [line.replace(_NBSP, " ") for line in found]


def _shortened(seen: Preview, folders: Mapping[str, str]) -> Preview:
    """The same with shorter paths in every sentence, before any is wrapped."""
    beginnings = {folder.rstrip("/") + "/": short for folder, short in folders.items() if folder.strip("/")}

    def short(text: str) -> str:
        for beginning, shorter in beginnings.items():
            text = re.sub(rf"(?<![^\s'\"(=:]){re.escape(beginning)}", shorter, text)
        return text

    planned = tuple(
        replace(
            each,
            row=replace(each.row, label=short(each.row.label)),
            reasons=tuple(map(short, each.reasons)),
            changes=tuple(replace(change, text=short(change.text)) for change in each.changes),
        )
        for each in seen.planned
    )
    return replace(seen, planned=planned, record=tuple(map(short, seen.record)))


def as_json(seen: Preview, file: Path | None = None) -> dict[str, Any]:
    """The one object that `plan --json` prints (docs/reference/json.md)."""
    last = seen.last_outage
    return {
        "schema": 1,
        "playbook": seen.book.name,
        "places": [_place(each) for each in seen.planned if not each.why],
        "skipped": seen.skipped,
        "left": [_place(each) for each in seen.planned if each.why],
        "record": list(seen.record),
        "masks": {"old": seen.old, "new": seen.new},
        "last_outage": {"seconds": last.seconds, "run": last.run, "at": last.at.isoformat()} if last else None,
        "counts": counts(seen),
        "owed": seen.owed.run if seen.owed else None,
        "saved": str(file) if file else None,
    }


def _place(each: Planned) -> dict[str, Any]:
    row = each.row
    return {
        "id": row.id,
        "kind": row.kind,
        "act": row.act,
        "label": row.label,
        "state": each.state,
        "why": each.why,
        "reasons": list(each.reasons),
        "changes": [asdict(change) for change in each.changes],
    }
