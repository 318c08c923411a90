"""Many questions at once within one deadline, and which addresses are near enough for a value in clear.

Rules:
1. A question that is not answered by then is left; nothing that the other side sends or does not send delays us.
2. At most AT_ONCE are asked at a time, and none may use up the time of those that wait: each has an equal share.
3. Signals are heeded while we wait.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from threading import Thread
from typing import Any, Generic, TypeVar

AT_ONCE = 16  # connections: what a small host and a small router take without dropping any
SLICE = 0.05  # seconds between two looks at the signals

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Asked(Generic[T]):
    """What became of a question."""

    answer: T | None  # None: not within `allowed`
    allowed: float  # seconds that it had
    seconds: float  # that it took


def at_once(
    questions: Sequence[Callable[[], Awaitable[T]]],
    *,
    within: float,
    rest: Callable[[float], None],
    told: Callable[[int, int], None] = lambda _done, _all: None,
) -> list[Asked[T]]:
    """Every question's answer, in the order of the questions; `told` hears how many of how many are answered."""
    import asyncio

    loop = asyncio.new_event_loop()
    try:
        loop.set_default_executor(_Resolvers())
        return loop.run_until_complete(_all(questions, time.monotonic() + within, rest, told))
    finally:
        loop.close()


async def _all(
    questions: Sequence[Callable[[], Awaitable[T]]],
    deadline: float,
    rest: Callable[[float], None],
    told: Callable[[int, int], None],
) -> list[Asked[T]]:
    import asyncio

    slots, waiting = asyncio.Semaphore(AT_ONCE), len(questions)

    async def ask(question: Callable[[], Awaitable[T]]) -> Asked[T]:
        nonlocal waiting
        async with slots:
            began = time.monotonic()
            allowed = max(0.0, deadline - began) / math.ceil(waiting / AT_ONCE)
            waiting -= 1
            answer = None
            try:
                async with asyncio.timeout(allowed):
                    answer = await question()
            except TimeoutError:
                pass
            return Asked(answer, allowed, time.monotonic() - began)

    tasks = [asyncio.ensure_future(ask(question)) for question in questions]
    pending = set(tasks)
    try:
        while pending:
            rest(0.0)
            told(len(tasks) - len(pending), len(tasks))
            _, pending = await asyncio.wait(pending, timeout=SLICE, return_when=asyncio.FIRST_COMPLETED)
    finally:
        told(len(tasks), len(tasks))  # over for all, answered or not
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
    return [task.result() for task in tasks]


class _Resolvers(ThreadPoolExecutor):
    """A thread for each look-up of a name, which nobody waits for at the end: one that hangs would hold up the exit."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()

        def look_up() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(fn(*args, **kwargs))
                except (OSError, ValueError) as error:
                    future.set_exception(error)

        "".encode("idna")  # what a look-up imports, imported here: no thread may import while another one forks
        Thread(target=look_up, daemon=True).start()
        return future


async def addresses(host: str, port: int) -> list[str]:
    """Where the name leads. Raises OSError."""
    import asyncio
    import socket

    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def is_near(address: str) -> bool:
    """Whether what is sent there stays on this machine or in a private network (a tunnel's too)."""
    found = ip_address(address.partition("%")[0])
    if isinstance(found, IPv6Address):
        found = found.ipv4_mapped or found  # which not every Python looks into
    return not found.is_global
