"""What the steps of an incident share: its playbooks and their values, its runs, and what they have replaced."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import takewhile
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from keyrotor import casebook, playbook, runs, sweep, telling
from keyrotor.core import plan, urgent
from keyrotor.core.incident import Incident, State
from keyrotor.core.incident_events import Case, Deed, Step
from keyrotor.core.lineage import lineage
from keyrotor.core.machine import Phase
from keyrotor.core.model import Playbook, Row, Source, Value
from keyrotor.core.response import Contained
from keyrotor.errors import PlaceError, RefusedError, UsageError
from keyrotor.journal import Account
from keyrotor.ports.responding import Responder
from keyrotor.secret import Secret
from keyrotor.session import KEPT

_Fact = TypeVar("_Fact")


class Ground(sweep.Ground, telling.Ground, Protocol):
    """A world in which an incident can be answered."""

    def who(self) -> str:
        """user@host: who does this."""

    def responder(self, book: Playbook, rows: Sequence[Row], values: Mapping[str, Secret] | None) -> Responder:
        """The deeds for the gateway of this playbook; `values` are the encrypted file's, None where they are not known.
        Raises RefusedError, PlaceError."""


class CaseFile:
    """One incident, on one world."""

    def __init__(self, world: Ground, incident: Incident) -> None:
        self._world = world
        self._incident = incident

    @property
    def case(self) -> Case:
        return self._incident.case

    def books(self) -> Iterator[tuple[str, Playbook]]:
        return ((name, self.book(name)) for name in self.case.playbooks)

    def book(self, name: str) -> Playbook:
        """The playbook, under the name that it had when the incident was opened."""
        return replace(playbook.load(Path(self.case.playbooks[name]), self._world.env), name=name)

    def values(self, book: Playbook) -> Mapping[str, Secret]:
        return self._world.read_secret(book.source, to_set=False)[1]

    def secrets(self) -> list[Secret]:
        """Every value that is known of its playbooks, of today and of before."""
        found: list[Secret] = []
        for name in self.case.playbooks:
            try:
                found += self.values(self.book(name)).values()
                found += [self.kept(each, Value.OLD) for each in self.formers(name)]
            except (PlaceError, RefusedError, UsageError):  # what cannot be read cannot be compared
                continue
        return found

    def all_values(self, name: str) -> Mapping[str, Secret]:
        """The values of the encrypted file, and every former one that is kept: all that may stand in evidence. Raises
        RefusedError, PlaceError."""
        book = self.book(name)
        known = [each for each in runs.accounts(self._world) if each.run.plan.source.is_of(book.source)]
        former = f"{book.source.key} before run "
        kept = {former + each.id: self.kept(each, Value.OLD) for each in known if _is_kept(each)}
        return {**self.values(book), **kept}

    def present(self, name: str) -> Secret:
        """The value that the encrypted file holds now. Raises RefusedError, PlaceError."""
        book = self.book(name)
        return self.values(book)[book.source.key]

    def of_each(self, deed: Callable[[Responder], _Fact]) -> tuple[list[_Fact], list[PlaceError | RefusedError]]:
        """Do it at every gateway, whatever becomes of it at another; and why it could not be done."""
        found, reasons = [], []
        for name, book in self.books():
            try:
                found.append(deed(self._world.responder(book, plan.rows(book), None)))
            except (PlaceError, RefusedError) as error:
                reasons.append(type(error)(f"{name}: {error}", hint=error.hint))
        return found, reasons

    def shared(self, books: Sequence[Playbook]) -> list[str]:
        """Which of its own are these playbooks, or others of the same keys. Two labs may call theirs alike."""
        return [
            name
            for name, path in self.case.playbooks.items()
            for source in [self._source(name)]
            if any(book.path == path or (source and book.source.is_of(source)) for book in books)
        ]

    def _source(self, name: str) -> Source | None:
        """Where its key is kept; None where nobody can tell any more."""
        if mine := self.runs(name):
            return mine[-1].run.plan.source
        try:
            return self.book(name).source
        except UsageError:
            return None

    def runs(self, name: str) -> list[Account]:
        """The runs of this incident for that playbook, oldest first."""
        return [each for each in runs.accounts(self._world) if _is_of(each, self.case.id, name)]

    def formers(self, name: str) -> list[Account]:
        """The runs that have replaced what may have leaked: this incident's last, before it those since the key is
        exposed, for a run may have been owed when the incident was opened; and those of another incident that has
        not proven them dead yet."""
        mine, since = self.rotated_run(name), datetime.fromisoformat(self.case.exposed or self.case.detected)
        unproven = self._unproven()
        found = [
            each
            for each in runs.accounts(self._world)
            if each.run.plan.source.is_of(mine.run.plan.source)
            and each.run.phase is not Phase.FORGOTTEN
            and urgent.is_replaced(each.run)
            and (each.closed is None or each.closed >= since or each.run.plan.incident in unproven)
        ]
        return [*(each for each in found if each.id != mine.id), mine]

    def _unproven(self) -> frozenset[str]:
        """The incidents in which a key is not proven dead."""
        found = (docket.incident for docket in casebook.still_open(self._world.state))
        return frozenset(each.case.id for each in found if any(step.deed is Deed.PROVE for step in each.open_steps))

    def alive(self) -> list[str]:
        """The playbooks whose key was not replaced in this incident, or was brought back."""
        return [
            name for name in self.case.playbooks if not any(urgent.is_replaced(each.run) for each in self.runs(name))
        ]

    def kept_by(self) -> list[Account]:
        """Every run that keeps a value which the incident was about."""
        mine = [each for name in self.case.playbooks for each in self.runs(name)]
        older = [each for name in self.case.playbooks if name not in self.alive() for each in self.formers(name)]
        return list({each.id: each for each in (*mine, *older)}.values())

    def revived(self) -> dict[str, str]:
        """The playbooks whose key was replaced, and is not any more: name -> the run that was rolled back."""
        found = {}
        for name in self.case.playbooks:
            is_done = self._incident.stand(Step(Deed.ROTATE, name)).state is State.DONE
            mine = self.runs(name)
            if is_done and mine and not urgent.is_replaced(mine[-1].run):
                found[name] = mine[-1].id
        return found

    def rotated_run(self, name: str) -> Account:
        """The run that has replaced its key. Raises RefusedError where none has."""
        found = [each for each in self.runs(name) if urgent.is_replaced(each.run)]
        if not found:
            raise RefusedError(f"cannot tell the old key of {name}: it is not rotated", hint=self.resume)
        return found[-1]

    def superseded_by_hand(self, account: Account) -> str:
        """The run whose value somebody had replaced by hand before this one began, or those of this incident that were
        turned back; "" where nothing tells of one."""
        before = takewhile(lambda each: each.id != account.id, runs.accounts(self._world))
        others = (each.run for each in before if each.run.plan.incident != self.case.id)
        known = lineage(others, account.run.plan.source, account.run.plan.fingerprint_key)
        return known.run if known.is_by_hand(account.run.plan.fingerprints[Value.OLD]) else ""

    def kept(self, account: Account, value: Value) -> Secret:
        """A value of a run, out of the ciphertext that is kept until the incident is closed."""
        source = account.run.plan.source
        folder = self._world.state / "runs" / account.id
        return self._world.read_copy(source, folder / KEPT[value])[source.key]

    def doors(self, name: str) -> Mapping[str, str]:
        """The addresses at which contained gateways are reached, where they are others: place -> url."""
        facts = self._incident.stand(Step(Deed.CONTAIN)).facts.get("gateways", ())
        found = (msgspec.convert(each, Contained) for each in facts)
        return {place: url for each in found if each.playbook == name for place, url in each.doors.items()}

    def since(self, name: str) -> str:
        """From when on the key may have been used: since it was exposed, or else since there was this key; "" where
        nobody knows."""
        if self.case.exposed:
            return self.case.exposed
        old = self.rotated_run(name).run.plan.fingerprints[Value.OLD]
        made = (each for each in runs.accounts(self._world) if each.run.plan.fingerprints[Value.NEW] == old)
        return next((each.opened.isoformat() for each in made if each.run.has_rotated), "")

    @property
    def resume(self) -> str:
        return f"keyrotor incident resume {self.case.id}"


def _is_kept(account: Account) -> bool:
    return account.run.phase is not Phase.FORGOTTEN and Value.OLD in account.run.plan.ciphertexts


def _is_of(account: Account, case: str, name: str) -> bool:
    return account.run.plan.incident == case and account.run.plan.playbook == name
