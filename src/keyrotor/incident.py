"""The use cases of an incident: open one and go on with it, tell how it stands, close it.

Each step's intent is recorded before its effect, its result after it; a step in doubt is done again. A step that fails
is told and left open; the others are done all the same, but for those that depend on it. Nothing turns back by itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from keyrotor import incident_playbook, lock, proceedings, runs, telling
from keyrotor.casebook import Casebook, Docket
from keyrotor.casefile import Ground
from keyrotor.casework import Casework
from keyrotor.core import incident
from keyrotor.core.incident import PREFIX, Case, Event, Step
from keyrotor.core.model import Task
from keyrotor.errors import (
    BusyError,
    InterruptedRun,
    KeyrotorError,
    PlaybookError,
    RefusedError,
    UsageError,
    internal,
)
from keyrotor.incident_playbook import Response
from keyrotor.proceedings import Standing


@dataclass(frozen=True, slots=True)
class Wish:
    """What the person who opens an incident says."""

    reason: str
    response: str | None = None  # the incident playbook's name or path
    contain: str = ""  # "" for what the playbook says
    detected: str = ""  # "" for now
    exposed: str = ""  # "" where nobody knows


def begin(world: Ground, wish: Wish) -> Standing | None:
    """Open an incident and do its steps; None if the person does not agree. Raises what refuses it; then nothing was
    changed."""
    _want_no_key("--reason", wish.reason)
    response = incident_playbook.find(wish.response, world.folder, world.env)
    if refusals := world.record_refusals():
        raise RefusedError(refusals[0])
    case = _case(world, response, wish)
    with _alone(world):
        _want_none_open(world, case)
        if not world.screen.agrees(_lines(case), "Begin now?"):
            return None
        with Casebook.open(world.state) as casebook:
            casebook.append(case.id, incident.IncidentOpened(case), world.now())
        return _go_on(world, case.id)


def resume(world: Ground, case: str | None) -> Standing | None:
    """Go on with the incident that is open: what failed is tried again. None: none is open. Raises UsageError."""
    docket = _meant(world, case)
    if docket is None:
        return None
    if docket.incident.is_closed:
        raise UsageError(f"cannot go on with {docket.id}: it is closed", hint=f"keyrotor incident report {docket.id}")
    with _alone(world):
        return _go_on(world, docket.id)


def status(world: Ground, case: str | None) -> list[Standing]:
    """The incident of that name; or all that are open, else the newest. Changes nothing."""
    dockets = [runs.incident(world, case)] if case else runs.incidents(world)
    still_open = [docket for docket in dockets if not docket.incident.is_closed]
    return [_standing(world, docket) for docket in (dockets if case else still_open or dockets[-1:])]


def close(world: Ground, case: str | None, cause: str, forced: str) -> tuple[Docket, list[str]]:
    """Close the incident, and forget the former values that it has kept; the ids of those runs. Safe to do again.
    Raises RefusedError while anything is open and nobody says why it may be."""
    _want_no_key("--cause or --force", f"{cause} {forced}")
    docket = _meant(world, case)
    if docket is None:
        raise UsageError("cannot close an incident: none is open", hint="keyrotor incident status")
    with _alone(world):
        if not docket.incident.is_closed:
            _want_nothing_open(_standing(world, docket), forced)
            with Casebook.open(world.state) as casebook:
                casebook.append(docket.id, incident.IncidentClosed(cause, forced), world.now())
                docket = casebook.docket(docket.id)
            _tell(world, _standing(world, docket))
    mine = [each for each in runs.accounts(world) if each.run.plan.incident == docket.id]
    return docket, [run for each in mine if not each.run.is_owed for run in runs.forget(world, each.id)]


def tick(world: Ground, name: str) -> Task:
    """Tick off a task of an incident. Raises UsageError for what is not open."""
    case, _, number = name.rpartition("-")
    with _alone(world), Casebook.open(world.state) as casebook:
        docket = casebook.docket(case)
        text = dict(docket.incident.open_tasks).get(f"{docket.id}-{number}")
        if text is None:
            raise UsageError(f"cannot tick off {name}: nothing of that name is left to do", hint="keyrotor status")
        casebook.append(docket.id, incident.Ticked(int(number)), world.now())
        return Task(f"{docket.id}-{number}", docket.id, text)


# -- opening


def _want_no_key(option: str, text: str) -> None:
    """Raises UsageError for what somebody has pasted in the heat of it."""
    if re.search(r"sk-[A-Za-z0-9_-]{8}", text):
        raise UsageError(f"cannot record {option}: there is what looks like a key in it, and the record is in clear")


def _case(world: Ground, response: Response, wish: Wish) -> Case:
    now = world.now()
    detected = _moment("--detected-at", wish.detected, now) or now.isoformat()
    exposed = _moment("--exposed-since", wish.exposed, now)
    if exposed > detected:
        why = f"it was detected ({detected}) before the key was exposed ({exposed})"
        raise UsageError(f"cannot open an incident: {why}")
    contain = wish.contain or response.contain
    return Case(
        id=PREFIX + world.run_id(),
        reason=wish.reason,
        detected=detected,
        exposed=exposed,
        contain=contain,
        playbooks={book.name: book.path for book in response.books},
        response=response.path,
        proof=response.proof,
        roots=response.roots,
        elsewhere=response.elsewhere,
        logs=response.logs,
        by=world.who(),
    )


def _moment(option: str, text: str, now: datetime) -> str:
    """A moment that a person has typed, in UTC; one without a zone is of here. Raises UsageError."""
    if not text:
        return ""
    try:
        at = datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(f"cannot read {option} {text}: write it as 2026-11-22T03:14 or 2026-11-22T03:14Z") from None
    if at > now:
        raise UsageError(f"cannot read {option} {text}: that is in the future")
    return at.isoformat()


def _lines(case: Case) -> list[str]:
    """What will be done."""
    said = {"stop": "the gateway is stopped first", "loopback": "strangers are kept away from the gateway first"}
    contained = said.get(case.contain, "the gateway stays open to those who reach it now")
    return [
        f"incident {case.id}: {case.reason}",
        "  evidence is kept before anything is changed",
        f"  {contained} (contain: {case.contain})",
        *(f"  {name} gets a new value, with no grace and no way back" for name in case.playbooks),
        f"  the old one is proven dead at every listener, for {case.proof:g} s",
        f"  it is looked for in {', '.join(case.roots)}, git, shell histories, the journal and processes",
    ]


def _want_none_open(world: Ground, case: Case) -> None:
    for docket in runs.incidents(world):
        if not docket.incident.is_closed and docket.incident.case.playbooks.keys() & case.playbooks.keys():
            hint = f"keyrotor incident resume {docket.id}  (goes on)   or   keyrotor incident status {docket.id}"
            raise UsageError(f"cannot open an incident: {docket.id} is open ({docket.incident.case.reason})", hint=hint)


def _want_nothing_open(standing: Standing, forced: str) -> None:
    docket = standing.docket
    steps = [f"step {step.id} is not done" for step in docket.incident.open_steps]
    tasks = [f"to do: {task.text}  (then: keyrotor done {task.id})" for task in standing.tasks]
    if (steps or tasks) and not forced:
        hint = f"keyrotor incident resume {docket.id}   or   keyrotor incident close --cause … --force WHY {docket.id}"
        raise RefusedError(f"cannot close {docket.id}:\n  " + "\n  ".join((*steps, *tasks)), hint=hint)


# -- going on


def _go_on(world: Ground, case: str) -> Standing:
    """Do what can be done now. Each result is durable, then shown."""
    failed: set[str] = set()
    why = ""
    with Casebook.open(world.state) as casebook:
        while step := incident.next_step(casebook.docket(case).incident, frozenset(failed)):
            world.screen.say(f"{step.id} …")
            casebook.append(case, incident.Began(step.id), world.now())
            try:
                world.stop.raise_if_asked()
                event = _done(world, casebook.docket(case), step)
            except InterruptedRun as asked:
                why = f"interrupted by {asked}"
                break
            casebook.append(case, event, world.now())
            failed |= {step.id} if isinstance(event, incident.Missed) else set()
            world.screen.say(_said(step, event))
        docket = casebook.docket(case)
    standing = _standing(world, docket, why)
    for note in _tell(world, standing):
        world.screen.say(f"note: {note}")
    return standing


def _tell(world: Ground, standing: Standing) -> list[str]:
    """Tell whom the incident playbook names; a note for each one who could not be told."""
    path = standing.docket.incident.case.response
    try:
        known = telling.named(world, path) if path else None
        scene = telling.scene(world, known.name if known else "")
        told = telling.tell(world, known.addressees, proceedings.notice(standing, scene), known.source) if known else []
    except (PlaybookError, UsageError) as error:
        return [f"nobody was told: {error}"]
    except InterruptedRun as asked:
        return [f"nobody was told: interrupted by {asked}"]
    return [each.fault for each in told if each.fault]


def _done(world: Ground, docket: Docket, step: Step) -> Event:
    try:
        result = Casework(world, docket.incident).do(step)
    except InterruptedRun:
        raise
    except Exception as error:  # noqa: BLE001  a bug of ours in one step must not keep the others from being done
        why = error if isinstance(error, KeyrotorError) else internal(error)
        return incident.Missed(step.id, str(why), why.hint)
    if result.is_missed:
        return incident.Missed(step.id, result.said, result.hint, result.facts)
    return incident.Did(step.id, result.said, result.facts, result.tasks)


def _said(step: Step, event: Event) -> str:
    if isinstance(event, incident.Missed):
        return f"  ✗ {step.id}: {event.reason}" + (f"\n    hint: {event.hint}" if event.hint else "")
    return f"  ✓ {step.id}: {getattr(event, 'said', '')}"


def _standing(world: Ground, docket: Docket, why: str = "") -> Standing:
    own = [Task(name, docket.id, text) for name, text in docket.incident.open_tasks]
    mine = [each.run for each in runs.accounts(world) if each.run.plan.incident == docket.id]
    return Standing(docket, (*(task for run in mine for task in run.open_tasks), *own), why)


def _meant(world: Ground, case: str | None) -> Docket | None:
    """The incident that is meant: the named one, else the only one that is open. Raises UsageError for several."""
    if case is not None:
        return runs.incident(world, case)
    found = [docket for docket in runs.incidents(world) if not docket.incident.is_closed]
    if len(found) > 1:
        names = ", ".join(docket.id for docket in found)
        raise UsageError(f"cannot choose an incident: {names} are open", hint="keyrotor incident status")
    return found[0] if found else None


@contextmanager
def _alone(world: Ground) -> Iterator[None]:
    """One process at a time goes on with incidents. Raises BusyError."""
    folder = world.state / "incidents"
    world.make_folder(folder)
    try:
        with lock.held(folder / "any"):
            yield
    except BusyError as error:
        if str(folder) not in str(error):
            raise
        why = "cannot go on: another keyrotor goes on with an incident"
        raise BusyError(why, hint="keyrotor incident status") from None
