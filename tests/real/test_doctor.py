"""`doctor` on a real lab: all is well there; each fault that is seeded makes its own line ill, and no other.

`loginctl` and `timedatectl` are small programs on PATH where a test needs an answer: no logind runs in a container.
As root every file can be read and written, so what only another user sees is in tests/test_doctor_parts.py.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyrage
import pytest
from on_lab import (
    Keyrotor,
    MakeLab,
    StartKeyrotor,
    add_command,
    add_place,
    differing,
    edit,
    in_project,
    keyrotor_argv,
    keyrotor_env,
    remove_timer,
    tree,
    write_timer,
)
from test_identity import BACKEND

from keyrotor.demo.lab import Lab
from keyrotor.demo.user_systemd import UserManager

Lines = Mapping[str, Mapping[str, Any]]
TIMER_NEEDS = ("HOME", "SOPS_AGE_KEY_FILE", "KEYROTOR_SOPS", "KEYROTOR_STATE_DIR")


def examined(keyrotor: Keyrotor, lab: Lab, *arguments: str, **how: Any) -> Lines:
    """What the doctor says, by the names of the lines; the exit code agrees with it."""
    return _lines(keyrotor(lab, "doctor", "--json", *arguments, **how))


def _lines(done: subprocess.CompletedProcess[str]) -> Lines:
    assert done.returncode in (0, 10), done.stderr
    said = json.loads(done.stdout)
    lines: dict[str, Any] = {}
    for line in said["lines"]:  # of two of one name the ill one counts
        if lines.get(line["name"], {}).get("state") != "ill":
            lines[line["name"]] = line
    assert said["schema"] == 1
    assert said["exit"] == done.returncode == (10 if ill(lines) else 0)
    return lines


def ill(lines: Lines) -> dict[str, str]:
    """The lines that are ill, with what is to be typed; none leaves a person without a word of it."""
    found = {name: line["mend"] for name, line in lines.items() if line["state"] == "ill"}
    assert all(found.values()), found
    return found


def without(lab: Lab, *names: str) -> dict[str, str]:
    """The environment of a keyrotor on the lab, without these variables."""
    return {name: text for name, text in keyrotor_env(lab).items() if name not in names}


def in_env(lab: Lab, env: Mapping[str, str], *arguments: str, cwd: Path | None = None) -> Lines:
    """What the doctor says in exactly this environment."""
    return _lines(
        subprocess.run(
            keyrotor_argv("doctor", "--json", *arguments),
            check=False,
            cwd=cwd or lab.project,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
    )


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str, str], Path]:
    """Makes a small shell program in a folder of its own; gives the folder."""

    def make(name: str, text: str) -> Path:
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return path.parent

    return make


def before_path(folder: Path) -> dict[str, str]:
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


# -- a lab that is well


def test_a_rotation_can_run_on_a_lab(lab: Lab, keyrotor: Keyrotor) -> None:
    """Nothing is ill, nothing is touched, and no state folder is made."""
    before = tree(lab)
    lines = examined(keyrotor, lab)
    assert ill(lines) == {}
    expected = {"playbook", "keyrotor", "sops", "git", "file", "lock", "identity file", "identity", "systemd --user"}
    expected |= {"unit", "linger", "state", "record", "owed", "disk", "clock", "keyring", "terminal", "locale"}
    expected |= {f"place {name}" for name in ("env-file", "systemd-unit", "litellm", "client-file")}
    assert set(lines) == expected
    assert differing(before, tree(lab)) == []
    assert not lab.state.exists()


def test_a_rotated_lab_is_well_too(lab: Lab, keyrotor: Keyrotor) -> None:
    """With a record, a fingerprint key and a state folder; and nothing of them is touched."""
    assert keyrotor(lab, "rotate", "--yes").returncode == 0
    before = tree(lab)
    lines = examined(keyrotor, lab)
    assert ill(lines) == {}
    assert lines["record"]["said"].startswith("1 run")
    assert lines["keyring"]["state"] == "skipped"
    assert differing(before, tree(lab)) == []


def test_a_person_reads_a_line_for_each_thing_and_the_mend_below_an_ill_one(lab: Lab, keyrotor: Keyrotor) -> None:
    """80 columns, but for what has no blank in it and for commands; the last line says it all."""
    well = keyrotor(lab, "doctor")
    assert well.returncode == 0, well.stderr
    assert well.stdout.splitlines()[-1] == "a rotation can run here"
    sick = keyrotor(lab, "doctor", env={"KEYROTOR_SOPS": "/nonexistent/sops"})
    assert sick.returncode == 10
    assert sick.stdout.splitlines()[-1] == "1 thing to mend"
    assert "\n✗ sops " in sick.stdout
    assert "\n  mend: install sops 3.11.0 or later" in sick.stdout
    for line in (well.stdout + sick.stdout).splitlines():
        assert len(line) <= 80 or line.startswith("  mend: ") or " " not in line[18:].strip(), line


def test_no_value_and_no_identity_is_ever_said(lab: Lab, keyrotor: Keyrotor) -> None:
    """Names and paths only, also where the identity itself is in the environment."""
    identity = lab.identity.read_text().strip()
    env = {"SOPS_AGE_KEY": identity, "SOPS_AGE_KEY_CMD": f"echo {identity}"}
    for arguments in (["doctor"], ["doctor", "--json"], ["doctor", "--as-timer"], ["doctor", "--as-timer", "--json"]):
        done = keyrotor(lab, *arguments, env=env)
        said = done.stdout + done.stderr
        assert identity not in said
        assert lab.current_key() not in said
        assert "SOPS_AGE_KEY" in said


# -- programs


def test_without_sops(lab: Lab, keyrotor: Keyrotor) -> None:
    """Ill; the identity is not asked for."""
    lines = examined(keyrotor, lab, env={"KEYROTOR_SOPS": "/nonexistent/sops"})
    assert "install sops 3.11.0" in ill(lines)["sops"]
    assert set(ill(lines)) == {"sops"}
    assert lines["identity"]["state"] == "skipped"


def test_a_sops_that_is_too_old(lab: Lab, keyrotor: Keyrotor, program: Callable[[str, str], Path]) -> None:
    """Ill, with its version; nothing else is asked of it. (A fake: no old sops can be installed here.)"""
    folder = program("sops", f'echo "$@" >> {shlex.quote(str(lab.root / "asked"))}; echo sops 3.8.1')
    lines = examined(keyrotor, lab, env={"KEYROTOR_SOPS": str(folder / "sops")})
    assert set(ill(lines)) == {"sops"}
    assert "sops 3.8.1" in lines["sops"]["said"]
    assert (lab.root / "asked").read_text() == "--version --disable-version-check\n"


def test_a_repository_without_git(lab: Lab, keyrotor: Keyrotor, tmp_path: Path) -> None:
    """Ill where the encrypted file lies in a repository; else git is not asked for."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for name in ("systemctl", "loginctl", "timedatectl", "sh"):
        (folder / name).symlink_to(shutil.which(name) or "/bin/false")
    assert set(ill(examined(keyrotor, lab, env={"PATH": str(folder)}))) == {"git"}
    shutil.rmtree(lab.project / ".git")
    lines = examined(keyrotor, lab, env={"PATH": str(folder)})
    assert ill(lines) == {}
    assert "git" not in lines


# -- the identity and the encrypted file


def test_next_to_no_environment(lab: Lab, tmp_path: Path) -> None:
    """Nothing but a playbook: no crash, nothing made in the home that is derived, and each line has its say."""
    home = tmp_path / "fresh"
    home.mkdir()
    lines = in_env(lab, {"HOME": str(home)}, str(lab.playbook), cwd=tmp_path)
    assert {"sops", "systemd --user"} <= set(ill(lines))
    assert lines["state"]["said"].startswith(f"{home}/.local/state/keyrotor")
    assert list(home.iterdir()) == []


def test_a_wrong_identity(lab: Lab, keyrotor: Keyrotor) -> None:
    """Ill, with what to export."""
    lab.identity.write_text(f"{pyrage.x25519.Identity.generate()}\n")
    lines = examined(keyrotor, lab)
    assert set(ill(lines)) == {"identity"}
    assert "SOPS_AGE_KEY_FILE" in ill(lines)["identity"]


def test_an_identity_file_that_others_can_read(lab: Lab, keyrotor: Keyrotor) -> None:
    """Ill; the command that is named mends it."""
    lab.identity.chmod(0o640)
    found = ill(examined(keyrotor, lab))
    assert set(found) == {"identity file"}
    subprocess.run(found["identity file"], shell=True, check=True)
    assert ill(examined(keyrotor, lab)) == {}


def test_an_identity_file_that_is_not_there(lab: Lab, keyrotor: Keyrotor) -> None:
    """The variable names nothing: ill, though sops finds the usual one; without that, nothing can be decrypted."""
    lines = examined(keyrotor, lab, env={"SOPS_AGE_KEY_FILE": str(lab.root / "nowhere.txt")})
    assert set(ill(lines)) == {"identity file"}
    lab.identity.rename(lab.root / "moved.txt")
    assert set(ill(examined(keyrotor, lab))) == {"identity file", "identity"}


def test_an_identity_of_the_playbook_that_is_not_there(lab: Lab, keyrotor: Keyrotor) -> None:
    """Both lines are ill: the file, and that nothing can be decrypted with it."""
    edit(lab.playbook, "[secret]", '[secret]\nidentity = "~/nowhere.txt"')
    assert set(ill(examined(keyrotor, lab))) == {"identity file", "identity"}


def test_an_encrypted_file_that_cannot_be_replaced(lab: Lab, keyrotor: Keyrotor) -> None:
    """Ill; and what sops must not be let near is not decrypted."""
    lab.secret_file.chmod(0o444)
    assert set(ill(examined(keyrotor, lab))) == {"file"}
    lab.secret_file.chmod(0o644)
    lab.secret_file.write_text("<<<<<<< ours\n" + lab.secret_file.read_text())
    lines = examined(keyrotor, lab)
    assert set(ill(lines)) == {"file"}
    assert "merge" in lines["file"]["said"]
    assert lines["identity"]["state"] == "skipped"


def test_a_lock_that_another_run_holds(lab: Lab, keyrotor: Keyrotor) -> None:
    """Unknown, with the pid: nothing is to be mended."""
    descriptor = os.open(lab.secret_file.parent, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        lines = examined(keyrotor, lab)
    finally:
        os.close(descriptor)
    assert ill(lines) == {}
    assert lines["lock"]["state"] == "unknown"
    assert f"pid {os.getpid()}" in lines["lock"]["said"]


def test_where_an_identity_may_have_come_from(lab: Lab, keyrotor: Keyrotor) -> None:
    """sops collects all: the playbook's file may be the wrong one, and one that lies where sops looks the right one."""
    wrong = lab.root / "wrong.txt"
    wrong.touch(0o600)
    wrong.write_text(f"{pyrage.x25519.Identity.generate()}\n")
    edit(lab.playbook, "[secret]", f'[secret]\nidentity = "{wrong}"')
    lines = examined(keyrotor, lab)
    assert ill(lines) == {}
    assert str(wrong) in lines["identity"]["said"]
    assert str(lab.identity) in lines["identity"]["said"]
    lab.identity.unlink()
    found = ill(examined(keyrotor, lab))
    assert set(found) == {"identity"}
    assert str(wrong) in found["identity"]
    assert "export" not in found["identity"]


# -- the places


def read_only_client(lab: Lab) -> str:
    lab.settings.chmod(0o444)
    return "client-file"


def absent_env_file(lab: Lab) -> str:
    lab.env_file.unlink()
    return "env-file"


def literal_master_key(lab: Lab) -> str:
    edit(lab.config, "os.environ/LITELLM_MASTER_KEY", "sk-literal")
    return "litellm"


def absent_program(lab: Lab) -> str:
    add_place(lab, 'kind = "command"\nid = "tell"\nput = ["no-such-program"]')
    return "tell"


@pytest.mark.parametrize("seed", [read_only_client, absent_env_file, literal_master_key, absent_program])
def test_a_place_for_which_a_rotation_is_refused(lab: Lab, keyrotor: Keyrotor, seed: Callable[[Lab], str]) -> None:
    """Ill, by the reason that the rotation gives; and no other line is."""
    name = f"place {seed(lab)}"
    lines = examined(keyrotor, lab)
    assert set(ill(lines)) == {name}
    refused = keyrotor(lab, "rotate", "--yes")
    assert refused.returncode == 3
    assert lines[name]["said"] in refused.stderr


# -- systemd


def test_without_a_bus(lab: Lab) -> None:
    """No XDG_RUNTIME_DIR, and none to be derived: ill, with the line to export; the unit is not looked at."""
    if Path(f"/run/user/{os.getuid()}").is_dir():
        pytest.skip("this user has a runtime folder of their own, which is taken instead")
    lines = in_env(lab, without(lab, "XDG_RUNTIME_DIR"))
    assert set(ill(lines)) == {"systemd --user"}
    assert "XDG_RUNTIME_DIR=/run/user/" in ill(lines)["systemd --user"]
    assert lines["unit"]["state"] == "skipped"


def test_without_systemd(lab: Lab, keyrotor: Keyrotor, tmp_path: Path) -> None:
    """No systemctl on PATH: ill, and not a crash."""
    folder = tmp_path / "programs"
    folder.mkdir()
    (folder / "git").symlink_to(shutil.which("git") or "/bin/false")
    assert set(ill(examined(keyrotor, lab, env={"PATH": str(folder)}))) == {"systemd --user"}


def test_a_playbook_without_a_unit_needs_no_bus(make_lab: MakeLab, keyrotor: Keyrotor) -> None:
    """Then it is unknown: a rotation can run here, and a timer cannot."""
    lab = make_lab(unit=False)
    lines = examined(keyrotor, lab, env={"XDG_RUNTIME_DIR": str(lab.root)})
    assert ill(lines) == {}
    assert lines["systemd --user"]["state"] == "unknown"


def test_a_unit_that_is_unknown_down_or_masked(lab: Lab, keyrotor: Keyrotor, manager: UserManager) -> None:
    """Ill each time, with systemctl's own verb."""
    unit = lab.unit or ""
    manager.systemctl("stop", unit)
    assert f"start {unit}" in ill(examined(keyrotor, lab))["unit"]
    manager.systemctl("start", unit)
    assert ill(examined(keyrotor, lab)) == {}
    edit(lab.playbook, unit, "nobody.service")
    found = ill(examined(keyrotor, lab))
    assert set(found) == {"unit"}
    assert "daemon-reload" in found["unit"]
    mask = manager.units / "nobody.service"
    mask.symlink_to("/dev/null")
    try:
        manager.systemctl("daemon-reload")
        assert ill(examined(keyrotor, lab)) == {"unit": "systemctl --user unmask nobody.service"}
    finally:
        mask.unlink()
        manager.systemctl("daemon-reload")


def test_linger(lab: Lab, keyrotor: Keyrotor, program: Callable[[str, str], Path]) -> None:
    """On is well, off is ill, and so is a user of whom logind knows nothing."""
    env = before_path(program("loginctl", "echo yes"))
    assert examined(keyrotor, lab, env=env)["linger"]["state"] == "well"
    program("loginctl", "echo no")
    assert ill(examined(keyrotor, lab, env=env))["linger"].startswith("loginctl enable-linger ")
    program("loginctl", "echo 'Failed to get user: User ID 0 is not logged in or lingering' >&2; exit 1")
    assert set(ill(examined(keyrotor, lab, env=env))) == {"linger"}


# -- the record, the disk, the clock


def test_a_state_folder_that_is_none(lab: Lab, keyrotor: Keyrotor) -> None:
    """Ill: a file stands where the folder should be."""
    (lab.root / "file").touch()
    assert set(ill(examined(keyrotor, lab, env={"KEYROTOR_STATE_DIR": str(lab.root / "file")}))) == {"state"}


def test_a_state_folder_that_others_can_look_into(lab: Lab, keyrotor: Keyrotor) -> None:
    """Ill; the command that is named mends it."""
    assert keyrotor(lab, "rotate", "--yes").returncode == 0
    lab.state.chmod(0o755)
    found = ill(examined(keyrotor, lab))
    assert set(found) == {"state"}
    subprocess.run(found["state"], shell=True, check=True)
    assert ill(examined(keyrotor, lab)) == {}


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts tiny file systems; only root can."""
    mounts: list[Path] = []

    def mount(options: str) -> Path:
        folder = tmp_path / f"mount{len(mounts)}"
        folder.mkdir()
        argv = ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)]
        if subprocess.run(argv, check=False, capture_output=True).returncode:
            pytest.skip("only root can mount a tiny file system")
        mounts.append(folder)
        return folder

    yield mount
    for folder in mounts:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_state_folder_on_a_read_only_disk(lab: Lab, keyrotor: Keyrotor, mounted: Callable[[str], Path]) -> None:
    """Ill, with the variable that moves it; so is the disk."""
    found = ill(examined(keyrotor, lab, env={"KEYROTOR_STATE_DIR": str(mounted("ro,mode=700") / "state")}))
    assert set(found) == {"state", "disk"}
    assert "KEYROTOR_STATE_DIR" in found["state"]


def test_a_full_disk_under_a_client_file(lab: Lab, keyrotor: Keyrotor, mounted: Callable[[str], Path]) -> None:
    """Ill, with the folder to look at."""
    folder = mounted("size=64k,mode=700")
    (folder / "client.json").write_text("{}")
    add_place(lab, f'kind = "client-file"\npath = "{folder}/client.json"')
    found = ill(examined(keyrotor, lab))
    assert set(found) == {"disk"}
    assert str(folder) in found["disk"]


def test_a_disk_without_a_name_to_give(lab: Lab, keyrotor: Keyrotor, mounted: Callable[[str], Path]) -> None:
    """Ill: there is room, and no inode for another file."""
    folder = mounted("size=8m,nr_inodes=4,mode=700")
    found = ill(examined(keyrotor, lab, env={"KEYROTOR_STATE_DIR": str(folder / "state")}))
    assert "disk" in found
    assert "state" in found


@pytest.mark.parametrize("fault", ["an entry was changed", "it is not a database"])
def test_a_record_that_cannot_be_believed(lab: Lab, keyrotor: Keyrotor, fault: str) -> None:
    """Ill; what it would say of unfinished runs is not asked."""
    assert keyrotor(lab, "rotate", "--yes").returncode == 0
    path = lab.state / "journal.sqlite3"
    if fault == "it is not a database":
        path.write_bytes(b"nonsense" * 1000)
    else:
        with contextlib.closing(sqlite3.connect(path)) as database, database:
            database.execute("UPDATE events SET at = '2026-01-01T00:00:00+00:00' WHERE seq = 2")
    lines = examined(keyrotor, lab)
    assert set(ill(lines)) == {"record"}
    assert lines["owed"]["state"] == "skipped"
    assert "backup" in ill(lines)["record"]
    subprocess.run(ill(lines)["record"].split(": ")[1], shell=True, check=True)
    assert ill(examined(keyrotor, lab)) == {}


def test_a_run_that_is_owed(lab: Lab, keyrotor: Keyrotor) -> None:
    """Ill, with both commands; once it is finished all is well."""
    add_command(lab, "kill -9 $PPID; sleep 0.2")
    assert keyrotor(lab, "rotate", "--yes").returncode == -9
    found = ill(examined(keyrotor, lab))
    assert set(found) == {"owed"}
    assert "keyrotor resume " in found["owed"]
    assert "keyrotor rollback " in found["owed"]


FROZEN = """
import sys
from freezegun import freeze_time
from keyrotor.cli import main
with freeze_time(sys.argv.pop(1), tick=True):
    main(prog_name="keyrotor")
"""


def frozen(lab: Lab, when: str) -> Lines:
    done = in_project(lab, [sys.executable, "-c", FROZEN, when, "doctor", "--json"])
    return _lines(done)


def test_a_clock_that_cannot_be_right(lab: Lab) -> None:
    """A machine that woke up in 1970: ill. A year that can be: not."""
    assert "timedatectl" in ill(frozen(lab, "1970-01-01 00:00:10"))["clock"]
    assert ill(frozen(lab, "2030-06-01 12:00:00")) == {}


def test_a_clock_that_is_behind_the_record(lab: Lab, keyrotor: Keyrotor) -> None:
    """Ill: the record's last entry lies in the future; some seconds are no matter."""
    assert keyrotor(lab, "rotate", "--yes").returncode == 0
    assert set(ill(frozen(lab, "2026-01-01 00:00:00"))) == {"clock"}
    assert ill(examined(keyrotor, lab)) == {}


@pytest.mark.parametrize(("said", "state"), [("yes", "well"), ("no", "unknown"), ("", "unknown")])
def test_a_clock_that_is_synchronised_or_not(
    lab: Lab, keyrotor: Keyrotor, program: Callable[[str, str], Path], said: str, state: str
) -> None:
    """What timedatectl says; a no is never ill: a guest's clock is set by its host."""
    env = before_path(program("timedatectl", f"echo {said}"))
    assert examined(keyrotor, lab, env=env)["clock"]["state"] == state


# -- the terminal, the language, the keyring


def test_a_terminal(lab: Lab) -> None:
    """With one, and without one: well both times, in other words."""
    command = " ".join(map(shlex.quote, keyrotor_argv("doctor")))
    argv = ["script", "--quiet", "--return", "--command", command, "/dev/null"]
    done = subprocess.run(argv, check=False, cwd=lab.project, env=keyrotor_env(lab), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "Ctrl-C turns it back" in " ".join(done.stdout.split())


def test_without_a_terminal(lab: Lab, keyrotor: Keyrotor) -> None:
    line = examined(keyrotor, lab)["terminal"]
    assert line["state"] == "well"
    assert "--yes" in line["said"]


def test_a_language_without_unicode(lab: Lab, keyrotor: Keyrotor) -> None:
    """Unknown, and signs that can be shown."""
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = keyrotor(lab, "doctor", env=plain)
    assert done.returncode == 0
    assert done.stdout.isascii()
    assert "\n+ sops" in done.stdout
    assert "\n? locale" in done.stdout


def test_a_language_that_this_machine_does_not_have(lab: Lab, keyrotor: Keyrotor) -> None:
    """Unknown: nothing fails for it."""
    lines = examined(keyrotor, lab, env={"LANG": "xx_YY.UTF-8"})
    assert ill(lines) == {}
    assert "xx_YY.UTF-8" in lines["locale"]["said"]


def test_an_identity_in_a_keyring_that_is_silent(lab: Lab, keyrotor: Keyrotor) -> None:
    """Ill, as is the decrypting."""
    edit(lab.playbook, "[secret]", '[secret]\nidentity = "keyring"')
    lab.identity.unlink()
    found = ill(examined(keyrotor, lab))
    assert set(found) == {"keyring", "identity"}


def test_a_keyring_that_answers(lab: Lab, tmp_path: Path) -> None:
    """It has the identity and the fingerprint key: well; a fingerprint key that is another one: unknown."""
    edit(lab.playbook, "[secret]", '[secret]\nidentity = "keyring"')
    lab.identity.rename(tmp_path / "keyrotor-age-identity")
    (tmp_path / "folder_keyring.py").write_text(BACKEND)
    config = lab.home / ".config" / "python_keyring" / "keyringrc.cfg"
    config.parent.mkdir()
    config.write_text(f"[backend]\ndefault-keyring=folder_keyring.Folder\nkeyring-path={tmp_path}\n")
    env = without(lab, "PYTHON_KEYRING_BACKEND", "SOPS_AGE_KEY_FILE")
    lines = in_env(lab, env)
    assert ill(lines) == {}
    assert (lines["identity"]["state"], lines["keyring"]["state"]) == ("well", "well")
    assert not (tmp_path / "keyrotor-fingerprint-key").exists()

    (tmp_path / "keyrotor-age-identity").rename(lab.identity)
    edit(lab.playbook, '\nidentity = "keyring"', "")
    rotated = subprocess.run(keyrotor_argv("rotate", "--yes"), check=False, cwd=lab.project, env=env)
    assert rotated.returncode == 0
    assert "has the fingerprint key" in in_env(lab, env)["keyring"]["said"]
    (tmp_path / "keyrotor-fingerprint-key").write_text(os.urandom(32).hex())
    assert in_env(lab, env)["keyring"]["state"] == "unknown"


def test_a_fingerprint_key_that_is_gone(lab: Lab, keyrotor: Keyrotor) -> None:
    """Unknown: what the record knows is told by no value any more; a rotation works, and no keyring is spoken of."""
    assert keyrotor(lab, "rotate", "--yes").returncode == 0
    (lab.state / "fingerprint.key").unlink()
    lines = examined(keyrotor, lab)
    assert ill(lines) == {}
    assert lines["keyring"]["state"] == "unknown"
    assert "former values can no longer be recognised" in lines["keyring"]["said"]
    assert "keyring" not in lines["keyring"]["said"]
    assert keyrotor(lab, "rotate", "--yes").returncode == 0


def test_a_fingerprint_key_that_is_none(lab: Lab, keyrotor: Keyrotor) -> None:
    """Ill, as a rotation ends with 1; the command that is named mends it."""
    lab.state.mkdir(parents=True, mode=0o700)
    (lab.state / "fingerprint.key").write_text("rubbish\n")
    found = ill(examined(keyrotor, lab))
    assert set(found) == {"keyring"}
    assert keyrotor(lab, "rotate", "--yes").returncode == 1
    subprocess.run(found["keyring"].split("  (")[0], shell=True, check=True)
    assert keyrotor(lab, "rotate", "--yes").returncode == 0


def test_a_file_where_the_copies_should_be(lab: Lab, keyrotor: Keyrotor) -> None:
    """Ill, as a rotation ends with 1; the command that is named mends it, also where a path has a blank in it."""
    state = lab.root / "a state"
    state.mkdir(mode=0o700)
    (state / "runs").touch()
    env = {"KEYROTOR_STATE_DIR": str(state)}
    found = ill(examined(keyrotor, lab, env=env))
    assert set(found) == {"state"}
    assert keyrotor(lab, "rotate", "--yes", env=env).returncode == 1
    subprocess.run(found["state"], shell=True, check=True)
    assert ill(examined(keyrotor, lab, env=env)) == {}


# -- the playbook


def test_a_playbook_with_an_error(lab: Lab, keyrotor: Keyrotor) -> None:
    """Ill, and not a crash: what needs no playbook is looked at."""
    edit(lab.playbook, 'every = "month"', 'every = "now and then"')
    lines = examined(keyrotor, lab)
    assert set(ill(lines)) == {"playbook"}
    assert "every" in lines["playbook"]["said"]
    assert {"sops", "state", "systemd --user"} <= set(lines)
    assert "identity" not in lines


def test_without_a_playbook(lab: Lab, keyrotor: Keyrotor) -> None:
    """None here: ill. One that is named and absent, or several: 2, as everywhere."""
    shutil.copy(lab.playbook, lab.playbook.with_name("other.toml"))
    assert keyrotor(lab, "doctor").returncode == 2
    assert keyrotor(lab, "doctor", "nobody").returncode == 2
    shutil.rmtree(lab.playbook.parent)
    assert set(ill(examined(keyrotor, lab))) == {"playbook"}


# -- as the timer


@pytest.fixture
def manager_environment(manager: UserManager) -> Iterator[Callable[..., None]]:
    """Gives the manager's environment these variables, until the test ends."""
    names: set[str] = set()

    def give(**variables: str) -> None:
        names.update(variables)
        manager.systemctl("set-environment", *(f"{name}={text}" for name, text in variables.items()))

    yield give
    if names:
        manager.systemctl("unset-environment", *sorted(names))


def needed(lab: Lab) -> dict[str, str]:
    return {name: lab.environment()[name] for name in TIMER_NEEDS}


def test_the_timer_lacks_what_only_this_shell_has(
    lab: Lab, keyrotor: Keyrotor, manager_environment: Callable[..., None]
) -> None:
    """The manager's own environment has no identity: ill there, well here, and the variable to hand over is named."""
    manager_environment(**{name: text for name, text in needed(lab).items() if name != "SOPS_AGE_KEY_FILE"})
    (lab.home / ".config" / "sops").rename(lab.root / "sops")
    shell = {"SOPS_AGE_KEY_FILE": str(lab.root / "sops" / "age" / "keys.txt")}
    assert ill(examined(keyrotor, lab, env=shell)) == {}
    lines = examined(keyrotor, lab, "--as-timer", env=shell)
    assert set(ill(lines)) == {"identity"}
    assert "it is the environment" in lines["identity"]["said"]
    assert ill(lines)["identity"].startswith("systemctl --user import-environment SOPS_AGE_KEY_FILE ")
    assert "SOPS_AGE_KEY_FILE" in lines["timer"]["said"]


def test_a_manager_of_another_home_keeps_another_record(lab: Lab, keyrotor: Keyrotor, manager: UserManager) -> None:
    """As the lab's private manager does: sops, the record and the home are others, and each is told.

    The unit ended with 10, which systemd calls failed; not even such a one is left.
    """
    lines = examined(keyrotor, lab, "--as-timer")
    assert manager.systemctl("list-units", "--all", "--no-legend", "keyrotor-doctor-*") == ""
    assert {"timer", "state", "sops"} <= set(ill(lines))
    assert "HOME" in lines["timer"]["said"]
    assert ill(lines)["state"].startswith("systemctl --user import-environment KEYROTOR_STATE_DIR ")
    lines = in_env(lab, without(lab, "KEYROTOR_STATE_DIR", "XDG_STATE_HOME"), "--as-timer")
    assert ill(lines)["state"].startswith("let KEYROTOR_STATE_DIR name the same folder")


def test_once_the_manager_has_it_the_timer_is_well_and_nothing_is_left(
    lab: Lab, keyrotor: Keyrotor, manager: UserManager, manager_environment: Callable[..., None]
) -> None:
    """With the variables in the manager's environment all is well; no unit stays behind, and no file."""
    backend = "PYTHON_KEYRING_BACKEND"  # the machine may have a keyring that starts, and makes its folder, when asked
    manager_environment(**needed(lab), **{backend: lab.environment()[backend]})
    before = tree(lab)
    transient = manager.runtime / "systemd" / "transient"  # made with the first such unit
    units = sorted(os.listdir(transient)) if transient.exists() else []
    done = keyrotor(lab, "doctor", "--as-timer")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "a rotation can run as the timer runs it"
    assert differing(before, tree(lab)) == []
    assert not lab.state.exists()
    assert manager.systemctl("list-units", "--all", "--no-legend", "keyrotor-doctor-*") == ""
    assert sorted(os.listdir(transient)) == units


def test_what_the_timers_service_sets_itself_counts(lab: Lab, keyrotor: Keyrotor, manager: UserManager) -> None:
    """Environment= and EnvironmentFile= of the service are there, quotes and blanks and all; no other manager's are."""
    given, filed = needed(lab), lab.root / "service.env"
    filed.write_text(f"SOPS_AGE_KEY_FILE={given.pop('SOPS_AGE_KEY_FILE')}\n")
    odd = lab.root / 'a state $1 "quoted"'
    given["KEYROTOR_STATE_DIR"] = str(odd)
    escaped = {name: text.replace("\\", "\\\\").replace('"', '\\"') for name, text in given.items()}
    lines = [f'Environment="{name}={text}"' for name, text in escaped.items()]
    timer = write_timer(manager, service="\n".join([*lines, f"EnvironmentFile={filed}", "ExecStart=/bin/true"]))
    try:
        found = examined(keyrotor, lab, "--as-timer", env={"KEYROTOR_STATE_DIR": str(odd)})
    finally:
        remove_timer(manager, timer)
    assert ill(found) == {}
    assert found["state"]["said"].startswith(str(odd))


def test_nothing_of_this_shell_reaches_the_timer(
    lab: Lab, keyrotor: Keyrotor, manager_environment: Callable[..., None]
) -> None:
    """A playbook that reads a variable of this shell loads here and not there."""
    manager_environment(**needed(lab))
    edit(lab.playbook, '"secrets/global', '"${WHERE}/global')
    lines = examined(keyrotor, lab, "--as-timer", env={"WHERE": "secrets"})
    assert set(ill(lines)) == {"playbook"}
    assert "WHERE is not set; in this shell it is well" in lines["playbook"]["said"]


def test_a_timer_that_cannot_be_asked(lab: Lab, keyrotor: Keyrotor, tmp_path: Path) -> None:
    """Without systemd-run, or without a bus: one ill line, with its mend."""
    empty = tmp_path / "programs"
    empty.mkdir()
    (empty / "systemctl").symlink_to(shutil.which("systemctl") or "/bin/false")
    found = ill(examined(keyrotor, lab, "--as-timer", env={"PATH": str(empty)}))
    assert set(found) == {"timer"}
    runtime = tmp_path / "runtime"
    runtime.mkdir(0o700)
    lines = examined(keyrotor, lab, "--as-timer", env={"XDG_RUNTIME_DIR": str(runtime)})
    assert set(ill(lines)) == {"timer"}
    assert "no bus" in lines["timer"]["said"]


def test_a_program_that_only_this_shell_has(
    lab: Lab, keyrotor: Keyrotor, manager_environment: Callable[..., None], program: Callable[[str, str], Path]
) -> None:
    """A `command` place whose program lies on this shell's PATH: ill for the timer, and PATH is named."""
    manager_environment(**needed(lab))
    shell = before_path(program("tell-somebody", "cat > /dev/null"))
    add_place(lab, 'kind = "command"\nid = "tell"\nput = ["tell-somebody"]')
    assert ill(examined(keyrotor, lab, env=shell)) == {}
    found = ill(examined(keyrotor, lab, "--as-timer", env=shell))
    assert set(found) == {"place tell"}
    assert found["place tell"].startswith("systemctl --user import-environment PATH ")


def test_what_lies_in_the_project_is_not_run(
    lab: Lab, keyrotor: Keyrotor, manager_environment: Callable[..., None]
) -> None:
    """A module of Python's own name in the folder where the unit runs is not imported.

    `python -m` of the test itself is kept from it by a variable, which is not handed over.
    """
    manager_environment(**needed(lab))
    (lab.project / "sqlite3.py").write_text(f"open({str(lab.root / 'imported')!r}, 'w')\nraise SystemExit(3)\n")
    lines = examined(keyrotor, lab, "--as-timer", env={"PYTHONSAFEPATH": "1"})
    assert not (lab.root / "imported").exists()
    assert ill(lines) == {}


def test_nothing_of_it_is_left_when_it_is_stopped(
    lab: Lab,
    start_keyrotor: StartKeyrotor,
    manager: UserManager,
    manager_environment: Callable[..., None],
    program: Callable[[str, str], Path],
) -> None:
    """Ctrl-C while it waits for a sops that hangs: the unit ends with it, and not two minutes later."""
    asked = lab.root / "asked"
    hanging = program("sops", f"touch {shlex.quote(str(asked))}; sleep 60") / "sops"
    manager_environment(**{**needed(lab), "KEYROTOR_SOPS": str(hanging)})
    process = start_keyrotor(lab, "doctor", "--as-timer")
    until = time.monotonic() + 30
    while not asked.exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert asked.exists()
    process.send_signal(signal.SIGINT)
    process.wait(timeout=30)
    assert process.returncode not in (0, 10)
    units = manager.systemctl("list-units", "--no-legend", "run-*", "keyrotor-doctor-*")
    assert units == ""


@pytest.fixture
def service(manager: UserManager) -> Iterator[Callable[[str], None]]:
    """Gives the lab's timer a service of these lines, until the test ends."""
    timers: set[str] = set()

    def write(text: str) -> None:
        timers.add(write_timer(manager, service=text))

    yield write
    for timer in timers:
        remove_timer(manager, timer)


CANNOT_START = [
    ("ExecStart=/nonexistent/keyrotor", "/nonexistent/keyrotor"),
    ("ExecStart=/bin/true\nWorkingDirectory=/nonexistent", "/nonexistent"),
    ("ExecStart=/bin/true\nEnvironmentFile=/nonexistent/one.env", "/nonexistent/one.env"),
    ("ExecStart=/bin/true\nReadOnlyPaths=/nonexistent/shut", "cannot shut off"),
]


@pytest.mark.parametrize(("text", "named"), CANNOT_START)
def test_a_service_that_cannot_start(
    lab: Lab,
    keyrotor: Keyrotor,
    manager_environment: Callable[..., None],
    service: Callable[[str], None],
    text: str,
    named: str,
) -> None:
    """Ill, by the name of what is absent."""
    manager_environment(**needed(lab))
    service(text)
    lines = examined(keyrotor, lab, "--as-timer")
    assert set(ill(lines)) == {"timer"}
    assert named in lines["timer"]["said"]
    assert "exit code" not in lines["timer"]["said"]


def test_a_service_that_may_not_write(
    lab: Lab, keyrotor: Keyrotor, manager_environment: Callable[..., None], service: Callable[[str], None]
) -> None:
    """What it shuts off counts: the folder of the encrypted file, and the disk that the record is kept on."""
    manager_environment(**needed(lab))
    service(f"ExecStart=/bin/true\nReadOnlyPaths={lab.secret_file.parent}")
    found = ill(examined(keyrotor, lab, "--as-timer"))
    assert "file" in found
    service("ExecStart=/bin/true\nProtectSystem=strict")
    assert "state" in ill(examined(keyrotor, lab, "--as-timer"))


def test_a_service_that_sets_what_is_not_carried(
    lab: Lab, keyrotor: Keyrotor, manager_environment: Callable[..., None], service: Callable[[str], None]
) -> None:
    """Unknown, by its name; the rest is looked at all the same."""
    manager_environment(**needed(lab))
    service("ExecStart=/bin/true\nTemporaryFileSystem=/mnt")
    lines = examined(keyrotor, lab, "--as-timer")
    assert ill(lines) == {}
    assert lines["service"]["state"] == "unknown"
    assert "TemporaryFileSystem" in lines["service"]["said"]
    assert "state" in lines
