"""How an incident stands, told to a person or a program. Pure: the record in, lines or JSON out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from keyrotor.casebook import Docket
from keyrotor.chronicle import Told
from keyrotor.core.addressee import Occasion
from keyrotor.core.incident import Incident, State
from keyrotor.core.incident_events import (
    EVENTS,
    Began,
    Chosen,
    Deed,
    Did,
    Event,
    IncidentClosed,
    IncidentOpened,
    Missed,
    Ticked,
    Undone,
)
from keyrotor.core.model import Task
from keyrotor.core.notice import Notice, Scene
from keyrotor.errors import Exit

_SYMBOLS = {State.DONE: "✓", State.FAILED: "✗", State.BEGUN: "…", State.OPEN: " "}
_WORDS = {State.BEGUN: "begun; whether it was done is not known", State.OPEN: "not begun"}


@dataclass(frozen=True, slots=True)
class Standing:
    """How an incident stands, with what its runs have left to a person."""

    docket: Docket
    tasks: tuple[Task, ...] = ()  # all that is open
    why: str = ""  # why nobody went on with it just now
    revived: tuple[str, ...] = ()  # the playbooks whose leaked key is in force again
    going: str = ""  # who goes on with an incident just now

    @property
    def exit(self) -> Exit:
        """By the worst of what is open: a key that is not replaced, one that is not proven dead, anything else."""
        if self.why:
            return Exit.INTERRUPTED
        if self.revived and not self.docket.incident.is_closed:
            return Exit.STUCK
        still_open = {step.deed for step in self.docket.incident.open_steps}
        rest = Exit.FINDINGS if still_open else Exit.DONE
        worst = {Deed.ROTATE: Exit.STUCK, Deed.PROVE: Exit.OLD_ALIVE}
        return next((code for deed, code in worst.items() if deed in still_open), rest)


def status(standings: Sequence[Standing], none: str) -> Told:
    """Each incident, step by step, and what is to be done next; `none` where there is none."""
    lines = [line for standing in standings for line in _lines(standing)]
    return Told(tuple(lines) or (none,), {"incidents": [_data(each) for each in standings]})


def notice(standing: Standing, scene: Scene) -> Notice:
    """What people are told of it. The reason that somebody has typed stays here."""
    docket, incident = standing.docket, standing.docket.incident
    left = _left(standing) if not incident.is_closed else "closed"
    return Notice(
        scene=scene,
        occasions=(Occasion.INCIDENT,),
        title=f"incident {docket.id} on {scene.host}: {left}, {len(standing.tasks)} to do for people",
        lines=tuple(line.strip() for line in _steps(standing)),
        outcome="closed" if incident.is_closed else "open",
        exit=int(standing.exit),
        tasks=standing.tasks,
        hint="" if incident.is_closed else f"keyrotor incident status {docket.id}",
    )


@dataclass(frozen=True, slots=True)
class Closed:
    """How a close ended."""

    docket: Docket
    forgotten: tuple[str, ...]  # the runs whose former value is gone
    notes: tuple[str, ...]


def closed(found: Closed) -> Told:
    """That it is closed, and what was forgotten."""
    docket, forgotten = found.docket, found.forgotten
    lines = [f"{docket.id} is closed: {docket.incident.cause}"]
    lines += [f"the former value of run {run} is forgotten: no rollback brings it back" for run in forgotten]
    lines += [f"note: {note}" for note in found.notes]
    lines += [f"its report: keyrotor incident report {docket.id}"]
    return Told(
        tuple(lines),
        {
            "incident": docket.id,
            "cause": docket.incident.cause,
            "forgotten": list(forgotten),
            "notes": list(found.notes),
        },
    )


def log(docket: Docket) -> Told:
    """Every event of one incident."""
    text = [f"{at.astimezone():%Y-%m-%d %H:%M:%S}  {_kind(event):<16}  {_said(event)}" for at, event in docket.timed]
    events = [{"at": at.isoformat(), "event": _kind(event), "detail": _said(event)} for at, event in docket.timed]
    return Told(tuple(map(str.rstrip, text)), {"incident": docket.id, "events": events})


def brief(standings: Sequence[Standing]) -> Told:
    """The incidents that are open, a line for each, for `status`."""
    still_open = [(each, each.docket) for each in standings if not each.docket.incident.is_closed]
    lines = [
        f"INCIDENT {of.id} is open: {of.incident.case.reason}; {_left(each)}  (keyrotor incident status {of.id})"
        for each, of in still_open
    ]
    data = [{"incident": of.id, "open_steps": [step.id for step in of.incident.open_steps]} for _, of in still_open]
    return Told(tuple(lines), {"incidents": data})


def _left(standing: Standing) -> str:
    if standing.revived:
        return f"THE LEAKED KEY OF {', '.join(standing.revived)} IS IN FORCE AGAIN"
    count = len(standing.docket.incident.open_steps)
    return f"{count} step{'s' if count != 1 else ''} to go" if count else "every step is done"


def _lines(standing: Standing) -> list[str]:
    docket = standing.docket
    how = "closed" if docket.incident.is_closed else "open"
    return [f"{docket.id} is {how}: {docket.incident.case.reason}", *_steps(standing), *_next(standing)]


def _steps(standing: Standing) -> list[str]:
    incident = standing.docket.incident
    lines = []
    for step in incident.case.steps:
        stand = incident.stand(step)
        over = "; that is over, the old key is dead" if incident.is_moot(step) and stand.state is not State.DONE else ""
        said = (stand.said or _WORDS.get(stand.state, "")).replace("\n", "\n    ")
        lines.append(f"  {_SYMBOLS[stand.state]} {step.id}: {said}{over}")
        lines += [f"      hint: {stand.hint}"] if stand.hint and not (over or incident.is_closed) else []
    lines += [f"  to do: {task.text}  (then: keyrotor done {task.id})" for task in standing.tasks]
    return lines + ([f"  {standing.why}"] if standing.why else [])


def _next(standing: Standing) -> list[str]:
    docket, incident = standing.docket, standing.docket.incident
    if incident.is_closed:
        forced = f" (closed all the same: {incident.forced})" if incident.forced else ""
        return [f"  its cause: {incident.cause}{forced}"]
    if standing.going and (incident.open_steps or standing.revived):
        return [f"  going on just now ({standing.going})"]
    if incident.open_steps or standing.revived:
        note = [f"  the leaked key of {name} is in force again: it was rolled back" for name in standing.revived]
        note += _kept_away(incident)
        return [*note, f"  to go on: keyrotor incident resume {docket.id}"]
    if standing.tasks:
        return ["  every step is done; what is to do is for people"]
    return [f'  to end it: keyrotor incident close {docket.id} --cause "how it could leak"']


def _kept_away(incident: Incident) -> list[str]:
    """Whether strangers are, for a person who goes away now."""
    if incident.is_surely_contained:
        return ["  the gateway stays contained until then"]
    return ["  strangers may reach the gateway: whether it is contained is not known"] if incident.is_contained else []


def _data(standing: Standing) -> dict[str, Any]:
    docket, incident = standing.docket, standing.docket.incident
    stands = [(step, incident.stand(step)) for step in incident.case.steps]
    return {
        "incident": docket.id,
        "state": "closed" if incident.is_closed else "open",
        "exit": int(standing.exit),
        "reason": incident.case.reason,
        "why": standing.why,
        "opened": docket.opened.isoformat(),
        "closed": docket.closed.isoformat() if docket.closed else None,
        "cause": incident.cause,
        "steps": [
            {"id": step.id, "state": str(stand.state), "said": stand.said, "hint": stand.hint} for step, stand in stands
        ],
        "todo": [{"id": task.id, "place": task.row, "text": task.text} for task in standing.tasks],
    }


def _kind(event: Event) -> str:
    return next(name for name, kind in EVENTS.items() if isinstance(event, kind))


def _said(event: Event) -> str:
    match event:
        case IncidentOpened(case):
            return case.reason
        case Began(said):
            return said
        case Chosen(contain, exposed):
            return ", ".join(filter(None, (contain and f"contain: {contain}", exposed and f"exposed since {exposed}")))
        case Did(step, said) | Missed(step, said) | Undone(step, said):
            return f"{step}: {said}"
        case Ticked(task):
            return f"task {task}"
        case IncidentClosed(cause, forced):
            return f"{cause} (all the same: {forced})" if forced else cause
