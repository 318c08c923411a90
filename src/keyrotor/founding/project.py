"""The project's own files: sops' rules, git's, direnv's, and a sample config. Each is made where it is absent, and left
as it is where it is not; what would be different is told."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from keyrotor import shipped
from keyrotor.boundary import files
from keyrotor.core.founding import MASTER, State, Step, Thing
from keyrotor.errors import PlaceError, RefusedError
from keyrotor.formats import creation_rules, envrc
from keyrotor.founding.gateway import Gateway
from keyrotor.founding.ground import Ground
from keyrotor.founding.identity import Identity, want_recipient
from keyrotor.texts import difference
from keyrotor.texts import gateway as gateway_texts
from keyrotor.texts import project as texts

_HARM = "it decrypts into the env file at every prompt: a decrypt that fails empties it, and a rollback is undone"


def rules(ground: Ground, identity: Identity, secret_file: Path) -> Step:
    """`.sops.yaml`. Raises RefusedError where a new encrypted file could not be made by what is there."""
    path = ground.folder / ".sops.yaml"
    data, is_new = ground.read(path), not files.exists(secret_file)
    if data is None:
        if is_new:
            want_recipient(identity)
        elif not identity.recipients:
            said = "for whom the encrypted file is to be encrypted cannot be told"
            return Step(Thing("sops-rules", ".sops.yaml", State.BY_HAND, said, "sops updatekeys --help"))
        text = texts.rules(shipped.rules(), identity.recipients)
        if _wanted(text.encode(), ground, secret_file) is None:
            text += _rule(ground, identity, secret_file)
        return ground.new_file("sops-rules", path, text, "for the age identity")
    try:
        wanted = _wanted(data, ground, secret_file)
    except PlaceError as error:
        raise RefusedError(f"cannot read {path}: {error}") from None
    if wanted is not None:
        return Step(Thing("sops-rules", ".sops.yaml", State.KEEP, _told(wanted, identity)))
    rule = _rule(ground, identity, secret_file)
    if is_new:
        why = f"no rule of {path} covers {ground.typed(secret_file)}"
        raise RefusedError(f"cannot encrypt: {why}", hint=f"add to its creation_rules:\n{rule.rstrip()}")
    said = f"none of its rules covers {ground.typed(secret_file)}"
    return Step(Thing("sops-rules", ".sops.yaml", State.DIFFERS, said, diff=difference.added(rule.splitlines())))


def _wanted(data: bytes, ground: Ground, secret_file: Path) -> frozenset[str] | None:
    return creation_rules.wanted(data, os.path.relpath(os.path.realpath(secret_file), os.path.realpath(ground.folder)))


def _rule(ground: Ground, identity: Identity, secret_file: Path) -> str:
    name = os.path.relpath(secret_file, ground.folder)
    escaped = "".join(char if char.isalnum() or char in "/_- " else f"\\{char}" for char in name)
    recipient = identity.recipients[0] if identity.recipients else "age1…"
    quoted = escaped.replace("'", "''")
    return f"  - path_regex: '{quoted}$'\n    age: {recipient}\n"


def _told(wanted: frozenset[str], identity: Identity) -> str:
    if not wanted or not identity.recipients or set(identity.recipients) & wanted:
        return "a rule covers the encrypted file"
    return "a rule covers the encrypted file, but not for the age identity here"


def attributes(ground: Ground) -> Step:
    return _lines(ground, "gitattributes", ".gitattributes", texts.attributes(), texts.ATTRIBUTES)


def ignored(ground: Ground) -> Step:
    return _lines(ground, "gitignore", ".gitignore", texts.ignored(), texts.IGNORED)


def _lines(ground: Ground, id: str, name: str, text: str, wanted: Sequence[str]) -> Step:
    path = ground.folder / name
    data = ground.read(path)
    if data is None:
        return ground.new_file(id, path, text)
    missing = texts.missing(data.decode(errors="replace"), wanted)
    if not missing:
        return Step(Thing(id, name, State.KEEP))
    said = f"it has not {len(missing)} of the lines that a lab wants"
    return Step(Thing(id, name, State.DIFFERS, said, diff=difference.added(missing)))


def shell(ground: Ground, env_file: Path, identity: Identity) -> Step:
    """`.envrc`."""
    path, home = ground.folder / ".envrc", str(ground.home)
    data = ground.read(path)
    if data is None:
        text = texts.envrc(str(env_file), home, identity.exports)
        return ground.new_file("envrc", path, text, "loads the env file by direnv")
    text = data.decode(errors="replace")
    line = texts.envrc_line(str(env_file), home)
    is_loaded = any(ground.absolute(each) == env_file for each in envrc.loaded(text, home))
    harmful = envrc.decrypting(text, home)
    if not harmful and is_loaded:
        return Step(Thing("envrc", ".envrc", State.KEEP))
    if not harmful:
        return Step(Thing("envrc", ".envrc", State.DIFFERS, "it does not load the env file", diff=(f"+{line}",)))
    changed = difference.unified(text, envrc.mended(text, line, home), ".envrc")
    return Step(Thing("envrc", ".envrc", State.DIFFERS, _HARM, diff=changed))


def config(ground: Ground, gateway: Gateway, reasons: Sequence[str]) -> Step:
    """The gateway's config: a sample where there is none."""
    assert gateway.config is not None
    if not files.exists(gateway.config):
        return ground.new_file("config", gateway.config, gateway_texts.config(), "a sample with one mock model")
    typed = ground.typed(gateway.config)
    if reasons:
        return Step(Thing("config", typed, State.BY_HAND, "; ".join(reasons)))
    return Step(Thing("config", typed, State.KEEP, f"its {MASTER} comes from the environment"))
