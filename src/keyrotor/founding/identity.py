"""The age identity: the one that is there, or a new one; in a file, or in the keyring of the system.

Rules:
1. What sops would use is looked for where sops looks (facts: sops.md 4), and kept.
2. A new one is made in memory while the lab is looked at, and stored only by the step: until then it is nothing.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from pathlib import Path

from keyrotor.boundary import age, files, keychain
from keyrotor.boundary.age import Identities
from keyrotor.boundary.plaintext import seal_all
from keyrotor.boundary.process import environment
from keyrotor.core.founding import Asked, State, Step, Thing
from keyrotor.errors import RefusedError
from keyrotor.founding.ground import PRIVATE, Ground, put_new
from keyrotor.secret import Secret

KEYRING = "keyring"


@dataclass(frozen=True, slots=True)
class Identity:
    """Where the age identity is, or will be."""

    step: Step
    recipients: tuple[str, ...]
    has_others: bool = False  # there are some whose recipient cannot be told
    source: str = ""  # what the playbook says of it; "": sops finds it by itself
    exports: tuple[tuple[str, str], ...] = ()  # what sops by itself needs to find it
    is_new: bool = False


def look(ground: Ground, asked: Asked, named: str) -> Identity:
    """The identity of this lab; `named` is what its playbook says. Raises RefusedError, PlaceError."""
    source = asked.identity or named
    if source.partition(":")[0] == KEYRING:
        return _in_keyring(ground, source)
    if source:
        return _in_file(ground, ground.absolute(source), is_default=False)
    stated = ground.env.get("SOPS_AGE_KEY_FILE", "")
    default = _default(ground)
    for path in (ground.absolute(stated) if stated else default, default):
        if files.exists(path):
            return _in_file(ground, path, is_default=path == default)
    by_environment = _in_environment(ground)
    if by_environment:
        return by_environment
    path = ground.absolute(stated) if stated else default
    return _in_file(ground, path, is_default=path == default)


def _default(ground: Ground) -> Path:
    """Where sops looks by itself."""
    stated = ground.env.get("XDG_CONFIG_HOME", "")
    own = ground.home / ("Library/Application Support" if ground.is_macos else ".config")
    return (Path(stated) if stated else own) / "sops" / "age" / "keys.txt"


def _in_file(ground: Ground, path: Path, *, is_default: bool) -> Identity:
    typed = ground.typed(path)
    where = {} if is_default else {"source": typed, "exports": (("SOPS_AGE_KEY_FILE", str(path)),)}
    data = ground.read(path)
    if data is not None:
        found = age.parsed(Secret(data))
        thing = Thing("identity", typed, State.KEEP, _kept(found))
        if files.look(path).mode & 0o077:
            mend = f"chmod 600 {shlex.quote(str(path))}"
            thing = replace(thing, state=State.BY_HAND, said=f"{thing.said}; others can read it", mend=mend)
        step = Step(thing)
        return Identity(step, found.recipients[:1], found.has_others or not found.recipients, **where)  # type: ignore[arg-type]
    if path.is_relative_to(ground.folder) and not ground.home.is_relative_to(ground.folder):
        raise RefusedError(f"cannot keep the age identity in {path}: git would take it along", hint=_OUTSIDE)
    made = age.fresh()

    def make() -> None:
        put_new(path, age.file_of(made), PRIVATE)

    step = Step(Thing("identity", typed, State.MAKE, "a new age identity, mode 0600; keep a copy of it"), make)
    return Identity(step, made.recipients, is_new=True, **where)  # type: ignore[arg-type]


_OUTSIDE = "keyrotor bootstrap --age-identity ~/.config/sops/age/keys.txt"


def _in_environment(ground: Ground) -> Identity | None:
    """Identities that a variable holds, or a command prints."""
    content, name = Secret(b""), ""
    if ground.env.get("SOPS_AGE_KEY_CMD"):
        name, content = "SOPS_AGE_KEY_CMD", _printed(ground)
    elif ground.env.get("SOPS_AGE_KEY"):
        name, content = "SOPS_AGE_KEY", seal_all({"": ground.env["SOPS_AGE_KEY"]})[""]
    if not name:
        return None
    found = age.parsed(content)
    said = f"{_kept(found)}; a timer's service needs the variable too"
    step = Step(Thing("identity", f"${name}", State.KEEP, said))
    return Identity(step, found.recipients[:1], found.has_others or not found.recipients)


def _printed(ground: Ground) -> Secret:
    """What SOPS_AGE_KEY_CMD prints, run as sops runs it: by its words, without a shell."""
    try:
        words = shlex.split(ground.env["SOPS_AGE_KEY_CMD"])
        done = ground.processes.run(words, env=environment(ground.env, prefixes=("PYTHON_KEYRING_",)))
    except (ValueError, IndexError):
        raise RefusedError("cannot run SOPS_AGE_KEY_CMD: it is no command line") from None
    if done.code:
        raise RefusedError(f"cannot read the age identity: SOPS_AGE_KEY_CMD ended with exit code {done.code}")
    return Secret(done.out)


def _in_keyring(ground: Ground, source: str) -> Identity:
    where = keychain.identity(source)
    assert where is not None
    exports = tuple(where.variables.items())
    if not keychain.answering():
        hint = "keyrotor bootstrap  (keeps the identity in a file of mode 0600)"
        raise RefusedError("cannot keep the age identity in the keyring: none answers here", hint=hint)
    stored = keychain.age_identity(source)
    label = f"{KEYRING} ({keychain.answering()})"
    if stored is not None:
        found = age.parsed(stored)
        step = Step(Thing("identity", label, State.KEEP, _kept(found)))
        return Identity(step, found.recipients[:1], found.has_others, source, exports)
    made, origin = _to_store(ground)

    def make() -> None:
        assert made.first is not None
        keychain.keep_age_identity(source, made.first)

    said = f"the one of {origin} is copied into it; that file stays" if origin else "a new age identity"
    step = Step(Thing("identity", label, State.MAKE, said), make)
    return Identity(step, made.recipients[:1], False, source, exports, is_new=not origin)


def _to_store(ground: Ground) -> tuple[Identities, str]:
    """What the keyring is to hold: the identity that this user has already, else a new one; and where that one is."""
    stated = ground.env.get("SOPS_AGE_KEY_FILE", "")
    for path in ([ground.absolute(stated)] if stated else []) + [_default(ground)]:
        data = ground.read(path)
        found = age.parsed(Secret(data)) if data is not None else None
        if found is not None and found.first is not None:
            return found, ground.typed(path)
    return age.fresh(), ""


def _kept(found: Identities) -> str:
    if not found.recipients:
        return "its recipient cannot be told: it is a plugin's, or protected by a passphrase"
    more = f"; the first of {len(found.recipients)}" if len(found.recipients) > 1 else ""
    return f"for {found.recipients[0]}{more}"


def of_existing(identity: Identity, secret_file: Path) -> Identity:
    """The identity where there is an encrypted file already: a new one could not open that. Raises RefusedError."""
    if not identity.is_new:
        return identity
    if identity.source:
        why = f"{secret_file} is encrypted for another one already"
        hint = "keyrotor bootstrap  (takes the identity that opens it, or: --age-identity, and where that one is)"
        raise RefusedError(f"cannot make a new age identity: {why}", hint=hint)
    thing = Thing("identity", "age identity", State.KEEP, "sops finds by itself what opens the encrypted file")
    return Identity(Step(thing), (), has_others=True)


def want_recipient(identity: Identity) -> None:
    """Raises RefusedError where nothing tells for whom a new file is to be encrypted."""
    if not identity.recipients:
        why = "the recipient of the age identity cannot be told (a plugin's, ssh's, or one with a passphrase)"
        hint = "write .sops.yaml with its recipient first, or: keyrotor bootstrap --age-identity FILE  (a new one)"
        raise RefusedError(f"cannot make .sops.yaml: {why}", hint=hint)
