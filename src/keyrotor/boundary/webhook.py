"""A notice, posted to an address that may be a secret.

Rules: as `http.Asking` sends: no proxy, no redirect, over TLS or to near addresses; the address is shown to nobody, and
of the answer only its status is told. What is busy, broken or not there is asked again; it all ends within the time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from keyrotor.boundary.http import IN_CLEAR, Answer, Asking, poll
from keyrotor.boundary.network import at_once
from keyrotor.boundary.plaintext import unseal
from keyrotor.errors import PlaceError
from keyrotor.secret import Secret

TRIES = 3
EVERY = 1.0  # seconds between them
_HEADERS = {"Content-Type": b"application/json; charset=utf-8", "User-Agent": b"keyrotor"}


def post(address: Secret, body: bytes, *, within: float, rest: Callable[[float], None], trust: str = "") -> None:
    """Send it. Raises PlaceError, which says why it has not arrived."""
    url = unseal(address).decode(errors="replace").strip()
    asking, deadline, tries = Asking(), time.monotonic() + within, 0

    def sent() -> Answer:
        nonlocal tries
        tries += 1
        left = max(0.0, deadline - time.monotonic())
        question = partial(asking.send, "POST", url, _HEADERS, body, trust)
        return at_once([question], within=left, rest=rest)[0].answer or Answer(None, fault="no answer in time")

    def is_over(answer: Answer) -> bool:
        may_be_better = answer.status is None or answer.status == 429 or answer.status >= 500
        return not may_be_better or tries == TRIES

    answer = poll(sent, is_done=is_over, within=max(0.0, within - EVERY), every=EVERY, rest=rest)
    if fault := _fault(answer):
        raise PlaceError(fault)


def _fault(answer: Answer) -> str:
    """Why it has not arrived; "" where it has."""
    if answer.fault == IN_CLEAR:
        return "its address is public, and plain http shows a notice to everybody on the way; write it with https"
    if answer.status is None:
        return answer.fault
    if 300 <= answer.status < 400:
        return f"it answers {answer.status}, which leads elsewhere: write the address that it leads to"
    return "" if 200 <= answer.status < 300 else f"it answers {answer.status}"
