"""The texts that `bootstrap` makes, and what it reads off those that are there."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from keyrotor import playbook, shelf, shipped
from keyrotor.boundary import age
from keyrotor.errors import PlaybookError
from keyrotor.formats import compose, creation_rules, envrc, unit_exec
from keyrotor.secret import Secret
from keyrotor.texts import gateway, playbooks, project

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

VARIABLES = {"HOME": HOME, "PWD": f"{HOME}/lab", "ENV_DIR": "/e n"}


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
        ('sops -d "$PWD/g.enc.env" > "$ENV_DIR"/x.env', f"{HOME}/lab/g.enc.env", "/e n/x.env"),
        ("sops -d '$x.env' > '$y'", "$x.env", "$y"),
        ("sops -d g.enc.env > $UNKNOWN/x.env", "g.enc.env", None),
        ('sops -d g.enc.env > "${ENV_DIR:-/tmp}/x.env"', "g.enc.env", None),
        ("sops -d $(ls *.enc.env) > x.env", None, "x.env"),
        ('eval "$(sops -d a.enc.env)"', "a.enc.env", ""),
        ("sops -d a.enc.env > /dev/null", "a.enc.env", ""),
    ],
)
def test_a_command_that_decrypts_is_seen(text: str, encrypted: str | None, target: str | None) -> None:
    """In whatever way it is written; a path that cannot be told is none, never a guess."""
    (found,) = envrc.decrypting(text, VARIABLES)
    assert (found.encrypted, found.target) == (encrypted, target)


@pytest.mark.parametrize(
    "text",
    ["# sops -d a.enc.env > b.env", "dotenv_if_exists ~/x.env", "sops exec-env a.env 'echo > x'", "echo sops > x"],
)
def test_what_does_not_decrypt_is_not_taken_for_it(text: str) -> None:
    """Comments, and other words of sops."""
    assert envrc.decrypting(text, VARIABLES) == []


def test_what_is_loaded_is_found() -> None:
    """By the words of direnv's and the shell's own, with what is known put in."""
    text = "dotenv \"$HOME\"/a.env\n  dotenv_if_exists 'b c.env'\n# dotenv d.env\n[ -f x ] && dotenv $NO/e.env\n"
    assert [each.path for each in envrc.loaded(text, VARIABLES)] == [f"{HOME}/a.env", "b c.env", None]
    text = 'set -a; . ~/f.env; set +a\nsource_env_if_exists g\nsource "$(dirname x)/h"\n'
    assert [each.path for each in envrc.sourced(text, VARIABLES)] == [f"{HOME}/f.env", "g", None]


@pytest.mark.parametrize("home", ['/50% "$b"', "/it's", "/a b"])
def test_what_is_written_for_direnv_is_read_back(home: str) -> None:
    """Whatever the home is called."""
    line = project.envrc_line(f"{home}/x/y.env", home)
    assert [each.path for each in envrc.loaded(line, {"HOME": home})] == [f"{home}/x/y.env"]


@pytest.mark.parametrize(
    ("text", "value"),
    [("export A=b", "b"), ("A='b $c'", "b $c"), ("export A=$B", None), ("A=$(sops -d x)", None), ("x; A=`y`", None)],
)
def test_what_a_variable_is_given_is_told(text: str, value: str | None) -> None:
    """A reference is no literal."""
    assert [(each.name, each.value) for each in envrc.assigned(text, VARIABLES)] == [("A", value)]


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
    "command", ["/bin/bash run_litellm.sh --config x", "bash -lc 'litellm --config x'", "/home/you/run.sh --config x"]
)
def test_what_a_shell_runs_is_not_told(command: str) -> None:
    """It may take another config, whatever it is given."""
    assert unit_exec.of_unit(f"ExecStart={command}\n", "", HOME).config == ""


def test_a_units_drop_in_comes_after_it() -> None:
    """Its command, its folder and its variables count."""
    text = "Environment=A=1 B=2\nExecStart=x --config a\nWorkingDirectory=/x\n"
    text += "Environment=\nEnvironment='A=3 4'\nExecStart=\nExecStart=env C=5 litellm --config b\nWorkingDirectory=~\n"
    told = unit_exec.of_unit(text, "", HOME)
    assert (told.config, told.folder, told.assigned) == ("b", HOME, {"A": "3 4", "C": "5"})


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
    elsewhere = "it has an env_file by a variable"
    found = compose.litellm(json.dumps({"services": {"proxy": service}}).encode())
    assert found == compose.Service(
        *("proxy", ("a.env",), "http://127.0.0.1:4400", "./conf/x.yaml", frozenset({"DATABASE_URL"})),
        *({"DATABASE_URL": "x"}, elsewhere),
    )


LITELLM = {"image": "ghcr.io/berriai/litellm-database:main"}


@pytest.mark.parametrize(
    ("services", "name"),
    [
        ({"litellm-db": {"image": "postgres:16"}, "proxy": LITELLM}, "proxy"),
        ({"litellm-db": {"image": "postgres:16"}, "proxy": {"command": "litellm --config x"}}, "proxy"),
        ({"litellm": {"build": "."}}, "litellm"),
        ({"litellm-db": {"image": "litellm.example/postgres:16"}}, ""),
    ],
)
def test_a_name_alone_makes_no_gateway(services: dict[str, object], name: str) -> None:
    """What a service runs comes before what it is called."""
    found = compose.litellm(json.dumps({"services": services}).encode())
    assert (found.name if found else "") == name


@pytest.mark.parametrize(
    "more",
    [
        {"include": ["x.yaml"]},
        {"services": {"a": {**LITELLM, "extends": {"service": "b"}}}},
        {"services": {"a": LITELLM, "b": LITELLM}},
        {"services": {"a": {**LITELLM, "env_file": "$X/a.env"}}},
    ],
)
def test_what_a_compose_file_says_elsewhere_is_known_to_be_unknown(more: dict[str, object]) -> None:
    """Another file may give the gateway a key."""
    found = compose.litellm(json.dumps({"services": {"a": LITELLM}, **more}).encode())
    assert found is not None
    assert found.elsewhere


def test_a_path_of_compose_is_told_by_what_is_known() -> None:
    """As docs/how-to/containers.md writes it."""
    given = {"env_file": ["${HOME}/a.env"], "volumes": ["$HOME/c.yaml:/c.yaml:ro"], "command": ["--config", "/c.yaml"]}
    found = compose.litellm(json.dumps({"services": {"a": {**LITELLM, **given}}}).encode(), {"HOME": HOME})
    assert found is not None
    assert (found.env_files, found.config, found.elsewhere) == ((f"{HOME}/a.env",), f"{HOME}/c.yaml", "")


def test_a_key_that_compose_hands_on_stands_elsewhere() -> None:
    """Only a literal is one."""
    given = ["A=x", "B", "C=${C}", "D="]
    found = compose.litellm(json.dumps({"services": {"a": {**LITELLM, "environment": given}}}).encode())
    assert found is not None
    assert found.literals == {"A": "x"}
    assert found.sets == frozenset("ABCD")


@pytest.mark.parametrize("text", ["", "services: [1]", "services: {a: {image: redis}}", "services:\n  b:\n", "- 1"])
def test_a_compose_file_without_the_gateway_has_none(text: str) -> None:
    """Whatever else is in it."""
    assert compose.litellm(text.encode()) is None


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
