"""Where a playbook says that its secret is: the `[secret]` of it, read alone and in a moment, or with all else.

A command that needs no more than the encrypted file (`exec`) reads it here, without what checks whole playbooks
(msgspec, 30 ms); both find the same faults in it and tell them in the same words.
"""

from __future__ import annotations

import os
import re
import shlex
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keyrotor import shelf
from keyrotor.core.kept import NEVER, Source
from keyrotor.errors import PlaybookError

FIELDS = ("file", "key", "identity", "generate")
_NAMED = "keyrotor … NAME  (one of the playbooks that its [incident] table names)"
_KINDS = {str: "str", bool: "bool", int: "int", float: "float", list: "array", dict: "object"}


def table(path: Path, text: str | None = None) -> dict[str, Any]:
    """The TOML of a playbook, unchecked but for being one; `text`: what it would be. Raises PlaybookError."""
    found = parsed(path, text)
    if "incident" in found:
        raise PlaybookError(f"cannot use {path}: it is an incident playbook, which rotates nothing itself", hint=_NAMED)
    return found


def parsed(path: Path, text: str | None = None) -> dict[str, Any]:
    """The TOML of a playbook of either sort. Raises PlaybookError."""
    try:
        text = path.read_text() if text is None else text
        if text.startswith("\ufeff"):
            why = "it begins with a byte order mark, which TOML does not allow"
            raise PlaybookError(f"cannot read playbook {path}: {why}", hint=_without_mark(path))
        return tomllib.loads(text)
    except OSError as error:
        raise PlaybookError(f"cannot read playbook {path}: {(error.strerror or '').lower()}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PlaybookError(f"cannot read playbook {path}: {error}") from None


def _without_mark(path: Path) -> str:
    return f"LC_ALL=C sed -i --follow-symlinks '1s/^\\xEF\\xBB\\xBF//' {shlex.quote(str(path))}"


def load(path: Path, env: Mapping[str, str]) -> Source:
    """Where the secret of this playbook is, without a look at the rest of it. Raises PlaybookError."""
    reader = Reader(path, env)
    found = table(path)
    if "secret" not in found:
        raise reader.error("missing key `secret`")
    secret = found["secret"]
    if not isinstance(secret, dict):
        raise reader.error(f"secret: expected `object`, got `{_kind(secret)}`")
    if unknown := sorted(set(secret) - set(FIELDS)):
        raise reader.error(f"[secret]: unknown key {unknown[0]!r}; allowed: {', '.join(FIELDS)}")
    for name in ("file", "key", "identity"):
        if name not in secret and name != "identity":
            raise reader.error(f"[secret]: missing key `{name}`")
        if not isinstance(secret.get(name, ""), str):
            raise reader.error(f"[secret]: {name}: expected `str`, got `{_kind(secret[name])}`")
    return reader.source(secret["file"], secret["key"], secret.get("identity", ""))


def _kind(of: object) -> str:
    """What msgspec calls it, which checks the rest of a playbook."""
    return _KINDS.get(type(of), type(of).__name__)


class Reader:
    """One playbook being read; knows what to call itself in an error, and where its paths start from."""

    def __init__(self, path: Path, env: Mapping[str, str]) -> None:
        self._path = path
        self.env = env
        self.project = shelf.project_of(path.parent) or path.parent

    def source(self, file: str, key: str, identity: str) -> Source:
        """The [secret] of the playbook, checked. Raises PlaybookError."""
        if key in NEVER:
            raise self.error(f"[secret] key: {key} cannot be rotated: {NEVER[key]}")
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key):
            raise self.error("[secret] key: not the name of a variable")
        file = os.path.realpath(self.absolute(file, "[secret] file"))
        if identity and not identity.startswith("keyring"):
            identity = self.absolute(identity, "[secret] identity")
        return Source(file=file, key=key, identity=identity, project=str(self.project))

    def absolute(self, text: str, where: str) -> str:
        """A path of the playbook, from its project on; `~` and `${VAR}` expanded. Raises PlaybookError."""

        def expanded(match: re.Match[str]) -> str:
            if match[1] not in self.env:
                raise self.error(f"{where}: the variable {match[1]} is not set")
            return self.env[match[1]]

        text = re.sub(r"\$\{(\w+)\}", expanded, text)
        if text == "~" or text.startswith("~/"):
            text = self.env.get("HOME", os.path.expanduser("~")) + text[1:]
        return os.path.normpath(self.project / text)

    def known(self, text: str) -> str:
        """A path that a program is known to look at; "" where it names a variable that is not set."""
        for name, default in (("XDG_CONFIG_HOME", "~/.config"), ("XDG_DATA_HOME", "~/.local/share")):
            folder = self.env.get(name, "")
            text = text.replace(f"${{{name}}}", folder if os.path.isabs(folder) else default)  # a relative one is none
        if any(not self.env.get(name) for name in re.findall(r"\$\{(\w+)\}", text)):
            return ""
        return self.absolute(text, "a known path")

    def shown(self, path: str) -> str:
        """A path as a person reads it: from `~` on, where it lies in the home."""
        home = self.env.get("HOME", os.path.expanduser("~")).rstrip("/")
        return f"~{path[len(home) :]}" if home and path.startswith(f"{home}/") else path

    def error(self, why: str) -> PlaybookError:
        return PlaybookError(f"cannot use {self._path}: {why}")
