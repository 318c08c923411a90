"""The use case `doctor`: can a rotation run here, and in the environment that the timer will have?

Writes nothing. A playbook with an error is a line, not an end: what needs no playbook is looked at all the same.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from keyrotor import playbook, shelf
from keyrotor.core import plan
from keyrotor.core.checkup import Check, Examined, Line, State
from keyrotor.core.model import Act, Playbook
from keyrotor.errors import (
    BusyError,
    JournalError,
    NoPlaybookError,
    OwedError,
    PlaceError,
    PlaybookError,
    RefusedError,
    UsageError,
    internal,
)
from keyrotor.ports import World

# The variables that a line stands or falls with, where it is well in one environment and ill in another; the first
# of them that differs is the one to hand over.
_CAUSES: Mapping[str, tuple[str, ...]] = {
    "sops": ("KEYROTOR_SOPS", "PATH"),
    "git": ("PATH",),
    "identity": ("SOPS_AGE_KEY_FILE", "SOPS_AGE_KEY_CMD", "SOPS_AGE_SSH_PRIVATE_KEY_FILE"),
    "keyring": ("DBUS_SESSION_BUS_ADDRESS", "PYTHON_KEYRING_BACKEND"),
    "state": ("KEYROTOR_STATE_DIR", "XDG_STATE_HOME"),
}

# Whatever is raised by one look costs one line. A bug of ours is told by its kind and place, as everywhere.
_OURS = (PlaceError, RefusedError, JournalError, UsageError, BusyError, OwedError)
_BUGS = (OSError, LookupError, ValueError, TypeError, AttributeError, ArithmeticError, NameError, RuntimeError)

_ONE_RECORD = "let KEYROTOR_STATE_DIR name the same folder in both"
_NO_SYSTEMD = "run keyrotor where systemd runs (systemd-run belongs to it)"


def doctor(world: World, name: str | None) -> Examined:
    """Look at everything that a rotation needs here. Raises UsageError for a playbook that cannot be chosen."""
    book, line = _book(world, _found(world, name))
    checks = world.checks(book, plan.rows(book) if book else ())
    return Examined((line, *_looked(checks)), world.variables(), str(world.state))


def as_timer(world: World, name: str | None) -> Examined:
    """The same as the timer's service would see it, and what differs from here. Raises UsageError."""
    path = _found(world, name)
    book, _ = _book(world, path)
    scope = _scope(book)
    try:
        there = world.as_timer(scope, book.name if book else "", _named(path))
    except _OURS as error:
        return Examined((Line("timer", State.ILL, str(error), error.hint or _NO_SYSTEMD),), {}, "")
    here = doctor(world, name)
    lines = (_compared(line, here, there, scope) for line in there.lines)
    return replace(there, lines=(_difference(here, there), *lines))


def _scope(book: Playbook | None) -> str:
    """Whose timer it will be: that of the manager of the unit which a rotation restarts."""
    units = [row for row in plan.rows(book) if row.act is Act.RESTART] if book else []
    return str(units[0].options["scope"]) if units else "user"


def _named(path: Path | NoPlaybookError) -> str:
    return str(path) if isinstance(path, Path) else ""


def _found(world: World, name: str | None) -> Path | NoPlaybookError:
    try:
        return shelf.find(name, world.folder, world.env)
    except NoPlaybookError as error:
        return error


def _book(world: World, path: Path | NoPlaybookError) -> tuple[Playbook | None, Line]:
    if isinstance(path, NoPlaybookError):
        return None, Line("playbook", State.ILL, str(path), "keyrotor doctor path/to/playbook.toml")
    try:
        book = playbook.load(path, world.env)
    except PlaybookError as error:
        return None, Line("playbook", State.ILL, str(error), error.hint or f"edit {shlex.quote(str(path))}")
    return book, Line("playbook", State.WELL, f"{book.name} ({path})")


def _looked(checks: Iterable[Check]) -> Iterator[Line]:
    ill: dict[str, str] = {}  # a line that is not well, or not looked at -> what must be mended first
    for check in checks:
        if first := next((ill[needed] for needed in check.needs if needed in ill), ""):
            ill.setdefault(check.name, first)
            yield Line(check.name, State.SKIPPED, f"not looked at: {first} must be mended first")
            continue
        line = _line(check)
        if line.state is State.ILL:
            ill[line.name] = line.name
        yield line


def _line(check: Check) -> Line:
    began = time.monotonic()
    try:
        seen = check.look()
    except _OURS as error:
        seen = Line(check.name, State.ILL, str(error), error.hint or check.mend)
    except _BUGS as error:
        bug = internal(error)
        seen = Line(check.name, State.ILL, f"cannot look at it: {bug}", check.mend or bug.hint)
    line = seen if isinstance(seen, Line) else Line(check.name, State.WELL, seen)
    return replace(line, seconds=time.monotonic() - began)


def _compared(there: Line, here: Examined, timer: Examined, scope: str) -> Line:
    """The timer's line; where the environment alone makes it ill, said so, with what mends that."""
    if there.name == "state" and there.state is not State.ILL and here.state != timer.state:
        said = f"the timer's record would be in {timer.state}, and this shell's is in {here.state}"
        there = replace(there, state=State.ILL, said=said, mend=_ONE_RECORD)
    elif there.state is not State.ILL or _is_ill(here, there.name):
        return there
    else:
        there = replace(there, said=f"{there.said}; in this shell it is well: it is the environment")
    is_command = there.name.startswith("place ") and "no such program" in there.said
    known = ("PATH",) if is_command else _CAUSES.get(there.name, ())
    causes = [name for name in known if _differs(name, here, timer) and name in here.environment]
    return replace(there, mend=_import(causes[0], scope)) if causes else there


def _is_ill(seen: Examined, name: str) -> bool:
    """Also where there is no such line: then nothing is known to be well."""
    return not any(line.name == name and line.state is not State.ILL for line in seen.lines)


def _import(variable: str, scope: str) -> str:
    for_good = "~/.config/environment.d" if scope == "user" else "Environment= in the timer's service"
    return f"systemctl --{scope} import-environment {variable}  (until the manager ends; for good: {for_good})"


def _difference(here: Examined, there: Examined) -> Line:
    """Which variables that matter the timer does not have, or has otherwise. Whether it matters, the others tell."""
    only = [name for name in here.environment if name not in there.environment]
    other = [name for name in here.environment if name in there.environment and _differs(name, here, there)]
    if "PATH" in other:
        missing = _folders(here) - _folders(there)
        other[other.index("PATH")] = f"PATH (without {', '.join(sorted(missing))})" if missing else "PATH"
    parts = [f"without {', '.join(only)}"] * bool(only) + [f"with another {', '.join(other)}"] * bool(other)
    if _differs("HOME", here, there):
        home = there.environment.get("HOME", "not set")
        said = f"it runs {', and '.join(parts)}; with {home} for HOME, `~` in a playbook means other files there"
        return Line(
            "timer", State.ILL, said, "write the paths in the playbook in full, or install the timer as its user"
        )
    if not parts:
        return Line("timer", State.WELL, "it has all variables of this shell that matter")
    return Line("timer", State.UNKNOWN, f"it runs {', and '.join(parts)}")


def _differs(name: str, here: Examined, there: Examined) -> bool:
    return here.environment.get(name) != there.environment.get(name)


def _folders(seen: Examined) -> set[str]:
    return set(filter(None, seen.environment.get("PATH", "").split(":")))
