"""The [[notify]] tables of a playbook, of either sort: who is told how a command ended, checked.

Rules: every fault names the table, the key and what is allowed; an address is never shown but by its host; what is
rotated, and what can never be, is no address.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec

from keyrotor.core import due
from keyrotor.core.addressee import CHOICES, USUAL, Addressee, Occasion
from keyrotor.core.kept import NEVER
from keyrotor.core.model import printable
from keyrotor.errors import PlaybookError
from keyrotor.tables import converted

LONGEST = 60.0  # seconds; a command that is over waits for no more than that for each of them
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

Error = Callable[[str], PlaybookError]


class Notify(msgspec.Struct, frozen=True, kw_only=True):
    """What every [[notify]] takes."""

    kind: str
    on: list[str] = []
    within: str = "10s"


class Desktop(Notify, frozen=True, kw_only=True):
    """A window on the desktop of whoever runs the command. It has no keys of its own."""


class Webhook(Notify, frozen=True, kw_only=True):
    url: str = ""
    url_key: str = ""


class Command(Notify, frozen=True, kw_only=True):
    run: list[str]


class Apprise(Notify, frozen=True, kw_only=True):
    urls: list[str] = []
    urls_key: str = ""


KINDS: Mapping[str, type[Notify]] = {"desktop": Desktop, "webhook": Webhook, "command": Command, "apprise": Apprise}


def read(tables: Sequence[Mapping[str, Any]], key: str, error: Error) -> tuple[Addressee, ...]:
    """Those whom the tables name; `key` is the one that the playbook rotates, "" in an incident's. Raises PlaybookError
    by `error`."""
    return tuple(_one(at, table, key, error) for at, table in enumerate(tables, 1))


def readable(tables: object, key: str) -> tuple[Addressee, ...]:
    """Those of them that can be read, of a playbook that may be broken: somebody is to hear of that."""
    return tuple(_readable(tables if isinstance(tables, list) else [], key))


def _readable(tables: Sequence[Any], key: str) -> Iterator[Addressee]:
    for table in tables:
        try:
            yield _one(0, table if isinstance(table, dict) else {}, key, PlaybookError)
        except PlaybookError:
            continue


def where(url: str) -> str:
    """What may be shown of an http or https address: its scheme, host and port; "" for anything else."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return ""
    if not re.fullmatch(r"[\x21-\x7e]+", url) or parts.scheme not in ("http", "https") or not host or port == 0:
        return ""
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{f':{port}' if port else ''}"


def _one(at: int, table: Mapping[str, Any], key: str, error: Error) -> Addressee:
    kind = table.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        said = "has no kind" if kind is None else f"unknown kind {kind!r}"
        raise error(f"notify {at}: {said}; allowed: {', '.join(KINDS)}")
    named = f"notify {at} ({kind})"
    read = converted(table, KINDS[kind], named, error)
    if unknown := next((word for word in read.on if word not in CHOICES), None):
        raise error(f"{named}: on: unknown {unknown!r}; allowed: {', '.join(CHOICES)}")
    if "on" in table and not read.on:
        raise error(f"{named}: on: it is empty, so nobody is told of anything; leave it out for {', '.join(USUAL)}")
    within = due.seconds(read.within)
    if not within or within > LONGEST:
        raise error(f"{named}: within: cannot use {read.within!r}; write it as 10s, {LONGEST:g}s at the most")
    label, options = _told_by(read, named, key, error)
    occasions = tuple(dict.fromkeys(map(Occasion, read.on))) or USUAL
    return Addressee(kind, printable(label), occasions, within, options)


def _told_by(read: Notify, named: str, key: str, error: Error) -> tuple[str, Mapping[str, Any]]:
    """What is shown of the addressee, and how it is reached."""
    match read:
        case Webhook(url=url, url_key=url_key):
            _want_one(url, url_key, "url", named, error)
            if url and not where(url):
                raise error(f"{named}: url: not an address; write it as https://host/path")
            _want_key(url_key, key, f"{named}: url_key", error)
            return where(url) or f"webhook ({url_key})", {"url": url, "key": url_key}
        case Command(run=run):
            if not any(run[:1]):
                raise error(f"{named}: run: an empty command")
            if any("\0" in word for word in run):
                raise error(f"{named}: run: a NUL cannot be in a command")
            return os.path.basename(run[0]) or run[0], {"run": run}
        case Apprise(urls=urls, urls_key=urls_key):
            _want_one(urls, urls_key, "urls", named, error)
            if not all("://" in url for url in urls):
                raise error(f"{named}: urls: not an address of apprise's; write it as ntfy://host/topic")
            _want_key(urls_key, key, f"{named}: urls_key", error)
            schemes = ", ".join(dict.fromkeys(re.sub(r"[^\w+.-]", "", url.split("://")[0]) for url in urls))
            return f"apprise ({schemes or urls_key})", {"urls": urls, "key": urls_key}
        case _:
            return "the desktop", {}


def _want_one(given: object, key: str, name: str, named: str, error: Error) -> None:
    if bool(given) == bool(key):
        raise error(f"{named}: give one of {name} and {name}_key")


def _want_key(name: str, rotated: str, named: str, error: Error) -> None:
    """A name for a key of the encrypted file, whose value is sent to: so never the one that is kept from everybody."""
    if name and not _NAME.fullmatch(name):
        raise error(f"{named}: use letters, digits and `_`")
    if name and name in (rotated, "LITELLM_MASTER_KEY", *NEVER):
        raise error(f"{named}: {name} is no address, and is told to nobody")
