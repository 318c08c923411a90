"""The use cases of an incident: open one and go on with it, tell how it stands, close it.

Each step's intent is recorded before its effect, its result after it; a step in doubt is done again. A step that fails
is told and left open; the others are done all the same, but for those that depend on it. Nothing turns back by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from keyrotor import casebook, incident_playbook, lock, opening, proceedings, runs, telling
from keyrotor.casebook import Casebook, Docket
from keyrotor.casefile import CaseFile, Ground
from keyrotor.casework import Casework
from keyrotor.core import incident
from keyrotor.core.incident import PREFIX, Case, Deed, Event, Step
from keyrotor.core.machine import Phase
from keyrotor.core.model import Playbook, Task
from keyrotor.errors import (
    BusyError,
    InterruptedRun,
    KeyrotorError,
    PlaceError,
    PlaybookError,
    RefusedError,
    UsageError,
    internal,
)
from keyrotor.proceedings import Closed, Standing
from keyrotor.secret import Secret

FOLDER = "incidents"  # in the state folder


def begin(world: Ground, wish: opening.Wish) -> Standing | None:
    """Open an incident and do its steps; None if the person does not agree. Raises what refuses it; then nothing was
    changed."""
    response = incident_playbook.find(wish.response, world.folder, world.env)
    values = [secret for each in response.books for secret in _values(world, each)]
    reason = opening.recorded("--reason", wish.reason, lambda text: world.tells(text, values))
    wish = replace(wish, reason=reason)
    if refusals := world.record_refusals():
        raise RefusedError(refusals[0])
    case = opening.case_of(response, wish, PREFIX + world.run_id(), world.who(), world.now())
    with _alone(world):
        _want_none_open(world, case)
        if not world.screen.agrees(opening.lines(case), "Begin now?"):
            return None
        with Casebook.open(world.state) as book:
            book.append(case.id, incident.IncidentOpened(case), world.now())
        return _go_on(world, case.id)


def resume(world: Ground, case: str | None, contain: str = "", exposed: str = "") -> Standing | None:
    """Go on with the incident that is open: what failed is tried again. It is contained in another way from now on, if
    one is named; and exposed since another moment. None: none is open. Raises UsageError."""
    docket = _meant(world, case)
    if docket is None:
        return None
    if docket.incident.is_closed:
        raise UsageError(f"cannot go on with {docket.id}: it is closed", hint=f"keyrotor incident report {docket.id}")
    with _alone(world):
        anew = opening.told_anew(docket.incident.case, contain, exposed, world.now())
        if anew:
            with Casebook.open(world.state) as book:
                book.append(docket.id, anew, world.now())
        return _go_on(world, docket.id)


def status(world: Ground, case: str | None) -> list[Standing]:
    """The incident of that name; or all that are open, else the newest. Changes nothing."""
    dockets = [casebook.docket(world.state, case)] if case else casebook.dockets(world.state)
    still_open = [docket for docket in dockets if not docket.incident.is_closed]
    holder = lock.holder(world.state / FOLDER)
    meant = dockets if case else still_open or dockets[-1:]
    return [replace(_standing(world, docket), going=holder) for docket in meant]


def close(world: Ground, case: str | None, cause: str, forced: str) -> Closed:
    """Close the incident, end its containment, and forget the former values that it has kept. Safe to do again. Raises
    RefusedError while anything is open and nobody says why it may be."""
    docket = _meant(world, case) or _unforgotten(world)
    if docket is None:
        raise UsageError("cannot close an incident: none is open", hint="keyrotor incident status")
    notes: list[str] = []
    files = CaseFile(world, docket.incident)
    values = files.secrets()
    cause = opening.recorded("--cause", cause, lambda text: world.tells(text, values))
    forced = opening.recorded("--force", forced, lambda text: world.tells(text, values))
    with _alone(world):
        if not docket.incident.is_closed:
            _want_nothing_open(_standing(world, docket), forced)
            with Casebook.open(world.state) as book:
                notes += _let_in(world, book, docket)
                book.append(docket.id, incident.IncidentClosed(cause, forced), world.now())
                docket = book.docket(docket.id)
            _tell(world, _standing(world, docket))
    notes += [f"the leaked key of {name} is in force: it is not replaced" for name in files.alive()]
    forgotten = [run for each in files.kept_by() if not each.run.is_owed for run in runs.forget(world, each.id)]
    return Closed(docket, tuple(forgotten), tuple(notes))


def _values(world: Ground, book: Playbook) -> list[Secret]:
    """The values of its encrypted file; none where it cannot be read."""
    try:
        return list(world.read_secret(book.source, to_set=False)[1].values())
    except (PlaceError, RefusedError):
        return []


def tick(world: Ground, name: str) -> Task:
    """Tick off a task of an incident. Raises UsageError for what is not open."""
    case, _, number = name.rpartition("-")
    with _alone(world), Casebook.open(world.state) as book:
        docket = book.docket(case)
        text = dict(docket.incident.open_tasks).get(f"{docket.id}-{number}")
        if text is None:
            raise UsageError(f"cannot tick off {name}: nothing of that name is left to do", hint="keyrotor status")
        book.append(docket.id, incident.Ticked(int(number)), world.now())
        return Task(f"{docket.id}-{number}", docket.id, text)


def _want_none_open(world: Ground, case: Case) -> None:
    for docket in casebook.dockets(world.state):
        if not docket.incident.is_closed and docket.incident.case.playbooks.keys() & case.playbooks.keys():
            hint = f"keyrotor incident resume {docket.id}  (goes on)   or   keyrotor incident status {docket.id}"
            raise UsageError(f"cannot open an incident: {docket.id} is open ({docket.incident.case.reason})", hint=hint)


def _want_nothing_open(standing: Standing, forced: str) -> None:
    docket = standing.docket
    steps = [f"the leaked key of {name} is in force again: it was rolled back" for name in standing.revived]
    steps += [f"step {step.id} is not done" for step in docket.incident.open_steps]
    tasks = [f"to do: {task.text}  (then: keyrotor done {task.id})" for task in standing.tasks]
    if (steps or tasks) and not forced:
        hint = f"keyrotor done {' '.join(task.id for task in standing.tasks)}"
        if steps:
            hint = (
                f"keyrotor incident resume {docket.id}   or   keyrotor incident close --cause … --force WHY {docket.id}"
            )
        raise RefusedError(f"cannot close {docket.id}:\n  " + "\n  ".join((*steps, *tasks)), hint=hint)


# -- going on


def _go_on(world: Ground, case: str) -> Standing:
    """Do what can be done now. Each result is durable, then shown."""
    failed: set[str] = set()
    why = ""
    with Casebook.open(world.state) as book:
        for name, run in CaseFile(world, book.docket(case).incident).revived().items():
            reason = f"run {run} was rolled back: the leaked key is in force again"
            book.append(case, incident.Undone(Step(Deed.ROTATE, name).id, reason), world.now())
        while step := incident.next_step(book.docket(case).incident, frozenset(failed)):
            world.screen.say(f"{step.id} …")
            world.stop.is_firm = False  # a rotation that is over has stood firm; what comes now can be stopped
            book.append(case, incident.Began(step.id), world.now())
            try:
                world.stop.raise_if_asked()
                event = _done(world, book.docket(case), step)
            except InterruptedRun as asked:
                why = f"interrupted by {asked}"
                break
            book.append(case, event, world.now())
            failed |= {step.id} if isinstance(event, incident.Missed) else set()
            world.screen.say(_said(step, event))
        docket = book.docket(case)
    standing = _standing(world, docket, why)
    for note in _tell(world, standing):
        world.screen.say(f"note: {note}")
    return standing


def _tell(world: Ground, standing: Standing) -> list[str]:
    """Tell whom the incident playbook names, and whom those name that it rotates; a note for each one who could not be
    told."""
    case = standing.docket.incident.case
    notes: list[str] = []
    heard: set[str] = set()
    for path in filter(None, (case.response, *case.playbooks.values())):
        try:
            known = telling.named(world, path)
            to = [each for each in known.addressees if repr((each.label, each.options)) not in heard]
            heard |= {repr((each.label, each.options)) for each in to}
            said = proceedings.notice(standing, telling.scene(world, known.name))
            notes += [each.fault for each in telling.tell(world, to, said, known.source) if each.fault]
        except (PlaybookError, UsageError) as error:
            notes.append(f"whom {path} names was not told: {error}")
        except InterruptedRun as asked:
            return [*notes, f"not everybody was told: interrupted by {asked}"]
    return notes


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


def _let_in(world: Ground, book: Casebook, docket: Docket) -> list[str]:
    """End the containment of an incident that is closed before its time; what came of it."""
    if not docket.incident.is_contained:
        return []
    step = Step(Deed.LIFT)
    book.append(docket.id, incident.Began(step.id), world.now())
    event = _done(world, docket, step)
    book.append(docket.id, event, world.now())
    return [f"{step.id}: {event.reason if isinstance(event, incident.Missed) else getattr(event, 'said', '')}"]


def _unforgotten(world: Ground) -> Docket | None:
    """The newest incident that was closed, and whose values are still kept: its close was cut off."""
    kept = {each.run.plan.incident for each in runs.accounts(world) if each.run.phase is Phase.CLOSED}
    return next((docket for docket in reversed(casebook.dockets(world.state)) if docket.id in kept), None)


def _standing(world: Ground, docket: Docket, why: str = "") -> Standing:
    own = [Task(name, docket.id, text) for name, text in docket.incident.open_tasks]
    mine = [each.run for each in runs.accounts(world) if each.run.plan.incident == docket.id]
    revived = CaseFile(world, docket.incident).revived()
    return Standing(docket, (*(task for run in mine for task in run.open_tasks), *own), why, tuple(revived))


def _meant(world: Ground, case: str | None) -> Docket | None:
    """The incident that is meant: the named one, else the only one that is open. Raises UsageError for several."""
    if case is not None:
        return casebook.docket(world.state, case)
    found = [docket for docket in casebook.dockets(world.state) if not docket.incident.is_closed]
    if len(found) > 1:
        names = ", ".join(docket.id for docket in found)
        raise UsageError(f"cannot choose an incident: {names} are open", hint="keyrotor incident status")
    return found[0] if found else None


@contextmanager
def _alone(world: Ground) -> Iterator[None]:
    """One process at a time goes on with incidents. Raises BusyError."""
    folder = world.state / FOLDER
    world.make_folder(folder)
    try:
        with lock.held(folder / "any"):
            yield
    except BusyError as error:
        if str(folder) not in str(error):
            raise
        why = "cannot go on: another keyrotor goes on with an incident"
        raise BusyError(why, hint="keyrotor incident status") from None
