"""What an audit says of the record, the value and who holds what: each fault gives exactly its own finding."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from keyrotor.demo.build import AUTHOR
from keyrotor.demo.lab import Lab
from keyrotor.demo.user_systemd import UserManager
from real.on_lab import (
    Keyrotor,
    MakeLab,
    StartKeyrotor,
    add_command,
    add_place,
    edit,
    found,
    keyrotor_env,
    new_value,
    remove_timer,
    sops_set,
    wait_for,
    write_timer,
)

KEY, SALT = "LITELLM_MASTER_KEY", "LITELLM_SALT_KEY"
FROZEN = """
import datetime, sys
from freezegun import freeze_time
import keyrotor.cli
ahead = datetime.timedelta(hours=float(sys.argv.pop(1)))
with freeze_time(datetime.datetime.now(datetime.UTC) + ahead, tick=True):
    keyrotor.cli.main()
"""


def at_another_time(lab: Lab, hours: float, *arguments: str) -> subprocess.CompletedProcess[str]:
    """keyrotor, with a clock that is that many hours ahead."""
    return subprocess.run(
        [sys.executable, "-c", FROZEN, str(hours), *arguments],
        check=False,
        cwd=lab.project,
        env=keyrotor_env(lab),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


def found_then(lab: Lab, hours: float) -> list[str]:
    done = at_another_time(lab, hours, "audit", "--json")
    assert done.returncode in (0, 10), done.stderr
    return [one["id"] for one in json.loads(done.stdout)["findings"]]


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
    add_command(clean_lab, "exec sleep 60")
    process = start_keyrotor(clean_lab, "rotate", "--yes")
    wait_for(clean_lab, "moving meanwhile:new", process)
    clean_lab.playbook.write_text(text)
    commit(clean_lab)
    assert found(keyrotor, clean_lab) == ["run-going"]
    child = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.kill()
    process.wait()
    for pid in child:
        subprocess.run(["kill", pid], check=False)
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
        seq, run, at, chain = database.execute("SELECT max(seq), run, at, chain FROM events").fetchone()
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
