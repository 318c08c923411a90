"""One row for each bad input: one clear message that says what to do, the right exit code, and nothing changed."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from on_lab import (
    Keyrotor,
    MakeLab,
    add_place,
    differing,
    edit,
    in_project,
    keyrotor_argv,
    keyrotor_env,
    missing,
    new_value,
    tree,
)

from keyrotor.demo.lab import Lab
from keyrotor.demo.user_systemd import UserManager

Spoil = Callable[[Lab], dict[str, str] | None]


def refused(
    keyrotor: Keyrotor,
    lab: Lab,
    code: int,
    *said: str,
    env: dict[str, str] | None = None,
    besides: tuple[str, ...] = (),
) -> str:
    """A rotation answers with this code and these words, shows no value or traceback, and changes nothing."""
    before, pid = tree(lab), lab.runner.main_pid()
    done = keyrotor(lab, "rotate", "--yes", env=env)
    assert done.returncode == code, (done.stdout, done.stderr)
    message = done.stderr
    assert message.startswith("keyrotor: ")
    assert message.count("keyrotor: ") == 1, "one message"
    assert "Traceback" not in message
    assert "internal error" not in message
    assert "sk-" not in message
    for words in said:
        assert words in message, message
    assert differing(before, tree(lab)) == []
    assert lab.runner.main_pid() == pid
    return message


def lines(lab: Lab, change: Callable[[list[str]], list[str]]) -> None:
    """Change the encrypted file by hand, line by line."""
    found = lab.secret_file.read_text().splitlines(keepends=True)
    lab.secret_file.write_text("".join(change(found)))


def line_of(found: list[str], key: str) -> int:
    return next(at for at, line in enumerate(found) if line.startswith(f"{key}="))


def no_sops(lab: Lab) -> dict[str, str]:
    return {"KEYROTOR_SOPS": str(lab.root / "nowhere" / "sops")}


def old_sops(lab: Lab) -> dict[str, str]:
    script = lab.root / "old-sops"
    script.write_text('#!/bin/sh\ntest "$1" = --version || exit 99\necho "sops 3.10.2 (latest)"\n')
    script.chmod(0o755)
    return {"KEYROTOR_SOPS": str(script)}


def something_else_as_sops(lab: Lab) -> dict[str, str]:
    return {"KEYROTOR_SOPS": "/bin/true"}


def no_identity(lab: Lab) -> None:
    lab.identity.rename(lab.root / "identity")


def another_identity(lab: Lab) -> None:
    import pyrage  # type: ignore[import-untyped]

    lab.identity.write_text(f"{pyrage.x25519.Identity.generate()}\n")


def tampered_value(lab: Lab) -> None:
    def change(found: list[str]) -> list[str]:
        at = line_of(found, "LITELLM_SALT_KEY")
        other = line_of(found, "GRAFANA_TOKEN")
        found[at] = "LITELLM_SALT_KEY=" + found[other].partition("=")[2]
        return found

    lines(lab, change)


def removed_line(lab: Lab) -> None:
    lines(lab, lambda found: [line for line in found if not line.startswith("GRAFANA_TOKEN=")])


def key_absent(lab: Lab) -> None:
    edit(lab.playbook, 'key      = "LITELLM_MASTER_KEY"', 'key      = "LITELLM_MASTER_KEYS"')


def key_twice(lab: Lab) -> None:
    lines(lab, lambda found: [found[line_of(found, "LITELLM_MASTER_KEY")], *found])


def clear_rule(lab: Lab) -> None:
    lines(lab, lambda found: [*found, "sops_encrypted_regex=^GRAFANA\n"])


def clear_value(lab: Lab) -> None:
    def change(found: list[str]) -> list[str]:
        found[line_of(found, "LITELLM_MASTER_KEY")] = "LITELLM_MASTER_KEY=in-the-clear-by-hand\n"
        return found

    lines(lab, change)


def crlf(lab: Lab) -> None:
    lab.secret_file.write_bytes(lab.secret_file.read_bytes().replace(b"\n", b"\r\n"))


def conflict(lab: Lab) -> None:
    lines(lab, lambda found: ["<<<<<<< HEAD\n", *found, "=======\n", *found, ">>>>>>> theirs\n"])


def plaintext(lab: Lab) -> None:
    lab.secret_file.write_text("LITELLM_MASTER_KEY=a-plaintext-by-mistake\n")


def empty(lab: Lab) -> None:
    lab.secret_file.write_text("")


def no_file(lab: Lab) -> None:
    lab.secret_file.unlink()


def no_folder(lab: Lab) -> None:
    shutil.rmtree(lab.secret_file.parent)


def a_folder_instead(lab: Lab) -> None:
    lab.secret_file.unlink()
    lab.secret_file.mkdir()


def client_malformed(lab: Lab) -> None:
    lab.settings.write_text('{\n  "customModels": [\n    oops\n  ]\n}\n')


def env_file_malformed(lab: Lab) -> None:
    lab.env_file.write_text(f"LITELLM_MASTER_KEY={lab.current_key()}\nthis is no assignment\n")


def env_file_with_another_salt(lab: Lab) -> None:
    lab.env_file.write_text(f"LITELLM_MASTER_KEY={lab.current_key()}\nLITELLM_SALT_KEY={new_value()}\n")


def config_malformed(lab: Lab) -> None:
    lab.config.write_text("model_list: [\n")


def key_is_a_number(lab: Lab) -> None:
    edit(lab.config, "os.environ/LITELLM_MASTER_KEY", "12345678")


def open_without_database(lab: Lab) -> None:
    lab.config.write_text(lab.config.read_text() + "  allow_requests_on_db_unavailable: true\n")


def no_bus(lab: Lab) -> dict[str, str]:
    empty_folder = lab.root / "no-bus"
    empty_folder.mkdir(mode=0o700)
    return {"XDG_RUNTIME_DIR": str(empty_folder)}


def absent_unit(lab: Lab) -> None:
    edit(lab.playbook, str(lab.unit), "nobody-knows-this.service")


ROWS: list[tuple[Spoil, int, tuple[str, ...]]] = [
    (no_sops, 3, ("no such program", "hint: install sops 3.11.0")),
    (old_sops, 3, ("3.10.2", "hint: install sops 3.11.0")),
    (something_else_as_sops, 3, ("does not say which version", "hint: install sops 3.11.0")),
    (no_identity, 3, ("no age identity", "hint: export SOPS_AGE_KEY_FILE")),
    (another_identity, 3, ("no age identity", "hint: export SOPS_AGE_KEY_FILE")),
    (tampered_value, 3, ("tampered", "hint: git log -p")),
    (removed_line, 3, ("checksum does not match", "hint: git log -p")),
    (key_absent, 3, ("no key LITELLM_MASTER_KEYS",)),
    (key_twice, 3, ("2 times",)),
    (clear_rule, 3, ("in clear", "encrypted_regex")),
    (clear_value, 3, ("in clear",)),
    (crlf, 3, ("CRLF", "eol=lf")),
    (conflict, 3, ("conflict markers", "resolve the merge")),
    (plaintext, 3, ("not encrypted",)),
    (empty, 3, ("not encrypted",)),
    (no_file, 3, ("global.enc.env", "no such file")),
    (no_folder, 3, ("secrets", "no such")),
    (a_folder_instead, 3, ("global.enc.env", "directory")),
    (client_malformed, 3, ("settings.json", "line 3, column 5")),
    (env_file_malformed, 3, ("litellm.env", "line 2, column 1")),
    (env_file_with_another_salt, 3, ("LITELLM_SALT_KEY differs",)),
    (config_malformed, 3, ("litellm-unified.yaml", "line 2")),
    (key_is_a_number, 3, ("number", "quote it")),
    (open_without_database, 3, ("allow_requests_on_db_unavailable", "remove it")),
    (no_bus, 3, ("no bus", "XDG_RUNTIME_DIR")),
    (absent_unit, 3, ("nobody-knows-this.service", "not-found")),
]


@pytest.mark.parametrize(("spoil", "code", "said"), ROWS, ids=[row[0].__name__ for row in ROWS])
def test_bad_input_is_refused(lab: Lab, keyrotor: Keyrotor, spoil: Spoil, code: int, said: tuple[str, ...]) -> None:
    """One message with what to do, that exit code, not a byte changed."""
    env = spoil(lab)
    refused(keyrotor, lab, code, *said, env=env)


def test_a_masked_unit_is_refused(lab: Lab, keyrotor: Keyrotor, manager: UserManager) -> None:
    """3, with the command that unmasks it."""
    manager.systemctl("stop", str(lab.unit))
    unit = manager.units / str(lab.unit)
    text = unit.read_text()
    unit.unlink()
    unit.symlink_to("/dev/null")
    manager.systemctl("daemon-reload")
    try:
        refused(keyrotor, lab, 3, "masked", "unmask")
    finally:
        unit.unlink()
        unit.write_text(text)
        manager.systemctl("daemon-reload")


def test_the_runtime_folder_is_derived_from_the_uid(lab: Lab, keyrotor: Keyrotor) -> None:
    """Without XDG_RUNTIME_DIR the uid's own folder is asked; where there is no bus in it, 3 with what to export."""
    own = Path(f"/run/user/{os.getuid()}")
    if (own / "bus").exists() or (own / "systemd" / "private").exists():
        pytest.skip("a real session of this user would be asked")
    environment = keyrotor_env(lab)
    del environment["XDG_RUNTIME_DIR"]
    before = tree(lab)
    done = subprocess.run(
        keyrotor_argv("rotate", "--yes"), check=False, cwd=lab.project, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 3, (done.stdout, done.stderr)
    assert f"XDG_RUNTIME_DIR={own}" in done.stderr
    assert differing(before, tree(lab)) == []


@pytest.mark.parametrize("place", ["env_file", "settings", "secret_file"])
def test_a_read_only_file_is_refused(lab: Lab, keyrotor: Keyrotor, place: str) -> None:
    """A file that its owner has closed to writes is meant to be closed: 3, with the command that opens it."""
    path: Path = getattr(lab, place)
    path.chmod(0o400)
    refused(keyrotor, lab, 3, str(path), "read-only", "chmod u+w")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away and become somebody else")
def test_another_owners_client_file_keeps_its_owner(lab: Lab, keyrotor: Keyrotor) -> None:
    """Root may write it: the new content belongs to the same user and group as before."""
    os.chown(lab.settings, 4321, 4321)
    assert keyrotor(lab, "rotate", "--yes").returncode == 0
    status = lab.settings.stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (4321, 4321, 0o600)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away and become somebody else")
def test_another_owners_file_is_refused_without_root(make_lab: MakeLab, keyrotor: Keyrotor) -> None:
    """Somebody else's client file: 3, naming its owner. Asked of the same check, as a user without rights."""
    lab = make_lab(unit=False, start=False)
    lab.settings.chmod(0o666)
    for folder in (lab.settings, *lab.settings.parents):
        if folder == Path("/tmp"):
            break
        folder.chmod(folder.stat().st_mode | 0o055)
    program = (
        "import os, sys; from pathlib import Path; from keyrotor.boundary import writable;"
        "os.setgroups([]); os.setgid(4321); os.setuid(4321); print(writable.refusals(Path(sys.argv[1])))"
    )
    done = subprocess.run(
        [*keyrotor_argv()[:1], "-c", program, str(lab.settings)],
        check=True,
        env=keyrotor_env(lab),
        capture_output=True,
        text=True,
    )
    assert "belongs to user 0" in done.stdout


@pytest.fixture
def full_disk(tmp_path: Path) -> Path:
    """A tiny file system with next to no room left."""
    folder = tmp_path / "full"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "none", str(folder)], check=False, capture_output=True
    )
    if done.returncode:
        pytest.skip("only root can mount a tiny file system; the next test needs no mount")
    return folder


def test_a_full_disk_under_a_client_file_is_refused(lab: Lab, keyrotor: Keyrotor, full_disk: Path) -> None:
    """3 in preflight, before anything is written anywhere."""
    try:
        client = full_disk / "client.json"
        client.write_text(f'{{"apiKey": "{lab.current_key()}"}}\n')
        add_place(lab, f'kind = "client-file"\npath = "{client}"')
        refused(keyrotor, lab, 3, str(full_disk), "full")
        assert os.listdir(full_disk) == ["client.json"]
    finally:
        subprocess.run(["umount", str(full_disk)], check=True)


def test_a_full_disk_under_the_record_stops_before_the_first_effect(
    lab: Lab, keyrotor: Keyrotor, full_disk: Path
) -> None:
    """1 or 3: what cannot be recorded is not begun."""
    try:
        (full_disk / "filler").write_bytes(b"x" * 60000)
        before = tree(lab)
        done = keyrotor(lab, "rotate", "--yes", env={"KEYROTOR_STATE_DIR": str(full_disk / "state")})
        assert done.returncode in (1, 3), (done.stdout, done.stderr)
        assert re.search("full|no space", done.stderr)
        assert "Traceback" not in done.stderr
        assert "internal error" not in done.stderr
        assert differing(before, tree(lab)) == []
        assert lab.status(lab.current_key()) == 200
    finally:
        subprocess.run(["umount", str(full_disk)], check=True)


@pytest.mark.parametrize("room", [100, 2000, 6000, 9000, 20000])
def test_a_size_limit_never_leaves_a_run_half_done(lab: Lab, keyrotor: Keyrotor, room: int) -> None:
    """RLIMIT_FSIZE stands in for a disk that fills up anywhere: nothing begun, or owed and finished by `resume`."""
    old = lab.current_key()

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))

    done = subprocess.run(
        keyrotor_argv("rotate", "--yes"),
        check=False,
        cwd=lab.project,
        env=keyrotor_env(lab),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        preexec_fn=limit,
    )
    assert "Traceback" not in done.stderr
    assert "internal error" not in done.stderr
    assert done.returncode in (0, 1, 3, 20, 22), (done.stdout, done.stderr)
    if done.returncode == 22:
        resumed = keyrotor(lab, "resume")
        assert resumed.returncode in (0, 20), (resumed.stdout, resumed.stderr)
    now = lab.current_key()
    assert lab.status(now) == 200
    assert now in lab.env_file.read_text()
    assert now in lab.settings.read_text()
    assert (now == old) == (lab.status(old) == 200)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('kind = "sops-file"', 'kind = "sops"'), ("unknown kind 'sops'", "allowed: sops-file")),
        (('kind = "sops-file"', 'kid = "sops-file"'), ("has no kind",)),
        (('name  = "litellm-master-key"', ""), ("name",)),
        (("every = ", "evry = "), ("unknown key 'evry'", "allowed: ")),
        (('scope  = "user"', 'scope  = "me"'), ("unknown 'me'", "allowed: user, system")),
        (('within = "20s"', 'within = "soon"'), ("cannot read the duration 'soon'",)),
        (('key      = "LITELLM_MASTER_KEY"', 'key      = "LITELLM_SALT_KEY"'), ("LITELLM_SALT_KEY cannot be rotated",)),
        (('unit   = "systemd-unit"', 'unit   = "nobody"'), ("'nobody' is not the id of a place above",)),
        (("[[place]]\nkind = ", '[[place]]\nid = "twin"\nkind = '), ("twin",)),
        (("[secret]", "[secret"), ("cannot read playbook", "line")),
    ],
    ids=lambda row: row[-1] if isinstance(row, tuple) else "",
)
def test_a_playbook_with_an_error_is_refused(
    make_lab: MakeLab, keyrotor: Keyrotor, change: tuple[str, str], said: tuple[str, ...]
) -> None:
    """2, naming file, place and what is allowed, before anything is looked at."""
    lab = make_lab(unit=True, start=False)
    edit(lab.playbook, *change)
    before = tree(lab)
    done = keyrotor(lab, "rotate", "--yes")
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert lab.playbook.name in done.stderr
    for words in said:
        assert words in done.stderr, done.stderr
    assert differing(before, tree(lab)) == []


def test_an_order_that_cannot_work_is_refused(make_lab: MakeLab, keyrotor: Keyrotor) -> None:
    """A proof before its unit, an env file after it, no sops file first: 2."""
    lab = make_lab(unit=True, start=False)
    text = lab.playbook.read_text()
    head, *places = text.split("[[place]]")
    sops_file, env_file, unit, door, client = places
    for order in (
        [sops_file, env_file, door, unit, client],
        [sops_file, unit, env_file, door, client],
        [env_file, sops_file, unit],
    ):
        lab.playbook.write_text("[[place]]".join([head, *order]))
        before = tree(lab)
        done = keyrotor(lab, "rotate", "--yes")
        assert done.returncode == 2, (done.stdout, done.stderr)
        assert lab.playbook.name in done.stderr
        assert differing(before, tree(lab)) == []


def in_shell(lab: Lab, text: str) -> subprocess.CompletedProcess[str]:
    """What becomes of a line of shell in the project; `$0` is the Python to run."""
    return in_project(lab, ["/bin/sh", "-c", text, sys.executable])


@pytest.mark.parametrize("arguments", ["doctor", "audit --json", "plan", "status --json", "healthcheck"])
def test_a_closed_standard_output_stops_nothing(lab: Lab, arguments: str) -> None:
    """Started with `>&-`: the exit code is the command's own, and nothing is said of a fault of ours."""
    done = in_shell(lab, f'exec "$0" -m keyrotor {arguments} >&-')
    assert done.returncode in (0, 10), done.stderr
    assert "internal error" not in done.stderr
    assert "Traceback" not in done.stderr


ANSWERS = ["status --json", "status", "incident status", "sweep --value-from current .", "plan", "forget --yes"]


@pytest.mark.parametrize("arguments", ANSWERS)
def test_an_answer_that_cannot_be_written_is_told(lab: Lab, arguments: str) -> None:
    """A full disk under the file that it goes to: 1, not 0; and nothing else is said."""
    done = in_shell(lab, f'exec "$0" -m keyrotor {arguments} > /dev/full')
    assert (done.returncode, done.stderr) == (1, "keyrotor: cannot write the answer: no space left on device\n")


def test_a_plan_that_nobody_saw_is_not_saved(lab: Lab) -> None:
    """What could not be written is told before the file of --out is made."""
    done = in_shell(lab, 'exec "$0" -m keyrotor plan --out saved.plan > /dev/full')
    assert (done.returncode, (lab.project / "saved.plan").exists()) == (1, False)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ("rotate --yes", 0),
        ("resume", 0),
        ("plan nowhere", 2),
        ("plan nowhere --json", 2),
        ("incident resume", 0),
        ("incident resume --json", 0),
    ],
)
def test_a_code_that_is_settled_stays_where_the_answer_cannot_be_written(lab: Lab, arguments: str, code: int) -> None:
    """What was done is what the code tells, and so is why nothing was; that the answer is lost is told besides."""
    done = in_shell(lab, f'exec "$0" -m keyrotor {arguments} > /dev/full')
    lost = "keyrotor: cannot write the answer: no space left on device"
    is_lost = code == 0 or "--json" in arguments
    assert (done.returncode, lost in done.stderr.splitlines()) == (code, is_lost), done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.parametrize("arguments", ["rotate --yes --json", "plan --json", "plan"])
def test_a_refusal_stays_one_where_the_answer_cannot_be_written(lab: Lab, arguments: str) -> None:
    """3, with its own words first or last."""
    lab.env_file.unlink()
    done = in_shell(lab, f'exec "$0" -m keyrotor {arguments} > /dev/full')
    assert done.returncode == 3, done.stderr
    assert "cannot write the answer: no space left on device" in done.stderr
    assert "now: nothing was changed" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("encoding", ["utf-8:strict", "utf-8:surrogateescape"])
@pytest.mark.parametrize("command", ["audit", "doctor"])
def test_a_folder_named_with_a_byte_that_is_no_utf8_is_told_in_json(lab: Lab, command: str, encoding: str) -> None:
    """One object, that every program can read, whatever is done with such a byte elsewhere."""
    moved = os.fsencode(lab.project) + b"-\xff"
    shutil.copytree(os.fsencode(lab.project), moved, symlinks=True)
    done = subprocess.run(
        keyrotor_argv(command, "--json"),
        check=False,
        cwd=moved,
        env=keyrotor_env(lab, PYTHONIOENCODING=encoding),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
    )
    assert b"internal error" not in done.stderr, done.stderr
    assert "-\udcff" in json.dumps(json.loads(done.stdout.decode("utf-8")), ensure_ascii=False)


def test_a_leftover_that_cannot_be_cleared_away_is_refused(lab: Lab, manager: UserManager, tmp_path: Path) -> None:
    """3 with what it means, as for everything else that is found before the first effect."""
    strace = shutil.which("strace") or missing("strace")
    hidden = manager.runtime.parent / "home" / ".config" / "systemd" / "user" / f".{lab.unit}.keyrotor"
    hidden.parent.mkdir(parents=True, exist_ok=True)
    hidden.touch()
    try:
        for arguments in (["install", "--replace", "--yes"], ["remove", "--yes"]):
            cut = ("-P", str(hidden), "-e", "trace=unlink", "-e", "inject=unlink:error=EACCES")
            done = in_project(lab, [strace, "-o", str(tmp_path / "log"), *cut, *keyrotor_argv("service", *arguments)])
            why = f"keyrotor: cannot remove {hidden}: permission denied\nnow: nothing was changed\n"
            assert (done.returncode, done.stderr) == (3, why), arguments
    finally:
        hidden.unlink()


@pytest.mark.parametrize("arguments", ["status --json", "status"])
def test_a_reader_that_has_left_is_no_fault(lab: Lab, arguments: str) -> None:
    """The command ends as if it had been read."""
    done = in_shell(lab, f'{{ "$0" -m keyrotor {arguments}; echo "ended with $?" >&2; }} | true')
    assert done.stderr == "ended with 0\n"


def test_a_folder_that_is_gone_is_told(lab: Lab) -> None:
    """Somebody removed the folder of the shell."""
    done = in_shell(lab, 'mkdir gone && cd gone && rmdir ../gone && exec "$0" -m keyrotor status')
    assert done.returncode == 2
    assert "the current folder is gone" in done.stderr


def test_without_a_home_the_record_is_not_put_anywhere(lab: Lab) -> None:
    """No HOME, and a user whom nobody knows: asked for, instead of a folder called `~`."""
    env = {key: text for key, text in keyrotor_env(lab).items() if key not in ("HOME", "KEYROTOR_STATE_DIR")}
    code = "import os.path, sys; os.path.expanduser = lambda path: path; from keyrotor.world.parts import state_folder"
    ask = f"{code}\ntry: state_folder({{}})\nexcept Exception as error: print(type(error).__name__, error)"
    done = subprocess.run([sys.executable, "-c", ask], check=True, env=env, capture_output=True, text=True)
    assert done.stdout.startswith("UsageError cannot tell where the record is")
