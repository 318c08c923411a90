"""The record: durable, chained, private, and never written by a reader."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyrotor.core import machine
from keyrotor.core.machine import Event, fold
from keyrotor.core.model import Holds, Outcome, Value
from keyrotor.errors import JournalError, KeyrotorError, UsageError
from keyrotor.journal import SCHEMA, Journal
from keyrotor.latest import DOUBT, left
from world import PAIR, SOURCE, World, plan_of

NOON = datetime(2025, 1, 1, 12, tzinfo=UTC)
FILE = "journal.sqlite3"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def journal(state: Path) -> Iterator[Journal]:
    with Journal.open(state) as opened:
        yield opened


def opened(run: str, file: str = SOURCE.file) -> machine.Opened:
    return machine.Opened(replace(plan_of(), run=run, source=replace(SOURCE, file=file)))


def record(journal: Journal, run: str, *events: Event, at: datetime = NOON) -> None:
    for second, event in enumerate(events):
        journal.append(run, event, at + timedelta(seconds=second))


CLOSED = (machine.Settled(), machine.Closed(Outcome.ROTATED))
EVERY: tuple[Event, ...] = (
    opened("7f3a"),
    machine.Moving("file", Value.NEW),
    machine.Moved("file", Value.NEW, "written · ✓"),
    machine.Drifted("file", Holds.NEITHER, "settle"),
    machine.Moving("file", Value.NEW),
    machine.Failed("file", Value.NEW, 'cannot write "it"\nat all', unproven=True),
    machine.Resumed("resume"),
    machine.TurnedBack("asked for"),
    machine.Passed("env", Value.OLD, Holds.REFERS),
    machine.Settled({"one": "mend it"}),
    machine.Closed(Outcome.ROLLED_BACK, "because"),
    machine.Forgotten(),
    machine.Done("one"),
)


def damage(state: Path, *statements: str) -> None:
    database = sqlite3.connect(state / FILE)
    with database:
        for statement in statements:
            database.execute(statement)
    database.close()


def listing(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Every name under a folder, with what a writer would change."""
    paths = [folder, *folder.rglob("*")]
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_size, path.stat().st_ino) for path in paths}


# -- what is written stays written -----------------------------------------------------------------------------------


def test_an_event_is_there_for_another_reader_when_append_returns(journal: Journal, state: Path) -> None:
    """What was recorded is read again by another connection while the writer is still at work."""
    for at, event in enumerate(EVERY, start=1):
        journal.append("7f3a", event, NOON)
        with Journal.peek(state) as reader:
            assert [entry.event for entry in reader.account("7f3a").entries] == list(EVERY[:at])


def test_an_event_survives_the_death_of_its_process(state: Path) -> None:
    """A process that is killed right after `append` has recorded its event."""
    code = f"""
import os, signal
from datetime import UTC, datetime
from pathlib import Path
from keyrotor.core import machine
from keyrotor.journal import Journal
from world import plan_of
Journal.open(Path({str(state)!r})).append("r1", machine.Opened(plan_of()), datetime.now(UTC))
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert run_python(code).returncode == -9
    with Journal.peek(state) as reader:
        assert reader.account("r1").run == fold([machine.Opened(plan_of())])


def test_every_kind_of_event_comes_back_as_it_was(journal: Journal) -> None:
    """What is read is equal to what was written, and so is the run that it makes."""
    record(journal, "7f3a", *EVERY)
    account = journal.account("7f3a")
    assert tuple(entry.event for entry in account.entries) == EVERY
    assert account.run == fold(EVERY)
    assert (account.id, account.opened) == ("7f3a", NOON)
    assert {type(event) for event in EVERY} == set(machine.EVENTS.values())


@given(reason=st.text(max_size=200), tasks=st.dictionaries(st.text(max_size=20), st.text(max_size=50), max_size=4))
def test_any_text_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, reason: str, tasks: dict[str, str]
) -> None:
    """Reasons and tasks are recorded to the letter, whatever letters they have."""
    events = (opened("r"), machine.TurnedBack(reason), machine.Settled(tasks))
    with Journal.open(tmp_path_factory.mktemp("state")) as journal:
        record(journal, "r", *events)
        assert tuple(entry.event for entry in journal.account("r").entries) == events
        assert journal.verify().fault is None


def test_a_whole_rotation_is_read_back_as_the_run_it_was(journal: Journal) -> None:
    """The record of a real drive folds to the run that the engine ended with."""
    world = World("two:new fails; one:old fails once")
    ending = world.rotate()
    record(journal, "r1", *world.events)
    assert journal.account("r1").run == ending.run


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else for a moment")
@pytest.mark.parametrize("closed", ["above", "state", FILE])
def test_a_record_that_may_not_be_read_is_not_taken_for_none(state: Path, closed: str) -> None:
    """Another user's: nothing owed, no former value, would be a lie. One that is not there is empty."""
    with Journal.open(state) as journal:
        record(journal, "7f3a", opened("7f3a"))
    for folder in (state, *state.parents[:3]):  # pytest's own are closed to others
        folder.chmod(folder.stat().st_mode | 0o055)
    (state / FILE).chmod(0o644)
    {"above": state.parent, "state": state, FILE: state / FILE}[closed].chmod(0o600)
    with _as_nobody(), pytest.raises(JournalError) as raised:
        Journal.peek(state)
    assert str(raised.value) == f"cannot read the record in {state}: permission denied"
    assert str(state) in raised.value.hint
    with _as_nobody():
        assert left(state, SOURCE) is DOUBT
    for absent in (state.parent / "none", Path("/dev/null/none")):
        with Journal.peek(absent) as journal:
            assert journal.accounts() == []
        assert left(absent, SOURCE) is None


@contextmanager
def _as_nobody() -> Iterator[None]:
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_no_value_stands_in_the_record(journal: Journal, state: Path) -> None:
    """Only keyed fingerprints do."""
    world = World("unit:new breaks")
    world.rotate()
    record(journal, "r1", *world.events)
    assert PAIR
    assert b"sk-" not in (state / FILE).read_bytes()


def test_an_unfinished_write_leaves_nothing(journal: Journal) -> None:
    """An event that cannot be written down is not there, and the next one can be."""
    record(journal, "r", opened("r"))
    with pytest.raises(TypeError):
        journal.append("r", machine.Moving("file", object()), NOON)  # type: ignore[arg-type]
    journal.append("r", machine.Moving("file", Value.NEW), NOON)
    assert [entry.kind for entry in journal.account("r").entries] == ["opened", "moving"]
    assert journal.verify().fault is None


# -- the chain -------------------------------------------------------------------------------------------------------


def test_a_record_goes_on_in_one_chain_over_runs_and_openings(state: Path) -> None:
    """The chain runs through all runs, whoever opened the record and when."""
    for run in ("a", "b", "c"):
        with Journal.open(state) as journal:
            record(journal, run, opened(run), *CLOSED)
    with Journal.peek(state) as reader:
        assert reader.verify().fault is None
        assert [account.id for account in reader.accounts()] == ["a", "b", "c"]


def test_an_empty_record_is_whole(journal: Journal) -> None:
    """Nothing recorded is nothing changed."""
    assert journal.verify().fault is None
    assert journal.accounts() == []


APPENDING = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from keyrotor.core import machine
from keyrotor.core.model import Value
from keyrotor.journal import Journal
from world import plan_of
run = sys.argv[2]
with Journal.open(Path(sys.argv[1])) as journal:
    print("ready", flush=True)
    sys.stdin.readline()
    journal.append(run, machine.Opened(plan_of()), datetime.now(UTC))
    for _ in range(150):
        journal.append(run, machine.Moving("file", Value.NEW), datetime.now(UTC))
"""


def test_two_processes_that_append_at_once_keep_the_chain_whole(journal: Journal, state: Path) -> None:
    """Every event of both is there, in an order that the chain follows."""
    command = [sys.executable, "-c", APPENDING, str(state)]
    writers = [
        subprocess.Popen([*command, run], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=with_world())
        for run in ("a", "b")
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate(timeout=60)
        assert writer.returncode == 0
    assert journal.verify().fault is None
    assert [len(journal.account(run).entries) for run in ("a", "b")] == [151, 151]


def run_python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        check=False,
        capture_output=True,
        text=True,
        env=with_world(),
        timeout=60,
    )


def with_world() -> dict[str, str]:
    here = str(Path(__file__).parent)
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH", ""))))}


# -- readers ---------------------------------------------------------------------------------------------------------


def read_everything(reader: Journal) -> None:
    reader.accounts()
    reader.owed()
    reader.owed(Path(SOURCE.file))
    reader.account("a")
    reader.verify()


def test_a_reader_writes_nothing(state: Path) -> None:
    """Names, sizes and times in the state folder are the same before, during and after a look."""
    with Journal.open(state) as journal:
        record(journal, "a", *EVERY)
    before = listing(state)
    with Journal.peek(state) as reader:
        read_everything(reader)
        assert listing(state) == before
    assert listing(state) == before


def test_a_reader_writes_nothing_on_what_it_may_not_write(state: Path) -> None:
    """A record in a read-only folder is read like any other, and its reader cannot write."""
    with Journal.open(state) as journal:
        record(journal, "a", *EVERY)
    (state / FILE).chmod(0o400)
    state.chmod(0o500)
    before = listing(state)
    try:
        with Journal.peek(state) as reader:
            read_everything(reader)
            with pytest.raises(JournalError, match="cannot write the record"):
                reader.append("a", machine.Resumed(), NOON)
    finally:
        state.chmod(0o700)
    assert listing(state) == before


def test_a_reader_makes_no_record_where_there_is_none(state: Path) -> None:
    """Looking at nothing leaves nothing."""
    with Journal.peek(state) as reader:
        assert (reader.accounts(), reader.owed(), reader.verify().fault) == ([], [], None)
    assert not state.exists()


def test_a_reader_does_not_hold_up_a_writer(journal: Journal, state: Path) -> None:
    """Between two looks a reader holds no lock."""
    record(journal, "a", opened("a"))
    with Journal.peek(state) as reader:
        read_everything(reader)
        journal.append("a", machine.Moving("file", Value.NEW), NOON)
        assert len(reader.account("a").entries) == 2


KILLED_IN_MID_WRITE = """
import os, signal, sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("PRAGMA cache_size=1")
database.execute("BEGIN IMMEDIATE")
for seq in range(1000, 1400):
    values = (seq, "a", "2025-01-01T00:00:00+00:00", "moving", "x" * 900, "y")
    database.execute("INSERT INTO events (seq, run, at, kind, data, chain) VALUES (?, ?, ?, ?, ?, ?)", values)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_record_whose_writer_was_killed_in_mid_write_is_read_without_what_it_began(state: Path) -> None:
    """A half written event is no event, and keeps nobody from looking at the rest or from going on."""
    with Journal.open(state) as journal:
        record(journal, "a", *EVERY[:6])
    assert run_python(KILLED_IN_MID_WRITE, str(state / FILE)).returncode == -9
    assert (state / f"{FILE}-journal").exists(), "the test has killed nobody in mid-write"
    shutil.copytree(state, state.with_name("copy"))
    with Journal.peek(state) as reader:
        assert len(reader.account("a").entries) == 6
        assert reader.verify().fault is None
    with Journal.open(state.with_name("copy")) as journal:
        journal.append("a", machine.Resumed(), NOON)
        assert len(journal.account("a").entries) == 7
        assert journal.verify().fault is None


def test_a_record_whose_maker_was_killed_is_no_record_yet(state: Path) -> None:
    """A file that was made and has no tables yet reads as empty, and is finished by the next writer."""
    state.mkdir()
    (state / FILE).touch()
    with Journal.peek(state) as reader:
        assert reader.accounts() == []
    with Journal.open(state) as journal:
        record(journal, "a", opened("a"))
        assert [account.id for account in journal.accounts()] == ["a"]


@pytest.mark.parametrize("attempt", range(5))
def test_a_record_that_several_start_at_once_is_used_by_all(state: Path, attempt: int) -> None:
    """Whoever comes second to make the first record finds it made, and goes on."""
    starting = Barrier(4)

    def start(run: str) -> None:
        starting.wait()
        with Journal.open(state) as journal:
            record(journal, run, opened(run))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(start, "abcd"))
    with Journal.peek(state) as reader:
        assert {account.id for account in reader.accounts()} == set("abcd")
        assert reader.verify().fault is None


# -- private ---------------------------------------------------------------------------------------------------------


def test_nothing_of_the_record_is_readable_by_others(tmp_path: Path) -> None:
    """Whatever the umask, the folder is 0700 and every file in it 0600, also while an event is being written."""
    state = tmp_path / "some" / "state"
    before = os.umask(0)
    try:
        with Journal.open(state) as journal:
            record(journal, "a", opened("a"))
            journal.rows._database.execute("BEGIN IMMEDIATE")
            journal.rows._database.execute("DELETE FROM events")
            journal.rows._database.execute("PRAGMA cache_spill=1")
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (state.parent, state, *state.rglob("*"))}
            journal.rows._database.execute("ROLLBACK")
    finally:
        os.umask(before)
    assert modes == {"some": 0o700, "state": 0o700, FILE: 0o600, f"{FILE}-journal": 0o600}


def test_the_run_folders_stand_in_the_state_folder(journal: Journal, state: Path) -> None:
    """Each run keeps its ciphertext in a folder of its own."""
    assert journal.folder("7f3a") == state / "runs" / "7f3a"


# -- what cannot be used ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", [Journal.open, Journal.peek])
def test_a_record_of_a_newer_schema_is_refused_with_a_hint(state: Path, way: object) -> None:
    """What this program cannot read it does not touch; it says who can."""
    Journal.open(state).__exit__()
    damage(state, f"PRAGMA user_version = {SCHEMA + 1}")
    before = (state / FILE).read_bytes()
    with pytest.raises(JournalError, match=f"its schema is {SCHEMA + 1}") as caught:
        way(state)  # type: ignore[operator]
    assert "newer" in caught.value.hint
    assert (state / FILE).read_bytes() == before


@pytest.mark.parametrize("way", [Journal.open, Journal.peek])
def test_a_file_that_is_no_record_is_refused(state: Path, way: object) -> None:
    """Somebody else's bytes in the record's place leave as our error, untouched."""
    state.mkdir()
    (state / FILE).write_bytes(b"this is not a database, " * 100)
    with pytest.raises(JournalError, match="record"):
        way(state)  # type: ignore[operator]
    assert (state / FILE).read_bytes().startswith(b"this is not a database")


def test_a_full_disk_leaves_as_an_error_of_the_record(journal: Journal) -> None:
    """What the database cannot write raises JournalError, and what was there before stays readable."""
    record(journal, "a", *EVERY[:3])
    pages = journal.rows._database.execute("PRAGMA page_count").fetchone()[0]
    journal.rows._database.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(JournalError, match=r"cannot write the record in .*full"):
        record(journal, "a", *[machine.Failed("file", Value.NEW, "cannot " * 500)] * 500)
    assert journal.verify().fault is None
    assert journal.account("a").entries[0].kind == "opened"


def test_a_record_that_somebody_keeps_locked_leaves_as_an_error_of_the_record(journal: Journal, state: Path) -> None:
    """A lock that is not let go is told, not waited for without end."""
    record(journal, "a", opened("a"))
    journal.rows._database.execute("PRAGMA busy_timeout=50")
    other = sqlite3.connect(state / FILE, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(JournalError, match=r"cannot write the record in .*locked"):
        journal.append("a", machine.Resumed(), NOON)
    other.execute("ROLLBACK")
    other.close()
    journal.append("a", machine.Resumed(), NOON)


def test_a_record_that_vanishes_under_its_readers_leaves_as_an_error_of_the_record(journal: Journal) -> None:
    """A table that is gone is told by every look."""
    journal.rows._database.execute("DROP TABLE events")
    for look in (journal.accounts, journal.owed, journal.verify, lambda: journal.account("a")):
        with pytest.raises(JournalError, match="cannot read the record"):
            look()


@pytest.mark.parametrize(
    "damaged",
    [
        "UPDATE events SET data = '{' WHERE seq = 2",
        "UPDATE events SET data = '{}' WHERE seq = 2",
        "UPDATE events SET kind = 'dreamt' WHERE seq = 2",
        "UPDATE events SET kind = 'forgotten' WHERE seq = 2",
        "UPDATE events SET at = 'yesterday' WHERE seq = 2",
        """UPDATE events SET data = replace(data, '"new"', '"newer"') WHERE seq = 2""",
    ],
)
def test_an_entry_that_cannot_be_read_leaves_as_an_error_of_the_record(
    journal: Journal, state: Path, damaged: str
) -> None:
    """No damage to an entry shows itself as a crash."""
    record(journal, "a", *EVERY[:3])
    damage(state, damaged)
    with pytest.raises(KeyrotorError):
        journal.account("a")


# -- whose runs ------------------------------------------------------------------------------------------------------


def test_owed_are_the_runs_that_are_not_closed(journal: Journal) -> None:
    """Opened, turned back and settled runs are owed, oldest first; closed and forgotten ones are not."""
    record(journal, "closed", opened("closed"), *CLOSED)
    record(journal, "settled", opened("settled"), machine.Settled())
    record(journal, "opened", opened("opened"))
    record(journal, "forgotten", opened("forgotten"), *CLOSED, machine.Forgotten())
    record(journal, "taken back", opened("taken back"), *CLOSED, machine.TurnedBack("asked for"))
    record(journal, "abandoned", opened("abandoned"), machine.Closed(Outcome.ABANDONED, "mended"))
    assert [account.id for account in journal.owed()] == ["settled", "opened", "taken back"]
    assert all(account.run.is_owed for account in journal.owed())


def test_owed_can_be_asked_for_one_secret_file(journal: Journal) -> None:
    """The runs of another secret file do not stand in the way of this one's."""
    record(journal, "a", opened("a", "/lab/a.enc.env"))
    record(journal, "b", opened("b", "/lab/b.enc.env"))
    assert [account.id for account in journal.owed(Path("/lab/b.enc.env"))] == ["b"]
    assert journal.owed(Path("/lab/c.enc.env")) == []


def test_a_run_is_found_by_the_beginning_of_its_id(journal: Journal) -> None:
    """As much of the id as tells it from the others is enough."""
    for run in ("7f3a", "7f9b", "81cc"):
        record(journal, run, opened(run))
    assert journal.account("7f3a").id == "7f3a"
    assert journal.account("7f3").id == "7f3a"
    assert journal.account("8").id == "81cc"


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("7f", "several runs begin with it: 7f3a, 7f9b"),
        *((asked, "no such run") for asked in ("9", "_", "%", "3a", "7f3aa")),
    ],
)
def test_a_run_that_is_none_or_several_is_a_question_to_the_user(journal: Journal, asked: str, message: str) -> None:
    """What does not name one run is a usage error that says why, and where to look."""
    for run in ("7f3a", "7f9b"):
        record(journal, run, opened(run))
    with pytest.raises(UsageError, match=message) as caught:
        journal.account(asked)
    assert caught.value.hint == "keyrotor log"


def test_accounts_come_oldest_first(journal: Journal) -> None:
    """In the order in which they were opened, however they went on."""
    record(journal, "b", opened("b"))
    record(journal, "a", opened("a"), *CLOSED)
    record(journal, "b", *CLOSED)
    assert [account.id for account in journal.accounts()] == ["b", "a"]


def test_a_run_ended_when_it_was_closed_and_not_when_it_was_forgotten(journal: Journal) -> None:
    """What happens to the ciphertext later does not make a key younger; a run that is taken back has no end yet."""
    record(journal, "a", opened("a"), *CLOSED)
    record(journal, "a", machine.Forgotten(), at=NOON + timedelta(days=7))
    assert journal.account("a").closed == NOON + timedelta(seconds=2)
    record(journal, "b", opened("b"), *CLOSED, machine.TurnedBack("asked for"))
    assert journal.account("b").closed is None
