"""The ports of what stands around a run: who may stop it, who is shown it, git, the gateway's units."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from keyrotor.core.checkup import Line
from keyrotor.core.machine import Event, Run
from keyrotor.core.model import Playbook, Row
from keyrotor.core.serving import Intent, Removed
from keyrotor.secret import Secret


class Stop(Protocol):
    """Somebody may ask us to stop."""

    is_firm: bool

    def stand_firm(self, doing: str) -> None:
        """The next signal is answered with what is being done, and ignored; whatever came before does not count."""

    @property
    def must_stop_now(self) -> bool: ...
    def raise_if_asked(self) -> None: ...


class Screen(Protocol):
    """Whoever is shown what happens."""

    def say(self, text: str) -> None:
        """One line."""

    def preflight(self, playbook: Playbook, rows: Sequence[Row]) -> None: ...
    def skipped(self, row: Row, why: str) -> None: ...
    def consents(self, book: Playbook, rows: Sequence[Row]) -> bool:
        """Whether the person agrees to the first effect."""

    def agrees(self, lines: Sequence[str], question: str) -> bool:
        """The same, for what these lines tell."""

    def follow(self, run: Run) -> AbstractContextManager[Callable[[Run, Event], None]]:
        """A context in which each event is shown once it is recorded."""


class Repository(Protocol):
    """The git repository around the encrypted file, if there is one."""

    def command_to_commit(self, message: str) -> str: ...
    def is_changed(self) -> bool:
        """Whether git tracks the file, and it differs from what is committed."""

    def tracked(self, paths: Iterable[Path]) -> frozenset[Path]:
        """Those of the files, by their real paths, that git tracks, whatever repository each lies in."""

    def want_alone(self) -> None:
        """Raises RefusedError where a commit of the file would take anything else along, or nothing."""

    def commit(self, message: str) -> None: ...


class Service(Protocol):
    """The gateway's unit, and the socket that holds its port. What is done was told by a look before."""

    def tidy(self) -> None:
        """Clear away what killed installs and removals have left: it may hold a value. Raises PlaceError."""

    def to_install(self) -> Intent: ...
    def install(self) -> None:
        """Put both in place and start them. Safe after nothing, after half, and twice. Raises PlaceError."""

    def undo(self) -> None:
        """Make everything as the look before the install saw it. Raises PlaceError."""

    def to_remove(self, present: Callable[[], Secret | None]) -> Intent:
        """What a removal would do; `present` tells the value in force, None where it cannot be read."""

    def remove(self) -> Removed:
        """Take ours away and bring back what stood there. Safe after half. Raises PlaceError."""

    def status(self) -> Sequence[Line]: ...
