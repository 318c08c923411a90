"""The places that are somebody else's stores: a keyring, an API, a CI's secrets."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from keyrotor.boundary.api import Api, Sent, Token
from keyrotor.boundary.keyring_entry import Entry
from keyrotor.core.model import Row
from keyrotor.places.gitea import Gitea
from keyrotor.places.github_actions import GithubActions
from keyrotor.places.gitlab import Gitlab
from keyrotor.places.keyring_entry import KeyringEntry
from keyrotor.places.open_webui import OpenWebui
from keyrotor.ports import Place

if TYPE_CHECKING:
    from keyrotor.world.parts import Parts


def place(parts: Parts, row: Row, rows: Sequence[Row]) -> Place:
    """The place of a row whose kind is one of these."""
    option = row.options
    match row.kind:
        case "keyring":
            return _keyring(parts, row)
        case "open-webui":
            doors = [each.options["url"] for each in rows if each.kind == "litellm"]
            return OpenWebui(row.label, _api(parts, row, "Authorization", b"Bearer "), [*doors, *option["gateways"]])
        case "github-actions":
            return _github(parts, row)
        case "gitlab":
            owner = f"projects/{_id(option['project'])}" if option["project"] else f"groups/{_id(option['group'])}"
            api, is_repair = _api(parts, row, "PRIVATE-TOKEN", b""), option.get("may_be_other", False)
            return Gitlab(row.label, api, owner, option["name"], option["scope"], is_repair, _sent(row))
        case _:
            owner = f"repos/{option['repo']}" if option["repo"] else f"orgs/{option['org']}"
            api = _api(parts, row, "Authorization", b"token ")
            return Gitea(row.label, api, owner, option["name"], option.get("recorded", ""), _sent(row))


def _api(parts: Parts, row: Row, header: str, scheme: bytes) -> Api:
    token = Token(row.options["token"], parts.env)
    return Api(row.options["url"].rstrip("/"), header, scheme, token, row.within, parts.stop.rest)


def _keyring(parts: Parts, row: Row) -> KeyringEntry:
    option: Mapping[str, Any] = row.options
    attributes = dict(option["attributes"]) or {"service": option["service"], "username": option["user"]}
    words = ["keyring", "set", option["service"], option["user"]]
    if option["attributes"]:
        words = ["secret-tool", "store", "--label=…", *(word for pair in attributes.items() for word in pair)]
    entry = Entry(attributes, row.within, parts.processes, parts.env)
    return KeyringEntry(row.label, entry, option["member"], shlex.join(words), option["todo"])


def _github(parts: Parts, row: Row) -> GithubActions:
    option = row.options
    return GithubActions(
        label=row.label,
        host=option["host"],
        name=option["name"],
        repo=option["repo"],
        org=option["org"],
        environment=option["environment"],
        app=option["app"],
        token=Token(option["token"], parts.env) if option["token"] else None,
        recorded=option.get("recorded", ""),
        within=row.within,
        processes=parts.processes,
        env=parts.env,
        rest=parts.stop.rest,
        sent=_sent(row),
    )


def _sent(row: Row) -> Sent:
    """A store that shows nobody what it holds; what a process before this one has put there nobody knows."""
    return Sent(may_be_there=row.options.get("begun", False))


def _id(path: str) -> str:
    """A project or a group in an address: its number, or its whole path as one word."""
    return quote(path, safe="")
