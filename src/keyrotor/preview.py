"""The use case `plan`: what a rotation would do, before it does it; and whether a saved plan still holds.

Rules:
1. It looks with the eyes of `rotate` (preflight) and makes each splice in memory, so that what would be refused
   is refused here. It writes nothing but the plan file that was asked for.
2. The value that it splices has the shape of a new one, is shown to nobody and is thrown away.
3. Files are imprinted before they are looked at: one that changes in between makes the plan stale, not wrong.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import msgspec

from keyrotor import __version__, playbook, preflight, session, shelf
from keyrotor.core import plan
from keyrotor.core.model import Playbook
from keyrotor.core.preview import KIND, SCHEMA, Change, Line, Planned, Saved, differences, line_of, state_of
from keyrotor.core.report import outage
from keyrotor.errors import KeyrotorError, OwedError, PlaceError, RefusedError, UsageError
from keyrotor.journal import Account, Journal
from keyrotor.ports import World
from keyrotor.secret import Pair, Secret

# Kinds of value that are made in a moment and are all of one length.
ALIKE = ("token", "fernet", "ed25519", "x25519")


@dataclass(frozen=True, slots=True)
class Outage:
    """How long the gateway was away, the last time that this key was put."""

    seconds: float
    run: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Preview:
    """All that a rotation would do, and what forbids it."""

    book: Playbook
    planned: tuple[Planned, ...]
    record: tuple[str, ...]  # why nothing could be recorded
    old: str  # the present value, masked
    new: str
    owed: OwedError | None  # the run that must be finished first
    last_outage: Outage | None
    refusal: RefusedError | None
    saved: Saved | None  # what `save` writes, where that was asked for and nothing forbids the rotation

    @property
    def error(self) -> KeyrotorError | None:
        """With what `rotate` would end; it asks for an owed run before it looks at any place."""
        return self.owed or self.refusal

    @property
    def skipped(self) -> dict[str, str]:
        return {each.row.id: each.why for each in self.planned if each.why}


def preview(world: World, name: str | None, *, to_save: bool = False) -> Preview:
    """Look at everything that a rotation would look at and change. Raises RefusedError where the secret itself cannot
    be read (OwedError, if a run of it is owed); every other reason is in the answer. What is saved was made in peace:
    nothing while a run is owed or going on."""
    book = playbook.load(shelf.find(name, world.folder, world.env), world.env)
    owed, accounts = _owed(world, book), _accounts(world, book)
    to_save = to_save and owed is None
    salt = world.salt() if to_save else ""
    imprints, fault = _imprinted(world, book, salt) if to_save else ({}, None)
    try:
        found = preflight.look(world, book)
    except RefusedError as error:
        raise (owed or error) from None
    new, is_alike = _new_value(world, book)
    pair = replace(found.pair, new=new)
    planned = tuple(_planned(found, each, pair, is_alike) for each in found.looked)
    looked = tuple(replace(each, reasons=one.reasons) for each, one in zip(found.looked, planned, strict=True))
    refusal = replace(found, looked=looked).refusal()
    if refusal is None and fault is not None:
        raise fault
    return Preview(
        book=book,
        planned=planned,
        record=found.record,
        old=_present(world, found.pair.old, accounts),
        new=world.mask(new, "new"),
        owed=owed,
        last_outage=_last_outage(accounts),
        refusal=refusal,
        saved=_saved(world, found, salt, imprints, accounts) if to_save and not refusal else None,
    )


def save(world: World, saved: Saved, file: Path) -> None:
    """Write the plan into a private file. Raises UsageError for a file that is something else, PlaceError."""
    if str(file) in saved.digests:
        raise UsageError(f"cannot save the plan in {file}: the rotation would use that file")
    data = msgspec.json.format(msgspec.json.encode(saved), indent=2) + b"\n"
    world.save(file, data, lambda there: _table(there).get("kind") == KIND)


def read(file: Path) -> Saved:
    """A saved plan. Raises UsageError."""
    try:
        table = _table(file.read_bytes())
    except OSError as error:
        raise UsageError(f"cannot read plan {file}: {(error.strerror or '').lower()}") from None
    if table.get("kind") != KIND:
        raise UsageError(f"cannot read plan {file}: it is no saved plan")
    again = _again(str(table.get("playbook", "")), file)
    if table.get("schema") != SCHEMA:
        why = f"its schema is {table.get('schema')}, this keyrotor reads {SCHEMA}"
        raise UsageError(f"cannot read plan {file}: {why}", hint=again)
    try:
        saved = msgspec.convert(table, Saved)
    except msgspec.ValidationError:
        saved = None
    if saved is None or not re.fullmatch(r"(?:[0-9a-f]{2})+", saved.salt):
        raise UsageError(f"cannot read plan {file}: it is damaged", hint=again)
    return saved


def playbook_of(world: World, saved: Saved, file: Path, name: str | None) -> str:
    """The playbook that the plan was made from, as it was. Raises UsageError for another one, RefusedError."""
    if name is not None and shelf.find(name, world.folder, world.env).resolve() != Path(saved.path).resolve():
        raise UsageError(f"cannot rotate {name} by plan {file}: it was made from {saved.path}")
    now = {**saved.digests, saved.path: world.imprint(Path(saved.path), saved.salt)}
    _want_same(world, saved, replace(saved, digests=now), file)
    return saved.path


def want_unchanged(world: World, book: Playbook, saved: Saved, file: Path, found: preflight.Found | None) -> None:
    """Raises RefusedError, naming everything that has changed since the plan was saved; without `found`, which takes
    a second, everything but what the places say."""
    imprints, fault = _imprinted(world, book, saved.salt)
    if fault is not None and found is None:
        raise RefusedError(str(fault), hint=fault.hint)
    if fault is not None:
        return  # preflight tells why: it could not look there either
    newest = _newest(_accounts(world, book))
    present = replace(saved, keyrotor=__version__, digests=imprints, newest=newest)
    if found is not None and found.refusal() is None:  # a refusal says more than that the places are others
        present = replace(present, places=_lines(found), skipped=_skipped(found))
    _want_same(world, saved, present, file)


def _want_same(world: World, saved: Saved, present: Saved, file: Path) -> None:
    if changed := differences(saved, present):
        what = f" {changed[0]}" if len(changed) == 1 else "".join(f"\n  {one}" for one in changed)
        again = _again(_called(world, saved), file)
        raise RefusedError(f"cannot rotate by plan {file}, it is stale:{what}", hint=again)


def _called(world: World, saved: Saved) -> str:
    """What finds the plan's playbook from here: the name that it gives itself, else its path."""
    try:
        found = shelf.find(saved.playbook, world.folder, world.env)
    except UsageError:
        return saved.path
    return saved.playbook if found.resolve() == Path(saved.path).resolve() else saved.path


def _again(called: str, file: Path) -> str:
    """The command that makes the plan anew."""
    return " ".join(["keyrotor plan", *([shlex.quote(called)] if called else []), "--out", shlex.quote(str(file))])


def _planned(found: preflight.Found, looked: preflight.Looked, pair: Pair, is_alike: bool) -> Planned:
    """The row with what would change there; a change that cannot be made is a reason like any other."""
    row, reasons, changes = looked.row, looked.reasons, list[Change]()
    if not looked.why and not reasons:
        try:
            changes = list(found.places[row.id].changes(pair))
        except PlaceError as error:
            reasons = (str(error),)
    if not is_alike:
        changes = [replace(change, after=None) for change in changes]
    return Planned(row, state_of(row, looked.why, reasons), looked.why, reasons, tuple(changes))


def _new_value(world: World, book: Playbook) -> tuple[Secret, bool]:
    """A value of the new one's shape, and whether it has its length; a slow one is not made for a plan."""
    is_alike = book.generate.get("kind", ALIKE[0]) in ALIKE
    return (world.generate(book)[0] if is_alike else world.decoy()), is_alike


def _present(world: World, secret: Secret, accounts: Sequence[Account]) -> str:
    """The present value by its fingerprint; a keyring is not asked for a name that nobody has heard yet."""
    known = world.known_fingerprinter() if accounts else None
    return known[1](secret) if known else world.mask(secret, "present")


def _owed(world: World, book: Playbook) -> OwedError | None:
    try:
        session.want_nothing_owed(world, Path(book.source.file))
    except OwedError as owed:
        return owed
    return None


def _accounts(world: World, book: Playbook) -> list[Account]:
    """Every run of this key, oldest first."""
    source = book.source
    with Journal.peek(world.state) as journal:
        accounts = journal.accounts()
    return [account for account in accounts if account.run.plan.source.is_of(source)]


def _newest(accounts: Sequence[Account]) -> str:
    return accounts[-1].id if accounts else ""


def _last_outage(accounts: Sequence[Account]) -> Outage | None:
    for account in reversed(accounts):
        timed = [(entry.at, entry.event) for entry in account.entries]
        away = outage(account.run, timed) if account.closed else None
        if away is not None and account.closed:
            return Outage(away, account.id, account.closed)
    return None


def _imprinted(world: World, book: Playbook, salt: str) -> tuple[dict[str, str], PlaceError | None]:
    """The salted digest of everything that a plan is made from, or why it cannot be had."""
    try:
        places = world.places(plan.rows(book), book.source, {}, world.state)
        paths = {Path(book.path), *(path for place in places.values() for path in place.inputs())}
        return {str(path): world.imprint(path, salt) for path in sorted(paths)}, None
    except PlaceError as error:
        return {}, error


def _saved(
    world: World, found: preflight.Found, salt: str, imprints: dict[str, str], accounts: Sequence[Account]
) -> Saved:
    """What a file keeps of the plan."""
    return Saved(
        kind=KIND,
        schema=SCHEMA,
        keyrotor=__version__,
        made=world.now().isoformat(),
        playbook=found.book.name,
        path=found.book.path,
        places=_lines(found),
        skipped=_skipped(found),
        salt=salt,
        digests=imprints,
        newest=_newest(accounts),
    )


def _lines(found: preflight.Found) -> tuple[Line, ...]:
    return tuple(line_of(one.row, state_of(one.row, one.why, one.reasons)) for one in found.looked)


def _skipped(found: preflight.Found) -> dict[str, str]:
    return {one.row.id: one.why for one in found.looked if one.why}


def _table(data: bytes) -> dict[str, object]:
    """The object in a JSON file; empty where it is none."""
    try:
        found = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
