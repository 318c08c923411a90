"""`print-key`: the present key alone, for helper commands; never one that the record knows as former. On real sops."""

from __future__ import annotations

import json
import os
import pty
import secrets
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from on_lab import Keyrotor, MakeLab, add_command, differing, edit, events, keyrotor_argv, keyrotor_env, tree

from keyrotor.boundary import files
from keyrotor.core.model import Source
from keyrotor.demo.lab import Lab
from keyrotor.drift import recorded
from keyrotor.latest import DOUBT, left

KEY = "LITELLM_MASTER_KEY"
TYPES = ("--input-type", "dotenv", "--output-type", "dotenv")
ALONE = f"""name = "litellm-master-key"
[secret]
file = "secrets/global.enc.env"
key = "{KEY}"
[[place]]
kind = "sops-file"
"""


@pytest.fixture
def lab(make_lab: MakeLab) -> Lab:
    """The files of a lab whose playbook has no place but the encrypted file: it is rotated in a moment."""
    made = make_lab(unit=False, start=False)
    made.playbook.write_text(ALONE)
    return made


def run(lab: Lab, *words: str, env: Mapping[str, str] | None = None, **how: Any) -> subprocess.CompletedProcess[bytes]:
    how = {"cwd": lab.project, "stdin": subprocess.DEVNULL, "capture_output": True, **how}
    argv = keyrotor_argv("print-key", *words)
    return subprocess.run(argv, check=False, env=keyrotor_env(lab) if env is None else env, timeout=60, **how)


def printed(lab: Lab, *words: str, **how: Any) -> str:
    """The key that it prints, having said nothing else and ended with 0."""
    done = run(lab, *words, **how)
    assert (done.returncode, done.stderr, done.stdout[-1:]) == (0, b"", b"\n")
    return done.stdout[:-1].decode()


def set_value(lab: Lab, key: str, value: str) -> None:
    lab.run(lab.sops, "set", *TYPES, "--value-stdin", str(lab.secret_file), f'["{key}"]', stdin=json.dumps(value))


def rotate(lab: Lab, keyrotor: Keyrotor) -> str:
    """The new key."""
    assert keyrotor(lab, "rotate", "--yes").returncode == 0
    return lab.current_key()


def test_the_key_is_printed_alone_and_nothing_is_written(lab: Lab) -> None:
    """A newline ends it; no file is made or touched, and nobody is told anything."""
    before = tree(lab)
    assert printed(lab) == printed(lab, "litellm-master-key") == lab.current_key()
    assert differing(before, tree(lab)) == []


def test_a_helper_is_run_in_any_folder_with_hardly_an_environment(lab: Lab, tmp_path: Path) -> None:
    """With standard input closed, a PATH of two folders, in a folder without a project, or one that is gone."""
    env = {name: keyrotor_env(lab)[name] for name in ("HOME", "KEYROTOR_SOPS", "PYTHONPATH")}
    env["PATH"] = "/usr/bin:/bin"
    gone = tmp_path / "gone"
    for folder, before in {"/": "", str(tmp_path): f"mkdir {gone}; cd {gone}; rmdir {gone};"}.items():
        line = f"{before} {' '.join(keyrotor_argv('print-key', str(lab.playbook)))} <&-"
        done = subprocess.run(["sh", "-c", line], check=False, cwd=folder, env=env, capture_output=True)
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout.decode() == lab.current_key() + "\n"


def test_a_playbook_of_ones_own_is_found_by_its_name_from_anywhere(lab: Lab) -> None:
    """In $XDG_CONFIG_HOME; and a `~` that no shell has expanded is the home."""
    shelf = lab.home / ".config" / "keyrotor" / "playbooks"
    shelf.mkdir(parents=True)
    text = ALONE.replace("secrets/", f"{lab.project}/secrets/")
    (shelf / "mine.toml").write_text(text)
    assert printed(lab, "mine", cwd="/") == lab.current_key()
    assert printed(lab, "~/.config/keyrotor/playbooks/mine.toml", cwd="/") == lab.current_key()
    missing = run(lab, "other", cwd="/")
    assert (missing.returncode, missing.stdout) == (2, b"")


def test_a_terminal_is_refused_unless_it_is_forced(lab: Lab) -> None:
    """It shows and keeps what is printed; refused before anything is decrypted."""
    said = {}
    for words in ((), ("--force",)):
        pid, terminal = pty.fork()
        if pid == 0:
            os.chdir(lab.project)
            env = keyrotor_env(lab, **({} if words else {"KEYROTOR_SOPS": "/no/such"}))
            os.execve(sys.executable, keyrotor_argv("print-key", *words), env)
        said[words] = b""
        while chunk := _read(terminal):
            said[words] += chunk
        _, status = os.waitpid(pid, 0)
        os.close(terminal)
        assert os.waitstatus_to_exitcode(status) == (0 if words else 2)
    assert said["--force",].strip().decode() == lab.current_key()
    assert b"cannot print the key: this is a terminal" in said[()]
    assert b"hint: keyrotor print-key --force" in said[()]


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1000)
    except OSError:  # the other end is closed
        return b""


def test_nobody_who_listens_is_an_error(lab: Lab) -> None:
    """A closed output and a full disk are told; a helper must not take silence for a key."""
    line = " ".join(keyrotor_argv("print-key"))
    for where, why in {">&-": "standard output is closed", ">/dev/full": "no space left on device"}.items():
        shell = ["sh", "-c", f"{line} {where}"]
        done = subprocess.run(shell, check=False, cwd=lab.project, env=keyrotor_env(lab), capture_output=True)
        assert (done.returncode != 0, why in done.stderr.decode()) == (True, True)
        assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize("value", ["a\nb", "a\n", " a", "a\t", "a\x1b[31m", "", "\r"])
def test_what_a_caller_would_read_as_something_else_is_refused(lab: Lab, value: str) -> None:
    """It must be one line of printable characters without space around it; the refusal names the key alone."""
    set_value(lab, KEY, value)
    refused = run(lab)
    assert (refused.returncode, refused.stdout) == (3, b"")
    assert f"cannot print {KEY}: ".encode() in refused.stderr
    assert not value.strip() or value.encode() not in refused.stderr


def test_a_key_that_is_not_there_is_refused_by_name(lab: Lab) -> None:
    """And so is a file that cannot be decrypted, in our words."""
    edit(lab.playbook, KEY, "OTHER_KEY")
    assert b"has no such key" in run(lab).stderr
    edit(lab.playbook, "OTHER_KEY", KEY)
    lab.identity.unlink()
    refused = run(lab)
    assert (refused.returncode, refused.stdout) == (1, b"")
    assert b"no age identity here can decrypt it" in refused.stderr


def test_the_present_key_is_printed_after_a_run_without_asking_the_whole_record(lab: Lab, keyrotor: Keyrotor) -> None:
    """As the run left the file, and when another key of it was edited since: neither loads what checks a record."""
    new = rotate(lab, keyrotor)
    for _ in range(2):
        code = "import sys; sys.argv[1:] = ['print-key']\nimport atexit\nfrom keyrotor.cli import main\n"
        code += "atexit.register(lambda: print(*{'msgspec', 'sh', 'keyrotor.world'} & set(sys.modules)))\nmain()"
        how: dict[str, Any] = {"cwd": lab.project, "env": keyrotor_env(lab), "capture_output": True}
        done = subprocess.run([sys.executable, "-c", code], check=True, **how)
        assert done.stdout.decode() == f"{new}\n\n"
        set_value(lab, "GRAFANA_TOKEN", secrets.token_urlsafe(8))


def test_a_former_key_is_never_printed(lab: Lab, keyrotor: Keyrotor) -> None:
    """A stale checkout brings it back, another edit of that too; exit 3, with what mends it."""
    old, checkout = lab.current_key(), lab.secret_file.read_bytes()
    rotate(lab, keyrotor)
    lab.secret_file.write_bytes(checkout)
    for _ in range(2):
        refused = run(lab)
        assert (refused.returncode, refused.stdout) == (3, b"")
        assert b"cannot print the key: " in refused.stderr
        assert b"holds a former value" in refused.stderr
        assert b"hint: bring the present file back" in refused.stderr
        assert old.encode() not in refused.stderr
        set_value(lab, "GRAFANA_TOKEN", secrets.token_urlsafe(8))


def test_a_key_that_was_set_by_hand_is_printed(lab: Lab, keyrotor: Keyrotor) -> None:
    """The record does not know it, so it is no former one."""
    rotate(lab, keyrotor)
    set_value(lab, KEY, value := f"sk-{secrets.token_urlsafe(16)}")
    assert printed(lab) == value


def test_it_is_refused_where_it_cannot_be_told(lab: Lab, keyrotor: Keyrotor) -> None:
    """The fingerprint key is lost, and the file is not as the run left it; as it left it needs no fingerprint."""
    new = rotate(lab, keyrotor)
    (lab.state / "fingerprint.key").unlink()
    assert printed(lab) == new
    set_value(lab, "GRAFANA_TOKEN", "another")
    refused = run(lab)
    assert (refused.returncode, b"it cannot be told whether" in refused.stderr) == (3, True)


def test_a_record_that_cannot_be_read_is_told(lab: Lab, keyrotor: Keyrotor) -> None:
    """A former key could not be told from a present one."""
    rotate(lab, keyrotor)
    (lab.state / "journal.sqlite3").write_bytes(b"no database " * 100)
    refused = run(lab)
    assert (refused.returncode, refused.stdout) == (1, b"")
    assert b"cannot read the record" in refused.stderr


def test_after_a_rollback_the_old_key_is_the_present_one(lab: Lab, keyrotor: Keyrotor) -> None:
    """And the new one is former, though its run is on record as the newest."""
    old = lab.current_key()
    rotate(lab, keyrotor)
    rolled = lab.secret_file.read_bytes()
    assert keyrotor(lab, "rollback", events(lab)[-1][0], "--yes").returncode == 0
    assert printed(lab) == old
    lab.secret_file.write_bytes(rolled)
    assert run(lab).returncode == 3


def test_in_the_midst_of_a_run_the_file_is_the_answer(lab: Lab, keyrotor: Keyrotor, tmp_path: Path) -> None:
    """The old key until the file holds the new one, from then on the new one; on the way back the old one again."""
    env = keyrotor_env(lab)
    given = " ".join(f"{name}={env[name]}" for name in ("PYTHONPATH", "KEYROTOR_SOPS", "KEYROTOR_STATE_DIR"))
    ask = f"{given} SOPS_AGE_KEY_FILE={lab.identity} {' '.join(keyrotor_argv('print-key', str(lab.playbook)))}"
    lab.playbook.write_text(ALONE + '\n[[place]]\nkind = "client-file"\npath = "~/absent.json"\noptional = true\n')
    add_command(lab, f"{ask} >> {tmp_path}/told && test $(wc -l < {tmp_path}/told) -ge 3")
    old = lab.current_key()
    assert keyrotor(lab, "rotate", "--yes").returncode == 20
    new, again, *back = (tmp_path / "told").read_text().splitlines()
    assert new == again != old
    assert set(back) == {old}
    assert printed(lab) == old


def test_what_is_read_in_a_moment_is_what_the_record_says(lab: Lab, keyrotor: Keyrotor) -> None:
    """Whatever became of the newest run, the quick look never claims more than the whole record does."""
    source = Source(str(lab.secret_file), KEY, "", str(lab.project))
    assert left(lab.state, source) is None
    rotate(lab, keyrotor)
    assert left(lab.state, Source("/other", KEY, "", "/")) is None
    known, is_left = recorded(_Recorded(lab), source, lab.secret_file.read_bytes())  # type: ignore[arg-type]
    told = left(lab.state, source)
    assert told is not None
    assert (told.ciphertext == files.digest(lab.secret_file.read_bytes())) is is_left is True
    assert told.fingerprint == known.present
    run_id = events(lab)[-1][0]
    assert keyrotor(lab, "rollback", run_id, "--yes").returncode == 0
    told = left(lab.state, source)
    assert told is not None
    assert (told.ciphertext, told.fingerprint) == (files.digest(lab.secret_file.read_bytes()), "")
    with (lab.state / "journal.sqlite3").open("r+b") as file:
        file.seek(60)  # user_version: another schema
        file.write((99).to_bytes(4, "big"))
    assert left(lab.state, source) == DOUBT


def test_a_file_that_is_written_meanwhile_is_read_again(lab: Lab, tmp_path: Path) -> None:
    """What is compared with the record is what was decrypted, never one of the one and one of the other."""
    other = f"sk-{secrets.token_urlsafe(16)}"
    before = lab.secret_file.read_bytes()
    set_value(lab, KEY, other)
    after = lab.secret_file.read_bytes()
    lab.secret_file.write_bytes(before)
    (tmp_path / "after").write_bytes(after)
    spy = tmp_path / "sops"
    spy.write_text(f'#!/bin/sh\n{lab.sops} "$@" && cat {tmp_path}/after > {lab.secret_file}\n')
    spy.chmod(0o755)
    assert printed(lab, env=keyrotor_env(lab, KEYROTOR_SOPS=str(spy))) == other
    spy.write_text(f'#!/bin/sh\n{lab.sops} "$@" && echo "#" >> {lab.secret_file}\n')
    lab.secret_file.write_bytes(before)
    refused = run(lab, env=keyrotor_env(lab, KEYROTOR_SOPS=str(spy)))
    assert (refused.returncode, refused.stdout) == (3, b"")


class _Recorded:
    """As much of a world as the record is compared in."""

    def __init__(self, lab: Lab) -> None:
        from keyrotor.boundary import keychain, plaintext

        self.state = lab.state
        key = keychain.known_fingerprint_key(lab.state) or b""
        self._prints = plaintext.key_name(key), lambda secret: plaintext.fingerprint(key, secret)

    def known_fingerprinter(self) -> Any:
        return self._prints

    def digest(self, data: bytes) -> str:
        return files.digest(data)
