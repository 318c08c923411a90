"""The drop-ins of an incident, and the command that they change in one place."""

from __future__ import annotations

import pytest

from keyrotor.formats import contained_unit
from keyrotor.formats.contained_unit import Before

LOOPBACK = "127.0.0.1"


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("/v/litellm --host 0.0.0.0 --port 4000", "/v/litellm --host 127.0.0.1 --port 4000"),
        ("/v/litellm --host=0.0.0.0 --port 4000", "/v/litellm --host=127.0.0.1 --port 4000"),
        ("/v/litellm --port 4000", "/v/litellm --port 4000 --host 127.0.0.1"),
        ('"/v v/litellm" --config "a %h b" --host "::"', '"/v v/litellm" --config "a %h b" --host 127.0.0.1'),
        (":-/v/litellm --host ${HOST} --x 'a  b'", ":-/v/litellm --host 127.0.0.1 --x 'a  b'"),
        ("/usr/bin/env A=b litellm", "/usr/bin/env A=b litellm --host 127.0.0.1"),
        ("/v/python -m gunicorn -b 0.0.0.0:80 app", "/v/python -m gunicorn -b 127.0.0.1:80 app"),
        ("/v/gunicorn --bind=[::]:80 app", "/v/gunicorn --bind=127.0.0.1:80 app"),
        ("/v/gunicorn --bind unix:/run/x -b :80", "/v/gunicorn --bind unix:/run/x -b 127.0.0.1:80"),
        ("/v/litellm --host 127.0.0.1", "/v/litellm --host 127.0.0.1"),
        ("/v/litellm --host 127.0.0.9", "/v/litellm --host 127.0.0.9"),
        ("/v/litellm --host localhost", "/v/litellm --host localhost"),
        ("/opt/start.sh --host 0.0.0.0", "/opt/start.sh --host 127.0.0.1"),
        *((command, None) for command in ("", "/opt/start.sh", "/bin/sh -c 'exec litellm'", "/usr/bin/sleep 1")),
        *((command, None) for command in ("docker run litellm --host 0.0.0.0", "/usr/bin/podman run x/litellm")),
        *((command, None) for command in ("/v/gunicorn -b $BIND app", "/v/litellm ; /v/litellm", "/bin/bash litellm")),
    ],
)
def test_the_address_is_the_one_thing_that_changes(command: str, expected: str | None) -> None:
    """All else stays to the byte; what does not tell where it listens is none."""
    assert contained_unit.on_loopback(command, LOOPBACK) == expected


def test_a_client_that_knows_the_other_loopback_finds_it() -> None:
    """A door at ::1 is moved to ::1."""
    assert contained_unit.on_loopback("/v/gunicorn -b 0.0.0.0:80", "::1") == "/v/gunicorn -b [::1]:80"


def test_the_command_in_force_is_the_last_one() -> None:
    """An empty one takes those before away; broken lines are one; comments are none."""
    unit = "[Service]\n#ExecStart=/no\nExecStart=/one \\\n# why\n  --host 0.0.0.0\n"
    assert [" ".join(each.split()) for each in contained_unit.commands([unit])] == ["/one --host 0.0.0.0"]
    assert contained_unit.commands([unit, "[Service]\nExecStart=\n ExecStart = /two %h\r\n"]) == ["/two %h"]
    assert contained_unit.commands([unit, "ExecStart=/two\n"])[1:] == ["/two"]


def test_where_it_logs_to() -> None:
    """The whole rest of the line is the path, blanks and specifiers as they are; the last one counts."""
    unit = "StandardOutput=append:/a b/%n.log\nStandardError=file:/e\n"
    assert contained_unit.logs([unit]) == ["/a b/%n.log", "/e"]
    assert contained_unit.logs([unit, "StandardError=journal\n"]) == ["/a b/%n.log"]


def test_how_it_was_is_remembered_by_either_drop_in_and_by_an_inert_one() -> None:
    """Also with odd names; one that somebody has broken remembers nothing."""
    before = Before(("0.0.0.0:1", "unix:/a b\n"), ("x y.socket",), was_active=False)
    for text in (contained_unit.service(before, "/v/litellm"), contained_unit.socket(before, [("Stream", "[::1]:1")])):
        assert contained_unit.is_ours(text)
        assert contained_unit.before(text) == contained_unit.before(contained_unit.inert(text)) == before
        assert contained_unit.inert(contained_unit.inert(text)) == contained_unit.inert(text) != text
    assert contained_unit.before(text.splitlines()[0]) == Before()
    assert not contained_unit.is_ours("[Service]\n")


def test_what_is_remembered_can_grow_without_a_change_of_what_it_does() -> None:
    """Who needs it may be more by now; a drop-in of before that was remembered names nobody."""
    text = contained_unit.service(Before(("0.0.0.0:1",)), "/v/litellm --host 127.0.0.1")
    more = Before(("0.0.0.0:1",), needed_by=("an app.service",), is_halted=True)
    again = contained_unit.remembering(text, more)
    assert contained_unit.before(again) == more
    assert again.splitlines()[2:] == text.splitlines()[2:]
    former = text.replace(', "needed_by": [], "is_halted": false', "")
    assert former != text
    assert contained_unit.before(former) == Before(("0.0.0.0:1",))


def test_a_drop_in_that_only_remembers_moves_nothing() -> None:
    """Nor does one that brings sockets along."""
    before = Before(("0.0.0.0:1",), ("x.socket",))
    assert contained_unit.is_moved(contained_unit.service(before, "/v/litellm"))
    assert contained_unit.is_moved(contained_unit.socket(before, []))
    assert not contained_unit.is_moved(contained_unit.service(before, ""))
    assert not contained_unit.is_moved(contained_unit.inert(contained_unit.service(before, "/v/litellm")))
