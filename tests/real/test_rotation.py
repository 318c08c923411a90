"""A rotation on a lab with the embedded gateway: what it changes, what it leaves, and every command around it."""

from __future__ import annotations

import codecs
import json
import os
import pty
import re
import select
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest
from on_lab import (
    Keyrotor,
    MakeLab,
    add_command,
    add_place,
    differing,
    doors,
    edit,
    events,
    is_all,
    keyrotor_argv,
    keyrotor_env,
    new_value,
    sops_set,
    tree,
)

from keyrotor.demo.lab import Lab

MOVED = {
    "home/.config/lab-secrets/litellm.env",
    "home/.factory/settings.json",
    "project/secrets/global.enc.env",
}


def rotate(keyrotor: Keyrotor, lab: Lab, *options: str, code: int = 0, value: str | None = None) -> str:
    """Rotate and want this exit code; what it said."""
    given = () if value is None else ("--value-stdin",)
    done = keyrotor(lab, "rotate", "--yes", *given, *options, input=value)
    assert done.returncode == code, (done.stdout, done.stderr)
    return done.stdout + done.stderr


def newest(lab: Lab) -> str:
    return events(lab)[-1][0]


def git(lab: Lab, *words: str) -> str:
    return lab.run("/usr/bin/git", "-c", "user.name=somebody", "-c", "user.email=some@body", *words)


@pytest.mark.parametrize("unit", [True, False])
def test_a_rotation_moves_every_place_and_nothing_else(make_lab: MakeLab, keyrotor: Keyrotor, unit: bool) -> None:
    """Twice, under systemd and as a child process: three files change by the one token, and the door follows."""
    lab = make_lab(unit=unit)
    keys = [lab.current_key()]
    for _ in range(2):
        before, settings, env_file = tree(lab, exact=False), lab.settings.read_bytes(), lab.env_file.read_bytes()
        rotate(keyrotor, lab)
        keys.append(lab.current_key())
        is_all(lab, keys[-1], keys[-2])
        after = tree(lab, exact=False)
        assert {name for name in differing(before, after) if "/.git/" not in name} == MOVED
        assert all(before[name][:3] == after[name][:3] and before[name][4:] == after[name][4:] for name in MOVED)
        assert lab.settings.read_bytes() == settings.replace(keys[-2].encode(), keys[-1].encode())
        assert lab.env_file.read_bytes() == env_file.replace(keys[-2].encode(), keys[-1].encode())
    assert len(set(keys)) == 3
    assert doors(lab, *keys) == [400, 400, 200]


def test_one_line_of_the_encrypted_file_changes(lab: Lab, keyrotor: Keyrotor) -> None:
    """Besides the key's own line only the checksum and its date; recipients and other values stay."""
    before, token = lab.secret_file.read_text().splitlines(), lab.current_key("GRAFANA_TOKEN")
    rotate(keyrotor, lab)
    after = lab.secret_file.read_text().splitlines()
    changed = {line.partition("=")[0] for line in set(before) ^ set(after) if not line.startswith("#ENC[")}
    # Its date has seconds: a lab that is younger than one keeps it.
    assert changed - {"sops_lastmodified"} == {"LITELLM_MASTER_KEY", "sops_mac"}
    assert lab.current_key("GRAFANA_TOKEN") == token


def test_a_key_that_is_young_is_not_due(lab: Lab, keyrotor: Keyrotor) -> None:
    """`--if-due` rotates the first time in a month and answers 0 without a change after it."""
    rotate(keyrotor, lab, "--if-due")
    before = tree(lab)
    said = json.loads(keyrotor(lab, "rotate", "--if-due", "--yes", "--json").stdout)
    assert (said["outcome"], said["exit"]) == ("not-due", 0)
    assert differing(before, tree(lab)) == []


def test_a_value_may_be_given(lab: Lab, keyrotor: Keyrotor) -> None:
    """The value on standard input becomes the key, without the newline that a shell adds."""
    old, value = lab.current_key(), new_value()
    rotate(keyrotor, lab, value=f"{value}\n")
    is_all(lab, value, old)


@pytest.mark.parametrize(
    "value", ["", "sk-short", "sk-with a blank in it", 'sk-quote"quote"quote', "sk-ünïcödé-ünïcödé", "a\nb" * 9]
)
def test_a_value_that_needs_quotes_is_refused(make_lab: MakeLab, keyrotor: Keyrotor, value: str) -> None:
    """3, nothing changed, and the value is not repeated."""
    lab = make_lab(unit=False, start=False)
    before = tree(lab)
    said = rotate(keyrotor, lab, code=3, value=value)
    assert not value or value not in said
    assert differing(before, tree(lab)) == []


def test_the_present_value_cannot_be_given_again(lab: Lab, keyrotor: Keyrotor) -> None:
    """Old and new must differ, or nothing could be proven."""
    before = tree(lab)
    rotate(keyrotor, lab, code=3, value=lab.current_key())
    assert differing(before, tree(lab)) == []


@pytest.mark.parametrize("options", [(), ("--value-stdin",), ("--json",), ("--if-due",)])
def test_without_a_terminal_consent_is_given_beforehand(
    make_lab: MakeLab, keyrotor: Keyrotor, options: tuple[str, ...]
) -> None:
    """Without `--yes`: 2, a hint, nothing changed."""
    lab = make_lab(unit=False, start=False)
    before = tree(lab)
    done = keyrotor(lab, "rotate", *options, input=new_value())
    assert done.returncode == 2
    assert "hint: keyrotor rotate --yes" in done.stderr
    assert differing(before, tree(lab)) == []


@pytest.mark.parametrize("command", [("plan",), ("rotate", "--dry-run"), ("plan", "--json"), ("status",), ("log",)])
def test_looking_changes_nothing(lab: Lab, keyrotor: Keyrotor, command: tuple[str, ...]) -> None:
    """Not a byte, not a time of any file, not the gateway's process."""
    before, pid = tree(lab), lab.runner.main_pid()
    done = keyrotor(lab, *command)
    assert done.returncode == 0, done.stderr
    assert differing(before, tree(lab)) == []
    assert lab.runner.main_pid() == pid


def test_the_plan_names_every_place(lab: Lab, keyrotor: Keyrotor) -> None:
    """Each in its order, and both proofs; nothing of a value."""
    said = keyrotor(lab, "plan").stdout
    wanted = (
        "global.enc.env",
        "litellm.env",
        str(lab.unit),
        "accepts the new key",
        "settings.json",
        "refuses the old key",
    )
    found = [said.index(word) for word in wanted]
    assert found == sorted(found)
    assert lab.current_key() not in said


def test_the_reason_is_on_record(lab: Lab, keyrotor: Keyrotor) -> None:
    """`--reason` is shown by `log`, `status` names the run, both as text and as JSON."""
    rotate(keyrotor, lab, "--reason", "a laptop was lost")
    assert "a laptop was lost" in keyrotor(lab, "log").stdout
    told = json.loads(keyrotor(lab, "log", newest(lab), "--json").stdout)
    assert (told["schema"], told["why"], told["outcome"]) == (1, "a laptop was lost", "rotated")
    assert [event["event"] for event in told["events"]][0::20] == ["opened"]
    aged = json.loads(keyrotor(lab, "status", "--json").stdout)
    assert aged["owed"] == []
    assert [(key["key"], key["run"]) for key in aged["keys"]] == [("LITELLM_MASTER_KEY", newest(lab))]


def test_the_git_command_commits_the_file_alone(lab: Lab, keyrotor: Keyrotor) -> None:
    """The hint after a success is a command that works as it stands."""
    said = rotate(keyrotor, lab)
    command = re.search(r"git -C .*", said)
    assert command
    author = "GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b "
    lab.run("/bin/sh", "-c", author + command[0])
    assert git(lab, "status", "--porcelain") == ""
    assert git(lab, "show", "--name-only", "--format=").split() == ["secrets/global.enc.env"]


def test_commit_takes_the_encrypted_file_alone(lab: Lab, keyrotor: Keyrotor) -> None:
    """Somebody's unstaged edit stays uncommitted."""
    git(lab, "config", "user.name", "somebody")
    git(lab, "config", "user.email", "some@body")
    edit(lab.config, "model_list", "# mine\nmodel_list")
    said = rotate(keyrotor, lab, "--commit")
    assert "global.enc.env is committed" in said
    assert git(lab, "show", "--name-only", "--format=").split() == ["secrets/global.enc.env"]
    assert git(lab, "status", "--porcelain").split() == ["M", str(lab.config.relative_to(lab.project))]


def test_commit_is_refused_beside_staged_work(lab: Lab, keyrotor: Keyrotor) -> None:
    """3 before the first effect."""
    edit(lab.config, "model_list", "# mine\nmodel_list")
    git(lab, "add", "--all")
    before = tree(lab)
    said = rotate(keyrotor, lab, "--commit", code=3)
    assert "other changes are staged" in said
    assert differing(before, tree(lab)) == []


def test_a_commit_that_fails_does_not_fail_the_rotation(lab: Lab, keyrotor: Keyrotor) -> None:
    """No author configured, a hook that says no: 0, told with the command to type."""
    hook = lab.project / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    said = rotate(keyrotor, lab, "--commit")
    assert "not committed: git -C" in said


def test_a_closed_run_is_rolled_back_by_name(lab: Lab, keyrotor: Keyrotor) -> None:
    """With `--yes`: 0, the former key is back everywhere, every file byte for byte."""
    old, before = lab.current_key(), tree(lab, exact=False)
    rotate(keyrotor, lab)
    new, run = lab.current_key(), newest(lab)
    without = keyrotor(lab, "rollback", run)
    assert (without.returncode, f"keyrotor rollback {run} --yes" in without.stderr) == (2, True)
    done = keyrotor(lab, "rollback", run, "--yes")
    assert done.returncode == 0, (done.stdout, done.stderr)
    is_all(lab, old, new)
    assert [name for name in differing(before, tree(lab, exact=False)) if "/.git/" not in name] == []
    assert keyrotor(lab, "rollback", run, "--yes").returncode == 2  # it ended rolled back already


def test_only_the_newest_run_that_is_not_forgotten_can_be_rolled_back(lab: Lab, keyrotor: Keyrotor) -> None:
    """Without a name, an unknown one, an older one, a forgotten one: refused, nothing changed."""
    rotate(keyrotor, lab)
    first = newest(lab)
    rotate(keyrotor, lab)
    second, before = newest(lab), tree(lab)
    unnamed = keyrotor(lab, "rollback")
    assert (unnamed.returncode, "nothing is owed" in unnamed.stdout) == (0, True)
    for run in (first, "ffffff0"):
        refused = keyrotor(lab, "rollback", run, "--yes")
        assert refused.returncode == 2, refused.stdout
    assert differing(before, tree(lab)) == []
    assert second in keyrotor(lab, "forget", second).stdout
    assert not (lab.state / "runs" / second).exists()
    assert keyrotor(lab, "rollback", second, "--yes").returncode == 2
    assert doors(lab, lab.current_key()) == [200]


def test_forget_without_a_name_drops_every_former_value(lab: Lab, keyrotor: Keyrotor) -> None:
    """Wants `--yes`; then no ciphertext of a closed run is left, and a second time there is nothing to forget."""
    rotate(keyrotor, lab)
    rotate(keyrotor, lab)
    assert keyrotor(lab, "forget").returncode == 2
    assert len(list((lab.state / "runs").iterdir())) == 2
    assert keyrotor(lab, "forget", "--yes").returncode == 0
    assert list((lab.state / "runs").iterdir()) == []
    assert "nothing to forget" in keyrotor(lab, "forget", "--yes").stdout
    rotate(keyrotor, lab)


def test_an_edited_record_is_found(lab: Lab, keyrotor: Keyrotor) -> None:
    """`log --verify` is content with the record as written, and names the first entry that was changed."""
    rotate(keyrotor, lab)
    assert keyrotor(lab, "log", "--verify").returncode == 0
    with sqlite3.connect(lab.state / "journal.sqlite3") as database:
        database.execute("UPDATE events SET data = replace(data, 'written', 'Written') WHERE seq = 3")
    database.close()
    found = keyrotor(lab, "log", "--verify")
    assert found.returncode != 0
    assert "entry 3" in found.stderr


def test_resume_with_nothing_owed_is_well(lab: Lab, keyrotor: Keyrotor) -> None:
    """0 before the first run and after one, nothing changed."""
    before = tree(lab)
    assert keyrotor(lab, "resume").returncode == 0
    assert differing(before, tree(lab)) == []
    rotate(keyrotor, lab)
    before = tree(lab)
    said = keyrotor(lab, "resume")
    assert (said.returncode, "nothing is owed" in said.stdout) == (0, True)
    assert differing(before, tree(lab)) == []


def test_a_record_that_a_killed_run_left_unsigned_is_signed_by_resume(lab: Lab, keyrotor: Keyrotor) -> None:
    """Killed after its end, in the signing: nothing is owed, and `resume` signs and clears away what lies there."""
    head, sibling = lab.state / "head.json", lab.state / ".head.json.keyrotor"
    rotate(keyrotor, lab)
    former = head.read_bytes()
    rotate(keyrotor, lab)
    sibling.write_bytes(head.read_bytes())
    head.write_bytes(former)
    assert "are not signed yet" in keyrotor(lab, "log", "--verify").stdout
    said = keyrotor(lab, "resume")
    assert (said.returncode, said.stdout, said.stderr) == (0, "nothing is owed\n", "")
    verified = keyrotor(lab, "log", "--verify")
    assert (verified.returncode, "not signed" in verified.stdout) == (0, False)
    assert not sibling.exists()

    sibling.hardlink_to(head)  # the very first head is made by a link
    assert keyrotor(lab, "rollback").stdout == "nothing is owed\n"
    assert not sibling.exists()

    (lab.state / "record.key").unlink()
    head.write_bytes(former)
    said = keyrotor(lab, "resume")
    assert said.returncode == 0
    assert "nothing is owed" in said.stdout
    assert "the head of the record is not signed" in said.stdout + said.stderr


def test_links_stay_links(lab: Lab, keyrotor: Keyrotor) -> None:
    """A symbolic link to the client file, a hard link to the env file: both stay, and lead to the new value."""
    old = lab.current_key()
    real = lab.home / "dotfiles.json"
    lab.settings.rename(real)
    lab.settings.symlink_to("../dotfiles.json")
    twin = lab.home / "twin.env"
    os.link(lab.env_file, twin)
    rotate(keyrotor, lab)
    assert os.readlink(lab.settings) == "../dotfiles.json"
    assert lab.env_file.samefile(twin)
    assert lab.env_file.stat().st_nlink == 2
    is_all_but = lab.current_key()
    assert old not in real.read_text() + twin.read_text()
    assert real.read_text().count(is_all_but) == 2
    assert is_all_but in twin.read_text()
    assert doors(lab, is_all_but, old) == [200, 400]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("bom.json", '\ufeff{"apiKey": "KEY"}'),
        ("crlf.json", '{\r\n\t"apiKey" : "KEY", // mine\r\n}\r\n'),
        ("no-end.env", "A=1\nexport KEY_OF_MINE='KEY'"),
        ("crlf.env", "\ufeffA=1\r\nTOKEN=KEY # KEY_\r\n"),
        ("referring.json", '{"apiKey": "${LITELLM_MASTER_KEY}"}'),
    ],
)
def test_a_client_file_keeps_its_style(lab: Lab, keyrotor: Keyrotor, name: str, text: str) -> None:
    """BOM, line ends, comments, quotes and a missing last newline survive; mode and times of a reference too."""
    old, client = lab.current_key(), lab.home / name
    client.write_bytes(
        text.replace('KEY"', f'{old}"').replace("'KEY'", f"'{old}'").replace("=KEY ", f"={old} ").encode()
    )
    client.chmod(0o640)
    before = client.read_bytes()
    add_place(lab, f'kind = "client-file"\npath = "~/{name}"')
    rotate(keyrotor, lab)
    assert client.read_bytes() == before.replace(old.encode(), lab.current_key().encode())
    assert client.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("fails", [False, True])
def test_somebody_elses_edits_are_kept(lab: Lab, keyrotor: Keyrotor, fails: bool) -> None:
    """Edits of the encrypted file (real `sops set`), env file and client file in mid-run survive, also a rollback."""
    old, new = lab.current_key(), new_value()
    comment = "// somebody was here"
    edits = [
        '[ "$KEYROTOR_VALUE" = new ] || exit 0',
        f'grep -q "{comment}" {lab.settings} && exit {int(fails)}',
        sops_set(lab, "GRAFANA_TOKEN", "edited-by-somebody-else"),
        f'sed -i \'s#"theme"#{comment}\\n  "theme"#\' {lab.settings}',
        f"echo MINE=1 >> {lab.env_file}",
        f"exit {int(fails)}",
    ]
    add_command(lab, "\n".join(edits))
    rotate(keyrotor, lab, code=20 if fails else 0, value=new)
    is_all(lab, *((old, new) if fails else (new, old)))
    assert lab.current_key("GRAFANA_TOKEN") == "edited-by-somebody-else"
    assert comment in lab.settings.read_text()
    assert lab.env_file.read_text().endswith("MINE=1\n")


def test_an_edit_before_the_files_turn_is_kept_too(lab: Lab, keyrotor: Keyrotor) -> None:
    """The encrypted file is edited after `opened` and before it is swapped."""
    old, new = lab.current_key(), new_value()
    add_command(
        lab, f'[ "$KEYROTOR_VALUE" = new ] || exit 0\n{sops_set(lab, "GRAFANA_TOKEN", "theirs")}', before="env-file"
    )
    rotate(keyrotor, lab, value=new)
    is_all(lab, new, old)
    assert lab.current_key("GRAFANA_TOKEN") == "theirs"


def test_the_key_set_back_in_mid_run_is_put_again(lab: Lab, keyrotor: Keyrotor) -> None:
    """A stale checkout of the encrypted file before the restart: it is swapped once more, the unit gets the new key."""
    old, new = lab.current_key(), new_value()
    stale = lab.root / "stale"
    stale.write_bytes(lab.secret_file.read_bytes())
    add_command(lab, f"[ -e {stale} ] && cp {stale} {lab.secret_file} && rm {stale}; exit 0", before="systemd-unit")
    rotate(keyrotor, lab, value=new)
    is_all(lab, new, old)


def test_an_absent_env_file_is_rendered(lab: Lab, keyrotor: Keyrotor) -> None:
    """With the playbook's keys, private; before it the unit runs on what it was started with."""
    salt, old = lab.current_key("LITELLM_SALT_KEY"), lab.current_key()
    lab.env_file.unlink()
    done = keyrotor(lab, "rotate", "--yes")
    if done.returncode == 0:
        assert lab.env_file.read_text() == f"LITELLM_MASTER_KEY={lab.current_key()}\nLITELLM_SALT_KEY={salt}\n"
        assert lab.env_file.stat().st_mode & 0o777 == 0o600
        assert doors(lab, lab.current_key(), old) == [200, 400]
    else:
        assert done.returncode == 3, (done.stdout, done.stderr)


def test_a_place_that_holds_something_else_is_refused(lab: Lab, keyrotor: Keyrotor) -> None:
    """Drift in the env file: 3, with what to do about it, nothing changed."""
    edit(lab.env_file, lab.current_key(), new_value())
    before = tree(lab)
    said = rotate(keyrotor, lab, code=3)
    assert "does not hold the present value" in said
    assert "hint: " in said
    assert differing(before, tree(lab)) == []


class Terminal:
    """keyrotor on a pseudo-terminal."""

    def __init__(self, lab: Lab, *arguments: str) -> None:
        self.master, slave = pty.openpty()
        os.set_blocking(self.master, False)
        self.process = subprocess.Popen(
            keyrotor_argv(*arguments),
            cwd=lab.project,
            env=keyrotor_env(lab, TERM="xterm", COLUMNS="120"),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self.shown = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")()  # a read may end amid a character

    def until(self, text: str, within: float = 100.0) -> None:
        deadline = time.monotonic() + within
        while text not in self.shown:
            assert time.monotonic() < deadline, self.shown
            assert self._read(), self.shown

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def end(self) -> int:
        while self._read():
            pass
        os.close(self.master)
        return self.process.wait(100)

    def _read(self) -> bool:
        """Takes up what is shown; False at the end."""
        if not select.select([self.master], [], [], 100)[0]:
            return False
        try:
            data = os.read(self.master, 65536)
        except OSError:  # the last one has closed the other side
            return False
        self.shown += self._decoder.decode(data)
        return bool(data)


def test_a_terminal_is_asked_and_no_means_no(lab: Lab, keyrotor: Keyrotor) -> None:
    """The plan is shown first; `n` changes nothing, exit 1; so does the end of input."""
    before = tree(lab)
    for answer in ("n\n", "\x04"):
        terminal = Terminal(lab, "rotate")
        terminal.until("Rotate now?")
        terminal.type(answer)
        assert terminal.end() == 1
        assert "refuses the old key" in terminal.shown
        assert differing(before, tree(lab)) == []


def test_a_terminal_shows_the_live_step_list(lab: Lab) -> None:
    """After `y`: every step, how long the gateway was away, the last word; no value is shown."""
    old = lab.current_key()
    terminal = Terminal(lab, "rotate")
    terminal.until("Rotate now?")
    terminal.type("y\n")
    assert terminal.end() == 0
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.shown)
    wanted = (
        "rotating to the new key",
        "restart",
        "accepts the new key",
        "refuses the old key",
        "gateway was away for",
        "rotated",
    )
    for word in wanted:
        assert word in shown
    assert old not in shown
    assert lab.current_key() not in shown
    is_all(lab, lab.current_key(), old)


def test_no_colour_where_none_is_wanted(lab: Lab) -> None:
    """NO_COLOR: the step list moves the cursor and sets no colour."""
    terminal = Terminal.__new__(Terminal)
    os.environ["NO_COLOR"] = "1"
    try:
        terminal.__init__(lab, "rotate", "--yes")  # type: ignore[misc]
    finally:
        del os.environ["NO_COLOR"]
    assert terminal.end() == 0
    assert not re.search(r"\x1b\[(?:[0-9;]*;)?3[0-9]m", terminal.shown)


def test_json_is_one_object_on_stdout(lab: Lab, keyrotor: Keyrotor) -> None:
    """Everything else goes to stderr; a failure before the first effect is one object too."""
    done = keyrotor(lab, "rotate", "--yes", "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["exit"], told["outcome"], told["run"]) == (0, 0, "rotated", newest(lab))
    assert [place["state"] for place in told["places"]] == ["moved"] * 6
    assert "restart" in done.stderr
    Path(lab.secret_file).rename(lab.secret_file.with_name("away"))
    done = keyrotor(lab, "rotate", "--yes", "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["exit"], told["outcome"]) == (3, 3, "refused")
