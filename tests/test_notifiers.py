"""Each way to tell people, with the real thing at the other end: HTTP, notify-send, a command, apprise."""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from desktop import absent, desktop, session_bus
from inbox import inbox
from keyrotor.boundary import apprise as apprise_boundary
from keyrotor.boundary import http as http_boundary
from keyrotor.boundary import webhook as webhook_boundary
from keyrotor.boundary.process import Processes, environment
from keyrotor.boundary.signals import Signals
from keyrotor.core import notice
from keyrotor.core.addressee import Occasion
from keyrotor.core.model import Outcome, Task
from keyrotor.core.notice import Notice, Scene
from keyrotor.core.report import EXITS, Report
from keyrotor.demo.build import free_port
from keyrotor.errors import InterruptedRun, PlaceError
from keyrotor.notifiers.apprise import Apprise
from keyrotor.notifiers.command import Command
from keyrotor.notifiers.desktop import Desktop
from keyrotor.notifiers.webhook import Webhook
from keyrotor.secret import Secret
from keyrotor.world.notifying import session
from noting import until_noted

SCENE = Scene("host", "2026-01-01T00:00:00+00:00", "book", "KEY")
ODD = 'a \\n "quoted" <b>line</b> & a\ttab, $HOME, ünïcode'
ENV = {"PATH": os.environ["PATH"], "HOME": "/nowhere", "OTHER_TOKEN": "not for them"}


def stuck(*lines: str) -> Notice:
    report = Report(Outcome.STUCK, EXITS[Outcome.STUCK], "book", "abc123", todo=(Task("abc123-1", "zed", ODD),))
    return notice.of_report(SCENE, "rotate", report, lines or (ODD,))


def rest(seconds: float) -> None:
    time.sleep(seconds)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries follow each other at once."""
    monkeypatch.setattr(webhook_boundary, "EVERY", 0.05)


def hook(address: str, within: float = 100.0, rest: Callable[[float], None] = rest) -> Webhook:
    return Webhook(Secret(address.encode()), within, rest, "")


# -- a webhook -------------------------------------------------------------------------------------------------------


def test_a_webhook_gets_one_json_object() -> None:
    """With the right header, at the path of the address, byte for byte what the notice says."""
    with inbox() as server:
        hook(f"{server.url}/services/a?b=c").send(stuck())
    assert server.notices == [stuck().as_json()]
    assert server.paths == ["/services/a?b=c"]
    assert server.headers[0]["Content-Type"] == "application/json; charset=utf-8"
    assert "Authorization" not in server.headers[0]


def test_a_user_and_a_password_of_the_address_open_the_door() -> None:
    """They are sent as such, and do not stand in the request."""
    with inbox() as server:
        hook(server.url.replace("//", "//me:hidden@")).send(stuck())
    assert server.headers[0]["Authorization"].startswith("Basic ")
    assert b"hidden" not in server.everything


@pytest.mark.parametrize("answers", [(500,), (503, 429)])
def test_what_is_busy_is_asked_again(quick: None, answers: tuple[int, ...]) -> None:
    """Until it takes it."""
    with inbox(*answers) as server:
        hook(server.url).send(stuck())
    assert len(server.bodies) == len(answers) + 1


@pytest.mark.parametrize(
    ("answers", "tries", "why"),
    [
        ((500, 500, 500, 500), 3, "it answers 500"),
        ((404,), 1, "it answers 404"),
        ((301,), 1, "it answers 301, which leads elsewhere: write the address that it leads to"),
    ],
)
def test_what_says_no_is_told_by_its_status(quick: None, answers: tuple[int, ...], tries: int, why: str) -> None:
    """What may be better in a moment is asked three times, all else once; and of an address only the label is shown."""
    with inbox(*answers) as server, pytest.raises(PlaceError) as raised:
        hook(f"{server.url}/hidden?hidden").send(stuck())
    assert str(raised.value) == why
    assert len(server.bodies) == tries


def test_a_redirect_leads_nobody_anywhere() -> None:
    """Where it leads gets nothing."""
    with inbox() as other, inbox(307, leads_to=other.url) as server, pytest.raises(PlaceError, match="leads elsewhere"):
        hook(server.url).send(stuck())
    assert (len(server.bodies), other.bodies) == (1, [])


def test_nobody_there_is_told(quick: None) -> None:
    """After three tries; a port that nobody listens at, a name that leads nowhere, an address that is none."""
    free = f"http://127.0.0.1:{free_port()}"
    for address, why in (
        (f"{free}/hidden", "connection refused"),
        ("http://host.invalid/hidden", "no such host"),
        ("http://hidden host/", "ConnectError|not an address|InvalidURL|no such host"),
    ):
        with pytest.raises(PlaceError, match=f"^({why})$"):
            hook(address).send(stuck())


def test_what_does_not_answer_is_left_in_time() -> None:
    """Who takes it and never says a word costs no more than `within`."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        with pytest.raises(PlaceError, match="no answer in time"):
            hook(f"http://127.0.0.1:{silent.getsockname()[1]}", within=0.4).send(stuck())
    assert time.monotonic() - began < 100


def test_a_notice_is_not_sent_in_clear_over_the_internet(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mend is told. (No address is called near, in the stead of one that is far: the tests send nothing there.)"""
    monkeypatch.setattr(http_boundary, "is_near", lambda _: False)
    with inbox() as server, pytest.raises(PlaceError, match="its address is public, and plain http shows a notice"):
        hook(server.url).send(stuck())
    assert server.bodies == []


def test_no_proxy_sees_a_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the environment says."""
    with inbox() as proxy, inbox() as server:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        hook(server.url).send(stuck())
    assert (len(server.bodies), proxy.bodies) == (1, [])


def test_a_signal_ends_the_wait_for_an_answer() -> None:
    """The second one, as everywhere once a command is over."""
    signals = Signals()
    signals.stand_firm("telling")
    signals._caught(15, None)
    signals._caught(15, None)
    with inbox() as server, pytest.raises(InterruptedRun):
        hook(server.url, rest=signals.rest).send(stuck())


# -- a command -------------------------------------------------------------------------------------------------------


def command(tmp_path: Path, *argv: str, within: float = 100.0, rest: Callable[[float], None] = rest) -> Command:
    return Command(argv, within, Processes(rest), environment(ENV), tmp_path)


def test_a_command_gets_the_notice_and_no_variable_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On its standard input, in the project's folder; in its environment in short."""
    monkeypatch.setenv("OTHER_TOKEN", "not for them")
    command(tmp_path, "sh", "-c", "cat > said; env > env; pwd > folder").send(stuck())
    assert json.loads((tmp_path / "said").read_text()) == stuck().as_json()
    assert (tmp_path / "folder").read_text().strip() == str(tmp_path)
    env = dict(line.split("=", 1) for line in (tmp_path / "env").read_text().splitlines() if "=" in line)
    assert {name: text for name, text in env.items() if name.startswith("KEYROTOR_")} == {
        "KEYROTOR_EVENT": "stuck",
        "KEYROTOR_TITLE": "book is stuck: a person is needed; something is left to do",
        "KEYROTOR_PLAYBOOK": "book",
        "KEYROTOR_RUN": "abc123",
        "KEYROTOR_OUTCOME": "stuck",
        "KEYROTOR_EXIT": "21",
    }
    assert "OTHER_TOKEN" not in env


@pytest.mark.parametrize("name", ["my pager", 'say "$HOME"; %s', "-n", "ünï\ncode"])
def test_a_command_may_be_called_anything(tmp_path: Path, name: str) -> None:
    """Nothing is split, expanded or read as an option; and one of no path is found in the project only by `./`."""
    program = tmp_path / name
    program.write_text('#!/bin/sh\ncat > said\nprintf %s "$1" > argument\n')
    program.chmod(0o755)
    command(tmp_path, f"./{name}", f"* {name} $(id)").send(stuck())
    assert json.loads((tmp_path / "said").read_text())["event"] == "stuck"
    assert (tmp_path / "argument").read_text() == f"* {name} $(id)"


def test_what_a_command_prints_is_not_shown_and_what_it_does_not_read_is_no_error(tmp_path: Path) -> None:
    """Its words could hold anything; and a notice may be longer than a pipe."""
    with pytest.raises(PlaceError) as raised:
        command(tmp_path, "sh", "-c", "echo hidden; echo hidden >&2; exit 3").send(stuck())
    assert str(raised.value) == "it ended with exit code 3"
    command(tmp_path, "true").send(stuck(*["x" * 1000] * 500))


def test_a_command_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    """Also where it takes no notice of TERM."""
    waits, noted = "trap '' TERM; sleep 600 & echo $! > child; wait", tmp_path / "child"
    with pytest.raises(PlaceError, match="cannot wait longer for sh"):
        command(tmp_path, "sh", "-c", waits, within=0.3, rest=until_noted(noted)).send(stuck())
    child, deadline = Path("/proc", noted.read_text().strip()), time.monotonic() + 100
    while child.exists() and " Z " not in (child / "stat").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_command_that_is_not_there_is_told(tmp_path: Path) -> None:
    """As is one that cannot be run."""
    (tmp_path / "text").write_text("no program")
    for argv in (["no-such-program"], ["./text"]):
        with pytest.raises(PlaceError, match=f"cannot run {argv[0]}: no such program"):
            command(tmp_path, *argv).send(stuck())


# -- a desktop -------------------------------------------------------------------------------------------------------


@pytest.fixture
def on_desktop() -> None:
    if found := absent():
        if os.environ.get("CI") or os.environ.get("KEYROTOR_REAL") == "required":
            pytest.fail(f"a real part is missing: {found}")
        pytest.skip(f"no {found}")


def shows(runtime: Path, within: float = 100.0) -> Desktop:
    """As a timer would: without an address of the bus."""
    return Desktop(within, Processes(rest), session({**ENV, "XDG_RUNTIME_DIR": str(runtime)}))


def test_a_desktop_shows_what_is_said_as_it_is_said(on_desktop: None, tmp_path: Path) -> None:
    """Real notify-send, found by the runtime folder alone; markup, backslashes and dashes are text."""
    with desktop(runtime := tmp_path / "run %20' $x") as there:
        shows(runtime).send(stuck("--help", ODD))
        shows(runtime).send(notice.of_test(SCENE))
        rotated = Report(Outcome.ROTATED, EXITS[Outcome.ROTATED], "book", "abc123")
        shows(runtime).send(
            notice.of_report(SCENE, "rotate", rotated, ["x" * 999] + [f"line {number}" for number in range(99)])
        )
    stuck_one, test, long = there.shown
    assert (stuck_one.program, stuck_one.title, stuck_one.urgency) == ("keyrotor", stuck().title, 2)
    assert stuck_one.body == (
        '--help\na \\n "quoted" &lt;b&gt;line&lt;/b&gt; &amp; a tab, $HOME, ünïcode\nhost'  # as markup is written
    )
    assert (test.urgency, long.urgency) == (1, 0)
    assert long.body.splitlines()[-3:] == ["line 6", "…", "host"]
    assert len(long.body.splitlines()[0]) == 240


def test_a_desktop_that_is_not_there_is_told(on_desktop: None, tmp_path: Path) -> None:
    """No bus; a bus with nobody who shows; one who hangs."""
    with pytest.raises(PlaceError, match="there is no session bus in this environment"):
        shows(tmp_path).send(stuck())
    with session_bus(tmp_path / "a"), pytest.raises(PlaceError, match="nobody shows notices on this session's bus"):
        shows(tmp_path / "a").send(stuck())
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "bus").touch()
    with pytest.raises(PlaceError, match="the session's bus does not answer"):
        shows(tmp_path / "c").send(stuck())
    with desktop(tmp_path / "b", answers=False), pytest.raises(PlaceError, match="cannot wait longer for notify-send"):
        shows(tmp_path / "b", within=0.5).send(stuck())


# -- apprise ---------------------------------------------------------------------------------------------------------


def by_apprise(*addresses: str, within: float = 100.0) -> Apprise:
    return Apprise([Secret(each.encode()) for each in addresses], within, Processes(rest), session(ENV))


@pytest.fixture
def has_apprise() -> None:
    if importlib.util.find_spec("apprise") is None:
        if os.environ.get("CI") or os.environ.get("KEYROTOR_REAL") == "required":
            pytest.fail("a real part is missing: apprise")
        pytest.skip("no apprise: pip install 'keyrotor[apprise]'")


def test_apprise_sends_to_every_address(has_apprise: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two services of its own kind, on a real server; no proxy of ours is known to it."""
    with inbox() as proxy, inbox() as server:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        address = f"json://127.0.0.1:{server.port}"
        by_apprise(f"{address}/one", f"{address}/two, {address}/three").send(stuck())
    assert sorted(server.paths) == ["/one", "/three", "/two"]
    assert {each["title"] for each in server.notices} == {stuck().title}
    assert server.notices[0]["type"] == "failure"
    assert server.notices[0]["message"].splitlines() == [ODD, f"host, {SCENE.at}"]
    assert proxy.bodies == []


def test_what_apprise_cannot_do_is_told_without_an_address(has_apprise: None) -> None:
    """An address that it does not know, a service that says no, one that hangs."""
    with inbox(500) as server:
        address = f"json://127.0.0.1:{server.port}/hidden"
        for addresses, why in (
            (["nonsense://hidden"], "an address is none that apprise knows"),
            ([address], "not every"),
        ):
            with pytest.raises(PlaceError, match=f"^{why}") as raised:
                by_apprise(*addresses).send(stuck())
            assert "hidden" not in str(raised.value)
    with inbox(delay=3.0) as server, pytest.raises(PlaceError, match="cannot wait longer"):
        by_apprise(f"json://127.0.0.1:{server.port}", within=1.0).send(stuck())


def test_apprise_that_is_not_installed_is_told_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package is hidden from us, for it cannot be taken away while other tests use it."""
    monkeypatch.setattr(apprise_boundary, "find_spec", lambda _: None)
    with pytest.raises(PlaceError, match="apprise is not installed") as raised:
        by_apprise("json://127.0.0.1:1").send(stuck())
    assert shlex.split(raised.value.hint)[:3] == ["pip", "install", "keyrotor[apprise]"]


def test_each_event_has_a_type_that_apprise_knows(has_apprise: None) -> None:
    """One that it does not know would be refused."""
    import apprise

    from keyrotor.notifiers.apprise import _TYPES

    assert {*_TYPES.values(), "failure"} <= {str(each.value) for each in apprise.NotifyType}
    assert set(_TYPES) <= set(Occasion)
