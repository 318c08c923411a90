"""What each step of an incident does: one deed for every gateway, its facts, and what it leaves to a person.

Each may be done again after a kill anywhere. Raises KeyrotorError where a step cannot be done; then it stays open.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from keyrotor import app, runs, sweep
from keyrotor.casefile import CaseFile, Ground
from keyrotor.core import machine, plan, urgent
from keyrotor.core.incident import Incident
from keyrotor.core.incident_events import Deed, Step
from keyrotor.core.model import Outcome, Playbook, Value
from keyrotor.core.report import Report, of_run
from keyrotor.core.response import Exposure, Frozen, Proof, Reached, Rotated, sought
from keyrotor.errors import BusyError, InterruptedRun, PlaceError, RefusedError
from keyrotor.journal import Account
from keyrotor.ports.responding import Responder
from keyrotor.secret import Secret

_Fact = TypeVar("_Fact")
EVERY = timedelta(seconds=10)  # between two words on how far a sweep is
PATIENCE = timedelta(minutes=10)  # with a run that holds the lock; one takes some seconds, and ends by itself
BEFORE = timedelta(days=1)  # of the logs that are kept, where nobody knows since when the key is exposed


@dataclass(frozen=True, slots=True)
class Result:
    """What a step has come to."""

    said: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    tasks: tuple[str, ...] = ()
    is_missed: bool = False  # whether it has not come to what it is for
    hint: str = ""


class Casework:
    """The steps of one incident, on one world."""

    def __init__(self, world: Ground, incident: Incident) -> None:
        self._world = world
        self._file = CaseFile(world, incident)
        self._deeds: Mapping[Deed, Callable[[Step], Result]] = {
            Deed.FREEZE: self._freeze,
            Deed.CONTAIN: self._contain,
            Deed.ROTATE: self._rotate,
            Deed.PROVE: self._prove,
            Deed.LIFT: self._lift,
            Deed.SWEEP: self._sweep,
            Deed.EXPOSURE: self._exposure,
            Deed.REACH: self._reach,
        }

    def do(self, step: Step) -> Result:
        """Do the step. Raises KeyrotorError, InterruptedRun."""
        return self._deeds[step.deed](step)

    # -- evidence and containment

    def _freeze(self, _: Step) -> Result:
        folder = self._world.state / "incidents" / self._file.case.id / "evidence"
        since = datetime.fromisoformat(self._file.case.exposed or self._file.case.detected)
        since -= timedelta() if self._file.case.exposed else BEFORE
        found: list[Frozen] = []
        for name, book in self._file.books():
            try:
                values = self._file.all_values(name)
            except (PlaceError, RefusedError):  # then only that is kept in which no value can stand
                values = None
            responder = self._world.responder(book, plan.rows(book), values)
            found.append(responder.freeze(folder / name, since, [Path(log) for log in self._file.case.logs]))
        kept = sum(len(each.exhibits) for each in found)
        missing = [what for each in found for what in each.missing]
        said = f"{kept} files of evidence are kept in {folder}"
        return Result(f"{said}; not kept: {'; '.join(missing)}" if missing else said, _facts("gateways", found))

    def _contain(self, _: Step) -> Result:
        found, reasons = self._file.of_each(lambda responder: responder.contain(self._file.case.contain))
        reasons += [PlaceError(f"{each.playbook}: {each.missed}", hint=each.hint) for each in found if each.missed]
        return _of_each("; ".join(each.said for each in found), _facts("gateways", found), reasons)

    def _lift(self, _: Step) -> Result:
        found, reasons = self._file.of_each(lambda responder: responder.lift())
        said, facts = "; ".join(each.said for each in found), _facts("gateways", found)
        if reasons or self._file.alive():  # by a close before its time: there is no dead key to prove
            return _of_each(said, facts, reasons)
        now = self._world.now()  # what strangers reach again is asked once more
        proofs = [
            self._asked(name, self._world.responder(book, plan.rows(book), None), now, 0.0)
            for name, book in self._file.books()
        ]
        return self._proven(proofs, facts | _facts("proofs", proofs), said)

    # -- rotation and proof

    def _rotate(self, step: Step) -> Result:
        known = self._file.runs(step.playbook)
        if known and known[-1].run.is_owed and known[-1].run.goal is Value.NEW:
            report = runs.resume(self._world, known[-1].id, {}, self._file.doors(step.playbook))
        elif known and urgent.is_replaced(known[-1].run):
            return self._rotated(known[-1])
        else:
            book = urgent.hurried(self._file.book(step.playbook), self._file.doors(step.playbook))
            report = self._responded(book)
        mine = self._file.runs(step.playbook)
        if not mine or mine[-1].id != report.run or not urgent.is_replaced(mine[-1].run):
            raise not_rotated(report)
        return self._rotated(mine[-1])

    def _responded(self, book: Playbook) -> Report:
        """Rotate with no grace, once nobody else is at it. Raises BusyError where somebody is for too long."""
        case, until, said = self._file.case, self._world.now() + PATIENCE, False
        while True:
            try:
                return app.respond(self._world, book, case.id, f"incident {case.id}: {case.reason}")
            except BusyError as busy:
                if self._world.now() > until:
                    raise BusyError(str(busy), hint=self._file.resume) from None
                if not said:
                    self._world.screen.say(f"  {busy}; waiting for it")
                said = True
                self._world.rest(1.0)

    def _rotated(self, account: Account) -> Result:
        run = account.run
        timed = [(entry.at, entry.event) for entry in account.entries]
        told = of_run(run, timed, run.outcome or Outcome.ROTATED, "")
        marks = run.plan.fingerprints
        facts = Rotated(
            run.plan.run,
            str(run.outcome or Outcome.STUCK),
            told.seconds,
            told.outage,
            marks[Value.OLD],
            marks[Value.NEW],
        )
        away = f", gateway away {told.outage:.1f} s" if told.outage is not None else ""
        said = f"rotated by run {run.plan.run} in {told.seconds:.1f} s{away}"
        if run.outcome is Outcome.OLD_ALIVE:
            said += "; the old key was not proven dead yet"
        behind = ", ".join(row.label for row in run.plan.rows if not run.mark(row).is_done)
        tasks = [f"finish run {run.plan.run}, for the sake of {behind}: keyrotor resume {run.plan.run}"]
        tasks = tasks if run.is_owed else []
        if earlier := self._file.superseded_by_hand(account):
            tasks.append(urgent.another_may_have_leaked(run.plan.source, earlier))
        return Result(said, msgspec.to_builtins(facts), tuple(tasks))

    def _prove(self, step: Step) -> Result:
        account = self._file.rotated_run(step.playbook)
        since = urgent.taken_up(account.run, [(each.at, each.event) for each in account.entries])
        book = self._file.book(step.playbook)
        responder = self._world.responder(book, plan.rows(book), None)
        proof = self._asked(step.playbook, responder, since, self._file.case.proof)
        return self._proven([proof], msgspec.to_builtins(proof), _told(proof))

    def _proven(self, proofs: Sequence[Proof], facts: Mapping[str, Any], said: str) -> Result:
        """What these proofs have come to. One that is none is on record with all that was seen."""
        alive = "; ".join(_told(proof) for proof in proofs if not proof.is_dead and not proof.is_moot)
        if not alive:
            return Result(said, facts)
        hint = f"{self._file.resume}  (asks again)"
        return Result(f"cannot prove the old key dead: {alive}", facts, is_missed=True, hint=hint)

    def _asked(self, name: str, responder: Responder, since: datetime, within: float) -> Proof:
        """What every listener says to the value that is present, and to each that may have leaked."""
        formers, say = self._file.formers(name), _saying(self._world.screen.say, name)
        new = partial(self._present, name, formers[-1])
        proofs = [
            responder.prove(self._file.kept(each, Value.OLD), new, since, within, say) for each in reversed(formers)
        ]
        first, *others = proofs
        rows = [
            replace(row, address=f"{row.address} (the key before run {each.id})")
            for each, proof in zip(formers[-2::-1], others, strict=True)
            for row in proof.listeners
        ]
        is_dead = all(proof.is_dead for proof in proofs)
        return replace(first, listeners=(*first.listeners, *rows), ended=proofs[-1].ended, is_dead=is_dead)

    def _present(self, name: str, last: Account) -> Secret:
        """The value that is in force now; where the encrypted file cannot be read, the one that this run has put."""
        try:
            return self._file.present(name)
        except (PlaceError, RefusedError):
            return self._file.kept(last, Value.NEW)

    # -- what became of the key

    def _sweep(self, _: Step) -> Result:
        values: dict[str, Secret] = {}
        known: set[str] = set()  # two playbooks of one key have the same runs
        for name in self._file.case.playbooks:
            *before, last = self._file.formers(name)
            for each in (last, *before):
                if each.id not in known:
                    values[name if each is last else f"{name} before run {each.id}"] = self._file.kept(each, Value.OLD)
                known.add(each.id)
        books = [book for _, book in self._file.books()]
        roots = [Path(root) for root in self._file.case.roots]
        roots += self._world.usual_roots(books) if self._file.case.elsewhere else []
        swept = sweep.sweep(self._world, values, roots, books, self._telling())
        leaks = swept.leak_count
        places = f"{leaks} place{'s' if leaks != 1 else ''}"
        said = f"the old key was found in {places}"
        tasks = (f"take the dead key out of {places} where it was found: keyrotor incident report",)
        return Result(said, msgspec.to_builtins(sought(swept)), tasks if leaks else ())

    def _telling(self) -> Callable[[str, int, int], None]:
        """Says now and then how far a sweep is."""
        last = [self._world.now()]

        def told(what: str, files: int, size: int) -> None:
            if self._world.now() - last[0] > EVERY:
                last[0] = self._world.now()
                self._world.screen.say(f"  {what}: {files:,} files, {sweep.as_size(size)} so far")

        return told

    def _exposure(self, _: Step) -> Result:
        until = self._world.now().isoformat()
        found: list[Exposure] = []
        for name, book in self._file.books():
            values = self._file.values(book)
            responder = self._world.responder(book, plan.rows(book), values)
            found.append(responder.exposure(values[book.source.key], self._file.since(name), until))
        unknown = [f"{each.playbook}: {each.why}" for each in found if not each.is_known]
        made = [each for exposure in found for each in exposure.made]
        said = f"{len(made)} keys, users, teams or models were made in the window" if made or not unknown else ""
        parts = [said, *(f"unknown for {each}" for each in unknown)]
        task = f"look through what was made at the gateway meanwhile ({len(made)}); delete what nobody knows"
        return Result("; ".join(filter(None, parts)), _facts("gateways", found), (task,) if made else ())

    def _reach(self, _: Step) -> Result:
        found = [each for name, book in self._file.books() for each in self._reached_by(name, book)]
        names = sorted({each.name for each in found})
        tasks = ["tell those who use the gateway that its key was exposed and replaced (template: the report)"]
        if names:
            tasks.append(f"judge whether to replace the upstream keys that were in its reach: {', '.join(names)}")
        said = f"{len(names)} upstream keys could be used through the gateway"
        return Result(f"{said}: {', '.join(names)}" if names else said, _facts("upstream", found), tuple(tasks))

    def _reached_by(self, name: str, book: Playbook) -> Sequence[Reached]:
        values = self._file.values(book)
        return self._world.responder(book, plan.rows(book), values).reach(values)


def _facts(name: str, found: Sequence[object]) -> dict[str, Any]:
    return {name: [msgspec.to_builtins(each) for each in found]}


def _of_each(said: str, facts: Mapping[str, Any], reasons: Sequence[PlaceError | RefusedError]) -> Result:
    """What was done at every gateway, or could not be done at some."""
    if not reasons:
        return Result(said, facts)
    why = "; ".join([*map(str, reasons), *([said] if said else [])])
    return Result(why, facts, is_missed=True, hint=next((each.hint for each in reasons if each.hint), ""))


def not_rotated(report: Report) -> Exception:
    """Why a run has not replaced the key, and how to go on."""
    why = report.turned_back or report.reason
    if report.outcome is Outcome.INTERRUPTED or why.startswith(machine.SIGNALLED):
        return InterruptedRun(why.removeprefix(machine.SIGNALLED))
    how = {Outcome.ROLLED_BACK: "everything is as it was, with the leaked key in force", Outcome.STUCK: "it is stuck"}
    said = "; ".join(filter(None, (report.reason, how.get(report.outcome, str(report.outcome)))))
    said = f"run {report.run}: {said}" if report.run else said
    return PlaceError(f"cannot replace the key: {said}", hint=f"keyrotor log {report.run}")


def _saying(say: Callable[[str], None], name: str) -> Callable[[int, int], None]:
    """Tells now and then how long the proof has lasted."""
    told = [0]

    def tell(seconds: int, of: int) -> None:
        if of and seconds >= told[0]:
            told[0] = seconds + 15
            say(f"  {name}: asked with the old key for {seconds} of {of} s")

    return tell


def _told(proof: Proof) -> str:
    alive = [each for each in proof.listeners if not each.is_dead]
    if alive:
        return "; ".join(f"{each.address}: {each.said}" for each in alive)
    asked = sum(each.asked for each in proof.listeners)
    where = ", ".join(each.address for each in proof.listeners)
    return proof.said or f"refused {asked} times at {where}"
