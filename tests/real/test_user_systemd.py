"""A `systemd --user` of the tests' own: whose home it has, and that it keeps to itself."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from on_lab import missing

from keyrotor.demo.user_systemd import GROUPS, UserManager, private_user_manager, why_no_private_manager
from keyrotor.errors import KeyrotorError

UNIT = "[Service]\nExecStart=/bin/sleep 60\n"


@pytest.fixture(autouse=True)
def _possible() -> None:
    if why := why_no_private_manager():
        missing(why)


def started(manager: UserManager, units: Path) -> None:
    units.mkdir(parents=True)
    (units / "same-name.service").write_text(UNIT)
    manager.systemctl("daemon-reload")
    manager.systemctl("start", "same-name.service")


def test_it_finds_the_units_of_the_home_it_is_given(tmp_path: Path) -> None:
    """HOME/.config/systemd/user is where it looks, and its services have that HOME."""
    with private_user_manager(tmp_path) as manager:
        started(manager, tmp_path / ".config" / "systemd" / "user")
        assert manager.systemctl("is-active", "same-name.service") == "active"
        assert f"HOME={tmp_path}" in manager.systemctl("show-environment").splitlines()


def test_two_of_them_leave_each_other_s_services_alone() -> None:
    """Units of one name have processes of their own: what the one stops goes on in the other."""
    if os.geteuid() != 0:
        pytest.skip("only root may make a control group here")
    with private_user_manager() as one, private_user_manager() as other:
        for manager in (one, other):
            started(manager, manager.units)
        assert one.systemctl("show", "same-name.service", "--property=ControlGroup") != other.systemctl(
            "show", "same-name.service", "--property=ControlGroup"
        )
        one.systemctl("stop", "same-name.service")
        with pytest.raises(KeyrotorError):
            one.systemctl("is-active", "same-name.service")
        assert other.systemctl("is-active", "same-name.service") == "active"


def test_nothing_is_left_of_its_control_groups() -> None:
    """They end with the block."""
    with private_user_manager() as manager:
        started(manager, manager.units)
        name = manager.runtime.parent.name
    assert [*GROUPS.glob(name), *GROUPS.glob(f"*/{name}")] == []
