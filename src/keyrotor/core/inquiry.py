"""From the record of an incident and of its runs to an Inquest: what is proven, what is not known, what is left. Pure.

What nobody has looked at is told as unknown, never as none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from keyrotor.core import decide, fates
from keyrotor.core.incident import Incident, Stand, State
from keyrotor.core.incident_events import Case, Deed, Did, Missed, Step
from keyrotor.core.inquest import Answer, Evidence, Fate, Inquest, Key, Ran, RecordState, Search, Stage, Todo
from keyrotor.core.machine import Failed, Moved, Run
from keyrotor.core.marks import Step as Mark
from keyrotor.core.model import Act, Outcome, Row, Value
from keyrotor.core.narrative import Timed, closed_at, moment, moments
from keyrotor.core.report import Timed as RunTimed
from keyrotor.core.report import outage
from keyrotor.core.response import Contained, Exposure, Frozen, Lifted, Proof, Reached, Sought
from keyrotor.core.swept import Hit

ELSEWHERE = (
    "copies that have left this machine (clones, forks, backups, chats, screenshots), and who has one: "
    "only this machine was looked at"
)


@dataclass(frozen=True, slots=True)
class Facts:
    """What the steps have found out, read from their events."""

    frozen: tuple[Frozen, ...] = ()
    contained: tuple[Contained, ...] = ()
    proofs: Mapping[str, Proof] = field(default_factory=dict)  # by playbook; none of a step that is begun anew
    lifted: tuple[Lifted, ...] = ()
    again: Mapping[str, Proof] = field(default_factory=dict)  # by playbook: once the containment had ended
    sought: Sought | None = None
    exposures: tuple[Exposure, ...] = ()
    reached: tuple[Reached, ...] = ()
    unread: tuple[str, ...] = ()  # steps whose facts are of another version


@dataclass(frozen=True, slots=True)
class Told:
    """All that is on record of an incident."""

    incident: Incident
    timed: Sequence[Timed]
    runs: Sequence[tuple[Run, Sequence[RunTimed]]]  # oldest first
    facts: Facts
    record: RecordState
    doubts: tuple[str, ...] = ()  # what could not be read just now


def inquest(told: Told, now: datetime, version: str) -> Inquest:
    """What all of it comes to."""
    case, facts = told.incident.case, told.facts
    keys = tuple(
        fates.key(told.incident, told.runs, name, facts.proofs.get(name), facts.again.get(name))
        for name in case.playbooks
    )
    sought = facts.sought
    contained_at = _ended(told, Deed.CONTAIN) if any(map(_keeps_away, facts.contained)) else None
    is_lifted = told.incident.stand(Step(Deed.LIFT)).state is State.DONE
    return Inquest(
        id=case.id,
        title=_title(keys),
        reason=case.reason,
        by=case.by,
        contain=case.contain,
        opened=told.timed[0][0],
        detected=moment(case.detected) or told.timed[0][0],
        contained_at=contained_at,
        lifted_at=_ended(told, Deed.LIFT) if contained_at and is_lifted else None,
        exposed=moment(case.exposed),
        earliest=_earliest(case, facts),
        closed=closed_at(told.timed),
        cause=told.incident.cause,
        forced=told.incident.forced,
        made=now,
        keyrotor=version,
        keys=keys,
        steps=tuple(_stage(step, told.incident.stand(step)) for step in case.steps),
        moments=moments(told.incident, told.timed, told.runs),
        runs=tuple(_ran(run, timed) for run, timed in told.runs),
        contained=facts.contained,
        lifted=facts.lifted,
        search=_search(sought) if sought else None,
        leaks=_leaks(sought) if sought else (),
        left_out=sought.left_out if sought else (),
        exposures=facts.exposures,
        reached=facts.reached,
        unknown=tuple(_unknown(told, keys)),
        todo=tuple(_tasks(told, keys)),
        evidence=_evidence(facts),
        record=told.record,
    )


# -- the keys and the runs


def _title(keys: Sequence[Key]) -> str:
    return f"Leaked: {', '.join(dict.fromkeys(key.name or key.playbook for key in keys))}"


def _ran(run: Run, timed: Sequence[RunTimed]) -> Ran:
    return Ran(
        run=run.plan.run,
        playbook=run.plan.playbook,
        outcome=str(_outcome(run)),
        opened=timed[0][0],
        closed=None if run.is_owed else closed_at(timed),
        outage=outage(run, timed),
        old=run.plan.fingerprints.get(Value.OLD, ""),
        new=run.plan.fingerprints.get(Value.NEW, ""),
        answers=tuple(_answer(run, row, timed) for row in run.plan.rows if row.act.is_proof),
        reason=run.reason,
    )


def _outcome(run: Run) -> Outcome:
    if run.outcome and not run.is_owed:
        return run.outcome
    return Outcome.STUCK if decide.is_stuck(run) else Outcome.INTERRUPTED


def _answer(run: Run, row: Row, timed: Sequence[RunTimed]) -> Answer:
    mark = run.mark(row)
    goal = run.goal
    asked = f"accepts the {goal} key" if row.act is Act.ADMIT else f"refuses the {goal.other} key"
    ends = [at for at, event in timed if isinstance(event, Moved | Failed) and event.row == row.id]
    said = mark.reason if mark.step is Mark.FAILED else mark.detail
    is_proven = mark.step is Mark.MOVED and not mark.unproven
    return Answer(row.place, row.label, asked, is_proven, said, ends[-1] if ends else None)


# -- what stands around them


def _earliest(case: Case, facts: Facts) -> datetime | None:
    """Where nobody knows since when a key is exposed: since when it was the key at all."""
    found = [moment(each.since) for each in facts.exposures] if not case.exposed else []
    known = [at for at in found if at]
    return min(known) if known and len(known) == len(found) else None


def _keeps_away(contained: Contained) -> bool:
    """Whether it has changed who reaches the gateway."""
    has_changed = contained.restarts or contained.listened != contained.listens
    return contained.how != "none" and not contained.missed and has_changed


def _ended(told: Told, deed: Deed) -> datetime | None:
    """When the step came to what is known of it: at one gateway of several, also if it failed."""
    ends = [at for at, event in told.timed if isinstance(event, Did | Missed) and event.step == deed]
    return ends[-1] if ends else None


def _leaks(sought: Sought) -> tuple[Hit, ...]:
    return tuple(hit for hit in sought.hits if not hit.whose)


def _search(sought: Sought) -> Search:
    leaks = len(sought.hits) + sought.more - sought.own
    return Search(sought.files, sought.size, sought.seconds, sought.own, max(0, leaks - len(_leaks(sought))))


def _stage(step: Step, stand: Stand) -> Stage:
    return Stage(step.id, str(stand.state), stand.said, stand.hint)


def _evidence(facts: Facts) -> Evidence:
    return Evidence(
        folders=tuple(dict.fromkeys(each.folder for each in facts.frozen)),
        exhibits=tuple(exhibit for each in facts.frozen for exhibit in each.exhibits),
        places=tuple(place for each in facts.frozen for place in each.places),
    )


# -- what is not known


def _unknown(told: Told, keys: Sequence[Key]) -> Iterator[str]:
    facts, case = told.facts, told.incident.case
    if not moment(case.exposed):
        yield "since when others could use the key: nobody has said so (incident open --exposed-since)"
    for key in keys:
        if key.fate is not Fate.DEAD:
            yield f"whether somebody can still use the old key of {key.playbook}: {key.why}"
    yield from _unknown_use(told)
    if not facts.frozen:
        yield f"what the logs and files said before anything was changed: {_state(told, Deed.FREEZE)}"
    yield from (f"evidence that could not be kept: {what}" for each in facts.frozen for what in each.missing)
    if facts.sought is None:
        yield f"where else on this machine the old key stands: {_state(told, Deed.SWEEP)}"
    elif facts.sought.left_out:
        yield "whether the old key stands in what was not looked into: listed under where it was found"
    if told.incident.stand(Step(Deed.REACH)).state is not State.DONE:
        yield f"which upstream keys could be used through the gateway: {_state(told, Deed.REACH)}"
    yield from (f"what step {step} has found: its record is of another version" for step in facts.unread)
    if not told.record.is_whole:
        yield f"whether the record is as it was written: {told.record.said}"
    yield from told.doubts
    yield ELSEWHERE


def _unknown_use(told: Told) -> Iterator[str]:
    if not told.facts.exposures:
        asked = _state(told, Deed.EXPOSURE)
        yield f"what was made at the gateway with the key, and what it was used for: {asked}"
    for each in told.facts.exposures:
        if not each.is_known:
            yield f"what was made at the gateway of {each.playbook} with the key: {each.why or 'it could not be asked'}"
        if not each.used or each.used.startswith("unknown"):
            why = each.used.removeprefix("unknown").lstrip(": ") or "nothing here records it"
            yield f"whether the key of {each.playbook} was used by others: {why}"


def _state(told: Told, deed: Deed) -> str:
    """Why a step has told nothing."""
    stand = told.incident.stand(Step(deed))
    words = {State.FAILED: stand.said, State.BEGUN: "the step was begun, and its end is not on record"}
    return words.get(stand.state) or "the step is not done yet"


# -- what is left


def _tasks(told: Told, keys: Sequence[Key]) -> Iterator[Todo]:
    """What is to be done, in the order in which it can be."""
    case = told.incident.case
    is_closed = told.incident.is_closed
    owed = [run for run, _ in told.runs if run.is_owed]
    for run in owed:
        yield Todo(f"finish run {run.plan.run} of {run.plan.playbook}", f"keyrotor resume {run.plan.run}")
    alive = ", ".join(key.playbook for key in keys if key.fate is Fate.ALIVE)
    still_open = [step.id for step in told.incident.open_steps]
    if is_closed and alive:
        yield Todo(f"replace the leaked key of {alive}: it is in force", "keyrotor incident open --reason …")
    elif still_open and not is_closed:
        steps = f"{len(still_open)} step{'s' if len(still_open) > 1 else ''}"
        yield Todo(f"go on with the incident, {steps} not done: {', '.join(still_open)}", resume_command(case.id))
    elif alive:
        yield Todo(f"go on with the incident: the leaked key of {alive} is in force again", resume_command(case.id))
    for run, _ in told.runs:
        yield from (Todo(task.text, f"keyrotor done {task.id}") for task in run.open_tasks)
    yield from (Todo(text, f"keyrotor done {name}") for name, text in told.incident.open_tasks)
    if not told.record.is_whole:
        yield Todo("find out why the record cannot be believed", "keyrotor log --verify")
    if not is_closed:
        yield Todo("close the incident, once all of this is done", f"keyrotor incident close {case.id} --cause …")


def resume_command(case: str) -> str:
    return f"keyrotor incident resume {case}"
