"""Asking a gateway, and asking again; what a door answers is in tests/places/test_litellm.py."""

from __future__ import annotations

import time

import pytest

from keyrotor.boundary import http
from keyrotor.boundary.http import Answer, Http, poll
from places.doors import free_port, hang, stub


def test_an_answer_is_told_as_it_came() -> None:
    """Status and body, also of an error."""
    for status in (200, 204, 302, 400, 401, 503):
        with stub(lambda _, status=status: (status, b"" if status == 204 else b"said")) as door:
            answer = Http().get(door.url, b"key")
            assert (answer.status, answer.fault) == (status, "")


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:{port}", "http://no-such-host.invalid:{port}", "http://[::1]:{port}"]
)
def test_no_answer_is_told_with_why(url: str) -> None:
    """Nobody there, no such name: a fault, never an exception, and never a status."""
    answer = Http().get(url.format(port=free_port()), b"key")
    assert answer.status is None
    assert answer.fault


@pytest.mark.parametrize(
    "url", ["not an address", "http://", "ftp://127.0.0.1/", "http://127.0.0.1:99999/", "http://[::1"]
)
def test_an_address_that_is_none_is_told_too(url: str) -> None:
    """What a playbook's author got wrong is not an exception of httpx's."""
    answer = Http().get(url, b"key")
    assert answer.status is None
    assert answer.fault


def test_a_door_that_hangs_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """After ANSWER_WITHIN."""
    monkeypatch.setattr(http, "ANSWER_WITHIN", 0.2)
    with stub(hang) as door:
        began = time.monotonic()
        assert Http().get(door.url, b"key").status is None
        assert time.monotonic() - began < 1.0


def test_no_key_is_no_header() -> None:
    """And a key is one Bearer."""
    with stub(lambda _: (200, b"")) as door:
        asking = Http()
        asking.get(door.url, None)
        asking.get(door.url, b"key")
        assert door.asked == [None, b"key"]


def test_netrc_gives_nobody_a_password(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ~/.netrc for the host is not asked."""
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(netrc))
    with stub(lambda _: (200, b"")) as door:
        Http().get(door.url, None)
        assert door.asked == [None]


def test_polling_ends_with_the_first_that_is_done() -> None:
    """And rests between the looks."""
    looks, rests = iter([1, 2, 3, 4]), []
    found = poll(lambda: next(looks), is_done=lambda seen: seen == 3, within=10, every=0.5, rest=rests.append)
    assert found == 3
    assert rests == [0.5, 0.5]


def test_polling_ends_at_its_deadline_with_the_last_look() -> None:
    """No exception of tenacity's comes out."""
    began = time.monotonic()
    answer = poll(lambda: Answer(503), is_done=lambda _: False, within=0.1, every=0.01, rest=time.sleep)
    assert answer == Answer(503)
    assert 0.05 < time.monotonic() - began < 1.0


def test_what_a_look_raises_comes_out() -> None:
    """Polling asks again about answers, not about errors."""

    def look() -> int:
        raise KeyError("once")

    with pytest.raises(KeyError, match="once"):
        poll(look, is_done=bool, within=1, every=0.01, rest=time.sleep)
