"""The encrypted file: made with adopted or fresh keys; one that is there gets only what it lacks.

Rules:
1. A key that stands anywhere is adopted, and none is made beside it (keys.py).
2. A salt is made only where no database can hold anything that was encrypted without it.
3. A gap is filled by `sops set` on a copy, proven to differ in nothing else, and the file replaced by rename.
4. What cannot be decrypted is not touched, and nothing is made beside it.
5. Whether a new one can be made by the rules that are there is tried before anything is made.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from keyrotor.boundary import files, generate
from keyrotor.boundary.plaintext import are_same, is_blank
from keyrotor.boundary.sops import Sops
from keyrotor.core.founding import MASTER, SALT, State, Step, Thing
from keyrotor.core.model import NEVER
from keyrotor.errors import PlaceError, RefusedError
from keyrotor.formats import encrypted_dotenv
from keyrotor.formats.gateway_config import DATABASE_VARIABLES
from keyrotor.founding import keys
from keyrotor.founding.ground import PRIVATE, Book, Ground, put_new
from keyrotor.founding.identity import Identity
from keyrotor.founding.keys import KEYS, Known, Sighting
from keyrotor.secret import Secret

_USUAL = "secrets/global.enc.env"
_FRESH = "a fresh value"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a key comes from: `value` is None for one that is made."""

    value: Secret | None
    said: str


@dataclass(frozen=True, slots=True)
class SecretFile:
    """It, what it holds, and what it is to get."""

    path: Path
    steps: tuple[Step, ...]
    present: Mapping[str, Secret]  # the keys that are known already: its own, and the adopted ones
    keys: tuple[str, ...]  # of the master key and the salt those that it holds once the steps are done
    others: tuple[str, ...]  # its further ones that may stand in an env file


def path_of(ground: Ground, book: Book | None, told: Sequence[Path]) -> Path:
    """The encrypted file: the playbook's, or the one that has the key; else the usual one, or one that `.envrc`
    decrypts. Raises RefusedError where several have the key."""
    if book:
        return Path(book.playbook.source.file)
    usual = ground.folder / _USUAL
    there = [path for path in dict.fromkeys([usual, *told, *_encrypted(ground)]) if _is_dotenv(ground, path)]
    named = [path for path in there if re.search(rb"(?m)^%b=" % MASTER.encode(), ground.read(path) or b"")]
    first = [path for path in named if path == usual or path in told] or named
    if len(first) > 1 and first[0] != usual and first[0] not in told:
        names = " and ".join(ground.typed(path) for path in named)
        hint = "write a playbook that names the right one  (docs/reference/playbook.md), then again"
        raise RefusedError(f"cannot tell which file holds the present {MASTER}: {names} have one", hint=hint)
    return first[0] if first else usual if usual in there else (there or [usual])[0]


def _encrypted(ground: Ground) -> list[Path]:
    folders = (ground.folder, ground.folder / "secrets")
    found = [path for folder in folders for path in sorted(folder.glob("*.enc.*"))]
    return [path for path in found if not path.name.startswith(".")]  # what a killed write leaves


def _is_dotenv(ground: Ground, path: Path) -> bool:
    data = ground.read(path)
    return data is not None and (path.suffix == ".env" or b"sops_mac=" in data)


def elsewhere(ground: Ground, path: Path, told: Sequence[Path]) -> Known:
    """What stands in other encrypted files, whose names are in clear."""
    known = Known()
    for other in dict.fromkeys([ground.folder / _USUAL, *told, *_encrypted(ground)]):
        data = (ground.read(other) or b"") if other != path else b""
        named = {
            name
            for name in (*KEYS, *DATABASE_VARIABLES)
            if re.search(rb"(?:\A|[\s\"'{,])%b[\"']?\s*[=:]" % name.encode(), data)
        }
        seen = tuple(Sighting(key, ground.typed(other), None) for key in KEYS if key in named)
        known += Known(seen, frozenset(named))
    return known


def held(ground: Ground, path: Path, identity: Identity) -> dict[str, Secret]:
    """Every value in it that is not blank. Raises RefusedError where it cannot be opened."""
    data = ground.read(path)
    if data is None:
        return {}
    is_named = any(line.key == MASTER.encode() and line.value for line in encrypted_dotenv.lines(data))
    reasons = encrypted_dotenv.refusals(data, MASTER) if is_named else encrypted_dotenv.file_refusals(data)
    if reasons:
        hint = f"sops encrypt --in-place {shlex.quote(str(path))}" if "not encrypted" in reasons[0] else ""
        raise RefusedError(f"cannot use {path}: {reasons[0]}", hint=hint)
    try:
        found = _sops(ground, identity).decrypt(path, ground.folder)
    except PlaceError as error:
        raise RefusedError(str(error), hint=error.hint) from None
    return {key: secret for key, secret in found.items() if not is_blank(secret)}


def look(
    ground: Ground, path: Path, own: Mapping[str, Secret], known: Known, identity: Identity, words: tuple[str, str]
) -> SecretFile:
    """`own` is what it holds, `words` how to audit and how to come here again. Raises RefusedError."""
    is_there, (audit, again) = ground.exists(path), words
    wanted: dict[str, Origin] = {}
    master, salt = (keys.present(key, known, audit, again) for key in KEYS)
    if master is None:
        keys.want_no_doubt(MASTER, known, again)
    is_by_hand = salt is None and known.may_have_database
    for key, found in ((MASTER, master), (SALT, salt)):
        if key not in own and not (key == SALT and is_by_hand):
            wanted[key] = Origin(found.value, f"adopted from {found.where}") if found else Origin(None, _FRESH)
    first = _step(ground, path, identity, wanted, is_there=is_there)
    steps = (first, Step(_salt_by_hand(path, again))) if is_by_hand else (first,)
    present = {**own, **{key: origin.value for key, origin in wanted.items() if origin.value is not None}}
    others = tuple(key for key in own if key not in KEYS and ground.may_stand(key, own[key]))
    return SecretFile(path, steps, present, tuple(key for key in KEYS if key in own or key in wanted), others)


def want_rules_that_work(ground: Ground, path: Path, identity: Identity) -> None:
    """Raises RefusedError where a new file, by the rules that are there, could not be made or opened here."""
    bogus = {key: Secret(generate.bogus_key()) for key in KEYS}
    try:
        _encrypted_by(ground, _sops(ground, identity), path, bogus)
    except PlaceError as error:
        why = str(error).partition(": ")[2] or str(error)
        hint = "mend .sops.yaml first  (see docs/reference/bootstrap.md)"
        raise RefusedError(f"cannot make {path} by the rules of .sops.yaml: {why}", hint=hint) from None


def _sops(ground: Ground, identity: Identity) -> Sops:
    """A new file's identity is not there before its step is done; then sops would find it as it always does."""
    return ground.sops("" if identity.is_new else _opening(ground, identity))


def _salt_by_hand(path: Path, again: str) -> Thing:
    said = (
        f"there is none, and a database is configured, or may be: what LiteLLM has stored there is encrypted with the "
        f"master key itself. A fresh salt would make it unreadable ({NEVER[SALT]}). Set it to the present master key: "
        f"add {SALT}= with the value of {MASTER}, then {again}"
    )
    return Thing("salt", SALT, State.BY_HAND, said, f"sops edit {shlex.quote(str(path))}")


def _step(ground: Ground, path: Path, identity: Identity, wanted: Mapping[str, Origin], *, is_there: bool) -> Step:
    said = "; ".join(f"{key}: {origin.said}" for key, origin in wanted.items())
    typed = ground.typed(path)
    if not wanted:
        return Step(Thing("encrypted-file", typed, State.KEEP, "it has both keys" if is_there else ""))

    def make() -> None:
        values = {key: _made(ground) if each.value is None else each.value for key, each in wanted.items()}
        sops = ground.sops(_opening(ground, identity))
        if is_there:
            _fill(ground, sops, path, values)
        else:
            put_new(path, _encrypted_by(ground, sops, path, values), PRIVATE)

    what = "set in it: " if is_there else "new, "
    return Step(Thing("encrypted-file", typed, State.MAKE, what + said), make, str(path))


def _opening(ground: Ground, identity: Identity) -> str:
    is_file = bool(identity.source) and not identity.source.startswith("keyring")
    return str(ground.absolute(identity.source)) if is_file else identity.source


def _made(ground: Ground) -> Secret:
    return generate.new_value(generate.Recipe(), ground.now).secret


def _encrypted_by(ground: Ground, sops: Sops, path: Path, values: Mapping[str, Secret]) -> bytes:
    data = sops.encrypt(values, path, ground.folder)
    _want_encrypted(path, data, values)
    return data


def _fill(ground: Ground, sops: Sops, path: Path, values: Mapping[str, Secret]) -> None:
    """Put what is missing into the file."""
    copy = files.sibling_of(path).with_name(f"{files.sibling_of(path).name}.gap")

    def edit(data: bytes) -> bytes:
        files.remove(copy)
        try:
            files.create(copy, data)
            filled = _filled(ground, sops, path, copy, values)
        finally:
            files.remove(copy)
        if changed := encrypted_dotenv.changed_besides(data, filled, values):
            raise PlaceError(f"cannot trust what sops wrote: {', '.join(changed)} changed too")
        _want_encrypted(path, filled, values)
        return filled

    files.update(path, edit)


def _filled(ground: Ground, sops: Sops, path: Path, copy: Path, values: Mapping[str, Secret]) -> bytes:
    """The copy with these values set, every other one the same."""
    expected = {**sops.decrypt(copy, ground.folder, path), **values}
    for key, secret in values.items():
        sops.set_value(copy, key, secret, ground.folder, path)
    after = sops.decrypt(copy, ground.folder, path)
    if after.keys() != expected.keys() or not all(are_same(after[key], expected[key]) for key in expected):
        raise PlaceError(f"cannot trust what sops wrote: a value of {path} reads back differently")
    return files.look(copy).data


def _want_encrypted(path: Path, data: bytes, values: Mapping[str, Secret]) -> None:
    for key in values:
        if reasons := encrypted_dotenv.refusals(data, key):
            raise PlaceError(f"cannot use {path} as sops would write it: {reasons[0]}")
