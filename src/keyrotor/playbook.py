"""Playbooks: TOML in, `core.model.Playbook` out, or a PlaybookError that names file, place, key and what is allowed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from keyrotor import source
from keyrotor.boundary.generate import KINDS as GENERATE_KINDS
from keyrotor.boundary.generate import Recipe
from keyrotor.core import due, plan
from keyrotor.core.model import Declared, Playbook


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """What every place takes."""

    kind: str
    id: str = ""
    optional: bool = False
    within: str = "60s"

    def label(self) -> str:
        return str(getattr(self, "path", self.kind))


class SopsFile(Place, frozen=True, kw_only=True):
    """The encrypted file itself: its path and key stand in [secret]."""


class EnvFile(Place, frozen=True, kw_only=True):
    path: str
    keys: list[str] = []


class SystemdUnit(Place, frozen=True, kw_only=True):
    unit: str
    scope: str = "user"
    variable: str = ""
    within: str = "120s"

    def label(self) -> str:
        return self.unit


class Litellm(Place, frozen=True, kw_only=True):
    url: str
    unit: str = ""
    config: str = ""
    within: str = "120s"

    def label(self) -> str:
        return self.url


class ClientFile(Place, frozen=True, kw_only=True):
    path: str
    format: str = ""


class Command(Place, frozen=True, kw_only=True):
    put: list[str]
    holds: list[str] = []

    def label(self) -> str:
        return self.id or Path(self.put[0]).name if self.put else self.id


PLACES: Mapping[str, type[Place]] = {
    "sops-file": SopsFile,
    "env-file": EnvFile,
    "systemd-unit": SystemdUnit,
    "litellm": Litellm,
    "client-file": ClientFile,
    "command": Command,
}

# For keys whose values are words of a closed list.
CHOICES: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("systemd-unit", "scope"): ("user", "system"),
    ("client-file", "format"): ("json", "dotenv"),
    ("generate", "kind"): tuple(GENERATE_KINDS),
}

PATHS = ("path", "config", "file")


class Secret(msgspec.Struct, frozen=True, kw_only=True):
    file: str
    key: str
    identity: str = ""
    generate: dict[str, Any] = {}


class Document(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    secret: dict[str, Any]
    place: list[dict[str, Any]]
    every: str = "month"
    keep: str = "7d"


def load(path: Path, env: Mapping[str, str]) -> Playbook:
    """The playbook in this file, checked as far as it can be without looking at the world."""
    return _Reader(path, env).playbook(source.table(path))


def is_address(url: str) -> bool:
    """Whether a gateway can be at this address: http or https, a host, no /v1, no password."""
    try:
        parts = urlsplit(url)
        is_bare = not parts.path.rstrip("/").endswith("/v1")
        is_bare = is_bare and not parts.username and not parts.password  # an address is shown
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and is_bare
    except ValueError:
        return False


class _Reader(source.Reader):
    """One file being read."""

    def __init__(self, path: Path, env: Mapping[str, str]) -> None:
        super().__init__(path, env)
        self._secret_file = ""  # as it is written

    def playbook(self, table: dict[str, Any]) -> Playbook:
        document = self._convert(table, Document, "")
        secret = self._convert(document.secret, Secret, "[secret]")
        self._secret_file = secret.file
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", document.name):
            raise self.error(f"name: {document.name!r}: it is typed in commands; use letters, digits, `.`, `_`, `-`")
        read = self.source(secret.file, secret.key, secret.identity)
        if not due.is_every(document.every):
            raise self.error(f"every: cannot read {document.every!r}; allowed: {due.ALLOWED}")
        self._choose("generate", secret.generate, "[secret] generate")
        self._want_strong(self._convert(secret.generate, Recipe, "[secret] generate"))
        playbook = Playbook(
            name=document.name,
            path=str(self._path),
            source=read,
            every=document.every,
            keep=self._seconds(document.keep, "keep"),
            generate=secret.generate,
            places=self._places(document.place),
        )
        plan.rows(playbook)  # an order that cannot work is the author's to mend, like a misspelt key
        return playbook

    def _want_strong(self, recipe: Recipe) -> None:
        """A value that could be guessed, or that some format would have to quote, is the author's mistake."""
        bounds = {"bytes": (16, 256), "bits": (2048, 16384), "days": (1, 3650)}
        for key, (least, most) in bounds.items():
            if not least <= getattr(recipe, key) <= most:
                raise self.error(f"[secret] generate: {key}: allowed are {least} to {most}")
        if not re.fullmatch(r"[A-Za-z0-9_-]*", recipe.prefix):
            raise self.error("[secret] generate: prefix: only A-Z a-z 0-9 _ - (no format has to quote those)")

    def _places(self, tables: Sequence[dict[str, Any]]) -> tuple[Declared, ...]:
        if not tables:
            raise self.error("it has no [[place]]")
        counts: Counter[str] = Counter()
        return tuple(self._place(at, table, counts) for at, table in enumerate(tables, 1))

    def _place(self, at: int, table: dict[str, Any], counts: Counter[str]) -> Declared:
        kind = table.get("kind")
        if not isinstance(kind, str) or kind not in PLACES:
            said = "has no kind" if kind is None else f"unknown kind {kind!r}"
            raise self.error(f"place {at}: {said}; allowed: {', '.join(PLACES)}")
        where = f"place {at} ({kind})"
        self._choose(kind, table, where)
        place = self._convert(table, PLACES[kind], where)
        counts[kind] += 1
        numbered = kind if counts[kind] == 1 else f"{kind}-{counts[kind]}"
        options = msgspec.to_builtins(place)
        for key in PATHS:
            if options.get(key):
                options[key] = self.absolute(options[key], f"{where}: {key}")
        if "url" in options and not is_address(options["url"]):
            raise self.error(f"{where}: url: not an address; write it as http://127.0.0.1:4000, without /v1")
        for key in ("put", "holds"):
            if key in options and key in table and not options[key]:
                raise self.error(f"{where}: {key}: an empty command")
        return Declared(
            id=place.id or numbered,
            kind=kind,
            label=self._secret_file if kind == "sops-file" else place.label(),
            within=self._seconds(place.within, f"{where}: within"),
            optional=place.optional,
            options={key: option for key, option in options.items() if key not in ("kind", "id", "optional", "within")},
        )

    def _convert(self, table: Any, to: Any, where: str) -> Any:
        fields = getattr(to, "__struct_fields__", None) or to.__slots__
        unknown = sorted(set(table) - set(fields))
        if unknown:
            allowed = ", ".join(fields)
            raise self.error(f"{where}{': ' if where else ''}unknown key {unknown[0]!r}; allowed: {allowed}")
        try:
            return msgspec.convert(table, to)
        except msgspec.ValidationError as error:
            said, _, at = str(error).replace("Object missing required field", "missing key").partition(" - at `$")
            key = at.strip("`.")
            parts = [where, key, said[0].lower() + said[1:]]
            raise self.error(": ".join(part for part in parts if part)) from None

    def _choose(self, table_name: str, table: Mapping[str, Any], where: str) -> None:
        for (name, key), allowed in CHOICES.items():
            if name == table_name and key in table and table[key] not in allowed:
                raise self.error(f"{where}: {key}: unknown {table[key]!r}; allowed: {', '.join(allowed)}")

    def _seconds(self, text: str, where: str) -> float:
        found = due.seconds(text)
        if not found:
            raise self.error(f"{where}: cannot read the duration {text!r}; write a number with s, m, h, d or w")
        return found
