"""What a report says of an incident is what its record says, no better; and what it does not know it calls unknown."""

from __future__ import annotations

import base64
import json
import os
import secrets
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest

import incident_record as record
from incident_record import BOOK, ID, NIGHT, RUN, RUN_EVENTS, STEPS, Rows
from keyrotor import casebook, inquest, screen
from keyrotor.boundary import plaintext
from keyrotor.boundary.cleaning import Cleaner
from keyrotor.boundary.signals import Signals
from keyrotor.core import machine
from keyrotor.core.incident_events import Began, Chosen, Did, Event, IncidentClosed, Missed, Ticked, Undone
from keyrotor.core.inquest import Fate, Inquest, Key
from keyrotor.core.model import Outcome, Value
from keyrotor.core.response import Contained, Exposure, Listener, Proof
from keyrotor.errors import UsageError
from keyrotor.journal import Journal
from keyrotor.secret import Secret
from keyrotor.world import RealWorld
from real.test_json_schema import parts, validator, want, without
from test_docs import in_code, page, section


@pytest.fixture
def world(tmp_path: Path) -> RealWorld:
    env = {"HOME": str(tmp_path), "KEYROTOR_STATE_DIR": str(tmp_path / "state"), "PATH": os.environ["PATH"]}
    return RealWorld(env, tmp_path, screen.Plain(StringIO()), Signals(print))


def told(world: RealWorld, steps: Rows = STEPS, run: Sequence[tuple[float, machine.Event]] = RUN_EVENTS) -> Inquest:
    record.write(world.state, steps, run)
    return inquest.report(world, None)


def until(step: str, *, done: bool = True) -> Rows:
    """The steps as far as the end of this one, or its beginning."""
    kind = Did if done else Began
    last = next(at for at, (_, event) in enumerate(STEPS) if isinstance(event, kind) and event.step == step)
    return STEPS[: last + 1]


def all_but(step: str) -> Rows:
    return [(at, event) for at, event in STEPS if getattr(event, "step", "") != step]


def with_facts(step: str, *facts: object) -> Rows:
    """Another outcome of that step."""
    told = {"gateways": [record.built(each) for each in facts]}
    return [(at, replace(e, facts=told) if isinstance(e, Did) and e.step == step else e) for at, e in STEPS]


def with_proof(proof: Proof) -> Rows:
    """Another proof."""
    return [(at, replace(e, facts=record.built(proof)) if isinstance(e, Did) and e.step.startswith("prove") else e)
            for at, e in STEPS]  # fmt: skip


# -- is the old key dead


def test_a_key_is_dead_once_every_listener_has_refused_it_to_the_end(world: RealWorld) -> None:
    """The window ends with the proof, and not with the rotation."""
    found = told(world)
    assert (found.fate, found.until) == (Fate.DEAD, NIGHT + timedelta(seconds=412))
    assert found.window == timedelta(hours=2, minutes=5, seconds=412)


def test_a_rotation_alone_proves_no_key_dead(world: RealWorld) -> None:
    """Its door has refused the old key once; a cache or another listener may accept it."""
    found = told(world, until(f"rotate:{BOOK}"))
    assert (found.fate, found.until, found.window) == (Fate.UNPROVEN, None, None)


def test_a_proof_that_failed_tells_why(world: RealWorld) -> None:
    """What the step has said stands beside the verdict."""
    found = told(world, STEPS[:9])
    assert (found.fate, found.keys[0].why) == (
        Fate.UNPROVEN,
        "cannot prove the old key dead: [::1]:4000: no answer",
    )


def test_a_proof_that_proves_nothing_is_none(world: RealWorld) -> None:
    """Even where its step is called done."""
    assert told(world, with_proof(replace(record.PROOF, is_dead=False))).fate is Fate.UNPROVEN


def test_a_proof_that_is_asked_again_counts_no_longer(world: RealWorld) -> None:
    """A step that was begun anew has no result yet."""
    found = told(world, [*STEPS, (500, Began(f"prove:{BOOK}"))])
    assert found.fate is Fate.UNPROVEN


@pytest.mark.parametrize(
    ("last", "why"),
    [
        (Missed("lift", "cannot prove the old key dead: 192.0.2.7:4000: accepts it"), "192.0.2.7:4000: accepts it"),
        (Began("lift"), "the step lift was cut off"),
    ],
)
def test_what_strangers_reach_again_is_asked_again(world: RealWorld, last: Event, why: str) -> None:
    """A proof from within the containment is none for what stands open after it."""
    [key] = told(world, [*until("lift", done=False), (430, last)]).keys
    assert (key.fate, key.ended) == (Fate.UNPROVEN, None)
    assert key.why.startswith("it was refused while the gateway was contained; then: ")
    assert key.why.endswith(why)


def test_a_listener_of_another_language_is_no_proof_and_no_doubt(world: RealWorld) -> None:
    """It is told, and not counted."""
    other = Listener("127.0.0.1:9100", 3, 0, "200 text/plain", is_dead=False, is_api=False)
    proof = replace(record.PROOF, listeners=(*record.LISTENERS, other))
    shown = inquest.rendered(told(world, with_proof(proof)), "md")
    assert "2 listeners of the gateway, asked again and again, refused 76 of 76 times" in shown
    assert "| `200 text/plain` | – another language |" in shown


def test_a_key_that_nothing_has_replaced_is_in_force(world: RealWorld) -> None:
    """Whatever else was done."""
    assert told(world, STEPS[:6], ()).fate is Fate.ALIVE


def test_a_run_that_was_rolled_back_after_the_proof_leaves_the_key_in_force(world: RealWorld) -> None:
    """The proof was true, and is no more."""
    back: list[tuple[float, machine.Event]] = [
        (900, machine.TurnedBack("asked for")),
        (901, machine.Settled()),
        (902, machine.Closed(Outcome.ROLLED_BACK)),
    ]
    found = told(world, STEPS, [*RUN_EVENTS, *back])
    assert found.fate is Fate.ALIVE
    assert found.until is None


BACK: Sequence[tuple[float, machine.Event]] = [
    *RUN_EVENTS,
    (900, machine.TurnedBack("asked for")),
    (901, machine.Settled()),
    (902, machine.Closed(Outcome.ROLLED_BACK)),
]
UNDONE: Rows = [
    *STEPS,
    (950, Undone(f"rotate:{BOOK}", f"run {RUN} was rolled back: the leaked key is in force again")),
]


@pytest.mark.parametrize("steps", [STEPS, UNDONE])
def test_a_rotation_that_a_person_has_rolled_back_is_told(world: RealWorld, steps: Rows) -> None:
    """Whether or not somebody has gone on with the incident since: alive, its window open, and what to type now."""
    found = told(world, steps, BACK)
    shown = inquest.rendered(found, "md")
    assert (found.fate, found.until, found.window) == (Fate.ALIVE, None, None)
    assert f"run {RUN} was rolled back: the leaked key is in force again" in shown
    assert "The leaked key is still in force" in shown
    assert "until **now: it is in force**" in shown
    assert f"keyrotor incident resume {ID}" in [task.command for task in found.todo]


def test_an_undone_rotation_is_in_the_time_line(world: RealWorld) -> None:
    """With what was ticked off before, though its step is open again; and what has no end yet has none."""
    ticked = [*STEPS, (600, Ticked(3)), *UNDONE[len(STEPS) :]]
    again = [(960, Began("contain")), *((at + 900, e) for at, e in STEPS[4:5])]
    found = told(world, [*ticked, *again], BACK)
    [undone] = [moment for moment in found.moments if moment.what.startswith("undone: ")]
    assert (undone.by, undone.is_ill, undone.at) == (f"rotate:{BOOK}", True, record.at(950))
    assert [m.what for m in found.moments if m.by == "done"] == [f"ticked off: {STEPS[18][1].tasks[0]}"]  # type: ignore[union-attr]
    assert (found.contained_at, found.lifted_at) == (record.at(970), None)


def test_a_key_that_was_brought_back_is_not_forgotten_by_a_close(world: RealWorld) -> None:
    """The incident is over, the key is not: that is what is left to do."""
    found = told(world, [*UNDONE, *record.CLOSED], BACK)
    assert found.fate is Fate.ALIVE
    assert found.todo[0].command == "keyrotor incident open --reason …"


def test_another_containment_is_in_the_time_line(world: RealWorld) -> None:
    """Somebody has chosen it, and what is done about it comes after."""
    found = told(world, [*until("contain"), (75, Chosen("stop"))])
    [chosen] = [moment for moment in found.moments if moment.what.endswith("chosen anew: stop")]
    assert (chosen.by, chosen.is_ill, found.contain) == ("contain", False, "stop")


def test_a_containment_that_failed_at_one_gateway_tells_both(world: RealWorld) -> None:
    """From when on it holds at the one, and why not at the other; also while it is tried again."""
    other = Contained("other", "other.service", "loopback", missed="its command does not tell where it listens")
    facts = {"gateways": [record.built(each) for each in (record.CONTAINED, other)]}
    steps = [*STEPS[:4], (70, Missed("contain", "other: cannot contain it", "", facts)), (71, Began("contain"))]
    for last in (5, 6):
        record.write(world.state, steps[:last], (), id=f"inc-00000{last}")
        found = inquest.report(world, f"inc-00000{last}")
        shown = inquest.rendered(found, "md")
        assert found.contained_at == record.at(70)
        assert "until now**; not from other.service**" in shown
        assert "**not contained**: its command does not tell where it listens" in shown


def test_listeners_of_a_proof_that_failed_are_told(world: RealWorld) -> None:
    """What was seen stands in the table, and proves nothing."""
    accepts = Listener("192.0.2.7:4000", 12, 0, "200", is_dead=False)
    proof = replace(record.PROOF, listeners=(*record.LISTENERS, accepts), is_dead=False)
    missed = Missed(
        f"prove:{BOOK}", "cannot prove the old key dead: 192.0.2.7:4000: accepts it", "", record.built(proof)
    )
    found = told(world, [*STEPS[:8], (140, missed)])
    assert (found.fate, len(found.keys[0].listeners)) == (Fate.UNPROVEN, 3)
    assert "| `192.0.2.7:4000` |" in inquest.rendered(found, "md")


def test_a_step_that_failed_proves_nothing(world: RealWorld) -> None:
    """Whatever its facts say."""
    missed = Missed(f"prove:{BOOK}", "one of two keys is alive", "", record.built(record.PROOF))
    found = told(world, [*STEPS[:8], (140, missed)])
    assert (found.fate, found.keys[0].why) == (Fate.UNPROVEN, "one of two keys is alive")


def test_who_was_asked_again_after_the_containment_is_told(world: RealWorld) -> None:
    """The second proof stands beside the first; of several keys, one that is refused then is not drawn into doubt."""
    proof = record.built(replace(record.PROOF, ended=record.at(418).isoformat()))
    steps = [(at, replace(e, facts={**e.facts, "proofs": [proof]}) if isinstance(e, Did) and e.step == "lift" else e)
             for at, e in STEPS]  # fmt: skip
    found = told(world, steps)
    assert (found.keys[0].asked_again, len(found.keys[0].again)) == (record.at(418), 2)
    assert "Asked once more, when the containment had ended" in inquest.rendered(found, "md")
    [dead] = told_again(world, until("lift", done=False), Missed("lift", "other: accepts it", "", {"proofs": [proof]}))
    assert dead.fate is Fate.DEAD
    alive = record.built(replace(record.PROOF, is_dead=False))
    [key] = told_again(world, until("lift", done=False), Missed("lift", "it accepts it", "", {"proofs": [alive]}))
    assert (key.fate, key.why.endswith("it accepts it")) == (Fate.UNPROVEN, True)


def told_again(world: RealWorld, steps: Rows, last: Event) -> Sequence[Key]:
    """The keys of another incident, with this as its end."""
    id = f"inc-{len(list(casebook.dockets(world.state))):06}"
    run = [(at, machine.Opened(replace(record.PLAN, run=id[-6:], incident=id)) if isinstance(e, machine.Opened) else e)
           for at, e in RUN_EVENTS]  # fmt: skip
    record.write(world.state, [*steps, (430, last)], (), id=id)
    with Journal.open(world.state) as journal:
        for seconds, event in run:
            journal.append(id[-6:], event, record.at(seconds))
    return inquest.report(world, id).keys


def test_a_key_without_a_gateway_is_called_unproven(world: RealWorld) -> None:
    """Nobody could be asked: that proves nothing, and is said."""
    moot = Proof((), NIGHT.isoformat(), NIGHT.isoformat(), is_dead=False, said="it has no gateway", is_moot=True)
    found = told(world, with_proof(moot))
    assert (found.fate, found.keys[0].why) == (Fate.UNPROVEN, "it has no gateway")


def test_the_worst_of_several_keys_is_the_verdict(world: RealWorld) -> None:
    """One that is dead says nothing of another."""
    playbooks = {BOOK: f"{record.HOME}/playbooks/{BOOK}.toml", "other": f"{record.HOME}/playbooks/other.toml"}
    record.write(world.state, playbooks=playbooks)
    found = inquest.report(world, None)
    assert [(key.playbook, key.fate) for key in found.keys] == [(BOOK, Fate.DEAD), ("other", Fate.ALIVE)]
    assert (found.fate, found.until) == (Fate.ALIVE, None)


# -- what was done


@pytest.mark.parametrize(
    ("contained", "said"),
    [
        (record.CONTAINED, "- Strangers kept away: from 2026-11-22 03:15:17 UTC until 2026-11-22 03:21:05 UTC"),
        (
            Contained(
                BOOK, "litellm.service", "loopback", ("127.0.0.1:4000",), ("127.0.0.1:4000",), said="it listens so"
            ),
            "- Strangers kept away: **not contained**: it listens so",
        ),
        (
            replace(record.CONTAINED, missed="it cannot be told how"),
            "- Strangers kept away: **not contained**: it cannot be told how",
        ),
        (
            replace(record.CONTAINED, how="none", said="it is left as it is"),
            "- Strangers kept away: **not contained**: it is left as it is",
        ),
    ],
)
def test_a_containment_that_changed_nothing_is_none(world: RealWorld, contained: Contained, said: str) -> None:
    """Who could not reach the gateway anyway was not kept away."""
    assert said in inquest.rendered(told(world, with_facts("contain", contained)), "md")


# -- what is not known


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ("freeze", "what the logs and files said before anything was changed: the step is not done yet"),
        (f"prove:{BOOK}", f"whether somebody can still use the old key of {BOOK}"),
        ("sweep", "where else on this machine the old key stands: the step is not done yet"),
        ("exposure", "what was made at the gateway with the key, and what it was used for"),
        ("reach", "which upstream keys could be used through the gateway"),
    ],
)
def test_a_step_that_is_not_done_leaves_something_unknown(world: RealWorld, step: str, words: str) -> None:
    """Nobody has looked: that is not `none`."""
    assert words in "\n".join(told(world, all_but(step)).unknown)


@pytest.mark.parametrize(
    "words",
    [
        "what was made at the gateway of litellm-master-key with the key: the gateway has no database",
        "whether the key of litellm-master-key was used by others: without a database",
        "evidence that could not be kept: spend logs of LiteLLM",
        "what was not looked into",
        "copies that have left this machine",
    ],
)
def test_what_nobody_can_know_is_told(world: RealWorld, words: str) -> None:
    """No database, no journal, what was left out, what is elsewhere."""
    assert words in "\n".join(told(world).unknown)


def test_an_exposure_that_nobody_knows_has_no_length(world: RealWorld) -> None:
    """It is bounded by what the record knows of the key, and called unknown."""
    record.write(world.state, exposed="")
    found = inquest.report(world, None)
    assert (found.exposed, found.window, found.earliest) == (None, None, record.EXPOSED)
    assert found.unknown[0].startswith("since when others could use the key")


def test_facts_of_another_version_stop_no_report(world: RealWorld) -> None:
    """What they said is unknown then."""
    strange = [
        (at, replace(e, facts={"gateways": [7]}) if isinstance(e, Did) and e.step == "freeze" else e) for at, e in STEPS
    ]
    found = told(world, strange)
    assert "what step freeze has found: its record is of another version" in found.unknown
    assert found.fate is Fate.DEAD


def test_a_record_that_was_edited_is_not_believed(world: RealWorld) -> None:
    """The report is made all the same, and says so at both places."""
    record.write(world.state)
    with closing(sqlite3.connect(world.state / "journal.sqlite3")) as database, database:
        database.execute("UPDATE events SET data = replace(data, 'public', 'private') WHERE kind = 'incident-opened'")
    found = inquest.report(world, None)
    assert not found.record.is_whole
    assert any(line.startswith("whether the record is as it was written") for line in found.unknown)
    assert "keyrotor log --verify" in [task.command for task in found.todo]


# -- what happened, and what is left


def test_the_time_line_goes_from_the_exposure_to_the_end(world: RealWorld) -> None:
    """Steps and runs in one row, by their times, with what failed."""
    found = told(world, [*STEPS, *record.CLOSED])
    assert list(found.moments) == sorted(found.moments, key=lambda moment: moment.at)
    assert (found.moments[0].at, found.moments[-1].at) == (record.EXPOSED, record.at(90_000))
    assert [moment.by for moment in found.moments if moment.is_ill] == [f"prove:{BOOK}"]
    assert {"run 9f03ab", "freeze", "sweep", "open", "close"} <= {moment.by for moment in found.moments}


def test_a_step_that_was_killed_is_in_the_time_line(world: RealWorld) -> None:
    """It began, and its end is not on record."""
    [cut] = [moment for moment in told(world, until("sweep", done=False)).moments if "not on record" in moment.what]
    assert (cut.by, cut.is_ill) == ("sweep", True)


def test_every_task_has_the_command_that_ticks_it_off(world: RealWorld) -> None:
    """Those of the incident and those of its runs; one that is ticked off is gone."""
    found = told(world, [*STEPS, (600, Ticked(1))])
    assert [task.command for task in found.todo] == [
        f"keyrotor done {RUN}-1",
        f"keyrotor done {ID}-2",
        f"keyrotor done {ID}-3",
        f"keyrotor incident close {ID} --cause …",
    ]


def test_what_is_owed_comes_first(world: RealWorld) -> None:
    """A run that was killed, then the steps that wait for it."""
    found = told(world, until(f"rotate:{BOOK}", done=False), RUN_EVENTS[:3])
    assert [task.command for task in found.todo][:2] == [f"keyrotor resume {RUN}", f"keyrotor incident resume {ID}"]


def test_a_closed_incident_tells_its_cause_and_what_is_left(world: RealWorld) -> None:
    """What was open at the close is still to do."""
    found = told(world, [*STEPS, *record.CLOSED])
    assert (found.closed, found.cause) == (
        record.at(90_000),
        "notebooks were not in .gitignore; a hook refuses keys now",
    )
    assert (found.forced, len(found.todo)) == ("letters are out", 4)


def test_five_hundred_copies_are_counted_and_a_hundred_shown(world: RealWorld) -> None:
    """The page stays one to read: the JSON has all that is on record, and both say how many more there are."""
    hits = tuple(replace(record.HITS[2], where=f"/home/ann/copies/{at}.txt") for at in range(500))
    sought = replace(record.SOUGHT, hits=hits, own=7, more=30, left_out=tuple(f"/root/{at}: no" for at in range(300)))
    steps = [(at, replace(e, facts=record.built(sought)) if isinstance(e, Did) and e.step == "sweep" else e)
             for at, e in STEPS]  # fmt: skip
    found = told(world, steps)
    shown = inquest.rendered(found, "md")
    assert (len(found.leaks), found.copies, found.search and found.search.more) == (500, 523, 23)
    assert shown.count("/home/ann/copies/") == 100
    assert "Found elsewhere: **in 523 places**" in shown
    assert "And 400 more copies, all of which are in: `keyrotor incident report --json`" in shown
    assert "And 23 more copies that the record does not list" in shown
    assert "And 200 more things, all of which are in" in shown
    data = json.loads(inquest.rendered(found, "json"))
    assert (len(data["leaks"]), len(data["left_out"]), data["search"]["more"]) == (500, 300, 23)


def test_what_a_place_holds_by_right_is_no_leak(world: RealWorld) -> None:
    """It is counted, and not listed among the copies."""
    found = told(world)
    assert [hit.whose for hit in found.leaks] == [""] * 6
    assert found.search
    assert found.search.own == 1


# -- which incident


def test_the_newest_incident_is_meant(world: RealWorld) -> None:
    """Open or closed; an older one is named."""
    record.write(world.state, [*STEPS[:1], (1, IncidentClosed("a drill"))], (), id="inc-000001")
    record.write(world.state)
    assert inquest.report(world, None).id == ID
    assert inquest.report(world, "inc-0").id == "inc-000001"
    with pytest.raises(UsageError, match="no such incident"):
        inquest.report(world, "inc-77")


def test_without_an_incident_there_is_no_report(world: RealWorld) -> None:
    """And the hint says how one is opened."""
    with pytest.raises(UsageError, match="none is on record") as refused:
        inquest.report(world, None)
    assert refused.value.hint.startswith("keyrotor incident open --reason")


# -- the command


@pytest.fixture
def command(tmp_path: Path) -> Path:
    record.write(tmp_path / "state")
    return tmp_path


def run(folder: Path, *arguments: str, umask: int = 0o022) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "HOME": str(folder), "KEYROTOR_STATE_DIR": str(folder / "state"), "TZ": "UTC"}
    argv = [sys.executable, "-m", "keyrotor", "incident", "report", *arguments]
    return subprocess.run(argv, cwd=folder, env=env, umask=umask, capture_output=True, text=True, check=False)


def test_it_prints_markdown_and_one_json_object(command: Path) -> None:
    """Markdown for people who type, JSON for programs; both say the same."""
    shown, data = run(command), run(command, ID, "--json")
    assert shown.stdout.startswith(f"<!-- keyrotor incident report -->\n# Incident {ID}\n")
    found = json.loads(data.stdout)
    assert (found["schema"], found["exit"], found["fate"]) == (1, 0, "dead")
    assert (found["until"], found["window_seconds"]) == ("2026-11-22T03:20:59+00:00", 7912.0)
    assert found["leaks"][0]["where"] in shown.stdout
    assert json.loads(run(command, "--format", "json").stdout).keys() == found.keys()


def test_its_json_is_what_the_schema_says(world: RealWorld) -> None:
    """All that can be in it, and an incident of which nothing was done yet; without any one key it would not be."""
    full = told(world, [*with_facts("exposure", replace(record.EXPOSURE, made=record.MADE)), *record.CLOSED])
    record.write(world.state, STEPS[:1], (), id="inc-ffffff", exposed="")
    for each in (full, inquest.report(world, "inc-ffffff")):
        data = json.loads(inquest.rendered(each, "json"))
        want("incident-report", data)
        assert [path for path in parts(data) if validator("incident-report").is_valid(without(data, path))] == []


def test_every_key_of_its_json_is_in_the_reference(world: RealWorld) -> None:
    """json.md names each key of the object, whole and in its parts."""
    told_of = section(page("reference/json.md"), "## `incident report`")
    data = json.loads(
        inquest.rendered(told(world, with_facts("exposure", replace(record.EXPOSURE, made=record.MADE))), "json")
    )
    keys = {key for path in parts(data) for key in path if isinstance(key, str)}
    assert [key for key in sorted(keys) if not in_code(key, told_of)] == []


@pytest.mark.parametrize(
    ("name", "begins"), [("r.html", "<!doctype"), ("r.md", "<!--"), ("r.json", "{"), ("r.HTM", "<!d")]
)
def test_a_file_is_private_and_is_what_its_name_says(command: Path, name: str, begins: str) -> None:
    """Whatever the umask; another report is replaced, and keeps its mode."""
    first = run(command, "--out", name, umask=0)
    assert (first.returncode, first.stderr) == (0, "")
    file = command / name
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text().startswith(begins)
    file.chmod(0o644)
    assert run(command, "--out", name).returncode == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_no_other_file_is_written_over(command: Path) -> None:
    """Not even one that is empty; and a name that does not tell the format is asked about."""
    (command / "thesis.html").write_text("<!doctype html><p>mine")
    refused = run(command, "--out", "thesis.html")
    assert (refused.returncode, (command / "thesis.html").read_text()) == (2, "<!doctype html><p>mine")
    assert "is no report of an incident" in refused.stderr
    unclear = run(command, "--out", "night of the leak")
    assert (unclear.returncode, list(command.glob("night*"))) == (2, [])
    assert "--format html --out 'night of the leak'" in unclear.stderr
    assert run(command, "--out", "night of the leak", "--format", "html").returncode == 0


# -- what may be shown


def cleaned(text: str, *secrets: str, others: Sequence[str] = (), known: Sequence[str] = ()) -> str:
    cleaner = Cleaner(
        [Secret(secret.encode()) for secret in secrets],
        [Secret(other.encode()) for other in others],
        lambda word: any(plaintext.is_same(word, value.encode()) for value in known),
    )
    return cleaner.over(text.encode()).decode()


@pytest.mark.parametrize(
    ("text", "secrets", "shown"),
    [
        ("pushed hunter2hunter2 today", ("hunter2hunter2",), "pushed [redacted] today"),
        ("only hunter2h of it", ("hunter2hunter2",), "only [redacted] of it"),
        ("the key is sk-1234", ("sk-1234",), "the key is [redacted]"),
        ("an sk-other-key-of-somebody", (), "an sk-[redacted]"),
        ("a pile of files", ("file", "a"), "a pile of files"),
        ("the desk-lamp-holder and task-runner-2", (), "the desk-lamp-holder and task-runner-2"),
    ],
)
def test_a_text_is_cleaned_of_values_and_stays_readable(text: str, secrets: tuple[str, ...], shown: str) -> None:
    """A value, a piece of it, and what looks like a key."""
    assert cleaned(text, *secrets) == shown


def test_other_values_go_as_a_whole_and_paths_stay() -> None:
    """A sibling that is a path is no secret; one that could be a token is."""
    text = "read /home/ann/lab/litellm.yaml with gsk_0123456789abcdef"
    assert cleaned(text, others=("/home/ann/lab/litellm.yaml", "gsk_0123456789abcdef")) == (
        "read /home/ann/lab/litellm.yaml with [redacted]"
    )


def test_a_value_that_is_forgotten_is_told_by_its_fingerprint() -> None:
    """Once the incident is closed, nothing holds the old value; the record still knows its fingerprint."""
    assert cleaned("KEY=plain-old-master was in it", known=("plain-old-master",)) == "KEY=[redacted] was in it"


def written(value: str) -> dict[str, str]:
    """The value as people paste it."""
    raw = value.encode()
    return {
        "without its prefix": value.removeprefix("sk-"),
        "hex": raw.hex(),
        "HEX": raw.hex().upper(),
        "base64": base64.b64encode(raw).decode(),
        "base64 for URLs": base64.urlsafe_b64encode(raw).decode().rstrip("="),
        "of echo": base64.b64encode(raw + b"\n").decode(),
        "user:KEY": base64.b64encode(b"me:" + raw).decode(),
        "of a header": base64.b64encode(b"X: " + raw + b"\r\n").decode(),
    }


@pytest.mark.parametrize("form", written(""))
@pytest.mark.parametrize("how", ["held", "another of the file", "forgotten"])
def test_a_value_is_hidden_in_every_form_that_people_paste(form: str, how: str) -> None:
    """Whether something still holds it, or nothing knows more of it than its fingerprint; the words beside it stay."""
    key = "sk-" + secrets.token_urlsafe(24)
    start, end = "pushed TOKEN=", " by the desk-lamp, see /home/ann/lab/notebooks/try.ipynb and task-runner-2"
    text = f"{start}{written(key)[form]}{end}"
    shown = cleaned(
        text,
        *((key,) if how == "held" else ()),
        others=(key,) if how == "another of the file" else (),
        known=(key,) if how == "forgotten" else (),
    )
    assert (shown[: len(start)], shown[-len(end) :]) == (start, end)
    left = shown[len(start) : -len(end)].split("[redacted]")
    assert len(left) == 2
    assert len("".join(left)) <= 12  # what stands before it, and what base64 has of a neighbour


def test_ordinary_words_of_a_report_stay(world: RealWorld) -> None:
    """With values of every length at hand, and fingerprints: nothing of the made-up incident is lost."""
    found = told(world)
    keys = [secrets.token_urlsafe(length) for length in (5, 9, 24, 64)]
    cleaner = Cleaner(
        [Secret(key.encode()) for key in keys], [Secret(b"litellm-master-key-of-others")], lambda _: False
    )
    for form in ("md", "json"):
        shown = inquest.rendered(found, form)
        assert cleaner.over(shown.encode()).decode() == shown


def test_every_text_of_a_report_is_cleaned(world: RealWorld) -> None:
    """A key in any field that a person or a program has filled."""
    key = f"sk-{'k' * 30}"
    steps = [(at, replace(e, said=f"{e.said} {key}") if isinstance(e, Did) else e) for at, e in STEPS]
    record.write(world.state, steps, reason=f"pushed {key}\x1b[31m", by=key)
    found = inquest.report(world, None)
    for form in inquest.FORMATS:
        assert key not in inquest.rendered(found, form), form
        assert "\x1b" not in inquest.rendered(found, form), form
    assert found.reason == "pushed sk-[redacted]�[31m"


def test_a_door_is_cleaned_as_well(world: RealWorld) -> None:
    """The one table of the facts that has names of its own."""
    key = f"sk-{'k' * 30}"
    doors = {"litellm": f"http://me:{key}@127.0.0.1:4001"}
    found = told(world, with_facts("contain", replace(record.CONTAINED, doors=doors)))
    assert found.contained[0].doors == {"litellm": "http://me:sk-[redacted]@127.0.0.1:4001"}


def test_things_that_were_made_are_told_where_the_gateway_knows_them(world: RealWorld) -> None:
    """Each with its time; nothing made is told as nothing made, and only then."""
    known = Exposure(
        BOOK, record.EXPOSED.isoformat(), NIGHT.isoformat(), is_known=True, made=record.MADE, used="3 calls"
    )
    steps = with_facts("exposure", known)
    shown = inquest.rendered(told(world, steps), "md")
    assert "| key | `night-crawler` | 2026-11-22 02:31:55 UTC |" in shown
    assert "2 things made meanwhile; use of the key: 3 calls" in shown


def test_the_run_is_told_with_its_fingerprints(world: RealWorld) -> None:
    """Keyed ones, that are worth nothing without the key."""
    [ran] = told(world).runs
    assert (ran.old, ran.new) == (record.PLAN.fingerprints[Value.OLD], record.PLAN.fingerprints[Value.NEW])
    assert [answer.asked for answer in ran.answers] == ["accepts the new key", "refuses the old key"]
