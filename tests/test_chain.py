"""The record's chain and its signed head: whatever is done to it is found, and the first entry that it was done to."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from keyrotor import chronicle
from keyrotor.boundary import generate, signing
from keyrotor.chain import SCHEMA, TABLES, Chain
from keyrotor.core.hash_chain import START, Entry, Fault, Flaw, linked
from keyrotor.core.head import Head, Known, Verdict, naming
from keyrotor.errors import PlaceError
from keyrotor.journal import Journal
from places.contract import umask
from places.wanted import missing
from secret_service import absent, secret_service

NOON = datetime(2025, 1, 1, 12, tzinfo=UTC)
DATABASE, HEAD, KEY = "journal.sqlite3", "head.json", "record.key"
STREAMS = ("7f3a00", "inc-0042", "7f3a00", "c0ffee")
COUNT = 12  # seven entries of one writer, the one that names the key, four of another writer
NAMED = 8
ROWS = st.integers(1, COUNT)
Made = Callable[[], Path]


def write(state: Path, count: int) -> tuple[str, ...]:
    """So many entries by one writer, and what its closing says."""
    with Chain.open(state) as chain:
        for number in range(count):
            text = json.dumps({"text": f"{number} · ✓"})
            chain.append(STREAMS[number % 4], [(f"kind-{number}", text)], NOON + timedelta(seconds=number))
        return chain.sign()


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    state = tmp_path_factory.mktemp("original") / "state"
    assert (write(state, 7), write(state, 4)) == ((), ())
    assert verdict(state) == Verdict(COUNT, signing.signed(state), NAMED)
    return state


@pytest.fixture(scope="module")
def made(original: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A fresh copy of the same signed record, again and again."""
    folder = tmp_path_factory.mktemp("copies")

    def copy() -> Path:
        shutil.rmtree(folder)
        return shutil.copytree(original, folder / "state")

    return copy


@pytest.fixture
def state(tmp_path: Path, original: Path) -> Path:
    return shutil.copytree(original, tmp_path / "state")


def verdict(state: Path) -> Verdict:
    with Chain.peek(state) as chain:
        return chain.verify()


def fault_of(state: Path) -> Fault:
    found = verdict(state).fault
    assert found is not None
    return found


def entries(state: Path) -> list[Entry]:
    with Chain.peek(state) as chain:
        return list(chain.entries())


def store(state: Path, rows: list[Entry]) -> None:
    """What somebody writes who has the file, and SQLite."""
    with sqlite3.connect(state / DATABASE) as database:
        database.execute("DELETE FROM events")
        values = [(row.seq, row.run, row.stamp, row.kind, row.data, row.chain) for row in rows]
        database.executemany("INSERT INTO events (seq, run, at, kind, data, chain) VALUES (?, ?, ?, ?, ?, ?)", values)
    database.close()


def numbered(rows: list[Entry]) -> list[Entry]:
    return [replace(row, seq=seq) for seq, row in enumerate(rows, start=1)]


def chained(rows: list[Entry]) -> list[Entry]:
    """The same with every number and every hash made anew."""
    made, chain = [], START
    for row in numbered(rows):
        chain = linked(chain, row.seq, row)
        made.append(replace(row, chain=chain))
    return made


def is_named(found: Fault, seq: int, *flaws: Flaw) -> bool:
    return found.seq == seq and found.flaw in flaws


# -- what is done to the entries -------------------------------------------------------------------------------------

TEXT = st.text(st.characters(codec="utf-8"), max_size=30)
COLUMNS = {"run": TEXT, "at": TEXT, "kind": TEXT, "data": TEXT, "chain": st.text("0123456789abcdef", max_size=64)}


@given(row=ROWS, column=st.sampled_from(sorted(COLUMNS)), data=st.data())
def test_an_edited_entry_is_named(made: Made, row: int, column: str, data: st.DataObject) -> None:
    """Whichever column of whichever entry is changed, whatever it then says."""
    state = made()
    before, text = entries(state), data.draw(COLUMNS[column])
    with sqlite3.connect(state / DATABASE) as database:
        database.execute(f"UPDATE events SET {column} = ? WHERE seq = ?", (text, row))
    database.close()
    if entries(state) != before:
        assert is_named(fault_of(state), row, Flaw.EDITED)


@example(row=COUNT, number=0)
@given(row=ROWS, number=st.integers(-5, 2**62).filter(lambda number: not 1 <= number <= COUNT))
def test_an_entry_with_another_number_is_named(made: Made, row: int, number: int) -> None:
    """By the number that it had, and by the one under which it stands now."""
    state = made()
    with sqlite3.connect(state / DATABASE) as database:
        database.execute("UPDATE events SET seq = ? WHERE seq = ?", (number, row))
    database.close()
    found = fault_of(state)
    assert is_named(found, row, Flaw.EDITED, Flaw.REORDERED)
    assert found.entry is not None
    assert found.entry.seq == number


@given(one=ROWS, other=ROWS)
def test_two_entries_that_changed_places_are_told_by_the_first(made: Made, one: int, other: int) -> None:
    """Which is said to stand where it now stands."""
    if one == other:
        return
    state = made()
    rows = entries(state)
    rows[one - 1], rows[other - 1] = rows[other - 1], rows[one - 1]
    store(state, numbered(rows))
    found = fault_of(state)
    assert is_named(found, min(one, other), Flaw.REORDERED)
    assert found.entry is not None
    assert found.entry.seq == max(one, other)


@given(first=ROWS, count=st.integers(1, COUNT), is_closed=st.booleans())
def test_missing_entries_are_told_by_the_first(made: Made, first: int, count: int, is_closed: bool) -> None:
    """Out of the middle or off the end, all of them too; and where the gap was closed by numbering the others anew."""
    state = made()
    rows = entries(state)
    left, last = rows[: first - 1] + rows[first - 1 + count :], min(first + count - 1, COUNT)
    store(state, numbered(left) if is_closed else left)
    found = fault_of(state)
    assert is_named(found, first, Flaw.TRUNCATED if last == COUNT else Flaw.DELETED)
    assert found.entry is None
    assert found.said.startswith(f"entry {first} is" if first == last else f"entries {first} to {last} are")


@given(missing=st.sets(ROWS, min_size=1))
def test_whichever_entries_are_missing_the_first_is_named(made: Made, missing: set[int]) -> None:
    """Also where there are several gaps."""
    state = made()
    store(state, [row for row in entries(state) if row.seq not in missing])
    assert fault_of(state).seq == min(missing)


@given(at=st.integers(0, COUNT - 1), follows=st.booleans(), count=st.integers(1, 3))
def test_an_entry_that_was_put_in_is_named(made: Made, at: int, follows: bool, count: int) -> None:
    """Also one with a hash that follows from the entry before it: then the next one follows from that, too."""
    state = made()
    rows = entries(state)
    alien = Entry(0, "7f3a00", NOON.isoformat(), "moved", "{}", "f" * 64)
    for number in range(at, at + count):
        chain = rows[number - 1].chain if number else START
        told = replace(alien, chain=linked(chain, number + 1, alien)) if follows else alien
        rows.insert(number, told)
    store(state, numbered(rows))
    assert is_named(fault_of(state), at + 1, Flaw.INSERTED)


def test_an_entry_that_was_put_at_the_end_is_named(state: Path) -> None:
    """One whose hash is an invention."""
    rows = entries(state)
    store(state, numbered([*rows, replace(rows[2], chain="a" * 64)]))
    assert is_named(fault_of(state), COUNT + 1, Flaw.EDITED)


@given(row=ROWS, count=st.integers(0, COUNT))
def test_a_record_that_was_written_anew_is_found(made: Made, row: int, count: int) -> None:
    """One entry changed and every hash made anew, perhaps of fewer entries: the signed head is not of that record."""
    state = made()
    rows = entries(state)
    rows[row - 1] = replace(rows[row - 1], data="{}")
    store(state, chained(rows[:count]))
    found = fault_of(state)
    if count < COUNT:
        assert is_named(found, count + 1, Flaw.TRUNCATED)
    else:
        assert is_named(found, COUNT, Flaw.REWRITTEN)
        assert f"entry {COUNT} (" in found.said


def test_numbers_with_a_gap_are_told_whatever_their_hashes(state: Path) -> None:
    """Every hash was made anew with the number that the entry has now."""
    made, chain = [], START
    for row in entries(state):
        seq = row.seq + (row.seq > 5)
        chain = linked(chain, seq, row)
        made.append(replace(row, seq=seq, chain=chain))
    store(state, made)
    assert is_named(fault_of(state), 6, Flaw.DELETED)


def test_a_record_that_is_gone_is_told(state: Path) -> None:
    """Its head is still there."""
    (state / DATABASE).unlink()
    assert is_named(fault_of(state), 1, Flaw.TRUNCATED)


def test_an_older_copy_of_the_record_is_told(state: Path, tmp_path: Path) -> None:
    """Where only the database was put back."""
    shutil.copy(state / DATABASE, tmp_path / "backup")
    write(state, 3)
    shutil.copy(tmp_path / "backup", state / DATABASE)
    found = fault_of(state)
    assert is_named(found, COUNT + 1, Flaw.TRUNCATED)
    assert "15 were signed" in found.said


def test_what_a_stranger_wrote_does_what_a_terminal_is_told_nowhere(state: Path) -> None:
    """Control characters and floods in an entry are not repeated."""
    rows = entries(state)
    rows[2] = replace(rows[2], kind="\x1b[2J\n" * 5, run="x" * 5000)
    store(state, rows)
    said = fault_of(state).said
    assert said.isprintable()
    assert len(said) < 300


# -- what is done to the head ----------------------------------------------------------------------------------------


@settings(max_examples=300)
@given(at=st.integers(0, 2000), byte=st.integers(0, 255))
def test_a_changed_head_is_told(made: Made, at: int, byte: int) -> None:
    """Whichever byte of it is another one; what stays the same JSON is no change."""
    state = made()
    data = bytearray((state / HEAD).read_bytes())
    before = json.loads(data)
    data[at % len(data)] = byte
    (state / HEAD).write_bytes(data)
    try:
        is_same = json.loads(data) == before
    except ValueError:
        is_same = False
    found = verdict(state).fault
    assert (found is None) if is_same else (found is not None and is_named(found, COUNT, Flaw.HEAD))


@pytest.mark.parametrize("text", ["", "null", "[]", "{}", "7", '{"schema": 2}', "\0"])
def test_a_head_that_is_none_is_told(state: Path, text: str) -> None:
    """An empty file, other JSON, that of a newer keyrotor."""
    (state / HEAD).write_text(text)
    assert "is not the head of a record" in fault_of(state).said


def test_a_head_that_is_gone_is_told_by_the_entry_that_names_its_key(state: Path) -> None:
    """And nobody signs that record as if it had never been signed."""
    (state / HEAD).unlink()
    assert is_named(fault_of(state), COUNT, Flaw.HEAD)
    assert "it is gone" in write(state, 1)[0]
    assert not (state / HEAD).exists()


def test_a_head_signed_by_another_key_is_told(state: Path) -> None:
    """By the entry that names the key, and, where that was changed with all the rest, by the key that is here."""
    other = generate.new_key()
    last = entries(state)[5]
    store(state, entries(state)[:NAMED])
    signing.sign(state, Head(NAMED, entries(state)[-1].chain, last.stamp, signing.public(other)), other)
    found = fault_of(state)
    assert is_named(found, NAMED, Flaw.KEY)
    assert f"entry {NAMED} names key" in found.said
    key, head = (state / KEY).read_text(), (state / HEAD).read_bytes()
    (state / KEY).write_text(other.hex())
    assert "the record names key" in write(state, 1)[0]
    assert (state / HEAD).read_bytes() == head
    (state / KEY).write_text(key)

    rows = entries(state)[:NAMED]
    kind, data = naming(signing.public(other))
    rows[NAMED - 1] = replace(rows[NAMED - 1], kind=kind, data=data)
    store(state, rows := chained(rows))
    signing.sign(state, Head(NAMED, rows[-1].chain, last.stamp, signing.public(other)), other)
    found = fault_of(state)
    assert is_named(found, NAMED, Flaw.KEY)
    assert "the key here is" in found.said

    (state / KEY).write_text(other.hex())  # who has the key as well is believed: docs/reference/journal.md says so
    assert verdict(state).fault is None


def test_a_record_whose_key_is_gone_can_be_verified_and_is_signed_no_more(state: Path) -> None:
    """The public half is in the head. A writer says that it cannot sign, and has recorded all the same."""
    (state / KEY).unlink()
    assert verdict(state).fault is None
    (note,) = write(state, 2)
    assert "is not here" in note
    assert "keyrotor log --verify" in note
    found = verdict(state)
    assert (found.fault, found.entries, found.unsigned) == (None, COUNT + 2, 2)
    assert "the last 2 are not signed yet" in found.lines()[-1]


def test_a_key_that_is_another_one_signs_nothing(state: Path) -> None:
    """Nor is it named in the record."""
    (state / KEY).write_text(generate.new_key().hex())
    assert "is not here" in write(state, 1)[0]
    assert entries(state)[-1].run != ""
    assert "the key here is" in fault_of(state).said


def test_a_writer_that_has_nothing_to_sign_needs_no_key(state: Path) -> None:
    """It opened the record and added nothing."""
    (state / KEY).unlink()
    assert write(state, 0) == ()


def test_another_key_can_be_begun_with_and_that_stays_on_record(state: Path) -> None:
    """A person removes head and key: the next writer's key is named in an entry of its own."""
    (state / KEY).unlink()
    (state / HEAD).unlink()
    assert write(state, 1) == ()
    found = verdict(state)
    assert (found.fault, found.entries, found.unsigned, found.since) == (None, COUNT + 2, 0, COUNT + 2)


@pytest.mark.parametrize("text", ["", "zz", "ab" * 31])
def test_a_key_that_is_none_keeps_nobody_from_recording(state: Path, text: str) -> None:
    """It is told, and left for a person to look at."""
    (state / KEY).write_text(text)
    assert "is not the key of a record" in write(state, 1)[0]
    assert (state / KEY).read_text() == text
    assert verdict(state).entries == COUNT + 1


# -- who signs, and when ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "damage", ["truncated", "truncated by more than is added", "edited after the head", "rewritten", "another head"]
)
def test_a_record_that_does_not_follow_is_not_signed(state: Path, damage: str) -> None:
    """A writer goes on recording, says why it does not sign, and what was done is found afterwards as before."""
    rows = entries(state)
    if damage == "truncated":
        store(state, rows[:-2])
    elif damage == "truncated by more than is added":
        store(state, rows[:-4])
    elif damage == "rewritten":
        store(state, chained([replace(rows[0], data="{}"), *rows[1:]]))
    elif damage == "another head":
        (state / HEAD).write_text((state / HEAD).read_text().replace('"entries": 12', '"entries": 11'))
    else:
        with Chain.open(state) as chain:
            chain.append("7f3a00", [("kind", "{}"), ("kind", "[]")], NOON)
            chain.sign = tuple  # type: ignore[method-assign]  # killed
        store(state, [*entries(state)[:-2], replace(entries(state)[-2], data="0"), entries(state)[-1]])
    head = (state / HEAD).read_bytes()
    (note,) = write(state, 3)
    assert note.startswith("the head of the record is not signed: ")
    assert (state / HEAD).read_bytes() == head
    assert verdict(state).fault is not None


def test_a_record_of_an_older_version_is_whole_and_signed_by_the_next_writer(tmp_path: Path) -> None:
    """One without head and key, as keyrotor wrote them before."""
    state = tmp_path / "state"
    state.mkdir()
    with sqlite3.connect(state / DATABASE) as database:
        for statement in (*TABLES, f"PRAGMA user_version={SCHEMA}"):
            database.execute(statement)
    database.close()
    rows = [Entry(0, "7f3a00", NOON.isoformat(), f"kind-{number}", "{}", "") for number in range(5)]
    store(state, chained(rows))
    found = verdict(state)
    assert (found.fault, found.head, found.entries) == (None, None, 5)
    assert "not signed yet" in found.lines()[-1]
    assert write(state, 1) == ()
    found = verdict(state)
    assert (found.fault, found.unsigned, found.since) == (None, 0, 7)


def test_an_empty_record_is_whole_and_has_no_key(tmp_path: Path) -> None:
    """Where nothing was recorded nothing is signed; and nothing is read where there is none."""
    assert verdict(tmp_path / "none") == Verdict(0)
    assert write(tmp_path / "state", 0) == ()
    assert verdict(tmp_path / "state") == Verdict(0)
    assert [path.name for path in (tmp_path / "state").iterdir()] == [DATABASE]


def test_a_writer_that_adds_nothing_signs_what_a_killed_one_left(state: Path) -> None:
    """And one with nothing to sign writes nothing."""
    killed = Chain.open(state)
    killed.append("7f3a00", [("kind", "{}")], NOON)
    assert verdict(state).unsigned == 1
    write(state, 0)
    assert verdict(state).unsigned == 0
    head = (state / HEAD).stat()
    write(state, 0)
    assert (state / HEAD).stat() == head


def test_who_looks_while_the_first_head_is_signed_sees_no_fault(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The head was not there yet, and the entry that names its key is: a moment that only a fake is sure to meet."""
    seen = iter((Known(), Known(signing.signed(state))))
    monkeypatch.setattr(signing, "known", lambda *_, **__: next(seen))
    assert verdict(state).fault is None


def test_a_writer_that_closes_has_signed(state: Path) -> None:
    """Nobody has to ask it to; nor where an error ends its work."""
    with suppress(ZeroDivisionError), Chain.open(state) as chain:
        chain.append("7f3a00", [("kind", "{}")], NOON)
        raise ZeroDivisionError
    assert verdict(state).unsigned == 0


def test_head_and_key_are_private_and_hold_nothing_else(tmp_path: Path) -> None:
    """0600 under any umask; numbers, hashes and times."""
    with umask(0):
        write(tmp_path / "state", 2)
    files = {path.name: path for path in (tmp_path / "state").iterdir()}
    assert set(files) == {DATABASE, HEAD, KEY}
    assert {path.stat().st_mode & 0o7777 for path in files.values()} == {0o600}
    assert set(json.loads(files[HEAD].read_text())) == {"schema", "entries", "chain", "at", "key", "signature"}
    assert len(bytes.fromhex(files[KEY].read_text())) == 32
    assert files[KEY].read_text().strip() not in files[HEAD].read_text()


def test_a_key_goes_where_the_other_one_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record whose fingerprint key is in a file has users without a keyring; no keyring is asked then."""
    (tmp_path / "fingerprint.key").write_text(generate.new_key().hex())
    monkeypatch.setitem(sys.modules, "keyring", None)
    assert write(tmp_path, 1) == ()
    assert (tmp_path / KEY).exists()


def test_a_reader_needs_no_more_than_to_read(state: Path) -> None:
    """A folder and files that nobody may write, a key that may not be read: the record is verified all the same."""
    before = {path: path.stat() for path in state.iterdir()}
    for path in state.iterdir():
        path.chmod(0o400)
    state.chmod(0o500)
    try:
        with Chain.peek(state) as chain:
            assert chain.verify().fault is None
            assert chain.sign() == ()
    finally:
        state.chmod(0o700)
    assert {path: path.stat().st_mtime_ns for path in state.iterdir()} == {
        path: status.st_mtime_ns for path, status in before.items()
    }


def test_a_head_that_cannot_be_written_fails_nobody(state: Path) -> None:
    """A full disk: what was to be recorded is recorded, and the note says why it is not signed."""
    (state / HEAD).unlink()
    (state / HEAD).mkdir()  # root may write whatever its mode says
    (note,) = write(state, 1)
    assert "cannot read" in note
    assert len(entries(state)) == COUNT + 1


# -- killed, and at once ---------------------------------------------------------------------------------------------

CALLS = {"execute", "open", "write", "fsync", "rename", "link", "unlink", "fchmod", "close"}


def dies_at(point: int, state: Path) -> bool:
    """Whether a child process that writes there comes to its call number `point`, which kills it."""
    child = os.fork()
    if child == 0:
        left = point

        def count(_: FrameType, event: str, called: Any) -> None:
            nonlocal left
            if event in ("c_call", "c_return") and called.__name__ in CALLS:
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.setprofile(count)
            write(state, 2)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


@pytest.mark.parametrize("is_fresh", [True, False])
def test_a_writer_that_was_killed_leaves_a_record_that_is_believed(
    tmp_path: Path, original: Path, is_fresh: bool
) -> None:
    """Before and after each of its calls: no fault, unsigned entries at most, and the next writer signs them all."""
    point = 0
    signing.public(generate.new_key())  # loaded once, for every child
    while True:
        point += 1
        state = tmp_path / f"{point}"
        if not is_fresh:
            shutil.copytree(original, state)
        if not dies_at(point, state):
            break
        found = verdict(state)
        assert found.fault is None, (point, found.fault)
        assert write(state, 1) == (), point
        found = verdict(state)
        assert (found.fault, found.unsigned) == (None, 0), point
        assert not (state / ".head.json.keyrotor").exists()
        shutil.rmtree(state)
    assert point > 60  # else nothing was counted


WRITING = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from keyrotor.chain import Chain
for _ in range(40):
    with Chain.open(Path(sys.argv[1])) as chain:
        chain.append(sys.argv[2], [("kind", "{}"), ("kind", "[]")], datetime.now(UTC))
        said = chain.sign()
        assert said == (), said
"""


def test_of_two_writers_at_once_neither_takes_the_head_back(tmp_path: Path) -> None:
    """Each signs what the other has added; whoever looks meanwhile sees a head that only goes forward, and no fault."""
    state = tmp_path / "state"
    command = [sys.executable, "-c", WRITING, str(state)]
    writers = [subprocess.Popen([*command, run], stderr=subprocess.PIPE, text=True) for run in ("a", "inc-b")]
    seen = 0
    while any(writer.poll() is None for writer in writers):
        found = verdict(state)
        assert found.fault is None
        before, seen = seen, found.head.entries if found.head else 0
        assert before <= seen
    for writer in writers:
        assert writer.communicate()[1] == ""
        assert writer.returncode == 0
    found = verdict(state)
    assert (found.fault, found.entries, found.unsigned) == (None, 161, 0)


# -- the keyring -----------------------------------------------------------------------------------------------------

IN_KEYRING = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from keyrotor.chain import Chain
with Chain.open(Path(sys.argv[1])) as chain:
    chain.append("7f3a00", [("kind", "{}")], datetime.now(UTC))
    print(chain.sign())
with Chain.peek(Path(sys.argv[1])) as chain:
    print(chain.verify(asks_keyring=True).fault)
"""


def test_a_key_in_a_real_keyring_is_in_no_file_and_tells_another_ones_head(tmp_path: Path) -> None:
    """Who can write the state folder alone cannot sign: neither with a key of his own nor after the head is gone."""
    if programs := absent():
        missing(f"no {', '.join(programs)}")
    state = tmp_path / "state"
    folder = tmp_path / "session"
    folder.mkdir()
    with secret_service(folder) as env:

        def said(**more: str) -> list[str]:
            command = [sys.executable, "-c", IN_KEYRING, str(state)]
            ran = subprocess.run(command, env={**env, **more}, capture_output=True, text=True, check=True, timeout=60)
            return ran.stdout.splitlines()

        assert said() == ["()", "None"]
        assert said() == ["()", "None"]
        assert sorted(path.name for path in state.iterdir()) == [HEAD, DATABASE]
        note, fault = said(PYTHON_KEYRING_BACKEND="keyring.backends.fail.Keyring")
        assert "is not here" in note
        assert fault == "None"
        assert said() == ["()", "None"]
        other = generate.new_key()
        rows = entries(state)
        at = next(index for index, row in enumerate(rows) if row.run == "")
        rows[at] = replace(rows[at], data=naming(signing.public(other))[1])
        store(state, rows := chained(rows))
        signing.sign(state, Head(len(rows), rows[-1].chain, NOON.isoformat(), signing.public(other)), other)
        assert verdict(state).fault is None  # whoever has no keyring cannot tell
        note, fault = said()
        assert "is not here" in note
        assert "the key here is" in fault


# -- what is told ----------------------------------------------------------------------------------------------------


def test_a_fault_of_the_head_is_told_with_how_to_begin_anew(state: Path) -> None:
    """One of the chain is not: there only a backup helps."""
    store(state, entries(state)[:-1])
    error = chronicle.disbelief(verdict(state), state)
    assert error is not None
    assert str(error).startswith("cannot believe the record: entry 12 is missing")
    assert f"rm -f {state / HEAD} {state / KEY}" in error.hint
    store(state, entries(state)[1:])
    error = chronicle.disbelief(verdict(state), state)
    assert error is not None
    assert "rm -f" not in error.hint
    assert chronicle.disbelief(Verdict(0), state) is None


def test_a_journal_sees_no_incident_and_no_entry_of_the_chain_itself(state: Path) -> None:
    """Whatever else is in the chain, runs are runs."""
    with Chain.open(state) as chain:
        assert chain.streams() == ["7f3a00", "inc-0042", "c0ffee"]
        assert chain.streams("inc-") == ["inc-0042"]
        assert "" not in {entry.run for entry in chain.lasts()}
        assert [entry.seq for entry in chain.entries("inc-0042")] == [2, 6, 10]
    with Journal.peek(state) as journal:
        assert journal.verify().entries == COUNT
        assert not journal.knows("inc-0042")
        assert journal.last() == COUNT


def test_a_head_is_read_whatever_wrote_it(tmp_path: Path) -> None:
    """None where there is none, and an error of ours where it is a folder."""
    assert signing.signed(tmp_path) is None
    (tmp_path / HEAD).mkdir()
    with pytest.raises(PlaceError, match="is a directory"):
        signing.signed(tmp_path)
