"""What was made at a gateway while its key was exposed.

LiteLLM does not run with a database here (its engine comes from a host of its own). A server of the test's own keeps
the contract that was read in the source of LiteLLM 1.106.2: paths, parameters, pages, and what it answers without a
database, as measured.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from keyrotor.core.response import Exposure
from keyrotor.deeds.exposure import NO_DATABASE, Exposing
from keyrotor.secret import Secret

SINCE, UNTIL = "2026-11-20T00:00:00+00:00", "2026-11-22T12:00:00+00:00"
Query = dict[str, list[str]]
Route = Callable[[Query], tuple[int, Any]]


def token() -> str:
    return hashlib.sha256(secrets.token_bytes(8)).hexdigest()


def keys(count: int, at: str = "2026-11-21T10:00:00Z", **more: Any) -> list[dict[str, Any]]:
    return [
        {"token": token(), "key_alias": f"alias {number}", "key_name": "sk-...abcd", "created_at": at, **more}
        for number in range(count)
    ]


def paged(name: str, size: str, rows: list[Any], total: str = "total_count") -> Route:
    def answer(query: Query) -> tuple[int, Any]:
        page, each = int(query["page"][0]), int(query[size][0])
        assert each <= 100  # LiteLLM takes no more
        shown = rows[(page - 1) * each : page * each]
        return 200, {name: shown, total: len(rows), "total_pages": -(-len(rows) // each)}

    return answer


def gateway(key: str, **routes: Route) -> dict[str, Route]:
    """A gateway with a database, in which there is nothing; routes by name in the stead of those."""
    found: dict[str, Route] = {
        "/health/readiness": lambda _: (200, {"status": "healthy", "db": "connected"}),
        "/key/list": paged("keys", "size", []),
        "/user/list": paged("users", "page_size", [], "total"),
        "/team/list": lambda _: (200, []),
        "/v2/model/info": paged("data", "size", []),
        "/spend/logs/v2": lambda _: (200, {"data": [], "total": 0, "page": 1, "total_pages": 0}),
    }
    return found | {path.replace("__", "/"): route for path, route in routes.items()}


@contextmanager
def serving(key: str, routes: dict[str, Route]) -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []

    class Door(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            address = urlsplit(self.path)
            asked.append(self.path)
            route = routes.get(address.path)
            is_open = address.path == "/health/readiness"
            if not is_open and self.headers.get("Authorization") != f"Bearer {key}":
                status, said = 401, {"error": "no"}
            else:
                status, said = route(parse_qs(address.query)) if route else (404, {"detail": "Not Found"})
            body = said if isinstance(said, bytes) else json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


def exposure(routes: dict[str, Route] | None = None, since: str = SINCE, **more: Route) -> tuple[Exposure, list[str]]:
    key = f"sk-{secrets.token_urlsafe(24)}"
    with serving(key, gateway(key, **more) if routes is None else routes) as (url, asked):
        return Exposing("pb", url, time.sleep).exposure(Secret(key.encode()), since, UNTIL), asked


def test_without_a_database_nothing_is_known() -> None:
    """Neither what was made nor what was used: unknown, never none; and no list is asked for."""
    found, asked = exposure(__health__readiness=lambda _: (200, {"status": "healthy", "db": "Not connected"}))
    assert (found.is_known, found.why, found.made) == (False, NO_DATABASE, ())
    assert found.used == f"unknown: {NO_DATABASE}"
    assert asked == ["/health/readiness"]


def test_all_that_was_made_in_the_window_is_told() -> None:
    """Keys by alias and the beginning of their id, users, teams, models of the database; by whom; not what is older,
    younger, or stands in the config."""
    mine, old, young = keys(1, created_by="admin"), keys(1, "2026-11-19T23:59:59Z"), keys(1, "2026-11-22T12:00:01Z")
    changed = keys(1, "2026-01-01T00:00:00", updated_at="2026-11-21T00:00:00")
    user = {"user_id": "u1", "user_email": "a@b.example", "user_role": "proxy_admin", "created_at": SINCE}
    team = {"team_id": "t1", "team_alias": "red", "created_at": "2026-11-21T01:00:00+02:00"}
    model = {"model_name": "evil", "model_info": {"id": "m1", "db_model": True}}
    usual = {"model_name": "usual", "model_info": {"id": "m2", "db_model": False}}
    found, _ = exposure(
        __key__list=paged("keys", "size", [*mine, *old, *young, *changed]),
        __user__list=paged("users", "page_size", [user], "total"),
        __team__list=lambda _: (200, [team]),
        __v2__model__info=paged("data", "size", [model, usual]),
        __spend__logs__v2=lambda query: (200, {"total": 7, "asked": query}),
    )
    assert found.is_known
    told = [(each.kind, each.name, each.at, each.by) for each in found.made]
    assert told == [
        ("key", f"alias 0, id {changed[0]['token'][:8]}… (changed, made 2026-01-01)", "2026-11-21T00:00:00+00:00", ""),
        ("key", f"alias 0, id {mine[0]['token'][:8]}…", "2026-11-21T10:00:00+00:00", "admin"),
        ("model", "evil, m1", "unknown: LiteLLM does not tell when", ""),
        ("team", "red, t1", "2026-11-20T23:00:00+00:00", ""),
        ("user", "a@b.example, u1, proxy_admin", "2026-11-20T00:00:00+00:00", ""),
    ]
    assert found.used.startswith("7 requests with the master key")
    assert not any(each["token"] in str(found) for each in (*mine, *changed))


def test_every_page_is_read() -> None:
    """250 keys come in three pages."""
    found, asked = exposure(__key__list=paged("keys", "size", keys(250)))
    assert (found.is_known, len(found.made)) == (True, 250)
    assert sum(path.startswith("/key/list") for path in asked) == 3


def test_use_is_asked_by_the_alias_of_the_master_key_in_the_window() -> None:
    """As LiteLLM writes times, and neither with the key nor its hash."""
    _, asked = exposure()
    (path,) = (each for each in asked if each.startswith("/spend/logs/v2"))
    query = parse_qs(urlsplit(path).query)
    assert query["api_key"] == ["litellm_proxy_master_key"]
    assert (query["start_date"], query["end_date"]) == (["2026-11-20 00:00:00"], ["2026-11-22 12:00:00"])


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ((500, {"error": "x"}), "answers 500"),
        ((404, {"detail": "Not Found"}), "answers 404"),
        ((200, b"<html>"), "answers with no JSON"),
        ((200, {"nothing": 1}), "something else than a list"),
        ((200, {"keys": ["a", "b"], "total_pages": 1}), "no more than names"),
        ((200, {"keys": [], "total_pages": 10_000}), "pages"),
    ],
)
def test_a_list_that_does_not_come_is_unknown_and_the_others_are_told(answer: tuple[int, Any], why: str) -> None:
    """One endpoint fails or is missing: what the others tell is told, and that it is not all."""
    team = {"team_id": "t1", "created_at": SINCE}
    found, _ = exposure(__key__list=lambda _: answer, __team__list=lambda _: (200, [team]))
    assert not found.is_known
    assert found.why.startswith("keys: ")
    assert why in found.why
    assert [each.kind for each in found.made] == ["team"]


def test_a_second_page_that_fails_leaves_the_list_unknown() -> None:
    """Half a list is none."""
    whole = paged("keys", "size", keys(150))
    found, _ = exposure(__key__list=lambda query: whole(query) if query["page"] == ["1"] else (500, {}))
    assert not found.is_known


def test_a_spend_log_that_cannot_be_read_is_unknown() -> None:
    """Never none."""
    found, _ = exposure(__spend__logs__v2=lambda _: (500, {}))
    assert found.used == "unknown: /spend/logs/v2 answers 500"


def test_without_a_beginning_everything_is_listed_and_said_so() -> None:
    """Nobody knows since when."""
    found, _ = exposure(since="", __key__list=paged("keys", "size", keys(1, "2020-01-01T00:00:00Z")))
    assert not found.is_known
    assert len(found.made) == 1
    assert found.used.startswith("unknown")


def test_a_gateway_that_does_not_answer_is_unknown() -> None:
    """And told so."""
    found = Exposing("pb", "http://127.0.0.1:9", time.sleep).exposure(Secret(b"sk-x"), SINCE, UNTIL)
    assert (found.is_known, found.made) == (False, ())
    assert "does not answer" in found.why


def test_an_alias_that_is_a_key_is_not_shown() -> None:
    """Somebody has named it so; a terminal's own signs are taken out, too."""
    found, _ = exposure(__key__list=paged("keys", "size", keys(1, key_alias="sk-abcdefghijkl\x1b[2J")))
    assert "abcdefgh" not in str(found)
    assert "\x1b" not in found.made[0].name
