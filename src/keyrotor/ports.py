"""The ports: what the machine, the use cases and preflight need of the world, and nothing of how it is done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol, runtime_checkable

from keyrotor.core.checkup import Check, Examined, Line
from keyrotor.core.findings import Finding
from keyrotor.core.founding import Asked, Survey
from keyrotor.core.lineage import Lineage
from keyrotor.core.machine import Event, Run
from keyrotor.core.materialised import Compared
from keyrotor.core.model import Holds, Playbook, Row, Source, Value
from keyrotor.core.preview import Change
from keyrotor.core.recorded import Recorded
from keyrotor.core.serving import Intent, Removed, Wish
from keyrotor.secret import Pair, Secret


class Place(Protocol):
    """Anything that holds the secret or answers to it."""

    def check(self, pair: Pair) -> list[str]:
        """Every reason why this place could not be changed, or changed back later. Writes nothing; never raises."""

    def holds(self, pair: Pair) -> Holds:
        """What it holds now. Writes nothing; what cannot be told is `unknown`."""

    def put(self, goal: Value, pair: Pair) -> str:
        """Make it hold that value, durably, and read it again; says in a word what was done.
        Must be safe after nothing, after half, and twice. Raises PlaceError."""

    def prepare(self, goal: Value, pair: Pair) -> None:
        """Work out in memory what a put would write, where that is slow. Raises PlaceError where it would fail."""

    def after(self, goal: Value, pair: Pair) -> str:
        """Once the goal is proven, of a place that was put: make what runs there take it up, if the playbook says how;
        says what a person must do besides, "" if nothing. Must be safe to call twice. Raises PlaceError."""

    def shows(self) -> Sequence[Secret]:
        """Every value that can be read there and might be this secret, of today or of before. Writes nothing; a place
        that cannot be read, or that only answers, shows none."""

    def changes(self, pair: Pair) -> Sequence[Change]:
        """What a put of the new value would do there, without a byte of it. Writes nothing. Raises PlaceError."""

    def inputs(self) -> Sequence[Path]:
        """The files that `changes` is told from, there or not. Writes nothing. Raises PlaceError."""


@runtime_checkable
class Client(Protocol):
    def broken(self, pair: Pair) -> Sequence[tuple[str, str]]:
        """Path and form of every reference to the key that this place's client sends as it is. Writes nothing."""


class Materialised(Protocol):
    """An env file that is made from the encrypted file. `only` names the keys in question; all, if there are none."""

    @property
    def has_leftover(self) -> bool:
        """Whether a killed writer left something beside it, which may hold values."""

    def tidy(self) -> None:
        """Finish or clear away what a killed writer left. Raises PlaceError."""

    def compared(self, values: Mapping[str, Secret], only: Sequence[str] = ()) -> Compared:
        """How it stands beside these values. Writes nothing. Raises PlaceError."""

    def materialise(self, values: Mapping[str, Secret], only: Sequence[str] = ()) -> None:
        """Make it hold them, durably, and read it again. Must be safe to call twice. Raises PlaceError."""

    def values(self) -> dict[str, Secret]:
        """Every value in it. Writes nothing. Raises PlaceError."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What an audit has read once, before anything else is looked at."""

    book: Playbook
    now: datetime
    pair: Pair | None  # the present value, and a decoy in the new one's stead; None where nothing can be decrypted
    former: Callable[[Secret], str]  # the fingerprint of a former value; "" for any other
    recorded: Recorded = field(default_factory=Recorded)
    lineage: Lineage = field(default_factory=Lineage)
    fingerprint: str = ""  # of the present value; "" where no run is on record, or nothing could be decrypted
    holds: Mapping[str, Holds] = field(default_factory=dict)  # row id -> what it holds; doors are not asked


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a healthcheck asks besides the doors."""

    within: float  # seconds for all of it
    redis: Secret | None = None  # its address, which may hold its password
    redis_password: str = ""  # the key of the encrypted file that holds the password, if one does
    backends: bool = False
    catalogue: Path | None = None  # another one than the playbook's


class Look(Protocol):
    """Something that an audit looks at, and does not touch."""

    def findings(self, seen: Seen) -> Iterable[Finding]:
        """What is wrong there. Writes nothing. Raises PlaceError where it cannot look."""


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
    def rest(self, seconds: float) -> None:
        """Wait. Raises InterruptedRun where somebody asks us to stop."""

    def foresee(self, book: Playbook) -> None:
        """This playbook will be looked at: what that needs may be made ready while something is waited for."""

    def inherit(self, lock: int) -> None:
        """From now on children inherit this descriptor."""

    def hurry(self, seconds: float) -> None:
        """From now on children have so much time, all together."""

    def survey(self, asked: Asked) -> Survey:
        """A lab in the folder, as it is and as it is to be. Writes nothing. Raises RefusedError, PlaceError."""

    def make_folder(self, folder: Path, mode: int = 0o700) -> None:
        """The folder, with its parents; one that is there stays as it is. Raises PlaceError."""

    def read_secret(self, source: Source, *, to_set: bool = True) -> tuple[bytes, dict[str, Secret]]:
        """The live file's ciphertext, and every value in it; `to_set`: by a sops that could set one, too.
        Raises RefusedError, PlaceError."""

    def read_copy(self, source: Source, copy: Path) -> dict[str, Secret]:
        """Every value in a copy of the file. Raises PlaceError."""

    def prepare(self, source: Source, ciphertext: bytes, pair: Pair, folder: Path) -> Mapping[Value, bytes]:
        """Make `before` and `after` durable in the run's folder. Raises RefusedError, PlaceError."""

    def keep(
        self, source: Source, ciphertext: bytes, pair: Pair, folder: Path, *, has_old: bool
    ) -> Mapping[Value, bytes]:
        """Make what a repair needs durable in the run's folder: the file as it is, as `after`; and, as `before`, a
        copy with what stood in the present value's stead, if that is known. Raises PlaceError."""

    def prepared(self, folder: Path, values: Iterable[Value]) -> Mapping[Value, bytes]:
        """What `prepare` or `keep` put there for these values. Raises PlaceError."""

    def tidy(self, rows: Sequence[Row]) -> None:
        """Finish, or clear away, what a killed writer left of the files of these. Safe twice. Raises PlaceError."""

    def run_id(self) -> str: ...
    def decoy(self) -> Secret: ...
    def generate(self, book: Playbook) -> tuple[Secret, str]:
        """A new value, and its public half if it has one."""

    def is_key_like(self, secret: Secret) -> bool:
        """Whether a value cannot be taken for anything but a key, wherever it stands."""

    def are_same(self, one: Secret, other: Secret) -> bool: ...
    def record_refusals(self) -> list[str]:
        """Every reason why nothing could be recorded."""

    def publish(self, file: Path, data: bytes) -> None:
        """Make the file hold this whole, for everybody to read. Raises PlaceError."""

    def digest(self, data: bytes) -> str: ...
    def is_still(self, file: Path, data: bytes) -> bool:
        """Whether the file holds these bytes."""

    def fingerprinter(self) -> tuple[str, Callable[[Secret], str]]:
        """The name of the fingerprint key, and what makes fingerprints with it; made if there is none."""

    def known_fingerprinter(self) -> tuple[str, Callable[[Secret], str]] | None:
        """The same, where there is a fingerprint key already; None where there is none. Writes nothing."""

    def mask(self, secret: Secret, word: str) -> str:
        """How a value is shown by a word in its stead: `sk-…(new)`."""

    def salt(self) -> str:
        """A random salt for `imprint`."""

    def imprint(self, path: Path, salt: str) -> str:
        """A salted digest of what is in a file; "" where there is no file."""

    def save(self, path: Path, data: bytes, is_ours: Callable[[bytes], bool]) -> None:
        """Make a private file, or replace one that is ours by what is in it. Raises PlaceError, UsageError."""

    def repository(self, file: Path) -> Repository: ...
    def places(
        self, rows: Sequence[Row], source: Source, prepared: Mapping[Value, bytes], folder: Path
    ) -> Mapping[str, Place]:
        """A place for each row. Raises PlaybookError for one that cannot be built."""

    def env_files(self, book: Playbook) -> Sequence[Materialised]:
        """Every env file of the playbook, in its order."""

    def ciphertext(self, file: Path) -> bytes:
        """The encrypted file as it is. Raises PlaceError."""

    def is_older(self, path: str, than: str) -> bool:
        """Whether the one file was last written before the other. Raises PlaceError."""

    def looks(self, book: Playbook, rows: Sequence[Row], places: Mapping[str, Place]) -> Sequence[Look]:
        """Everything that an audit of this playbook looks at."""

    def health(
        self, book: Playbook, values: Mapping[str, Secret] | None, wanted: Wanted, told: Callable[[int, int], None]
    ) -> Sequence[Line]:
        """A line for each thing that a healthcheck asks. `values` are the encrypted file's, None if it cannot be
        decrypted; `told` hears how many of how many have answered."""

    def checks(self, book: Playbook | None, rows: Sequence[Row]) -> Iterable[Check]:
        """Everything that a doctor looks at; without a playbook, what needs none."""

    def service(self, book: Playbook, unit: Row, door: Row, env_files: Sequence[Row], wish: Wish) -> Service:
        """The units of a playbook's gateway, as wished for. Raises RefusedError, PlaceError."""

    def variables(self) -> Mapping[str, str]:
        """The variables of our environment that matter to a rotation, without what may hold a key."""

    def as_timer(self, scope: str, playbook: str, path: str) -> Examined:
        """What the doctor says of this playbook in the environment of the timer's service. Raises PlaceError."""
