"""The time line of an incident, from the events of its record and of its runs. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from keyrotor.core.incident import Incident
from keyrotor.core.incident_events import (
    Began,
    Chosen,
    Did,
    Event,
    IncidentClosed,
    IncidentOpened,
    Missed,
    Ticked,
    Undone,
)
from keyrotor.core.inquest import Moment
from keyrotor.core.machine import Closed, Failed, Moved, Moving, Opened, Resumed, Run, TurnedBack
from keyrotor.core.model import Act, Outcome
from keyrotor.core.report import Timed as RunTimed

Timed = tuple[datetime, Event]


def moments(
    case: Incident, timed: Sequence[Timed], runs: Sequence[tuple[Run, Sequence[RunTimed]]]
) -> tuple[Moment, ...]:
    """Everything that happened, the earliest first; of what happened at one moment, as it was recorded."""
    found = [*_before(case), *_of_incident(timed)]
    found += [moment for run, events in runs for moment in _of_run(run, events)]
    return tuple(sorted(found, key=lambda moment: moment.at))


def moment(text: str) -> datetime | None:
    """A time as the record writes it; None where there is none."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo else None


def closed_at(timed: Sequence[tuple[datetime, object]]) -> datetime | None:
    """When it came to its present end; None while it is not closed."""
    ends = [at for at, event in timed if isinstance(event, IncidentClosed | Closed)]
    return ends[-1] if ends else None


def _before(case: Incident) -> Iterator[Moment]:
    for text, what in (
        (case.case.exposed, "others could use the key from here on, as whoever opened the incident says"),
        (case.case.detected, "it was noticed"),
    ):
        if at := moment(text):
            yield Moment(at, what, "said at the opening")


def _of_incident(timed: Sequence[Timed]) -> Iterator[Moment]:
    texts = [text for _, event in timed if isinstance(event, Did) for text in event.tasks]
    tasks = dict(enumerate(texts, 1))  # also those of a step that was undone
    began: dict[str, datetime] = {}
    for at, event in timed:
        match event:
            case Began(step):
                if step in began:
                    yield _cut(began[step], step)
                began[step] = at
            case Did(step, said):
                yield Moment(at, said or "done", step, began.pop(step, None))
            case Missed(step, reason):
                yield Moment(at, f"could not be done: {reason}", step, began.pop(step, None), is_ill=True)
            case _:
                yield _by_a_person(at, event, tasks)
    yield from (_cut(at, step) for step, at in began.items())


def _by_a_person(
    at: datetime, event: IncidentOpened | Undone | Chosen | Ticked | IncidentClosed, tasks: Mapping[int, str]
) -> Moment:
    match event:
        case IncidentOpened(opened):
            return Moment(at, f"the incident was opened{f' by {opened.by}' if opened.by else ''}", "open")
        case Undone(step, reason):
            return Moment(at, f"undone: {reason}", step, is_ill=True)
        case Chosen(contain):
            return Moment(at, f"how it is contained was chosen anew: {contain}", "contain")
        case Ticked(number):
            return Moment(at, f"ticked off: {tasks.get(number, f'task {number}')}", "done")
        case IncidentClosed(cause, forced):
            more = f"; closed though something was open: {forced}" if forced else ""
            return Moment(at, f"the incident was closed. Cause: {cause}{more}", "close")


def _cut(at: datetime, step: str) -> Moment:
    """A beginning without an end: whoever did it was killed, or does it now."""
    return Moment(at, "begun; its end is not on record", step, is_ill=True)


def _of_run(run: Run, timed: Sequence[RunTimed]) -> Iterator[Moment]:
    """What those who were not there want to know of a run: not every file."""
    rows = {row.id: row for row in run.plan.rows}
    by = f"run {run.plan.run}"
    began: dict[str, datetime] = {}
    for at, event in timed:
        match event:
            case Moving(row):
                began[row] = at
            case Opened():
                yield Moment(at, f"a new value for {run.plan.source.key} is made and kept, encrypted", by)
            case Moved(row, value) if rows[row].act in _NOTABLE:
                said = _NOTABLE[rows[row].act].format(label=rows[row].label, value=value, other=value.other)
                yield Moment(at, said, by, began.get(row))
            case Failed(row, _, reason):
                yield Moment(at, f"{rows[row].label}: {reason}", by, began.get(row), is_ill=True)
            case TurnedBack(reason):
                yield Moment(at, f"turned back to the old key: {reason}", by, is_ill=True)
            case Resumed():
                yield Moment(at, "taken up again", by)
            case Closed(outcome, reason):
                said = f"ended: {outcome}{f' ({reason})' if reason else ''}"
                yield Moment(at, said, by, is_ill=outcome is not Outcome.ROTATED)


_NOTABLE = {
    Act.RESTART: "{label} runs with the {value} key",
    Act.ADMIT: "{label} accepts the {value} key",
    Act.RETIRE: "{label} refuses the {other} key",
}
