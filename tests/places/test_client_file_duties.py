"""What a client's file does before and after a put: the work beforehand, comments, the same inode, the reload."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from keyrotor.boundary import files, in_place
from keyrotor.boundary.plaintext import unseal
from keyrotor.boundary.process import Processes
from keyrotor.boundary.reload import Reload
from keyrotor.core.model import ALREADY, Holds, Value
from keyrotor.errors import PlaceError, StrangerError
from keyrotor.formats import readers, splice
from keyrotor.places.client_file import ClientFile, Known
from keyrotor.secret import Pair
from places.sealed import KEY

TEXT = b'// the key: @\n{"apiKey": "@", "more": "Bearer @"}\n'


def filled(pair: Pair, value: Value, comment: Value = Value.OLD) -> bytes:
    return TEXT.replace(b": @\n", b": %b\n" % unseal(pair[comment])).replace(b"@", unseal(pair[value]))


@pytest.fixture
def file(tmp_path: Path, pair: Pair) -> Path:
    path = tmp_path / "home" / "settings.json"
    path.parent.mkdir()
    path.write_bytes(filled(pair, Value.OLD))
    return path


# --- before ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Every content that was parsed, in its order."""
    seen: list[bytes] = []
    read = readers.of("json")

    def reader(data: bytes) -> tuple[splice.Leaf, ...]:
        seen.append(data)
        return read(data)

    monkeypatch.setattr(readers, "of", lambda name: reader)
    return seen


def test_what_was_prepared_is_written_without_another_look_at_what_it_means(
    file: Path, pair: Pair, parsed: list[bytes]
) -> None:
    """The put reads, writes and reads again; everything else was done while the gateway still ran."""
    place = ClientFile(file, KEY, "json")
    before = file.stat()
    place.prepare(Value.NEW, pair)
    assert file.stat().st_mtime_ns == before.st_mtime_ns
    assert [path.name for path in file.parent.iterdir()] == ["settings.json"]
    parsed.clear()
    assert place.put(Value.NEW, pair) == "written; 1 more in comments or names, left"
    assert parsed == []
    assert file.read_bytes() == filled(pair, Value.NEW)
    assert place.put(Value.NEW, pair) == ALREADY
    assert place.put(Value.OLD, pair).startswith("written")
    assert file.read_bytes() == filled(pair, Value.OLD)


def test_a_file_is_parsed_once_for_each_content(file: Path, pair: Pair, parsed: list[bytes]) -> None:
    """By whatever is worked out: before it and after it. What was proven costs the last look no more than a read."""
    place = ClientFile(file, KEY, "json")
    old, new = filled(pair, Value.OLD), filled(pair, Value.NEW)
    place.prepare(Value.NEW, pair)
    assert parsed == [old, new]
    place.changes(pair)
    assert parsed == [old, new] * 2
    place.put(Value.NEW, pair)
    assert place.holds(pair) is Holds.NEW
    assert parsed == [old, new] * 2
    place.put(Value.OLD, pair)
    assert place.holds(pair) is Holds.OLD
    assert parsed[4:] == [new, filled(pair, Value.OLD)]
    assert place.holds(replace(pair)) is Holds.OLD
    assert parsed[6:] == [old], "for another pair it may hold something else"
    file.write_bytes(new.replace(b"more", b"less"))
    assert place.holds(pair) is Holds.NEW
    assert len(parsed) == 8


def test_what_a_killed_writer_tore_is_judged_and_prepared_as_what_it_becomes(file: Path, pair: Pair) -> None:
    """So that a resume goes on, with no parser tripping over half of a file."""
    place = ClientFile(file, KEY, "json", in_place=True)
    old, new = filled(pair, Value.OLD), filled(pair, Value.NEW)
    at = new.index(unseal(pair.new)) + 20
    torn = new[:at] + old[at:]
    files.sibling_of(file).write_bytes(in_place.intent(old, new))
    file.write_bytes(torn)
    assert (place.holds(pair), place.check(pair)) == (Holds.NEW, [])
    for value in (Value.NEW, Value.OLD):
        place.prepare(value, pair)
        assert file.read_bytes() == torn
    assert place.put(Value.OLD, pair).startswith("written")
    assert file.read_bytes() == old
    assert [path.name for path in file.parent.iterdir()] == ["settings.json"]


def test_what_was_prepared_for_other_bytes_is_not_written(file: Path, pair: Pair) -> None:
    """Its client has saved its settings meanwhile: they are spliced as they are now."""
    place = ClientFile(file, KEY, "json")
    place.prepare(Value.NEW, pair)
    file.write_bytes(file.read_bytes().replace(b'"more"', b'"fresh"'))
    place.put(Value.NEW, pair)
    assert file.read_bytes() == filled(pair, Value.NEW).replace(b'"more"', b'"fresh"')


def test_what_was_prepared_for_one_value_is_not_written_for_the_other(file: Path, pair: Pair) -> None:
    """A run that turns back has prepared the new one."""
    place = ClientFile(file, KEY, "json")
    place.prepare(Value.NEW, pair)
    assert place.put(Value.OLD, pair) == ALREADY
    assert file.read_bytes() == filled(pair, Value.OLD)


def test_a_write_that_does_not_read_back_is_told(file: Path, pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was prepared is believed by its bytes alone, so these are compared."""
    place = ClientFile(file, KEY, "json")
    place.prepare(Value.NEW, pair)
    monkeypatch.setattr(files, "replace", lambda seen, data, **_: None)
    with pytest.raises(PlaceError, match="does not hold the new value"):
        place.put(Value.NEW, pair)


@pytest.mark.parametrize(
    "text",
    ['{"apiKey": ', '{"apiKey": "nobody\'s"}', '{"apiKey": "${LITELLM_MASTER_KEY}"}'],
    ids=["torn", "other", "refers"],
)
def test_what_a_put_could_not_do_is_told_before_the_restart(file: Path, pair: Pair, text: str) -> None:
    """So that it costs no outage."""
    file.write_text(text)
    with pytest.raises(PlaceError):
        ClientFile(file, KEY, "json").prepare(Value.NEW, pair)


def test_what_is_prepared_shows_no_value(file: Path, pair: Pair) -> None:
    """Neither in a traceback nor in a log."""
    place = ClientFile(file, KEY, "json")
    place.prepare(Value.NEW, pair)
    assert unseal(pair.new).decode() not in repr(place)
    assert unseal(pair.new).decode() not in repr(place._ready)


# --- comments, and the inode ----------------------------------------------------------------------------------------


def test_comments_are_rewritten_where_that_is_asked_for(file: Path, pair: Pair) -> None:
    """With `raw`; and back again."""
    place = ClientFile(file, KEY, "json", raw=True)
    assert [change.text for change in place.changes(pair) if not change.is_span] == ["1 more in comments"]
    place.prepare(Value.NEW, pair)
    assert place.put(Value.NEW, pair) == "written"
    assert file.read_bytes() == filled(pair, Value.NEW, comment=Value.NEW)
    assert place.put(Value.OLD, pair) == "written"
    assert file.read_bytes() == filled(pair, Value.OLD)


def test_a_value_that_stands_as_a_name_is_not_rewritten(file: Path, pair: Pair) -> None:
    """That would be another file."""
    old = unseal(pair.old).decode()
    file.write_text(json.dumps({"apiKey": old, old: 1}))
    with pytest.raises(PlaceError, match="name"):
        ClientFile(file, KEY, "json", raw=True).prepare(Value.NEW, pair)
    assert ClientFile(file, KEY, "json").put(Value.NEW, pair) == "written; 1 more in comments or names, left"


@pytest.mark.parametrize("is_prepared", [True, False])
def test_the_inode_stays_where_that_is_asked_for(file: Path, pair: Pair, is_prepared: bool) -> None:
    """A container into which this one file is mounted goes on reading that inode."""
    place = ClientFile(file, KEY, "json", in_place=True)
    inode = file.stat().st_ino
    with file.open("rb") as mounted:
        for value in (Value.NEW, Value.OLD):
            if is_prepared:
                place.prepare(value, pair)
            place.put(value, pair)
            mounted.seek(0)
            assert mounted.read() == filled(pair, value)
    assert file.stat().st_ino == inode
    assert [path.name for path in file.parent.iterdir()] == ["settings.json"]


# --- after ----------------------------------------------------------------------------------------------------------


def reload_of(tmp_path: Path, *argv: str, within: float = 10) -> Reload:
    return Reload(argv, "client-file", within, Processes(), dict(os.environ), tmp_path)


def program(tmp_path: Path, text: str) -> str:
    path = tmp_path / "re load"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_a_reload_runs_for_either_value_and_is_told_neither(
    file: Path, pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the project's folder, with the place and the word; no variable of ours leaks into it."""
    monkeypatch.setenv(KEY, unseal(pair.old).decode())
    seen = tmp_path / "seen"
    argv = (program(tmp_path, 'env >> "$1"; pwd >> "$1"; cat >> "$1"'), str(seen))
    place = ClientFile(file, KEY, "json", reload=reload_of(tmp_path, *argv))
    assert place.check(pair) == []
    assert [place.after(value, pair) for value in Value] == ["", ""]
    said = seen.read_bytes()
    assert all(b"KEYROTOR_VALUE=%b\n" % value.encode() in said for value in Value)
    assert said.count(b"KEYROTOR_PLACE=client-file\n") == said.count(b"\n%b\n" % str(tmp_path).encode()) == 2
    assert not any(unseal(value) in said for value in (pair.old, pair.new))
    assert KEY.encode() not in said


@pytest.mark.parametrize("value", list(Value))
def test_a_reload_that_fails_is_left_to_a_person(file: Path, pair: Pair, tmp_path: Path, value: Value) -> None:
    """With the command as it is typed; the values are in force, so nothing is turned back."""
    argv = (program(tmp_path, "exit 3"), "a b")
    place = ClientFile(file, KEY, "json", Known(todo="restart it"), reload=reload_of(tmp_path, *argv))
    with pytest.raises(PlaceError) as failed:
        place.after(value, pair)
    assert str(failed.value) == f"cannot reload {file}: it ended with exit code 3; run it by hand: '{argv[0]}' 'a b'"


def test_a_reload_that_hangs_is_ended_and_told(file: Path, pair: Pair, tmp_path: Path) -> None:
    """After `within`; one that is gone by then is told as well."""
    slow = ClientFile(file, KEY, "json", reload=reload_of(tmp_path, "sleep", "60", within=0.2))
    with pytest.raises(PlaceError, match="cannot wait longer for sleep"):
        slow.after(Value.NEW, pair)
    gone = ClientFile(file, KEY, "json", reload=reload_of(tmp_path, "/no/such"))
    assert gone.check(pair) == ["cannot run /no/such, the reload of client-file: no such program"]
    with pytest.raises(PlaceError, match="no such program; run it by hand: /no/such"):
        gone.after(Value.NEW, pair)


def test_a_reload_with_the_key_in_its_command_line_is_refused(file: Path, pair: Pair, tmp_path: Path) -> None:
    """Everybody could read it there."""
    place = ClientFile(file, KEY, "json", reload=reload_of(tmp_path, "curl", f"-H{unseal(pair.old).decode()}"))
    (why,) = place.check(pair)
    assert "holds the key itself" in why
    assert unseal(pair.old).decode() not in why


def test_what_is_left_to_do_is_told_for_either_value(file: Path, pair: Pair) -> None:
    """What runs has the other one still; whether it could have taken that up is for the run to say."""
    place = ClientFile(file, KEY, "json", Known(todo="restart it"))
    assert (place.after(Value.NEW, pair), place.after(Value.OLD, pair)) == ("restart it", "restart it")
    assert [change.text for change in place.changes(pair) if change.by_hand][-1] == "restart it"


def test_a_compose_project_is_made_anew_by_what_is_called_docker(file: Path, pair: Pair, tmp_path: Path) -> None:
    """A fake `docker` first on PATH, for there is none here: what it is called with is what is tested, no more."""
    folder = tmp_path / "bin"
    folder.mkdir()
    docker = folder / "docker"
    docker.write_text('#!/bin/sh\nprintf "%s|" "$DOCKER_HOST" "$@" > "$(dirname "$0")/called"\n')
    docker.chmod(0o755)
    argv = ["docker", "compose", "--project-directory", str(file.parent), "up", "--detach"]
    env = {"PATH": f"{folder}:{os.environ['PATH']}", "DOCKER_HOST": "unix:///run/user/1/docker.sock"}
    place = ClientFile(file, KEY, "json", reload=Reload(argv, "docker-compose", 10, Processes(), env, tmp_path))
    assert place.check(pair) == []
    assert place.after(Value.NEW, pair) == ""
    called = (folder / "called").read_text().split("|")
    assert called == [env["DOCKER_HOST"], *argv[1:], ""]


def test_a_file_that_holds_nothing_needs_no_reload(file: Path, pair: Pair, tmp_path: Path) -> None:
    """What is not put is not refused for a program that is missing."""
    file.write_text("{}")
    place = ClientFile(file, KEY, "json", reload=reload_of(tmp_path, "/no/such"))
    assert (place.check(pair), place.holds(pair)) == ([], Holds.NEITHER)


@pytest.mark.parametrize("content", [None, '{"apiKey": "sk-of-somebody-else-0123456789"}'])
def test_a_file_that_is_gone_or_somebody_elses_is_a_stranger(file: Path, pair: Pair, content: str | None) -> None:
    """There is nothing of ours to put back, which the engine tells from a write that has failed."""
    file.unlink() if content is None else file.write_text(content)
    for value in Value:
        with pytest.raises(StrangerError, match=f"cannot write {re.escape(str(file))}: "):
            ClientFile(file, KEY, "json").put(value, pair)
    assert (file.read_text() if file.exists() else None) == content
