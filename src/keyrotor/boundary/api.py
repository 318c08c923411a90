"""A store's API: JSON both ways, opened by a token.

Rules: a question ends within its time, and at once where somebody asks us to stop; a write that was cut off may have
arrived, and only a definite no says that it was not taken. A store that is busy is asked again in a while, but for a
`POST`: what that writes was read right before. The token is sent as `http.Asking` sends values: over TLS, or to near
addresses. Of an answer nothing is shown but its status, for its words may repeat what was sent.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from keyrotor.boundary.http import MUCH, Answer, Asking
from keyrotor.boundary.network import at_once
from keyrotor.boundary.plaintext import unseal
from keyrotor.core.model import Value
from keyrotor.core.stores import LEFT
from keyrotor.errors import PlaceError, StrangerError
from keyrotor.secret import Pair, Secret

_PRINTABLE = frozenset(range(0x21, 0x7F))  # what a header can say
_BUSY = (429, 502, 503, 504)
_WAITS = (1.0, 2.0, None)  # seconds before it is asked again
_LONGEST = 5.0  # seconds, if it says itself how long


class NotTakenError(PlaceError):
    """The store has said no: of what was sent it has taken nothing."""


@dataclass(slots=True)
class Sent:
    """Whether the new value may stand in a store that shows nobody what it holds, by what this process has sent there.

    What a process before it did nobody knows: where the record says that it began, the value may be there.
    """

    may_be_there: bool = False

    @contextmanager
    def writing(self, goal: Value) -> Iterator[None]:
        """Within it the goal is sent; unless that ends with a definite no, it may be there."""
        before, self.may_be_there = self.may_be_there, self.may_be_there or goal is Value.NEW
        try:
            yield
        except NotTakenError:
            self.may_be_there = before
            raise

    def put(self, goal: Value, put: Callable[[], str]) -> str:
        """What the put says. One towards the old value that fails is none where nothing of the new one was taken."""
        try:
            return put()
        except StrangerError:
            raise
        except PlaceError:
            if goal is Value.OLD and not self.may_be_there:
                return LEFT
            raise


@dataclass(frozen=True, slots=True)
class Reply:
    """A status of 2xx or 404, and what was said with it; None where that is no JSON."""

    status: int
    said: Any = None

    @property
    def is_absent(self) -> bool:
        return self.status == 404


@dataclass(frozen=True, slots=True)
class Token:
    """What opens a store: a key of the encrypted file by this name, else the variable of this name."""

    name: str
    env: Mapping[str, str] = field(repr=False)

    def of(self, pair: Pair) -> Secret:
        """Raises PlaceError where there is none, or what is there cannot be one."""
        found = pair.siblings.get(self.name)
        if found is None and self.env.get(self.name):
            found = Secret(self.env[self.name].encode("utf-8", "surrogateescape"))
        if found is None:
            why = "neither the encrypted file nor the environment has it"
            raise PlaceError(
                f"cannot use the token {self.name}: {why}", hint=f"read -rs {self.name}; export {self.name}"
            )
        value = unseal(found)
        if not value or not _PRINTABLE.issuperset(value):
            raise PlaceError(
                f"cannot use the token {self.name}: it is empty, or has a space or a sign that no token has"
            )
        return found


@dataclass(frozen=True, slots=True)
class Api:
    """One store's API."""

    base: str  # its address, without a slash at the end
    header: str  # which header shows the token
    scheme: bytes  # what stands before the token in it, with its space
    token: Token
    within: float  # seconds for each question
    rest: Callable[[float], None]  # called while we wait; may raise to end the wait

    def ask(self, method: str, path: str, pair: Pair, body: object = None) -> Reply:
        """What it answers. Raises PlaceError where nothing answers, NotTakenError where the token opens nothing, or it
        says no to what was sent."""
        headers = {self.header: self.scheme + unseal(self.token.of(pair)), "Accept": b"application/json"}
        sent = None
        if body is not None:
            headers["Content-Type"] = b"application/json"
            sent = json.dumps(body).encode()
        question = partial(
            Asking().send, method, self.base + path, headers, sent, self.token.env.get("SSL_CERT_FILE", "")
        )
        deadline, is_doubtful = time.monotonic() + self.within, False
        for pause in _WAITS:
            left = max(0.0, deadline - time.monotonic())
            found: Answer | None = at_once([question], within=left, rest=self.rest)[0].answer
            answer = found or Answer(None, fault=f"no answer within {self.within:g} s")
            if answer.status not in _BUSY or pause is None or method == "POST":
                break
            wait = min(max(pause, answer.wait), _LONGEST)
            if time.monotonic() + wait >= deadline:
                break
            is_doubtful = is_doubtful or (method != "GET" and answer.status != 429)  # a proxy may have handed it on
            self.rest(wait)
        return self._reply(answer, is_doubtful=is_doubtful)

    def _reply(self, answer: Answer, *, is_doubtful: bool) -> Reply:
        """`is_doubtful`: an earlier question may have been heeded, so that a no says nothing of it."""
        status, no = answer.status, PlaceError if is_doubtful else NotTakenError
        if status is None:
            raise PlaceError(f"cannot ask {self.base}: {answer.fault}")
        if status in (401, 403):
            why = f"it answers {status}: the token {self.token.name} is not known there, or lacks the right"
            raise no(f"cannot ask {self.base}: {why}")
        if 300 <= status < 400:
            why = f"it answers {status}, which leads elsewhere: write the address it leads to as `url`"
            raise PlaceError(f"cannot ask {self.base}: {why}")
        if not (200 <= status < 300 or (status == 404 and not is_doubtful)):
            raise (no if status == 422 else PlaceError)(f"cannot ask {self.base}: it answers {status}")
        try:
            return Reply(status, json.loads(answer.body) if len(answer.body) <= MUCH else None)
        except (ValueError, RecursionError):
            return Reply(status)
