"""Asking a gateway, and asking again; what a door answers is in tests/places/test_litellm.py."""

from __future__ import annotations

import base64
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from keyrotor.boundary import http, network
from keyrotor.boundary.generate import Recipe, new_value
from keyrotor.boundary.http import IN_CLEAR, Answer, Asking, Http, poll
from keyrotor.boundary.network import Asked, at_once, is_near
from keyrotor.boundary.plaintext import unseal
from keyrotor.demo.build import free_port
from places.doors import hang, stub


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
        answer = Http().get(door.url, b"key")
    assert (answer.status, answer.fault) == (None, "ReadTimeout")


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
    assert 0.05 < time.monotonic() - began < 100


def test_what_a_look_raises_comes_out() -> None:
    """Polling asks again about answers, not about errors."""

    def look() -> int:
        raise KeyError("once")

    with pytest.raises(KeyError, match="once"):
        poll(look, is_done=bool, within=1, every=0.01, rest=time.sleep)


# -- many at once ------------------------------------------------------------------------------------------------------


def ask(*urls: str, bearer: bytes | None = None, within: float = 100.0) -> list[Asked[Answer]]:
    asking = Asking()
    return at_once([lambda url=url: asking.get(url, bearer) for url in urls], within=within, rest=lambda _: None)


def answer(url: str, bearer: bytes | None = None) -> Answer:
    [asked] = ask(url, bearer=bearer)
    assert asked.answer is not None
    return asked.answer


def test_many_are_answered_in_their_order() -> None:
    """Whoever was first; and it is told how many have answered."""
    heard: list[tuple[int, int]] = []
    with ExitStack() as stack:
        doors = [stack.enter_context(stub(lambda _, at=at: (200 + at, b"said"))) for at in range(5)]
        asking = Asking()
        asked = at_once(
            [lambda door=door: asking.get(door.url, b"key") for door in doors],
            within=10,
            rest=lambda _: None,
            told=lambda done, every: heard.append((done, every)),
        )
        assert [(each.answer.status, each.answer.body) for each in asked if each.answer] == [
            (200 + at, b"" if at == 4 else b"said") for at in range(5)
        ]
        assert [door.asked for door in doors] == [[b"key"]] * 5
    assert heard == sorted(heard)
    assert {every for _, every in heard} == {5}


def test_nobody_to_ask_is_no_trouble() -> None:
    """No question, no answer."""
    assert ask() == []


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("http://127.0.0.1:{port}", "connection refused"),
        ("http://no-such-host.invalid:{port}", "no such host"),
        ("http://a{dots}b/", "no such host"),
        ("https://127.0.0.1:{plain}", "it does not speak TLS"),
        ("ftp://127.0.0.1/", "not an address"),
        ("127.0.0.1:8080", "not an address"),
        ("", "not an address"),
        ("http://", "not an address"),
    ],
)
@pytest.mark.parametrize("bearer", [None, b"key"])
def test_what_went_wrong_is_told_in_our_words(url: str, fault: str, bearer: bytes | None) -> None:
    """Never in those of whoever answered, and never as an exception; with a key and without."""
    with stub(lambda _: (200, b"")) as plain:
        port = plain.url.rpartition(":")[2]
        assert answer(url.format(port=free_port(), plain=port, dots=".."), bearer) == Answer(None, fault=fault)


@pytest.mark.parametrize("url", ["http://127.0.0.1:99999/", "http://[::1", "http://127.0.0.1:x/", "http://\0/"])
def test_no_address_is_no_exception(url: str) -> None:
    """What httpx refuses is a fault too."""
    assert answer(url, b"key").status is None


def test_a_redirect_is_an_answer() -> None:
    """It is not followed, so the key goes nowhere else."""
    with stub(lambda _: (200, b"")) as other, stub(lambda _: (302, b"", {"Location": other.url})) as door:
        assert answer(door.url, b"key").status == 302
        assert other.asked == []


def test_no_proxy_and_no_netrc_is_asked(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the environment sees a question."""
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login somebody password secret\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    with stub(lambda _: (200, b"")) as proxy, stub(lambda _: (200, b"")) as door:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        assert answer(door.url).status == 200
        assert (proxy.asked, door.asked) == ([], [None])


def test_a_key_goes_over_plain_http_to_near_addresses_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """By number and by name, also where the name leads to both; the look-up is the fault that must be made."""
    assert answer("http://192.88.99.1/v1", b"key") == Answer(None, fault=IN_CLEAR)
    with stub(lambda _: (200, b"said")) as door:
        port = int(door.url.rpartition(":")[2])

        def leads_to(*found: str) -> Callable[..., list[object]]:
            return lambda *_, **__: [(2, 1, 6, "", (address, port)) for address in found]

        monkeypatch.setattr(socket, "getaddrinfo", leads_to("192.88.99.1"))
        assert answer(f"http://backend.example:{port}", b"key") == Answer(None, fault=IN_CLEAR)
        monkeypatch.setattr(socket, "getaddrinfo", leads_to("127.0.0.1", "192.88.99.1"))
        assert answer(f"http://backend.example:{port}", b"key") == Answer(None, fault=IN_CLEAR)
        assert door.asked == []
        monkeypatch.setattr(socket, "getaddrinfo", leads_to("127.0.0.2", "127.0.0.1"))
        assert answer(f"http://backend.example:{port}/x", b"key").status == 200
        assert f"Host: backend.example:{port}" in door.seen[0]


def test_a_user_and_a_password_in_the_address_are_a_key() -> None:
    """Not in clear to a public address; sent where there is no other key, which they do not replace."""
    assert answer("http://bob:pw@192.88.99.1/v1") == Answer(None, fault=IN_CLEAR)
    with stub(lambda _: (200, b"")) as door:
        url = door.url.replace("//", "//bob:p%40w@")
        assert answer(url).status == 200
        assert answer(url, b"key").status == 200
    basic = base64.b64encode(b"bob:p@w").decode()
    assert f"Authorization: Basic {basic}" in door.seen[0]
    assert door.asked[1] == b"key"
    assert all("@" not in seen for seen in door.seen)


def test_a_name_is_looked_up_once_where_a_key_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second look-up could lead elsewhere than the one that was judged."""
    real, looked = socket.getaddrinfo, []

    def getaddrinfo(host: object, *rest: object, **more: object) -> object:
        looked.append(host)
        return real(host, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with stub(lambda _: (200, b"")) as door:
        assert answer(door.url.replace("127.0.0.1", "localhost"), b"key").status == 200
    assert [host for host in looked if host in ("localhost", b"localhost")] == ["localhost"]


@pytest.mark.parametrize(
    ("address", "is_one"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("10.1.2.3", True),
        ("172.16.0.1", True),
        ("192.168.1.1", True),
        ("100.64.0.1", True),  # a carrier's or a tunnel's
        ("fd00::1", True),
        ("fe80::1%eth0", True),
        ("::ffff:10.0.0.1", True),
        ("8.8.8.8", False),
        ("172.32.0.1", False),
        ("2001:4860:4860::8888", False),
        ("::ffff:8.8.8.8", False),
    ],
)
def test_near_is_what_the_world_does_not_see(address: str, is_one: bool) -> None:
    """This machine, private networks, tunnels; an address in another's clothes is what it is."""
    assert is_near(address) is is_one


def test_a_look_up_that_hangs_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the others nor the end; a resolver that is silent cannot be had for real in a test."""
    over = threading.Event()
    real = socket.getaddrinfo

    def getaddrinfo(host: object, *rest: object, **more: object) -> object:
        if host in ("silent.example", b"silent.example"):
            over.wait(600)
        return real(host, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with stub(lambda _: (200, b"")) as door:
        silent, heard = ask("http://silent.example/", door.url, within=5.0)
    over.set()
    assert silent.answer is None
    assert heard.answer == Answer(200, b"")


def test_a_look_up_that_hangs_does_not_hold_up_the_exit() -> None:
    """Python waits for the threads of a pool when it ends; for this one it does not."""
    code = """
import socket, time
from keyrotor.boundary.http import Asking
from keyrotor.boundary.network import at_once
socket.getaddrinfo = lambda *_, **__: time.sleep(600)
asking = Asking()
print(at_once([lambda: asking.get("http://silent.example/", None)], within=0.2, rest=lambda _: None)[0].answer)
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=300)
    assert (done.stdout, done.stderr, done.returncode) == ("None\n", "", 0)


def test_those_that_wait_have_their_share_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """With two at a time and three that hang, the fourth is asked all the same."""
    monkeypatch.setattr(network, "AT_ONCE", 2)
    with stub(hang) as hanging, stub(lambda _: (200, b"")) as door:
        *others, last = ask(hanging.url, hanging.url, hanging.url, door.url, within=6.0)
    assert [each.answer for each in others] == [None, None, None]
    assert last.answer == Answer(200, b"")
    assert others[0].allowed < 4


def test_a_body_is_read_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes behind it is left; what is sent packed is not unpacked."""
    monkeypatch.setattr(http, "MUCH", 1000)
    with stub(lambda _: (200, b"x" * 10_000_000)) as door:
        assert 1000 < len(answer(door.url).body) < 1_000_000
        assert "Accept-Encoding: identity" in door.seen[0]


def test_a_signal_ends_the_wait_for_all() -> None:
    """`rest` is called all the while, and what it raises comes out."""
    calls = iter(range(3))

    def rest(_: float) -> None:
        if next(calls, None) is None:
            raise InterruptedError("asked to")

    asking = Asking()
    with stub(hang) as door, pytest.raises(InterruptedError):
        at_once([lambda: asking.get(door.url, None)], within=60, rest=rest)


def test_what_a_question_raises_comes_out() -> None:
    """A bug is not taken for a backend that is away."""

    async def wrong() -> Answer:
        raise KeyError("once")

    with pytest.raises(KeyError, match="once"):
        at_once([wrong], within=10, rest=lambda _: None)


@pytest.mark.parametrize("is_plain_first", [False, True])
def test_a_certificate_is_proven_whatever_was_asked_before(tmp_path: Path, is_plain_first: bool) -> None:
    """Also after a plain door was asked, which has none: the key goes nowhere."""
    pem = tmp_path / "pem"
    made = new_value(Recipe(kind="tls-self-signed"), datetime.now(UTC))
    text = unseal(made.secret)
    pem.write_bytes(base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4)))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    asking = Http()
    with stub(lambda _: (200, b"")) as plain, stub(lambda _: (200, b""), context) as door:
        if is_plain_first:
            assert asking.get(plain.url, b"key").status == 200
        assert asking.get(door.url.replace("http:", "https:"), b"key").status is None
    assert door.asked == []
