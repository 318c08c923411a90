"""The use case `audit`: look at everything that a playbook names, and touch nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from keyrotor import playbook
from keyrotor.core import plan
from keyrotor.core.findings import Finding, found, ordered
from keyrotor.core.lineage import lineage
from keyrotor.core.model import Playbook, Value
from keyrotor.errors import PlaceError, RefusedError
from keyrotor.journal import Journal
from keyrotor.ports import Look, Seen, World
from keyrotor.secret import Pair, Secret


@dataclass(frozen=True, slots=True)
class Audited:
    """One playbook, and what is wrong with what it names; the worst first."""

    book: Playbook
    findings: tuple[Finding, ...]


def audit(world: World, names: Sequence[str]) -> list[Audited]:
    """Look at these playbooks, or at the only one there is. Raises UsageError, PlaybookError."""
    paths = [playbook.find(name, world.folder, world.env) for name in (names or (None,))]
    return [_audited(world, playbook.load(path, world.env)) for path in paths]


def _audited(world: World, book: Playbook) -> Audited:
    rows = plan.rows(book)
    pair, ciphertext, failed = _read(world, book)
    places = world.places(rows, book.source, {Value.OLD: ciphertext}, world.state)
    seen = Seen(book, world.now(), pair, _former(world, book))
    looks = world.looks(book, rows, places)
    return Audited(book, ordered([*failed, *(one for look in looks for one in _looked(look, seen))]))


def _read(world: World, book: Playbook) -> tuple[Pair | None, bytes, list[Finding]]:
    """The present value and a decoy, the ciphertext they stand in; a finding in their stead if there are none."""
    source = book.source
    try:
        ciphertext, values = world.read_secret(source)
    except (PlaceError, RefusedError) as error:
        return None, b"", [found("not-decrypted", source.file, reason=error, hint=error.hint)]
    siblings = {key: secret for key, secret in values.items() if key != source.key}
    return Pair(values[source.key], world.decoy(), siblings), ciphertext, []


def _looked(look: Look, seen: Seen) -> Iterator[Finding]:
    try:
        yield from look.findings(seen)
    except PlaceError as error:
        yield found("cannot-look", seen.book.name, reason=error, hint=error.hint)


def _former(world: World, book: Playbook) -> Callable[[Secret], str]:
    """What tells a former value of this key by its fingerprint."""
    known = world.known_fingerprinter()
    if known is None:
        return lambda _: ""
    name, fingerprint = known
    with Journal.peek(world.state) as journal:
        formers = lineage((account.run for account in journal.accounts()), book.source, name).formers

    def former(secret: Secret) -> str:
        mark = fingerprint(secret)
        return mark if mark in formers else ""

    return former
