"""The texts that `bootstrap` makes, and what it reads off those that are there."""

from __future__ import annotations

import json
import secrets
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from keyrotor import playbook, shelf, shipped
from keyrotor.boundary import age
from keyrotor.errors import PlaybookError
from keyrotor.formats import compose, creation_rules, envrc, unit_exec
from keyrotor.secret import Secret
from keyrotor.texts import difference, gateway, playbooks, project

HOME = "/home/you"
LAB = playbooks.Rotation(
    file="secrets/global.enc.env",
    env_file="~/.config/lab-secrets/litellm.env",
    url="http://127.0.0.1:4000",
    config="ai/backend/ai-backend-unified/config/litellm-unified.yaml",
)
TEMPLATE = shipped.playbook("litellm-master-key").read_text()


def load(tmp_path: Path, lab: playbooks.Rotation) -> playbook.Playbook:
    (tmp_path / ".sops.yaml").touch()
    path = tmp_path / "made.toml"
    path.write_text(playbooks.rotation(TEMPLATE, lab))
    return playbook.load(path, {"HOME": HOME})


def test_where_nothing_differs_the_shipped_playbook_is_made_as_it_is() -> None:
    """Byte for byte."""
    assert playbooks.rotation(TEMPLATE, LAB) == TEMPLATE


@pytest.mark.parametrize("odd", ['a "quoted" lab', "it's", "back\\slash", "50% $HOME", "lαb", "tab\there", "#x = [1]"])
def test_any_path_stands_in_a_playbook_as_it_is(tmp_path: Path, odd: str) -> None:
    """What TOML would take for something else is escaped, everywhere."""
    lab = replace(LAB, file=f"{odd}/f.env", env_file=f"~/{odd}", config=odd, identity=f"~/{odd}", clients=[f"~/{odd}"])
    book = load(tmp_path, lab)
    assert book.source.file == str(tmp_path.resolve() / odd / "f.env")
    assert book.source.identity == f"{HOME}/{odd}"
    by_kind = {place.kind: place.options for place in book.places}
    assert by_kind["env-file"]["path"] == by_kind["client-file"]["path"] == f"{HOME}/{odd}"
    assert by_kind["litellm"]["config"] == str(tmp_path / odd)


def test_a_command_stands_where_the_unit_would(tmp_path: Path) -> None:
    """The door asks behind it, and everything else is as shipped."""
    book = load(tmp_path, replace(LAB, command=["docker", "compose", "up"]))
    assert [place.kind for place in book.places] == ["sops-file", "env-file", "command", "litellm", "client-file"]
    assert book.places[3].options["unit"] == book.places[2].id == "gateway"
    assert book.places[2].options["put"] == ["docker", "compose", "up"]


def test_a_system_unit_keeps_its_name_and_scope(tmp_path: Path) -> None:
    """The unit's own words."""
    options = load(tmp_path, replace(LAB, unit="gate@way.service", scope="system")).places[2].options
    assert (options["unit"], options["scope"]) == ("gate@way.service", "system")


def test_the_incident_playbook_is_told_from_a_rotation(tmp_path: Path) -> None:
    """It names the lab's playbook, is left out where a rotation is looked for, and says what it is."""
    folder = tmp_path / "playbooks"
    folder.mkdir()
    text = playbooks.incident(shipped.playbook("incident-response").read_text(), "mine", ["~"])
    assert tomllib.loads(text)["incident"]["playbooks"] == ["mine"]
    (folder / "incident-response.toml").write_text(text)
    (folder / "mine.toml").write_text(TEMPLATE)
    assert shelf.find(None, tmp_path, {"HOME": str(tmp_path)}) == folder / "mine.toml"
    assert shelf.find_all((), tmp_path, {"HOME": str(tmp_path)}) == [folder / "mine.toml"]
    named = shelf.find("incident-response", tmp_path, {"HOME": str(tmp_path)})
    with pytest.raises(PlaybookError, match="it is an incident playbook"):
        playbook.load(named, {"HOME": str(tmp_path)})


def test_a_word_in_a_comment_makes_no_incident(tmp_path: Path) -> None:
    """Only a table does."""
    (tmp_path / "a.toml").write_text("# the [incident] of last year\n" + TEMPLATE)
    assert not shelf.is_incident(tmp_path / "a.toml")


def test_the_rules_are_for_the_recipient_and_cover_the_file() -> None:
    """As sops reads them."""
    text = project.rules(shipped.rules(), ["age1mine"])
    assert creation_rules.wanted(text.encode(), "secrets/global.enc.env") == frozenset({"age1mine"})
    assert "thrown away" not in text


@pytest.mark.parametrize(
    ("path", "word"),
    [
        (f"{HOME}/.config/a.env", '"$HOME"/.config/a.env'),
        (f"{HOME}/a b's", "\"$HOME\"/'a b'\"'\"'s'"),
        ("/etc/$x", "'/etc/$x'"),
        (f"{HOME}r/x", f"{HOME}r/x"),
    ],
)
def test_a_path_is_a_word_for_bash(path: str, word: str) -> None:
    """Below the home by HOME, and quoted."""
    assert project.word(path, HOME) == word


def test_droids_entry_is_one_that_droid_reads() -> None:
    """Strict JSON, the reference with braces, and the address with /v1."""
    text = gateway.droid("http://127.0.0.1:4000/", "LITELLM_MASTER_KEY", "qwen3:8b")
    (entry,) = json.loads(text)["customModels"]
    assert (entry["apiKey"], entry["baseUrl"]) == ("${LITELLM_MASTER_KEY}", "http://127.0.0.1:4000/v1")
    assert (entry["model"], entry["provider"]) == ("qwen3:8b", "generic-chat-completion-api")


# -- what is read off an .envrc


@pytest.mark.parametrize(
    ("text", "encrypted", "target"),
    [
        ("sops -d secrets/g.enc.env > ~/x.env", "secrets/g.enc.env", f"{HOME}/x.env"),
        ('sops --decrypt secrets/g.enc.env >"$HOME/a b.env" 2>/dev/null', "secrets/g.enc.env", f"{HOME}/a b.env"),
        ("sops decrypt --output-type dotenv g.enc.env >| ${HOME}/x", "g.enc.env", f"{HOME}/x"),
        ("umask 077; sops -d g.env \\\n  > '/etc/x'", "g.env", "/etc/x"),
        ("sops -d g.enc.env | grep KEY > x.env", "g.enc.env", "x.env"),
        ("sops -d --output x.env g.enc.env", "g.enc.env", "x.env"),
        ("if sops -d g.enc.env 2>&1 | tee x.env; then :; fi", "g.enc.env", "x.env"),
    ],
)
def test_a_command_that_decrypts_into_a_file_is_seen(text: str, encrypted: str, target: str) -> None:
    """In whatever way it is written."""
    (found,) = envrc.decrypting(text, HOME)
    assert (found.encrypted, found.target) == (encrypted, target)


@pytest.mark.parametrize(
    "text",
    [
        "# sops -d a.enc.env > b.env",
        'eval "$(sops -d a.enc.env)"',
        "sops -d a.enc.env > /dev/null",
        "dotenv_if_exists ~/x.env",
        "sops exec-env a.enc.env 'echo > x'",
        "echo sops > x",
    ],
)
def test_what_writes_no_file_does_no_harm(text: str) -> None:
    """Comments, substitutions, and what goes nowhere."""
    assert envrc.decrypting(text, HOME) == []


def test_only_what_decrypts_is_replaced() -> None:
    """Every other line stays, in its place; of two commands one line remains."""
    text = "a=1\nsops -d x.enc.env \\\n  > x.env\nb=2\nsops -d y.enc.env > y.env\nc=3\n"
    assert envrc.mended(text, "NEW", HOME) == "a=1\nNEW\nb=2\nc=3\n"
    assert envrc.mended("a=1\n", "NEW", HOME) == "a=1\nNEW\n"


def test_what_is_loaded_is_found() -> None:
    """By either word of direnv's, with HOME put in."""
    text = "dotenv \"$HOME\"/a.env\n  dotenv_if_exists 'b c.env'\n# dotenv d.env\n"
    assert envrc.loaded(text, HOME) == [f"{HOME}/a.env", "b c.env"]


# -- what is read off a unit and a compose file


@pytest.mark.parametrize(
    ("command", "config", "url"),
    [
        ("litellm --config /c.yaml --port 4100", "/c.yaml", "http://127.0.0.1:4100"),
        ("litellm -c %h/c.yaml", f"{HOME}/c.yaml", "http://127.0.0.1:4000"),
        ('"/opt/a b/litellm" --config="/x %% y.yaml" --host 0.0.0.0 \\\n  --port=4100', "", "http://127.0.0.1:4100"),
        ("litellm --config c --host ::1 --port 4", "c", "http://[::1]:4"),
        ("litellm --config c --host 10.0.0.5", "c", "http://10.0.0.5:4000"),
        ("/home/you/run_litellm.sh", "", ""),
    ],
)
def test_a_units_command_line_is_read(command: str, config: str, url: str) -> None:
    """With systemd's quotes, specifiers and lines that go on."""
    told = unit_exec.told(unit_exec.arguments(f"[Service]\nExecStart=/first\nExecStart=-{command}\n", HOME))
    assert told.url == url
    if config:
        assert told.config == config


def test_a_word_of_a_unit_keeps_its_blanks() -> None:
    """A path with a blank and a per cent sign."""
    told = unit_exec.told(unit_exec.arguments('ExecStart=x "--config=/a %% b.yaml"\n', HOME))
    assert told.config == "/a % b.yaml"


@pytest.mark.parametrize(
    ("listens", "url"),
    [("127.0.0.1:4100", "http://127.0.0.1:4100"), ("4100", "http://127.0.0.1:4100"), ("[::1]:4", "http://[::1]:4")],
)
def test_a_unit_behind_a_socket_is_read(listens: str, url: str) -> None:
    """The port is the socket's, the config a variable's: as `service install` writes them."""
    text = '[Service]\nEnvironment=A=b "CONFIG_FILE_PATH=/a %% b.yaml"\nExecStart=:/bin/uvicorn x:app --fd 3\n'
    told = unit_exec.of_unit(text, f"[Socket]\nListenStream={listens}\nBacklog=2048\n", HOME)
    assert (told.config, told.url) == ("/a % b.yaml", url)


def test_a_compose_file_in_its_long_form_is_read() -> None:
    """Ports, volumes, env files and variables as tables."""
    service = {
        "image": "registry/berriai/litellm@sha256:00",
        "env_file": [{"path": "a.env", "required": False}, "${UNKNOWN}/b.env"],
        "environment": {"DATABASE_URL": "x"},
        "ports": [{"target": 4000, "published": 4400, "host_ip": "127.0.0.1"}],
        "command": "--config /app/c/x.yaml",
        "volumes": [{"type": "bind", "source": "./conf", "target": "/app/c"}],
    }
    found = compose.litellm(json.dumps({"services": {"proxy": service}}).encode())
    assert found == compose.Service(
        "proxy", ("a.env",), "http://127.0.0.1:4400", "./conf/x.yaml", frozenset({"DATABASE_URL"})
    )


@pytest.mark.parametrize("text", ["", "services: [1]", "services: {a: {image: redis}}", "services:\n  b:\n", "- 1"])
def test_a_compose_file_without_the_gateway_has_none(text: str) -> None:
    """Whatever else is in it."""
    assert compose.litellm(text.encode()) is None


# -- what is shown of a file that is left as it is


def test_no_value_is_shown_in_a_difference() -> None:
    """What a line assigns, a password in an address, and whatever looks like a key are left out; paths stay."""
    key, token = f"sk-{secrets.token_urlsafe(32)}", secrets.token_hex(20)
    lines = [
        f"export LITELLM_MASTER_KEY={key}",
        f"curl -H 'Authorization: Bearer {key}' x",
        f"X=hunter2 sops -d a > b --token {token}",
        "url=https://me:hunter2@host/",
        "echo https://me:hunter2@host/ > b",
        "SOPS_AGE_KEY='AGE-SECRET-KEY-1QQQQQQQQQQQQQQQQ' sops -d a",
    ]
    text = "\n".join(difference.unified("\n".join(lines), "", ".envrc"))
    assert not any(word in text for word in (key, key[3:12], token, "hunter2", "1QQQ"))
    assert "sops -d a > b" in text
    kept = "sops -d secrets/global.enc.env > ~/.config/lab-secrets/litellm.env"
    assert difference.redacted(kept) == kept


# -- identities


def test_the_recipients_of_a_file_of_identities_are_told() -> None:
    """Comments, CRLF and blanks around them; a plugin's line is known to be one, a broken line is none."""
    one, two = age.fresh(), age.fresh()
    lines = [
        age.file_of(one).rstrip(b"\n"),
        b"",
        b"  " + age.file_of(two).splitlines()[1] + b"\r",
        b"AGE-SECRET-KEY-1X",
    ]
    found = age.parsed(Secret(b"\n".join(lines)))
    assert found.recipients == (*one.recipients, *two.recipients)
    assert not found.has_others
    assert age.parsed(Secret(b"AGE-PLUGIN-YUBIKEY-1QQ\n")).has_others
    assert age.parsed(Secret(b"")).recipients == ()
