"""What the steps of an incident share: its playbooks and their values, its runs, and what they have replaced."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from keyrotor import playbook, runs, sweep, telling
from keyrotor.core import plan, urgent
from keyrotor.core.incident import Case, Deed, Incident, Step
from keyrotor.core.model import Playbook, Row, Value
from keyrotor.core.response import Contained
from keyrotor.errors import PlaceError, RefusedError
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
        return playbook.load(Path(self.case.playbooks[name]), self._world.env)

    def values(self, book: Playbook) -> Mapping[str, Secret]:
        return self._world.read_secret(book.source, to_set=False)[1]

    def of_each(self, deed: Callable[[Responder], _Fact]) -> list[_Fact]:
        """Do it at every gateway, whatever becomes of it at another. Raises PlaceError with every reason at the end."""
        found, reasons = [], []
        for name, book in self.books():
            try:
                found.append(deed(self._world.responder(book, plan.rows(book), None)))
            except (PlaceError, RefusedError) as error:
                reasons.append((f"{name}: {error}", error.hint))
        if reasons:
            raise PlaceError("; ".join(why for why, _ in reasons), hint=next((hint for _, hint in reasons if hint), ""))
        return found

    def runs(self, name: str) -> list[Account]:
        """The runs of this incident for that playbook, oldest first."""
        return [each for each in runs.accounts(self._world) if _is_of(each, self.case.id, name)]

    def rotated_run(self, name: str) -> Account:
        """The run that has replaced its key. Raises RefusedError where none has."""
        found = [each for each in self.runs(name) if urgent.is_replaced(each.run)]
        if not found:
            raise RefusedError(f"cannot tell the old key of {name}: it is not rotated", hint=self.resume)
        return found[-1]

    def kept(self, account: Account, value: Value) -> Secret:
        """A value of a run, out of the ciphertext that is kept until the incident is closed."""
        source = account.run.plan.source
        folder = self._world.state / "runs" / account.id
        return self._world.read_copy(source, folder / KEPT[value])[source.key]

    def reached(self, name: str) -> str:
        """The address at which the contained gateway is reached, where it is another one; "" where it is not."""
        facts = self._incident.stand(Step(Deed.CONTAIN)).facts.get("gateways", ())
        found = (msgspec.convert(each, Contained) for each in facts)
        return next((each.reached for each in found if each.playbook == name), "")

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


def _is_of(account: Account, case: str, name: str) -> bool:
    return account.run.plan.incident == case and account.run.plan.playbook == name
