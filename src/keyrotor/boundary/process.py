"""The one subprocess, by sh.

Rules:
1. A child gets an environment of named variables only; a value reaches it on stdin or not at all.
2. Each child leads a session of its own: a Ctrl-C in our terminal is ours to answer, and a timeout
   ends the whole group.
3. A child inherits the run's lock, so that one which outlives us still counts as a run.
4. What a child prints is data: it is never logged, and shown only by a caller that has redacted it.
5. What may print gigabytes is read block by block as it prints, and ends with whoever reads it.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import select
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keyrotor.errors import PlaceError

# Where programs, homes, buses and languages are found. Everything else stays with us: the shell that
# direnv has filled carries the very key that is being rotated.
_NAMED = (
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "LANG", "LANGUAGE", "TZ", "TMPDIR"),
    *("XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "DBUS_SESSION_BUS_ADDRESS"),
)

TIDY = 2.0  # seconds that a child has between SIGTERM and SIGKILL
POLL = 0.005  # seconds between looks at a child; sops and systemctl end after 10 to 50 ms
BLOCK = 1024 * 1024  # bytes that are read of a child at once, at the most
SLICE = 50  # milliseconds for which a child that prints nothing is waited for before signals are heard
_KEPT = 1000  # lines of what a streaming child complains of


@dataclass(frozen=True, slots=True)
class Done:
    """How a child ended. A code below zero is the signal that ended it."""

    code: int
    out: bytes
    err: bytes


def environment(source: Mapping[str, str], *names: str, prefixes: tuple[str, ...] = ()) -> dict[str, str]:
    """The variables that a child may have: the named ones, LC_*, and what the caller names."""
    wanted = {*_NAMED, *names}
    return {key: text for key, text in source.items() if key in wanted or key.startswith(("LC_", *prefixes))}


def found(program: str, env: Mapping[str, str], cwd: Path | None = None) -> str | None:
    """The program's path: along the child's own PATH, or from the folder that it is run in."""
    import shutil  # 2 ms, which `exec` does not pay

    if "/" in program:
        program = str((cwd or Path.cwd()) / program)
    return shutil.which(program, path=env.get("PATH"))


class Streamed:
    """What a child prints, while it prints it."""

    def __init__(self, descriptor: int, hear: Callable[[], None]) -> None:
        self._descriptor = descriptor
        self._hear = hear
        self.is_read = False  # to its end
        self.done: Done | None = None  # how the child ended, once it is left; None where it was left before its end

    def blocks(self) -> Iterator[memoryview]:
        """All of it, in blocks that are full but for the last; each is overwritten by the next."""
        buffer = memoryview(bytearray(BLOCK))
        ready = select.poll()
        ready.register(self._descriptor, select.POLLIN)
        filled = 0
        while True:
            self._hear()
            try:
                count = os.readv(self._descriptor, [buffer[filled:]])
            except BlockingIOError:
                ready.poll(SLICE)
                continue
            filled += count
            self.is_read = not count
            if count and filled < BLOCK:
                continue
            if filled:
                yield buffer[:filled]
            if not count:
                return
            filled = 0


class Processes:
    """Runs programs for the places; `rest` is called while one is running and may raise to end the wait."""

    def __init__(self, rest: Callable[[float], None] = time.sleep) -> None:
        self._rest = rest
        self.lock: int | None = None  # the run's lock, which children inherit
        self.until = math.inf  # the moment (monotonic) at which every child has ended

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        stdin: bytes = b"",
        cwd: Path | None = None,
        within: float = 60.0,
    ) -> Done:
        """Run to the end. Raises PlaceError when it cannot start or takes longer than `within` seconds."""
        child = self._started(argv, env, stdin, cwd)
        self._wait(child, argv[0], min(within, max(0.0, self.until - time.monotonic())))
        return Done(child.exit_code, child.stdout, child.stderr)

    @contextmanager
    def streaming(
        self, argv: Sequence[str], *, env: Mapping[str, str], stdin: bytes = b"", cwd: Path | None = None
    ) -> Iterator[Streamed]:
        """Run with what is printed read as it comes; the child and all that it started end with the block.

        Raises PlaceError when it cannot start.
        """
        reading, writing = os.pipe()
        try:
            with contextlib.suppress(OSError):  # a pipe of 64 KiB would keep the child waiting whenever we think
                fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, BLOCK)
            try:
                child = self._started(argv, env, stdin, cwd, _out=writing, _internal_bufsize=_KEPT)
            finally:
                os.close(writing)
            os.set_blocking(reading, False)
            streamed = Streamed(reading, lambda: self._rest(0.0))
            try:
                yield streamed
                if streamed.is_read:
                    self._wait(child, argv[0], 10.0)
                    streamed.done = Done(child.exit_code, b"", child.stderr)
            finally:
                if streamed.done is None:
                    _end_group(child.process.pid)
        finally:
            os.close(reading)

    def _started(
        self, argv: Sequence[str], env: Mapping[str, str], stdin: bytes, cwd: Path | None, **how: Any
    ) -> Any:  # sh has no types
        program = found(argv[0], env, cwd)
        if program is None:
            raise PlaceError(f"cannot run {argv[0]}: no such program")

        import sh  # 80 ms: only a command that runs something pays for it

        try:
            return sh.Command(program)(
                *argv[1:],
                _in=stdin,
                _env=dict(env),
                _cwd=str(cwd) if cwd else None,
                _bg=True,
                _bg_exc=False,
                _tty_out=False,
                _new_session=True,
                _pass_fds=set() if self.lock is None else {self.lock},
                _ok_code=list(range(-64, 256)),
                _preexec_fn=_hear_hang_ups,
                _return_cmd=True,
                **how,
            )
        except (OSError, sh.CommandNotFound, sh.ForkException) as error:
            raise PlaceError(f"cannot run {argv[0]}: {type(error).__name__}") from None

    def _wait(self, child: object, name: str, within: float) -> None:
        deadline = time.monotonic() + within
        try:
            while child.is_alive():  # type: ignore[attr-defined]
                if time.monotonic() > deadline:
                    raise PlaceError(f"cannot wait longer for {name}: not done after {round(within, 1):g} s")
                self._rest(POLL)
            child.wait()  # type: ignore[attr-defined]
        except BaseException:
            _end_group(child.process.pid)  # type: ignore[attr-defined]
            raise


def keep_out_of_core_dumps() -> None:
    """A crash of this process must not write its memory, and both values in it, to a disk."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))


def _end_group(pid: int) -> None:
    """The child led its own session, so its group is all that it started. It may tidy up first: git, for one,
    leaves the repository locked if it may not."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGTERM)
        deadline = time.monotonic() + TIDY
        while time.monotonic() < deadline:
            os.killpg(pid, 0)  # raises once nobody is left
            time.sleep(POLL)
        os.killpg(pid, signal.SIGKILL)


def _hear_hang_ups() -> None:
    """We ignore SIGHUP, and sh lets a child do so too; but a daemon that a command starts may reload by it."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
