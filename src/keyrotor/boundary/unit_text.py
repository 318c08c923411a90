"""What `systemctl show` prints, as facts. Pure.

Rules:
1. `Environment=` holds values: only the names that have one are kept, so that no `Unit` can show a value.
2. systemctl is asked with TZ=UTC, so that its moments need no table of time zones.
Measured on 252: blocks come in the order asked for, EnvironmentFiles in the order in which they are read;
`--timestamp=unix` changes some moments and leaves others.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

SHOWN = (
    *("Id", "LoadState", "ActiveState", "SubState", "Result", "MainPID", "NRestarts", "InvocationID"),
    *("TimeoutStopUSec", "TriggeredBy", "FragmentPath", "DropInPaths", "NeedDaemonReload"),
    *("EnvironmentFiles", "Environment", "UnsetEnvironment"),
)
TIMER_SHOWN = (
    *("Id", "LoadState", "ActiveState", "SubState", "Result", "Unit", "LastTriggerUSec", "ActiveEnterTimestamp"),
    *("NextElapseUSecRealtime", "NextElapseUSecMonotonic", "InactiveExitTimestamp", "FragmentPath"),
)
MANAGED_SHOWN = (
    *("Id", "LoadState", "ActiveState", "SubState", "Result", "UnitFileState", "FragmentPath", "DropInPaths"),
    *("ActiveEnterTimestamp", "NeedDaemonReload"),
)
_SPAN = {"y": 31557600.0, "month": 2629800.0, "w": 604800.0, "d": 86400.0, "h": 3600.0, "min": 60.0, "s": 1.0}
_SPAN |= {"ms": 1e-3, "us": 1e-6}
_FILE = re.compile(r"^EnvironmentFiles=(.*) \(ignore_errors=(yes|no)\)$", re.MULTILINE)
_WORD = re.compile(r"""\$?(?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')|\S+""")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")


@dataclass(frozen=True, slots=True)
class EnvironmentFile:
    """One `EnvironmentFile=`, a path or a pattern."""

    path: str
    is_optional: bool  # a `-` before it


@dataclass(frozen=True, slots=True)
class Unit:
    """One look at a unit."""

    name: str
    load: str
    active: str
    sub: str
    result: str
    pid: int
    restarts: int
    invocation: str
    stop_timeout: float  # seconds; inf for `infinity`
    sockets: tuple[str, ...]
    fragment: str
    drop_ins: tuple[str, ...]
    environment_files: tuple[EnvironmentFile, ...]
    literals: frozenset[str]  # variables that Environment= gives a value
    removed: frozenset[str]  # variables that UnsetEnvironment= takes away, whatever sets them
    owes_reload: bool

    @property
    def is_active(self) -> bool:
        return self.active == "active" and self.pid > 0

    @property
    def life(self) -> tuple[int, int, str]:
        """What changes when the unit dies and comes back, whatever it says of itself meanwhile."""
        return (self.pid, self.restarts, self.invocation)


@dataclass(frozen=True, slots=True)
class Timer:
    """One look at a timer, or at what it wakes."""

    name: str
    load: str
    active: str
    sub: str  # of a timer: waiting, running, or `elapsed`, when it will not fire again
    result: str
    wakes: str  # the unit
    has_fired: bool
    since: datetime | None  # active since
    next: datetime | None = None  # when the calendar will fire it
    counts: bool = False  # whether it will fire some time after a start or a boot
    begun: datetime | None = None  # when it was last started, whoever did and whether or not it was skipped
    fragment: str = ""

    @property
    def is_known(self) -> bool:
        return self.load not in ("", "not-found")


@dataclass(frozen=True, slots=True)
class Managed:
    """A unit as who installs or removes it sees it."""

    name: str
    load: str
    active: str
    sub: str
    result: str
    enabled: str  # in the words of `systemctl is-enabled`; "" for a unit without a file
    fragment: str
    drop_ins: tuple[str, ...]
    since: datetime | None
    owes_reload: bool

    @property
    def is_enabled(self) -> bool:
        """At each boot: what is enabled at runtime is not."""
        return self.enabled == "enabled"


def parsed(name: str, shown: str) -> Unit:
    """`systemctl show` output as a Unit."""
    said = _properties(shown)
    return Unit(
        name=name,
        load=said.get("LoadState", ""),
        active=said.get("ActiveState", ""),
        sub=said.get("SubState", ""),
        result=said.get("Result", ""),
        pid=int(said.get("MainPID") or 0),
        restarts=int(said.get("NRestarts") or 0),
        invocation=said.get("InvocationID", ""),
        stop_timeout=seconds(said.get("TimeoutStopUSec", "")),
        sockets=tuple(unit for unit in said.get("TriggeredBy", "").split() if unit.endswith(".socket")),
        fragment=said.get("FragmentPath", ""),
        drop_ins=tuple(shlex.split(said.get("DropInPaths", ""))),  # quoted where there is a blank in one
        environment_files=tuple(EnvironmentFile(path, ignored == "yes") for path, ignored in _FILE.findall(shown)),
        literals=frozenset(_with_value(said.get("Environment", ""))),
        removed=frozenset(said.get("UnsetEnvironment", "").split()),
        owes_reload=said.get("NeedDaemonReload") == "yes",
    )


def parsed_timer(name: str, shown: str) -> Timer:
    """One block of `systemctl show` output as a Timer."""
    said = _properties(shown)
    return Timer(
        name=name,
        load=said.get("LoadState", ""),
        active=said.get("ActiveState", ""),
        sub=said.get("SubState", ""),
        result=said.get("Result", ""),
        wakes=said.get("Unit", ""),
        has_fired=moment(said.get("LastTriggerUSec", "")) is not None,
        since=moment(said.get("ActiveEnterTimestamp", "")),
        next=moment(said.get("NextElapseUSecRealtime", "")),
        counts=said.get("NextElapseUSecMonotonic", "") not in ("", "0", "infinity"),
        begun=moment(said.get("InactiveExitTimestamp", "")),
        fragment=said.get("FragmentPath", ""),
    )


def parsed_managed(name: str, shown: str) -> Managed:
    """One block of `systemctl show` output as a Managed."""
    said = _properties(shown)
    return Managed(
        name=name,
        load=said.get("LoadState", ""),
        active=said.get("ActiveState", ""),
        sub=said.get("SubState", ""),
        result=said.get("Result", ""),
        enabled=said.get("UnitFileState", ""),
        fragment=said.get("FragmentPath", ""),
        drop_ins=tuple(shlex.split(said.get("DropInPaths", ""))),
        since=moment(said.get("ActiveEnterTimestamp", "")),
        owes_reload=said.get("NeedDaemonReload") == "yes",
    )


def moment(text: str) -> datetime | None:
    """`Sun 2026-11-22 13:28:28 UTC` as a moment; None for what is not one, such as `n/a`."""
    found = _MOMENT.search(text)
    return datetime.fromisoformat(found[0]).replace(tzinfo=UTC) if found else None


def seconds(span: str) -> float:
    """systemd's `1min 30s` in seconds."""
    if span == "infinity":
        return float("inf")
    parts: list[tuple[str, str]] = re.findall(r"([0-9.]+)([a-z]*)", span)
    return sum(float(number) * _SPAN.get(unit, 1.0) for number, unit in parts)


def _properties(shown: str) -> dict[str, str]:
    return dict(line.partition("=")[::2] for line in shown.splitlines())


def _with_value(environment: str) -> Iterator[str]:
    """The names that have a value in `A=b "C=d e"`; a word with a blank or the like in it is quoted."""
    for word in _WORD.findall(environment):
        name, _, value = word.lstrip("$").strip("\"'").partition("=")
        if value:
            yield name
