"""What each place says that a put would change there, and the files that it says so from; what no lab shows."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from keyrotor import outlook, preflight, preview
from keyrotor.boundary import unit_text
from keyrotor.boundary.plaintext import unseal
from keyrotor.boundary.process import Processes
from keyrotor.core.model import Act, Playbook, Row, Source
from keyrotor.core.preview import Change, Planned, State
from keyrotor.errors import PlaceError
from keyrotor.places.client_file import ClientFile
from keyrotor.places.command import Command
from keyrotor.places.env_file import EnvFile
from keyrotor.secret import Pair, Secret
from places.sealed import KEY, value


def test_an_absent_env_file_is_made_anew(tmp_path: Path, pair: Pair) -> None:
    """Its keys and its mode are told, and no value."""
    place = EnvFile(tmp_path / "absent" / "litellm.env", KEY, (KEY, "LITELLM_SALT_KEY"))
    assert place.changes(pair) == [Change(text=f"made anew, mode 0600, with {KEY}, LITELLM_SALT_KEY")]
    assert place.inputs() == [tmp_path / "absent" / "litellm.env"]
    assert list(tmp_path.iterdir()) == []


def test_every_line_of_an_env_file_that_bears_the_key_is_told(tmp_path: Path, pair: Pair) -> None:
    """In the file's order, also where a repair replaces another value than the old one."""
    stale = value()
    path = tmp_path / "litellm.env"
    path.write_bytes(b'A=b\n%b="%b"\n%b=%b\n' % (KEY.encode(), unseal(stale), KEY.encode(), unseal(pair.old)))
    found = EnvFile(path, KEY, ()).changes(replace(pair, stale=(stale,)))
    assert [(change.line, change.column) for change in found] == [(2, 21), (3, 20)]


def test_a_value_in_a_path_is_hidden(tmp_path: Path, pair: Pair) -> None:
    """A client may use the key, or another secret, as a name."""
    sibling = unseal(pair.siblings["GRAFANA_TOKEN"]).decode()
    path = tmp_path / "client.json"
    path.write_text(json.dumps({sibling: {unseal(pair.old).decode(): unseal(pair.old).decode()}}))
    change = ClientFile(path, KEY, "json").changes(pair)[0]
    assert change.is_span
    assert not any(unseal(secret).decode()[3:] in change.path for secret in (pair.old, *pair.siblings.values()))
    assert change.path == "[…][…]"


@pytest.mark.parametrize(
    "other", ['quo"ted and more', "back\\\\slash\\and more", "Schlüssel für Grüße", "hunter2", "abc", "a/b.c"]
)
def test_a_value_of_any_sort_in_a_path_is_hidden(tmp_path: Path, other: str) -> None:
    """Whatever JSON makes of it, and however short it is; also inside of a longer key."""
    pair = Pair(value(), value(), {"OTHER": Secret(other.encode()), "EMPTY": Secret(b"")})
    path = tmp_path / "client.json"
    path.write_text(json.dumps({other: {f"x{other}x": {"apiKey": unseal(pair.old).decode()}}}))
    assert ClientFile(path, KEY, "json").changes(pair)[0].path == "[…][…].apiKey"


def test_the_programs_of_a_command_are_what_its_plan_is_made_from(tmp_path: Path, pair: Pair) -> None:
    """Wherever they are found; one that is not there is told by `check`."""
    program = tmp_path / "put"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    env = {"PATH": "/usr/bin:/bin"}
    place = Command("command", ["./put", "now"], ["nowhere-to-be-found"], 1.0, Processes(time.sleep), env, tmp_path)
    assert place.inputs() == [program]
    assert "./put" in place.changes(pair)[0].text
    assert "now" not in place.changes(pair)[0].text.split(), "its arguments are its own affair"


def test_drop_ins_are_read_as_systemd_writes_them() -> None:
    """In quotes where there is a blank in a path."""
    unit = unit_text.parsed("a.service", 'FragmentPath=/a b\nDropInPaths=/d/one.conf "/d e/café.conf"\n')
    assert unit.drop_ins == ("/d/one.conf", "/d e/café.conf")
    assert unit_text.parsed("a.service", "DropInPaths=\n").drop_ins == ()


def test_the_summary_stays_in_eighty_columns() -> None:
    """With two digits wherever there can be some."""
    rows = [(Act.FILE, 20, State.CHANGES), (Act.RESTART, 11, State.CHANGES), (Act.ADMIT, 12, State.PROVES)]
    rows += [(Act.FILE, 13, State.CANNOT), (Act.FILE, 14, State.BY_HAND)]
    planned = tuple(
        Planned(Row(f"{state}{at}", f"{state}{act}{at}", "client-file", act, "a", 1.0), state)
        for act, count, state in rows
        for at in range(count)
    )
    seen = preview.Preview(BOOK, planned, (), "…", "…", None, None, None, None)
    said = outlook.lines(seen, Path("/"), "")
    told = " ".join(line.strip() for line in said[-2:])
    assert told == "plan: 20 places change, 11 units restart, 12 doors prove it, 13 cannot, 14 by hand"
    assert [line for line in said if len(line) > 80] == []


BOOK = Playbook("book", "book.toml", Source("f", KEY, "", "/"), "month", 1.0, {}, ())


class Refusing:
    """A place whose put would fail though its check is well: no real splice could be brought to that."""

    def changes(self, _: Pair) -> list[Change]:
        raise PlaceError("cannot write it: the splice changed another value")


@pytest.mark.parametrize("state", [State.CANNOT, State.NOTHING])
def test_a_splice_that_would_be_refused_is_found_in_the_plan(pair: Pair, state: State) -> None:
    """As a reason like those of preflight; a place that is left out is not asked."""
    row = Row("client", "client", "client-file", Act.FILE, "the client", 1.0)
    looked = preflight.Looked(row, "absent" if state is State.NOTHING else "")
    places = cast("Any", {"client": Refusing()})
    found = preflight.Found(BOOK, (looked,), (), places, pair, b"")
    planned = preview._planned(found, looked, pair, is_alike=True)
    assert planned.state is state
    assert planned.reasons == (("cannot write it: the splice changed another value",) if state is State.CANNOT else ())


def test_a_comment_that_names_the_key_is_left_to_a_person(tmp_path: Path) -> None:
    """No splice goes there."""
    pair = Pair(value(), Secret(b"sk-another-one-entirely"))
    path = tmp_path / "client.json"
    path.write_bytes(b'{"key": "%b"} // %b' % (unseal(pair.old), unseal(pair.old)))
    found = ClientFile(path, KEY, "json").changes(pair)
    assert [(change.is_span, change.by_hand) for change in found] == [(True, False), (False, True)]
