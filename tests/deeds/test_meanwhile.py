"""Where the door of a contained gateway is reached meanwhile."""

from __future__ import annotations

import pytest

from keyrotor.units import meanwhile

SEEN = ("192.0.2.7:4000",)


@pytest.mark.parametrize(
    ("url", "listened", "command", "expected"),
    [
        ("http://192.0.2.7:4000", SEEN, "", "http://127.0.0.1:4000"),
        ("https://gateway.example:4000/api", SEEN, "", "https://127.0.0.1:4000/api"),
        ("http://gateway.example", ("[::]:80", "unix:/run/x"), "", "http://127.0.0.1:80"),
        ("http://gateway.example:81", SEEN, "--port 81", ""),
        *((f"http://{host}:4000", SEEN, "", "") for host in ("localhost", "127.0.0.1", "[::1]", "127.0.0.9")),
        ("http://192.0.2.7:81", (), "litellm --port 81", "http://127.0.0.1:81"),
        ("http://192.0.2.7:81", (), 'litellm --port="81"', "http://127.0.0.1:81"),
        ("http://192.0.2.7:81", (), "gunicorn -b 0.0.0.0:81", "http://127.0.0.1:81"),
        ("http://192.0.2.7:4000", (), "litellm", "http://127.0.0.1:4000"),
        ("http://192.0.2.7:81", (), "litellm", ""),
        ("", SEEN, "", ""),
    ],
)
def test_on_loopback_where_the_unit_has_its_port(url: str, listened: list[str], command: str, expected: str) -> None:
    """By where it listened, or else by its command; "" where it is the same address, or somebody else's port."""
    assert meanwhile.reached(url, listened, [command]) == expected
