"""`env`: the env files made to hold what the encrypted file holds, and nothing else in them changed. On real sops."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import resource
import secrets
import stat
import subprocess
from pathlib import Path
from shutil import which

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
    missing,
    tree,
)
from test_exec import set_value

from keyrotor.demo.build import AUTHOR
from keyrotor.demo.lab import Lab
from keyrotor.formats import dotenv

MASTER, SALT = "LITELLM_MASTER_KEY", "LITELLM_SALT_KEY"


@pytest.fixture
def lab(make_lab: MakeLab) -> Lab:
    """The files of a lab; no gateway runs."""
    return make_lab(unit=False, start=False)


def held(path: Path) -> dict[str, str]:
    return {name: value.decode() for name, value in dotenv.values(path.read_bytes()).items()}


def wanted(lab: Lab, *names: str) -> dict[str, str]:
    return {name: lab.current_key(name) for name in (names or (MASTER, SALT))}


def second_place(lab: Lab, path: str, keys: list[str] | None = None) -> Path:
    add_place(lab, f'kind = "env-file"\npath = "~/{path}"\n' + (f"keys = {json.dumps(keys)}\n" if keys else ""))
    return lab.home / path


def says_no_value(lab: Lab, done: subprocess.CompletedProcess[str]) -> None:
    for name in (MASTER, SALT, "GRAFANA_TOKEN"):
        assert lab.current_key(name) not in done.stdout + done.stderr


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_an_absent_file_is_made_whole_and_private(lab: Lab, keyrotor: Keyrotor, umask: int) -> None:
    """With the keys that the place names, for its owner only, whatever the umask; folders too."""
    lab.env_file.unlink()
    lab.env_file.parent.rmdir()
    before = os.umask(umask)
    try:
        done = keyrotor(lab, "env")
    finally:
        os.umask(before)
    assert (done.returncode, done.stdout) == (0, f"{lab.env_file}: made\n")
    assert held(lab.env_file) == wanted(lab)
    assert stat.S_IMODE(lab.env_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(lab.env_file.parent.stat().st_mode) == 0o700
    assert lab.state.exists() is False
    says_no_value(lab, done)


def test_only_what_differs_is_replaced(lab: Lab, keyrotor: Keyrotor) -> None:
    """Comments, order, keys that are not ours, mode and links stay; a second time nothing is written."""
    real = lab.env_file.with_name("real.env")
    lab.env_file.rename(real)
    lab.env_file.symlink_to(real)
    text = "# mine\nMINE=a b # c\n export LITELLM_MASTER_KEY = \"of old\" \nB='x\ny'\n# old stuff \\"
    real.write_bytes(text.encode())
    real.chmod(0o640)
    done = keyrotor(lab, "env")
    assert (done.returncode, done.stdout) == (0, f"{lab.env_file}: {MASTER} replaced; {SALT} added\n")
    keys = wanted(lab)
    brought = text.replace('export LITELLM_MASTER_KEY = "of old"', f"{MASTER}={keys[MASTER]}")
    assert real.read_bytes() == f"{brought}\n\n{SALT}={keys[SALT]}\n".encode()
    assert lab.env_file.is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    before = tree(lab)
    again = keyrotor(lab, "env")
    assert (again.returncode, again.stdout, again.stderr) == (0, "", f"{lab.env_file}: unchanged\n")
    assert differing(before, tree(lab)) == []


def test_values_that_must_be_quoted_are_written_as_all_readers_take_them(lab: Lab, keyrotor: Keyrotor) -> None:
    """The other keys of the file may hold anything that some quotes hold; bash reads them back."""
    odd = {"URL": "postgres://u:p ss@h/db?x=$1&y=#z", "JSON": '{"a": "b\\n"}', "NOTE": "it's; a note", "EMPTY": ""}
    for name, value in odd.items():
        set_value(lab, name, value)
    file = second_place(lab, "all of it/all.env")
    done = keyrotor(lab, "env")
    assert done.returncode == 0, done.stderr
    assert held(file) == wanted(lab, MASTER, SALT, "GRAFANA_TOKEN") | odd
    shell = 'set -aeu; . "$1"; for name in URL JSON NOTE EMPTY; do printf "%s\\n" "${!name}"; done'
    said = subprocess.run(["bash", "-c", shell, "bash", str(file)], check=True, capture_output=True, text=True)
    assert said.stdout == "".join(f"{value}\n" for value in odd.values())
    # The same value, written so that readers differ in it, is written anew.
    edit(file, "'postgres://u:p ss@h/db?x=$1&y=#z'", '"postgres://u:p ss@h/db?x=$1&y=#z"')
    assert "URL not as in the encrypted file" in keyrotor(lab, "env", "--check").stdout
    assert keyrotor(lab, "env").stdout == f"{file}: URL replaced\n"
    assert keyrotor(lab, "rotate", "--dry-run").returncode == 3  # no gateway runs here; the env files are no reason
    assert "env" not in keyrotor(lab, "rotate", "--dry-run").stderr.replace(str(lab.root), "").partition("hint")[0]


def test_a_value_that_no_quotes_hold_is_refused_before_anything_is_written(lab: Lab, keyrotor: Keyrotor) -> None:
    """By its name, not by its value; no other file is written, either."""
    marker = f"marker-{secrets.token_hex(8)}"
    set_value(lab, "ODD", f"it's ${marker}")
    second_place(lab, "all.env")
    edit(lab.env_file, MASTER, f"{MASTER}_OF_OLD")
    before = tree(lab)
    done = keyrotor(lab, "env")
    assert done.returncode == 3
    assert f"cannot write {lab.home}/all.env: ODD: its quotes" in done.stderr
    assert marker not in done.stderr
    assert f"hint: keys = […] in the env-file of {lab.playbook}  (leave ODD out; keyrotor exec " in done.stderr
    assert "hint" not in keyrotor(lab, "env", "--check").stderr
    assert differing(before, tree(lab)) == []
    assert keyrotor(lab, "env", "--only", MASTER).returncode == 3  # an absent file is always made whole


def test_a_salt_key_is_never_overwritten(lab: Lab, keyrotor: Keyrotor) -> None:
    """Whatever the encrypted file says now: the models in the gateway's database need the one that it runs with."""
    edit(lab.env_file, wanted(lab)[SALT], "sk-the-salt-that-the-database-needs")
    edit(lab.env_file, wanted(lab)[MASTER], "of-old")
    before = tree(lab)
    done = keyrotor(lab, "env")
    assert done.returncode == 3
    assert f"its {SALT} differs from the encrypted file" in done.stderr
    assert "needs" not in done.stderr
    assert differing(before, tree(lab)) == []
    checked = keyrotor(lab, "env", "--check")
    assert (checked.returncode, f"its {SALT} differs from the encrypted file" in checked.stderr) == (10, True)
    assert keyrotor(lab, "env", "--only", MASTER).returncode == 0
    assert held(lab.env_file) == {MASTER: wanted(lab)[MASTER], SALT: "sk-the-salt-that-the-database-needs"}


def test_a_mode_that_lets_others_read_is_mended_before_a_value_is_written(lab: Lab, keyrotor: Keyrotor) -> None:
    """Nothing but the mode is changed where the values are right."""
    lab.env_file.chmod(0o644)
    data = lab.env_file.read_bytes()
    assert keyrotor(lab, "env", "--check").returncode == 10
    done = keyrotor(lab, "env")
    assert (done.returncode, done.stdout) == (0, f"{lab.env_file}: mode 0644 taken from others\n")
    assert (lab.env_file.read_bytes(), stat.S_IMODE(lab.env_file.stat().st_mode)) == (data, 0o600)


def test_check_writes_nothing_and_names_what_differs(lab: Lab, keyrotor: Keyrotor) -> None:
    """10 with file and keys, never a value; 0 where all is the same."""
    before = tree(lab)
    assert keyrotor(lab, "env", "--check").returncode == 0
    assert differing(before, tree(lab)) == []
    lab.env_file.write_text(f"{MASTER}=other\nMINE=x\n")
    absent = second_place(lab, "absent.env")
    before = tree(lab)
    done = keyrotor(lab, "env", "--check")
    told = f"{lab.env_file}: {MASTER} not as in the encrypted file; {SALT} missing\n{absent}: absent\n"
    assert (done.returncode, done.stdout) == (10, told)
    assert differing(before, tree(lab)) == []
    says_no_value(lab, done)


def test_what_a_killed_one_left_is_cleared_away(lab: Lab, keyrotor: Keyrotor) -> None:
    """Killed between two files, or in the midst of one: the next one makes all of them whole, and leaves nothing."""
    second = second_place(lab, "second.env")
    torn = lab.env_file.with_name(".litellm.env.keyrotor")
    torn.write_text(f"{MASTER}=half of it")
    edit(lab.env_file, wanted(lab)[MASTER], "of-old")
    second.with_name(".second.env.keyrotor").write_text("half")
    assert keyrotor(lab, "env").returncode == 0
    assert held(lab.env_file) == wanted(lab)
    assert held(second) == wanted(lab, MASTER, SALT, "GRAFANA_TOKEN")
    assert [path for path in (torn, second.with_name(".second.env.keyrotor")) if path.exists()] == []


def test_what_lies_beside_a_file_that_is_right_is_cleared_away(lab: Lab, keyrotor: Keyrotor) -> None:
    """It may hold values."""
    left = lab.env_file.with_name(".litellm.env.keyrotor")
    left.write_text(f"{MASTER}=half of it")
    done = keyrotor(lab, "env")
    assert (done.returncode, done.stdout, left.exists()) == (0, "", False)


def test_several_shells_at_once_all_end_well(lab: Lab, start_keyrotor: StartKeyrotor) -> None:
    """Whoever finds nothing to do takes no lock, and whoever must write waits for the one that does."""
    lab.env_file.unlink()
    shells = [start_keyrotor(lab, "env") for _ in range(4)]
    assert [shell.wait(60) for shell in shells] == [0] * 4
    assert held(lab.env_file) == wanted(lab)


def test_a_file_behind_a_link_that_leads_nowhere_is_made(lab: Lab, keyrotor: Keyrotor, tmp_path: Path) -> None:
    """Where the link leads, with its folder: a tmpfs is empty after a boot. A link to itself is refused."""
    lab.env_file.unlink()
    lab.env_file.symlink_to(tmp_path / "run" / "real.env")
    done = keyrotor(lab, "env")
    assert (done.returncode, done.stdout) == (0, f"{lab.env_file}: made\n"), done.stderr
    assert stat.S_IMODE((tmp_path / "run" / "real.env").stat().st_mode) == 0o600
    assert lab.env_file.is_symlink()
    assert held(lab.env_file) == wanted(lab)
    (tmp_path / "file").write_text("")
    for target, why in ((tmp_path / "file" / "real.env", "is not there"), (lab.env_file, "leads back to itself")):
        lab.env_file.unlink()
        lab.env_file.symlink_to(target)
        refused = keyrotor(lab, "env")
        assert (refused.returncode, "it is a link" in refused.stderr, why in refused.stderr) == (3, True, True)


def test_one_that_cannot_be_written_after_all_does_not_hide_the_others(lab: Lab, keyrotor: Keyrotor) -> None:
    """What was written before it is told, and what was not; no file may be so long here (RLIMIT_FSIZE)."""
    second = second_place(lab, "second.env", ["LONG", MASTER])
    third = second_place(lab, "third.env", [MASTER])
    set_value(lab, "LONG", "x" * 60_000)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))

    for more in (["--json"], []):
        edit(lab.env_file, wanted(lab)[MASTER], "of-old")
        done = subprocess.run(
            keyrotor_argv("env", *more),
            check=False,
            cwd=lab.project,
            env=keyrotor_env(lab),
            capture_output=True,
            text=True,
            preexec_fn=limit,
        )
        assert done.returncode == 1, done.stderr
        assert held(lab.env_file) == wanted(lab)
        if more:
            told = json.loads(done.stdout)
            assert (told["exit"], [each["state"] for each in told["files"]]) == (1, ["written", "absent", "absent"])
            assert [len(each["reasons"]) for each in told["files"]] == [0, 1, 0]
    assert done.stdout == f"{lab.env_file}: {MASTER} replaced\n{second}: absent\n{third}: absent\n"
    assert f"cannot make {second}: file too large" in done.stderr
    assert "nothing was changed" not in done.stderr


def test_keys_that_the_encrypted_file_lacks_are_told(lab: Lab, keyrotor: Keyrotor) -> None:
    """As a reason, also where the rest is right; and by `--print`, before a line is printed."""
    playbook = lab.playbook.read_text()
    edit(lab.playbook, f'keys = ["{MASTER}"', f'keys = ["NO_SUCH", "{MASTER}"')
    assert lab.playbook.read_text() != playbook
    with lab.env_file.open("a") as file:
        file.write("NO_SUCH=x\n")
    for more, code in (["--check"], 10), ([], 3):
        done = keyrotor(lab, "env", *more)
        assert (done.returncode, "the encrypted file has no key NO_SUCH" in done.stderr) == (code, True)
    printed = keyrotor(lab, "env", "--print")
    assert (printed.returncode, printed.stdout) == (3, "")
    assert "cannot print NO_SUCH" in printed.stderr
    refused = keyrotor(lab, "env", "--print", "--only", "GRAFANA_TOKEN")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "cannot find the key GRAFANA_TOKEN" in refused.stderr
    assert keyrotor(lab, "env", "--print", "--only", MASTER).returncode == 0


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{}={} # the key\n", "line 1 has a comment behind the value"),
        ("{}={}\r\n", "line 1 ends in CRLF"),
        ("; old\n{}={}\n", "line 1 is a comment with `;`"),
        ("\ufeff{}={}\n", "it begins with a byte order mark"),
        ("# old \\\n{}={}\n", "the comment above line 2 ends in a backslash"),
    ],
)
def test_a_line_that_readers_take_differently_is_named(lab: Lab, keyrotor: Keyrotor, line: str, why: str) -> None:
    """Not called the same, and not written, for the comment is not ours to take away."""
    salt = f"{SALT}={wanted(lab)[SALT]}\n"
    lab.env_file.write_text(line.format(MASTER, wanted(lab)[MASTER]) + salt, newline="")
    before = tree(lab)
    checked = keyrotor(lab, "env", "--check")
    assert (checked.returncode, why in checked.stderr, "hint" in checked.stderr) == (10, True, False)
    refused = keyrotor(lab, "env")
    assert (refused.returncode, why in refused.stderr) == (3, True)
    assert differing(before, tree(lab)) == []


def test_a_pipe_in_its_place_is_told_once(lab: Lab, keyrotor: Keyrotor) -> None:
    """And is not waited for."""
    lab.env_file.unlink()
    os.mkfifo(lab.env_file)
    for command in (["env"], ["exec", "--env-file", "true"]):
        assert f"keyrotor: cannot read {lab.env_file}: it is not a file\n" in keyrotor(lab, *command).stderr


def test_it_works_wherever_it_is_typed(lab: Lab, keyrotor: Keyrotor, tmp_path: Path) -> None:
    """From a folder below, by name, by path; with odd characters in the paths, which it shows as they are."""
    odd = second_place(lab, "it's 100% né/$all.env", [MASTER])
    other = tmp_path / "it's a $odd folder"
    lab.project.rename(other)
    playbook = other / "playbooks" / lab.playbook.name
    done = subprocess.run(
        keyrotor_argv("env", str(playbook)), check=False, cwd="/", env=keyrotor_env(lab), capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, f"{odd}: made\n"), done.stderr
    assert list(held(odd)) == [MASTER]
    again = subprocess.run(
        keyrotor_argv("env"), check=True, cwd=other / "secrets", env=keyrotor_env(lab), capture_output=True, text=True
    )
    assert again.stdout == ""


def test_only_some_keys(lab: Lab, keyrotor: Keyrotor) -> None:
    """`--only` leaves the others as they are; a key that is none of theirs is an error (2)."""
    lab.env_file.write_text(f"{MASTER}=other\n{SALT}=other\n")
    assert keyrotor(lab, "env", "--only", MASTER).stdout == f"{lab.env_file}: {MASTER} replaced\n"
    assert held(lab.env_file)[SALT] == "other"
    edit(lab.env_file, wanted(lab)[MASTER], "of-old")
    checked = keyrotor(lab, "env", "--check", "--only", MASTER, str(lab.playbook))
    assert f"hint: keyrotor env {lab.playbook}\n" in checked.stderr  # as it was typed
    for unknown in ("NO_SUCH", "GRAFANA_TOKEN"):  # the second is in the encrypted file, but not in `keys`
        refused = keyrotor(lab, "env", "--only", unknown)
        assert (refused.returncode, f"cannot find the key {unknown}" in refused.stderr) == (2, True)


def test_a_file_that_cannot_be_read_as_one_is_left_alone(lab: Lab, keyrotor: Keyrotor) -> None:
    """A conflict marker, say; with file, line and column."""
    with lab.env_file.open("a") as file:
        file.write("<<<<<<< HEAD\n")
    before = tree(lab)
    done = keyrotor(lab, "env")
    assert done.returncode == 3
    assert f"cannot read {lab.env_file}: expected KEY=value or a comment at line 3, column 1" in done.stderr
    assert differing(before, tree(lab)) == []


def test_without_an_env_file_the_lines_to_add_are_told(lab: Lab, keyrotor: Keyrotor) -> None:
    """And they are lines that work; `--print` needs none."""
    text = lab.playbook.read_text()
    head, _, rest = text.partition('[[place]]\nkind = "env-file"')
    lab.playbook.write_text(head + "[[place]]" + rest.partition("[[place]]")[2])
    printed = keyrotor(lab, "env", "--print")
    assert printed.stdout.count("export ") == 3, printed.stderr
    refused = keyrotor(lab, "env")
    assert refused.returncode == 3
    lines = refused.stderr.partition("[[place]]")[2]
    lab.playbook.write_text(lab.playbook.read_text() + "\n[[place]]" + lines)
    assert keyrotor(lab, "env", "--check").returncode in (0, 10)


# -- runs and records ------------------------------------------------------------------------------------------------


def test_a_run_that_is_going_on_or_owed_is_waited_for(lab: Lab, keyrotor: Keyrotor) -> None:
    """30 while the lock is held, 22 while a run is owed; what only reads, or has nothing to write, is not blocked."""
    folder = os.open(lab.secret_file.parent, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    assert keyrotor(lab, "env").returncode == 0
    assert keyrotor(lab, "env", "--check").returncode == 0
    right = lab.env_file.read_bytes()
    edit(lab.env_file, SALT, f"{SALT}_OF_OLD")
    assert keyrotor(lab, "env").returncode == 30
    lab.env_file.write_bytes(right)
    os.close(folder)
    lab.start()
    lab.wait_until_healthy()
    add_command(lab, "exit 1")
    assert keyrotor(lab, "rotate", "--yes").returncode == 21
    edit(lab.env_file, SALT, f"{SALT}_OF_OLD")
    refused = keyrotor(lab, "env")
    assert (refused.returncode, "hint: keyrotor resume" in refused.stderr) == (22, True)
    assert keyrotor(lab, "env", "--check").returncode in (0, 10)
    assert keyrotor(lab, "env", "--print").returncode == 0


def test_a_former_value_is_not_brought_back(lab: Lab, keyrotor: Keyrotor) -> None:
    """A stale checkout: nothing is materialised from it, nor printed, nor compared."""
    lab.start()
    lab.wait_until_healthy()
    former = lab.secret_file.read_bytes()
    old = lab.current_key()
    assert keyrotor(lab, "rotate", "--yes").returncode == 0
    lab.run("git", *AUTHOR, "commit", "--quiet", "--all", "--message", "rotated")
    lab.secret_file.write_bytes(former)
    before = tree(lab)
    for more in ([], ["--check"], ["--print"]):
        refused = keyrotor(lab, "env", *more)
        assert (refused.returncode, refused.stdout) == (3, ""), more
        assert "cannot materialise: " in refused.stderr
        assert "holds a former value" in refused.stderr
        assert old not in refused.stderr
    assert keyrotor(lab, "env", "--check", "--only", SALT).returncode == 0  # that one is no former value
    assert keyrotor(lab, "env", "--only", SALT).returncode == 0
    assert differing(before, tree(lab)) == []


def test_a_value_that_was_set_by_hand_is_materialised(lab: Lab, keyrotor: Keyrotor) -> None:
    """It is no former one."""
    lab.start()
    lab.wait_until_healthy()
    assert keyrotor(lab, "rotate", "--yes").returncode == 0
    set_value(lab, MASTER, "sk-by-hand-0123456789")
    assert keyrotor(lab, "env").returncode == 0
    assert held(lab.env_file)[MASTER] == "sk-by-hand-0123456789"


# -- what reads it ---------------------------------------------------------------------------------------------------


def test_what_is_printed_is_what_a_shell_evaluates(lab: Lab, keyrotor: Keyrotor) -> None:
    """`eval "$(keyrotor env --print)"` in sh gives the very values, whatever is in them; nothing is written."""
    odd = {"A": 'it\'s "x" $HOME `id` \\n', "B": "a\nb\n\n", "C": "é 💥 *", "D": "", "E": "'"}
    for name, value in odd.items():
        set_value(lab, name, value)
    second_place(lab, "no such folder/all.env")
    before = tree(lab)
    command = " ".join(keyrotor_argv("env", "--print"))
    shell = f'set -eu; eval "$({command})"; exec env -0'
    done = subprocess.run(["sh", "-c", shell], check=True, cwd=lab.project, env=keyrotor_env(lab), capture_output=True)
    found = dict(entry.split("=", 1) for entry in done.stdout.decode().split("\0") if entry)
    assert {name: found.get(name) for name in odd} == odd
    assert found[MASTER] == lab.current_key()
    assert differing(before, tree(lab)) == []
    only = keyrotor(lab, "env", "--print", "--only", "C", "--only", "E").stdout
    assert only == "export C='é 💥 *'\nexport E=''\"'\"''\n"


def test_values_are_not_printed_where_they_would_be_seen(lab: Lab) -> None:
    """A terminal is refused without --force; so are --json and --check, which show none."""
    said = {}
    for force in ("", "--force"):
        pid, terminal = pty.fork()
        if pid == 0:
            os.chdir(lab.project)
            words = keyrotor_argv("env", "--print", *filter(None, [force]))
            os.execve(words[0], words, keyrotor_env(lab))
        out = b""
        while part := _read(terminal):
            out += part
        said[force] = (os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), lab.current_key().encode() in out)
        os.close(terminal)
    assert said == {"": (2, False), "--force": (0, True)}


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # the other end is closed
        return b""


@pytest.mark.parametrize("more", [["--print", "--json"], ["--print", "--check"], ["--force"]])
def test_what_does_not_go_together_is_an_error(lab: Lab, keyrotor: Keyrotor, more: list[str]) -> None:
    """2, and nothing is read or shown."""
    done = keyrotor(lab, "env", *more)
    assert done.returncode == 2
    assert "export" not in done.stdout


def test_values_go_nowhere_else_when_standard_output_is_closed(lab: Lab) -> None:
    """Descriptor 1 may be another file of ours then."""
    shell = " ".join([*keyrotor_argv("env", "--print"), ">&-"])
    done = subprocess.run(
        ["bash", "-c", shell], check=False, cwd=lab.project, env=keyrotor_env(lab), capture_output=True
    )
    assert (done.returncode, b"standard output is closed" in done.stderr) == (2, True)


def test_a_name_that_is_no_variable_is_not_printed(lab: Lab, keyrotor: Keyrotor) -> None:
    """`eval` would take it for a command."""
    second_place(lab, "all.env")
    set_value(lab, "A;touch x", "v")
    done = keyrotor(lab, "env", "--print")
    assert (done.returncode, done.stdout) == (3, "")
    assert "not the name of a variable" in done.stderr


def test_direnv_loads_what_was_materialised(lab: Lab, keyrotor: Keyrotor) -> None:
    """An `.envrc` with `dotenv_if_exists` needs no new approval after the value has changed."""
    if not which("direnv"):
        missing("no direnv")
    (lab.project / ".envrc").write_text(f"dotenv_if_exists {lab.env_file}\n")
    lab.run("direnv", "allow", ".")
    for value in (lab.current_key(), "sk-another-0123456789"):
        set_value(lab, MASTER, value)
        keyrotor(lab, "env")
        assert lab.run("direnv", "exec", ".", "sh", "-c", f"echo ${MASTER}") == f"{value}\n"


def test_json_is_one_object_without_a_value(lab: Lab, keyrotor: Keyrotor) -> None:
    """Every state; the rest goes to standard error."""
    states = []
    second_place(lab, "second.env", [MASTER])
    lab.env_file.write_text(f"{MASTER}=other\n")
    for more in (["--check"], [], ["--check"]):
        done = keyrotor(lab, "env", "--json", *more)
        told = json.loads(done.stdout)
        states.append((done.returncode, told["exit"], [each["state"] for each in told["files"]]))
        says_no_value(lab, done)
    lab.env_file.chmod(0o604)
    states.append(json.loads(keyrotor(lab, "env", "--json").stdout)["files"][0]["state"])
    assert states == [
        (10, 10, ["differs", "absent"]),
        (0, 0, ["written", "made"]),
        (0, 0, ["same", "same"]),
        "mended",
    ]
