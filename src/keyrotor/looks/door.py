"""The gateway's door as a healthcheck asks it: without a key, with a bogus one, with the present one.

The present key is shown to a door only that has refused a bogus one, in LiteLLM's own way: neither to a stranger on the
port, nor to a door that lets everybody in, nor to one that does not say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from keyrotor.boundary import litellm_api
from keyrotor.boundary.generate import bogus_key
from keyrotor.boundary.http import Answer, Asking
from keyrotor.boundary.litellm_api import Verdict, verdict
from keyrotor.boundary.plaintext import unseal
from keyrotor.boundary.unit_text import Unit
from keyrotor.core.checkup import Line, State
from keyrotor.secret import Secret

PRISMA = "500 without a key: its `prisma` package is missing"


@dataclass(frozen=True, slots=True)
class Door:
    place: str
    url: str
    key: Secret | None  # None where nothing could be decrypted
    is_sure: bool  # whether the unit that is to answer there, if there is one, could be asked
    stranger: str  # who answers there in the gateway's stead; "" if nobody does
    look_after: str  # the command that shows how the gateway is

    async def lines(self, asking: Asking) -> list[Line]:
        """One line for each question; one for all where nobody answers."""
        if self.stranger:
            return [
                Line(self.place, State.ILL, f"{self.url}: {self.stranger}; no key was shown there", self.look_after)
            ]
        url = litellm_api.models(self.url)
        no_key = await asking.get(url, None)
        if no_key.status is None:
            return [self._ill("", f"no answer from {self.url} ({no_key.fault})", self.look_after)]
        bogus = await asking.get(url, bogus_key())
        told = [self._without_a_key(no_key), self._bogus(bogus)]
        if self.key is None or (withheld := self._withheld(no_key, bogus)):
            said = "not asked: it could not be decrypted" if self.key is None else withheld
            return [*told, self._line("present key", State.SKIPPED, said)]
        return [*told, self._present(await asking.get(url, unseal(self.key)))]

    def _withheld(self, no_key: Answer, bogus: Answer) -> str:
        """Why the present key is not shown; "" if it may be."""
        if Verdict.ACCEPTED in (verdict(no_key), verdict(bogus)):
            return "not shown to a gateway that is open"
        if verdict(bogus) is not Verdict.REFUSED:
            return "not shown to a door that does not refuse a bogus key"
        return "" if self.is_sure else "not shown: systemd does not say whose the port is"

    def late(self, allowed: float) -> list[Line]:
        return [self._ill("", f"no answer from {self.url} within {round(allowed, 1):g} s", self.look_after)]

    def _without_a_key(self, answer: Answer) -> Line:
        if answer.status == 200:
            return self._ill("no key", f"{self.url} is open: 200 without a key", "keyrotor audit  (says why)")
        if answer.status == 500:
            return self._ill("no key", PRISMA, "pip install prisma  (in LiteLLM's own environment)")
        if verdict(answer) is Verdict.REFUSED:
            return self._line("no key", State.WELL, f"{answer.status} without a key")
        return self._ill("no key", f"{_told(answer)} without a key", self.look_after)

    def _bogus(self, answer: Answer) -> Line:
        if answer.status == 200:
            said = f"{self.url} is open: 200 with a key that nobody has"
            return self._ill("bogus key", said, "keyrotor audit  (says why)")
        if verdict(answer) is Verdict.REFUSED:
            return self._line("bogus key", State.WELL, f"{answer.status} with a key that nobody has")
        return self._ill("bogus key", f"{_told(answer)} with a key that nobody has", self.look_after)

    def _present(self, answer: Answer) -> Line:
        match verdict(answer):
            case Verdict.ACCEPTED:
                return self._line("present key", State.WELL, "200 with the present key")
            case Verdict.REFUSED:
                said = f"refuses the present key ({answer.status}): it runs with another one"
                return self._ill("present key", said, "keyrotor repair")
        return self._ill("present key", f"{_told(answer)} with the present key", self.look_after)

    def _ill(self, what: str, said: str, mend: str) -> Line:
        return self._line(what, State.ILL, said, mend)

    def _line(self, what: str, state: State, said: str, mend: str = "") -> Line:
        return Line(f"{self.place}, {what}" if what else self.place, state, said, mend)


def door(place: str, url: str, unit: Unit | None, shows: Sequence[str], key: Secret | None, *, is_sure: bool) -> Door:
    """The door of a place. `unit` is to answer there, if there is one; `shows` is the command that says how it is."""
    stranger = litellm_api.stranger(url, unit) if unit else ""
    if unit and not stranger and not unit.is_active:  # nor would a socket's port be asked: that would start it
        stranger = f"{unit.name} is {unit.active or 'not known'}"
    return Door(
        place, url, key, is_sure, stranger, " ".join(word for word in shows if word not in ("--", "--no-ask-password"))
    )


def _told(answer: Answer) -> str:
    return f"no answer ({answer.fault})" if answer.status is None else f"answers {answer.status}"
