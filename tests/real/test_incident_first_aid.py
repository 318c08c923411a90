"""An incident where somebody has done something first, or where the leaked key is one that must be quoted."""

from __future__ import annotations

import json
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from on_lab import (
    Keyrotor,
    StartKeyrotor,
    add_before,
    edit,
    events,
    in_project,
    kill,
    new_value,
    sops_set,
    stray,
    until,
)
from test_incident import OPEN, is_replaced, respond

from keyrotor.demo.build import AUTHOR
from keyrotor.demo.lab import Lab
from keyrotor.demo.user_systemd import UserManager

KEY = "LITELLM_MASTER_KEY"
# keyrotor, which is killed as soon as a run is opened.
KILLED_WHEN_OPENED = """\
import os, signal
from keyrotor.cli import main
from keyrotor.journal import Journal
append = Journal.append
def appended(self, run, event, at):
    append(self, run, event, at)
    os.kill(os.getpid(), signal.SIGKILL)
Journal.append = appended
main()
"""
FirstAid = Callable[[Lab], object]


def delete(lab: Lab) -> None:
    lab.env_file.unlink()


def empty(lab: Lab) -> None:
    lab.env_file.write_text("")
    lab.env_file.chmod(0o644)


def take_the_line_out(lab: Lab) -> None:
    lab.env_file.write_text(re.sub(f"(?m)^{KEY}=.*\n", "", lab.env_file.read_text()))


def take_the_value_out(lab: Lab) -> None:
    lab.env_file.write_text(re.sub(f"(?m)^{KEY}=.*$", f"{KEY}=", lab.env_file.read_text()))


def put_another(lab: Lab) -> None:
    lab.env_file.write_text(re.sub(f"(?m)^{KEY}=.*$", f'{KEY}="{new_value()}"', lab.env_file.read_text()))


def seal(lab: Lab, value: str) -> None:
    """What a person does with `sops set`."""
    lab.run("/bin/sh", "-c", sops_set(lab, KEY, value))
    assert lab.current_key() == value


def client_above_the_unit(lab: Lab, text: str) -> Path:
    """A file that is written before the gateway is restarted."""
    file = lab.project / "before.json"
    file.write_text(text)
    add_before(lab, "systemd-unit", f'kind = "client-file"\nid = "before"\npath = "{file}"')
    return file


def is_whole(lab: Lab) -> None:
    """The env file has the present key and the salt, once each, and is nobody else's to read."""
    text = lab.env_file.read_text()
    assert text.count(f"{KEY}=") == text.count("LITELLM_SALT_KEY=") == 1
    assert lab.current_key() in text
    assert lab.env_file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("first_aid", "is_stopped"),
    [(delete, False), (delete, True), (empty, True), (take_the_value_out, True)],
)
def test_first_aid_keeps_no_leaked_key_alive(
    lab: Lab, keyrotor: Keyrotor, manager: UserManager, first_aid: FirstAid, is_stopped: bool
) -> None:
    """What the unit reads gets the new value, though nothing stood there; no rollback brings the leaked one back."""
    respond(lab)
    old = lab.current_key()
    first_aid(lab)
    if is_stopped:
        assert lab.unit
        manager.systemctl("stop", lab.unit)
    assert keyrotor(lab, "rotate", "--yes").returncode == 3
    done = keyrotor(lab, *OPEN)
    assert done.returncode == 0, done.stdout + done.stderr
    is_replaced(lab, old)
    is_whole(lab)
    assert stray(lab.root, [old]) == []

    run = next(run for run, kind, _ in events(lab) if kind == "opened")
    refused = keyrotor(lab, "rollback", run, "--confirm", run)
    assert (refused.returncode, "absent before it, or without the old key" in refused.stderr) == (2, True)
    is_replaced(lab, old)
    assert keyrotor(lab, "status", "--json").stdout.count('"owed": []') == 1


def test_no_other_key_than_the_leaked_one_is_proven_dead(lab: Lab, keyrotor: Keyrotor) -> None:
    """A new key was set in the encrypted file by hand: nobody can tell which has leaked, and nothing is overwritten.
    With the leaked one put back there it is replaced, proven dead and looked for."""
    respond(lab)
    leaked, by_hand = lab.current_key(), new_value()
    (lab.project / "notes.txt").write_text(f"do not push: {leaked}\n")
    seal(lab, by_hand)
    before = lab.env_file.read_bytes()
    refused = keyrotor(lab, *OPEN)
    assert refused.returncode == 21, refused.stdout + refused.stderr
    for place in (f"{lab.env_file} holds", f"{lab.unit} runs with"):
        assert f"cannot tell what has leaked: {place} another value than the encrypted file" in refused.stdout
    case = next(run for run, _, _ in events(lab))
    assert f"hint: keyrotor incident resume {case}" in refused.stdout
    assert not any(value in refused.stdout + refused.stderr for value in (leaked, by_hand))
    assert (lab.env_file.read_bytes(), lab.current_key(), lab.status(leaked)) == (before, by_hand, 200)

    seal(lab, leaked)
    resumed = keyrotor(lab, "incident", "resume")
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    is_replaced(lab, leaked)
    is_whole(lab)
    assert "notes.txt" in keyrotor(lab, "incident", "report").stdout
    assert stray(lab.root, [leaked], besides=[lab.project / "notes.txt"]) == []


def test_a_key_that_is_nowhere_any_more_is_not_taken_for_the_one_that_was_set_by_hand(
    lab: Lab, keyrotor: Keyrotor, manager: UserManager
) -> None:
    """The gateway is stopped, and another key is set wherever it reads one: only the record knows of the one before. It
    is told, though a run turned back first, and found by what the runbook types."""
    respond(lab)
    assert keyrotor(lab, "rotate", "--yes").returncode == 0
    lab.run("git", *AUTHOR, "commit", "--quiet", "--all", "--message", "rotated")
    run, leaked = next(run for run, kind, _ in events(lab) if kind == "opened"), lab.current_key()
    assert lab.unit
    manager.systemctl("stop", lab.unit)
    by_hand = new_value()
    seal(lab, by_hand)
    above = client_above_the_unit(lab, f'{{"key": "{by_hand}"}}')
    edit(lab.env_file, leaked, by_hand)
    assert in_project(lab, [sys.executable, "-c", KILLED_WHEN_OPENED, *OPEN]).returncode == -signal.SIGKILL
    above.write_text("{}")
    assert keyrotor(lab, "incident", "resume").returncode == 21
    assert [kind for _, kind, _ in events(lab)].count("turned-back") == 1
    above.write_text(f'{{"key": "{by_hand}"}}')
    done = keyrotor(lab, "incident", "resume")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"was given another {KEY} by hand since run {run}: if it is the one before that which leaked" in done.stdout
    assert leaked not in done.stdout + done.stderr

    (lab.project / "notes.txt").write_text(f"do not push: {leaked}\n")
    file = lab.secret_file.relative_to(lab.project)
    earlier = f"""{lab.sops} decrypt --filename-override {file} --extract '["{KEY}"]'"""
    line = f"git show HEAD:./{file} | {earlier} | {sys.executable} -m keyrotor sweep --value-from stdin ."
    looked = in_project(lab, ["/bin/sh", "-c", line])
    assert "notes.txt" in looked.stdout, looked.stderr
    assert keyrotor(lab, "incident", "open", "--reason", "again", "--yes").returncode == 0
    told = json.loads(keyrotor(lab, "incident", "status", "--json").stdout)["incidents"]
    assert ["by hand since run" in json.dumps(each["todo"]) for each in told] == [True, False]


@pytest.mark.parametrize("is_restarted", [False, True])
def test_another_key_in_the_env_file_is_nobodys_to_overwrite(
    lab: Lab, keyrotor: Keyrotor, manager: UserManager, is_restarted: bool
) -> None:
    """It may be the leaked one; where the encrypted file's is, the line is emptied and the unit stopped, as is told."""
    respond(lab)
    old = lab.current_key()
    put_another(lab)
    before = lab.env_file.read_bytes()
    assert lab.unit
    if is_restarted:
        manager.systemctl("restart", lab.unit)
    refused = keyrotor(lab, *OPEN)
    assert refused.returncode == 21, refused.stdout + refused.stderr
    assert f"if it does, empty the line {KEY}= in the env file)" in refused.stdout
    assert ("if it does, stop the unit)" in refused.stdout) == is_restarted
    assert (lab.env_file.read_bytes(), lab.current_key()) == (before, old)

    take_the_value_out(lab)
    if is_restarted:
        manager.systemctl("stop", lab.unit)
    resumed = keyrotor(lab, "incident", "resume")
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    is_replaced(lab, old)
    is_whole(lab)


def test_a_leaked_key_that_must_be_quoted_is_replaced(lab: Lab, keyrotor: Keyrotor, manager: UserManager) -> None:
    """It works, and could not be put back: clients and env file get the new one, and nothing goes back."""
    respond(lab)
    old, leaked = lab.current_key(), f"sk it's a$b {new_value()[3:]}"
    for path in (lab.env_file, lab.settings):
        quoted = f'"{leaked}"' if path == lab.env_file else leaked
        path.write_text(path.read_text().replace(old, quoted))
    lab.run("/bin/sh", "-c", sops_set(lab, KEY, leaked.replace("'", "'\\''")))
    assert lab.unit
    manager.systemctl("restart", lab.unit)
    lab.wait_until_healthy()
    assert (lab.current_key(), lab.status(leaked)) == (leaked, 200)
    refused = keyrotor(lab, "rotate", "--yes")
    assert (refused.returncode, "must be quoted to be put back" in refused.stderr) == (3, True)

    done = keyrotor(lab, *OPEN)
    assert done.returncode == 0, done.stdout + done.stderr
    is_replaced(lab, leaked)
    assert f'{KEY}="{lab.current_key()}"\n' in lab.env_file.read_text()
    assert lab.settings.read_text().count(f'"apiKey": "{lab.current_key()}"') == 2
    run = next(run for run, kind, _ in events(lab) if kind == "opened")
    refused = keyrotor(lab, "rollback", run, "--confirm", run)
    assert (refused.returncode, "the old key would have to be quoted in" in refused.stderr) == (2, True)
    is_replaced(lab, leaked)


@pytest.mark.parametrize("event", ["opened", "moving env-file"])
def test_killed_after_first_aid_it_goes_on(
    lab: Lab, keyrotor: Keyrotor, start_keyrotor: StartKeyrotor, event: str
) -> None:
    """The run knows that whatever stands in the env file is replaced; nothing turns back, whoever asks for it."""
    respond(lab, "stop")
    old = lab.current_key()
    take_the_value_out(lab)
    process = start_keyrotor(lab, *OPEN)
    until(process, lambda: event in [f"{kind} {data.get('row', '')}".strip() for _, kind, data in events(lab)])
    kill(process)
    run = next(run for run, kind, _ in events(lab) if kind == "opened")
    refused = keyrotor(lab, "rollback", run, "--confirm", run)
    assert (refused.returncode, f"keyrotor resume {run}" in refused.stderr) == (2, True), refused.stderr
    resumed = keyrotor(lab, "incident", "resume")
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    is_replaced(lab, old)
    is_whole(lab)
    assert not any(kind == "turned-back" for _, kind, _ in events(lab))


@pytest.mark.parametrize("contain", ["none", "stop"])
def test_a_gateway_that_is_down_is_never_started_with_the_leaked_key(
    lab: Lab, keyrotor: Keyrotor, manager: UserManager, start_keyrotor: StartKeyrotor, contain: str
) -> None:
    """Somebody has stopped it, or the containment has: a rotation that is cut off before the restart leaves it down."""
    respond(lab, contain)
    old = lab.current_key()
    if contain == "none":
        assert lab.unit
        manager.systemctl("stop", lab.unit)
    process = start_keyrotor(lab, *OPEN)
    until(process, lambda: any(kind == "opened" for _, kind, _ in events(lab)))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, "keyrotor incident resume" in out) == (22, True), out + err
    assert lab.status(old) != 200
    resumed = keyrotor(lab, "incident", "resume")
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    is_replaced(lab, old)


@pytest.mark.parametrize("more", [[], ["--contain", "stop"]])
def test_a_gateway_that_goes_down_meanwhile_is_not_started_with_the_leaked_key(
    lab: Lab, keyrotor: Keyrotor, manager: UserManager, more: list[str]
) -> None:
    """Killed when it had looked at everything, stopped by a person or by another containment; and then a file above the
    unit cannot be written, so that the run turns back."""
    respond(lab, "none")
    old = lab.current_key()
    above = client_above_the_unit(lab, f'{{"key": "{old}"}}')
    assert in_project(lab, [sys.executable, "-c", KILLED_WHEN_OPENED, *OPEN]).returncode == -signal.SIGKILL
    assert [kind for _, kind, _ in events(lab)][-1] == "opened"
    above.write_text("{}")
    if not more:
        assert lab.unit
        manager.systemctl("stop", lab.unit)
    turned = keyrotor(lab, "incident", "resume", *more)
    assert turned.returncode == 21, turned.stdout + turned.stderr
    assert "closed" in [kind for _, kind, _ in events(lab)], turned.stdout
    assert (lab.status(old), lab.current_key()) == (None, old)
    above.write_text(f'{{"key": "{old}"}}')
    resumed = keyrotor(lab, "incident", "resume")
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    is_replaced(lab, old)
    assert old not in above.read_text()


def test_what_cannot_be_replaced_all_the_same_is_told_with_what_to_type(lab: Lab, keyrotor: Keyrotor) -> None:
    """A file above the unit with no key, and a line of which nobody knows how it is read: never `repair`, which would
    put the leaked key back; once both are mended `incident resume` goes on."""
    respond(lab)
    old = lab.current_key()
    before = client_above_the_unit(lab, "{}")
    lab.env_file.write_text(re.sub(f"(?m)^{KEY}=.*$", f"{KEY}= # taken out", lab.env_file.read_text()))
    told = keyrotor(lab, *OPEN)
    assert told.returncode == 21, told.stdout + told.stderr
    case = next(run for run, _, _ in events(lab))
    assert f"hint: keyrotor incident resume {case}" in told.stdout
    assert "keyrotor repair" not in told.stdout + told.stderr
    assert (f"cannot write {lab.env_file}" in told.stdout, lab.status(old)) == (True, 200)

    before.write_text(f'{{"key": "{old}"}}')
    take_the_line_out(lab)
    resumed = keyrotor(lab, "incident", "resume")
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    is_replaced(lab, old)
    assert Path(before).read_text() == f'{{"key": "{lab.current_key()}"}}'
