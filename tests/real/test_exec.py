"""`exec`: the values in a program's environment, and nothing else about it is changed. On real sops."""

from __future__ import annotations

import json
import os
import pty
import resource
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from on_lab import (
    Keyrotor,
    MakeLab,
    StartKeyrotor,
    add_command,
    add_place,
    differing,
    edit,
    keyrotor_argv,
    keyrotor_env,
    tree,
)
from test_identity import BACKEND

from keyrotor import playbook, source
from keyrotor.boundary import in_place
from keyrotor.demo.lab import Lab
from keyrotor.errors import KeyrotorError

NAMES = ["GRAFANA_TOKEN", "LITELLM_MASTER_KEY", "LITELLM_SALT_KEY"]
TYPES = ("--input-type", "dotenv", "--output-type", "dotenv")


@pytest.fixture
def lab(make_lab: MakeLab) -> Lab:
    """The files of a lab; no gateway runs."""
    return make_lab(unit=False, start=False)


def set_value(lab: Lab, key: str, value: str) -> None:
    lab.run(lab.sops, "set", *TYPES, "--value-stdin", str(lab.secret_file), f'["{key}"]', stdin=json.dumps(value))


def run(
    lab: Lab, *command: str, env: Mapping[str, str] | None = None, **how: Any
) -> subprocess.CompletedProcess[bytes]:
    argv = [*keyrotor_argv("exec"), *command]
    how = {"cwd": lab.project, "stdin": subprocess.DEVNULL, "capture_output": True, **how}
    return subprocess.run(argv, check=False, env=keyrotor_env(lab) if env is None else env, timeout=60, **how)


def parsed(block: bytes) -> dict[bytes, bytes]:
    pairs = (entry.partition(b"=") for entry in block.split(b"\0") if entry)
    return {name: value for name, _, value in pairs}


def values(lab: Lab) -> dict[bytes, bytes]:
    plain = lab.run(lab.sops, "decrypt", "--input-type", "dotenv", "--output-type", "json", str(lab.secret_file))
    return {name.encode(): value.encode() for name, value in json.loads(plain).items()}


@pytest.mark.parametrize("locale", [{"LANG": "C.UTF-8"}, {}, {"LC_ALL": "C"}])
def test_the_environment_is_ours_and_the_values_and_nothing_else(lab: Lab, locale: dict[str, str]) -> None:
    """Not a variable more or less: not what Python sets where there is no locale, not what is given to sops."""
    env = {name: text for name, text in keyrotor_env(lab).items() if name != "LANG"} | locale
    env |= {"LITELLM_MASTER_KEY": "stale", "ODD name": "a b", "EMPTY": "", "LINES": "a\nb", "é": "ü"}
    found = parsed(run(lab, "--", "env", "-0", env=env).stdout)
    assert found == {**{os.fsencode(name): os.fsencode(text) for name, text in env.items()}, **values(lab)}


def test_bytes_that_are_no_text_survive(lab: Lab) -> None:
    """A variable and an argument of any bytes reach the program as they are."""
    env = {**{name.encode(): text.encode() for name, text in keyrotor_env(lab).items()}, b"RAW": b"\xff\xfe"}
    shell = b'printf "%s\\0" "$RAW" "$1"'
    argv = [*map(os.fsencode, keyrotor_argv("exec", "--", "sh", "-c")), shell, b"sh", b"\xfd"]
    done = subprocess.run(argv, check=True, cwd=lab.project, env=env, capture_output=True)
    assert done.stdout == b"\xff\xfe\0\xfd\0"


def test_nothing_is_written(lab: Lab, tmp_path: Path) -> None:
    """No file in the lab is made, changed or touched, and none in the folder for what is temporary."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    before = tree(lab)
    assert run(lab, "--", "true", env=keyrotor_env(lab, TMPDIR=str(temporary))).returncode == 0
    assert run(lab, "--env-file", "--", "true", env=keyrotor_env(lab, TMPDIR=str(temporary))).returncode == 0
    assert differing(before, tree(lab)) == []
    assert list(temporary.iterdir()) == []


def test_no_value_stands_in_an_argument(lab: Lab, tmp_path: Path) -> None:
    """Neither sops nor the program is given a value where `ps` shows it; sops gets none in its environment, either."""
    spy = tmp_path / "sops"
    spy.write_text(f'#!/bin/sh\n{{ printf "%s\\n" "$@"; env; }} > {tmp_path}/seen\nexec {lab.sops} "$@"\n')
    spy.chmod(0o755)
    env = keyrotor_env(lab, KEYROTOR_SOPS=str(spy), LITELLM_MASTER_KEY=lab.current_key(), PRIVATE="not for sops")
    told = run(lab, "--", sys.executable, "-c", "print(open('/proc/self/cmdline').read())", env=env).stdout
    seen = (tmp_path / "seen").read_bytes()
    assert b"decrypt" in seen
    assert [value for value in (*values(lab).values(), b"not for sops") if value in seen + told] == []


def test_only_the_named_values_are_handed_over(lab: Lab) -> None:
    """`--only` may be given several times; a name that the file does not have is an error that names those it has."""
    without = parsed(run(lab, "--only", NAMES[0], "--only", NAMES[2], "--", "env", "-0").stdout)
    assert [name in without for name in map(str.encode, NAMES)] == [True, False, True]
    refused = run(lab, "--only", "NO_SUCH", "--", "true")
    assert refused.returncode == 2
    assert b"cannot find the key NO_SUCH" in refused.stderr
    assert all(name.encode() in refused.stderr for name in NAMES)


@pytest.mark.parametrize(
    "value", ["a b", " a ", 'it\'s "x" $HOME `id` \\n', "a\nb\n", "#x", "=", "é 💥", "x" * 60000, "\x7f\x1b[31m", ""]
)
def test_any_value_arrives_as_it_is(lab: Lab, value: str) -> None:
    """There is no quoting on the way."""
    set_value(lab, "ODD", value)
    assert parsed(run(lab, "--", "env", "-0").stdout)[b"ODD"] == value.encode()


def test_a_value_with_a_nul_is_refused_by_name(lab: Lab) -> None:
    """The system would cut it there."""
    set_value(lab, "ODD", "secret\0rest")
    refused = run(lab, "--", "true")
    assert (refused.returncode, b"ODD" in refused.stderr, b"secret" in refused.stderr) == (3, True, False)
    assert run(lab, "--only", NAMES[0], "--", "true").returncode == 0


def test_what_was_no_text_is_refused_by_name(lab: Lab) -> None:
    """sops' JSON has U+FFFD for a byte that is no UTF-8: the program would get another value than was encrypted."""
    plain = lab.run(lab.sops, "decrypt", *TYPES, str(lab.secret_file)).encode() + b"ODD=a\xffb\n"
    name = ["--filename-override", "secrets/global.enc.env", "/dev/stdin"]
    argv = [lab.sops, "encrypt", *TYPES, *name]
    sealed = subprocess.run(argv, input=plain, check=True, cwd=lab.project, env=lab.environment(), capture_output=True)
    lab.secret_file.write_bytes(sealed.stdout)
    refused = run(lab, "--", "true")
    assert (refused.returncode, b"cannot hand over ODD: it is no text" in refused.stderr) == (3, True)
    assert run(lab, "--only", NAMES[0], "--", "true").returncode == 0


def test_a_value_that_is_too_long_for_a_variable_is_named(lab: Lab) -> None:
    """128 KiB with its name; what to type instead is told."""
    set_value(lab, "LONG", "x" * (128 * 1024 - len("LONG=") - 1))
    assert run(lab, "--", "true").returncode == 0
    set_value(lab, "LONG", "x" * (128 * 1024 - len("LONG=")))
    refused = run(lab, "--", "true")
    assert (refused.returncode, b"cannot hand over LONG: " in refused.stderr) == (3, True)
    assert b"hint: keyrotor exec --only KEY" in refused.stderr


@pytest.mark.parametrize("code", [0, 1, 3, 7, 22, 255])
def test_the_exit_code_is_the_programs_own(lab: Lab, code: int) -> None:
    """It has taken our place."""
    assert run(lab, "--", "sh", "-c", f"exit {code}").returncode == code


def test_what_is_nowhere_is_127_and_what_cannot_be_run_is_126(lab: Lab, tmp_path: Path) -> None:
    """As `env` and the shells have it; the message names the program."""
    plain = tmp_path / "plain"
    plain.write_text("x")
    for program, code in {
        "no-such": 127,
        "/no/such": 127,
        str(plain): 126,
        "/": 126,
        "": 127,
        f"{plain}/x": 126,
    }.items():
        done = run(lab, "--", program)
        assert (done.returncode, f"cannot run {program}: ".encode() in done.stderr) == (code, True), program
        as_env = subprocess.run(["env", program], check=False, capture_output=True, env=keyrotor_env(lab))
        assert as_env.returncode == code, program


def test_a_script_without_a_first_line_is_run_by_the_shell(lab: Lab, tmp_path: Path) -> None:
    """As `env` does it; and it is found along the PATH, past what cannot be run."""
    for folder, mode in (("one", 0o644), ("two", 0o755)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "script").write_text(f'echo {folder} "$1" "$0"\n')
        (tmp_path / folder / "script").chmod(mode)
    path = f"{tmp_path}/none:{tmp_path}/one:{tmp_path}/two:{os.environ['PATH']}"
    done = run(lab, "--", "script", "a b", env=keyrotor_env(lab, PATH=path))
    assert done.stdout == f"two a b {tmp_path}/two/script\n".encode()


def test_what_follows_the_program_is_its_own(lab: Lab) -> None:
    """Options of the program are not ours, with or without `--`."""
    for command in (["--", "echo", "--only", "-h", "--x"], ["echo", "--only", "-h", "--x"]):
        assert run(lab, *command).stdout == b"--only -h --x\n"
    assert run(lab, "echo", "--", "x").stdout == b"-- x\n"


@pytest.mark.parametrize("words", [["--playbok", "x", "--", "true"], ["--onyl=X", "true"], ["-x", "true"]])
def test_a_mistyped_option_is_an_error(lab: Lab, words: list[str]) -> None:
    """It is not taken for the program."""
    refused = run(lab, *words)
    assert (refused.returncode, b"No such option" in refused.stderr) == (2, True)


LOOK = """
import os, resource, signal, sys
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(os.getpid(), os.getsid(0), os.getcwd(), status["Umask"].strip(), status["SigBlk"].strip(),
      resource.getrlimit(resource.RLIMIT_CORE), sorted(map(int, os.listdir("/proc/self/fd")))[:-1], sys.stdin.read())
"""


def test_pid_folder_umask_limits_and_descriptors_are_ours(lab: Lab) -> None:
    """The same process, in the same session, with the descriptors that were inherited and no others."""
    ours, theirs = os.pipe()

    def prepare() -> None:
        os.umask(0o027)
        resource.setrlimit(resource.RLIMIT_CORE, (4096, 8192))

    argv, seen = [sys.executable, "-c", LOOK], []
    for command in (argv, [*keyrotor_argv("exec", "--playbook", str(lab.playbook)), "--", *argv]):
        process = subprocess.Popen(
            command,
            cwd=lab.home,
            env=keyrotor_env(lab),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=[theirs],
            preexec_fn=prepare,  # noqa: PLW1509  no thread runs here
            text=True,
            start_new_session=True,
        )
        out, err = process.communicate("what stands on its input", timeout=60)
        assert err == ""
        seen.append(out.replace(str(process.pid), "PID"))
    os.close(ours)
    os.close(theirs)
    assert seen[0] == seen[1]


@pytest.mark.parametrize("ignored", [(), (signal.SIGHUP,), (signal.SIGINT, signal.SIGQUIT)])
def test_signals_are_as_they_were(lab: Lab, ignored: tuple[signal.Signals, ...]) -> None:
    """What was ignored stays so (nohup), what Python ignores by itself (SIGPIPE) does not."""

    def prepare() -> None:
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)

    argv = ["grep", "-e", "SigIgn", "-e", "SigBlk", "/proc/self/status"]
    plain = subprocess.run(argv, check=True, capture_output=True, preexec_fn=prepare)
    assert run(lab, "--", *argv, preexec_fn=prepare).stdout == plain.stdout


def test_a_broken_pipe_ends_the_program_as_without_us(lab: Lab) -> None:
    """`keyrotor exec -- yes | head -1` ends."""
    line = " ".join([sys.executable, "-m", "keyrotor", "exec", "--", "yes"])
    shell = f"{line} | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", shell], check=True, cwd=lab.project, env=keyrotor_env(lab), capture_output=True
    )
    assert (done.stdout, done.stderr) == (b"y\n141\n", b"")


def test_a_signal_reaches_the_program_itself(lab: Lab, start_keyrotor: StartKeyrotor) -> None:
    """Nobody stands between: our pid is the program's."""
    process = start_keyrotor(
        lab, "exec", "--", "sh", "-c", 'trap "exit 42" TERM; echo $$; while :; do sleep 0.02; done'
    )
    assert process.stdout is not None
    assert int(process.stdout.readline()) == process.pid
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 42


def test_the_terminal_is_the_programs_own(lab: Lab) -> None:
    """It is in the foreground there, and a Ctrl-C is for it."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(lab.project)
        shell = 'trap "echo caught; exit 9" INT; test -t 0 && test -t 1 && echo ready; while :; do sleep 0.02; done'
        os.execve(sys.executable, keyrotor_argv("exec", "--", "sh", "-c", shell), keyrotor_env(lab))
    said = b""
    while b"ready" not in said:
        said += os.read(terminal, 1000)
    os.write(terminal, b"\x03")
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 9


def test_closed_standard_streams_stay_closed(lab: Lab, tmp_path: Path) -> None:
    """Started with nothing on 0, 1 and 2, the program finds nothing there, and no file of ours."""
    line = " ".join([sys.executable, "-m", "keyrotor", "exec", "--", "sh", "-c"])
    shell = f"{line} 'ls -l /proc/$$/fd > {tmp_path}/seen' <&- >&- 2>&-"
    subprocess.run(["bash", "-c", shell], check=True, cwd=lab.project, env=keyrotor_env(lab))
    plain = f"sh -c 'ls -l /proc/$$/fd > {tmp_path}/plain' <&- >&- 2>&-"
    subprocess.run(["bash", "-c", plain], check=True, cwd=lab.project, env=keyrotor_env(lab))
    seen, wanted = (
        [line.split()[8] for line in (tmp_path / name).read_text().splitlines()[1:]] for name in ("seen", "plain")
    )
    assert seen == wanted


def test_sops_errors_are_told_in_our_words_and_nothing_is_run(lab: Lab, tmp_path: Path) -> None:
    """By exit code, with the hint; what sops says itself may hold a value."""
    mark = f"touch {tmp_path}/run"
    lab.identity.rename(tmp_path / "away")
    refused = run(lab, "--", "sh", "-c", mark)
    assert (refused.returncode, refused.stdout) == (1, b"")
    assert b"no age identity here can decrypt it" in refused.stderr
    assert b"hint: export SOPS_AGE_KEY_FILE=" in refused.stderr
    (tmp_path / "away").rename(lab.identity)
    edit(lab.secret_file, "sops_mac=", "sops_mac_=")
    assert run(lab, "--", "sh", "-c", mark).returncode == 1
    no_sops = run(lab, "--", "sh", "-c", mark, env=keyrotor_env(lab, KEYROTOR_SOPS="/no/such"))
    assert (no_sops.returncode, b"hint: install sops 3.11.0 or later" in no_sops.stderr) == (1, True)
    plain = run(lab, "--", "sh", "-c", mark, env=keyrotor_env(lab, KEYROTOR_SOPS=str(lab.secret_file)))
    assert (plain.returncode, b"global.enc.env: permission denied" in plain.stderr) == (1, True)
    lab.secret_file.unlink()
    gone = run(lab, "--", "sh", "-c", mark)
    assert (gone.returncode, b"global.enc.env: there is no such file" in gone.stderr) == (1, True)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_sops_that_hangs_is_ended_with_all_that_it_started(lab: Lab, tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C while sops waits (for a key that must be touched, say) ends it and us, without a word; nothing is run."""
    hanging = tmp_path / "sops"
    hanging.write_text(f"#!/bin/sh\nsleep 300 &\necho $! $$ > {tmp_path}/pids\nwait\n")
    hanging.chmod(0o755)
    process = subprocess.Popen(
        [*keyrotor_argv("exec"), "--", "touch", str(tmp_path / "run")],
        cwd=lab.project,
        env=keyrotor_env(lab, KEYROTOR_SOPS=str(hanging)),
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    while not (tmp_path / "pids").exists() or not (tmp_path / "pids").read_text().strip():
        time.sleep(0.01)
    process.send_signal(number)
    assert (process.communicate(timeout=30)[1], process.returncode) == (b"", -number)
    pids = [int(word) for word in (tmp_path / "pids").read_text().split()]
    deadline = time.monotonic() + 10
    while any(_is_alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(_is_alive(pid) for pid in pids)
    assert not (tmp_path / "run").exists()


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_an_identity_in_the_keyring_is_enough(lab: Lab, tmp_path: Path) -> None:
    """sops asks the keyring itself, with the variables that it needs for that."""
    lab.identity.rename(tmp_path / "keyrotor-age-identity")
    edit(lab.playbook, "[secret]", '[secret]\nidentity = "keyring"')
    (tmp_path / "folder_keyring.py").write_text(BACKEND)
    config = lab.home / ".config" / "python_keyring" / "keyringrc.cfg"
    config.parent.mkdir()
    config.write_text(f"[backend]\ndefault-keyring=folder_keyring.Folder\nkeyring-path={tmp_path}\n")
    env = {name: text for name, text in keyrotor_env(lab).items() if name != "PYTHON_KEYRING_BACKEND"}
    assert values_at(run(lab, "--", "env", "-0", env=env)) == NAMES


def values_at(done: subprocess.CompletedProcess[bytes]) -> list[str]:
    assert done.returncode == 0, done.stderr
    return sorted(name.decode() for name in parsed(done.stdout) if name.decode() in NAMES)


def test_the_playbook_is_found_by_name_and_the_project_may_have_any_name(lab: Lab, tmp_path: Path) -> None:
    """With several playbooks one must be named; spaces, quotes, `%` and `$` in the path change nothing."""
    other = tmp_path / "it's a 100% $odd né folder"
    lab.project.rename(other)
    (other / "playbooks" / "second.toml").write_text((other / "playbooks" / "litellm-master-key.toml").read_text())
    how: dict[str, Any] = {"cwd": other / "secrets"}
    assert run(lab, "--", "true", **how).returncode == 2
    assert values_at(run(lab, "--playbook", "second", "--", "env", "-0", **how)) == NAMES
    assert run(lab, "--playbook", "third", "--", "true", **how).returncode == 2


BAD = {
    "no secret": "",
    "an unknown key": '[secret]\nfile = "x"\nkey = "K"\nfiel = "y"\n',
    "no file": '[secret]\nkey = "K"\n',
    "no key": '[secret]\nfile = "x"\n',
    "a number": '[secret]\nfile = 1\nkey = "K"\n',
    "a list": '[secret]\nfile = "x"\nkey = ["K"]\n',
    "an identity that is none": '[secret]\nfile = "x"\nkey = "K"\nidentity = true\n',
    "a variable that is not set": '[secret]\nfile = "${NOWHERE}/x"\nkey = "K"\n',
    "the salt": '[secret]\nfile = "x"\nkey = "LITELLM_SALT_KEY"\n',
    "no name of a variable": '[secret]\nfile = "x"\nkey = "a-b"\n',
    "no TOML": "[secret\n",
    "no table": "secret = 1\n",
    "an empty table": "[secret]\n",
    "a time": '[secret]\nfile = 2026-01-01\nkey = "K"\n',
    "an incident": "[incident]\n",
}


@pytest.mark.parametrize("bad", BAD)
def test_a_fault_of_the_secret_is_told_as_by_every_other_command(tmp_path: Path, bad: str) -> None:
    """What `exec` reads of a playbook it judges in the same words as `rotate`."""
    path = tmp_path / "it.toml"
    # `place` stands before the table of [secret], so that both are at the top of the file.
    path.write_text('name = "it"\nplace = [{kind = "sops-file"}]\n' + BAD[bad])
    told = []
    for load in (playbook.load, source.load):
        with pytest.raises(KeyrotorError) as refused:
            load(path, {})
        told.append((str(refused.value), refused.value.hint))
    assert told[0] == told[1]


def test_exec_waits_for_no_run_and_heeds_none(lab: Lab, keyrotor: Keyrotor) -> None:
    """A run that is owed blocks nobody who only reads."""
    lab.start()
    lab.wait_until_healthy()
    add_command(lab, "exit 1")
    assert keyrotor(lab, "rotate", "--yes").returncode == 21
    assert values_at(run(lab, "--", "env", "-0")) == NAMES


# -- --env-file ------------------------------------------------------------------------------------------------------


def test_the_env_file_is_handed_over_without_opening_the_encrypted_one(lab: Lab) -> None:
    """No sops is run; what stands in the file is the value, without its quotes; nothing else is changed."""
    other = secrets.token_urlsafe(8)
    with lab.env_file.open("a") as file:
        file.write(f"MINE='a b {other}'\nexport LAST=x\n")
    env = keyrotor_env(lab, KEYROTOR_SOPS="/no/such", LITELLM_MASTER_KEY="stale")
    done = run(lab, "--env-file", "--", "env", "-0", env=env)
    wanted = {name: value for name, value in values(lab).items() if name != b"GRAFANA_TOKEN"}
    wanted |= {b"MINE": f"a b {other}".encode(), b"LAST": b"x"}
    assert parsed(done.stdout) == {**{name.encode(): text.encode() for name, text in env.items()}, **wanted}
    assert (
        parsed(run(lab, "--env-file", "--only", "MINE", "--", "env", "-0", env=env).stdout)[b"LITELLM_MASTER_KEY"]
        == b"stale"
    )
    assert run(lab, "--env-file", "--only", "NO_SUCH", "--", "true").returncode == 2


def test_what_readers_take_differently_is_not_handed_over(lab: Lab) -> None:
    """A value whose meaning depends on the reader is refused by name."""
    with lab.env_file.open("a") as file:
        file.write('ODD="a$HOME"\n')
    refused = run(lab, "--env-file", "--", "true")
    assert (refused.returncode, b"cannot tell what ODD is" in refused.stderr) == (1, True)
    lab.env_file.unlink()
    refused = run(lab, "--env-file", "--", "true")
    assert (refused.returncode, b"no such file" in refused.stderr) == (1, True)


def test_a_stale_env_file_is_told(lab: Lab, keyrotor: Keyrotor) -> None:
    """By the record where it can tell: a former value; else by which file is younger. And silent where all is well."""

    def told() -> str:
        done = run(lab, "--env-file", "--", "true")
        assert done.returncode == 0
        return done.stderr.decode()

    assert told() == ""
    lab.start()
    lab.wait_until_healthy()
    old = lab.env_file.read_bytes()
    assert keyrotor(lab, "rotate", "--yes").returncode == 0
    assert told() == ""
    os.utime(lab.secret_file)  # a fresh checkout: as young as can be, and byte for byte what the run left
    assert told() == ""
    new = lab.env_file.read_bytes()
    lab.env_file.write_bytes(old)
    assert f"{lab.env_file}: stale, for its LITELLM_MASTER_KEY is a former one" in told()
    lab.env_file.write_bytes(new)
    time.sleep(0.02)
    set_value(lab, "GRAFANA_TOKEN", "another")
    assert "it may be stale, for the encrypted file was written after it" in told()
    lab.secret_file.unlink()
    assert "it cannot be told whether it is stale" in told()


def test_a_torn_env_file_is_not_handed_over(lab: Lab) -> None:
    """A file of two names is written in place; one that was killed in it has left its intent beside it."""
    old = lab.env_file.read_bytes()
    new = old.replace(lab.current_key().encode(), b"sk-a-new-one-that-is-longer-than-the-other-one")
    lab.env_file.with_name("twin").hardlink_to(lab.env_file)
    sibling = lab.env_file.with_name(".litellm.env.keyrotor")
    sibling.write_bytes(in_place.intent(old, new))
    assert run(lab, "--env-file", "--", "true").returncode == 0  # nothing was written yet
    lab.env_file.write_bytes(new[:40] + old[40:])
    refused = run(lab, "--env-file", "--", "true")
    assert (refused.returncode, b"a write of it was not finished" in refused.stderr) == (1, True)
    assert b"hint: keyrotor env " in refused.stderr


def test_env_files_that_differ_are_told(lab: Lab) -> None:
    """The last one counts, and both are named; of a key that is not asked for nothing is said."""
    other = lab.home / "other.env"
    other.write_text("LITELLM_MASTER_KEY=another\nX=1\n")
    add_place(lab, f'kind = "env-file"\npath = "{other}"\n')
    done = run(lab, "--env-file", "--", "sh", "-c", "echo $LITELLM_MASTER_KEY")
    assert done.stdout == b"another\n"
    assert f"LITELLM_MASTER_KEY is not the same in {lab.env_file} and {other}" in done.stderr.decode()
    assert b"not the same" not in run(lab, "--env-file", "--only", "X", "--", "true").stderr


def test_it_is_told_where_a_former_value_cannot(lab: Lab, keyrotor: Keyrotor) -> None:
    """The fingerprint key is lost: nobody can say what the record knows of this value."""
    lab.start()
    lab.wait_until_healthy()
    assert keyrotor(lab, "rotate", "--yes").returncode == 0
    for path in lab.state.glob("*fingerprint*"):
        path.unlink()
    told = run(lab, "--env-file", "--", "true").stderr
    assert b"it cannot be told whether it is stale: the record's fingerprints were made with another key" in told


def test_no_other_command_is_loaded() -> None:
    """What is typed all day costs no more than it must; and yet every command that there is can be asked for."""
    code = """
import sys
from keyrotor.cli import main
main.commands["exec"]
print(*sorted(sys.modules))
import importlib, pkgutil, click, keyrotor.cli
names = [each.name for each in pkgutil.iter_modules(keyrotor.cli.__path__)]
every = [each for name in names for each in vars(importlib.import_module(f"keyrotor.cli.{name}")).values()]
every = {each.name for each in every if isinstance(each, click.Command)}
groups = {name for group in ("service", "clients", "timer", "incident") for name in main.commands[group].commands}
print(*sorted(every - groups - set(main.commands)))
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    loaded, forgotten = done.stdout.splitlines()
    assert {"keyrotor.cli.exec"} == {name for name in loaded.split() if name.startswith("keyrotor.cli.")} - {
        "keyrotor.cli.shell"
    }
    assert "keyrotor.core.model" not in loaded.split()
    assert forgotten == ""
