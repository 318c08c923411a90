"""The project's own files: sops' rules and git's. Each is made where it is absent, and left as it is where it is not;
what would be different is told."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from keyrotor import shipped
from keyrotor.core.founding import State, Step, Thing
from keyrotor.errors import PlaceError, RefusedError
from keyrotor.formats import creation_rules
from keyrotor.founding.ground import Ground
from keyrotor.founding.identity import Identity, want_recipient
from keyrotor.texts import difference
from keyrotor.texts import project as texts


def rules(ground: Ground, identity: Identity, secret_file: Path, again: str) -> Step:
    """`.sops.yaml`. Raises RefusedError where a new encrypted file could not be made by what is there."""
    path = ground.folder / ".sops.yaml"
    data, is_new = ground.read(path), not ground.exists(secret_file)
    if data is None:
        if is_new:
            want_recipient(identity, again)
        elif not identity.recipients:
            said = "for whom the encrypted file is to be encrypted cannot be told"
            return Step(Thing("sops-rules", ".sops.yaml", State.BY_HAND, said, "sops updatekeys --help"))
        text = texts.rules(shipped.rules(), identity.recipients[:1])
        if _wanted(text.encode(), ground, secret_file) is None:
            text += _rule(ground, identity, secret_file)
        return ground.new_file("sops-rules", path, text, "for the age identity")
    try:
        wanted = _wanted(data, ground, secret_file)
    except PlaceError as error:
        raise RefusedError(f"cannot read {path}: {error}") from None
    if wanted and is_new and not identity.has_others and not set(identity.recipients) & wanted:
        why = f"{path} names {' and '.join(sorted(wanted))}, and the age identity here is another one"
        hint = f"--age-identity FILE  (one of these), or add to the rule: {', '.join(_added(identity))}"
        raise RefusedError(f"cannot encrypt {ground.typed(secret_file)}: {why}", hint=hint)
    if wanted is not None:
        return Step(Thing("sops-rules", ".sops.yaml", State.KEEP, _told(wanted, identity)))
    rule = _rule(ground, identity, secret_file)
    if is_new:
        why = f"no rule of {path} covers {ground.typed(secret_file)}"
        raise RefusedError(f"cannot encrypt: {why}", hint=f"add to its creation_rules:\n{rule.rstrip()}")
    said = f"none of its rules covers {ground.typed(secret_file)}"
    return Step(Thing("sops-rules", ".sops.yaml", State.DIFFERS, said, diff=difference.added(rule.splitlines())))


def _added(identity: Identity) -> Sequence[str]:
    """Whom a rule would have to name; a new identity is none before it is made."""
    return ("the recipient of one that you have",) if identity.is_new else identity.recipients[:1]


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
