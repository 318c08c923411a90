"""`repair` on a real lab: the present key in every place that does not hold it, proven, and nothing else touched."""

from __future__ import annotations

import http.server
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest
from on_lab import (
    Keyrotor,
    MakeLab,
    StartKeyrotor,
    add_command,
    add_place,
    differing,
    doors,
    edit,
    events,
    is_all,
    keyrotor_argv,
    keyrotor_env,
    missing,
    new_value,
    sops_set,
    spellings,
    trace,
    tree,
    wait_for,
)

from keyrotor.demo.lab import Lab
from keyrotor.demo.user_systemd import UserManager

Keys = tuple[str, str]  # the former and the present one


@pytest.fixture
def rotated(lab: Lab, keyrotor: Keyrotor) -> tuple[Lab, Keys]:
    """A lab that was rotated once."""
    former = lab.current_key()
    assert keyrotor(lab, "rotate", "--yes").returncode == 0
    return lab, (former, lab.current_key())


def run_with(lab: Lab, manager: UserManager, stale: str) -> None:
    """The env file holds this value, and the gateway was restarted with it."""
    swap(lab.env_file, lab.current_key(), stale)
    manager.systemctl("restart", str(lab.unit))
    for _ in range(200):
        if lab.status(stale) == 200:
            return
        time.sleep(0.05)
    raise AssertionError("the gateway did not come up with it")


def swap(path: Path, one: str, other: str) -> None:
    edit(path, one, other)


def run_count(lab: Lab) -> int:
    return len({run for run, _, _ in events(lab)})


def test_nothing_to_repair_touches_nothing(rotated: tuple[Lab, Keys], keyrotor: Keyrotor) -> None:
    """Every place holds it: exit 0, no run, no file, no restart."""
    lab, _ = rotated
    before, pid = tree(lab), lab.runner.main_pid()
    done = keyrotor(lab, "repair", "--yes")
    assert (done.returncode, done.stderr) == (0, "")
    assert "nothing to repair" in done.stdout
    assert differing(before, tree(lab)) == []
    assert lab.runner.main_pid() == pid


def test_files_that_fell_back_get_the_present_key_without_a_restart(
    rotated: tuple[Lab, Keys], keyrotor: Keyrotor
) -> None:
    """The env file and the client's, by a stale backup; the gateway runs on, for it holds the present one."""
    lab, (former, present) = rotated
    for path in (lab.env_file, lab.settings):
        swap(path, present, former)
    pid, before = lab.runner.main_pid(), lab.secret_file.read_bytes()
    done = keyrotor(lab, "repair", "--yes")
    assert done.returncode == 0, done.stderr
    is_all(lab, present, former)
    assert lab.runner.main_pid() == pid
    assert lab.secret_file.read_bytes() == before


def test_a_gateway_that_runs_with_another_key_is_restarted(
    rotated: tuple[Lab, Keys], keyrotor: Keyrotor, manager: UserManager
) -> None:
    """A third value, by hand: replaced where it bears the key's name, and proven dead."""
    lab, (_, present) = rotated
    third = new_value()
    run_with(lab, manager, third)
    done = keyrotor(lab, "repair", "--yes", "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["outcome"]) == (0, "repaired"), done.stderr
    is_all(lab, present, third)
    assert told["fingerprints"]["old"] != told["fingerprints"]["new"]


def test_a_client_that_follows_the_other_key_follows_back(
    rotated: tuple[Lab, Keys], keyrotor: Keyrotor, manager: UserManager
) -> None:
    """Gateway and client were moved by hand together; both come back."""
    lab, (_, present) = rotated
    third = new_value()
    swap(lab.settings, present, third)
    run_with(lab, manager, third)
    assert keyrotor(lab, "repair", "--yes").returncode == 0
    is_all(lab, present, third)


def test_a_client_with_both_keys_loses_the_former_only(rotated: tuple[Lab, Keys], keyrotor: Keyrotor) -> None:
    """One of its two entries was missed."""
    lab, (former, present) = rotated
    text = lab.settings.read_text()
    lab.settings.write_text(text.replace(present, former, 1))
    assert keyrotor(lab, "repair", "--yes").returncode == 0
    assert lab.settings.read_text() == text


@pytest.mark.parametrize("word", ["", "none"])
def test_a_value_that_is_no_key_is_replaced_by_name_only(
    rotated: tuple[Lab, Keys], keyrotor: Keyrotor, word: str
) -> None:
    """`LITELLM_MASTER_KEY=none` in the env file does not make every `none` of a client the key."""
    lab, (_, present) = rotated
    swap(lab.env_file, f"LITELLM_MASTER_KEY={present}", f"LITELLM_MASTER_KEY={word}")
    swap(lab.settings, '"theme": "dark"', '"theme": "none"')
    text = lab.settings.read_text()
    done = keyrotor(lab, "repair", "--yes")
    assert done.returncode == 0, done.stderr
    assert f"LITELLM_MASTER_KEY={present}\n" in lab.env_file.read_text()
    assert lab.settings.read_text() == text


def test_an_env_file_that_is_absent_is_made_again(rotated: tuple[Lab, Keys], keyrotor: Keyrotor) -> None:
    """Whole, private, with its keys."""
    lab, _ = rotated
    text = lab.env_file.read_text()
    lab.env_file.unlink()
    assert keyrotor(lab, "repair", "--yes").returncode == 0
    assert lab.env_file.read_text() == text
    assert lab.env_file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_an_env_file_without_the_line_gets_it(rotated: tuple[Lab, Keys], keyrotor: Keyrotor, newline: str) -> None:
    """One line more, in the file's own line ends; the rest as it was."""
    lab, (_, present) = rotated
    others = f"# by hand{newline}OTHER=1"
    lab.env_file.write_bytes(others.encode())
    done = keyrotor(lab, "repair", "--yes")
    assert done.returncode == 0, done.stderr
    assert lab.env_file.read_bytes().decode() == f"{others}{newline}LITELLM_MASTER_KEY={present}{newline}"


def test_a_gateway_that_is_down_is_started(rotated: tuple[Lab, Keys], keyrotor: Keyrotor, manager: UserManager) -> None:
    """Nothing has to be proven with a former key first."""
    lab, (former, present) = rotated
    manager.systemctl("stop", str(lab.unit))
    done = keyrotor(lab, "repair", "--yes")
    assert done.returncode == 0, done.stderr
    is_all(lab, present, former)


def test_whoever_took_the_port_of_a_gateway_that_is_down_is_shown_no_key(
    rotated: tuple[Lab, Keys], keyrotor: Keyrotor, manager: UserManager
) -> None:
    """Refused, naming the process."""
    lab, _ = rotated
    manager.systemctl("stop", str(lab.unit))
    asked: list[str | None] = []

    class Thief(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.headers.get("Authorization"))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", lab.port), Thief) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        done = keyrotor(lab, "repair", "--yes")
        server.shutdown()
    assert done.returncode == 3
    assert f"port {lab.port} is answered by" in done.stderr
    assert asked == []


def test_a_client_of_an_unknown_key_is_left_to_a_person(rotated: tuple[Lab, Keys], keyrotor: Keyrotor) -> None:
    """Which of its words is the key cannot be told: refused, where the client is not optional."""
    lab, (_, present) = rotated
    swap(lab.settings, present, new_value())
    edit(lab.playbook, "optional = true", "")
    done = keyrotor(lab, "repair", "--yes")
    assert done.returncode == 3
    assert "put the present one there once" in done.stderr
    assert "now: nothing was changed" in done.stderr


def test_a_client_that_was_left_behind_by_hand_is_brought_along(
    rotated: tuple[Lab, Keys], keyrotor: Keyrotor, manager: UserManager
) -> None:
    """Somebody moved everything but the client by hand: what was present on record is former now."""
    lab, (_, recorded) = rotated
    third = new_value()
    lab.run("/bin/sh", "-c", sops_set(lab, "LITELLM_MASTER_KEY", third))
    swap(lab.env_file, recorded, third)
    manager.systemctl("restart", str(lab.unit))
    done = keyrotor(lab, "repair", "--yes")
    assert done.returncode == 0, done.stderr
    is_all(lab, third, recorded)


def test_a_client_that_is_left_out_is_named(rotated: tuple[Lab, Keys], keyrotor: Keyrotor) -> None:
    """An optional one with a key of its own: neither sentence says that every place holds the present one."""
    lab, (former, present) = rotated
    swap(lab.settings, present, new_value())
    for _ in range(2):
        done = keyrotor(lab, "repair", "--yes")
        assert done.returncode == 0, done.stderr
        assert "every place but those named below" in done.stdout
        assert "note: ~/.factory/settings.json is left as it is: has no LITELLM_MASTER_KEY" in done.stdout
        swap(lab.env_file, lab.current_key(), former)


def test_an_optional_env_file_that_is_absent_stays_absent(rotated: tuple[Lab, Keys], keyrotor: Keyrotor) -> None:
    """A repair makes no copy of the secrets that nobody asked for."""
    lab, _ = rotated
    absent = lab.home / "other" / "absent.env"
    text = lab.playbook.read_text()
    place = f'[[place]]\nkind = "env-file"\npath = "{absent}"\noptional = true\n\n'
    lab.playbook.write_text(
        text.replace('[[place]]\nkind   = "systemd-unit"', place + '[[place]]\nkind   = "systemd-unit"')
    )
    assert "nothing to repair" in keyrotor(lab, "repair", "--yes").stdout
    assert not absent.parent.exists()


@pytest.mark.parametrize("name", ["GRAFANA_TOKEN", "LITELLM_SALT_KEY"])
def test_another_secret_under_the_keys_name_is_replaced_there_only(
    rotated: tuple[Lab, Keys], keyrotor: Keyrotor, name: str
) -> None:
    """Pasted into the env file by mistake; where it belongs, in the client's file, it stays."""
    lab, (_, present) = rotated
    other = lab.current_key(name)
    swap(lab.env_file, f"LITELLM_MASTER_KEY={present}", f"LITELLM_MASTER_KEY={other}")
    edit(lab.settings, '"theme": "dark"', f'"theme": "{other}"')
    text = lab.settings.read_text()
    done = keyrotor(lab, "repair", "--yes")
    assert done.returncode == 0, done.stderr
    assert f"LITELLM_MASTER_KEY={present}\n" in lab.env_file.read_text()
    assert lab.settings.read_text() == text


def test_a_template_in_the_env_file_makes_no_literal_of_a_reference(
    rotated: tuple[Lab, Keys], keyrotor: Keyrotor
) -> None:
    """What was not expanded there stands in the client on purpose."""
    lab, (_, present) = rotated
    swap(lab.settings, present, "${LITELLM_MASTER_KEY}")
    swap(lab.env_file, f"LITELLM_MASTER_KEY={present}", "LITELLM_MASTER_KEY=${LITELLM_MASTER_KEY}")
    text = lab.settings.read_text()
    done = keyrotor(lab, "repair", "--yes")
    assert done.returncode == 0, done.stderr
    assert lab.settings.read_text() == text
    assert f"LITELLM_MASTER_KEY={present}\n" in lab.env_file.read_text()


def test_the_encrypted_file_is_never_written(
    make_lab: MakeLab, keyrotor: Keyrotor, start_keyrotor: StartKeyrotor, manager: UserManager
) -> None:
    """Somebody sets a new value there while a repair is owed: resume does not take it away, and says what to do."""
    lab = make_lab(within="60s")
    assert keyrotor(lab, "rotate", "--yes").returncode == 0
    third, fourth = new_value(), new_value()
    run_with(lab, manager, third)
    lab.sick_file.write_text("0" * 64)
    process = start_keyrotor(lab, "repair", "--yes")
    wait_for(lab, "moving litellm:accepts:new", process)
    process.kill()
    process.communicate()
    for value in (fourth, third):  # also one that the repair knows
        lab.run("/bin/sh", "-c", sops_set(lab, "LITELLM_MASTER_KEY", value))
        data = lab.secret_file.read_bytes()
        done = keyrotor(lab, "resume")
        assert done.returncode == 21, (done.stdout, done.stderr)
        assert "abandon the run, then repair again" in done.stdout
        assert lab.secret_file.read_bytes() == data
    lab.secret_file.rename(lab.secret_file.with_suffix(".gone"))
    assert keyrotor(lab, "resume").returncode == 21
    assert not lab.secret_file.exists()


def test_the_encrypted_file_that_changes_before_consent_is_looked_at_again(
    rotated: tuple[Lab, Keys], keyrotor: Keyrotor, start_keyrotor: StartKeyrotor
) -> None:
    """While the question stands, on a terminal."""
    lab, (former, present) = rotated
    swap(lab.settings, present, former)
    ours, theirs = os.openpty()
    process = start_keyrotor(lab, "repair", stdin=theirs, stdout=theirs, stderr=theirs)
    said = b""
    while b"Repair now?" not in said:
        said += os.read(ours, 4096)
    third = new_value()
    lab.run("/bin/sh", "-c", sops_set(lab, "LITELLM_MASTER_KEY", third))
    os.write(ours, b"y\n")
    assert process.wait(30) == 3
    assert lab.current_key() == third
    assert former in lab.settings.read_text()


def test_a_former_value_is_recognised_without_the_fingerprint_key(
    rotated: tuple[Lab, Keys], keyrotor: Keyrotor
) -> None:
    """Lost, or in a keyring that does not answer: what cannot be compared is not put; the file as it was left is."""
    lab, (former, present) = rotated
    swap(lab.settings, present, former)
    (lab.state / "fingerprint.key").rename(lab.root / "elsewhere")
    left = lab.secret_file.read_bytes()
    lab.run("git", "checkout", "--quiet", "--", ".")
    done = keyrotor(lab, "repair", "--yes")
    assert done.returncode == 3
    assert "cannot be told" in done.stderr
    lab.secret_file.write_bytes(left)
    done = keyrotor(lab, "repair", "--yes")
    assert done.returncode == 0, done.stderr


def test_a_killed_repair_still_knows_what_it_set_out_to_replace(
    make_lab: MakeLab, keyrotor: Keyrotor, start_keyrotor: StartKeyrotor, manager: UserManager
) -> None:
    """After the env file and the unit have lost it, the client's is found, and asked for at the door."""
    lab = make_lab(within="60s")
    assert keyrotor(lab, "rotate", "--yes").returncode == 0
    present, third = lab.current_key(), new_value()
    swap(lab.settings, present, third)
    run_with(lab, manager, third)
    lab.sick_file.write_text("0" * 64)
    process = start_keyrotor(lab, "repair", "--yes")
    wait_for(lab, "moving litellm:accepts:new", process)
    process.kill()
    process.communicate()
    lab.heal()
    manager.systemctl("restart", str(lab.unit))
    done = keyrotor(lab, "resume", "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["outcome"]) == (0, "repaired"), done.stderr
    is_all(lab, present, third)
    kinds = [data["plan"]["fingerprints"] for _, kind, data in events(lab) if kind == "opened"]
    assert told["fingerprints"] == kinds[-1]


def test_a_unit_that_cannot_be_seen_is_left_alone_where_nothing_above_it_changes(
    rotated: tuple[Lab, Keys], keyrotor: Keyrotor, manager: UserManager
) -> None:
    """No restart and no command that nobody was told of; where the env file is put, it is told and done."""
    lab, (former, present) = rotated
    log = lab.project / "ran"
    add_command(lab, f"cat > /dev/null; echo ran >> {log}")
    assert "nothing to repair" in keyrotor(lab, "repair", "--yes").stdout
    assert not log.exists()
    swap(lab.env_file, present, former)
    told = keyrotor(lab, "repair", "--dry-run").stdout
    assert "repair: 2 to put" in told
    assert keyrotor(lab, "repair", "--yes").returncode == 0
    assert log.read_text() == "ran\n"


def test_a_read_only_client_is_refused_before_anything_is_put(
    rotated: tuple[Lab, Keys], keyrotor: Keyrotor, manager: UserManager
) -> None:
    """As a rotation would, whatever value stands there."""
    lab, (_, present) = rotated
    third = new_value()
    swap(lab.settings, present, third)
    run_with(lab, manager, third)
    lab.settings.chmod(0o400)
    done = keyrotor(lab, "repair", "--yes")
    assert done.returncode == 3
    assert "read-only" in done.stderr


def test_a_rotation_can_be_rolled_back_over_a_repair(rotated: tuple[Lab, Keys], keyrotor: Keyrotor) -> None:
    """It has only put the same value again."""
    lab, (former, present) = rotated
    run = events(lab)[-1][0]
    swap(lab.settings, present, former)
    assert keyrotor(lab, "repair", "--yes").returncode == 0
    done = keyrotor(lab, "rollback", run, "--yes")
    assert done.returncode == 0, done.stderr
    is_all(lab, former, present)


def test_a_reference_is_never_written_over(rotated: tuple[Lab, Keys], keyrotor: Keyrotor) -> None:
    """Its client follows the variable; the person is told."""
    lab, (former, present) = rotated
    swap(lab.settings, present, "${LITELLM_MASTER_KEY}")
    swap(lab.env_file, present, former)
    text = lab.settings.read_text()
    done = keyrotor(lab, "repair", "--yes")
    assert done.returncode == 0, done.stderr
    assert lab.settings.read_text() == text
    assert "refers to LITELLM_MASTER_KEY" in done.stdout


def test_a_salt_that_equals_a_former_key_is_left(rotated: tuple[Lab, Keys], keyrotor: Keyrotor) -> None:
    """The salt key may be the master key of another day; it is never touched."""
    lab, (former, present) = rotated
    lab.run("/bin/sh", "-c", sops_set(lab, "LITELLM_SALT_KEY", former))
    text = lab.env_file.read_text()
    salt = next(line for line in text.splitlines() if line.startswith("LITELLM_SALT_KEY="))
    lab.env_file.write_text(text.replace(salt, f"LITELLM_SALT_KEY={former}").replace(present, former))
    assert keyrotor(lab, "repair", "--yes").returncode == 0
    assert lab.env_file.read_text() == f"LITELLM_MASTER_KEY={present}\nLITELLM_SALT_KEY={former}\n"


def test_a_command_that_says_no_is_run(rotated: tuple[Lab, Keys], keyrotor: Keyrotor) -> None:
    """A place of one's own, which knows what it holds."""
    lab, _ = rotated
    kept = lab.project / "kept"
    add_command(
        lab, f"cat > {kept}", more=f'holds = ["/bin/sh", "-c", "test \\"$(cat)\\" = \\"$(cat {kept})\\" || exit 1"]'
    )
    kept.write_text("")
    assert keyrotor(lab, "repair", "--yes").returncode == 0
    assert kept.read_text() == lab.current_key()
    kept.unlink()


def test_a_stale_checkout_is_refused(rotated: tuple[Lab, Keys], keyrotor: Keyrotor) -> None:
    """The encrypted file holds a former value: it would revive a dead, perhaps leaked key."""
    lab, (former, present) = rotated
    lab.run("git", "checkout", "--quiet", "--", ".")
    assert lab.current_key() == former
    before = tree(lab)
    done = keyrotor(lab, "repair", "--yes")
    assert done.returncode == 3
    assert "holds a former value" in done.stderr
    assert "--accept-former" in done.stderr
    assert differing(before, tree(lab)) == []
    assert doors(lab, present, former) == [200, 400]


def test_a_former_value_that_is_accepted_by_name_counts_again(
    rotated: tuple[Lab, Keys], keyrotor: Keyrotor, manager: UserManager
) -> None:
    """With the fingerprint that the refusal names, and no other; then the value it replaces is the former one."""
    lab, (former, present) = rotated
    lab.run("git", "checkout", "--quiet", "--", ".")
    mark = keyrotor(lab, "repair", "--yes").stderr.strip().rsplit(" ", 1)[1]
    assert keyrotor(lab, "repair", "--yes", "--accept-former", mark[::-1]).returncode == 3
    done = keyrotor(lab, "repair", "--yes", "--accept-former", mark)
    assert done.returncode == 0, done.stderr
    is_all(lab, former, present)
    manager.systemctl("reset-failed", str(lab.unit))
    assert keyrotor(lab, "repair", "--yes").returncode == 0
    lab.run("/bin/sh", "-c", sops_set(lab, "LITELLM_MASTER_KEY", present))
    assert keyrotor(lab, "repair", "--yes").returncode == 3


def test_nothing_former_cannot_be_accepted(rotated: tuple[Lab, Keys], keyrotor: Keyrotor) -> None:
    """An option that does not fit what is there is a mistake worth stopping for."""
    lab, _ = rotated
    done = keyrotor(lab, "repair", "--yes", "--accept-former", "0" * 12)
    assert done.returncode == 3
    assert "no former value" in done.stderr


def test_a_dry_run_tells_and_touches_nothing(rotated: tuple[Lab, Keys], keyrotor: Keyrotor) -> None:
    """Place by place, for a person and for a program; without consent, for it needs none."""
    lab, (former, present) = rotated
    swap(lab.settings, present, former)
    before = tree(lab)
    done = keyrotor(lab, "repair", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "~ ~/.factory/settings.json: holds another value" in done.stdout
    told = json.loads(keyrotor(lab, "repair", "--dry-run", "--json").stdout)
    assert {place["id"]: place["state"] for place in told["places"]} == {
        "sops-file": "held",
        "env-file": "held",
        "systemd-unit": "held",
        "litellm:accepts": "proof",
        "client-file": "put",
    }
    assert differing(before, tree(lab)) == []


def test_without_consent_nothing_is_repaired(rotated: tuple[Lab, Keys], keyrotor: Keyrotor) -> None:
    """No terminal and no --yes: usage, with all that was typed and `--yes`."""
    lab, _ = rotated
    typed = ("litellm-master-key", "--heal", "--accept-former", "abc", "--reason", "it's", "--json")
    done = keyrotor(lab, "repair", *typed)
    assert done.returncode == 2
    hint = "keyrotor repair litellm-master-key --accept-former abc --heal --reason 'it'\"'\"'s' --json --yes"
    assert f"hint: {hint}\n" in done.stderr


def test_what_is_left_to_a_person_is_not_said_to_be_restarted(rotated: tuple[Lab, Keys], keyrotor: Keyrotor) -> None:
    """A store that shows nobody what it holds is put again; a keychain is left to a person."""
    lab, (former, present) = rotated
    add_place(lab, 'kind = "zed"')
    add_place(lab, 'kind = "command"\nput = ["true"]')
    edit(lab.env_file, present, former)
    told = keyrotor(lab, "repair", "--dry-run").stdout
    assert "~ zed, by hand: told at the end, for only a person can" in told
    assert "~ true: cannot be told: put again" in told


def test_a_door_that_refuses_what_everything_holds_is_no_matter_for_a_repair(
    rotated: tuple[Lab, Keys], keyrotor: Keyrotor, manager: UserManager
) -> None:
    """A literal in the config: refused before anything is restarted."""
    lab, _ = rotated
    edit(lab.config, "os.environ/LITELLM_MASTER_KEY", new_value())
    done = keyrotor(lab, "repair", "--yes")
    assert done.returncode == 3
    assert "literal" in done.stderr


def test_a_repair_that_fails_is_owed_and_has_no_way_back(
    make_lab: MakeLab, keyrotor: Keyrotor, manager: UserManager
) -> None:
    """21; rollback is refused, rotate too; mended and resumed it ends well."""
    lab = make_lab()
    former = lab.current_key()
    assert keyrotor(lab, "rotate", "--yes").returncode == 0
    present, third = lab.current_key(), new_value()
    run_with(lab, manager, third)
    blocked = lab.env_file.with_name(f".{lab.env_file.name}.keyrotor")
    blocked.mkdir()  # where the next content would be written
    done = keyrotor(lab, "repair", "--yes")
    assert done.returncode == 21, (done.stdout, done.stderr)
    assert "not every place holds the present key" in done.stdout
    assert "rollback" not in done.stdout
    assert keyrotor(lab, "rollback").returncode == 2
    busy = keyrotor(lab, "rotate", "--yes")
    assert busy.returncode == 22
    assert "keyrotor abandon" in busy.stderr
    assert "abandon" in keyrotor(lab, "status").stdout
    blocked.rmdir()
    done = keyrotor(lab, "resume")
    assert done.returncode == 0, (done.stdout, done.stderr)
    is_all(lab, present, third)
    assert former not in lab.env_file.read_text()
    assert keyrotor(lab, "rollback", trace_run(lab), "--yes").returncode == 2


def trace_run(lab: Lab) -> str:
    """The id of the newest run."""
    return events(lab)[-1][0]


def test_a_signal_stops_a_repair_and_resume_ends_it(
    make_lab: MakeLab, keyrotor: Keyrotor, start_keyrotor: StartKeyrotor, manager: UserManager
) -> None:
    """22 at once; what is owed is finished by the next."""
    lab = make_lab(within="60s")
    assert keyrotor(lab, "rotate", "--yes").returncode == 0
    present, third = lab.current_key(), new_value()
    run_with(lab, manager, third)
    lab.sicken()
    lab.sick_file.write_text("0" * 64)  # well with no key at all
    process = start_keyrotor(lab, "repair", "--yes")
    wait_for(lab, "moving litellm:accepts:new", process)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 22, out
    assert "keyrotor resume" in out
    lab.heal()
    manager.systemctl("restart", str(lab.unit))
    done = keyrotor(lab, "resume")
    assert done.returncode == 0, done.stderr
    is_all(lab, present, third)


def test_a_repair_is_no_rotation(rotated: tuple[Lab, Keys], keyrotor: Keyrotor) -> None:
    """The key's age goes on; the record says `repaired`; the chain holds."""
    lab, (former, present) = rotated
    was = json.loads(keyrotor(lab, "status", "--json").stdout)["keys"][0]["run"]
    swap(lab.settings, present, former)
    assert keyrotor(lab, "repair", "--yes", "--reason", "a stale backup").returncode == 0
    assert json.loads(keyrotor(lab, "status", "--json").stdout)["keys"][0]["run"] == was
    logged = keyrotor(lab, "log", "--verify").stdout
    assert "repaired" in logged
    assert "a stale backup" in logged
    assert trace(lab)[0] == "opened"
    assert keyrotor(lab, "rotate", "--if-due", "--yes").returncode == 0
    assert run_count(lab) == 2


CALLS = ("rename", "link", "unlink", "fsync", "mkdir", "fchmod", "pwrite64", "write")


@pytest.mark.parametrize("call", CALLS)
def test_a_repair_killed_at_a_call_is_finished_by_resume(
    rotated: tuple[Lab, Keys], keyrotor: Keyrotor, manager: UserManager, tmp_path: Path, call: str
) -> None:
    """SIGKILL on entering the third call of that kind; nothing owed, or owed and resumed: whole either way."""
    lab, (_, present) = rotated
    third = new_value()
    run_with(lab, manager, third)
    strace = shutil.which("strace") or missing("strace")
    inject = ["-o", str(tmp_path / "log"), "-e", f"inject={call}:signal=KILL:when=3"]
    done = subprocess.run(
        [strace, *inject, *keyrotor_argv("repair", "--yes")],
        check=False,
        cwd=lab.project,
        env=keyrotor_env(lab, PYTHONDONTWRITEBYTECODE="1"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=120,
    )
    if done.returncode == 0:
        is_all(lab, present, third)
        return
    for _ in range(100):
        ended = keyrotor(lab, "resume")
        if ended.returncode != 30:  # a child that outlived it still has the lock
            break
    assert ended.returncode == 0, ended.stderr
    done2 = keyrotor(lab, "repair", "--yes")
    assert done2.returncode == 0, done2.stderr
    is_all(lab, present, third)


def test_a_repair_shows_no_value(rotated: tuple[Lab, Keys], keyrotor: Keyrotor, manager: UserManager) -> None:
    """Neither the present one, nor the former, nor the one that stood there; nor does the record."""
    lab, (former, present) = rotated
    third = new_value()
    run_with(lab, manager, third)
    swap(lab.settings, present, former)
    said = b""
    for arguments in (
        ["repair", "--dry-run"],
        ["repair", "--dry-run", "--json"],
        ["repair", "--yes", "--json"],
        ["log"],
    ):
        done = keyrotor(lab, *arguments)
        said += (done.stdout + done.stderr).encode()
    kept = said + b"".join(path.read_bytes() for path in lab.state.rglob("*") if path.is_file())
    assert not any(spelling in kept for value in (former, present, third) for spelling in spellings(value))


def test_another_edit_of_the_encrypted_file_is_kept(rotated: tuple[Lab, Keys], keyrotor: Keyrotor) -> None:
    """Somebody sets another key of the file while the repair runs: the file is not ours to write."""
    lab, (former, present) = rotated
    for path in (lab.settings, lab.env_file):
        swap(path, present, former)
    token = new_value()
    add_command(lab, sops_set(lab, "GRAFANA_TOKEN", token))
    done = keyrotor(lab, "repair", "--yes")
    assert lab.current_key("GRAFANA_TOKEN") == token
    assert lab.current_key() == present
    assert former not in lab.settings.read_text(), done.stdout


def test_a_second_client_is_repaired_too(rotated: tuple[Lab, Keys], keyrotor: Keyrotor) -> None:
    """Each file by its own words."""
    lab, (former, _) = rotated
    other = lab.home / "other.env"
    other.write_text(f"OPENAI_API_KEY={former} # the lab\n")
    add_place(lab, f'kind = "client-file"\npath = "{other}"')
    assert keyrotor(lab, "repair", "--yes").returncode == 0
    assert other.read_text() == f"OPENAI_API_KEY={lab.current_key()} # the lab\n"


def test_on_the_real_litellm(make_lab: MakeLab, keyrotor: Keyrotor, manager: UserManager) -> None:
    """The real proxy, started on a former key by a stale env file, comes back to the present one."""
    lab = make_lab("litellm")
    former = lab.current_key()
    assert keyrotor(lab, "rotate", "--yes").returncode == 0
    present = lab.current_key()
    swap(lab.env_file, present, former)
    manager.systemctl("restart", str(lab.unit))
    done = keyrotor(lab, "repair", "--yes")
    assert done.returncode == 0, (done.stdout, done.stderr)
    is_all(lab, present, former)
