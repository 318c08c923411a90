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
_FILE = "sops/age/keys.txt"


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
        return _in_keyring(ground, asked, source)
    if source:
        return _in_file(ground, asked, ground.absolute(source))
    stated = ground.env.get("SOPS_AGE_KEY_FILE", "")
    default = _default(ground)
    for path in (ground.absolute(stated) if stated else default, default):
        if ground.exists(path):
            return _in_file(ground, asked, path)
    by_environment = _in_environment(ground, asked)
    if by_environment:
        return by_environment
    path = ground.absolute(stated) if stated else default
    return _in_file(ground, asked, path)


def _default(ground: Ground) -> Path:
    """Where sops looks by itself in this environment."""
    stated = ground.env.get("XDG_CONFIG_HOME", "")
    return Path(stated) / _FILE if stated else _everywhere(ground)


def _everywhere(ground: Ground) -> Path:
    """Where it looks in any environment, a timer's too."""
    return ground.home / ("Library/Application Support" if ground.is_macos else ".config") / _FILE


def _in_file(ground: Ground, asked: Asked, path: Path) -> Identity:
    typed = ground.typed(path)
    where = {} if path == _everywhere(ground) else {"source": typed, "exports": (("SOPS_AGE_KEY_FILE", str(path)),)}
    data = ground.read(path)
    is_inside = path.is_relative_to(ground.folder) and not ground.home.is_relative_to(ground.folder)
    if data is not None:
        found = _parsed(Secret(data), typed, asked)
        thing, quoted = Thing("identity", typed, State.KEEP, _kept(found)), shlex.quote(str(path))
        if is_inside:
            said = f"{thing.said}; it lies in the project, where git may take it along"
            mend = f"mv -n {quoted} {shlex.quote(str(_everywhere(ground)))}"
            thing = replace(thing, state=State.BY_HAND, said=said, mend=mend)
        elif files.look(path).mode & 0o077:
            said = f"{thing.said}; others can read it"
            thing = replace(thing, state=State.BY_HAND, said=said, mend=f"chmod 600 {quoted}")
        step = Step(thing)
        return Identity(step, found.recipients, found.has_others or not found.recipients, **where)  # type: ignore[arg-type]
    if is_inside:
        hint = f"{asked.command} --age-identity ~/.config/sops/age/keys.txt"
        raise RefusedError(f"cannot keep the age identity in {path}: git would take it along", hint=hint)
    made = age.fresh()

    def make() -> None:
        put_new(path, age.file_of(made), PRIVATE)

    step = Step(
        Thing("identity", typed, State.MAKE, "a new age identity, mode 0600; keep a copy of it"), make, str(path)
    )
    return Identity(step, made.recipients, is_new=True, **where)  # type: ignore[arg-type]


def _parsed(content: Secret, where: str, asked: Asked) -> Identities:
    """The identities there. Raises RefusedError where there is none: a new one has another place."""
    found = age.parsed(content)
    if not found.recipients and not found.has_others:
        hint = f"put the identity into it, or take it away and: {asked.again}"
        raise RefusedError(f"cannot use {where}: it holds no identity", hint=hint)
    return found


def _in_environment(ground: Ground, asked: Asked) -> Identity | None:
    """Identities that a variable holds, or a command prints."""
    content, name = Secret(b""), ""
    if ground.env.get("SOPS_AGE_KEY_CMD"):
        name, content = "SOPS_AGE_KEY_CMD", _printed(ground)
    elif ground.env.get("SOPS_AGE_KEY"):
        name, content = "SOPS_AGE_KEY", seal_all({"": ground.env["SOPS_AGE_KEY"]})[""]
    if not name:
        return None
    found = _parsed(content, f"${name}", asked)
    said = f"{_kept(found)}; a timer's service needs the variable too"
    step = Step(Thing("identity", f"${name}", State.KEEP, said))
    return Identity(step, found.recipients, found.has_others or not found.recipients)


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


def _in_keyring(ground: Ground, asked: Asked, source: str) -> Identity:
    where = keychain.identity(source)
    assert where is not None
    exports = tuple(where.variables.items())
    if not keychain.answering():
        hint = f"{asked.command}  (keeps the identity in a file of mode 0600)"
        raise RefusedError("cannot keep the age identity in the keyring: none answers here", hint=hint)
    stored = keychain.age_identity(source)
    label = f"{KEYRING} ({keychain.answering()})"
    if stored is not None:
        found = age.parsed(stored)
        step = Step(Thing("identity", label, State.KEEP, _kept(found)))
        return Identity(step, found.recipients, found.has_others, source, exports)
    made, origin = _to_store(ground)

    def make() -> None:
        assert made.first is not None
        keychain.keep_age_identity(source, made.first)

    said = f"the one of {origin} is copied into it; that file stays" if origin else "a new age identity"
    step = Step(Thing("identity", label, State.MAKE, said), make)
    return Identity(step, made.recipients, False, source, exports, is_new=not origin)


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


def of_existing(identity: Identity, secret_file: Path, asked: Asked) -> Identity:
    """The identity where there is an encrypted file already: a new one could not open that. Raises RefusedError."""
    if not identity.is_new:
        return identity
    if identity.source:
        why = f"{secret_file} is encrypted for another one already"
        hint = f"{asked.command}  (takes the identity that opens it, or: --age-identity, and where that one is)"
        raise RefusedError(f"cannot make a new age identity: {why}", hint=hint)
    thing = Thing("identity", "age identity", State.KEEP, "sops finds by itself what opens the encrypted file")
    return Identity(Step(thing), (), has_others=True)


def want_recipient(identity: Identity, again: str) -> None:
    """Raises RefusedError where nothing tells for whom a new file is to be encrypted."""
    if not identity.recipients:
        why = "the recipient of the age identity cannot be told (a plugin's, ssh's, or one with a passphrase)"
        hint = f"write .sops.yaml with its recipient first, or: {again} --age-identity FILE  (a new one)"
        raise RefusedError(f"cannot make .sops.yaml: {why}", hint=hint)
