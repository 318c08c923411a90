"""The use case `incident report`: all that the record knows of an incident, told to those who were not there.

Rules:
1. It is told from the record alone, and changes nothing but the file that was asked for.
2. Every text in it was cleaned of the values: people type reasons, and paths may hold anything.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, is_dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec

from keyrotor import __version__, casebook, playbook, runs
from keyrotor.casebook import Docket
from keyrotor.chain import Chain
from keyrotor.core import inquiry
from keyrotor.core.incident import Incident, State
from keyrotor.core.incident_events import Deed, Step
from keyrotor.core.inquest import Inquest, RecordState
from keyrotor.core.inquiry import Facts, Told
from keyrotor.core.model import Source, Value
from keyrotor.core.response import Contained, Exposure, Frozen, Lifted, Proof, Reached, Sought
from keyrotor.errors import Exit, PlaceError, RefusedError, UsageError
from keyrotor.journal import Account
from keyrotor.paper import contents, html, markdown
from keyrotor.paper.letter import letter
from keyrotor.ports import World
from keyrotor.secret import Secret
from keyrotor.session import KEPT

FORMATS = ("html", "md", "json")
_Fact = TypeVar("_Fact")


class Archive(World, Protocol):
    """A world that knows which of its texts tell a value."""

    def cleaner(
        self, secrets: Sequence[Secret], others: Sequence[Secret], known: frozenset[str]
    ) -> Callable[[str], str]:
        """What makes a text one that may be shown: without any of these values or a piece of one, any of the others as
        a whole, a word whose fingerprint is known, or anything that looks like a key."""


def report(world: Archive, case: str | None) -> Inquest:
    """All that is known of the incident of that name, else of the newest. Raises UsageError, JournalError."""
    docket = _meant(world, case)
    every = runs.accounts(world)
    accounts = [each for each in every if each.run.plan.incident == docket.id]
    facts = _facts(docket.incident)
    clean, doubts = _cleaner(world, docket, accounts, every)
    told = Told(docket.incident, docket.timed, [_run(each) for each in accounts], facts, _record(world), doubts)
    found = _cleaned(inquiry.inquest(told, world.now(), __version__), clean)
    assert isinstance(found, Inquest)
    return found


def rendered(inquest: Inquest, form: str) -> str:
    """The report in one of `FORMATS`."""
    if form == "json":
        return json.dumps(as_json(inquest), ensure_ascii=False, indent=2) + "\n"
    page = contents.page(inquest)
    return html.written(page) if form == "html" else markdown.written(page)


def as_json(inquest: Inquest) -> dict[str, Any]:
    """The one object that `incident report --json` prints (docs/reference/json.md)."""
    window = inquest.window
    told = msgspec.to_builtins(_in_utc(inquest))
    return {
        "schema": 1,
        "kind": contents.KIND,
        "exit": int(Exit.DONE),
        "incident": told.pop("id"),
        **told,
        "fate": str(inquest.fate),
        "until": _in_utc(inquest.until),
        "window_seconds": window.total_seconds() if window is not None else None,
        "letter": letter(inquest),
    }


def save(world: World, inquest: Inquest, form: str, file: Path) -> None:
    """Write it into a private file, in place of another report and of nothing else. Raises PlaceError, UsageError."""
    try:
        world.save(file, rendered(inquest, form).encode(), lambda there: contents.KIND.encode() in there[:400])
    except UsageError:
        raise UsageError(f"cannot write {file}: it is there already, and is no report of an incident") from None


# -- what is on record


def _meant(world: World, case: str | None) -> Docket:
    if case is not None:
        return casebook.docket(world.state, case)
    dockets = casebook.dockets(world.state)
    if not dockets:
        hint = "keyrotor incident open --reason …  (if a key has leaked)"
        raise UsageError("cannot report an incident: none is on record", hint=hint)
    return dockets[-1]


def _run(account: Account) -> tuple[Any, Any]:
    return account.run, [(entry.at, entry.event) for entry in account.entries]


def _record(world: World) -> RecordState:
    """How far the record goes, and whether it can be believed."""
    with Chain.peek(world.state) as chain:
        last = max(chain.lasts(), key=lambda entry: entry.seq)
    verdict = runs.verify(world)
    fault = verdict.fault.said if verdict.fault else ""
    key = verdict.head.key if verdict.head else ""
    return RecordState(last.seq, last.chain, key, fault or verdict.brief, is_whole=not fault)


def _facts(incident: Incident) -> Facts:
    """What the steps that are done have recorded; one of another version is told, and stops nothing."""
    unread: list[str] = []

    def read(step: Step, kind: type[_Fact], name: str = "") -> list[_Fact]:
        stand = incident.stand(step)
        # What is contained stays so while that is tried again; of another step that is begun anew nothing is known yet.
        is_told = stand.state in (State.DONE, State.FAILED) or step.deed is Deed.CONTAIN
        if not is_told or not stand.facts:
            return []
        try:
            return [msgspec.convert(each, kind) for each in (stand.facts.get(name, ()) if name else (stand.facts,))]
        except (msgspec.ValidationError, TypeError):
            unread.append(step.id)
            return []

    proofs = {name: read(Step(Deed.PROVE, name), Proof) for name in incident.case.playbooks}
    again = read(Step(Deed.LIFT), Proof, "proofs")
    return Facts(
        frozen=tuple(read(Step(Deed.FREEZE), Frozen, "gateways")),
        contained=tuple(read(Step(Deed.CONTAIN), Contained, "gateways")),
        proofs={name: found[0] for name, found in proofs.items() if found},
        lifted=tuple(read(Step(Deed.LIFT), Lifted, "gateways")),
        again=dict(zip(incident.case.playbooks, again, strict=False)),
        sought=next(iter(read(Step(Deed.SWEEP), Sought)), None),
        exposures=tuple(read(Step(Deed.EXPOSURE), Exposure, "gateways")),
        reached=tuple(read(Step(Deed.REACH), Reached, "upstream")),
        unread=tuple(dict.fromkeys(unread)),
    )


# -- what may be shown


def _cleaner(
    world: Archive, docket: Docket, accounts: Sequence[Account], every: Sequence[Account]
) -> tuple[Callable[[str], str], tuple[str, ...]]:
    """What makes a text one that may be shown; and why it cannot know every value."""
    secrets, others, doubts = list[Secret](), list[Secret](), list[str]()
    for source, values in _readable(world, docket, accounts, doubts):
        secrets += [value for name, value in values.items() if name == source.key]
        others += [value for name, value in values.items() if name != source.key]
    known = {mark for each in every for mark in each.run.plan.fingerprints.values() if mark}
    return world.cleaner(secrets, others, frozenset(known)), tuple(dict.fromkeys(doubts))


def _readable(
    world: World, docket: Docket, accounts: Sequence[Account], doubts: list[str]
) -> Iterator[tuple[Source, Mapping[str, Secret]]]:
    """The values in the encrypted files as they are now, and in what the runs have kept."""
    for source in _sources(world, docket, accounts):
        try:
            yield source, world.read_secret(source, to_set=False)[1]
        except (PlaceError, RefusedError) as error:
            doubts.append(
                f"whether a text of this report shows a value: they could not be read to be looked for: {error}"
            )
    for account in accounts:
        source, folder = account.run.plan.source, world.state / "runs" / account.id
        for value in Value:
            try:
                yield source, world.read_copy(source, folder / KEPT[value])
            except (PlaceError, RefusedError):
                continue  # forgotten with the incident's close: then its fingerprint tells it


def _sources(world: World, docket: Docket, accounts: Sequence[Account]) -> Iterator[Source]:
    """Where the keys are kept: as the runs have it, or else the playbooks."""
    known = {each.run.plan.playbook: each.run.plan.source for each in accounts}
    yield from known.values()
    for name, path in docket.incident.case.playbooks.items():
        with suppress(UsageError):  # a playbook that is gone or broken: then no run of it has read a value either
            if name not in known:
                yield playbook.load(Path(path), world.env).source


def _cleaned(found: Any, clean: Callable[[str], str]) -> Any:
    """The same, with every text in it cleaned."""
    if type(found) is str:  # and no word of an enum
        return clean(found)
    if isinstance(found, tuple):
        return tuple(_cleaned(each, clean) for each in found)
    if isinstance(found, Mapping):
        return {name: _cleaned(each, clean) for name, each in found.items()}
    if is_dataclass(found) and not isinstance(found, type):
        return replace(found, **{field.name: _cleaned(getattr(found, field.name), clean) for field in fields(found)})
    return found


def _in_utc(found: Any) -> Any:
    """The same, with its times as every command prints them."""
    if isinstance(found, datetime):
        return found.astimezone(UTC).isoformat()
    if isinstance(found, tuple):
        return tuple(map(_in_utc, found))
    if is_dataclass(found) and not isinstance(found, type):
        return replace(found, **{field.name: _in_utc(getattr(found, field.name)) for field in fields(found)})
    return found
