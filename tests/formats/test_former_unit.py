"""What is kept of a former unit, and what its text starts its program with."""

from __future__ import annotations

import pytest

from keyrotor.errors import RefusedError
from keyrotor.formats.former_unit import Former, brought_back, kept, settings


@pytest.mark.parametrize(
    "data", [b"", b"[Service]\nExecStart=/bin/true", b"[Unit]\r\n\xff\n", b"# keyrotor service: x\n"]
)
def test_what_is_kept_is_brought_back_byte_for_byte(data: bytes) -> None:
    """With how the unit was: its mode, where it stood, what it was linked to, what it read."""
    was = Former("enabled", "active", 0o640, "/run/é x/a.service", ("timers.target.wants",), ("/home/you/*.env",))
    assert brought_back(kept(data, was)) == (data, was)


@pytest.mark.parametrize(
    "end", [b"", b"x\n", b"\n# keyrotor service: before it, {}\n", b"\n# keyrotor service: before it, {]\n"]
)
def test_what_was_kept_and_then_changed_is_not_brought_back(end: bytes) -> None:
    """Nobody knows what it was."""
    with pytest.raises(RefusedError, match="cannot tell how the former unit was"):
        brought_back(b"[Service]\n" + end)


@pytest.mark.parametrize(
    ("text", "literals"),
    [
        (b"Environment=KEY=sk-a OTHER=b", {"KEY": b"sk-a", "OTHER": b"b"}),
        (b"Environment=\"KEY=sk a\" 'OTHER=100%%'", {"KEY": b"sk a", "OTHER": b"100%"}),
        (b"Environment=KEY=a\nEnvironment=KEY=b", {"KEY": b"b"}),
        (b"Environment=KEY=a\nEnvironment=\n", {}),
        (b"Environment=A=1 \\\n# a comment\n  KEY=b\n", {"A": b"1", "KEY": b"b"}),
        (b"#Environment=KEY=a\n; Environment=KEY=b\n[Service]\n", {}),
        (b"ExecStart=/usr/bin/env KEY=sk-a litellm\nEnvironment=KEY=b", {"KEY": b"sk-a"}),
        (b"ExecStart=/bin/sh -c 'KEY=sk-a exec litellm'", {"KEY": b"sk-a"}),
        (b"ExecStart=/bin/sh -c 'export KEY=sk-a; litellm'", {"KEY": b"sk-a"}),
    ],
)
def test_every_way_in_which_a_unit_sets_a_variable_is_seen(text: bytes, literals: dict[str, bytes]) -> None:
    """What is not read as systemd reads it is seen as another value, never as none."""
    assert settings(text).literals == literals


def test_files_and_folder_are_read_with_the_drop_ins_after_the_unit() -> None:
    """An empty assignment forgets those before it."""
    found = settings(b"EnvironmentFile=/a\nEnvironmentFile=-/b c\nWorkingDirectory=/x\n", b"WorkingDirectory=/y\n")
    assert (found.env_files, found.folder) == (("/a", "/b c"), "/y")
    assert settings(b"EnvironmentFile=/a\n", b"EnvironmentFile=\nEnvironmentFile=/b\n").env_files == ("/b",)
