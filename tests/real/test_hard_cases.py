"""Hard cases: odd old values, databases, later rotations, stopped units, lost folders, signals at the worst moment."""

from __future__ import annotations

import codecs
import contextlib
import fcntl
import hashlib
import json
import os
import pty
import re
import resource
import select
import shlex
import signal
import subprocess
import termios
import time
from pathlib import Path

import pytest
from on_lab import (
    LONG,
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
    listens,
    new_value,
    sops_set,
    tree,
    until,
    until_said,
    wait_for,
)
from test_incident import OPEN, respond

from keyrotor.demo import gateway
from keyrotor.demo.lab import Lab
from keyrotor.demo.runner import python_program
from keyrotor.demo.user_systemd import UserManager

ODD = "sk-abc/def+ghi.jkl:0123456789"  # what no format has to quote, and keyrotor itself would never make
SALT = ', "LITELLM_SALT_KEY"'


class Terminal:
    """keyrotor at a terminal that it owns, so that Ctrl-C is a signal and an echo is seen."""

    def __init__(self, lab: Lab, *arguments: str) -> None:
        self.master, slave = pty.openpty()
        self.shown = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")()  # a read may end amid a character
        self.process: subprocess.Popen[str] = subprocess.Popen(
            keyrotor_argv(*arguments),
            cwd=lab.project,
            env=keyrotor_env(lab, TERM="dumb"),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            text=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509
        )
        os.close(slave)

    def until(self, text: str) -> None:
        while text not in self.shown:
            assert self._read(), self.shown

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def end(self) -> int:
        """The exit code; a program that goes on asking is ended."""
        try:
            while self._read():
                pass
            return self.process.wait(100)
        finally:
            self.process.kill()
            self.process.wait()
            os.close(self.master)

    def _read(self) -> bool:
        if not select.select([self.master], [], [], 100)[0]:
            return False
        with contextlib.suppress(OSError):  # the last one has closed the other side
            data = os.read(self.master, 65536)
            self.shown += self._decoder.decode(data)
            return bool(data)
        return False


def rotate(keyrotor: Keyrotor, lab: Lab, *options: str, code: int = 0, **how: object) -> dict[str, object]:
    """Rotate and want this exit code; the JSON report."""
    done = keyrotor(lab, "rotate", "--yes", "--json", *options, **how)
    assert done.returncode == code, (done.stdout, done.stderr)
    told: dict[str, object] = json.loads(done.stdout)
    return told


def is_refused(keyrotor: Keyrotor, lab: Lab, said: str, *options: str, **how: object) -> None:
    """A rotation is refused with 3 and these words, and nothing is changed."""
    before, pid = tree(lab), lab.runner.main_pid()
    told = rotate(keyrotor, lab, *options, code=3, **how)
    assert said in str(told["reason"])
    assert differing(before, tree(lab)) == []
    assert lab.runner.main_pid() == pid


def has_key(lab: Lab, manager: UserManager, value: str) -> None:
    """From now on this is the present key, everywhere; what needs quotes in the env file has them."""
    old = lab.current_key()
    lab.run("/bin/sh", "-c", sops_set(lab, "LITELLM_MASTER_KEY", value))
    edit(lab.env_file, old, value if re.fullmatch(r"\S+", value) else f'"{value}"')
    edit(lab.settings, old, value)
    manager.systemctl("restart", str(lab.unit))
    lab.wait_until_healthy()
    assert lab.current_key() == value


def waits(lab: Lab, start_keyrotor: StartKeyrotor, *options: str) -> subprocess.Popen[str]:
    """A rotation that has put the new key into the unit and waits for a gateway which does not come up."""
    lab.sicken()
    process = start_keyrotor(lab, "rotate", "--yes", *options)
    wait_for(lab, "moving litellm:accepts:new", process)
    return process


def killed(lab: Lab, start_keyrotor: StartKeyrotor) -> str:
    """A rotation killed in its wait for the gateway; the run's id."""
    process = waits(lab, start_keyrotor)
    process.kill()
    process.wait()
    return events(lab)[-1][0]


def commits_as_somebody(lab: Lab) -> None:
    lab.run("/usr/bin/git", "config", "user.name", "somebody")
    lab.run("/usr/bin/git", "config", "user.email", "some@body")


# --- a unit that is down ---------------------------------------------------------------------------------------


def test_a_gateway_that_ends_well_under_the_new_key_is_started_again(
    make_lab: MakeLab, keyrotor: Keyrotor, manager: UserManager
) -> None:
    """Exit 0 leaves the unit inactive, not failed, and soon not loaded: the rollback starts it all the same."""
    lab = make_lab()
    old, new = lab.current_key(), new_value()
    spared = hashlib.sha256(old.encode()).hexdigest()
    program = lab.root / "gateway" / "polite"
    words = shlex.join([*python_program(gateway.__file__), "--port", str(lab.port)])
    key = 'printf %s "$LITELLM_MASTER_KEY" | sha256sum | cut -c1-64'
    program.write_text(f'#!/bin/sh\n[ "$({key})" = {spared} ] || exit 0\nexec {words}\n')
    program.chmod(0o755)
    drop_in = manager.units / f"{lab.unit}.d" / "polite.conf"
    drop_in.parent.mkdir()
    drop_in.write_text(f"[Service]\nExecStart=\nExecStart={program}\n")
    manager.systemctl("daemon-reload")
    manager.systemctl("restart", str(lab.unit))
    lab.wait_until_healthy()
    rotate(keyrotor, lab, "--value-stdin", code=20, input=new)
    is_all(lab, old, new)


@pytest.mark.parametrize(("verb", "ends_new"), [("resume", True), ("rollback", False)])
def test_a_unit_that_was_stopped_after_the_kill_is_started_again(
    make_lab: MakeLab,
    start_keyrotor: StartKeyrotor,
    keyrotor: Keyrotor,
    manager: UserManager,
    verb: str,
    ends_new: bool,
) -> None:
    """The record says `moved` of a unit that is down now: `resume` ends rotated, `rollback` all old; both 0."""
    lab = make_lab()
    old = lab.current_key()
    killed(lab, start_keyrotor)
    new = lab.current_key()
    lab.heal()
    manager.systemctl("stop", str(lab.unit))
    assert lab.status(old) is None
    done = keyrotor(lab, verb)
    assert done.returncode == 0, (done.stdout, done.stderr)
    is_all(lab, *((new, old) if ends_new else (old, new)))


# --- old values ------------------------------------------------------------------------------------------------


def test_an_old_value_with_odd_characters_goes_and_comes_back(
    make_lab: MakeLab, start_keyrotor: StartKeyrotor, keyrotor: Keyrotor, manager: UserManager
) -> None:
    """A key that nobody has to quote, with `/+.:` in it, is put back byte for byte, and rotated away."""
    lab = make_lab()
    has_key(lab, manager, ODD)
    before = tree(lab, exact=False)
    process = waits(lab, start_keyrotor)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=100)
    assert process.returncode == 20, (out, err)
    assert differing(before, tree(lab, exact=False)) == []
    lab.heal()
    rotate(keyrotor, lab)
    is_all(lab, lab.current_key(), ODD)


@pytest.mark.parametrize(
    ("value", "said"), [("sk-two words of 2019", "must be quoted"), ("sk-hash#hash#2019", "quoted"), ("dark", "short")]
)
def test_an_old_value_that_could_not_be_put_back_is_refused(
    make_lab: MakeLab, keyrotor: Keyrotor, manager: UserManager, value: str, said: str
) -> None:
    """One that must be quoted, or that is a word like `"theme": "dark"` in a client file: 3, nothing changed."""
    lab = make_lab()
    has_key(lab, manager, value)
    is_refused(keyrotor, lab, said)


def test_a_given_value_that_stands_somewhere_already_is_refused(lab: Lab, keyrotor: Keyrotor) -> None:
    """A rollback could not tell somebody's own token from the one that was put there: 3, nothing changed."""
    value = new_value()
    edit(lab.settings, '"theme": "dark"', f'"theme": "dark", "nextKey": "{value}"')
    is_refused(keyrotor, lab, "stands there already", "--value-stdin", input=value)


def test_a_salt_that_equals_the_key_is_kept(lab: Lab, keyrotor: Keyrotor) -> None:
    """What LiteLLM has encrypted needs the former salt, though it was the master key too."""
    old, client = lab.current_key(), lab.home / "compose.env"
    client.write_text(f"LITELLM_MASTER_KEY={old}\nLITELLM_SALT_KEY={old}\n")
    add_place(lab, 'kind = "client-file"\npath = "~/compose.env"')
    told = rotate(keyrotor, lab)
    assert client.read_text() == f"LITELLM_MASTER_KEY={lab.current_key()}\nLITELLM_SALT_KEY={old}\n"
    assert keyrotor(lab, "rollback", str(told["run"]), "--yes").returncode == 0
    assert client.read_text() == f"LITELLM_MASTER_KEY={old}\nLITELLM_SALT_KEY={old}\n"


def test_a_literal_in_a_comment_is_left_and_told(lab: Lab, keyrotor: Keyrotor) -> None:
    """The file's place says how many there are; a comment is never written."""
    old = lab.current_key()
    edit(lab.settings, "// Models", f"// the key was {old} once\n  // Models")
    told = {place["id"]: place["detail"] for place in rotate(keyrotor, lab)["places"]}  # type: ignore[attr-defined]
    assert f"the key was {old} once" in lab.settings.read_text()
    assert "1 more in comments" in told["client-file"]


# --- a database behind the gateway -----------------------------------------------------------------------------

URL = "Environment=DATABASE_URL=postgres://u:p@127.0.0.1/x\n"
HOST = "Environment=DATABASE_HOST=127.0.0.1 DATABASE_USERNAME=u DATABASE_PASSWORD=p DATABASE_NAME=x\n"


@pytest.mark.parametrize("variables", [URL, HOST], ids=["url", "host"])
@pytest.mark.parametrize("has_config", [True, False], ids=["config", "no-config"])
def test_a_database_without_a_salt_is_refused(
    make_lab: MakeLab, keyrotor: Keyrotor, variables: str, has_config: bool
) -> None:
    """The running gateway decides, with or without `config`: a salt in the encrypted file alone encrypts nothing."""
    lab = make_lab(start=False, unit_lines=variables)
    kept = [line for line in lab.env_file.read_text().splitlines() if not line.startswith("LITELLM_SALT_KEY")]
    lab.env_file.write_text("\n".join(kept) + "\n")
    edit(lab.playbook, SALT, "")
    if not has_config:
        kept = [line for line in lab.playbook.read_text().splitlines() if not line.startswith("config ")]
        lab.playbook.write_text("\n".join(kept) + "\n")
    lab.start()
    lab.wait_until_healthy()
    is_refused(keyrotor, lab, "SALT")


def test_a_database_with_a_salt_is_rotated(make_lab: MakeLab, keyrotor: Keyrotor) -> None:
    """The salt stands in the running gateway's environment: what is encrypted stays readable."""
    lab = make_lab(unit_lines=HOST)
    assert keyrotor(lab, "plan").returncode == 0


# --- a later rotation ------------------------------------------------------------------------------------------


def test_a_former_run_is_not_rolled_back_over_a_newer_one(lab: Lab, keyrotor: Keyrotor) -> None:
    """Another identity in the playbook meanwhile makes it no other secret: 2, nothing changed."""
    former = str(rotate(keyrotor, lab)["run"])
    edit(lab.playbook, "generate = ", f'identity = "{lab.identity}"\ngenerate = ')
    newer = str(rotate(keyrotor, lab)["run"])
    key = lab.current_key()
    done = keyrotor(lab, "rollback", former, "--yes")
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert f"run {newer} came after it" in done.stderr
    assert lab.current_key() == key
    assert lab.status(key) == 200


def test_a_rotation_that_passes_while_a_rollback_asks_wins(lab: Lab, keyrotor: Keyrotor) -> None:
    """What was true at the question is looked at again under the lock: `y` ends with 2, nothing changed."""
    former = str(rotate(keyrotor, lab)["run"])
    terminal = Terminal(lab, "rollback", former)
    terminal.until("[y/N]")
    newer, old = str(rotate(keyrotor, lab)["run"]), lab.current_key()
    terminal.type("y\n")
    assert terminal.end() == 2, terminal.shown
    assert f"run {newer} came after it" in terminal.shown
    assert lab.current_key() == old
    assert old in lab.env_file.read_text()
    assert old in lab.settings.read_text()
    assert lab.status(old) == 200


def test_a_key_of_another_state_folder_is_never_written_over(
    make_lab: MakeLab, start_keyrotor: StartKeyrotor, keyrotor: Keyrotor, manager: UserManager
) -> None:
    """A run that is owed here meets a third value, rotated in from elsewhere: stuck, and that value lives on."""
    lab = make_lab()
    killed(lab, start_keyrotor)
    lab.heal()
    manager.systemctl("restart", str(lab.unit))
    lab.wait_until_healthy()
    rotate(keyrotor, lab, env={"KEYROTOR_STATE_DIR": str(lab.root / "elsewhere")})
    key = lab.current_key()
    done = keyrotor(lab, "resume", "--set", "litellm.within=1s")
    assert done.returncode == 21, (done.stdout, done.stderr)
    assert "neither the old nor the new value" in done.stdout
    assert lab.current_key() == key
    assert key in lab.env_file.read_text()
    lab.wait_until_healthy()


# --- what is owed ----------------------------------------------------------------------------------------------


def test_what_hinders_a_resume_leaves_the_run_owed_and_says_so(
    make_lab: MakeLab, start_keyrotor: StartKeyrotor, keyrotor: Keyrotor
) -> None:
    """A signal while sops works, a record that cannot grow, a folder that is gone: 22 with both commands each time.

    A plan names the run as well. When nothing hinders it any more, it is finished."""
    lab = make_lab()
    old = lab.current_key()
    run = killed(lab, start_keyrotor)
    new = lab.current_key()

    def is_owed(code: int, said: str) -> None:
        assert code == 22, said
        assert f"keyrotor resume {run}" in said
        assert f"keyrotor rollback {run}" in said

    planned = keyrotor(lab, "plan")
    assert f"run {run} of {lab.secret_file.name} is not finished" in planned.stderr
    is_owed(planned.returncode, planned.stderr)

    slow, reached = lab.root / "slow-sops", lab.root / "gateway" / "reached"
    slow.write_text(f'#!/bin/sh\ntouch {reached}\nsleep 600\nexec {lab.sops} "$@"\n')
    slow.chmod(0o755)
    process = start_keyrotor(lab, "resume", env={"KEYROTOR_SOPS": str(slow)})
    until(process, reached.exists)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=100)
    is_owed(process.returncode, out + err)

    full = start_keyrotor(lab, "resume", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)))
    out, err = full.communicate(timeout=100)
    is_owed(full.returncode, out + err)

    there, gone = lab.secret_file.parent, lab.project / "gone"
    there.rename(gone)
    for verb in ("resume", "rollback"):
        done = keyrotor(lab, verb)
        is_owed(done.returncode, done.stdout + done.stderr)
    gone.rename(there)

    assert keyrotor(lab, "rollback").returncode == 0
    is_all(lab, old, new)


def test_the_encrypted_file_is_made_again_on_the_way_back(
    make_lab: MakeLab, start_keyrotor: StartKeyrotor, keyrotor: Keyrotor
) -> None:
    """Deleted in mid-run, it comes back as it was before: its ciphertext is kept in the run's folder."""
    lab = make_lab()
    old, before = lab.current_key(), lab.secret_file.read_bytes()
    killed(lab, start_keyrotor)
    new = lab.current_key()
    lab.secret_file.unlink()
    done = keyrotor(lab, "rollback")
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert lab.secret_file.read_bytes() == before
    is_all(lab, old, new)


def test_a_rollback_names_the_place_that_it_left(make_lab: MakeLab, start_keyrotor: StartKeyrotor) -> None:
    """A client that somebody gave a third key before its turn is not ours to put back; the last words say so."""
    lab = make_lab()
    old = lab.current_key()
    process = waits(lab, start_keyrotor)
    edit(lab.settings, old, "sk-somebody-elses-0123456789")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=100)
    assert process.returncode == 20, (out, err)
    last_words = out[out.index("rolled back and proven") :]
    assert "every place but those named below" in last_words
    assert ".factory/settings.json holds neither value" in last_words
    assert doors(lab, old) == [200]


def test_no_room_for_the_record_is_refused(lab: Lab, keyrotor: Keyrotor) -> None:
    """A run that could not be recorded to its end is not begun: 3, nothing changed."""
    small = lab.root / "gateway" / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=48k,mode=700", "none", str(small)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("only root can mount a tiny file system")
    try:
        is_refused(keyrotor, lab, "the disk is full", env={"KEYROTOR_STATE_DIR": str(small / "state")})
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", str(small)], check=True)


# --- git -------------------------------------------------------------------------------------------------------


def test_commit_is_refused_where_the_file_is_not_the_only_change(lab: Lab, keyrotor: Keyrotor) -> None:
    """An encrypted file that holds somebody's edit already, or that git does not track: 3, nothing changed."""
    commits_as_somebody(lab)
    lab.run("/bin/sh", "-c", sops_set(lab, "GRAFANA_TOKEN", "work-in-progress"))
    is_refused(keyrotor, lab, "changed already", "--commit")
    lab.run("/usr/bin/git", "rm", "--quiet", "--cached", str(lab.secret_file))
    lab.run("/usr/bin/git", "commit", "--quiet", "--message", "not in git")
    is_refused(keyrotor, lab, "does not track it", "--commit")


def test_a_signal_while_git_commits_does_not_unmake_a_rotation(
    lab: Lab, keyrotor: Keyrotor, start_keyrotor: StartKeyrotor
) -> None:
    """The run is closed: 0, `rotated`, and a note with the command, which works when it is typed."""
    commits_as_somebody(lab)
    old, reached = lab.current_key(), lab.root / "gateway" / "committing"
    hook = lab.project / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {reached}\nsleep 600\n")
    hook.chmod(0o755)
    process = start_keyrotor(lab, "rotate", "--yes", "--commit", "--json")
    until(process, reached.exists)
    process.send_signal(signal.SIGINT)
    until_said(process.stderr, "once more stops now")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=100)
    assert process.returncode == 0, (out, err)
    told = json.loads(out)
    assert told["outcome"] == "rotated"
    (note,) = told["notes"]
    assert "SIGINT while git was asked" in note
    is_all(lab, lab.current_key(), old)
    hook.unlink()
    lab.run("/bin/sh", "-c", note[note.index("git -C ") :])


# --- signals and terminals -------------------------------------------------------------------------------------


def unanswered(lab: Lab, table: Path) -> int:
    """How many connections a gateway that hangs has not taken yet, as the kernel's table has it; 0 without a door."""
    listening = re.search(rf":{lab.port:04X} 00000000:0000 0A [0-9A-F]+:([0-9A-F]+)", table.read_text())
    return int(listening[1], 16) if listening else 0


def interrupt_in_a_question(lab: Lab, process: subprocess.Popen[str]) -> int:
    """Send SIGINT once a gateway that hangs is being asked; how often it was asked by then. The process is stopped
    meanwhile, so that it asks no more often."""
    table = Path("/proc/net/tcp")
    until(process, lambda: unanswered(lab, table) > 0, said=lambda: "to a question")
    process.send_signal(signal.SIGSTOP)
    until(process, lambda: Path(f"/proc/{process.pid}/stat").read_text().rpartition(") ")[2][0] == "T")
    asked = unanswered(lab, table)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGCONT)
    return asked


def test_a_hanging_gateway_does_not_hold_a_signal_up_in_preflight(lab: Lab, start_keyrotor: StartKeyrotor) -> None:
    """It answers nobody: Ctrl-C ends with 1 after the question that is under way, nothing changed."""
    pid = lab.runner.main_pid()
    assert pid
    before = tree(lab)
    os.kill(pid, signal.SIGSTOP)
    try:
        process = start_keyrotor(lab, "rotate", "--yes")
        asked = interrupt_in_a_question(lab, process)
        out, err = process.communicate(timeout=100)
        assert process.returncode == 1, (out, err)
        assert unanswered(lab, Path("/proc/net/tcp")) == asked
    finally:
        os.kill(pid, signal.SIGCONT)
    assert differing(before, tree(lab)) == []


def test_a_hanging_gateway_does_not_hold_a_signal_up_in_the_proof(
    make_lab: MakeLab, start_keyrotor: StartKeyrotor
) -> None:
    """The restarted gateway hangs: the first signal turns the run back after the question that is under way, and it
    ends all old."""
    lab = make_lab(within="600s")
    old, seen = lab.current_key(), lab.root / "gateway" / "seen"
    # On the way back, before the unit is restarted, this tells what the gateway that hangs has been asked by then.
    add_command(lab, f"[ $KEYROTOR_VALUE = new ] || cat /proc/net/tcp > {seen}", before="systemd-unit", name="look")
    pid = f"$(systemctl --user show {lab.unit} --property=MainPID --value)"
    stop = f"until {listens(lab)}; do sleep 0.05; done; kill -STOP {pid}"
    add_command(lab, f"[ $KEYROTOR_VALUE = old ] || {{ {stop}; }}", before="litellm", more=LONG)
    process = start_keyrotor(lab, "rotate", "--yes")
    wait_for(lab, "moving litellm:accepts:new", process)
    new = lab.current_key()
    asked = interrupt_in_a_question(lab, process)
    out, err = process.communicate(timeout=100)
    assert process.returncode == 20, (out, err)
    assert unanswered(lab, seen) == asked
    is_all(lab, old, new)


def is_reading(process: subprocess.Popen[str]) -> bool:
    """Whether it waits in read(), whose number is 0, or 63 on arm64. Where the kernel does not tell: after a while."""
    try:
        return Path(f"/proc/{process.pid}/syscall").read_text().startswith(("0 0x0 ", "63 0x0 "))
    except OSError:
        time.sleep(1)
        return True


@pytest.mark.parametrize("command", ["rotate", "rollback"])
def test_ctrl_c_at_the_question_is_a_no(lab: Lab, keyrotor: Keyrotor, command: str) -> None:
    """One is enough: 1 at once, nothing changed."""
    run = [str(rotate(keyrotor, lab)["run"])] if command == "rollback" else []
    before = tree(lab)
    terminal = Terminal(lab, command, *run)
    terminal.until("[y/N]: ")
    # A signal just before the read begins is heeded with the next key only.
    until(terminal.process, lambda: is_reading(terminal.process), said=lambda: "to the read")
    terminal.type("\x03")
    assert terminal.end() == 1, terminal.shown
    assert "Traceback" not in terminal.shown
    assert differing(before, tree(lab)) == []


def test_ctrl_c_where_a_name_must_be_typed_is_a_no(lab: Lab, keyrotor: Keyrotor) -> None:
    """Of a run that has replaced a leaked key; it leaves everything as it is."""
    respond(lab)
    assert keyrotor(lab, *OPEN).returncode == 0
    before, run = tree(lab), next(run for run, kind, _ in events(lab) if kind == "opened")
    terminal = Terminal(lab, "rollback", run)
    terminal.until("Type the run's id to bring it back")
    until(terminal.process, lambda: is_reading(terminal.process), said=lambda: "to the read")
    terminal.type("\x03")
    assert terminal.end() == 1, terminal.shown
    assert "Traceback" not in terminal.shown
    assert differing(before, tree(lab)) == []


def test_a_value_typed_at_a_terminal_is_not_shown(lab: Lab) -> None:
    """It is asked for without an echo, one line is enough, and it becomes the key."""
    old, value = lab.current_key(), new_value()
    terminal = Terminal(lab, "rotate", "--yes", "--value-stdin")
    terminal.until("New value")
    terminal.type(f"{value}\n")
    assert terminal.end() == 0, terminal.shown
    assert value[:12] not in terminal.shown
    is_all(lab, value, old)
