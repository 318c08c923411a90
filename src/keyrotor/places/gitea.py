"""An Actions secret of a Gitea or Forgejo repository or organisation, by its API.

It takes a value and never shows it. Its list tells when each secret was made; where a write moves that time, the time
is the proof of the write, else the answer to the write is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from urllib.parse import quote

from keyrotor.boundary.api import Api, NotTakenError, Sent
from keyrotor.boundary.plaintext import unseal
from keyrotor.core.model import Holds, Value
from keyrotor.core.preview import Change
from keyrotor.core.stores import WRITTEN, written
from keyrotor.errors import PlaceError, StrangerError
from keyrotor.secret import Pair, Secret

_PAGES = 100  # of 50 names, which is what a server gives at most if nobody told it otherwise


@dataclass(frozen=True, slots=True)
class Gitea:
    label: str
    api: Api
    owner: str  # `repos/…/…` or `orgs/…`
    name: str
    recorded: str  # the time that the record knows of its last write; "" if it knows none
    sent: Sent = field(default_factory=Sent)

    def check(self, pair: Pair) -> list[str]:
        try:
            found = self._made(pair)
        except PlaceError as error:
            return [str(error)]
        return [] if found is not None else [f"cannot write {self.label}: {self._absent()}"]

    def holds(self, pair: Pair) -> Holds:
        try:
            found = self._made(pair)
        except PlaceError:
            return Holds.UNKNOWN
        if found is None:
            return Holds.NEITHER
        return Holds.OLD if self.recorded and found == self.recorded else Holds.UNKNOWN

    def put(self, goal: Value, pair: Pair) -> str:
        return self.sent.put(goal, partial(self._put, goal, pair))

    def _put(self, goal: Value, pair: Pair) -> str:
        before = self._made(pair)
        if before is None:
            raise StrangerError(f"cannot write {self.label}: {self._absent()}")
        path = f"{self._secrets()}/{quote(self.name, safe='')}"
        with self.sent.writing(goal):
            reply = self.api.ask("PUT", path, pair, {"data": unseal(pair[goal]).decode()})
            if reply.status not in (201, 204):
                no = NotTakenError if reply.is_absent else PlaceError
                raise no(f"cannot write {self.label}: it answers {reply.status}")
        after = self._made(pair)
        if after is None:
            raise PlaceError(f"cannot write {self.label}: it answered {reply.status}, and has no such secret after it")
        return written(after) if after != before else f"{WRITTEN}; it answers {reply.status} and tells no time"

    def prepare(self, goal: Value, pair: Pair) -> None:
        """Nothing: a put is quick."""

    def after(self, goal: Value, pair: Pair) -> str:
        return f"{self.label}: jobs that ran meanwhile have the former value: run them again"

    def shows(self) -> list[Secret]:
        return []

    def changes(self, pair: Pair) -> list[Change]:
        return [Change(text="gives the secret the new value; what it holds now nobody can read")]

    def inputs(self) -> list[Path]:
        return []

    def _secrets(self) -> str:
        return f"/api/v1/{self.owner}/actions/secrets"

    def _made(self, pair: Pair) -> str | None:
        """The time that the list gives the secret; None where it has none of this name. Raises PlaceError."""
        for page in range(1, _PAGES + 1):
            reply = self.api.ask("GET", f"{self._secrets()}?page={page}&limit=50", pair)
            if reply.is_absent:
                why = "there is no such repository or organisation, or the token does not show it"
                raise PlaceError(f"cannot write {self.label}: {why}")
            if not isinstance(reply.said, list) or not all(isinstance(one, dict) for one in reply.said):
                raise PlaceError(f"cannot ask {self.api.base}: what it answers is no list of secrets")
            for one in reply.said:
                if str(one.get("name")).upper() == self.name.upper():  # names are kept in capitals
                    return str(one.get("created_at"))
            if not reply.said:
                break
        return None

    def _absent(self) -> str:
        return f"there is no such secret; make it once, in the settings under Actions, Secrets: {self.name}"
