"""Playbooks: TOML in, `core.model.Playbook` out, or a PlaybookError that names file, place, key and what is allowed."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from keyrotor import source
from keyrotor.boundary.generate import KINDS as GENERATE_KINDS
from keyrotor.boundary.generate import Recipe
from keyrotor.core import clients, due, plan, window
from keyrotor.core.addressee import Addressee
from keyrotor.core.model import Declared, Playbook, printable
from keyrotor.tables import PLACES, Document, Secret, converted

# For keys whose values are words of a closed list.
CHOICES: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("systemd-unit", "scope"): ("user", "system"),
    ("client-file", "format"): clients.FORMATS,
    ("github-actions", "app"): ("actions", "dependabot", "codespaces"),
    ("generate", "kind"): tuple(GENERATE_KINDS),
}

PATHS = ("path", "config", "file")


def load(path: Path, env: Mapping[str, str], text: str | None = None) -> Playbook:
    """The playbook in this file, or that it would be with this text; checked as far as it can be without looking at the
    world. Raises PlaybookError."""
    return _Reader(path, env).playbook(source.table(path, text))


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
        if window.parsed(document.window) is None:
            raise self.error(f"window: cannot read {document.window!r}; allowed: {window.ALLOWED}")
        self._choose("generate", secret.generate, "[secret] generate")
        self._want_strong(self._convert(secret.generate, Recipe, "[secret] generate"))
        playbook = Playbook(
            name=document.name,
            path=str(self._path),
            source=read,
            every=document.every,
            keep=self._seconds(document.keep, "keep"),
            generate=secret.generate,
            places=self._places(document.place, read.file),
            notify=self._notify(document.notify, read.key),
            window=document.window,
        )
        plan.rows(playbook)  # an order that cannot work is the author's to mend, like a misspelt key
        return playbook

    def _notify(self, tables: Sequence[Mapping[str, Any]], key: str) -> tuple[Addressee, ...]:
        if not tables:
            return ()
        from keyrotor import addressees  # 10 ms, which most playbooks need not pay

        return addressees.read(tables, key, self.error)

    def _want_strong(self, recipe: Recipe) -> None:
        """A value that could be guessed, or that some format would have to quote, is the author's mistake."""
        bounds = {"bytes": (16, 256), "bits": (2048, 16384), "days": (1, 3650)}
        for key, (least, most) in bounds.items():
            if not least <= getattr(recipe, key) <= most:
                raise self.error(f"[secret] generate: {key}: allowed are {least} to {most}")
        if not re.fullmatch(r"[A-Za-z0-9_-]*", recipe.prefix):
            raise self.error("[secret] generate: prefix: only A-Z a-z 0-9 _ - (no format has to quote those)")

    def _places(self, tables: Sequence[dict[str, Any]], encrypted: str) -> tuple[Declared, ...]:
        if not tables:
            raise self.error("it has no [[place]]")
        counts: Counter[str] = Counter()
        places = [self._place(at, table, counts) for at, table in enumerate(tables, 1)]
        gateways = [place.options["url"] for place in places if place.kind == "litellm"]
        self._want_no_twins(places)
        named = [place.options["path"] for place in places if place.options.get("path")]
        taken = {os.path.realpath(path) for path in (encrypted, *named)}
        return tuple(
            self._known(place, gateways, taken) if clients.is_client(place.kind) else place for place in places
        )

    def _known(self, place: Declared, gateways: Sequence[str], taken: set[str]) -> Declared:
        """A client's place with the gateways that its keys are for, and with what is known of its file; if it names
        none, with every file that the client looks at, but for those that another place has `taken`."""
        options = {**place.options, "gateways": [*gateways, *place.options.get("gateways", ())]}
        if options.get("beside") and not options["gateways"]:
            said = "no gateway is known; name one by a `litellm` place, or by `gateways`"
            raise self.error(f"place {place.id}: beside: {said}")
        known = clients.files_of(place.kind)
        if not known:
            return replace(place, options=options)
        if path := options["path"]:
            exact = next((file for file in known if self.known(file.path) == path), None)
            chosen = exact or _alike(known, path)
            return replace(place, options=_with_known(place.kind, chosen, options) | {"is_elsewhere": exact is None})
        paths = {file.name: self.known(file.path) for file in known}
        shares = any(os.path.realpath(path) in taken for path in paths.values() if path)
        files = []
        for file in known:
            if (path := paths[file.name]) and os.path.realpath(path) not in taken:
                taken.add(os.path.realpath(path))  # by two names, or by a link, it is one file
                own = {"name": file.name, "label": printable(self.shown(path)), "path": path}
                files.append({**_with_known(place.kind, file, options), **own})
        return replace(place, options={"files": files, "shares": shares})

    def _want_no_twins(self, places: Sequence[Declared]) -> None:
        seen: dict[str, str] = {}
        for place in places:
            path = place.options.get("path") if clients.is_client(place.kind) else None
            if path and (first := seen.setdefault(os.path.realpath(path), place.id)) != place.id:
                raise self.error(f"place {place.id}: path: place {first} is that file already")

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
        for key, url in [("url", options.get("url")), *(("gateways", url) for url in options.get("gateways", ()))]:
            if url is not None and not is_address(url):
                raise self.error(f"{where}: {key}: not an address; write it as http://127.0.0.1:4000, without /v1")
        for key in ("put", "holds", "reload"):
            if key in options and key in table and not any(options[key][:1]):
                raise self.error(f"{where}: {key}: an empty command")
        self._want_leaves(options, where)
        if kind == "docker-compose" and not options["reload"]:
            folder = os.path.dirname(options["path"])
            options["reload"] = ["docker", "compose", "--project-directory", folder, "up", "--detach"]
        return Declared(
            id=place.id or numbered,
            kind=kind,
            label=printable(self._secret_file if kind == "sops-file" else place.label()),
            within=self._seconds(place.within, f"{where}: within"),
            optional=place.optional,
            options={key: option for key, option in options.items() if key not in ("kind", "id", "optional", "within")},
        )

    def _want_leaves(self, options: Mapping[str, Any], where: str) -> None:
        """`at` names leaves, by which `beside` stands."""
        for path in options.get("at", ()):
            if not clients.is_path(path):
                said = "write it as customModels[*].apiKey, providers.*.api_key or NAME"
                raise self.error(f"{where}: at: cannot read {path!r}; {said}")
        if options.get("beside") and not options["at"]:
            raise self.error(f"{where}: beside: it needs `at`, the leaves that it stands beside")

    def _convert(self, table: Any, to: Any, where: str) -> Any:
        return converted(table, to, where, self.error)

    def _choose(self, table_name: str, table: Mapping[str, Any], where: str) -> None:
        for (name, key), allowed in CHOICES.items():
            if name == table_name and key in table and table[key] not in allowed:
                raise self.error(f"{where}: {key}: unknown {table[key]!r}; allowed: {', '.join(allowed)}")

    def _seconds(self, text: str, where: str) -> float:
        found = due.seconds(text)
        if not found:
            raise self.error(f"{where}: cannot read the duration {text!r}; write a number with s, m, h, d or w")
        return found


def _alike(known: Sequence[clients.File], path: str) -> clients.File:
    """Of a client's files the one whose path ends so, as in any project; else the one of that name, or the first."""
    inner = (file for file in known if file.path[0] not in "~/$" and path.endswith(f"/{file.path}"))
    named = (file for file in known if Path(file.path).name == Path(path).name)
    return next(inner, None) or next(named, known[0])


def _with_known(kind: str, file: clients.File, options: Mapping[str, Any]) -> dict[str, Any]:
    """What the playbook says of a client's file, and what is known of it besides. Who says how to reload it says what
    is to be done, too."""
    known = {**clients.options(kind, file), **options}
    if not options.get("todo") and not options.get("reload"):
        known["todo"] = file.todo or clients.CLIENTS[kind].todo
    return known
