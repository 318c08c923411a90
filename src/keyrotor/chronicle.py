"""What the record tells a person: `status` and `log`. Pure: accounts in, lines or JSON out."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from keyrotor.core import decide
from keyrotor.core.due import ago
from keyrotor.core.hash_chain import OF_HEAD
from keyrotor.core.head import FILE, Verdict
from keyrotor.core.machine import Closed, Failed, Moved, Moving, Passed, TurnedBack
from keyrotor.core.model import Outcome, Task, Value
from keyrotor.core.report import outage, still_open
from keyrotor.core.ways import ways
from keyrotor.errors import JournalError, UsageError
from keyrotor.journal import Account, Entry

NOBODY: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Told:
    """The same thing twice: for a person, and for a program."""

    text: tuple[str, ...]
    data: dict[str, Any]

    def lines(self) -> tuple[str, ...]:
        return self.text

    def as_json(self) -> dict[str, Any]:
        return {"schema": 1, **self.data}


def status(
    accounts: Sequence[Account], now: datetime, at_work: Mapping[str, str] = NOBODY, held: Mapping[str, str] = NOBODY
) -> Told:
    """Owed runs first, then every key's last rotation, and what is left to a person. `at_work`: the runs that are under
    way just now, and whose process it is; `held`: those whose lock somebody holds, and who."""
    owed = [account for account in accounts if account.run.is_owed]
    last: dict[tuple[str, str], Account] = {}
    for account in accounts:
        if account.run.has_rotated or account.run.outcome is Outcome.ABANDONED:
            source = account.run.plan.source
            last[source.file, source.key] = account
    text = [line for one in owed for line in _owed_lines(one, at_work.get(one.id, ""), held.get(one.id, ""))]
    text += [_age_line(account, now) for account in last.values()]
    todo = still_open([account.run for account in accounts])
    text += [f"to do: {task.text}  (then: keyrotor done {task.id})" for task in todo]
    data = {
        "owed": [
            {
                "run": account.id,
                "state": "under-way" if account.id in at_work else _state(account),
                "goal": str(account.run.goal),
                "playbook": account.run.plan.playbook,
            }
            for account in owed
        ],
        "keys": [_age(account, now) for account in last.values()],
        "todo": [_task(task) for task in todo],
    }
    return Told(tuple(text) or ("nothing is owed; no key was rotated here yet",), data)


def done(tasks: Sequence[Task]) -> Told:
    """What was ticked off."""
    return Told(tuple(f"done: {task.text}" for task in tasks), {"done": [_task(task) for task in tasks]})


def _task(task: Task) -> dict[str, str]:
    return {"id": task.id, "place": task.row, "text": task.text}


def _state(account: Account) -> str:
    return "stuck" if decide.is_stuck(account.run) else "interrupted"


def _owed_lines(account: Account, who: str, holder: str) -> list[str]:
    plan = account.run.plan
    where = f"run {account.id} of {plan.playbook}, on the way to the {account.run.goal} key"
    if who:
        return [f"UNDER WAY: {where}: {who} is at work", f"  how far it is: keyrotor log {account.id}"]
    state = _state(account).upper()
    if holder:
        return [f"{state}: {where}; its lock is held by {holder}", f"  {ways(account.run)}   once {holder} has ended"]
    return [f"{state}: {where}", f"  {ways(account.run)}"]


def _age(account: Account, now: datetime) -> dict[str, Any]:
    plan = account.run.plan
    return {
        "key": plan.source.key,
        "file": plan.source.file,
        "playbook": plan.playbook,
        "run": account.id,
        "outcome": str(account.run.outcome),
        "rotated": _closed(account).isoformat(),
        "age_seconds": (now - _closed(account)).total_seconds(),
        "fingerprint": plan.fingerprints[Value.NEW],
        "tasks": dict(account.run.tasks),
    }


def _age_line(account: Account, now: datetime) -> str:
    plan = account.run.plan
    if account.run.outcome is Outcome.ABANDONED:
        return f"{plan.source.key}: run {account.id} was abandoned ({account.run.reason}); what holds what is not known"
    proof = "old key proven dead" if account.run.outcome is Outcome.ROTATED else "OLD KEY NOT PROVEN DEAD"
    when = f"{_closed(account).astimezone():%Y-%m-%d %H:%M}"
    return f"{plan.source.key}: {ago(now - _closed(account))} old, {proof} {when}, run {account.id} ({plan.playbook})"


def _closed(account: Account) -> datetime:
    return account.closed or account.opened


def log(accounts: Sequence[Account], run: str | None) -> Told:
    """Every run, or every event of one. Raises UsageError for a run that is not there."""
    if run is None:
        runs = [_run_data(account) for account in accounts]
        return Told(tuple(map(_run_line, accounts)) or ("the record is empty",), {"runs": runs})
    found = [account for account in accounts if account.id.startswith(run)]
    if len(found) != 1:
        raise UsageError(
            f"cannot find run {run}: {'no such run' if not found else 'several begin with it'}", hint="keyrotor log"
        )
    account = found[0]
    events = [{"seq": e.seq, "at": e.at.isoformat(), "event": e.kind, "detail": _detail(e)} for e in account.entries]
    return Told(tuple(_entry_line(entry) for entry in account.entries), {**_run_data(account), "events": events})


def disbelief(verdict: Verdict, state: Path) -> JournalError | None:
    """What is said of a record with a fault."""
    if verdict.fault is None:
        return None
    hint = f"look who wrote in {state}, and restore it from a backup"
    if verdict.fault.flaw in OF_HEAD:
        files = shlex.join(str(state / name) for name in (FILE, "record.key"))
        hint += f"; or, once you know why: rm -f {files}; keyring del keyrotor record-key  (begins with another key)"
    return JournalError(f"cannot believe the record: {verdict.fault.said}", hint=hint)


def _run_data(account: Account) -> dict[str, Any]:
    plan = account.run.plan
    timed = [(entry.at, entry.event) for entry in account.entries]
    return {
        "run": account.id,
        "playbook": plan.playbook,
        "opened": account.opened.isoformat(),
        "closed": account.closed.isoformat() if account.closed else None,
        "outcome": str(account.run.outcome or _state(account)),
        "why": plan.reason,
        "reason": account.run.reason,
        "outage": outage(account.run, timed),
        "fingerprints": {str(value): name for value, name in plan.fingerprints.items()},
    }


def _run_line(account: Account) -> str:
    outcome = account.run.outcome or _state(account)
    why = f"  {account.run.plan.reason}" if account.run.plan.reason else ""
    return (
        f"{account.id}  {account.opened.astimezone():%Y-%m-%d %H:%M}  {outcome:<12}  {account.run.plan.playbook}{why}"
    )


def _entry_line(entry: Entry) -> str:
    return f"{entry.at.astimezone():%Y-%m-%d %H:%M:%S}  {entry.kind:<11}  {_detail(entry)}".rstrip()


def _detail(entry: Entry) -> str:
    match entry.event:
        case Moving(row, value):
            return f"{row} to {value}"
        case Moved(row, _, said) | Failed(row, _, said):
            return f"{row}: {said}"
        case Passed(row, _, holds):
            return f"{row}: left, it holds {holds}"
        case TurnedBack(reason):
            return reason
        case Closed(outcome, reason):
            return f"{outcome}: {reason}" if reason else str(outcome)
        case event:
            return str(getattr(event, "reason", "") or getattr(event, "row", ""))
