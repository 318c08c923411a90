"""Who listens where on this machine, from the kernel's own tables; sockets of the test's own."""

from __future__ import annotations

import ipaddress
import os
import socket
import subprocess
import sys

import pytest

from keyrotor.boundary import proc


def listening(address: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = socket.socket(family)
    try:
        if family is socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not address.startswith("::ffff:"))
        made.bind((address, 0))
    except OSError:
        made.close()
        pytest.skip(f"this machine has no {address}")
    made.listen()
    return made


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.9", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1"])
def test_the_address_of_a_listening_socket(address: str) -> None:
    """As it was bound, in both families; a port where nobody listens has none."""
    with listening(address) as made:
        port = made.getsockname()[1]
        found = proc.listening(port)
        assert [ipaddress.ip_address(each.address) for each in found] == [ipaddress.ip_address(address)]
        assert os.getpid() in proc.holders(found)
        assert proc.holds(os.getpid(), found)
        assert not proc.holds(os.getppid(), found)
    assert proc.listening(port) == ()
    assert proc.holders(()) == frozenset()


def test_a_connection_is_not_a_listener() -> None:
    """Only who waits for others counts."""
    with listening("127.0.0.1") as made, socket.create_connection(made.getsockname()) as client:
        assert proc.listening(client.getsockname()[1]) == ()


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        *(("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("::ffff:127.0.0.1", True)),
        *(("0.0.0.0", False), ("::", False), ("192.0.2.1", False), ("::ffff:192.0.2.1", False)),
    ],
)
def test_loopback(address: str, expected: bool) -> None:
    """The whole of 127/8, its IPv6 spelling, and ::1."""
    assert proc.is_loopback(address) is expected


def test_this_machines_own_addresses() -> None:
    """Loopback, every address, and those of the interfaces, as the kernel's own `ip` has them; no name is asked for."""
    assert all(map(proc.is_own, ("localhost", "127.0.0.1", "::1", "0.0.0.0")))
    assert not any(map(proc.is_own, ("192.0.2.1", "2001:db8::1", "gateway.example", "")))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect(("192.0.2.1", 9))  # sends nothing; tells which address would be the sender's
        except OSError:
            pytest.skip("this machine has no route to anywhere")
        assert proc.is_own(asking.getsockname()[0])


def test_the_command_line_of_a_process() -> None:
    """Word by word, an empty one too; nothing of a process that is gone."""
    argv = [sys.executable, "-c", "import sys; sys.stdin.read()", "", "a b"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE) as child:
        while proc.arguments(child.pid) != argv:  # for a moment after the fork it has ours
            assert child.poll() is None
        child.communicate()
    assert proc.arguments(child.pid) == []
