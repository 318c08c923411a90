"""The one httpx and the one tenacity: asking a gateway, and asking again.

Rules: no proxy from the environment and no redirect ever sees a key; a new connection for each question,
so that the answer is the present process's; anything but an HTTP answer is `None`, which proves nothing.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import httpx

# Seconds for one answer, and until a signal is heeded; the slowest first authorised request measured was 0.2 s.
ANSWER_WITHIN = 4.0
ENOUGH = 65536  # bytes of an answer; what proves something stands in the first hundred

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `status` is None where nothing did; then `fault` says what happened instead."""

    status: int | None
    body: bytes = b""
    fault: str = ""


def _httpx() -> ModuleType:
    """httpx without its command line, whose import of rich and pygments is two thirds of its 200 ms.

    httpx itself carries on where `httpx._main` cannot be imported; None in sys.modules says that it cannot.
    """
    sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
    import httpx

    return httpx


class Http:
    """Asks over one lazily made client."""

    def __init__(self) -> None:
        self._client: httpx.Client | None = None

    def get(self, url: str, bearer: bytes | None) -> Answer:
        """The answer to a GET with this bearer token (None: without an Authorization header)."""
        httpx = _httpx()
        if self._client is None:
            self._client = httpx.Client(
                trust_env=False,
                follow_redirects=False,
                timeout=ANSWER_WITHIN,
                verify=url.startswith("https:"),  # loading the trust store for plain http costs 20 ms
                limits=httpx.Limits(max_keepalive_connections=0),
            )
        headers = {} if bearer is None else {"Authorization": b"Bearer " + bearer}
        deadline = time.monotonic() + ANSWER_WITHIN
        try:
            with self._client.stream("GET", url, headers=headers) as answer:  # type: ignore[arg-type]
                body = b""
                for piece in answer.iter_bytes():
                    body += piece
                    if len(body) > ENOUGH or time.monotonic() > deadline:
                        break
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return Answer(None, fault=type(error).__name__)
        return Answer(answer.status_code, body)


def poll(
    look: Callable[[], T], *, is_done: Callable[[T], bool], within: float, every: float, rest: Callable[[float], None]
) -> T:
    """Look until it is done or `within` seconds are over; the last look either way."""
    from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

    retrying = Retrying(
        sleep=rest,
        stop=stop_after_delay(within),
        wait=wait_fixed(every),
        retry=retry_if_result(lambda seen: not is_done(seen)),
        retry_error_callback=lambda state: state.outcome.result() if state.outcome else None,
    )
    return retrying(look)
