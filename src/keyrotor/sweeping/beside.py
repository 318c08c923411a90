"""One thread beside the main one, for what needs no interpreter: to unpack takes as long as all the rest.

There is one job at a time, and one waits for the one before it: what is in hand is bounded.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, TypeVar

from keyrotor.errors import InterruptedRun

T = TypeVar("T")
Ask = Callable[[], None]


class Beside(Generic[T]):
    """A job is given what it has to ask now and then: it raises InterruptedRun once nobody wants the outcome."""

    def __init__(self, raise_if_asked: Ask) -> None:
        self._raise_if_asked = raise_if_asked
        self._thread = ThreadPoolExecutor(1)
        self._running: Future[T] | None = None
        self._is_given_up = False

    def __enter__(self) -> Beside[T]:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._is_given_up = True
        self._thread.shutdown()

    def start(self, job: Callable[[Ask], T]) -> None:
        """Only after `outcome` has told that of the one before."""
        self._running = self._thread.submit(job, self._ask)

    def outcome(self) -> T | None:
        """What the job has come to, once it is done; None if there is none. Raises what it has raised."""
        running, self._running = self._running, None
        return running.result() if running else None

    def _ask(self) -> None:
        if self._is_given_up:
            raise InterruptedRun
        self._raise_if_asked()
