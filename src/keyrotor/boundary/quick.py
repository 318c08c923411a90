"""A program's answer without `sh`, which takes 75 ms to import: for commands that a person types all day.

The rules are those of process.py: an environment of named variables, a session of its own, an end after a time. It
runs nothing that takes a lock, or that is waited for while signals are counted: a signal that would end us ends the
child first, and then us, as if nobody had caught it. Main thread only.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType

from keyrotor.boundary.process import Done
from keyrotor.errors import PlaceError

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class Quick:
    """Runs a program to its end; `meanwhile` is done once, while it runs."""

    def __init__(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        self._meanwhile = meanwhile

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        stdin: bytes = b"",
        cwd: Path | None = None,
        within: float = 60.0,
    ) -> Done:
        """As `Processes.run`. Raises PlaceError when it cannot start or takes longer than `within` seconds."""
        with _Ending() as ending:
            try:
                child = subprocess.Popen(
                    argv,
                    env=env,
                    cwd=cwd,
                    stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    start_new_session=True,
                )
            except FileNotFoundError:
                raise PlaceError(f"cannot run {argv[0]}: no such program") from None
            except OSError as error:
                raise PlaceError(f"cannot run {argv[0]}: {(error.strerror or '').lower()}") from None
            try:
                ending.arm(child)
                self._meanwhile()
                out, err = child.communicate(stdin or None, timeout=within)
            except subprocess.TimeoutExpired:
                _end_group(child)
                raise PlaceError(f"cannot wait longer for {argv[0]}: not done after {within:g} s") from None
            except BaseException:
                _end_group(child)
                raise
            return Done(child.returncode, out, err)


class _Ending:
    """Holds back what would end us until the child can be ended, too; what was ignored or caught by others stays so.

    Nothing is raised: Python loses what a handler raises in a weak reference's callback, and an import has such.
    """

    def __init__(self) -> None:
        self._number = 0
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> _Ending:
        self._taken = [number for number in _ENDING if signal.getsignal(number) is signal.SIG_DFL]
        for number in self._taken:
            signal.signal(number, self._heard)
        return self

    def arm(self, child: subprocess.Popen[bytes]) -> None:
        """From now on a signal ends the child and us, as does one that has come already."""
        self._child = child
        if self._number:
            self._end()

    def _heard(self, number: int, _: FrameType | None) -> None:
        self._number = number
        if self._child:
            self._end()

    def _end(self) -> None:
        if self._child and self._child.returncode is None:
            _kill_group(self._child)
        self.__exit__()

    def __exit__(self, *_: object) -> None:
        for number in self._taken:
            signal.signal(number, signal.SIG_DFL)
        if self._number:
            os.kill(os.getpid(), self._number)


class CoreDumps:
    """None of ours while we hold values; the program that takes our place may have its own again."""

    def __init__(self) -> None:
        self._limit = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (0, self._limit[1]))

    def allow_again(self) -> None:
        resource.setrlimit(resource.RLIMIT_CORE, self._limit)


def _end_group(child: subprocess.Popen[bytes]) -> None:
    _kill_group(child)
    child.communicate()


def _kill_group(child: subprocess.Popen[bytes]) -> None:
    """The child leads its own session, so its group is all that it started."""
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
