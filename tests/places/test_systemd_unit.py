"""The running unit as a place: a systemctl that really starts a process with the env file's variables."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from keyrotor.boundary.plaintext import unseal
from keyrotor.boundary.process import Processes
from keyrotor.boundary.systemd import Systemd
from keyrotor.core.model import ALREADY, Holds, Value
from keyrotor.errors import PlaceError
from keyrotor.places.systemd_unit import SystemdUnit
from keyrotor.secret import Pair
from places.contract import Blow, PlaceContract, Rest, Scene
from places.fake_systemd import UNIT, FakeSystemd
from places.sealed import KEY


class UnitScene(Scene):
    shows: ClassVar = frozenset({Holds.OLD, Holds.NEW, Holds.NEITHER, Holds.UNKNOWN})
    restores: ClassVar = False  # another process, by nature

    def __init__(self, systemd: FakeSystemd, pair: Pair, scope: str = "user") -> None:
        self.root, self.systemd, self.pair, self.rest = systemd.root, systemd, pair, Rest()
        self.scope = scope
        self.forget()

    def forget(self) -> None:
        """The place as a new process would have it: what it has seen of the unit is good for a moment only."""
        manager = Systemd(Processes(self.rest), self.systemd.env, self.scope)
        self.place = SystemdUnit(UNIT, KEY, 10.0, manager, self.rest)

    def may_hold(self) -> set[Path]:
        return {self.systemd.env_file}

    def show(self, holds: Holds) -> None:
        self.systemd.reset()
        values = {Holds.OLD: unseal(self.pair.old), Holds.NEW: unseal(self.pair.new)}
        self.systemd.hold({KEY: values.get(holds, b"sk-a-third-value-altogether"), "PORT": b"4000"})
        if holds is not Holds.UNKNOWN:
            self.systemd.restart()
        self.forget()

    def ready(self, goal: Value) -> None:
        self.systemd.hold({KEY: unseal(self.pair[goal]), "PORT": b"4000"})

    def kills(self) -> Iterable[int]:
        return (0, 4, 9, 400)

    def killed_at(self, step: int) -> AbstractContextManager[Blow]:
        return self.rest.killed_at(step)

    def is_clean(self) -> bool:
        return True


@pytest.fixture
def scene(systemd: FakeSystemd, pair: Pair) -> UnitScene:
    made = UnitScene(systemd, pair)
    made.show(Holds.OLD)
    made.ready(Value.NEW)
    return made


class TestContract(PlaceContract):
    @pytest.fixture
    def scene(self, systemd: FakeSystemd, pair: Pair) -> UnitScene:
        return UnitScene(systemd, pair)


@pytest.mark.parametrize("scope", ["user", "system"])
def test_a_unit_of_either_manager_takes_a_value_up(systemd: FakeSystemd, pair: Pair, scope: str) -> None:
    """The playbook's scope is the manager that is asked, in every call."""
    scene = UnitScene(systemd, pair, scope)
    scene.show(Holds.OLD)
    scene.ready(Value.NEW)
    scene.place.put(Value.NEW, pair)
    assert scene.place.holds(pair) is Holds.NEW
    assert scene.place.systemd.command("show", UNIT)[1] == f"--{scope}"


def test_a_unit_that_holds_the_goal_is_not_restarted(scene: UnitScene) -> None:
    """No outage for nothing: the process stays the same."""
    scene.show(Holds.NEW)
    before = scene.systemd.state
    assert scene.place.put(Value.NEW, scene.pair) == ALREADY
    assert scene.systemd.state == before


def test_an_env_file_alone_moves_nothing(scene: UnitScene) -> None:
    """What the process was started with counts, not what the file says meanwhile."""
    assert scene.place.holds(scene.pair) is Holds.OLD


def test_a_unit_that_crashed_and_came_back_holds_new_untouched(scene: UnitScene) -> None:
    """A restart by somebody else takes the value up as well; `holds` sees it."""
    scene.systemd.restart()
    assert scene.place.holds(scene.pair) is Holds.NEW


def test_a_variable_that_is_not_there_is_unknown(scene: UnitScene) -> None:
    """A unit that reads its key from somewhere else is not observable; its restart counts as done."""
    scene.systemd.change(without=[KEY])
    scene.systemd.restart()
    assert scene.place.holds(scene.pair) is Holds.UNKNOWN
    before = scene.systemd.pid
    assert "restarted" in scene.place.put(Value.NEW, scene.pair)
    assert scene.systemd.pid != before


def test_a_drop_in_that_overrides_the_value_is_told(scene: UnitScene) -> None:
    """After its restart the process has the old value still: the failure says what does that, without the value."""
    scene.systemd.change(drop_in={KEY: unseal(scene.pair.old).decode()})
    with pytest.raises(PlaceError, match="drop-in") as raised:
        scene.place.put(Value.NEW, scene.pair)
    assert unseal(scene.pair.old).decode() not in str(raised.value)


def test_a_unit_that_does_not_come_up_is_told_with_its_last_lines_redacted(scene: UnitScene) -> None:
    """Why it died is in its log; a key that stands there is not shown."""
    said = b"cannot load config with %b and %b" % (
        unseal(scene.pair.new),
        unseal(scene.pair.siblings["LITELLM_SALT_KEY"]),
    )
    scene.systemd.log.write_bytes(said + b"\n")
    scene.systemd.change(exec=["false"])
    with pytest.raises(PlaceError, match="cannot load config") as raised:
        scene.place.put(Value.NEW, scene.pair)
    for secret in (scene.pair.new, scene.pair.siblings["LITELLM_SALT_KEY"]):
        assert unseal(secret).decode() not in str(raised.value)


def test_without_a_journal_the_units_own_log_file_is_read(scene: UnitScene) -> None:
    """`StandardOutput=append:…` keeps the last words of a unit elsewhere."""
    log, unit = scene.root / "gateway.log", scene.root / "litellm.service"
    log.write_text("what it said before the restart\n")
    unit.write_text(f"[Service]\nStandardOutput=append:{log}\n")
    scene.systemd.change(exec=["sh", "-c", f"echo it was the port >> {log}; exit 1"], fragment=str(unit))
    with pytest.raises(PlaceError, match="it was the port") as raised:
        scene.place.put(Value.NEW, scene.pair)
    assert "before the restart" not in str(raised.value)


@pytest.mark.parametrize("goal", Value)
def test_the_start_limit_is_cleared_before_a_restart(scene: UnitScene, goal: Value) -> None:
    """Earlier starts may have used up the limit; neither a rotation nor the way back is refused for them."""
    scene.show(Holds(goal.other))
    scene.systemd.change(limit=1)
    scene.ready(goal)
    scene.place.put(goal, scene.pair)
    assert scene.place.holds(scene.pair) is Holds(goal)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"load": "masked"}, "masked"),
        ({"load": "not-found"}, "not-found"),
        ({"load": "bad-setting"}, "bad-setting"),
        ({"bus": False}, "no bus"),
        ({"active": "activating"}, "activating"),
    ],
)
def test_a_unit_that_cannot_be_restarted_is_refused(scene: UnitScene, how: dict[str, object], said: str) -> None:
    """Masked, absent, broken, without a bus or not running: said before the first effect, never raised."""
    scene.systemd.change(**how)
    (why,) = scene.place.check(scene.pair)
    assert said in why


def test_a_missing_bus_says_how_to_get_one(scene: UnitScene) -> None:
    """The message carries the variable to set."""
    scene.systemd.change(bus=False)
    (why,) = scene.place.check(scene.pair)
    assert "XDG_RUNTIME_DIR" in why
    assert scene.place.holds(scene.pair) is Holds.UNKNOWN


def test_a_later_env_file_that_sets_the_value_is_refused(scene: UnitScene, tmp_path: Path) -> None:
    """Its restart would take up that one's value: told before the first effect; without ours nothing is known."""
    later, ours = tmp_path / "later.env", scene.systemd.env_file
    later.write_text("A=b\n")
    scene.systemd.change(env_file_shown=f"{ours} (ignore_errors=no)\nEnvironmentFiles={later}")
    place = replace(scene.place, env_files=[ours])
    assert place.check(scene.pair) == []
    later.write_text(f"{KEY}=\n")
    (why,) = place.check(scene.pair)
    assert f"cannot restart {UNIT}: {later}" in why
    assert scene.place.check(scene.pair) == []
    later.unlink()
    later.mkdir()
    (why,) = place.check(scene.pair)
    assert "it is not a file" in why or "cannot read" in why


def test_a_unit_with_another_value_may_run_with_the_one_that_has_leaked(systemd: FakeSystemd, scene: UnitScene) -> None:
    """In an incident that is told, without a byte of it; not where it has none, a blank one, or is down."""
    leaked = replace(scene.pair, is_leaked=True)
    assert scene.place.check(leaked) == []
    for text, is_told in ((b"sk-a-third-value-altogether", True), (b"", False)):
        systemd.hold({KEY: text})
        systemd.restart()
        scene.forget()
        assert scene.place.check(scene.pair) == []
        assert [why.partition(" (")[0] for why in scene.place.check(leaked)] == [
            f"cannot tell what has leaked: {UNIT} runs with another value than the encrypted file holds"
        ] * is_told
        assert "third" not in str(scene.place.check(leaked))
    scene.show(Holds.NEITHER)
    systemd.change(without=[KEY])
    systemd.restart()
    scene.forget()
    assert scene.place.check(leaked) == []
    scene.show(Holds.UNKNOWN)
    assert replace(scene.place, may_be_down=True).check(leaked) == []


def test_a_stopped_unit_is_refused(scene: UnitScene) -> None:
    """Where nothing runs, the old key cannot be proven first."""
    scene.systemd.reset()
    (why,) = scene.place.check(scene.pair)
    assert "inactive" in why


def test_a_restart_that_hangs_ends_at_its_deadline(scene: UnitScene) -> None:
    """`within` bounds the restart; the failure says so."""
    scene.systemd.change(hang="restart")
    hasty = SystemdUnit(UNIT, KEY, 0.3, Systemd(Processes(), scene.systemd.env, "user"), time.sleep)
    began = time.monotonic()
    with pytest.raises(PlaceError, match=r"0\.3 s"):
        hasty.put(Value.NEW, scene.pair)
    assert time.monotonic() - began < 5


def test_put_wants_a_new_invocation(scene: UnitScene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A systemctl that says done and has started nothing is not believed."""
    monkeypatch.setattr(Systemd, "restart", lambda *_: None)
    with pytest.raises(PlaceError, match="cannot restart"):
        scene.place.put(Value.NEW, scene.pair)


def test_another_variable_can_be_the_units_own(systemd: FakeSystemd, pair: Pair) -> None:
    """A unit may know the key under another name than the encrypted file."""
    place = SystemdUnit(UNIT, "PROXY_KEY", 10.0, Systemd(Processes(), systemd.env, "user"), time.sleep)
    systemd.hold({"PROXY_KEY": unseal(pair.old)})
    systemd.restart()
    assert place.holds(pair) is Holds.OLD
    systemd.hold({"PROXY_KEY": unseal(pair.new)})
    place.put(Value.NEW, pair)
    assert place.holds(pair) is Holds.NEW


def test_a_value_that_is_longer_by_one_is_another(systemd: FakeSystemd, scene: UnitScene) -> None:
    """Values are compared whole."""
    systemd.hold({KEY: unseal(scene.pair.new) + b"x"})
    systemd.restart()
    assert scene.place.holds(scene.pair) is Holds.NEITHER


@pytest.mark.parametrize("verb", ["show", "restart"])
def test_no_value_is_in_what_systemctl_is_given(scene: UnitScene, verb: str) -> None:
    """The argv of systemctl names the unit and nothing secret."""
    argv = scene.place.systemd.command(verb, UNIT)
    assert argv[-2:] == ["--", UNIT]
    assert not any(unseal(secret).decode() in word for secret in (scene.pair.old, scene.pair.new) for word in argv)
