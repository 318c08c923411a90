"""What keeps an incident from being opened, and what does not: a second leak, another lab, the wrong folder."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from subprocess import CompletedProcess

from on_lab import Keyrotor, MakeLab, StartKeyrotor, edit, events, has_begun, kill, until
from test_incident import OPEN, is_replaced, kept, respond

from keyrotor.demo.lab import Lab

AGAIN = ("incident", "open", "--reason", "the new one is in a screenshot", "--yes")
PROVE = "prove:litellm-master-key"


def case_of(done: CompletedProcess[str]) -> str:
    """The incident that this command was about."""
    found = re.search(r"inc-[0-9a-f]{6}", done.stdout + done.stderr)
    assert found, done.stdout + done.stderr
    return found[0]


def until_begun(lab: Lab, keyrotor: StartKeyrotor, step: str) -> None:
    """An incident that is killed in this step."""
    process = keyrotor(lab, *OPEN)
    until(process, lambda: has_begun(lab, step))
    kill(process)


def runs_of(lab: Lab) -> dict[str, str]:
    """The run that each incident has opened."""
    return {data["plan"]["incident"]: run for run, kind, data in events(lab) if kind == "opened"}


def test_a_second_leak_is_a_second_incident(lab: Lab, keyrotor: Keyrotor) -> None:
    """The first waits for people only: the key that it has made is replaced as well; each keeps its tasks and its value
    to its own close."""
    respond(lab)
    opened = keyrotor(lab, *OPEN)
    assert opened.returncode == 0, opened.stdout + opened.stderr
    leaked = lab.current_key()
    (lab.project / "notes.txt").write_text(f"do not push: {leaked}\n")
    again = keyrotor(lab, *AGAIN)
    assert again.returncode == 0, again.stdout + again.stderr
    is_replaced(lab, leaked)
    assert "the old key was found in 1 place" in again.stdout
    first, second = case_of(opened), case_of(again)
    assert first != second

    status = json.loads(keyrotor(lab, "incident", "status", "--json").stdout)
    assert [each["incident"] for each in status["incidents"]] == [first, second]
    assert all(each["todo"] for each in status["incidents"])
    assert second in keyrotor(lab, "incident", "report").stdout
    for command in (("resume",), ("close", "--cause", "a fork")):
        which = keyrotor(lab, "incident", *command)
        assert which.returncode == 2, which.stdout
        assert f"{first} (somebody pushed it), {second} (the new one is in a screenshot) are open" in which.stderr

    runs = runs_of(lab)
    closing = ("incident", "close", "--cause", "a fork", "--force", "a test", "--json")
    closed = json.loads(keyrotor(lab, *closing, first).stdout)
    assert (closed["incident"], closed["forgotten"]) == (first, [runs[first]])
    assert [path.parent.name for path in kept(lab)] == [runs[second]]
    closed = json.loads(keyrotor(lab, *closing).stdout)
    assert (closed["incident"], closed["forgotten"], kept(lab)) == (second, [runs[second]], [])


def test_what_two_incidents_look_for_is_kept_for_both(lab: Lab, keyrotor: Keyrotor) -> None:
    """The second says that it began before the first: that one's close leaves it the value."""
    respond(lab)
    first = case_of(keyrotor(lab, *OPEN))
    second = case_of(keyrotor(lab, *AGAIN, "--exposed-since", "2026-01-01T00:00:00Z"))
    runs = runs_of(lab)
    closing = ("incident", "close", "--cause", "a fork", "--force", "a test", "--json")
    closed = json.loads(keyrotor(lab, *closing, first).stdout)
    assert closed["forgotten"] == []
    assert f"the former value of run {runs[first]} is kept: {second} looks for it" in closed["notes"]
    refused = keyrotor(lab, "forget", runs[first], "--yes")
    assert (refused.returncode, f"still looked for in incident {second}" in refused.stderr) == (2, True)
    assert keyrotor(lab, "forget", "--yes").stdout == "nothing to forget\n"
    assert keyrotor(lab, "rotate", "--yes").returncode == 0
    assert {runs[first], runs[second]} <= {path.parent.name for path in kept(lab)}
    assert set(runs.values()) <= set(json.loads(keyrotor(lab, *closing).stdout)["forgotten"])
    assert (second in runs, kept(lab)) == (True, [])


def test_one_with_steps_to_do_is_gone_on_with(lab: Lab, keyrotor: Keyrotor) -> None:
    """Nothing was rotated yet: `resume` replaces the key. What is open is told, with its reason and its playbook."""
    respond(lab, "none")
    identity = lab.identity.read_bytes()
    lab.identity.unlink()
    first = keyrotor(lab, *OPEN)
    assert first.returncode == 21, first.stdout + first.stderr
    refused = keyrotor(lab, *AGAIN)
    assert refused.returncode == 2, refused.stdout
    assert f"{case_of(first)} is open (somebody pushed it), 6 steps to go; it is of {lab.playbook}" in refused.stderr
    assert f"hint: keyrotor incident resume {case_of(first)}  (goes on)\n" in refused.stderr
    assert keyrotor(lab, *AGAIN, "--another").returncode == 2  # there is no new key that could have leaked as well
    lab.identity.write_bytes(identity)


def test_a_second_leak_while_the_first_has_steps_to_do_can_be_said(
    lab: Lab, keyrotor: Keyrotor, start_keyrotor: StartKeyrotor
) -> None:
    """Killed in the proof, the new key leaks: the second proves both dead before it lets anybody in; `resume` knows
    which one is meant."""
    respond(lab)
    old = lab.current_key()
    until_begun(lab, start_keyrotor, PROVE)
    leaked = lab.current_key()
    refused = keyrotor(lab, *AGAIN)
    first = case_of(refused)
    assert (refused.returncode, "or   keyrotor incident open --another --reason …" in refused.stderr) == (2, True)
    again = keyrotor(lab, *AGAIN, "--another")
    assert again.returncode == 0, again.stdout + again.stderr
    is_replaced(lab, leaked)
    assert lab.status(old) == 400
    proof = [data for run, kind, data in events(lab) if (kind, data.get("step")) == ("step-done", PROVE)][-1]
    assert f"(the key before run {runs_of(lab)[first]})" in str(proof["facts"])
    resumed = keyrotor(lab, "incident", "resume")
    assert (resumed.returncode, case_of(resumed)) == (0, first), resumed.stdout + resumed.stderr


def test_another_lab_of_the_same_user_has_an_incident_of_its_own(make_lab: MakeLab, keyrotor: Keyrotor) -> None:
    """Every lab calls its playbook alike, and all of one user's share the record."""
    lab, other = make_lab(), make_lab()
    respond(lab)
    respond(other)
    lab.identity.unlink()
    first = keyrotor(lab, *OPEN)
    assert first.returncode == 21, first.stdout + first.stderr
    old = other.current_key()
    done = keyrotor(other, *OPEN, env={"KEYROTOR_STATE_DIR": str(lab.state)})
    assert done.returncode == 0, done.stdout + done.stderr
    assert case_of(done) != case_of(first)
    assert f"{other.playbook}: its key gets a new value" in done.stdout
    is_replaced(other, old)


def test_in_the_wrong_folder_none_is_opened(lab: Lab, keyrotor: Keyrotor, tmp_path: Path) -> None:
    """Its playbook is of an encrypted file that is not there, as in a clone of keyrotor: refused, and nothing is on
    record that would stand in the right one's way."""
    clone = tmp_path / "clone"
    shutil.copytree(lab.project / "playbooks", clone / "playbooks")
    response = clone / "playbooks" / "incident-response.toml"
    response.write_text("[incident]\n")
    refused = keyrotor(lab, *OPEN, str(response))
    assert refused.returncode == 3, refused.stdout + refused.stderr
    assert f"{clone / 'playbooks' / lab.playbook.name} is of {clone}/" in refused.stderr
    assert "which is not there" in refused.stderr
    assert "hint: cd " in refused.stderr
    assert events(lab) == []


def test_one_lost_file_of_several_keeps_nothing_from_being_done(lab: Lab, keyrotor: Keyrotor) -> None:
    """A playbook that was left over fails in its own step; the leaked key is replaced."""
    respond(lab)
    edit(lab.project / "playbooks" / "incident-response.toml", '["litellm-master-key"]', "[]")
    left_over = lab.project / "playbooks" / "left-over.toml"
    shutil.copy(lab.playbook, left_over)
    edit(left_over, '"litellm-master-key"', '"left-over"')
    edit(left_over, "global.enc.env", "gone.enc.env")
    old = lab.current_key()
    done = keyrotor(lab, *OPEN)
    assert done.returncode == 21, done.stdout + done.stderr
    assert "✓ rotate:litellm-master-key" in done.stdout
    is_replaced(lab, old)


def test_those_whom_the_incident_playbook_names_hear_of_a_playbook_that_is_gone(
    lab: Lab, keyrotor: Keyrotor, tmp_path: Path
) -> None:
    """It names one that is not found any more; whom it names itself can be read all the same."""
    heard = tmp_path / "heard.json"
    respond(lab, more=f'[[notify]]\nkind = "command"\nrun = ["tee", "{heard}"]\n')
    lab.identity.unlink()
    assert keyrotor(lab, *OPEN).returncode == 21
    heard.unlink()
    lab.playbook.rename(lab.playbook.with_suffix(".away"))
    resumed = keyrotor(lab, "incident", "resume")
    assert resumed.returncode == 21, resumed.stdout + resumed.stderr
    assert json.loads(heard.read_text())["exit"] == 21
    assert "is told as far as it can be read" in resumed.stdout


def test_a_rotation_by_hand_during_the_proof_is_no_hindrance(
    lab: Lab, keyrotor: Keyrotor, start_keyrotor: StartKeyrotor
) -> None:
    """Somebody rotates while the proof is asked for: it goes on with the value that is present then."""
    respond(lab)
    edit(lab.project / "playbooks" / "incident-response.toml", '"1s"', '"4s"')
    old = lab.current_key()
    process = start_keyrotor(lab, *OPEN)
    until(process, lambda: has_begun(lab, PROVE))
    by_hand = keyrotor(lab, "rotate", "--yes")
    assert by_hand.returncode == 0, by_hand.stdout + by_hand.stderr
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, out + err
    is_replaced(lab, old)
