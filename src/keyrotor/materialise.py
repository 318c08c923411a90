"""The use case `env`: the playbook's env files, made to hold what the encrypted file holds now; or only compared.

Rules:
1. It makes no value, restarts nothing and keeps no record: what it writes is what the encrypted file says, and that
   must not be a former value.
2. Every file is looked at before the first is written.
3. Where nothing is to be written it takes no lock and heeds no run: an `.envrc` is run in several shells at once.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from keyrotor import drift, playbook, shelf
from keyrotor.core.materialised import Compared, Sheet
from keyrotor.core.model import Playbook
from keyrotor.errors import BusyError, Exit, JournalError, PlaceError, RefusedError, UsageError, refused
from keyrotor.ports import World
from keyrotor.preflight import told_as_refusal
from keyrotor.secret import Secret
from keyrotor.session import locked, want_nothing_owed

PATIENCE = 3.0  # seconds that another one may hold the lock: it may be an `env` like this one
PAUSE = 0.05  # seconds between two tries to take it
_OTHER_MARKS = "the record's fingerprints were made with another key than there is now"
_LINES = """add one below the sops-file of {path}:
[[place]]
kind = "env-file"
path = "~/.config/lab-secrets/litellm.env\""""


@dataclass(frozen=True, slots=True)
class Materialised:
    """What became of the env files, or how they stand."""

    book: Playbook
    typed: str  # what to call the playbook in a command
    files: tuple[Compared, ...]
    exit: Exit = Exit.DONE

    def as_json(self) -> dict[str, object]:
        """The one object that `env --json` prints (docs/reference/json.md)."""
        return {
            "schema": 1,
            "playbook": self.book.name,
            "exit": int(self.exit),
            "files": [each.as_json() for each in self.files],
        }


@dataclass(frozen=True, slots=True)
class Held:
    """What the env files hold, and why that may not be what the encrypted file holds."""

    values: Mapping[str, Secret]
    doubts: tuple[str, ...]


def materialise(world: World, name: str | None, only: Sequence[str]) -> Materialised:
    """Make every env file hold it. Raises what refuses before the first is written."""
    book = _book(world, name)
    typed = _typed(name, book)
    with suppress(PlaceError, RefusedError, JournalError):  # it may be in the midst of a run: the lock tells
        if (same := _as_it_should_be(world, book, typed, only)) is not None:
            return Materialised(book, typed, same)
    with _its_turn(world, Path(book.source.file)):
        want_nothing_owed(world, Path(book.source.file))
        for file in world.env_files(book):
            file.tidy()
        values, found = _looked(world, book, typed, only)
        _want_writable(book, found)
        return _written(world, book, typed, values, found, only)


def compare(world: World, name: str | None, only: Sequence[str]) -> Materialised:
    """How the env files stand. Changes nothing, and waits for no run."""
    book = _book(world, name)
    typed = _typed(name, book)
    _, found = _looked(world, book, typed, only)
    return Materialised(book, typed, found, Exit.DONE if _are_same(found) else Exit.FINDINGS)


def shown(world: World, name: str | None, only: Sequence[str]) -> Mapping[str, Secret]:
    """What the env files would hold: all of the encrypted file, where there is none or one has no `keys`."""
    book = playbook.load(shelf.find(name, world.folder, world.env), world.env)
    ciphertext, values = _read(world, book)
    wanted = {key for keys in _keys(book) for key in (keys or values)} or set(values)
    _want_known(only, wanted, f"the env files of {book.name} have" if _keys(book) else f"{book.source.file} has")
    wanted = wanted & set(only) if only else wanted
    if unknown := sorted(wanted - set(values)):
        raise RefusedError(f"cannot print {unknown[0]}: the encrypted file has no such key")
    if book.source.key in wanted:
        _want_present(world, book, _typed(name, book), ciphertext, values)
    return {key: secret for key, secret in values.items() if key in wanted}


def held(world: World, name: str | None, only: Sequence[str]) -> Held:
    """What the env files hold, the last one counting, without the encrypted file being opened."""
    book = _book(world, name)
    typed = _typed(name, book)
    try:
        each = [file.values() for file in world.env_files(book)]
    except PlaceError as error:
        hint = f"keyrotor env {typed}  (what is not in the encrypted file, mend by hand)"
        raise PlaceError(str(error), hint=hint) from None
    values = {key: secret for one in each for key, secret in one.items()}
    _want_known(only, values, "its env files have")
    wanted = {key: secret for key, secret in values.items() if not only or key in only}
    doubts = (*_differing(world, book, typed, each, wanted), *_doubts(world, book, typed, values))
    return Held(wanted, doubts)


def _book(world: World, name: str | None) -> Playbook:
    book = playbook.load(shelf.find(name, world.folder, world.env), world.env)
    if not world.env_files(book):
        why = f"cannot materialise {book.name}: it has no place of kind env-file"
        raise RefusedError(why, hint=_LINES.format(path=book.path))
    return book


def _typed(name: str | None, book: Playbook) -> str:
    """What to call the playbook in a command: as the person did, for a path is found by no name."""
    return shlex.quote(name or book.name)


def _keys(book: Playbook) -> list[Sequence[str]]:
    return [place.options["keys"] for place in book.places if place.kind == "env-file"]


def _paths(book: Playbook) -> list[str]:
    return [place.options["path"] for place in book.places if place.kind == "env-file"]


def _are_same(found: Sequence[Compared]) -> bool:
    return all(each.state is Sheet.SAME for each in found)


def _as_it_should_be(world: World, book: Playbook, typed: str, only: Sequence[str]) -> tuple[Compared, ...] | None:
    """How the files stand, where nothing is to be written or cleared away; else None."""
    if any(file.has_leftover for file in world.env_files(book)):
        return None
    _, found = _looked(world, book, typed, only)
    return found if _are_same(found) else None


@contextmanager
def _its_turn(world: World, file: Path) -> Iterator[None]:
    """The lock; whoever has it is waited for, as long as another `env` may take. Raises BusyError."""
    with ExitStack() as stack:
        for left in reversed(range(round(PATIENCE / PAUSE))):
            try:
                stack.enter_context(locked(world, file))
                break
            except BusyError:
                if not left:
                    raise
                world.rest(PAUSE)
        yield


def _read(world: World, book: Playbook) -> tuple[bytes, dict[str, Secret]]:
    return told_as_refusal(lambda: world.read_secret(book.source, to_set=False))


def _looked(
    world: World, book: Playbook, typed: str, only: Sequence[str]
) -> tuple[dict[str, Secret], tuple[Compared, ...]]:
    """Every value of the encrypted file, and how the files stand beside them. Raises RefusedError where it holds a
    former or leaked value that would be written: an absent file is made whole, whatever `only`."""
    ciphertext, values = _read(world, book)
    _want_known(only, values, f"{book.source.file} has")
    found = _compared(world, book, values, only)
    if not only or book.source.key in only or any(each.state is Sheet.ABSENT for each in found):
        _want_present(world, book, typed, ciphertext, values)
    return values, found


def _want_present(world: World, book: Playbook, typed: str, ciphertext: bytes, values: Mapping[str, Secret]) -> None:
    source = book.source
    known, is_left = drift.recorded(world, source, ciphertext)
    drift.want_present(world, source, values[source.key], known, "", typed, is_left=is_left, verb="materialise")


def _want_writable(book: Playbook, found: Sequence[Compared]) -> None:
    reasons = [why for each in found for why in each.reasons]
    if not reasons:
        return
    unwritable = sorted({name for each in found for name in each.unwritable})
    out = f"leave {', '.join(unwritable)} out; keyrotor exec hands over any value"
    hint = f"keys = […] in the env-file of {book.path}  ({out})" if unwritable else ""
    raise refused(f"cannot materialise {book.name}", reasons, hint)


def _written(
    world: World,
    book: Playbook,
    typed: str,
    values: Mapping[str, Secret],
    found: Sequence[Compared],
    only: Sequence[str],
) -> Materialised:
    """What became of them. One that cannot be written after all says why, and is the last that was tried."""
    done: list[Compared] = []
    for file, each in zip(world.env_files(book), found, strict=True):
        try:
            if each.state is not Sheet.SAME:
                file.materialise(values, only)
        except PlaceError as error:
            failed = replace(each, reasons=(str(error),))
            return Materialised(book, typed, (*done, failed, *found[len(done) + 1 :]), Exit.FAILED)
        done.append(each.afterwards())
    return Materialised(book, typed, tuple(done))


def _compared(world: World, book: Playbook, values: Mapping[str, Secret], only: Sequence[str]) -> tuple[Compared, ...]:
    ours = {key for keys in _keys(book) for key in (keys or values)}
    _want_known(only, ours, f"the env files of {book.name} have")
    try:
        return tuple(file.compared(values, only) for file in world.env_files(book))
    except PlaceError as error:
        raise RefusedError(str(error), hint=error.hint) from None


def _want_known(only: Sequence[str], names: Mapping[str, Secret] | set[str], whose: str) -> None:
    if unknown := [name for name in only if name not in names]:
        raise UsageError(f"cannot find the key {unknown[0]}: {whose} {', '.join(sorted(names)) or 'none'}")


def _differing(
    world: World, book: Playbook, typed: str, each: Sequence[Mapping[str, Secret]], wanted: Mapping[str, Secret]
) -> Iterator[str]:
    """The keys that the files do not agree on."""
    for key, last in wanted.items():
        holders = [(path, values[key]) for path, values in zip(_paths(book), each, strict=True) if key in values]
        if not all(world.are_same(last, secret) for _, secret in holders):
            told = " and ".join(path for path, _ in holders)
            yield f"{key} is not the same in {told}: the last one's is handed over (keyrotor env {typed})"


def _doubts(world: World, book: Playbook, typed: str, values: Mapping[str, Secret]) -> Iterator[str]:
    """Why the env files may be stale, as far as that can be told without opening the encrypted file."""
    key, paths, secret = book.source.key, _paths(book), values.get(book.source.key)
    told = f"{' and '.join(paths)}: {{}} (keyrotor env {typed})"
    try:
        known, is_left = drift.recorded(world, book.source, world.ciphertext(Path(book.source.file)))
        mark = _mark(world, secret) if secret is not None else ""
        if secret is not None and drift.former_by(world, known, secret)(secret):
            yield told.format(f"stale, for its {key} is a former one")
        elif is_left and mark and mark == known.present:
            return  # byte for byte what the last run left, and the value that it put: then the files' times say nothing
        elif secret is not None and is_left is not None and (known.is_partial or not mark):
            yield told.format(f"it cannot be told whether it is stale: {_OTHER_MARKS}")
        elif any(world.is_older(path, book.source.file) for path in paths):
            yield told.format("it may be stale, for the encrypted file was written after it")
    except (PlaceError, JournalError) as error:
        yield told.format(f"it cannot be told whether it is stale: {error}")


def _mark(world: World, secret: Secret) -> str:
    prints = world.known_fingerprinter()
    return prints[1](secret) if prints else ""
