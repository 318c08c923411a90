"""The use cases of an incident: open one and go on with it, tell how it stands, close it.

Each step's intent is recorded before its effect, its result after it; a step in doubt is done again. A step that fails
is told and left open; the others are done all the same, but for those that depend on it. Nothing turns back by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from keyrotor import casebook, incident_notice, incident_playbook, lock, opening, runs
from keyrotor.casebook import Casebook, Docket
from keyrotor.casefile import CaseFile, Ground
from keyrotor.casework import Casework
from keyrotor.core import incident
from keyrotor.core.incident_events import (
    PREFIX,
    Began,
    Deed,
    Did,
    Event,
    IncidentClosed,
    IncidentOpened,
    Missed,
    Step,
    Ticked,
    Undone,
)
from keyrotor.core.machine import Phase
from keyrotor.core.model import Playbook, Task
from keyrotor.errors import (
    BusyError,
    InterruptedRun,
    JournalError,
    KeyrotorError,
    PlaceError,
    RefusedError,
    UsageError,
    internal,
)
from keyrotor.forgetting import forget, looked_for
from keyrotor.journal import Journal
from keyrotor.proceedings import Closed, Standing
from keyrotor.secret import Secret
from keyrotor.session import discard_unopened

FOLDER = "incidents"  # in the state folder


def begin(world: Ground, wish: opening.Wish) -> Standing | None:
    """Open an incident and do its steps; None if the person does not agree. Raises what refuses it; then nothing was
    changed."""
    response = incident_playbook.find(wish.response, world.folder, world.env)
    incident_playbook.want_a_secret(response)
    values = [secret for each in response.books for secret in _values(world, each)]
    reason = opening.recorded("--reason", wish.reason, lambda text: world.tells(text, values))
    wish = replace(wish, reason=reason)
    if refusals := world.record_refusals():
        raise RefusedError(refusals[0])
    case = opening.case_of(response, wish, PREFIX + world.run_id(), world.who(), world.now())
    with _alone(world):
        _want_none_open(world, wish, response.books)
        for line in opening.lines(case):
            world.screen.say(line)
        if not world.screen.agrees((), "Begin now?"):
            return None
        with Casebook.open(world.state) as book:
            book.append(case.id, IncidentOpened(case), world.now())
        return _go_on(world, case.id)


def resume(world: Ground, case: str | None, contain: str = "", exposed: str = "") -> Standing | None:
    """Go on with the incident that is open: what failed is tried again. It is contained in another way from now on, if
    one is named; and exposed since another moment. None: none is open. Raises UsageError."""
    docket = _meant(world, case, to_go_on=True)
    if docket is None:
        return None
    with _alone(world):
        docket = casebook.docket(world.state, docket.id)  # it may have been closed meanwhile
        if docket.incident.is_closed:
            hint = f"keyrotor incident report {docket.id}"
            raise UsageError(f"cannot go on with {docket.id}: it is closed", hint=hint)
        over = docket.incident.is_moot(Step(Deed.CONTAIN)) and not CaseFile(world, docket.incident).revived()
        if contain and over:
            why = f"cannot contain it anew: strangers were let in again in {docket.id}, for the old key is dead"
            raise UsageError(why, hint=f"keyrotor incident status {docket.id}")
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
        docket = casebook.docket(world.state, docket.id)  # another may have been faster
        if docket.incident.is_closed:
            notes += ["it was closed before: its cause stays as it is"]
        else:
            _want_nothing_open(_standing(world, docket), forced)
            with Casebook.open(world.state) as book:
                notes += _let_in(world, book, docket)
                book.append(docket.id, IncidentClosed(cause, forced), world.now())
                docket = book.docket(docket.id)
            notes += incident_notice.tell(world, _standing(world, docket))
    notes += [f"the leaked key of {name} is in force: it is not replaced" for name in files.alive()]
    over = [each.id for each in files.kept_by() if not each.run.is_owed]
    with Journal.peek(world.state) as journal:
        wanted = looked_for(journal)
    notes += [f"the former value of run {run} is kept: {wanted[run]} looks for it" for run in over if run in wanted]
    forgotten = [run for each in over if each not in wanted for run in forget(world, each)]
    with Journal.open(world.state) as journal:
        discard_unopened(journal)
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
        book.append(docket.id, Ticked(int(number)), world.now())
        return Task(f"{docket.id}-{number}", docket.id, text)


def _want_none_open(world: Ground, wish: opening.Wish, books: Sequence[Playbook]) -> None:
    """Raises UsageError while an incident of one of these keys has steps to do. One that is left to people stands in
    nobody's way: what has leaked since then is the key that it has made."""
    for docket in casebook.still_open(world.state):
        files = CaseFile(world, docket.incident)
        shared = files.shared(books)
        has_new = bool(set(shared) - set(files.alive()))
        if shared and _has_steps(world, docket) and not (wish.another and has_new):
            raise opening.in_the_way(docket.id, docket.incident.case, len(docket.incident.open_steps), has_new=has_new)


def _has_steps(world: Ground, docket: Docket) -> bool:
    """Whether there is anything in it to go on with."""
    return bool(docket.incident.open_steps or CaseFile(world, docket.incident).revived())


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
            book.append(case, Undone(Step(Deed.ROTATE, name).id, reason), world.now())
        while step := incident.next_step(book.docket(case).incident, frozenset(failed)):
            world.screen.say(f"{step.id} …")
            world.stop.is_firm = False  # a rotation that is over has stood firm; what comes now can be stopped
            try:
                book.append(case, Began(step.id), world.now())
                world.stop.raise_if_asked()
                event = _done(world, book.docket(case), step)
                book.append(case, event, world.now())
            except InterruptedRun as asked:
                why = f"interrupted by {asked}"
                break
            except JournalError as error:
                why = str(error)
                break
            failed |= {step.id} if isinstance(event, Missed) else set()
            world.screen.say(_said(step, event))
        docket = book.docket(case)
    standing = _standing(world, docket, why)
    for note in incident_notice.tell(world, standing):
        world.screen.say(f"note: {note}")
    return standing


def _done(world: Ground, docket: Docket, step: Step) -> Event:
    try:
        result = Casework(world, docket.incident).do(step)
    except InterruptedRun:
        raise
    except Exception as error:  # noqa: BLE001  a bug of ours in one step must not keep the others from being done
        why = error if isinstance(error, KeyrotorError) else internal(error)
        return Missed(step.id, str(why), why.hint)
    if result.is_missed:
        return Missed(step.id, result.said, result.hint, result.facts)
    return Did(step.id, result.said, result.facts, result.tasks)


def _said(step: Step, event: Event) -> str:
    if isinstance(event, Missed):
        reason = event.reason.replace("\n", "\n    ")
        return f"  ✗ {step.id}: {reason}" + (f"\n    hint: {event.hint}" if event.hint else "")
    return f"  ✓ {step.id}: {getattr(event, 'said', '')}"


def _let_in(world: Ground, book: Casebook, docket: Docket) -> list[str]:
    """End the containment of an incident that is closed before its time; what came of it."""
    if not docket.incident.is_contained:
        return []
    step = Step(Deed.LIFT)
    book.append(docket.id, Began(step.id), world.now())
    event = _done(world, docket, step)
    book.append(docket.id, event, world.now())
    return [f"{step.id}: {event.reason if isinstance(event, Missed) else getattr(event, 'said', '')}"]


def _unforgotten(world: Ground) -> Docket | None:
    """The newest incident that was closed, and whose values are still kept: its close was cut off."""
    kept = {each.run.plan.incident for each in runs.accounts(world) if each.run.phase is Phase.CLOSED}
    return next((docket for docket in reversed(casebook.dockets(world.state)) if docket.id in kept), None)


def _standing(world: Ground, docket: Docket, why: str = "") -> Standing:
    own = [Task(name, docket.id, text) for name, text in docket.incident.open_tasks]
    mine = [each.run for each in runs.accounts(world) if each.run.plan.incident == docket.id]
    revived = CaseFile(world, docket.incident).revived()
    return Standing(docket, (*(task for run in mine for task in run.open_tasks), *own), why, tuple(revived))


def _meant(world: Ground, case: str | None, *, to_go_on: bool = False) -> Docket | None:
    """The incident that is meant: the named one, else the only one that is open; to go on, the only one that has
    anything to go on with. Raises UsageError for several."""
    if case is not None:
        return casebook.docket(world.state, case)
    found = casebook.still_open(world.state)
    if len(found) > 1 and to_go_on:
        found = [docket for docket in found if _has_steps(world, docket)] or found
    if len(found) > 1:
        names = ", ".join(f"{docket.id} ({docket.incident.case.reason})" for docket in found)
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
