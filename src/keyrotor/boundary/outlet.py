"""The ways by which values leave on purpose: as lines for a shell to evaluate, alone for a program that has called us,
and into the environment of the program that takes our place.

Rules:
1. The program gets the environment that we were started with and the values, nothing more and nothing less: not what
   Python or we have set since.
2. It gets our pid, terminal, folder, umask and descriptors as they are, and signals and limits as they were; but for
   SIGPIPE and SIGXFSZ, which are as for most: Python has them ignored before we could see whether they were.
3. A value that the system would cut or not take, or that is not what was encrypted, is refused by its key's name.
"""

from __future__ import annotations

import errno
import os
import re
import signal
from collections.abc import Mapping, Sequence
from typing import BinaryIO, NoReturn

from keyrotor.boundary.plaintext import unseal
from keyrotor.boundary.quick import CoreDumps
from keyrotor.errors import KeyrotorError, NotFoundError, NotRunnableError, RefusedError
from keyrotor.secret import Secret

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LONGEST = 128 * 1024  # bytes of one `NAME=value` with the nul at its end (MAX_ARG_STRLEN)
_REPLACED = "\ufffd".encode()  # what sops puts for a byte that is no UTF-8
_OURS = "/proc/self/environ"  # what we were started with; Python sets LC_CTYPE where there is no locale (PEP 538)


def say(values: Mapping[str, Secret], out: BinaryIO) -> None:
    """One `export NAME='value'` for each, for `eval`. Raises RefusedError before the first, KeyrotorError."""
    for name, secret in values.items():
        if not _VARIABLE.fullmatch(name):
            raise RefusedError(f"cannot print {name!r}: not the name of a variable")
        _want_whole(name, secret)
    quoted = {name: unseal(secret).replace(b"'", b"'\"'\"'") for name, secret in values.items()}
    lines = b"".join(b"export %b='%b'\n" % (name.encode(), value) for name, value in quoted.items())
    try:
        out.write(lines)
        out.flush()
    except OSError as error:
        raise KeyrotorError(f"cannot write the answer: {(error.strerror or '').lower()}") from None


def say_alone(name: str, secret: Secret, out: int) -> None:
    """The value and a newline, in the stead of which no caller can read anything else: one line, with no space around
    it that would be trimmed. Raises RefusedError before a byte is written, KeyrotorError."""
    value = unseal(secret)
    text = value.decode(errors="replace")
    if not text:
        raise RefusedError(f"cannot print {name}: it is empty")
    if _REPLACED in value or text.encode() != value:
        raise RefusedError(f"cannot print {name}: it is no text (UTF-8)")
    if not text.isprintable() or text != text.strip():
        raise RefusedError(f"cannot print {name}: it is not one line of printable characters")
    rest = memoryview(value + b"\n")
    try:
        while rest:  # past Python's buffers, which would try again, and complain, when we end
            rest = rest[os.write(out, rest) :]
    except OSError as error:
        raise KeyrotorError(f"cannot write the answer: {(error.strerror or '').lower()}") from None


def become(command: Sequence[str], values: Mapping[str, Secret], dumps: CoreDumps) -> NoReturn:
    """Run the command in our stead, with these values in its environment. Raises RefusedError, NotFoundError,
    NotRunnableError."""
    for name, secret in values.items():
        if not name or "=" in name or "\0" in name:
            raise RefusedError(f"cannot hand over {name!r}: no variable can have that name")
        _want_whole(name, secret)
    environment = {**_environment(), **{name.encode(): unseal(secret) for name, secret in values.items()}}
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and that would be inherited
        signal.signal(number, signal.SIG_DFL)
    dumps.allow_again()
    try:
        _execute(command, environment)
    except OSError as error:
        why = (error.strerror or "").lower()
        if error.errno == errno.E2BIG:
            raise _too_big(values) from None
        if error.errno == errno.ENOENT:
            raise NotFoundError(f"cannot run {command[0]}: {why}") from None
        raise NotRunnableError(f"cannot run {command[0]}: {why}") from None


def _execute(command: Sequence[str], environment: Mapping[bytes, bytes]) -> NoReturn:
    """As `env` does it: along the PATH that the program will see, and a script without `#!` by the shell."""
    program = command[0]
    if not program:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    failed: OSError | None = None
    for path in _candidates(program, environment):
        try:
            os.execve(path, [*command], environment)  # noqa: S606  there is no shell on purpose
        except OSError as error:
            if error.errno == errno.ENOEXEC:
                os.execve("/bin/sh", ["sh", path, *command[1:]], environment)  # noqa: S606  as above
            if "/" in program or error.errno not in (errno.ENOENT, errno.ENOTDIR):
                failed = failed or error  # what is there and cannot be run tells more than what is nowhere
    raise failed or FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


def _candidates(program: str, environment: Mapping[bytes, bytes]) -> list[str]:
    if "/" in program:
        return [program]
    folders = os.fsdecode(environment.get(b"PATH", os.fsencode(os.defpath))).split(os.pathsep)
    return [os.path.join(folder or ".", program) for folder in folders]


def _environment() -> dict[bytes, bytes]:
    """The environment that we were started with; of a name that is there twice the first, as `getenv` has it."""
    try:
        with open(_OURS, "rb") as file:
            block = file.read()
    except OSError:
        return dict(os.environb)
    pairs = (entry.partition(b"=") for entry in block.split(b"\0"))
    found: dict[bytes, bytes] = {}
    for name, equals, value in pairs:
        if name and equals:
            found.setdefault(name, value)
    return found


def _want_whole(name: str, secret: Secret) -> None:
    if b"\0" in unseal(secret):
        raise RefusedError(f"cannot hand over {name}: it holds a nul byte, which no variable can")
    if _REPLACED in unseal(secret):
        raise RefusedError(f"cannot hand over {name}: it is no text (UTF-8), and sops replaces what is none")


def _too_big(values: Mapping[str, Secret]) -> RefusedError:
    """The system takes no variable as long as this, or not all of them together."""
    long = [name for name, secret in values.items() if len(name.encode()) + len(unseal(secret)) + 2 > _LONGEST]
    why = (
        f"{', '.join(long)}: no variable can be longer than 128 KiB"
        if long
        else "the values: they are too long together"
    )
    return RefusedError(f"cannot hand over {why}", hint="keyrotor exec --only KEY -- …")
