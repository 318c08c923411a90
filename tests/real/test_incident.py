"""An incident on a real lab, from the night somebody pushed the key to its close."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from on_lab import SRC, Keyrotor, StartKeyrotor, edit, events, has_begun, kill, spellings, stray, until
from test_json_schema import printed, want

from keyrotor.casebook import Casebook
from keyrotor.core.incident_events import Chosen
from keyrotor.demo.lab import Lab
from keyrotor.demo.user_systemd import UserManager

# A short proof: what the cache of the real LiteLLM needs is shown by tests of the proof itself.
RESPONSE = """\
name = "incident-response"
[incident]
playbooks = ["litellm-master-key"]
contain = "{contain}"
proof = "1s"
[sweep]
roots = ["."]
elsewhere = false
"""
STEPS = (
    *("freeze", "contain", "rotate:litellm-master-key", "prove:litellm-master-key"),
    *("lift", "exposure", "reach", "sweep"),
)
OPEN = ("incident", "open", "--reason", "somebody pushed it", "--yes")


def respond(lab: Lab, contain: str = "loopback", more: str = "") -> None:
    """An incident playbook in the lab."""
    (lab.project / "playbooks" / "incident-response.toml").write_text(RESPONSE.format(contain=contain) + more)


def states(keyrotor: Keyrotor, lab: Lab) -> dict[str, str]:
    told = json.loads(keyrotor(lab, "incident", "status", "--json").stdout)
    return {step["id"]: step["state"] for step in told["incidents"][-1]["steps"]}


def is_replaced(lab: Lab, old: str) -> None:
    """The gateway has another key, and refuses this one."""
    new = lab.current_key()
    assert new != old
    assert (lab.status(new), lab.status(old)) == (200, 400)


def kept(lab: Lab) -> list[Path]:
    return sorted((lab.state / "runs").glob("*/before.env"))


def test_an_incident_from_its_opening_to_its_close(lab: Lab, keyrotor: Keyrotor) -> None:
    """One command replaces the key and tells what is left; what is left keeps it open; the close forgets the key."""
    respond(lab)
    old = lab.current_key()
    (lab.project / "notes.txt").write_text(f"do not push: {old}\n")

    opened = printed(keyrotor, lab, *OPEN, "--exposed-since", "2026-01-01T00:00:00Z")
    want("incident", opened)
    (told,) = opened["incidents"]
    assert {step["id"]: step["state"] for step in told["steps"]} == dict.fromkeys(STEPS, "done")
    is_replaced(lab, old)
    new = lab.current_key()
    case, tasks = told["incident"], [task["id"] for task in told["todo"]]
    assert len(tasks) >= 2, told["todo"]

    status = keyrotor(lab, "status")
    assert status.stdout.startswith(f"INCIDENT {case} is open"), status.stdout
    want("status", printed(keyrotor, lab, "status"))
    want("log-of-an-incident", printed(keyrotor, lab, "log", case, "--verify"))

    refused = keyrotor(lab, "incident", "close", "--cause", "a fork")
    assert refused.returncode == 3, refused.stderr
    assert "take the dead key out of 1 place" in refused.stderr

    report = keyrotor(lab, "incident", "report", "--out", "report.html")
    assert report.returncode == 0, report.stderr
    page = (lab.project / "report.html").read_text()
    assert "notes.txt" in page
    (lab.project / "notes.txt").unlink()
    shown = "".join([str(opened), status.stdout, refused.stderr, page, keyrotor(lab, "log", case).stdout])
    evidence = [path for path in (lab.state / "incidents").rglob("*") if path.is_file()]
    assert evidence
    for value in (old, new):
        for spelling in spellings(value):
            assert spelling not in shown.encode()
            assert not any(spelling in path.read_bytes() for path in evidence)
    assert stray(lab.root, [old]) == []

    assert keyrotor(lab, "done", *tasks).returncode == 0
    unopened = lab.state / "runs" / "abcdef"  # of a run that was killed before it was on record
    unopened.mkdir()
    (unopened / "before.env").write_bytes(kept(lab)[0].read_bytes())
    assert len(kept(lab)) == 2
    closed = printed(keyrotor, lab, "incident", "close", "--cause", "a fork")
    want("incident-closed", closed)
    assert (closed["incident"], len(closed["forgotten"])) == (case, 1)
    assert kept(lab) == []
    assert "inc-" not in keyrotor(lab, "status").stdout
    again = keyrotor(lab, "incident", "status", case)
    assert (again.returncode, "its cause: a fork" in again.stdout) == (0, True)
    assert keyrotor(lab, "log", "--verify").returncode == 0


@pytest.mark.parametrize("contain", ["stop", "none"])
def test_a_gateway_that_is_down_already_is_no_hindrance(
    lab: Lab, keyrotor: Keyrotor, manager: UserManager, contain: str
) -> None:
    """Somebody has pulled the plug first: the key is replaced all the same, and the gateway is up at the end."""
    respond(lab, contain)
    old = lab.current_key()
    assert lab.unit
    manager.systemctl("stop", lab.unit)
    done = keyrotor(lab, *OPEN)
    assert done.returncode == 0, done.stdout + done.stderr
    is_replaced(lab, old)


def test_a_client_that_cannot_be_written_keeps_no_leaked_key_alive(lab: Lab, keyrotor: Keyrotor) -> None:
    """It is left to a person, and named; a rotation on any other day would have been refused."""
    respond(lab)
    old = lab.current_key()
    lab.settings.write_text(lab.settings.read_text() + "}")
    assert keyrotor(lab, "rotate", "--yes").returncode == 3
    done = keyrotor(lab, *OPEN)
    assert done.returncode == 0, done.stdout + done.stderr
    is_replaced(lab, old)
    assert "put the new key there by hand" in done.stdout
    assert ".factory/settings.json" in done.stdout


@pytest.mark.parametrize("step", STEPS)
def test_killed_in_any_step_it_goes_on_where_it_was(
    lab: Lab, keyrotor: Keyrotor, start_keyrotor: StartKeyrotor, step: str
) -> None:
    """The step in doubt is done again, the others are not; and one run is enough."""
    respond(lab)
    old = lab.current_key()
    process = start_keyrotor(lab, *OPEN)
    until(process, lambda: has_begun(lab, step))
    kill(process)

    resumed = keyrotor(lab, "incident", "resume")
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    is_replaced(lab, old)
    assert set(states(keyrotor, lab).values()) == {"done"}
    done = [data["step"] for _, kind, data in events(lab) if kind == "step-done"]
    assert sorted(done) == sorted(STEPS)
    assert keyrotor(lab, "incident", "resume").returncode == 0
    assert keyrotor(lab, "status", "--json").stdout.count('"owed": []') == 1


def test_a_signal_ends_it_and_nothing_goes_back(lab: Lab, keyrotor: Keyrotor, start_keyrotor: StartKeyrotor) -> None:
    """Ctrl-C in the middle of the rotation: 22, the leaked key does not come back, resume goes on."""
    respond(lab)
    old = lab.current_key()
    process = start_keyrotor(lab, *OPEN)
    until(process, lambda: any(kind == "moved" and "systemd" in data["row"] for _, kind, data in events(lab)))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    if process.returncode == 0:
        pytest.skip("it was done before the signal came")
    assert process.returncode == 22, out + err
    assert "keyrotor incident resume" in out
    assert not any(kind == "turned-back" for _, kind, _ in events(lab))
    assert keyrotor(lab, "incident", "resume").returncode == 0
    is_replaced(lab, old)


def test_a_record_that_cannot_be_written_ends_it_and_it_can_be_gone_on_with(lab: Lab, keyrotor: Keyrotor) -> None:
    """People hear of it all the same, with the command to type."""
    respond(lab)
    old, identity = lab.current_key(), lab.identity.read_bytes()
    lab.identity.unlink()
    assert keyrotor(lab, *OPEN).returncode == 21
    lab.identity.write_bytes(identity)
    lab.identity.chmod(0o600)
    with closing(sqlite3.connect(lab.state / "journal.sqlite3")) as database:
        database.execute(
            "CREATE TRIGGER full BEFORE INSERT ON events WHEN NEW.kind = 'step-began' AND NEW.data LIKE '%prove%' "
            "BEGIN SELECT RAISE(ABORT, 'disk I/O error'); END"
        )
        database.commit()
    halted = keyrotor(lab, "incident", "resume")
    assert halted.returncode == 22, halted.stdout + halted.stderr
    assert "cannot write the record" in halted.stdout
    assert "to go on: keyrotor incident resume" in halted.stdout
    with closing(sqlite3.connect(lab.state / "journal.sqlite3")) as database:
        database.execute("DROP TRIGGER full")
        database.commit()
    assert keyrotor(lab, "incident", "resume").returncode == 0
    is_replaced(lab, old)


def test_two_who_close_it_at_once_leave_a_record_that_can_be_read(
    lab: Lab, keyrotor: Keyrotor, start_keyrotor: StartKeyrotor
) -> None:
    """It is closed once; who comes later is told so, or that another is at it."""
    respond(lab, "none")
    for _ in range(3):
        assert keyrotor(lab, *OPEN).returncode == 0
        case = events(lab)[-1][0]
        close = ("incident", "close", case, "--cause", "a", "--force", "b")
        assert {process.wait(timeout=60) for process in [start_keyrotor(lab, *close) for _ in range(2)]} <= {0, 30}
        assert keyrotor(lab, "incident", "status").returncode == 0
        assert [kind for run, kind, _ in events(lab) if run == case].count("incident-closed") == 1


def test_nothing_brings_the_leaked_key_back_by_the_way(lab: Lab, keyrotor: Keyrotor) -> None:
    """Neither a rollback with --yes, nor a forget that would leave the sweep blind; one who means it types the id."""
    respond(lab)
    old = lab.current_key()
    told = printed(keyrotor, lab, *OPEN)
    run = next(run for run, kind, _ in events(lab) if kind == "opened")
    refused = keyrotor(lab, "rollback", run, "--yes")
    assert (refused.returncode, f"--confirm {run}" in refused.stderr) == (2, True), refused.stderr
    assert keyrotor(lab, "rollback", run, "--confirm", "abcdef").returncode == 1
    is_replaced(lab, old)

    kept_by = told["incidents"][0]["incident"]
    refused = keyrotor(lab, "forget", run)
    assert (refused.returncode, kept_by in refused.stderr) == (2, True)
    assert "nothing to forget" in keyrotor(lab, "forget", "--yes").stdout
    assert len(kept(lab)) == 1

    done = keyrotor(lab, "rollback", run, "--confirm", run)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (lab.current_key(), lab.status(old)) == (old, 200)

    assert "THE LEAKED KEY OF litellm-master-key IS IN FORCE AGAIN" in keyrotor(lab, "status").stdout
    status = keyrotor(lab, "incident", "status")
    assert (status.returncode, "is in force again" in status.stdout) == (21, True), status.stdout
    refused = keyrotor(lab, "incident", "close", "--cause", "a fork")
    assert (refused.returncode, "the leaked key of litellm-master-key is in force" in refused.stderr) == (3, True)
    resumed = keyrotor(lab, "incident", "resume")
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    is_replaced(lab, old)
    assert [kind for _, kind, _ in events(lab)].count("step-undone") == 1


def test_what_is_refused_leaves_no_trace(lab: Lab, keyrotor: Keyrotor) -> None:
    """No consent without a terminal, a key in the reason, a moment in the future."""
    respond(lab)
    bare = OPEN[:-1]
    assert keyrotor(lab, *bare).returncode == 2
    pasted = keyrotor(lab, "incident", "open", "--yes", "--reason", f"pushed {lab.current_key()}")
    assert (pasted.returncode, "there is a key in it" in pasted.stderr) == (2, True)
    assert lab.current_key() not in pasted.stderr
    for spelling in spellings(lab.current_key())[:3]:
        typed = keyrotor(lab, "incident", "open", "--yes", "--reason", f"pushed {spelling.decode()}")
        assert (typed.returncode, "there is a key in it" in typed.stderr) == (2, True), typed.stderr
    assert keyrotor(lab, *OPEN, "--detected-at", "2999-01-01").returncode == 2
    assert keyrotor(lab, *OPEN, "--detected-at", "yesterday").returncode == 2
    assert keyrotor(lab, *OPEN, "--detected-at", "2026-01-01", "--exposed-since", "2026-01-02").returncode == 2
    assert keyrotor(lab, "incident", "close", "--cause", "none").returncode == 2
    assert keyrotor(lab, "incident", "open", "--yes", "--reason", " ").returncode == 2
    assert events(lab) == []
    assert keyrotor(lab, "incident", "status").stdout == "no incident is on record\n"
    assert keyrotor(lab, "incident", "resume").stdout == "no incident is open\n"


def test_a_step_that_fails_is_told_and_the_others_are_done(lab: Lab, keyrotor: Keyrotor) -> None:
    """The identity is gone: nothing can be rotated, what can be known is known; it goes on once it is back."""
    respond(lab, "stop")
    old = lab.current_key()
    identity = lab.identity.read_bytes()
    lab.identity.unlink()
    done = keyrotor(lab, *OPEN)
    assert done.returncode == 21, done.stdout + done.stderr
    assert "the gateway stays contained until then" in done.stdout
    assert states(keyrotor, lab)["contain"] == "done"
    assert states(keyrotor, lab)["rotate:litellm-master-key"] == "failed"
    assert states(keyrotor, lab)["lift"] == "open"
    assert lab.status(old) is None, "the gateway answers"
    lab.identity.write_bytes(identity)
    lab.identity.chmod(0o600)
    resumed = keyrotor(lab, "incident", "resume")
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    is_replaced(lab, old)


def test_a_run_that_was_owed_when_it_was_opened_hides_no_leaked_key(
    lab: Lab, keyrotor: Keyrotor, start_keyrotor: StartKeyrotor
) -> None:
    """The key that leaked is the one before that run, too: it is proven dead, looked for and forgotten."""
    respond(lab)
    old = lab.current_key()
    (lab.project / "notes.txt").write_text(f"do not push: {old}\n")
    process = start_keyrotor(lab, "rotate", "--yes")
    until(process, lambda: any(kind == "moved" for _, kind, _ in events(lab)))
    kill(process)
    first = keyrotor(lab, *OPEN)
    assert (first.returncode, "keyrotor resume" in first.stdout) == (21, True), first.stdout + first.stderr
    assert keyrotor(lab, "resume").returncode == 0
    resumed = printed(keyrotor, lab, "incident", "resume")
    assert lab.status(old) == 400
    told = {step["id"]: step["said"] for step in resumed["incidents"][0]["steps"]}
    assert "1 place" in told["sweep"], told
    closed = printed(keyrotor, lab, "incident", "close", "--cause", "a fork", "--force", "a test")
    assert (len(closed["forgotten"]), kept(lab)) == (2, [])


def test_an_ordinary_rotation_meanwhile_is_no_hindrance(
    lab: Lab, keyrotor: Keyrotor, start_keyrotor: StartKeyrotor
) -> None:
    """Killed in the proof; somebody rotates, and renames the playbook; the proof is about what is in force now."""
    respond(lab)
    old = lab.current_key()
    process = start_keyrotor(lab, *OPEN)
    until(process, lambda: has_begun(lab, STEPS[3]))
    kill(process)
    assert keyrotor(lab, "rotate", "--yes").returncode == 0
    edit(lab.playbook, 'name  = "litellm-master-key"', 'name  = "another-name"')
    runs = len([kind for _, kind, _ in events(lab) if kind == "opened"])
    resumed = keyrotor(lab, "incident", "resume")
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert len([kind for _, kind, _ in events(lab) if kind == "opened"]) == runs
    is_replaced(lab, old)


def test_a_close_by_force_leaves_nobody_shut_out(lab: Lab, keyrotor: Keyrotor) -> None:
    """Nothing could be rotated, and the gateway was stopped: it is up again, and what is in force is said."""
    respond(lab, "stop")
    old, identity = lab.current_key(), lab.identity.read_bytes()
    lab.identity.unlink()
    assert keyrotor(lab, *OPEN).returncode == 21
    assert lab.status(old) is None
    closed = keyrotor(lab, "incident", "close", "--cause", "a drill", "--force", "a drill")
    assert closed.returncode == 0, closed.stderr
    assert "the leaked key of litellm-master-key is in force" in closed.stdout
    lab.identity.write_bytes(identity)
    lab.wait_until_healthy()
    assert lab.status(old) == 200


def test_a_close_lifts_also_what_was_to_be_contained_in_another_way(lab: Lab, keyrotor: Keyrotor) -> None:
    """Killed right after it was told so: the containment that was made before is still there."""
    respond(lab, "stop")
    old, identity = lab.current_key(), lab.identity.read_bytes()
    lab.identity.unlink()
    assert keyrotor(lab, *OPEN).returncode == 21
    case = events(lab)[-1][0]
    with Casebook.open(lab.state) as book:
        book.append(case, Chosen("none"), datetime.now(UTC))
    assert "whether it is contained is not known" in keyrotor(lab, "incident", "status").stdout
    assert lab.status(old) is None
    assert keyrotor(lab, "incident", "close", "--cause", "a drill", "--force", "a drill").returncode == 0
    lab.identity.write_bytes(identity)
    lab.wait_until_healthy()
    assert lab.status(old) == 200


def test_the_containment_can_be_chosen_anew(lab: Lab, keyrotor: Keyrotor) -> None:
    """What the hint of a containment that failed says is a command that there is."""
    respond(lab, "none")
    identity = lab.identity.read_bytes()
    lab.identity.unlink()
    assert keyrotor(lab, *OPEN).returncode == 21
    again = keyrotor(lab, "incident", "resume", "--contain", "stop")
    assert (again.returncode, lab.status(None)) == (21, None), again.stdout
    lab.identity.write_bytes(identity)
    lab.identity.chmod(0o600)
    assert keyrotor(lab, "incident", "resume").returncode == 0
    assert [data for _, kind, data in events(lab) if kind == "told-anew"] == [{"contain": "stop", "exposed": ""}]


def test_it_can_be_closed_by_force_and_says_so(lab: Lab, keyrotor: Keyrotor) -> None:
    """Somebody may know better; the record keeps why."""
    respond(lab)
    assert keyrotor(lab, *OPEN).returncode == 0
    closed = keyrotor(lab, "incident", "close", "--cause", "a fork", "--force", "the rest is done elsewhere")
    assert closed.returncode == 0, closed.stderr
    assert "closed all the same: the rest is done elsewhere" in keyrotor(lab, "incident", "status").stdout
    assert kept(lab) == []


def test_from_a_timers_environment_people_are_told(lab: Lab, keyrotor: Keyrotor, tmp_path: Path) -> None:
    """No terminal, only what a service has: it does all, and tells whom the incident playbook names."""
    heard = tmp_path / "heard.json"
    respond(lab, more=f'[[notify]]\nkind = "command"\nrun = ["tee", "{heard}"]\n')
    few = {name: text for name, text in lab.environment().items() if name in ("PATH", "HOME", "XDG_RUNTIME_DIR")}
    few |= {name: text for name, text in lab.environment().items() if name.startswith(("SOPS_", "KEYROTOR_", "XDG_"))}
    done = subprocess.run(
        [sys.executable, "-m", "keyrotor", *OPEN],
        env={**few, "PYTHONPATH": str(SRC)},
        cwd=lab.project,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        start_new_session=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    notice = json.loads(heard.read_text())
    assert (notice["event"], notice["exit"]) == ("incident", 0)
    assert "somebody pushed it" not in heard.read_text()


def test_who_is_named_twice_is_told_what_one_of_the_two_asks_for(lab: Lab, keyrotor: Keyrotor, tmp_path: Path) -> None:
    """The incident playbook tells them of success only, the rotation's of incidents; nobody hears it twice."""
    heard = tmp_path / "heard"
    to = f'[[notify]]\nkind = "command"\nrun = ["tee", "-a", "{heard}"]\non = '
    respond(lab, more=f'{to}["success"]\n')
    lab.playbook.write_text(f'{lab.playbook.read_text()}\n{to}["incident"]\n{to}["incident"]\n')
    assert keyrotor(lab, *OPEN).returncode == 0
    assert heard.read_text().count('"event"') == 1


def test_a_notice_that_reaches_nobody_keeps_no_incident_open(lab: Lab, keyrotor: Keyrotor) -> None:
    """The command that tells people fails: each deed says so, and is done."""
    respond(lab, more='[[notify]]\nkind = "command"\nrun = ["false"]\n')
    for deed in (OPEN, ("incident", "close", "--cause", "a fork", "--force", "a test")):
        done = keyrotor(lab, *deed)
        assert (done.returncode, "note: cannot tell false: it ended" in done.stdout + done.stderr) == (0, True), done
    assert kept(lab) == []


def test_a_leak_of_a_key_that_two_playbooks_rotate_is_counted_once(lab: Lab, keyrotor: Keyrotor) -> None:
    """Each replaces it, and what each has replaced is dead; it was found where it stands, and no more often."""
    respond(lab)
    old, one = lab.current_key(), "litellm-master-key"
    (lab.project / "notes.txt").write_text(f"do not push: {old}\n")
    lab.playbook.with_name("twin.toml").write_text(lab.playbook.read_text().replace(f'"{one}"', '"twin"'))
    edit(lab.project / "playbooks" / "incident-response.toml", f'["{one}"]', f'["{one}", "twin"]')
    (told,) = printed(keyrotor, lab, *OPEN)["incidents"]
    said = {step["id"]: step["said"] for step in told["steps"]}
    assert said["sweep"] == "the old key was found in 1 place"
    assert {"rotate:twin", "prove:twin"} <= said.keys()
    is_replaced(lab, old)


def test_an_edited_client_is_found_before_it_matters(lab: Lab, keyrotor: Keyrotor) -> None:
    """A client with another key than the leaked one is none of the incident's: it is left, and named."""
    respond(lab)
    edit(lab.settings, lab.current_key(), "sk-somebody-elses-key")
    done = keyrotor(lab, *OPEN)
    assert done.returncode == 0, done.stdout + done.stderr
    assert lab.settings.read_text().count("sk-somebody-elses-key") == 2
