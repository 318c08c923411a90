"""What an audit says of the record, the value and who holds what: each fault gives exactly its own finding."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
from pathlib import Path

import pytest

from keyrotor.demo.build import AUTHOR
from keyrotor.demo.lab import Lab
from keyrotor.demo.user_systemd import UserManager
from real.on_lab import (
    LONG,
    Keyrotor,
    MakeLab,
    StartKeyrotor,
    add_command,
    add_place,
    at_another_time,
    edit,
    found,
    found_then,
    new_value,
    remove_timer,
    sleepers,
    sops_set,
    until,
    wait_for,
    write_timer,
)

KEY, SALT = "LITELLM_MASTER_KEY", "LITELLM_SALT_KEY"
NAME = "litellm-master-key"


def the_only(keyrotor: Keyrotor, lab: Lab) -> dict[str, str]:
    """The one finding that there is."""
    (only,) = json.loads(keyrotor(lab, "audit", "--json").stdout)["findings"]
    return dict(only)


def commit(lab: Lab) -> None:
    lab.run("git", *AUTHOR, "commit", "--quiet", "--all", "--message", "by hand")


def set_secret(lab: Lab, key: str, value: str) -> None:
    """Somebody sets a value in the encrypted file with the real sops, and commits it."""
    lab.run("/bin/sh", "-c", sops_set(lab, key, value))
    commit(lab)


def set_everywhere(lab: Lab, manager: UserManager, value: str) -> None:
    """Somebody rotates the key by hand, and leaves nothing out."""
    old = lab.current_key()
    set_secret(lab, KEY, value)
    edit(lab.env_file, old, value)
    edit(lab.settings, old, value)
    manager.systemctl("restart", str(lab.unit))
    lab.wait_until_healthy()


def rotated(keyrotor: Keyrotor, lab: Lab) -> tuple[str, str]:
    """One more rotation, committed: the former value and the present one."""
    former = lab.current_key()
    assert keyrotor(lab, "rotate", "--yes").returncode == 0
    commit(lab)
    return former, lab.current_key()


def newest_run(keyrotor: Keyrotor, lab: Lab) -> str:
    return str(json.loads(keyrotor(lab, "log", "--json").stdout)["runs"][-1]["run"])


# -- runs on record --------------------------------------------------------------------------------------------------


def test_a_run_that_is_stuck(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """A command that fails both ways: the run needs a person, and both commands are told."""
    text = clean_lab.playbook.read_text()
    add_command(clean_lab, "exit 1")
    assert keyrotor(clean_lab, "rotate", "--yes").returncode == 21
    clean_lab.playbook.write_text(text)
    only = the_only(keyrotor, clean_lab)
    run = newest_run(keyrotor, clean_lab)
    assert only["id"] == "run-owed"
    assert only["text"] == f"run {run} is not finished (stuck, on the way to the old key)"
    assert f"keyrotor resume {run}" in only["mend"]
    assert f"keyrotor rollback {run}" in only["mend"]


def test_a_run_that_was_killed(clean_lab: Lab, keyrotor: Keyrotor, start_keyrotor: StartKeyrotor) -> None:
    """Interrupted in the middle: what places hold meanwhile is not told as drift, for no repair may run."""
    text = clean_lab.playbook.read_text()
    add_command(clean_lab, "exec sleep 600", more=LONG)
    process = start_keyrotor(clean_lab, "rotate", "--yes")
    wait_for(clean_lab, "moving meanwhile:new", process)
    clean_lab.playbook.write_text(text)
    commit(clean_lab)
    assert found(keyrotor, clean_lab) == ["run-going"]
    children = sleepers(process)
    process.kill()
    process.wait()
    end(children)
    only = the_only(keyrotor, clean_lab)
    assert only["id"] == "run-owed"
    assert "(interrupted, on the way to the new key)" in only["text"]


def test_an_old_key_that_was_not_proven_dead(
    make_lab: MakeLab, manager: UserManager, keyrotor: Keyrotor, tmp_path: Path
) -> None:
    """The last rotation ended with both keys accepted; that is told until another one proves it dead."""
    also = tmp_path / "also"
    lab = make_lab(gateway_options=("--also", str(also)), unit_lines="TimeoutStopSec=1\n", within="13.5s")
    timer = write_timer(manager)
    manager.systemctl("start", timer)
    try:
        also.write_text(lab.current_key())
        assert keyrotor(lab, "rotate", "--yes").returncode == 23
        also.unlink()
        commit(lab)
        assert found(keyrotor, lab) == ["old-key-alive"]
        rotated(keyrotor, lab)
        assert found(keyrotor, lab) == []
    finally:
        remove_timer(manager, timer)


def test_a_record_that_was_changed(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """One word in one entry: the chain does not hold, and the entry is named."""
    with contextlib.closing(sqlite3.connect(clean_lab.state / "journal.sqlite3")) as database, database:
        database.execute("""UPDATE events SET data = replace(data, '"moved"', '"moved"') || ' ' WHERE seq = 3""")
    only = the_only(keyrotor, clean_lab)
    assert only["id"] == "record-broken"
    assert "entry 3 " in only["text"]


def test_a_record_that_is_none(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """A file that SQLite cannot read."""
    (clean_lab.state / "journal.sqlite3").write_text("not a database, though it is long enough to be one" * 40)
    assert found(keyrotor, clean_lab) == ["record-unreadable"]


def test_a_record_of_another_version(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """An event that nobody knows, in a chain that is whole, is not guessed at."""
    import hashlib

    with contextlib.closing(sqlite3.connect(clean_lab.state / "journal.sqlite3")) as database, database:
        run = database.execute("SELECT run FROM events WHERE seq = 1").fetchone()[0]
        seq, at, chain = database.execute("SELECT max(seq), at, chain FROM events").fetchone()
        row = (seq + 1, run, at, "beamed", "{}")
        hashed = hashlib.sha256("\0".join((chain, *map(str, row))).encode()).hexdigest()
        database.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", (*row, hashed))
    assert found(keyrotor, clean_lab) == ["record-unreadable"]


@pytest.mark.parametrize(("name", "mode"), [("", 0o755), ("journal.sqlite3", 0o644), ("runs", 0o711)])
def test_a_state_folder_that_others_can_look_into(clean_lab: Lab, keyrotor: Keyrotor, name: str, mode: int) -> None:
    """The folder, or anything in it; the mend is for all of it."""
    (clean_lab.state / name).chmod(mode)
    only = the_only(keyrotor, clean_lab)
    assert (only["id"], only["place"]) == ("state-readable", str(clean_lab.state / name))
    assert clean_lab.run("/bin/sh", "-c", only["mend"]) == ""
    assert found(keyrotor, clean_lab) == []


# -- the key's age and the clock -------------------------------------------------------------------------------------


def test_a_key_that_is_overdue(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """Older than the playbook's `every`; the age is told in words."""
    edit(clean_lab.playbook, 'every = "month"', 'every = "12h"')
    assert found_then(clean_lab, 11.5) == []
    assert found_then(clean_lab, 12.5) == ["key-overdue"]
    told = json.loads(at_another_time(clean_lab, 12.5, "audit", "--json").stdout)
    assert "is 12 hours old; the playbook says every 12h" in told["findings"][0]["text"]


def test_a_key_without_a_run_on_record_is_as_old_as_its_file_at_least(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """sops notes when it last wrote the file: the key may be older, it cannot be younger than nobody knows."""
    shutil.rmtree(clean_lab.state)
    assert found(keyrotor, clean_lab) == []
    edit(clean_lab.playbook, 'every = "month"', 'every = "12h"')
    assert found_then(clean_lab, 12.5) == ["key-overdue"]
    told = json.loads(at_another_time(clean_lab, 12.5, "audit", "--json").stdout)
    assert "is at least 12 hours old" in told["findings"][0]["text"]
    assert told["playbooks"][0]["age_seconds"] is None


@pytest.mark.parametrize("hours", [0.2, 2, 72, 24 * 400])
def test_a_clock_that_was_set_back(clean_lab: Lab, hours: float) -> None:
    """The record is ahead of the clock: that is told, and no age that is reckoned from it."""
    assert found_then(clean_lab, -hours) == ["clock-set-back"]


def test_a_clock_that_is_a_little_slow_is_no_finding(clean_lab: Lab) -> None:
    """Less than five minutes: two clocks may differ by as much."""
    assert found_then(clean_lab, -0.05) == []


def test_a_clock_that_jumped_between_two_entries(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """An entry that is older than the one it follows; the next rotation is reckoned anew."""
    assert at_another_time(clean_lab, -1, "forget", newest_run(keyrotor, clean_lab), "--yes").returncode == 0
    only = the_only(keyrotor, clean_lab)
    assert only["id"] == "clock-jumped"
    assert "59 minutes before the entry it follows" in only["text"]
    rotated(keyrotor, clean_lab)
    assert found(keyrotor, clean_lab) == []


# -- the values on record --------------------------------------------------------------------------------------------


def test_a_key_that_was_changed_by_hand(clean_lab: Lab, keyrotor: Keyrotor, manager: UserManager) -> None:
    """Everywhere, and well: nothing is broken, but nobody has proven the former one dead."""
    set_everywhere(clean_lab, manager, new_value())
    assert found(keyrotor, clean_lab) == ["key-changed-by-hand"]


def test_a_former_key_that_came_back(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """A stale checkout of the encrypted file: the file is wrong, not all the places that differ from it."""
    rotated(keyrotor, clean_lab)
    clean_lab.run("git", "checkout", "--quiet", "HEAD~1", "--", "secrets")
    commit(clean_lab)
    only = the_only(keyrotor, clean_lab)
    assert only["id"] == "key-revived"
    assert newest_run(keyrotor, clean_lab) in only["text"]


def test_a_lost_fingerprint_key(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """Without it former values cannot be recognised."""
    (clean_lab.state / "fingerprint.key").unlink()
    assert found(keyrotor, clean_lab) == ["fingerprints-lost"]


def test_a_broken_fingerprint_key(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """It is told, and everything else is looked at all the same."""
    (clean_lab.state / "fingerprint.key").write_text("rubbish\n")
    clean_lab.env_file.chmod(0o644)
    assert sorted(found(keyrotor, clean_lab)) == ["cannot-look", "fingerprints-lost", "readable"]


# -- the value itself ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", ["sk-1234567", "sk-" + "ab" * 10, "sk-changeme-0123456789", "sk-your-master-key-here"]
)
def test_a_key_that_can_be_guessed(clean_lab: Lab, keyrotor: Keyrotor, manager: UserManager, value: str) -> None:
    """Short, of few characters, or like an example; the finding does not say which characters."""
    set_everywhere(clean_lab, manager, value)
    shutil.rmtree(clean_lab.state)
    assert found(keyrotor, clean_lab) == ["key-weak"]
    assert value not in keyrotor(clean_lab, "audit").stdout


def test_a_key_that_some_format_must_quote(clean_lab: Lab, keyrotor: Keyrotor, manager: UserManager) -> None:
    """A dot is enough; the finding does not show it."""
    set_everywhere(clean_lab, manager, f"{new_value()}.x")
    shutil.rmtree(clean_lab.state)
    assert found(keyrotor, clean_lab) == ["key-alphabet"]


def test_no_salt_key(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """There is no database yet, so nothing is lost yet."""
    clean_lab.run(clean_lab.sops, "unset", str(clean_lab.secret_file), f'["{SALT}"]')
    commit(clean_lab)
    assert found(keyrotor, clean_lab) == ["salt-absent"]


@pytest.mark.parametrize("value", ["", "  "])
def test_an_empty_salt_key(clean_lab: Lab, keyrotor: Keyrotor, value: str) -> None:
    """LiteLLM encrypts with it all the same."""
    set_secret(clean_lab, SALT, value)
    assert found(keyrotor, clean_lab) == ["salt-empty"]


def test_a_salt_key_that_is_the_master_key(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """As the documented migration leaves it, until the next rotation."""
    set_secret(clean_lab, SALT, clean_lab.current_key())
    assert found(keyrotor, clean_lab) == ["salt-same"]


# -- who holds what --------------------------------------------------------------------------------------------------


def test_a_file_that_cannot_be_decrypted(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """Without the identity nothing can be compared, and that alone is told."""
    clean_lab.identity.rename(clean_lab.identity.with_suffix(".away"))
    only = the_only(keyrotor, clean_lab)
    assert only["id"] == "not-decrypted"
    assert only["mend"]


@pytest.mark.parametrize("where", ["env_file", "settings"])
def test_a_place_that_holds_a_former_key(clean_lab: Lab, keyrotor: Keyrotor, where: str) -> None:
    """Told by its fingerprint, which the record knows."""
    former, present = rotated(keyrotor, clean_lab)
    edit(getattr(clean_lab, where), present, former)
    only = the_only(keyrotor, clean_lab)
    assert only["id"] == "drift-former"
    told = json.loads(keyrotor(clean_lab, "log", "--json").stdout)["runs"][-1]
    assert told["fingerprints"]["old"] in only["text"]


def test_a_client_that_holds_a_former_key_besides(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """One of its two entries was forgotten; that the other is well hides nothing."""
    former, present = rotated(keyrotor, clean_lab)
    clean_lab.settings.write_text(clean_lab.settings.read_text().replace(present, former, 1))
    assert found(keyrotor, clean_lab) == ["drift-former"]


def test_a_gateway_that_runs_with_a_former_key(clean_lab: Lab, keyrotor: Keyrotor, manager: UserManager) -> None:
    """It was restarted while its env file was stale: the unit holds it, and the door answers to it."""
    former, present = rotated(keyrotor, clean_lab)
    edit(clean_lab.env_file, present, former)
    manager.systemctl("restart", str(clean_lab.unit))
    edit(clean_lab.env_file, former, present)
    while clean_lab.status(former) != 200:
        pass
    assert found(keyrotor, clean_lab) == ["drift-former", "gateway-refuses"]


def test_an_env_file_that_holds_something_else(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """Neither the present value nor a former one."""
    edit(clean_lab.env_file, clean_lab.current_key(), new_value())
    assert found(keyrotor, clean_lab) == ["drift-other"]


def test_a_client_that_must_hold_the_key_and_does_not(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """A repair could not know where to put it, so a person is told to."""
    edit(clean_lab.playbook, "optional = true", "optional = false")
    edit(clean_lab.settings, clean_lab.current_key(), new_value())
    only = the_only(keyrotor, clean_lab)
    assert only["id"] == "drift-other"
    assert str(clean_lab.settings) in only["mend"]


def test_a_file_that_is_absent(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """The env file; a repair makes it again."""
    clean_lab.env_file.unlink()
    only = the_only(keyrotor, clean_lab)
    assert (only["id"], only["mend"]) == ("drift-absent", "keyrotor repair litellm-master-key")


def test_a_client_file_that_cannot_be_read(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """It is optional, but it is there; the mend names the line."""
    clean_lab.settings.write_text('{\n  "customModels": [\n')
    only = the_only(keyrotor, clean_lab)
    assert only["id"] == "value-unknown"
    assert "line" in only["mend"]


@pytest.mark.parametrize("more", ["", 'holds = ["/bin/sh", "-c", "exit 7"]'])
def test_a_command_that_cannot_say_what_it_holds(clean_lab: Lab, keyrotor: Keyrotor, more: str) -> None:
    """None is given, or it ends with neither yes nor no."""
    add_command(clean_lab, "cat > /dev/null", more=more)
    only = the_only(keyrotor, clean_lab)
    assert only["id"] == "value-unknown"
    assert "`holds`" in only["mend"]


def test_a_command_that_says_no(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """Its `holds` ends with 1 for the present value."""
    add_command(clean_lab, "cat > /dev/null", more='holds = ["/bin/false"]')
    assert found(keyrotor, clean_lab) == ["drift-other"]


def test_what_needs_no_value_is_no_finding(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """A reference, an optional client that is absent, and one that has another key."""
    edit(clean_lab.settings, clean_lab.current_key(), f"${{{KEY}}}")
    (clean_lab.home / "other.json").write_text(json.dumps({"apiKey": new_value()}))
    (clean_lab.home / "other.json").chmod(0o600)
    for name in ("absent", "other"):
        add_place(clean_lab, f'kind = "client-file"\npath = "~/{name}.json"\noptional = true')
    told = json.loads(keyrotor(clean_lab, "audit", "--json").stdout)
    assert told["findings"] == []
    assert [place["holds"] for place in told["playbooks"][0]["places"]] == [
        *("present", "present", "present", None, "refers", "other", "other")
    ]


# -- a run that goes on, and one that only seems to ------------------------------------------------------------------


def killed(clean_lab: Lab, start_keyrotor: StartKeyrotor) -> list[str]:
    """A rotation that was killed while a command of its playbook ran, which lives on; the command's processes."""
    text = clean_lab.playbook.read_text()
    add_command(clean_lab, "exec sleep 600", more=LONG)
    process = start_keyrotor(clean_lab, "rotate", "--yes")
    wait_for(clean_lab, "moving meanwhile:new", process)
    clean_lab.playbook.write_text(text)
    commit(clean_lab)
    children = sleepers(process)
    process.kill()
    process.wait()
    return children


def end(pids: list[str]) -> None:
    for pid in pids:
        subprocess.run(["kill", pid], check=False)


def test_a_killed_run_whose_child_lives_on(clean_lab: Lab, keyrotor: Keyrotor, start_keyrotor: StartKeyrotor) -> None:
    """The child holds the lock and is no run: what is owed is told, and who must end first."""
    children = killed(clean_lab, start_keyrotor)
    try:
        only = the_only(keyrotor, clean_lab)
    finally:
        end(children)
    assert only["id"] == "run-owed"
    assert "its lock held by sleep (process " in only["text"]
    assert f"once process {children[0]} has ended" in only["mend"]


def test_a_dead_run_beside_another_program_that_locks_the_folder(
    clean_lab: Lab, keyrotor: Keyrotor, start_keyrotor: StartKeyrotor
) -> None:
    """Whoever takes the lock after its death is not the run."""
    end(killed(clean_lab, start_keyrotor))
    locker = subprocess.Popen(["flock", str(clean_lab.secret_file.parent), "sleep", "600"], start_new_session=True)
    try:
        sleepers(locker)
        assert found(keyrotor, clean_lab) == ["run-owed"]
    finally:
        os.killpg(locker.pid, signal.SIGKILL)
        locker.wait()


def test_a_dead_run_beside_the_rotation_of_another_file_in_its_folder(
    clean_lab: Lab, keyrotor: Keyrotor, start_keyrotor: StartKeyrotor
) -> None:
    """Both lock the same folder; the dead run stays dead."""
    other = clean_lab.secret_file.with_name("other.enc.env")
    shutil.copy(clean_lab.secret_file, other)
    end(killed(clean_lab, start_keyrotor))
    text = clean_lab.playbook.read_text()
    playbook = clean_lab.playbook.with_name("other.toml")
    head = text[: text.index("[[place]]", text.index("[[place]]") + 1)]
    playbook.write_text(
        head.replace("global.enc", "other.enc").replace(NAME, "other").replace(KEY, "GRAFANA_TOKEN")
        + f'\n[[place]]\nkind = "command"\nid = "wait"\nput = ["/bin/sh", "-c", "exec sleep 600"]\n{LONG}\n'
    )
    process = start_keyrotor(clean_lab, "rotate", "other", "--yes")
    wait_for(clean_lab, "moving wait:new", process)
    children = sleepers(process)
    try:
        told = found(keyrotor, clean_lab, NAME)
        beside = found(keyrotor, clean_lab, "other")
    finally:
        process.kill()
        process.wait()
        end(children)
    assert "run-owed" in told
    assert "run-going" not in told
    assert "run-going" in beside
    assert "run-owed" not in beside


HOLDS = """
cat > "$0.asked"
if [ -e "$0.go" ]; then
    rm "$0.go"
    touch "$0.gone"
    flock -w 300 {folder} true
fi
cmp -s "$0.asked" "$0.held"
"""
PUT = """
if [ -e "$0.pause" ]; then touch "$0.paused"; while [ ! -e "$0.gone" ]; do sleep 0.01; done; fi
cat > "$0.held"
"""


def test_a_rotation_that_ends_while_it_is_looked_at(
    clean_lab: Lab, keyrotor: Keyrotor, start_keyrotor: StartKeyrotor, tmp_path: Path
) -> None:
    """The record is read while the run goes on, places are asked when it has ended: the audit looks once more.

    The command's `holds`, asked by the audit, lets the rotation end and waits for it.
    """
    at = tmp_path / "command"
    Path(f"{at}.held").write_text(clean_lab.current_key())
    holds = HOLDS.format(folder=clean_lab.secret_file.parent)
    place = {"put": ["/bin/sh", "-c", PUT, str(at)], "holds": ["/bin/sh", "-c", holds, str(at)]}
    lines = "\n".join(f"{name} = {json.dumps(argv)}" for name, argv in place.items())
    add_place(clean_lab, f'kind = "command"\nid = "meanwhile"\n{LONG}\n{lines}')
    assert found(keyrotor, clean_lab) == []
    Path(f"{at}.pause").touch()
    process = start_keyrotor(clean_lab, "rotate", "--yes")
    until(process, Path(f"{at}.paused").exists)  # before that the run itself asks what the place holds
    Path(f"{at}.go").touch()
    told = found(keyrotor, clean_lab)
    process.wait()
    assert process.returncode == 0
    assert told == ["file-uncommitted"]


# -- what was wrong with a finding or its mend -----------------------------------------------------------------------


def test_one_playbook_hides_nothing_of_another(
    clean_lab: Lab, keyrotor: Keyrotor, start_keyrotor: StartKeyrotor
) -> None:
    """One drifts while the other is rotated: both are told, and the exit code is that of the worst."""
    folder = clean_lab.project / "more"
    folder.mkdir()
    shutil.copy(clean_lab.secret_file, folder / "more.enc.env")
    client = clean_lab.home / "token.json"
    client.write_text(json.dumps({"token": new_value()}))
    client.chmod(0o600)
    text = clean_lab.playbook.read_text()
    head = text[: text.index("[[place]]", text.index("[[place]]") + 1)]
    (clean_lab.playbook.with_name("more.toml")).write_text(
        head.replace("secrets/global", "more/more").replace(NAME, "more").replace(KEY, "GRAFANA_TOKEN")
        + f'\n[[place]]\nkind = "client-file"\npath = "{client}"\n'
    )
    add_command(clean_lab, "exec sleep 600", more=LONG)
    process = start_keyrotor(clean_lab, "rotate", NAME, "--yes")
    wait_for(clean_lab, "moving meanwhile:new", process)
    children = sleepers(process)
    try:
        done = keyrotor(clean_lab, "audit", "--json", "--fail-on", "high")
    finally:
        process.kill()
        process.wait()
        end(children)
    told = [one["id"] for one in json.loads(done.stdout)["findings"]]
    assert "run-going" in told
    assert "drift-other" in told
    assert done.returncode == 10


@pytest.mark.parametrize("value", ["sk-12", "sk-a-key#with 'signs'-0123456789"])
def test_a_value_that_no_rotation_takes_is_changed_by_hand_first(
    clean_lab: Lab, keyrotor: Keyrotor, manager: UserManager, value: str
) -> None:
    """A rotation refuses it, so the mend says what comes before the rotation."""
    set_secret(clean_lab, KEY, value)
    for finding in json.loads(keyrotor(clean_lab, "audit", "--json").stdout)["findings"]:
        if finding["id"] in ("key-weak", "key-alphabet"):
            assert f"sops edit {clean_lab.secret_file}" in finding["mend"]
            break
    else:
        raise AssertionError("not found")
    assert keyrotor(clean_lab, "rotate", "--yes").returncode == 3


def test_a_former_key_that_came_back_before_the_present_one_was_committed(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """git has never seen the present version: the mend takes it from what the run keeps, and works as it is typed."""
    assert keyrotor(clean_lab, "rotate", "--yes").returncode == 0
    present = clean_lab.current_key()
    clean_lab.run("git", "checkout", "--quiet", "HEAD", "--", "secrets")
    only = the_only(keyrotor, clean_lab)
    assert only["id"] == "key-revived"
    command = only["mend"].partition("  (")[0]
    assert command.startswith("cp ")
    clean_lab.run("/bin/sh", "-c", command)
    assert clean_lab.current_key() == present
    kept = clean_lab.state / "runs" / newest_run(keyrotor, clean_lab) / "after.env"
    clean_lab.run("git", "checkout", "--quiet", "HEAD", "--", "secrets")
    kept.unlink()
    folder = clean_lab.secret_file.parent
    assert the_only(keyrotor, clean_lab)["mend"].startswith(
        f"git -C {folder} log -p -- {clean_lab.secret_file.name}  ("
    )


def test_a_place_with_the_value_that_was_replaced_by_hand(
    clean_lab: Lab, keyrotor: Keyrotor, manager: UserManager
) -> None:
    """What the last run put counts as former once the file has another value."""
    former = clean_lab.current_key()
    set_everywhere(clean_lab, manager, new_value())
    edit(clean_lab.settings, clean_lab.current_key(), former)
    assert found(keyrotor, clean_lab) == ["drift-former", "key-changed-by-hand"]


def test_an_optional_env_file_with_another_value(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """`optional` excuses one that is absent, not one that names the key."""
    other = clean_lab.home / "other.env"
    place = f'kind = "env-file"\npath = "{other}"\nkeys = ["{KEY}"]\noptional = true'
    edit(clean_lab.playbook, '[[place]]\nkind = "env-file"', f'[[place]]\n{place}\n\n[[place]]\nkind = "env-file"')
    assert found(keyrotor, clean_lab) == []
    other.write_text(f"{KEY}={new_value()}\n")
    other.chmod(0o600)
    only = the_only(keyrotor, clean_lab)
    assert (only["id"], only["place"]) == ("drift-other", str(other))


def test_a_command_that_says_yes_to_anything(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """It says that it holds a key that nobody has as well: nothing can be told of it."""
    add_command(clean_lab, "cat > /dev/null", more='holds = ["/bin/true"]')
    told = json.loads(keyrotor(clean_lab, "audit", "--json").stdout)
    assert [one["id"] for one in told["findings"]] == ["value-unknown"]
    assert "`holds`" in told["findings"][0]["mend"]
    assert {one["id"]: one["holds"] for one in told["playbooks"][0]["places"]}["meanwhile"] == "unknown"


def test_a_state_folder_behind_a_link(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """What the link leads to is what others can look into; the mend is for that."""
    real = clean_lab.state.with_name("elsewhere")
    clean_lab.state.rename(real)
    clean_lab.state.symlink_to(real)
    assert found(keyrotor, clean_lab) == []
    real.chmod(0o755)
    only = the_only(keyrotor, clean_lab)
    assert only["id"] == "state-readable"
    assert clean_lab.run("/bin/sh", "-c", only["mend"]) == ""
    assert found(keyrotor, clean_lab) == []


def test_a_file_that_was_changed_in_the_future_has_no_age(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """Nothing is on record, and what sops noted is ahead of the clock: it cannot be called overdue."""
    shutil.rmtree(clean_lab.state)
    edit(clean_lab.playbook, 'every = "month"', 'every = "12h"')
    assert found_then(clean_lab, -24 * 40) == []
