"""The ports: what the machine, the use cases and preflight need of the world, and nothing of how it is done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from keyrotor.core.findings import Finding
from keyrotor.core.machine import Event, Run
from keyrotor.core.model import Holds, Playbook, Row, Source, Value
from keyrotor.secret import Pair, Secret


class Place(Protocol):
    """Anything that holds the secret or answers to it."""

    def check(self, pair: Pair) -> list[str]:
        """Every reason why this place could not be changed, or changed back later. Writes nothing; never raises."""

    def holds(self, pair: Pair) -> Holds:
        """What it holds now. Writes nothing; what cannot be told is `unknown`."""

    def put(self, goal: Value, pair: Pair) -> str:
        """Make it hold that value, durably, and read it again; says in a word what was done.

        Must be safe after nothing, after half, and twice. Raises PlaceError.
        """

    def shows(self) -> Sequence[Secret]:
        """Every value that can be read there and might be this secret, of today or of before. Writes nothing; a place
        that cannot be read, or that only answers, shows none."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What an audit has read once, before anything else is looked at."""

    book: Playbook
    now: datetime
    pair: Pair | None  # the present value, and a decoy in the new one's stead; None where nothing can be decrypted
    former: Callable[[Secret], str]  # the fingerprint of a former value; "" for any other


class Look(Protocol):
    """Something that an audit looks at, and does not touch."""

    def findings(self, seen: Seen) -> Iterable[Finding]:
        """What is wrong there. Writes nothing. Raises PlaceError where it cannot look."""


class Stop(Protocol):
    """Somebody may ask us to stop."""

    is_firm: bool

    @property
    def must_stop_now(self) -> bool: ...

    def raise_if_asked(self) -> None: ...


class Screen(Protocol):
    """Whoever is shown what happens."""

    def preflight(self, playbook: Playbook, rows: Sequence[Row]) -> None: ...
    def skipped(self, row: Row, why: str) -> None: ...

    def consents(self, book: Playbook, rows: Sequence[Row]) -> bool:
        """Whether the person agrees to the first effect."""

    def follow(self, run: Run) -> AbstractContextManager[Callable[[Run, Event], None]]:
        """A context in which each event is shown once it is recorded."""


class Repository(Protocol):
    """The git repository around the encrypted file, if there is one."""

    def command_to_commit(self, message: str) -> str: ...
    def is_changed(self) -> bool:
        """Whether git tracks the file, and it differs from what is committed."""

    def want_alone(self) -> None:
        """Raises RefusedError where a commit of the file would take anything else along, or nothing."""

    def commit(self, message: str) -> None: ...


class World(Protocol):
    """All that a use case needs of the world; `keyrotor.world` builds the real one."""

    env: Mapping[str, str]
    folder: Path  # where the command was typed
    state: Path

    @property
    def stop(self) -> Stop: ...
    @property
    def screen(self) -> Screen: ...
    def now(self) -> datetime: ...
    def inherit(self, lock: int) -> None:
        """From now on children inherit this descriptor."""

    def read_secret(self, source: Source) -> tuple[bytes, dict[str, Secret]]:
        """The live file's ciphertext, and every value in it. Raises RefusedError, PlaceError."""

    def read_copy(self, source: Source, copy: Path) -> dict[str, Secret]:
        """Every value in a copy of the file. Raises PlaceError."""

    def prepare(self, source: Source, ciphertext: bytes, pair: Pair, folder: Path) -> Mapping[Value, bytes]:
        """Make `before` and `after` durable in the run's folder. Raises RefusedError, PlaceError."""

    def prepared(self, folder: Path) -> Mapping[Value, bytes]:
        """What `prepare` put there. Raises PlaceError."""

    def run_id(self) -> str: ...
    def decoy(self) -> Secret: ...
    def generate(self, book: Playbook) -> tuple[Secret, str]:
        """A new value, and its public half if it has one."""

    def are_same(self, one: Secret, other: Secret) -> bool: ...
    def record_refusals(self) -> list[str]:
        """Every reason why nothing could be recorded."""

    def digest(self, data: bytes) -> str: ...
    def fingerprinter(self) -> tuple[str, Callable[[Secret], str]]:
        """The name of the fingerprint key, and what makes fingerprints with it; made if there is none."""

    def known_fingerprinter(self) -> tuple[str, Callable[[Secret], str]] | None:
        """The same, where there is a fingerprint key already; None where there is none. Writes nothing."""

    def repository(self, file: Path) -> Repository: ...

    def places(
        self, rows: Sequence[Row], source: Source, prepared: Mapping[Value, bytes], folder: Path
    ) -> Mapping[str, Place]:
        """A place for each row. Raises PlaybookError for one that cannot be built."""

    def looks(self, book: Playbook, rows: Sequence[Row], places: Mapping[str, Place]) -> Sequence[Look]:
        """Everything that an audit of this playbook looks at."""
