"""The real world: the only place where boundaries, places and looks are put together."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from keyrotor.boundary import evidence, files, generate, keychain, machine, plaintext, private, writable
from keyrotor.boundary.signals import Signals
from keyrotor.boundary.systemd import timer_names
from keyrotor.core.checkup import Check, Examined, Line
from keyrotor.core.discovered import Hunted
from keyrotor.core.founding import Asked, Survey
from keyrotor.core.model import Playbook, Row, Source, Value
from keyrotor.core.serving import Wish
from keyrotor.errors import PlaceError, RefusedError, UsageError
from keyrotor.ports import Look, Place, Screen, Service, Wanted
from keyrotor.secret import Pair, Secret
from keyrotor.session import KEPT
from keyrotor.world.parts import Parts

if TYPE_CHECKING:  # what a rotation need not load
    from keyrotor.core.swept import Swept
    from keyrotor.core.timing import Wish as TimerWish
    from keyrotor.ports.responding import Responder
    from keyrotor.telling import Post
    from keyrotor.timer import Installed, Timing


class RealWorld(Parts):
    """This machine, as this process sees it."""

    def __init__(self, env: Mapping[str, str], folder: Path, screen: Screen, stop: Signals) -> None:
        super().__init__(env, folder, stop)
        self.screen = screen

    def now(self) -> datetime:
        return datetime.now(UTC)

    def rest(self, seconds: float) -> None:
        self.stop.rest(seconds)

    def foresee(self, book: Playbook) -> None:
        self.meanwhile = [_load_looks]
        if any(place.kind == "litellm" for place in book.places):
            self.meanwhile.append(self.http.load)  # the longest comes first
        for scope in {place.options["scope"] for place in book.places if place.kind == "systemd-unit"}:
            self.manager(scope).expect(timer_names(book.name))

    def inherit(self, lock: int | None) -> None:
        self.processes.lock = lock

    def hurry(self, seconds: float) -> None:
        self.processes.until = time.monotonic() + seconds

    def survey(self, asked: Asked) -> Survey:
        from keyrotor.world import settling

        return settling.survey(self, asked, self.now())

    def make_folder(self, folder: Path, mode: int = 0o700) -> None:
        files.make_folder(folder, mode)

    def read_secret(self, source: Source, *, to_set: bool = True) -> tuple[bytes, dict[str, Secret]]:
        """The ciphertext of the live file and every value in it. Raises RefusedError, PlaceError."""
        encrypted = self.encrypted(source)
        if refusals := encrypted.refusals():
            raise RefusedError(refusals[0])
        if to_set:
            encrypted.sops.want_version()
        ciphertext = files.look(encrypted.path).data
        values = encrypted.values()
        if files.look(encrypted.path).data != ciphertext:
            raise RefusedError(f"cannot read {encrypted.path}: somebody is writing it", hint="try again")
        return ciphertext, values

    def read_copy(self, source: Source, copy: Path) -> dict[str, Secret]:
        return self.encrypted(source).values_of(copy)

    def prepare(self, source: Source, ciphertext: bytes, pair: Pair, folder: Path) -> Mapping[Value, bytes]:
        """Make `before` and `after` durable in the run's folder."""
        files.make_folder(folder)
        files.create(folder / KEPT[Value.OLD], ciphertext)
        after = self.encrypted(source).prepared(ciphertext, pair, folder / "working.env")
        files.create(folder / KEPT[Value.NEW], after)
        files.remove(folder / "working.env")
        return {Value.OLD: ciphertext, Value.NEW: after}

    def keep(
        self, source: Source, ciphertext: bytes, pair: Pair, folder: Path, *, has_old: bool
    ) -> Mapping[Value, bytes]:
        files.make_folder(folder)
        kept = {Value.NEW: ciphertext}
        if has_old:
            turned = Pair(pair.new, pair.old, pair.siblings)
            kept[Value.OLD] = self.encrypted(source).prepared(ciphertext, turned, folder / "working.env")
            files.remove(folder / "working.env")
        for value, data in kept.items():
            files.create(folder / KEPT[value], data)
        return kept

    def prepared(self, folder: Path, values: Iterable[Value]) -> Mapping[Value, bytes]:
        return {value: files.look(folder / KEPT[value]).data for value in values}

    def tidy(self, rows: Sequence[Row]) -> None:
        for path in (row.options.get("path") for row in rows):
            if path:
                files.tidy(Path(path))

    def decoy(self) -> Secret:
        return Secret(generate.bogus_key())

    def generate(self, book: Playbook) -> tuple[Secret, str]:
        made = generate.new_value(generate.Recipe(**book.generate), self.now())
        return made.secret, made.public

    def run_id(self) -> str:
        return generate.new_run_id()

    def fingerprinter(self) -> tuple[str, Callable[[Secret], str]]:
        key = keychain.fingerprint_key(self.state, generate.new_key())
        return plaintext.key_name(key), lambda secret: plaintext.fingerprint(key, secret)

    def known_fingerprinter(self) -> tuple[str, Callable[[Secret], str]] | None:
        key = keychain.known_fingerprint_key(self.state)
        return None if key is None else (plaintext.key_name(key), lambda secret: plaintext.fingerprint(key, secret))

    def mask(self, secret: Secret, word: str) -> str:
        return plaintext.masked(secret, word)

    def salt(self) -> str:
        return generate.new_key().hex()

    def imprint(self, path: Path, salt: str) -> str:
        return evidence.imprint(path, salt)

    def save(self, path: Path, data: bytes, is_ours: Callable[[bytes], bool]) -> None:
        """Make a private file, or replace one that is ours by what is in it. Raises PlaceError, UsageError."""
        if not files.exists(path):
            files.create(path, data)
        elif is_ours(files.look(path).data):
            private.give_mode(path, 0o600)  # before anything is in it: an update keeps the mode
            files.update(path, lambda _: data)
        else:
            raise UsageError(f"cannot write {path}: it is there already, and is no saved plan")

    def is_key_like(self, secret: Secret) -> bool:
        return plaintext.is_key_like(secret)

    def are_same(self, one: Secret, other: Secret) -> bool:
        return plaintext.are_same(one, other)

    def record_refusals(self) -> list[str]:
        return writable.absent_refusals(self.state / "any")

    def ciphertext(self, file: Path) -> bytes:
        return files.look(file).data

    def is_older(self, path: str, than: str) -> bool:
        try:
            return os.stat(path).st_mtime_ns < os.stat(than).st_mtime_ns
        except OSError as error:
            raise PlaceError(f"cannot look at {path} and {than}: {files.why(error)}") from None

    def publish(self, file: Path, data: bytes) -> None:
        files.publish(file, data)

    def is_still(self, file: Path, data: bytes) -> bool:
        return files.exists(file) and files.look(file).data == data

    def digest(self, data: bytes) -> str:
        return files.digest(data)

    def looks(self, book: Playbook, rows: Sequence[Row], places: Mapping[str, Place]) -> Sequence[Look]:
        from keyrotor.world import looking

        return looking.looks(self, book, rows, places)

    def checks(self, book: Playbook | None, rows: Sequence[Row]) -> Iterator[Check]:
        from keyrotor.world import looking

        return looking.checks(self, book, rows, self.read_secret, self.now())

    def health(
        self, book: Playbook, values: Mapping[str, Secret] | None, wanted: Wanted, told: Callable[[int, int], None]
    ) -> Sequence[Line]:
        from keyrotor.world import looking

        return looking.health(self, book, values, wanted, told)

    def service(self, book: Playbook, unit: Row, door: Row, env_files: Sequence[Row], wish: Wish) -> Service:
        from keyrotor.world import serving

        return serving.service(self, book, unit, door, env_files, wish)

    def hunt(
        self,
        book: Playbook,
        rows: Sequence[Row],
        values: Mapping[str, Secret] | None,
        former: Callable[[Secret], str] | None,
        roots: Sequence[Path],
    ) -> Hunted:
        from keyrotor.world import discovering

        return discovering.hunt(self, book, rows, values, former, roots)

    def sweep(
        self,
        values: Mapping[str, Secret],
        roots: Sequence[Path],
        books: Sequence[Playbook],
        told: Callable[[str, int, int], None],
        *,
        files_only: bool,
    ) -> Swept:
        from keyrotor.world import sweeping_up

        return sweeping_up.sweep(self, values, roots, books, told, files_only=files_only)

    def usual_roots(self, books: Sequence[Playbook]) -> Sequence[Path]:
        from keyrotor.world import sweeping_up

        return sweeping_up.usual(self, books)

    def weight(self, roots: Sequence[Path]) -> tuple[int, int]:
        from keyrotor.world import sweeping_up

        return sweeping_up.weight(self, roots)

    def post(self, source: Source | None) -> Post:
        from keyrotor.world import notifying

        return notifying.Post(self, source)

    def host(self) -> str:
        return machine.name()

    def edit(self, file: Path, edited: Callable[[bytes], bytes]) -> None:
        if refusals := writable.refusals(file):
            raise RefusedError(refusals[0])
        files.update(file, edited)

    def who(self) -> str:
        return machine.who()

    def responder(self, book: Playbook, rows: Sequence[Row], values: Mapping[str, Secret] | None) -> Responder:
        from keyrotor.world import responding

        return responding.responder(self, book, rows, values)

    def tells(self, text: str, secrets: Iterable[Secret]) -> bool:
        from keyrotor.boundary.forms import Veil, forms

        data = text.encode(errors="replace")
        return Veil(forms(secret) for secret in secrets if plaintext.is_telling(secret)).over(data) != data

    def cleaner(
        self, secrets: Sequence[Secret], others: Sequence[Secret], known: frozenset[str]
    ) -> Callable[[str], str]:
        from keyrotor.world import reporting

        return reporting.cleaner(self, secrets, others, known)

    def timing(self, book: Playbook, rows: Sequence[Row], wish: TimerWish) -> Timing:
        from keyrotor.world import timing

        return timing.timing(self, book, rows, wish)

    def timers(self, wish: TimerWish) -> Sequence[Installed]:
        from keyrotor.world import timing

        return timing.installed(self, wish)

    def variables(self) -> Mapping[str, str]:
        from keyrotor.looks import environment

        return environment.that_matter(self.env)

    def as_timer(self, scope: str, playbook: str, path: str) -> Examined:
        from keyrotor.world import looking

        return looking.as_timer(self, scope, playbook, path)


def _load_looks() -> None:
    """Import what an audit looks with (20 ms)."""
    from keyrotor.world import looking  # noqa: F401
