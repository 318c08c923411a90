"""The one httpx and the one tenacity: asking a gateway, asking again, and writing to a store.

Rules: no proxy from the environment and no redirect ever sees a key; a new connection for each question,
so that the answer is the present process's; anything but an HTTP answer is `None`, which proves nothing.
Whatever may hold a value (`Asking`: a backend's key, be it a user and a password in its address, a store's token, a
body) is sent over TLS, or to this machine and private networks, and nowhere else.
"""

from __future__ import annotations

import base64
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, TypeVar

from keyrotor.boundary.network import addresses, is_near

if TYPE_CHECKING:
    import ssl

    import httpx

# Seconds for one answer, and until a signal is heeded; the slowest first authorised request measured was 0.2 s.
ANSWER_WITHIN = 4.0
ENOUGH = 65536  # bytes of an answer; what proves something stands in the first hundred
MUCH = 4 * 1024 * 1024  # bytes of a list of models; a provider of many hundreds with a text for each sends 1 MB
IN_CLEAR = "its key was not sent: the address is public, and plain http shows it to everybody on the way"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `status` is None where nothing did; then `fault` says what happened instead."""

    status: int | None
    body: bytes = b""
    fault: str = ""
    wait: float = 0.0  # seconds that it asks us to wait (Retry-After); 0 where it does not say


def _httpx() -> ModuleType:
    """httpx without its command line, whose import of rich and pygments is two thirds of its 200 ms.

    httpx itself carries on where `httpx._main` cannot be imported; None in sys.modules says that it cannot.
    """
    sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
    import httpx

    return httpx


class Http:
    """Asks over lazily made clients: one that proves certificates, and one for plain http, which has none."""

    def __init__(self) -> None:
        self._clients: dict[tuple[bool, bool, str], httpx.Client] = {}

    def load(self) -> None:
        """Import what the first question would import (40 ms)."""
        _httpx()
        import httpcore  # noqa: F401  (httpx waits with it until its first client)

    def get(
        self, url: str, bearer: bytes | None, *, header: str = "", socket: str = "", is_own: bool = False
    ) -> Answer:
        """The answer to a GET with this bearer token (None: without an Authorization header).

        `header`: another one, which shows the token alone. `socket`: the path of the socket to ask at, `@` before an
        abstract one. `is_own`: a socket of this machine that is known by who holds it, whose certificate need not be
        for this name.
        """
        httpx = _httpx()
        is_plain = url.lower().startswith("http:")
        if (key := (is_plain, is_own, socket)) not in self._clients:
            verify = not (is_plain or is_own)  # loading the trust store for plain http costs 20 ms
            path = f"\0{socket[1:]}" if socket.startswith("@") else socket
            limits = httpx.Limits(max_keepalive_connections=0)
            self._clients[key] = httpx.Client(
                trust_env=False,
                follow_redirects=False,
                timeout=ANSWER_WITHIN,
                verify=verify,
                transport=httpx.HTTPTransport(uds=path, verify=verify, limits=limits) if path else None,
                limits=limits,
            )
        shown = {header: bearer} if header else {"Authorization": b"Bearer " + (bearer or b"")}
        headers = {} if bearer is None else shown
        deadline = time.monotonic() + ANSWER_WITHIN
        try:
            with self._clients[key].stream("GET", url, headers=headers) as answer:  # type: ignore[arg-type]
                body = b""
                for piece in answer.iter_bytes():
                    body += piece
                    if len(body) > ENOUGH or time.monotonic() > deadline:
                        break
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return Answer(None, fault=type(error).__name__)
        return Answer(answer.status_code, body)


class Asking:
    """Asks many at once, from within `network.at_once`; what bounds the time of a question is the caller's share."""

    def __init__(self) -> None:
        self._trusts: dict[str, ssl.SSLContext] = {}
        _httpx()
        import anyio._backends._asyncio  # noqa: F401  httpx imports these two with the first question;
        import httpcore  # noqa: F401  0.2 s, which would be lost within the deadline

    async def get(self, url: str, bearer: bytes | None, trust: str = "") -> Answer:
        """The answer to a GET with this bearer token, which is not sent in clear to a public address.

        Nor are a user and a password in the URL, which are sent where there is no token. `trust`: a file of
        certificates that are trusted besides the usual ones; as for LiteLLM, one that is not there is none.
        """
        return await self.send(
            "GET", url, {} if bearer is None else {"Authorization": b"Bearer " + bearer}, trust=trust
        )

    async def send(
        self, method: str, url: str, headers: Mapping[str, bytes], body: bytes | None = None, trust: str = ""
    ) -> Answer:
        """The answer to a request, whose headers and body are not sent in clear to a public address."""
        httpx = _httpx()
        try:
            address = httpx.URL(url)
            if address.scheme not in ("http", "https") or not address.host or (address.port or 0) > 65535:
                return Answer(None, fault="not an address")
            headers, address = _with_login(address, headers), address.copy_with(userinfo=b"")
            if not (headers or body) or address.scheme == "https":
                return await self._sent(method, address, headers, body, trust)
            # The look-up that was judged is the one that is used: a second one could lead elsewhere.
            found = await addresses(address.host, address.port or 80)
            if not all(is_near(each) for each in found):
                return Answer(None, fault=IN_CLEAR)
            answer = Answer(None, fault="no such host")
            for each in found:
                there = {**headers, "Host": address.netloc}
                answer = await self._sent(method, address.copy_with(host=each), there, body, trust)
                if answer.status is not None:
                    break
        except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
            return Answer(None, fault=said(error))
        return answer

    async def _sent(
        self, method: str, address: httpx.URL, headers: Mapping[str, bytes], body: bytes | None, trust: str
    ) -> Answer:
        httpx = _httpx()
        headers = {"Accept-Encoding": b"identity", **headers}  # so that what is read is what was sent
        try:
            trusted = self._trusted(trust) if address.scheme == "https" else False
        except (OSError, ValueError):  # an ssl.SSLError is an OSError
            return Answer(None, fault="no certificates can be read from the file in SSL_CERT_FILE")
        client = httpx.AsyncClient(
            trust_env=False,
            follow_redirects=False,
            timeout=None,
            verify=trusted,
            limits=httpx.Limits(max_keepalive_connections=0),
        )
        came = bytearray()
        try:
            async with client, client.stream(method, address, headers=headers, content=body) as answer:
                async for piece in answer.aiter_raw():
                    came += piece
                    if len(came) > MUCH:
                        break
        except (httpx.HTTPError, OSError) as error:
            return Answer(None, fault=said(error))
        after = answer.headers.get("Retry-After", "")
        wait = float(after) if after.isascii() and after.isdigit() else 0.0
        return Answer(answer.status_code, bytes(came), wait=wait)

    def _trusted(self, trust: str) -> ssl.SSLContext:
        """What proves a certificate; loading it costs 20 ms."""
        trust = trust if os.path.isfile(trust) else ""
        if trust not in self._trusts:
            context: ssl.SSLContext = _httpx().create_ssl_context(trust_env=False)
            if trust:
                context.load_verify_locations(trust)
            self._trusts[trust] = context
        return self._trusts[trust]


def _with_login(address: httpx.URL, headers: Mapping[str, bytes]) -> Mapping[str, bytes]:
    """The headers; with a user and a password that stand in the address, where nothing else opens the door."""
    if "Authorization" in headers or not address.userinfo:
        return headers
    login = base64.b64encode(f"{address.username}:{address.password}".encode())
    return {**headers, "Authorization": b"Basic " + login}


def said(error: BaseException) -> str:
    """What went wrong, in our words; those of the other side may hold anything."""
    import socket
    import ssl

    words: tuple[tuple[type[BaseException], str], ...] = (
        (ssl.SSLCertVerificationError, "its certificate cannot be verified"),
        (ssl.SSLError, "it does not speak TLS"),
        (ConnectionRefusedError, "connection refused"),
        (socket.gaierror, "no such host"),
        (UnicodeError, "no such host"),
        (FileNotFoundError, "no such socket"),
        (PermissionError, "permission denied"),
        (ConnectionError, "the connection was cut"),
        (TimeoutError, "no answer"),
    )
    found = list(_causes(error))
    return next((text for kind, text in words if any(isinstance(each, kind) for each in found)), type(error).__name__)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and all that it came from."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        yield error
        if isinstance(error, BaseExceptionGroup):
            for each in error.exceptions:
                yield from _causes(each)
        error = error.__cause__ or error.__context__


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
