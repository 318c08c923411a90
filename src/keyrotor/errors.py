"""The error tree, by whose fault it is, and the exit codes.

Rules of the house:
1. A message says `cannot …: why`, in lower case, without a full stop; the hint is the command to type.
2. A foreign exception stops at the boundary and leaves as one of these.
3. A new class only where some caller does something else with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from pathlib import PurePath


class Exit(IntEnum):
    """What the shell sees (docs/reference/exit-codes.md)."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    REFUSED = 3
    FINDINGS = 10
    ROLLED_BACK = 20
    STUCK = 21
    INTERRUPTED = 22
    OLD_ALIVE = 23
    BUSY = 30
    NOT_RUNNABLE = 126  # of `exec` only, as `env` has it
    NOT_FOUND = 127  # likewise


class KeyrotorError(Exception):
    """Everything keyrotor says no with: one sentence, one hint, one exit code. Never holds a value."""

    exit = Exit.FAILED

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(KeyrotorError):
    """The command line asks for something that cannot be asked."""

    exit = Exit.USAGE


class PlaybookError(UsageError):
    """The author of the playbook can mend this; the message names file, place and key."""


class NoPlaybookError(UsageError):
    """None was named, and there is none to be found: `doctor` looks at what needs none."""


class RefusedError(KeyrotorError):
    """Preflight says no. Nothing was changed."""

    exit = Exit.REFUSED


def refused(what: str, reasons: Sequence[str], hint: str = "") -> RefusedError:
    """No, for these reasons: the one there is in its own words, several one below the other."""
    several = f"{what}, for {len(reasons)} reasons:\n  " + "\n  ".join(reasons)
    return RefusedError(several if len(reasons) > 1 else reasons[0], hint=hint)


class NotRunnableError(KeyrotorError):
    """The program that was to take our place cannot be run."""

    exit = Exit.NOT_RUNNABLE


class NotFoundError(KeyrotorError):
    """The program that was to take our place is nowhere."""

    exit = Exit.NOT_FOUND


class BusyError(KeyrotorError):
    """Another run holds the lock of this secret file."""

    exit = Exit.BUSY


class OwedError(KeyrotorError):
    """A run of this secret file was not finished, or cannot be finished now; it is owed."""

    exit = Exit.INTERRUPTED

    def __init__(self, message: str, *, run: str, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.run = run


class StuckError(KeyrotorError):
    """Neither as it was nor as it should be; a person is needed."""

    exit = Exit.STUCK


class PlaceError(KeyrotorError):
    """The world does not do what a place asked of it: the file, the unit, the door."""


class StrangerError(PlaceError):
    """A client's file is gone, or holds what is somebody else's: it keeps nobody on the value that is taken back."""


class UnprovenError(PlaceError):
    """The goal is accepted, but the other value is not proven dead: not a reason to turn back."""


class FormatError(PlaceError):
    """Bytes that are not of the format they are said to be; names line and column, never content."""

    def __init__(self, why: str, line: int, column: int) -> None:
        super().__init__(f"{why} at line {line}, column {column}")
        self.line, self.column = line, column


class JournalError(KeyrotorError):
    """The record cannot be written, read or believed."""


class InterruptedRun(Exception):  # noqa: N818  not an error: somebody asked us to stop
    """A signal ended a wait. The engine decides what follows from it."""


def internal(error: Exception) -> KeyrotorError:
    """A bug of ours, told by its kind and its place; its text may hold anything, so that is not told."""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    where = f" at {PurePath(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else ""
    return KeyrotorError(f"internal error: {type(error).__name__}{where}", hint="keyrotor status  (is a run owed?)")
