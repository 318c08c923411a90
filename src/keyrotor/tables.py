"""The tables of a playbook: which keys each takes, of what type, and what stands where one is left out."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from keyrotor.core import clients


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
    window: str = ""
    keep: str = "7d"
    notify: list[dict[str, Any]] = []


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
    at: list[str] = []
    beside: str = ""
    gateways: list[str] = []
    raw: bool = False
    in_place: bool = False
    reload: list[str] = []
    todo: str = ""


class Client(Place, frozen=True, kw_only=True):
    """A client whose files are known; `path` is for one that lies elsewhere."""

    path: str = ""
    gateways: list[str] = []
    raw: bool = False
    in_place: bool = False
    reload: list[str] = []
    todo: str = ""

    def label(self) -> str:
        return self.path or clients.CLIENTS[self.kind].title


class Direnv(Place, frozen=True, kw_only=True):
    path: str = ".envrc"


class DockerCompose(Place, frozen=True, kw_only=True):
    path: str
    raw: bool = False
    in_place: bool = False
    reload: list[str] = []
    todo: str = ""


class ByHand(Place, frozen=True, kw_only=True):
    task: str

    def label(self) -> str:
        return self.id or "what is left to a person"


class Opaque(Place, frozen=True, kw_only=True):
    """A client whose key no program but its own can reach."""

    task: str = ""

    def label(self) -> str:
        return f"{self.kind}, by hand"


class Keyring(Place, frozen=True, kw_only=True):
    """An entry of the OS keyring: by `service` and `user`, or by whatever its program finds it."""

    service: str = ""
    user: str = ""
    attributes: dict[str, str] = {}
    member: str = ""
    todo: str = ""

    def __post_init__(self) -> None:
        is_named = bool(self.service and self.user)
        _want(is_named != bool(self.attributes), "name it by service and user, or by attributes")

    def label(self) -> str:
        named = "/".join(self.attributes.values()) or f"{self.service}/{self.user}"
        return f"keyring {named}{' ' if self.member else ''}{self.member}"


class OpenWebui(Place, frozen=True, kw_only=True):
    url: str
    token: str
    gateways: list[str] = []

    def __post_init__(self) -> None:
        _want_name(self.token, "token")

    def label(self) -> str:
        return self.url


class GithubActions(Place, frozen=True, kw_only=True):
    name: str
    repo: str = ""
    org: str = ""
    environment: str = ""
    app: str = "actions"
    host: str = "github.com"
    token: str = ""

    def __post_init__(self) -> None:
        _want_name(self.name, "name")
        _want_name(self.token or "none", "token")
        _want_owner(self.repo, self.org)
        _want(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.:-]*", self.host) is not None, "host: write it as github.com")
        is_plain = bool(self.repo) and self.app == "actions" and "/" not in self.environment
        _want(not self.environment or is_plain, "environment: only Actions secrets of a repo have one; without a slash")

    def label(self) -> str:
        of = self.environment or (self.app if self.app != "actions" else "")
        return " ".join(word for word in (f"{self.host}/{self.repo or self.org}", of, self.name) if word)


class Gitea(Place, frozen=True, kw_only=True):
    url: str
    name: str
    token: str
    repo: str = ""
    org: str = ""

    def __post_init__(self) -> None:
        _want_name(self.name, "name")
        _want_name(self.token, "token")
        _want_owner(self.repo, self.org)

    def label(self) -> str:
        return f"{self.url.rstrip('/')}/{self.repo or self.org} {self.name}"


class Gitlab(Place, frozen=True, kw_only=True):
    name: str
    token: str
    project: str = ""
    group: str = ""
    scope: str = "*"
    url: str = "https://gitlab.com"

    def __post_init__(self) -> None:
        _want_name(self.name, "name")
        _want_name(self.token, "token")
        _want(bool(self.project) != bool(self.group), "name a project or a group")

    def label(self) -> str:
        scope = "" if self.scope == "*" else f" ({self.scope})"
        return f"{self.url.rstrip('/')}/{self.project or self.group} {self.name}{scope}"


def _want(is_so: bool, why: str) -> None:
    """Raises what msgspec makes its own error of."""
    if not is_so:
        raise ValueError(why)


def _want_name(text: str, key: str) -> None:
    _want(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", text) is not None, f"{key}: use letters, digits and `_`")


def _want_owner(repo: str, org: str) -> None:
    part = r"(?!\.{1,2}(?:/|$))[A-Za-z0-9_.][A-Za-z0-9_.-]*"
    _want(bool(repo) != bool(org), "name a repo or an org")
    _want(re.fullmatch(f"{part}/{part}" if repo else part, repo or org) is not None, "write it as OWNER/REPO, or ORG")


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
    "by-hand": ByHand,
    **dict.fromkeys(clients.CLIENTS, Client),
    "direnv": Direnv,
    "docker-compose": DockerCompose,
    **dict.fromkeys(clients.OPAQUE, Opaque),
    "keyring": Keyring,
    "open-webui": OpenWebui,
    "github-actions": GithubActions,
    "gitea": Gitea,
    "forgejo": Gitea,
    "gitlab": Gitlab,
}


def converted(table: Any, to: Any, where: str, error: Callable[[str], Exception]) -> Any:
    """The table as this type. Raises what `error` makes of the fault, which names the key and what is allowed."""
    fields = getattr(to, "__struct_fields__", None) or to.__slots__
    unknown = sorted(set(table) - set(fields))
    if unknown:
        allowed = ", ".join(fields)
        raise error(f"{where}{': ' if where else ''}unknown key {unknown[0]!r}; allowed: {allowed}")
    try:
        return msgspec.convert(table, to)
    except msgspec.ValidationError as fault:
        said, _, at = str(fault).replace("Object missing required field", "missing key").partition(" - at `$")
        key = at.strip("`.")
        parts = [where, key, said[0].lower() + said[1:]]
        raise error(": ".join(part for part in parts if part)) from None
