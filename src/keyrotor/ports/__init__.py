"""The ports: what the machine, the use cases and preflight need of the world, and nothing of how it is done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Protocol

from keyrotor.core.checkup import Check, Examined, Line
from keyrotor.core.founding import Asked, Survey
from keyrotor.core.model import Playbook, Row, Source, Value
from keyrotor.core.serving import Wish
from keyrotor.ports.around import Repository, Screen, Service, Stop
from keyrotor.ports.looking import Look, Seen, Wanted
from keyrotor.ports.places import Client, Materialised, Place
from keyrotor.secret import Pair, Secret

__all__ = [
    "Client",
    "Look",
    "Materialised",
    "Place",
    "Repository",
    "Screen",
    "Seen",
    "Service",
    "Stop",
    "Wanted",
    "World",
]


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

    def inherit(self, lock: int | None) -> None:
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
