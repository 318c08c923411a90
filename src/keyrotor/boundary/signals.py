"""Waiting, and being asked to stop.

Until a run listens, a signal ends us as any program. Then the first one ends every wait and turns a forward run back;
during a rollback or the last look it is answered and ignored. The second one stops the run where it is. SIGHUP and a
closed pipe stop nothing; nor does anything once all is told.
"""

from __future__ import annotations

import atexit
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from keyrotor.errors import InterruptedRun

SLICE = 0.05  # seconds: how long a signal may go unanswered in a wait


def be_ended_by_ctrl_c() -> None:
    """Without a word, by the signal itself; where it is ignored it stays so. As an exception it would be shown, or
    lost: Python drops one that comes while a weak reference is called back, and an import has such."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def interruptible() -> Iterator[None]:
    """Meanwhile Ctrl-C is an exception: the answer of a person who is asked, or the end of what must be tidied up."""
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.SIG_IGN:  # of what runs in the background of a script it is none of our business
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class Signals:
    """Counts the signals of a run. `say` is told the one that is ignored."""

    def __init__(self, say: Callable[[str], None] = lambda _: None) -> None:
        self._say = say
        self._count = 0
        self._name = ""
        self._is_pending = False
        self.is_firm = False  # a rollback or the last look: the first signal does not stop it
        self._doing = "finishing what is in hand first"

    def listen(self) -> None:
        """Take the process's signals. Main thread only."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._caught)
        for number in (signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)
        atexit.register(_be_deaf)

    def _caught(self, number: int, _: FrameType | None) -> None:
        self._count += 1
        self._name = signal.Signals(number).name
        if self._count == 1 and self.is_firm:
            self._say(f"{self._name}: {self._doing}; once more stops now")
        else:
            self._is_pending = True

    def stand_firm(self, doing: str) -> None:
        """From now on the first signal is answered with what is being done, and the one after it stops that; those that
        came before do not count."""
        self._count, self._is_pending, self.is_firm, self._doing = 0, False, True, doing

    @property
    def must_stop_now(self) -> bool:
        return self._count > 1

    def raise_if_asked(self) -> None:
        """Raises InterruptedRun once for each signal that asks to stop."""
        if self._is_pending:
            self._is_pending = False
            raise InterruptedRun(self._name)

    def rest(self, seconds: float) -> None:
        """Sleep; raises InterruptedRun within 50 ms of a signal that asks to stop."""
        deadline = time.monotonic() + seconds
        self.raise_if_asked()
        while (left := deadline - time.monotonic()) > 0:
            time.sleep(min(left, SLICE))
            self.raise_if_asked()


def _be_deaf() -> None:
    """How we end is settled: Python would take its handlers back now, and a signal would end us by itself."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
