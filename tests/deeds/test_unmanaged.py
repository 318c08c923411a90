"""A gateway that no unit of systemd's is known for."""

from __future__ import annotations

import socket

import pytest

from keyrotor.deeds.unmanaged import Unmanaged
from keyrotor.errors import PlaceError


def test_one_on_loopback_is_left_and_an_open_one_is_for_a_person() -> None:
    """By its listening sockets; nothing can be stopped for them."""
    with socket.create_server(("127.0.0.1", 0)) as local, socket.create_server(("0.0.0.0", 0)) as open_to_all:
        mine, theirs = (f"http://127.0.0.1:{each.getsockname()[1]}" for each in (local, open_to_all))
        assert Unmanaged("pb", mine).contain("loopback").listens == (mine.removeprefix("http://"),)
        assert "0.0.0.0" in Unmanaged("pb", theirs).contain("none").said
        for url, how in ((theirs, "loopback"), (mine, "stop"), ("http://gateway.example:4000", "loopback")):
            with pytest.raises(PlaceError, match="no unit of systemd's is known") as refused:
                Unmanaged("pb", url).contain(how)
            assert "iptables" in refused.value.hint


def test_a_playbook_without_a_gateway_has_nothing_to_contain() -> None:
    """It says so, whatever is asked."""
    for how in ("stop", "loopback", "none"):
        assert "nothing to contain" in Unmanaged("pb", "").contain(how).said
    assert Unmanaged("pb", "").lift().said
