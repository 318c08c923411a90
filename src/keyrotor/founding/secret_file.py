"""The encrypted file: made with adopted or fresh keys; one that is there gets only what it lacks.

Rules:
1. A key that stands anywhere is adopted: from the encrypted file, else from the env file, else a literal in the config.
2. A salt is made only where no database can hold anything that was encrypted without it.
3. A gap is filled by `sops set` on a copy, proven to differ in nothing else, and the file replaced by rename.
4. What cannot be decrypted is not touched, and nothing is made beside it.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from keyrotor.boundary import files, generate
from keyrotor.boundary.plaintext import are_same, is_blank
from keyrotor.boundary.sops import Sops
from keyrotor.core.founding import MASTER, SALT, State, Step, Thing
from keyrotor.core.model import NEVER
from keyrotor.errors import PlaceError, RefusedError
from keyrotor.formats import encrypted_dotenv, gateway_config
from keyrotor.formats.gateway_config import DATABASE_VARIABLES
from keyrotor.founding.env_file import EnvFile, values_in
from keyrotor.founding.gateway import Gateway
from keyrotor.founding.ground import PRIVATE, Ground, put_new
from keyrotor.founding.identity import Identity
from keyrotor.secret import Secret

_REFERENCE = "os.environ/"
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


def look(ground: Ground, path: Path, gateway: Gateway, env_file: EnvFile, identity: Identity) -> SecretFile:
    """Raises RefusedError where what is there cannot be opened."""
    is_there = files.exists(path)
    held = _held(ground, path, identity) if is_there else {}
    wanted: dict[str, Origin] = {}
    if MASTER not in held:
        wanted[MASTER] = _master(ground, gateway, env_file)
    salt = None if SALT in held else _salt(ground, gateway, env_file, held)
    if salt and not salt.mend_by_hand:
        wanted[SALT] = salt.origin
    first = _step(ground, path, identity, wanted, is_there=is_there)
    steps = (first, Step(_salt_by_hand(path))) if salt and salt.mend_by_hand else (first,)
    present = {**held, **{key: origin.value for key, origin in wanted.items() if origin.value is not None}}
    keys = tuple(key for key in (MASTER, SALT) if key in held or key in wanted)
    return SecretFile(path, steps, present, keys)


def _held(ground: Ground, path: Path, identity: Identity) -> dict[str, Secret]:
    data = files.look(path).data
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


def _sops(ground: Ground, identity: Identity) -> Sops:
    """A new file's identity is not there before its step is done; then sops would find it as it always does."""
    source = "" if identity.is_new else identity.source
    is_file = bool(source) and not source.startswith("keyring")
    return ground.sops(str(ground.absolute(source)) if is_file else source)


def _master(ground: Ground, gateway: Gateway, env_file: EnvFile) -> Origin:
    if MASTER in env_file.values:
        return Origin(env_file.values[MASTER], f"adopted from {ground.typed(env_file.path)}")
    config = _config(ground, gateway)
    literal = config.master_key if config else None
    if isinstance(literal, str) and literal.strip() and not literal.startswith(_REFERENCE):
        return Origin(Secret(literal.encode()), "adopted from the gateway's config, where it is a literal")
    return Origin(None, _FRESH)


@dataclass(frozen=True, slots=True)
class _Salt:
    origin: Origin
    mend_by_hand: bool = False


def _salt(ground: Ground, gateway: Gateway, env_file: EnvFile, held: Mapping[str, Secret]) -> _Salt:
    if SALT in env_file.values:
        return _Salt(Origin(env_file.values[SALT], f"adopted from {ground.typed(env_file.path)}"))
    return _Salt(Origin(None, _FRESH), mend_by_hand=_may_have_database(ground, gateway, env_file, held))


def _may_have_database(ground: Ground, gateway: Gateway, env_file: EnvFile, held: Mapping[str, Secret]) -> bool:
    """Whether one is configured anywhere, or that cannot be told."""
    named = {*held, *env_file.values, *gateway.sets}
    for path in gateway.env_files:
        named |= set(values_in(ground, path)) if files.exists(path) else set()
    if not named.isdisjoint(DATABASE_VARIABLES):
        return True
    assert gateway.config is not None
    if not files.exists(gateway.config):
        return gateway.is_there  # whatever it reads was not found
    config = _config(ground, gateway)
    return config is None or config.has_database


def _config(ground: Ground, gateway: Gateway) -> gateway_config.GatewayConfig | None:
    """What the gateway's config says; None where there is none, or it cannot be read."""
    assert gateway.config is not None
    try:
        data = ground.read(gateway.config)
        if data is None:
            return None
        return gateway_config.read(data, str(gateway.config), lambda at: ground.read(Path(at)))
    except PlaceError:
        return None


def _salt_by_hand(path: Path) -> Thing:
    said = (
        f"there is none, and a database is configured, or may be: what LiteLLM has stored there is encrypted with the "
        f"master key itself. A fresh salt would make it unreadable ({NEVER[SALT]}). Set it to the present master key"
    )
    mend = (
        f"sops edit {shlex.quote(str(path))}  (add {SALT}= with the value of {MASTER}, then keyrotor bootstrap again)"
    )
    return Thing("salt", SALT, State.BY_HAND, said, mend)


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
            put_new(path, _encrypted(ground, sops, path, values), PRIVATE)

    what = "set in it: " if is_there else "new, "
    return Step(Thing("encrypted-file", typed, State.MAKE, what + said), make)


def _opening(ground: Ground, identity: Identity) -> str:
    is_file = bool(identity.source) and not identity.source.startswith("keyring")
    return str(ground.absolute(identity.source)) if is_file else identity.source


def _made(ground: Ground) -> Secret:
    return generate.new_value(generate.Recipe(), ground.now).secret


def _encrypted(ground: Ground, sops: Sops, path: Path, values: Mapping[str, Secret]) -> bytes:
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
