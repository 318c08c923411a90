"""`keyrotor bootstrap` where there is nothing: what it makes, what it refuses, and what a second one does."""

from __future__ import annotations

import json
import os
import plistlib
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest

from keyrotor import lock
from keyrotor.demo import gateway, texts
from keyrotor.demo.build import free_port
from keyrotor.demo.runner import python_program
from keyrotor.demo.user_systemd import UserManager
from real.in_home import MASTER, SALT, Home, dotenv, nodes, write
from real.test_identity import BACKEND

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "reference" / "json-schema.json").read_text())


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """An empty home; nobody's systemd answers."""
    (tmp_path / "home").mkdir()
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    return Home(tmp_path, runtime)


@pytest.fixture
def with_systemd(home: Home, manager: UserManager) -> Home:
    """The same, with a systemd of the user's that answers."""
    return Home(home.root, manager.runtime)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


PRIVATE = ("~/.config/sops/age/keys.txt", "~/.config/lab-secrets/litellm.env", "secrets/global.enc.env")
SHARED = (
    *(".sops.yaml", ".gitattributes", ".gitignore", ".envrc", ".factory/settings.json"),
    *("playbooks/litellm-master-key.toml", "playbooks/incident-response.toml"),
    "ai/backend/ai-backend-unified/config/litellm-unified.yaml",
)


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_a_lab_is_made_from_nothing(home: Home, umask: int) -> None:
    """Every file is there, with its mode whatever the umask; the env file holds what the encrypted one does."""
    done = home.bootstrap(umask=umask)
    for name in PRIVATE:
        path = home.home / name[2:] if name.startswith("~") else home.project / name
        assert mode(path) == 0o600, name
        assert mode(path.parent) == 0o700, name
    for name in SHARED:
        assert mode(home.project / name) == 0o644, name
        assert mode((home.project / name).parent) == 0o755, name
    values = home.values()
    assert set(values) == {MASTER, SALT}
    assert values[MASTER] != values[SALT]
    assert all(value.startswith("sk-") and len(value) >= 40 for value in values.values())
    assert dotenv(home.env_file.read_text()) == values
    entry = json.loads((home.project / ".factory" / "settings.json").read_text())["customModels"][0]
    assert (entry["apiKey"], entry["baseUrl"]) == ("${LITELLM_MASTER_KEY}", "http://127.0.0.1:4000/v1")
    assert not any(value in done.stdout + done.stderr for value in values.values())
    assert "AGE-SECRET" not in done.stdout + done.stderr


def test_made_again_it_changes_nothing(home: Home) -> None:
    """The second time there is nothing to make, with a terminal or without, and no byte, inode or time is another."""
    home.bootstrap()
    before = nodes(home.root)
    assert "Nothing to make" in home.bootstrap().stdout
    assert "Nothing to make" in home.run("bootstrap").stdout
    assert nodes(home.root) == before


def test_a_dry_run_makes_nothing(home: Home) -> None:
    """What would be made is told, and not even a folder is made."""
    before = nodes(home.root)
    assert {thing["state"] for thing in home.things().values()} == {"make", "by-hand"}
    assert nodes(home.root) == before


def test_without_a_terminal_it_must_be_told_to(home: Home) -> None:
    """Nobody can be asked, so nothing is made."""
    before = nodes(home.root)
    assert "--yes" in home.run("bootstrap", str(home.project), code=2).stderr
    assert nodes(home.root) == before


def test_a_run_that_was_killed_is_completed_by_the_next(home: Home) -> None:
    """Cut behind each thing that is made, with what a killed write leaves beside the next: the same lab comes of it,
    and a key that was made already stays."""
    home.bootstrap()
    things = home.things()
    made = [thing["label"] for thing in things.values() if thing["id"] not in ("host",)]
    paths = [home.home / label[2:] if label.startswith("~") else home.project / label for label in made]
    whole, contents = set(nodes(home.root)), {path: path.read_bytes() for path in paths}
    for cut in range(0, len(paths), 2):
        for path in paths[cut:]:
            path.unlink()
        write(paths[cut].with_name(f".{paths[cut].name}.keyrotor"), "half", 0o600)
        home.bootstrap()
        assert set(nodes(home.root)) == whole, made[cut]
        kept = [path for path in paths[:cut] if path.read_bytes() != contents[path]]
        assert kept == [], made[cut]
        assert dotenv(home.env_file.read_text()) == home.values()
        contents = {path: path.read_bytes() for path in paths}


KILLER = """
import os, signal
from pathlib import Path
left, sync = int(os.environ["FSYNCS"]), os.fsync
def counting(descriptor):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    sync(descriptor)
os.fsync = counting
"""


@pytest.mark.parametrize("fsyncs", [1, 4, 9, 13, 22, 30])
def test_a_real_kill_loses_nothing(home: Home, fsyncs: int) -> None:
    """Killed in the middle of a write; the next run makes the same lab, and leaves nothing of the first beside it."""
    (home.root / "killer").mkdir()
    (home.root / "killer" / "sitecustomize.py").write_text(KILLER)
    path = f"{home.root / 'killer'}:{home.env['PYTHONPATH']}"
    Home(home.root, home.runtime, {"PYTHONPATH": path, "FSYNCS": str(fsyncs)}).bootstrap(code=-signal.SIGKILL)
    held = home.values() if home.secret_file.exists() else {}
    identity = home.identity.read_bytes() if home.identity.exists() else b""
    home.bootstrap()
    assert not [path for path in home.root.rglob(".*.keyrotor*")]
    assert home.values().items() >= held.items()
    assert home.identity.read_bytes().startswith(identity)
    assert dotenv(home.env_file.read_text()) == home.values()
    assert "Nothing to make" in home.bootstrap().stdout


def test_a_second_name_that_a_kill_left_is_taken_away(home: Home) -> None:
    """Between the link and the unlink of a new file a kill leaves it with both names; another's file stays."""
    home.bootstrap()
    secret = home.identity.read_bytes()
    twin, other = (path.with_name(f".{path.name}.keyrotor") for path in (home.identity, home.env_file))
    twin.hardlink_to(home.identity)
    other.write_text("an intent")
    assert "Made 1 thing." in home.bootstrap().stdout
    assert not twin.exists()
    assert other.exists()
    assert home.identity.read_bytes() == secret


@pytest.fixture
def port() -> int:
    return free_port()


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def unit(with_systemd: Home, manager: UserManager, port: int) -> Iterator[str]:
    """A lab, and after it a unit that runs the embedded gateway on its env file; not started."""
    name = "litellm.service"
    command = [*python_program(gateway.__file__), "--port", str(port)]
    log = with_systemd.root / "log"
    with_systemd.bootstrap("--url", f"http://127.0.0.1:{port}")
    text = texts.unit(command, env_file=with_systemd.env_file, home=with_systemd.home, log=log, stop_within=5)
    write(manager.units / name, text)
    manager.systemctl("daemon-reload")
    yield name
    manager.systemctl("stop", name, check=False)
    (manager.units / name).unlink()
    manager.systemctl("daemon-reload")


def test_what_it_makes_can_be_rotated(with_systemd: Home, manager: UserManager, unit: str, port: int) -> None:
    """With a unit the plan is clean, a rotation proves the new key, and there is still nothing to make."""
    home = with_systemd
    assert f"= systemd: {unit}" in home.bootstrap().stdout
    old = home.values()
    manager.systemctl("start", unit)
    while not answers(port):
        time.sleep(0.05)
    home.run("plan")
    home.run("rotate", "--yes")
    new = home.values()
    assert new[MASTER] != old[MASTER]
    assert new[SALT] == old[SALT]
    assert dotenv(home.env_file.read_text()) == new
    ill = [line for line in json.loads(home.run("doctor", "--json").stdout)["lines"] if line["state"] == "ill"]
    assert ill == []
    assert "Nothing to make" in home.bootstrap().stdout


def test_the_users_systemd_is_chosen_where_it_answers(with_systemd: Home) -> None:
    """The playbook has a unit, and the command that makes it is named."""
    done = with_systemd.bootstrap()
    assert 'kind   = "systemd-unit"' in with_systemd.playbook.read_text()
    assert "  keyrotor service install" in done.stdout.splitlines()


def test_where_nothing_is_known_a_person_fills_in_the_command(home: Home) -> None:
    """A rotation is refused before its first effect until the playbook names what restarts the gateway."""
    done = home.bootstrap()
    assert "! command" in done.stdout
    assert "cannot run restart-the-gateway: no such program" in home.run("plan", code=3).stdout


def test_launchd_can_be_asked_for(home: Home) -> None:
    """On a Mac the agent that runs LiteLLM is restarted, by the label in its file."""
    agent = home.home / "Library" / "LaunchAgents" / "my.litellm.plist"
    config = home.project / "mine.yaml"
    write(config, "general_settings: {master_key: os.environ/LITELLM_MASTER_KEY}\n")
    said = {"Label": "my.litellm", "ProgramArguments": ["litellm", "--config", str(config), "--port", "4100"]}
    agent.parent.mkdir(parents=True)
    agent.write_bytes(plistlib.dumps(said))
    home.bootstrap("--host", "launchd")
    assert 'url    = "http://127.0.0.1:4100"' in home.playbook.read_text()
    put = json.dumps(["launchctl", "kickstart", "-k", f"gui/{os.getuid()}/my.litellm"])
    assert put in home.playbook.read_text()


def test_the_identity_can_live_in_the_keyring(home: Home) -> None:
    """It is stored and read back by the keyring, in no file; sops asks for it, and a shell in the project can, too."""
    (home.root / "folder_keyring.py").write_text(BACKEND)
    config = home.home / ".config" / "python_keyring" / "keyringrc.cfg"
    write(config, f"[backend]\ndefault-keyring=folder_keyring.Folder\nkeyring-path={home.root}\n")
    keyed = Home(home.root, home.runtime, {"PYTHON_KEYRING_BACKEND": ""})
    keyed.bootstrap("--age-identity", "keyring")
    stored = home.root / "keyrotor-age-identity"
    assert stored.read_text().startswith("AGE-SECRET-KEY-1")
    assert not home.identity.exists()
    assert 'identity = "keyring"' in home.playbook.read_text()
    before = nodes(home.root)
    assert "Nothing to make" in keyed.bootstrap().stdout
    assert nodes(home.root) == before
    exported = next(line for line in (home.project / ".envrc").read_text().splitlines() if "SOPS_AGE_KEY_CMD" in line)
    shell = f"{exported}; $KEYROTOR_SOPS decrypt --output-type json secrets/global.enc.env"
    done = subprocess.run(["bash", "-c", shell], cwd=home.project, env=keyed.env, check=True, capture_output=True)
    assert set(json.loads(done.stdout)) == {MASTER, SALT}


def test_no_keyring_is_refused_before_anything_is_made(home: Home) -> None:
    """Where none answers nothing is made."""
    before = nodes(home.root)
    assert "none answers here" in home.bootstrap("--age-identity", "keyring", code=3).stderr
    assert nodes(home.root) == before


def test_an_identity_elsewhere_is_named_to_all_who_need_it(home: Home) -> None:
    """With an identity in a file of one's own choice the playbook and the shell both know where it is."""
    path = home.home / "keys" / "my lab.txt"
    home.bootstrap("--age-identity", str(path))
    assert mode(path) == 0o600
    assert 'identity = "~/keys/my lab.txt"' in home.playbook.read_text()
    assert "export SOPS_AGE_KEY_FILE=\"$HOME\"/'keys/my lab.txt'" in (home.project / ".envrc").read_text()
    assert "Nothing to make" in home.bootstrap().stdout


@pytest.mark.parametrize("name", ["it's a lαb", '50% "$b" \\x'])
def test_any_name_of_a_folder_will_do(tmp_path: Path, name: str) -> None:
    """Blanks, quotes, signs that shells and systemd expand, and letters beyond ASCII: the lab is whole, and a second
    look finds it so."""
    root = tmp_path / name
    (root / "home").mkdir(parents=True)
    (root / "run").mkdir(mode=0o700)
    home = Home(root, root / "run")
    home.bootstrap()
    assert "Nothing to make" in home.bootstrap().stdout
    loaded = 'dotenv_if_exists() { . "$1"; }; . ./.envrc; printf %s "$LITELLM_MASTER_KEY"'
    done = subprocess.run(["bash", "-c", loaded], cwd=home.project, env=home.env, check=True, capture_output=True)
    assert done.stdout.decode() == home.values()[MASTER]


# -- what it refuses


def test_without_sops_nothing_is_made(home: Home) -> None:
    """No sops, or one that cannot read a value from stdin: refused, with what mends it."""
    old = home.root / "old-sops"
    write(old, "#!/bin/sh\necho sops 3.10.2\n", 0o755)
    before = nodes(home.root)
    for program in ("no-such-sops", str(old)):
        done = Home(home.root, home.runtime, {"KEYROTOR_SOPS": program}).bootstrap(code=3)
        assert "install sops 3.11" in done.stderr
    assert nodes(home.root) == before


def test_a_file_is_no_folder_for_a_lab(home: Home) -> None:
    """Refused before anything is made."""
    home.project.write_text("a file")
    assert "is not a folder" in home.run("bootstrap", str(home.project), "--yes", code=3, folder=home.root).stderr


@pytest.mark.parametrize("url", ["127.0.0.1:4000", "http://me:secret@x"])
def test_what_is_no_address_is_refused(home: Home, url: str) -> None:
    """Before anything is made, and without a word of it."""
    assert "secret" not in home.bootstrap("--url", url, code=2).stderr
    assert not home.project.exists()


def test_without_a_home_nothing_is_made(home: Home) -> None:
    """sops would not find the identity."""
    homeless = Home(home.root, home.runtime, {"HOME": "", "KEYROTOR_STATE_DIR": str(home.root / "state")})
    assert "there is no HOME" in homeless.bootstrap(code=2).stderr
    assert not home.project.exists()


def test_what_cannot_be_decrypted_is_refused(home: Home) -> None:
    """An encrypted file of somebody else's is not touched, and nothing is made beside it."""
    home.encrypt({MASTER: "sk-" + "theirs" * 5})
    home.identity.unlink()
    before = nodes(home.root)
    assert "no age identity here can decrypt it" in home.bootstrap(code=3).stderr
    assert nodes(home.root) == before


def test_a_file_in_clear_under_the_name_of_the_encrypted_one_is_refused(home: Home) -> None:
    """It is told how to encrypt it, and nothing of it is shown."""
    write(home.secret_file, f"{MASTER}=sk-in-clear-{'x' * 20}\n")
    done = home.bootstrap(code=3)
    assert "sops encrypt --in-place" in done.stderr
    assert "sk-in-clear" not in done.stdout + done.stderr


def test_rules_that_do_not_cover_the_file_are_refused_with_the_rule_to_add(home: Home) -> None:
    """sops could not encrypt by them, and they are not ours to edit."""
    home.make_identity()
    rules = home.project / ".sops.yaml"
    rules.write_text(rules.read_text().replace("secrets/", "elsewhere/"))
    done = home.bootstrap(code=3)
    assert "path_regex: 'secrets/global\\.enc\\.env$'" in done.stderr
    assert not home.secret_file.exists()


def test_an_identity_without_a_recipient_is_refused(home: Home) -> None:
    """For whom a plugin's identity stands only the plugin knows."""
    write(home.identity, "AGE-PLUGIN-YUBIKEY-1QQQSYQCYQ5RQWZQFPG9SCRGWPUG\n", 0o600)
    assert "cannot be told" in home.bootstrap(code=3).stderr
    assert not home.project.exists()


def test_a_run_that_holds_the_lock_is_waited_for_by_nobody(home: Home) -> None:
    """Busy (30), and nothing is made."""
    home.secret_file.parent.mkdir(parents=True)
    before = nodes(home.root)
    with lock.held(home.secret_file):
        home.bootstrap(code=30)
    assert nodes(home.root) == before


# -- playbooks, and what is told


def test_the_incident_playbook_is_no_rotation(home: Home) -> None:
    """The only other playbook is found without a name; the incident's says what it is."""
    home.bootstrap()
    assert "restart-the-gateway" in home.run("plan", code=3).stdout
    assert "it is an incident playbook" in home.run("plan", "incident-response", code=2).stderr
    assert json.loads(home.run("audit", "--json", code=10).stdout)["playbooks"][0]["playbook"] == "litellm-master-key"


def test_the_json_is_as_the_schema_says(home: Home) -> None:
    """Both before and after; every key is described."""
    schema = {**SCHEMA, "anyOf": [{"$ref": "#/$defs/bootstrap"}]}
    named = SCHEMA["$defs"]["bootstrap"]["properties"]
    for arguments, outcome in ((["--dry-run"], "planned"), (["--yes"], "made"), (["--yes"], "nothing-to-make")):
        told = json.loads(home.run("bootstrap", str(home.project), "--json", *arguments).stdout)
        jsonschema.Draft202012Validator(schema).validate(told)
        assert told["outcome"] == outcome
        assert set(told) == set(named)
        assert set(told["things"][0]) == set(named["things"]["items"]["properties"])


def test_a_person_who_says_no_changes_nothing(home: Home) -> None:
    """Asked on a terminal, and declined: exit 1, and not even a folder is made."""
    before = nodes(home.root)
    script = (
        "import os, pty, sys\n"
        "pid, tty = pty.fork()\n"
        "if pid == 0:\n"
        f"    os.execv(sys.executable, [sys.executable, '-m', 'keyrotor', 'bootstrap', {str(home.project)!r}])\n"
        "said = b''\n"
        "while b'Make these?' not in said: said += os.read(tty, 1024)\n"
        "os.write(tty, b'n\\n')\n"
        "try:\n"
        "    while os.read(tty, 1024): pass\n"
        "except OSError: pass\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], env=home.env, cwd=home.root, check=False, timeout=60)
    assert done.returncode == 1
    assert nodes(home.root) == before
