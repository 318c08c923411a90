"""The stand-in for systemd where there is none: `python child.py restart|holds|stop --state DIR …`.

Written for the `command` place of a playbook: `restart` is its put, `holds` its holds, with the value on stdin. Rules:
1. A process is signalled only through a handle (pidfd) that was opened first and found to be ours afterwards, by start
   time and by a marker in its environment. A stranger who was given the same pid is never touched.
2. The child names itself in DIR/pid before it becomes CMD, under the lock of DIR: whoever is killed meanwhile, no
   gateway runs unnamed, and doing it again is always safe.
3. The child inherits nothing: no open file (a lock of the caller's would outlive it), no variable, no signal setting.
4. The value on stdin is read to its end and shown nowhere; the child gets its own from FILE, as a unit would.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hmac
import os
import select
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

KEY = "LITELLM_MASTER_KEY"
MARKER = "KEYROTOR_DEMO_CHILD"
KEPT = ("LANG", "PATH")
PATIENCE = 5.0  # seconds between SIGTERM and SIGKILL; systemd's 90 s would be too long to watch in a demo
HOLDS, HOLDS_NOT, CANNOT_TELL = 0, 1, 2


def restart(state: Path, env_file: Path, command: list[str]) -> int:
    """Ends our child if it runs and starts CMD anew with the variables of FILE; returns once it has become CMD."""
    variables = _variables(env_file.read_text())
    with _locked(state):
        _end(state)
        _start(state, variables, command)
    return 0


def holds(state: Path, value: bytes) -> int:
    """Says whether the running child has this value in its own environment."""
    child = _child(state)
    if child is None:
        return CANNOT_TELL
    pid, handle = child
    os.close(handle)
    held = _environ(pid).get(KEY)
    if held is None:
        return CANNOT_TELL
    return HOLDS if hmac.compare_digest(os.fsencode(held), value) else HOLDS_NOT


def stop(state: Path) -> int:
    """Ends our child; nothing to do is fine."""
    if state.is_dir():
        with _locked(state):
            _end(state)
    return 0


def child_pid(state: Path) -> int | None:
    """The pid of our child while it runs."""
    child = _child(state)
    if child is None:
        return None
    os.close(child[1])
    return child[0]


@contextlib.contextmanager
def _locked(state: Path) -> Iterator[None]:
    """One at a time; the forked child keeps the lock until it has named itself and become CMD."""
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(state / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _child(state: Path) -> tuple[int, int] | None:
    """The pid in DIR/pid and a handle on that process, if it runs and is ours. The caller closes the handle."""
    try:
        pid, start = map(int, (state / "pid").read_text().split())
        handle = os.pidfd_open(pid)
    except (OSError, ValueError, OverflowError):
        return None
    if _start_time(pid) == start and _environ(pid).get(MARKER) == str(state.resolve()):
        return pid, handle
    os.close(handle)
    return None


def _end(state: Path) -> None:
    child = _child(state)
    if child is not None:
        _, handle = child
        for number, patience in ((signal.SIGTERM, PATIENCE), (signal.SIGKILL, None)):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, number)
            if select.select([handle], [], [], patience)[0]:
                break
        os.close(handle)
    (state / "pid").unlink(missing_ok=True)


def _start(state: Path, variables: Mapping[str, str], command: list[str]) -> None:
    """Forks the child and waits until it has become CMD, or says why it could not."""
    environment = {name: os.environ[name] for name in KEPT if name in os.environ}
    environment |= {**variables, MARKER: str(state.resolve())}
    answer, report = os.pipe()
    if os.fork() == 0:
        _become(state, command, environment, report)
    os.close(report)
    with os.fdopen(answer) as lines:
        why = lines.read()
    if why:
        raise OSError(f"cannot start {command[0]}: {why}")


def _become(state: Path, command: list[str], environment: Mapping[str, str], report: int) -> NoReturn:
    """In the forked child: leave the caller's session, let go of what is inherited, be named, become CMD."""
    try:
        os.setsid()
        os.umask(0o077)
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        for name in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):  # the descriptor of the listing itself is closed by now
                os.set_inheritable(int(name), False)
        log = os.open(state / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for standard, source in enumerate((os.open(os.devnull, os.O_RDONLY), log, log)):
            os.dup2(source, standard)
        _name(state)
        os.execve(command[0], command, environment)
    except (OSError, ValueError) as error:
        os.write(report, str(error).encode())
    finally:
        os._exit(127)


def _name(state: Path) -> None:
    """Writes this process into DIR/pid, whole or not at all."""
    fresh = state / "pid.new"
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(f"{os.getpid()} {_start_time(os.getpid())}\n")
    os.replace(fresh, state / "pid")


def _start_time(pid: int) -> int | None:
    """Clock ticks since boot at which the process began: field 22 of its stat, counted after the name in brackets."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, IndexError):
        return None


def _environ(pid: int) -> dict[str, str]:
    try:
        pairs = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return {}
    variables = (os.fsdecode(pair).partition("=") for pair in pairs)
    return {name: value for name, _, value in variables}


def _variables(text: str) -> dict[str, str]:
    """NAME=value lines, as much of systemd's EnvironmentFile as the lab writes: comments, one pair of quotes."""
    variables = {}
    for line in map(str.strip, text.splitlines()):
        name, equals, value = line.partition("=")
        if equals and not line.startswith(("#", ";")):
            is_quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
            variables[name.strip()] = value[1:-1] if is_quoted else value
    return variables


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="child", allow_abbrev=False)
    parser.add_argument("verb", choices=("restart", "holds", "stop"))
    parser.add_argument("--state", type=Path, required=True, metavar="DIR")
    parser.add_argument("--env-file", type=Path, metavar="FILE")
    words = list(sys.argv[1:] if arguments is None else arguments)
    split = words.index("--") if "--" in words else len(words)  # argparse does not find CMD behind an option
    options, command = parser.parse_args(words[:split]), words[split + 1 :]
    if options.verb == "stop":
        return stop(options.state)
    value = sys.stdin.buffer.read()
    if options.verb == "holds":
        return holds(options.state, value)
    if options.env_file is None or not command:
        parser.error("restart needs --env-file FILE and -- CMD")
    try:
        return restart(options.state, options.env_file, command)
    except OSError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
