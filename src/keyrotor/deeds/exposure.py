"""What was made at the gateway while its key was exposed, and what is known of the key's use: asked of LiteLLM's API.

Rules:
1. What cannot be asked is unknown, and is said to be; an empty list is told only where somebody has answered with one.
2. No key is shown, and no piece or plain hash of one: of a virtual key its alias and the first 8 digits of its id.
3. The key is shown to the gateway alone: where somebody else has its port nothing is asked, and nothing is known.
4. Times are compared as moments in UTC; what has none (models, but for LiteLLM's licensed build) may be of the window.
Read in the source of LiteLLM 1.106.2 (proxy/management_endpoints, proxy/spend_tracking), which does not run with a
database here: the tests hold a recorded contract against a server of their own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import urlencode, urlsplit

from keyrotor.boundary import proc
from keyrotor.boundary.forms import redacted
from keyrotor.boundary.http import MUCH, Answer, Asking
from keyrotor.boundary.litellm_api import port
from keyrotor.boundary.network import at_once
from keyrotor.boundary.plaintext import unseal
from keyrotor.core.model import printable
from keyrotor.core.response import Exposure, Made
from keyrotor.secret import Secret

ALIAS = "litellm_proxy_master_key"  # the name under which LiteLLM keeps what its master key was used for
WITHIN = 15.0  # seconds for one page
PAGES = 200  # of one list
SIZE = 100  # the most that LiteLLM gives
NO_DATABASE = "there is no database: LiteLLM keeps no record of keys, users, teams, models or requests"


@dataclass(frozen=True, slots=True)
class _List:
    """One list of the API."""

    kind: str
    path: str
    size: str  # what it calls the size of a page; "" for one that comes in one piece
    rows: str  # where they stand in the answer; "" where the answer is the rows
    more: Mapping[str, str]

    def page(self, number: int) -> str:
        sized = {"page": str(number), self.size: str(SIZE)} if self.size else {}
        asked = urlencode({**self.more, **sized})
        return f"{self.path}?{asked}" if asked else self.path


_LISTS = (
    _List("key", "/key/list", "size", "keys", {"return_full_object": "true", "include_team_keys": "true"}),
    _List("user", "/user/list", "page_size", "users", {}),
    _List("team", "/team/list", "", "", {}),
    _List("model", "/v2/model/info", "size", "data", {}),
)


class _UnknownError(Exception):
    """Nobody can say; the words are for people."""


@dataclass(frozen=True, slots=True)
class Exposing:
    """One gateway."""

    playbook: str
    url: str  # "" where the playbook has no door
    rest: Callable[[float], None]
    stranger: Callable[[str], str] = lambda _: ""  # who answers at an address, if it is known not to be the gateway

    def exposure(self, new: Secret, since: str, until: str) -> Exposure:
        """What was made in the window, as far as anybody can know. Writes nothing."""
        start, end = _moment(since), _moment(until)
        base = self._base()
        if not base:
            return self._unknown(since, until, "its playbook names no address of a gateway")
        if who := self.stranger(base):
            return self._unknown(since, until, who)
        try:
            if self._has_database(base) is False:
                return self._unknown(since, until, NO_DATABASE)
        except _UnknownError as error:
            return self._unknown(since, until, str(error))
        made: list[Made] = []
        doubts: list[str] = [] if start else ["since when the key was exposed is not known: everything is listed"]
        for each in _LISTS:
            try:
                made += _made(each.kind, self._rows(base, new, each), start, end)
            except _UnknownError as error:
                doubts.append(f"{each.kind}s: {error}")
        return Exposure(
            self.playbook,
            since,
            until,
            is_known=not doubts,
            why="; ".join(doubts),
            made=tuple(sorted(made, key=lambda each: (each.kind, each.at, each.name))),
            used=self._used(base, new, start, end),
        )

    def _unknown(self, since: str, until: str, why: str) -> Exposure:
        return Exposure(self.playbook, since, until, is_known=False, why=why, used=f"unknown: {why}")

    def _base(self) -> str:
        """The door's address; on loopback where the gateway is still contained and answers there only."""
        address = urlsplit(self.url)
        host = address.hostname or ""
        here = address._replace(netloc=f"127.0.0.1:{port(self.url)}").geturl() if host else ""
        if not host or host in ("localhost", "127.0.0.1", "::1") or not proc.is_own(host):
            return self.url.rstrip("/")
        is_there = self._get(self.url.rstrip("/") + "/health/liveliness", None).status is not None
        return (self.url if is_there else here).rstrip("/")

    def _has_database(self, base: str) -> bool | None:
        """By what it tells everybody of its readiness; None where it does not say. Raises _UnknownError."""
        answer = self._get(f"{base}/health/readiness", None)
        if answer.status is None:
            raise _UnknownError(f"{base} does not answer ({answer.fault})")
        said = _json(answer)
        told = said.get("db") if isinstance(said, dict) else None
        return {"Not connected": False, "connected": True}.get(told) if isinstance(told, str) else None

    def _rows(self, base: str, new: Secret, of: _List) -> Iterator[Mapping[str, Any]]:
        """Every row of a list. Raises _UnknownError where a page does not come."""
        number, last = 1, 1
        while number <= last:
            said = self._said(base + of.page(number), new)
            rows = said.get(of.rows) if of.rows and isinstance(said, dict) else said
            if not isinstance(rows, list):
                raise _UnknownError(f"{of.path} answers with something else than a list")
            yield from (row for row in rows if isinstance(row, dict))
            if any(not isinstance(row, dict) for row in rows):
                raise _UnknownError(f"{of.path} tells no more than names, without their times")
            last = _whole(said.get("total_pages")) if of.size and isinstance(said, dict) else 1
            if last > PAGES:
                raise _UnknownError(f"{of.path} has {last} pages, of which {PAGES} at most are read")
            number += 1

    def _used(self, base: str, new: Secret, start: datetime | None, end: datetime | None) -> str:
        """How often requests with the master key are on record in the window."""
        if start is None or end is None:
            return "unknown: since when the key was exposed is not known"
        asked = {
            "api_key": ALIAS,
            "start_date": f"{start:%Y-%m-%d %H:%M:%S}",
            "end_date": f"{end:%Y-%m-%d %H:%M:%S}",
            "page": "1",
            "page_size": "1",
        }
        try:
            said = self._said(f"{base}/spend/logs/v2?{urlencode(asked)}", new)
        except _UnknownError as error:
            return f"unknown: {error}"
        total = said.get("total") if isinstance(said, dict) else None
        if not isinstance(total, int):
            return "unknown: its spend log tells no number"
        more = " or more" if said.get("total_is_capped") is True else ""
        return f"{total}{more} requests with the master key are on record in the window, whoever made them"

    def _said(self, url: str, new: Secret) -> Any:
        """What it answers to the new key. Raises _UnknownError."""
        if who := self.stranger(url):
            raise _UnknownError(who)
        answer, path = self._get(url, unseal(new)), urlsplit(url).path
        if answer.status is None:
            raise _UnknownError(f"{path}: no answer ({answer.fault})")
        if answer.status != 200:
            raise _UnknownError(f"{path} answers {answer.status}")
        if (said := _json(answer)) is None:
            raise _UnknownError(f"{path} answers with no JSON, or with too much of it")
        return said

    def _get(self, url: str, key: bytes | None) -> Answer:
        question = partial(Asking().get, url, key)
        found = at_once([question], within=WITHIN, rest=self.rest)[0].answer
        return found or Answer(None, fault=f"not within {WITHIN:g} s")


def _made(kind: str, rows: Iterator[Mapping[str, Any]], start: datetime | None, end: datetime | None) -> Iterator[Made]:
    """What was made or changed in the window. Rows without a time are told, for nobody knows."""
    for row in rows:
        info = row.get("model_info") if kind == "model" else row
        said = info if isinstance(info, dict) else {}
        if kind == "model" and said.get("db_model") is not True:
            continue  # it stands in the gateway's config
        made, changed = _moment(said.get("created_at")), _moment(said.get("updated_at"))
        by = _shown(said.get("created_by") or "")
        if made is None:
            yield Made(kind, _name(kind, row, said), "unknown: LiteLLM does not tell when", by)
        elif _is_within(made, start, end):
            yield Made(kind, _name(kind, row, said), made.isoformat(), by)
        elif changed is not None and _is_within(changed, start, end) and kind != "user":
            # A user's row is written again by each of its requests; the others by who changes them, mostly.
            yield Made(kind, f"{_name(kind, row, said)} (changed, made {made:%Y-%m-%d})", changed.isoformat(), by)


def _name(kind: str, row: Mapping[str, Any], info: Mapping[str, Any]) -> str:
    """What a person finds it by. The id of a key is its SHA-256, of which the beginning is enough."""
    token = re.fullmatch(r"([0-9a-f]{8})[0-9a-f]{56}", str(row.get("token")))
    names: Mapping[str, Sequence[Any]] = {
        "key": (row.get("key_alias"), f"id {token[1]}…" if token else ""),
        "user": (row.get("user_alias") or row.get("user_email"), row.get("user_id"), row.get("user_role")),
        "team": (row.get("team_alias"), row.get("team_id")),
        "model": (row.get("model_name"), info.get("id")),
    }
    return ", ".join(_shown(each) for each in names[kind] if each) or "without a name"


def _shown(said: object) -> str:
    """What somebody has called it; an alias may be a key, too."""
    return redacted(printable(str(said)).encode(), ()).decode()


def _is_within(moment: datetime, start: datetime | None, end: datetime | None) -> bool:
    return (start is None or moment >= start) and (end is None or moment <= end)


def _moment(said: object) -> datetime | None:
    """A time in ISO 8601; LiteLLM's are in UTC, with or without saying so."""
    with suppress(ValueError):
        if isinstance(said, str) and said:
            found = datetime.fromisoformat(said)
            return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    return None


def _whole(said: object) -> int:
    return said if isinstance(said, int) else 1


def _json(answer: Answer) -> Any:
    """None for what is none, or was cut off."""
    if len(answer.body) > MUCH:
        return None
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError):
        return None
