"""A CI/CD variable of a GitLab project or group, by its API.

It can be read back, unless it is hidden: then its proof is the status alone. Only `value` is sent, and `raw`, so that
no `$` in it is taken for another variable; `masked`, `protected` and its scope stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from keyrotor.boundary.api import Api, NotTakenError, Sent
from keyrotor.boundary.plaintext import is_same, unseal
from keyrotor.core.model import ALREADY, Holds, Value
from keyrotor.core.preview import Change
from keyrotor.core.stores import WRITTEN
from keyrotor.errors import PlaceError, StrangerError
from keyrotor.secret import Pair, Secret


@dataclass(frozen=True, slots=True)
class Gitlab:
    label: str
    api: Api
    owner: str  # `projects/…` or `groups/…`
    name: str
    scope: str  # the environments that it is for
    may_be_other: bool = False  # whether a put replaces what nobody knows, too; a repair does
    sent: Sent = field(default_factory=Sent)

    def check(self, pair: Pair) -> list[str]:
        try:
            found = self._variable(pair)
        except PlaceError as error:
            return [str(error)]
        return [] if found is not None else [f"cannot write {self.label}: {self._absent()}"]

    def holds(self, pair: Pair) -> Holds:
        try:
            found = self._variable(pair)
        except PlaceError:
            return Holds.UNKNOWN
        if found is None:
            return Holds.NEITHER
        if (value := _value(found)) is None:
            return Holds.UNKNOWN
        return Holds.seen(old=_is_any(pair.named(Value.NEW), value), new=is_same(pair.new, value))

    def put(self, goal: Value, pair: Pair) -> str:
        return self.sent.put(goal, partial(self._put, goal, pair))

    def _put(self, goal: Value, pair: Pair) -> str:
        found = self._variable(pair)
        if found is None:
            raise StrangerError(f"cannot write {self.label}: {self._absent()}")
        value = _value(found)
        if value is not None and is_same(pair[goal], value):
            return ALREADY
        if value is not None and not self.may_be_other and not _is_any(pair.named(goal), value):
            raise StrangerError(f"cannot write {self.label}: somebody has changed it: it holds neither value")
        with self.sent.writing(goal):
            said = self.api.ask("PUT", self._path(), pair, {"value": unseal(pair[goal]).decode(), "raw": True})
            if said.is_absent:
                raise NotTakenError(f"cannot write {self.label}: {self._absent()}")
        holds = self.holds(pair)
        if holds is not Holds(goal) and value is not None:
            raise PlaceError(f"cannot write {self.label}: it was taken, but what is read back is not the {goal} value")
        return WRITTEN if value is not None else f"{WRITTEN}; hidden, so it cannot be read back"

    def prepare(self, goal: Value, pair: Pair) -> None:
        """Nothing: a put is quick."""

    def after(self, goal: Value, pair: Pair) -> str:
        return f"{self.label}: jobs that ran meanwhile have the former value: run them again"

    def shows(self) -> list[Secret]:
        return []

    def changes(self, pair: Pair) -> list[Change]:
        return [Change(text="gives the variable the new value")]

    def inputs(self) -> list[Path]:
        return []

    def _path(self) -> str:
        scope = f"filter[environment_scope]={quote(self.scope, safe='')}"
        return f"{self._variables()}/{quote(self.name, safe='')}?{scope}"

    def _variables(self) -> str:
        return f"/api/v4/{self.owner}/variables"

    def _variable(self, pair: Pair) -> Mapping[str, Any] | None:
        """What the API says of it; None where there is none. Raises PlaceError."""
        reply = self.api.ask("GET", self._path(), pair)
        if reply.is_absent:
            if self.api.ask("GET", f"{self._variables()}?per_page=1", pair).is_absent:
                why = "there is no such project or group, or the token does not show it"
                raise PlaceError(f"cannot write {self.label}: {why}")
            return None
        if not isinstance(reply.said, dict) or reply.said.get("key") != self.name:
            raise PlaceError(f"cannot ask {self.api.base}: what it answers is no variable of GitLab's")
        return reply.said

    def _absent(self) -> str:
        return f"there is no such variable for the scope {self.scope}; make it once"


def _value(variable: Mapping[str, Any]) -> bytes | None:
    """None for one that is hidden."""
    value = variable.get("value")
    is_shown = isinstance(value, str) and not variable.get("hidden")
    return str(value).encode(errors="surrogatepass") if is_shown else None


def _is_any(secrets: tuple[Secret, ...], value: bytes) -> bool:
    return any(is_same(secret, value) for secret in secrets)
