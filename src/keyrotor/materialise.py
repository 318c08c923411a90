"""The use case `env`: the playbook's env files, made to hold what the encrypted file holds now; or only compared.

It makes no value, restarts nothing and keeps no record: what it writes is what the encrypted file says, and that must
not be a former value. Every file is looked at before the first is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from keyrotor import drift, playbook, shelf
from keyrotor.core.materialised import Compared, Sheet
from keyrotor.core.model import Playbook
from keyrotor.errors import Exit, JournalError, PlaceError, RefusedError, UsageError
from keyrotor.ports import World
from keyrotor.preflight import told_as_refusal
from keyrotor.secret import Secret
from keyrotor.session import locked, want_nothing_owed

_LINES = """add one below the sops-file of {path}:
[[place]]
kind = "env-file"
path = "~/.config/lab-secrets/litellm.env\""""


@dataclass(frozen=True, slots=True)
class Materialised:
    """What became of the env files, or how they stand."""

    book: Playbook
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
    with locked(world, Path(book.source.file)):
        want_nothing_owed(world, Path(book.source.file))
        values = _present(world, book, only)
        found = _compared(world, book, values, only)
        if reasons := [why for each in found for why in each.reasons]:
            several = f"cannot materialise {book.name}, for {len(reasons)} reasons:\n  " + "\n  ".join(reasons)
            raise RefusedError(several if len(reasons) > 1 else reasons[0], hint=f"keyrotor env --check {book.name}")
        for file, each in zip(world.env_files(book), found, strict=True):
            if each.state is not Sheet.SAME:
                file.materialise(values, only)
        return Materialised(book, tuple(each.afterwards() for each in found))


def compare(world: World, name: str | None, only: Sequence[str]) -> Materialised:
    """How the env files stand. Changes nothing, and waits for no run."""
    book = _book(world, name)
    found = tuple(_compared(world, book, _present(world, book, only), only))
    return Materialised(book, found, Exit.DONE if all(each.state is Sheet.SAME for each in found) else Exit.FINDINGS)


def shown(world: World, name: str | None, only: Sequence[str]) -> Mapping[str, Secret]:
    """What the env files would hold: all of the encrypted file, where there is none or one has no `keys`."""
    book = playbook.load(shelf.find(name, world.folder, world.env), world.env)
    values = _present(world, book, only)
    wanted = {key for keys in _keys(book) for key in (keys or values)} or set(values)
    return {key: secret for key, secret in values.items() if key in wanted and (not only or key in only)}


def held(world: World, name: str | None, only: Sequence[str]) -> Held:
    """What the env files hold, the last one counting, without the encrypted file being opened."""
    book = _book(world, name)
    values = {key: secret for file in world.env_files(book) for key, secret in file.values().items()}
    _want_known(only, values, "its env files have")
    wanted = {key: secret for key, secret in values.items() if not only or key in only}
    return Held(wanted, tuple(_doubts(world, book, values.get(book.source.key))))


def _book(world: World, name: str | None) -> Playbook:
    book = playbook.load(shelf.find(name, world.folder, world.env), world.env)
    if not world.env_files(book):
        why = f"cannot materialise {book.name}: it has no place of kind env-file"
        raise RefusedError(why, hint=_LINES.format(path=book.path))
    return book


def _keys(book: Playbook) -> list[Sequence[str]]:
    return [place.options["keys"] for place in book.places if place.kind == "env-file"]


def _present(world: World, book: Playbook, only: Sequence[str]) -> dict[str, Secret]:
    """Every value of the encrypted file. Raises RefusedError where it holds a former or leaked one."""
    source = book.source
    ciphertext, values = told_as_refusal(lambda: world.read_secret(source, to_set=False))
    known, is_left = drift.recorded(world, source, ciphertext)
    drift.want_present(world, source, values[source.key], known, "", book.name, is_left=is_left, verb="materialise")
    _want_known(only, values, f"{source.file} has")
    return values


def _compared(world: World, book: Playbook, values: Mapping[str, Secret], only: Sequence[str]) -> list[Compared]:
    ours = {key for keys in _keys(book) for key in (keys or values)}
    _want_known(only, ours, f"the env files of {book.name} have")
    try:
        return [file.compared(values, only) for file in world.env_files(book)]
    except PlaceError as error:
        raise RefusedError(str(error), hint=error.hint) from None


def _want_known(only: Sequence[str], names: Mapping[str, Secret] | set[str], whose: str) -> None:
    if unknown := [name for name in only if name not in names]:
        raise UsageError(f"cannot find the key {unknown[0]}: {whose} {', '.join(sorted(names)) or 'none'}")


def _doubts(world: World, book: Playbook, secret: Secret | None) -> Iterator[str]:
    """Why the env files may be stale, as far as that can be told without opening the encrypted file."""
    key, paths = book.source.key, [place.options["path"] for place in book.places if place.kind == "env-file"]
    told = f"{' and '.join(paths)}: {{}} (keyrotor env {book.name})"
    try:
        known, is_left = drift.recorded(world, book.source, world.ciphertext(Path(book.source.file)))
        if secret is not None and drift.former_by(world, known, secret)(secret):
            yield told.format(f"stale, for its {key} is a former one")
        elif is_left and known.present and secret is not None and _mark(world, secret) == known.present:
            return  # byte for byte what the last run left, and the value that it put: then the files' times say nothing
        elif any(world.is_older(path, book.source.file) for path in paths):
            yield told.format("it may be stale, for the encrypted file was written after it")
    except (PlaceError, JournalError) as error:
        yield told.format(f"it cannot be told whether it is stale: {error}")


def _mark(world: World, secret: Secret) -> str:
    prints = world.known_fingerprinter()
    return prints[1](secret) if prints else ""
