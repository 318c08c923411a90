"""The gateway's door as a place: the embedded gateway's own process, and stub doors for what it cannot say."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from keyrotor.boundary import http, proc
from keyrotor.boundary.http import Answer, Http
from keyrotor.boundary.litellm_api import Verdict, verdict
from keyrotor.boundary.plaintext import unseal
from keyrotor.boundary.process import Processes
from keyrotor.boundary.systemd import Systemd
from keyrotor.core.model import Act, Holds, Value
from keyrotor.demo import gateway
from keyrotor.demo.build import free_port
from keyrotor.errors import PlaceError, UnprovenError
from keyrotor.places import litellm
from keyrotor.places.litellm import START, Behind, Litellm
from keyrotor.secret import Pair, Secret
from places.contract import Blow, PlaceContract, Rest, Scene
from places.doors import NO_DB, Answers, Said, StubDoor, hang, stub
from places.fake_systemd import UNIT, FakeSystemd
from places.sealed import KEY, value

Door = Callable[..., StubDoor]


def place(url: str, act: Act = Act.ADMIT, within: float = 100.0, **how: object) -> Litellm:
    made = Litellm(url, act, KEY, None, within, None, Http(), time.sleep)
    return replace(made, **how)


class GatewayScene(Scene):
    """The gateway of the demo as the unit's process, on a port of its own."""

    shows: ClassVar = frozenset({Holds.OLD, Holds.NEW, Holds.BOTH, Holds.NEITHER, Holds.UNKNOWN})
    restores: ClassVar = False

    def __init__(self, systemd: FakeSystemd, pair: Pair, act: Act) -> None:
        self.root, self.systemd, self.pair, self.rest = systemd.root, systemd, pair, Rest()
        self.port, self.also = free_port(), systemd.root / "also"
        manager = Systemd(Processes(), systemd.env, "user")
        self.place = place(
            f"http://127.0.0.1:{self.port}", act, within=100.0, behind=Behind(UNIT, manager), rest=self.rest
        )

    def may_hold(self) -> set[Path]:
        return {self.systemd.env_file, self.also}

    def start(self, key: bytes, *options: str) -> None:
        self.systemd.hold({KEY: key})
        program = [os.path.realpath(sys.executable), "-IS", gateway.__file__, "--port", str(self.port)]
        self.systemd.change(exec=[*program, "--also", str(self.also), *options])
        self.systemd.restart()
        deadline = time.monotonic() + 100
        while time.monotonic() < deadline:
            if self.place.http.get(f"{self.place.url}/health/liveliness", None).status == 200:
                return
            time.sleep(0.01)
        pytest.fail("the gateway does not come up")

    def show(self, holds: Holds) -> None:
        self.systemd.reset()
        self.also.unlink(missing_ok=True)
        if holds is Holds.UNKNOWN:
            return
        keys = {Holds.OLD: unseal(self.pair.old), Holds.NEW: unseal(self.pair.new), Holds.BOTH: unseal(self.pair.new)}
        self.start(keys.get(holds, unseal(value())))
        if holds is Holds.BOTH:
            self.also.write_bytes(unseal(self.pair.old))
            self.also.chmod(0o600)

    def ready(self, goal: Value) -> None:
        """The unit stands above: it has been restarted, and does not answer yet."""
        self.systemd.hold({KEY: unseal(self.pair[goal])})
        self.systemd.restart()

    def kills(self) -> Iterable[int]:
        return (0, 1, 400)

    def killed_at(self, step: int) -> AbstractContextManager[Blow]:
        return self.rest.killed_at(step)


@pytest.fixture
def scene(systemd: FakeSystemd, pair: Pair) -> GatewayScene:
    return GatewayScene(systemd, pair, Act.ADMIT)


@pytest.fixture
def door() -> Iterator[Door]:
    """Makes stub doors."""
    with ExitStack() as doors:
        yield lambda answers: doors.enter_context(stub(answers))


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that comes may take its time."""
    monkeypatch.setattr(http, "ANSWER_WITHIN", 60.0)


@pytest.fixture
def hasty(patient: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a second for an answer, where one does not come."""
    monkeypatch.setattr(http, "ANSWER_WITHIN", 0.5)


class TestContractAdmits(PlaceContract):
    @pytest.fixture
    def scene(self, systemd: FakeSystemd, pair: Pair) -> GatewayScene:
        return GatewayScene(systemd, pair, Act.ADMIT)


class TestContractRetires(PlaceContract):
    @pytest.fixture
    def scene(self, systemd: FakeSystemd, pair: Pair) -> GatewayScene:
        return GatewayScene(systemd, pair, Act.RETIRE)


# --- what an answer proves -------------------------------------------------------------------------------------

VERDICTS = [
    (Answer(200, b"{}"), Verdict.ACCEPTED),
    (Answer(401), Verdict.REFUSED),
    (Answer(403), Verdict.REFUSED),
    (Answer(400, NO_DB), Verdict.REFUSED),
    (Answer(400, b"{}"), Verdict.UNKNOWN),
    (Answer(400, b'{"error": "no_db_connection"}'), Verdict.UNKNOWN),
    (Answer(400, b'{"error": {"type": "invalid_request_error"}}'), Verdict.UNKNOWN),
    (Answer(400, b"no_db_connection"), Verdict.UNKNOWN),
    (Answer(400, b"[1]"), Verdict.UNKNOWN),
    (Answer(400, b"null"), Verdict.UNKNOWN),
    (Answer(400, b"\xff\xfe"), Verdict.UNKNOWN),
    (Answer(500, NO_DB), Verdict.UNKNOWN),
    (Answer(None, fault="ConnectError"), Verdict.UNKNOWN),
    *[(Answer(status), Verdict.UNKNOWN) for status in (201, 204, 301, 302, 307, 402, 404, 405, 407, 408, 429)],
    *[(Answer(status), Verdict.UNKNOWN) for status in (500, 502, 503, 504)],
]


@pytest.mark.parametrize(("answer", "expected"), VERDICTS)
def test_an_answer_proves_no_more_than_it_says(answer: Answer, expected: Verdict) -> None:
    """200 is yes; 401, 403 and LiteLLM's own 400 are no; everything else proves nothing."""
    assert verdict(answer) is expected


def lets_in(*keys: Secret, otherwise: Said = (401, b""), without: Said = (401, b"")) -> Answers:
    """A door that accepts these keys."""
    known = {unseal(key) for key in keys}
    return lambda key: without if key is None else (200, b"{}") if key in known else otherwise


@pytest.mark.parametrize("fault", [(500, b""), (502, b""), (503, b""), (504, b""), (0, b""), (429, b""), (400, b"{}")])
@pytest.mark.parametrize("goal", list(Value))
def test_a_fault_is_never_taken_for_a_refusal(door: Door, pair: Pair, fault: Said, goal: Value) -> None:
    """Where the other key gets 5xx, nothing or nonsense, it is not proven dead: unproven, not refused."""
    there = door(lets_in(pair[goal], otherwise=fault))
    assert place(there.url).holds(pair) is Holds.UNKNOWN
    with pytest.raises(UnprovenError, match="answer clearly"):
        place(there.url, Act.RETIRE, within=0.3).put(goal, pair)


def test_a_door_that_hangs_is_unknown(hasty: None, door: Door, pair: Pair) -> None:
    """A timeout is no answer."""
    there = door(hang)
    assert place(there.url).holds(pair) is Holds.UNKNOWN
    with pytest.raises(PlaceError, match="no answer") as raised:
        place(there.url, within=0.3).put(Value.NEW, pair)
    assert not isinstance(raised.value, UnprovenError)


def test_a_closed_port_is_unknown(pair: Pair) -> None:
    """Nobody at the door is no refusal."""
    nobody = place(f"http://127.0.0.1:{free_port()}", within=0.2)
    assert nobody.holds(pair) is Holds.UNKNOWN
    with pytest.raises(PlaceError, match="no answer"):
        nobody.put(Value.NEW, pair)


# --- accepts ---------------------------------------------------------------------------------------------------


def test_a_door_that_comes_up_late_is_waited_for(door: Door, pair: Pair) -> None:
    """503 while it starts, then 200: proven."""
    began = time.monotonic()
    late = lets_in(pair.new)
    there = door(lambda key: (503, b"") if time.monotonic() - began < 0.3 else late(key))
    assert place(there.url).put(Value.NEW, pair)
    assert place(there.url).holds(pair) is Holds.NEW


def test_the_goal_may_be_accepted_beside_the_other(door: Door, pair: Pair) -> None:
    """Overlap is fine where the door is to accept; it is the other row's to prove the end."""
    there = door(lets_in(pair.old, pair.new))
    place(there.url).put(Value.NEW, pair)
    assert place(there.url).holds(pair) is Holds.BOTH


@pytest.mark.parametrize("goal", list(Value))
def test_a_door_that_runs_on_with_the_other_key_ends_the_wait_at_once(
    door: Door, scene: GatewayScene, goal: Value
) -> None:
    """The goal refused and the other one accepted cannot change by waiting: a literal in the config does this."""
    scene.ready(goal)
    there = door(lets_in(scene.pair[goal.other], otherwise=(400, NO_DB)))
    began = time.monotonic()
    with pytest.raises(PlaceError, match=f"runs on with the {goal.other} one") as raised:
        replace(scene.place, url=there.url, within=600.0).put(goal, scene.pair)
    assert time.monotonic() - began < 100
    assert KEY in str(raised.value)


def test_a_literal_key_in_the_real_process_ends_at_once(scene: GatewayScene) -> None:
    """The embedded gateway, whose unit has the old key from a drop-in: told long before its time is over."""
    scene.show(Holds.OLD)
    scene.systemd.change(drop_in={KEY: unseal(scene.pair.old).decode()})
    scene.ready(Value.NEW)
    began = time.monotonic()
    with pytest.raises(PlaceError, match="runs on with the old"):
        replace(scene.place, within=600.0).put(Value.NEW, scene.pair)
    assert time.monotonic() - began < 100


def test_a_dead_unit_ends_the_wait_at_once(scene: GatewayScene) -> None:
    """A process that ended before it answered is not waited for; its last words are shown, redacted."""
    scene.show(Holds.OLD)
    scene.systemd.log.write_bytes(b"cannot bind, key was %b\n" % unseal(scene.pair.new))
    scene.systemd.change(exec=["sleep", "0.3"])
    scene.ready(Value.NEW)
    began = time.monotonic()
    with pytest.raises(PlaceError, match="ended before it answered") as raised:
        replace(scene.place, within=600.0).put(Value.NEW, scene.pair)
    assert time.monotonic() - began < 100
    assert "cannot bind" in str(raised.value)
    assert unseal(scene.pair.new).decode() not in str(raised.value)


def test_a_unit_that_is_down_already_ends_the_wait_at_once(scene: GatewayScene) -> None:
    """Nothing runs, nothing will answer."""
    scene.show(Holds.UNKNOWN)
    began = time.monotonic()
    with pytest.raises(PlaceError, match="ended before it answered"):
        replace(scene.place, within=600.0).put(Value.NEW, scene.pair)
    assert time.monotonic() - began < 100


def test_a_gateway_that_listens_with_neither_key_fails_at_the_deadline(scene: GatewayScene) -> None:
    """Refused, but the other one too: it may still change, so the wait is used, and the status told."""
    scene.show(Holds.NEITHER)
    with pytest.raises(PlaceError, match="answered 400"):
        replace(scene.place, within=0.4).put(Value.NEW, scene.pair)


# --- refuses ---------------------------------------------------------------------------------------------------


def test_a_dead_key_is_asked_three_times(door: Door, pair: Pair) -> None:
    """One refusal may be one worker's; three in a row are asked for."""
    there = door(lets_in(pair.new))
    place(there.url, Act.RETIRE).put(Value.NEW, pair)
    assert there.asked.count(unseal(pair.old)) == 3


def test_workers_that_disagree_are_asked_until_three_refuse_in_a_row(door: Door, pair: Pair) -> None:
    """A second worker that still runs with the old key breaks the row."""
    answers = iter([(401, b""), (401, b""), (200, b""), (401, b""), (401, b""), (401, b"")])
    there = door(lambda key: next(answers) if key == unseal(pair.old) else lets_in(pair.new)(key))
    place(there.url, Act.RETIRE).put(Value.NEW, pair)
    assert there.asked.count(unseal(pair.old)) == 6


@pytest.mark.parametrize("goal", list(Value))
def test_a_key_that_lives_on_is_unproven_not_failed(door: Door, pair: Pair, goal: Value) -> None:
    """Both accepted at the end is `old-alive`: no reason to turn back."""
    there = door(lets_in(pair.old, pair.new))
    with pytest.raises(UnprovenError, match="still accepts"):
        place(there.url, Act.RETIRE, within=0.3).put(goal, pair)


def test_an_old_key_in_the_real_process_is_old_alive(scene: GatewayScene) -> None:
    """The embedded gateway that accepts both."""
    scene.show(Holds.BOTH)
    with pytest.raises(UnprovenError, match="still accepts"):
        replace(scene.place, act=Act.RETIRE, within=0.4).put(Value.NEW, scene.pair)


def test_refusing_needs_the_goal_accepted_first(door: Door, pair: Pair) -> None:
    """A door that refuses everybody has not proven the old key dead in favour of the new one."""
    there = door(lets_in())
    with pytest.raises(PlaceError) as raised:
        place(there.url, Act.RETIRE, within=0.3).put(Value.NEW, pair)
    assert not isinstance(raised.value, UnprovenError)


OPEN = {
    "to every key": (200, b"{}"),
    "without a key": (401, b""),
}


@pytest.mark.parametrize("how", OPEN)
def test_an_open_door_is_a_failure(door: Door, pair: Pair, how: str) -> None:
    """A gateway that lets in whoever comes proves nothing; `check` says so, and so does the proof."""
    without = (200, b"{}") if how == "without a key" else (401, b"")
    there = door(lets_in(pair.new, otherwise=OPEN[how], without=without))
    with pytest.raises(PlaceError, match="open") as raised:
        place(there.url, Act.RETIRE).put(Value.NEW, pair)
    assert not isinstance(raised.value, UnprovenError)
    (why,) = place(there.url).check(pair)
    assert "the gateway is open" in why


def test_the_real_process_opened_is_a_failure(scene: GatewayScene) -> None:
    """The embedded gateway with its `--open`."""
    scene.systemd.reset()
    scene.start(unseal(scene.pair.old), "--open")
    assert any("the gateway is open" in why for why in scene.place.check(scene.pair))
    with pytest.raises(PlaceError, match="open"):
        replace(scene.place, act=Act.RETIRE).put(Value.NEW, scene.pair)


def test_the_missing_prisma_package_is_told_and_not_failed(scene: GatewayScene) -> None:
    """500 without a key, 200 with the new one and 400 for a bogus one is LiteLLM's known fault."""
    scene.systemd.reset()
    scene.start(unseal(scene.pair.new), "--no-prisma")
    assert "prisma" in replace(scene.place, act=Act.RETIRE).put(Value.NEW, scene.pair)


@pytest.mark.parametrize("without", [(503, b""), (502, b""), (0, b""), (302, b"", {"Location": "/login"})])
def test_another_fault_without_a_key_is_unproven(door: Door, pair: Pair, without: Said) -> None:
    """Only that one 500 is known; a 503 without a key proves nothing."""
    there = door(lets_in(pair.new, without=without))
    with pytest.raises(UnprovenError):
        place(there.url, Act.RETIRE, within=0.3).put(Value.NEW, pair)


def test_a_500_everywhere_is_not_the_prisma_fault(door: Door, pair: Pair) -> None:
    """With a bogus key that is not refused either, a 500 without a key explains nothing."""
    there = door(lets_in(pair.new, otherwise=(500, b""), without=(500, b"")))
    with pytest.raises(UnprovenError):
        place(there.url, Act.RETIRE, within=0.3).put(Value.NEW, pair)


# --- who sees the key ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "https_proxy"])
def test_a_proxy_never_sees_the_key(door: Door, pair: Pair, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    """Proxies of the environment are not for these questions."""
    proxy, there = door(lets_in(pair.new)), door(lets_in(pair.new))
    monkeypatch.setenv(variable, proxy.url)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert place(there.url).holds(pair) is Holds.NEW
    place(there.url, Act.RETIRE).put(Value.NEW, pair)
    assert proxy.seen == []


@pytest.mark.parametrize("act", [Act.ADMIT, Act.RETIRE])
def test_who_has_taken_the_port_meanwhile_sees_no_key(
    scene: GatewayScene, door: Door, monkeypatch: pytest.MonkeyPatch, act: Act
) -> None:
    """The unit is up and does not listen; somebody else does, and would take any key: neither is shown to them."""
    thief = door(lambda _: (200, b"{}"))
    scene.systemd.hold({KEY: unseal(scene.pair.new)})
    scene.systemd.change(exec=["sleep", "60"])
    scene.systemd.restart()
    unit = scene.systemd.pid
    monkeypatch.setattr(proc, "groups", lambda pid: frozenset({"/unit" if pid == unit else "/other"}))
    there = replace(scene.place, url=thief.url, act=act)
    assert there.holds(scene.pair) is Holds.UNKNOWN
    with pytest.raises(PlaceError, match=f"is answered by .*, not by {UNIT}"):
        there.put(Value.NEW, scene.pair)
    assert set(thief.asked) <= {None}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(door: Door, pair: Pair, status: int) -> None:
    """A door that sends us elsewhere does not send the key there, and has proven nothing."""
    elsewhere = door(lets_in(pair.old, pair.new))
    there = door(lambda _: (status, b"", {"Location": f"{elsewhere.url}/v1/models"}))
    assert place(there.url).holds(pair) is Holds.UNKNOWN
    assert elsewhere.seen == []


def test_the_key_is_in_one_header_and_nowhere_else(door: Door, pair: Pair) -> None:
    """Not in the path, where a log would keep it; and the netrc of the user is not asked."""
    there = door(lets_in(pair.new))
    place(f"{there.url}/").holds(pair)
    for request in there.seen:
        first, _, rest = request.partition("\n")
        assert first == "GET /v1/models HTTP/1.1"
        assert sum(unseal(key).decode() in line for key in (pair.old, pair.new) for line in rest.splitlines()) == 1


def test_without_a_key_there_is_no_header(door: Door, pair: Pair) -> None:
    """The question without a key carries no Authorization at all."""
    there = door(lets_in(pair.new))
    place(there.url, Act.RETIRE).put(Value.NEW, pair)
    assert None in there.asked


# --- the config ------------------------------------------------------------------------------------------------

GOOD = "general_settings:\n  master_key: os.environ/LITELLM_MASTER_KEY\n"
CONFIGS = {
    "a literal": ("general_settings:\n  master_key: sk-literal-in-a-config\n", "literal"),
    "an integer": ("general_settings:\n  master_key: 123456\n", "number"),
    "another variable": ("general_settings:\n  master_key: os.environ/OTHER_KEY\n", "OTHER_KEY"),
    "set in the file itself": (f"{GOOD}environment_variables:\n  LITELLM_MASTER_KEY: x\n", "environment_variables"),
    "open without a database": (
        f"{GOOD}  allow_requests_on_db_unavailable: true\n",
        "allow_requests_on_db_unavailable",
    ),
    "broken": ("general_settings:\n  master_key: [\n", "line"),
    "tabs": ("general_settings:\n\tmaster_key: x\n", "line 2"),
}


def configured(tmp_path: Path, text: str, url: str) -> Litellm:
    config = tmp_path / "litellm.yaml"
    config.write_text(text)
    return place(url, config=config)


@pytest.mark.parametrize("fault", CONFIGS)
def test_a_config_that_would_brick_or_not_take_effect_is_refused(
    door: Door, pair: Pair, tmp_path: Path, fault: str
) -> None:
    """Said before the first effect, naming the file, and never the literal itself."""
    text, said = CONFIGS[fault]
    (why,) = configured(tmp_path, text, door(lets_in(pair.old)).url).check(pair)
    assert said in why
    assert "litellm.yaml" in why
    assert "sk-literal" not in why


@pytest.mark.parametrize(
    "text", [GOOD, "", "model_list: []\n", "general_settings:\n", "general_settings:\n  master_key:\n", "- a\n"]
)
def test_a_config_without_such_a_fault_is_fine(door: Door, pair: Pair, tmp_path: Path, text: str) -> None:
    """A reference to the variable, or nothing said of it at all."""
    assert configured(tmp_path, text, door(lets_in(pair.old)).url).check(pair) == []


def test_a_database_without_a_salt_key_is_refused(door: Door, pair: Pair, tmp_path: Path) -> None:
    """There the master key is also what the database is encrypted with."""
    text = f"{GOOD}  database_url: os.environ/DATABASE_URL\n"
    there = configured(tmp_path, text, door(lets_in(pair.old)).url)
    assert there.check(pair) == []
    (why,) = there.check(Pair(pair.old, pair.new, {}))
    assert "LITELLM_SALT_KEY" in why
    (why,) = there.check(Pair(pair.old, pair.new, {"LITELLM_SALT_KEY": Secret(b"")}))
    assert "LITELLM_SALT_KEY" in why


@pytest.mark.parametrize("salt", ["", "sk-a-salt-in-the-unit-only"])
def test_a_database_of_the_unit_alone_is_seen(scene: GatewayScene, tmp_path: Path, salt: str) -> None:
    """DATABASE_URL in the process's environment counts, and so does its salt; an empty salt is none."""
    config = tmp_path / "litellm.yaml"
    config.write_text(GOOD)
    scene.systemd.reset(drop_in={"DATABASE_URL": "postgres://x", "LITELLM_SALT_KEY": salt})
    scene.start(unseal(scene.pair.old))
    whys = replace(scene.place, config=config).check(Pair(scene.pair.old, scene.pair.new, {}))
    assert any("LITELLM_SALT_KEY" in why for why in whys) is not bool(salt)


def test_an_absent_config_is_refused(door: Door, pair: Pair, tmp_path: Path) -> None:
    """A playbook that names a config wants it read."""
    (why,) = place(door(lets_in(pair.old)).url, config=tmp_path / "no.yaml").check(pair)
    assert "no such file" in why


def test_a_config_of_bytes_that_are_no_text_is_refused(door: Door, pair: Pair, tmp_path: Path) -> None:
    """`check` never raises, whatever stands in the file."""
    config = tmp_path / "litellm.yaml"
    config.write_bytes(b"general_settings: \xff\n")
    assert place(door(lets_in(pair.old)).url, config=config).check(pair)


# --- the unit --------------------------------------------------------------------------------------------------


def test_a_wait_shorter_than_a_stop_and_a_start_is_refused(scene: GatewayScene) -> None:
    """`within` must outlast the unit's own stop timeout and the slowest quiet start."""
    scene.show(Holds.OLD)
    scene.systemd.change(stop_timeout="1min 30s")
    (why,) = replace(scene.place, within=90.0 + START - 1).check(scene.pair)
    assert "TimeoutStopSec" in why
    assert replace(scene.place, within=90.0 + START).check(scene.pair) == []


def test_another_process_on_the_port_is_refused(scene: GatewayScene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever answers must be of the unit's own control group; else it is named."""
    scene.show(Holds.OLD)
    unit = scene.systemd.pid
    with stub(lets_in(scene.pair.old)) as other:
        monkeypatch.setattr(proc, "groups", lambda pid: frozenset({"/unit" if pid == unit else "/other"}))
        (why,) = replace(scene.place, url=other.url).check(scene.pair)
        assert f"pid {os.getpid()}" in why
        assert replace(scene.place).check(scene.pair) == []


def test_a_socket_units_manager_may_have_the_port(scene: GatewayScene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a socket unit it is the manager that listens."""
    scene.show(Holds.OLD)
    scene.systemd.change(triggered_by="litellm.socket")
    unit = scene.systemd.pid
    with stub(lets_in(scene.pair.old)) as other:
        monkeypatch.setattr(proc, "groups", lambda pid: frozenset({"/unit" if pid == unit else "/init.scope"}))
        monkeypatch.setattr(proc, "name", lambda _: "systemd")
        assert replace(scene.place, url=other.url).check(scene.pair) == []


def test_the_refusing_row_leaves_the_check_to_the_accepting_one(door: Door, pair: Pair) -> None:
    """The door is one place: its findings are said once."""
    assert place(door(lambda _: (200, b"")).url, Act.RETIRE).check(pair) == []


def test_no_message_holds_a_value(hasty: None, door: Door, pair: Pair) -> None:
    """Whatever the door answers, neither key is in what is said of it."""
    for answers in (lets_in(pair.old), lets_in(), hang, lambda key: (503, key or b"")):
        for act in (Act.ADMIT, Act.RETIRE):
            with pytest.raises(PlaceError) as raised:
                place(door(answers).url, act, within=0.1).put(Value.NEW, pair)
            assert not any(unseal(key).decode() in str(raised.value) for key in (pair.old, pair.new))


def test_a_signal_ends_the_wait(door: Door, pair: Pair) -> None:
    """What `rest` raises comes out at once."""

    class AskedError(Exception): ...

    def rest(_: float) -> None:
        raise AskedError

    with pytest.raises(AskedError):
        place(door(lambda _: (503, b"")).url, within=30.0, rest=rest).put(Value.NEW, pair)


def test_the_proof_of_death_waits_no_longer_than_a_cache_lives(
    door: Door, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An accepted old key may sit in an auth cache for a minute, but for no longer."""
    monkeypatch.setattr(litellm, "CACHED", 0.2)
    began = time.monotonic()
    with pytest.raises(UnprovenError):
        place(door(lets_in(pair.old, pair.new)).url, Act.RETIRE, within=600.0).put(Value.NEW, pair)
    assert time.monotonic() - began < 100
