"""`keyrotor bootstrap` where there is a lab already: keys and files are adopted, and nothing of them is lost."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from keyrotor import playbook
from keyrotor.demo.user_systemd import UserManager
from real.in_home import MASTER, SALT, Home, dotenv, nodes, write
from real.on_lab import Keyrotor, MakeLab
from real.test_identity import BACKEND

CONFIG = "model_list:\n  - model_name: chat\n    litellm_params: {model: openai/chat, mock_response: hi}\n"
FROM_ENVIRONMENT = "general_settings:\n  master_key: os.environ/LITELLM_MASTER_KEY\n"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home with a project folder; nobody's systemd answers."""
    for name in ("home", "lab"):
        (tmp_path / name).mkdir()
    (tmp_path / "run").mkdir(mode=0o700)
    return Home(tmp_path, tmp_path / "run")


def new_key() -> str:
    return f"sk-{secrets.token_urlsafe(32)}"


def plain(home: Home, **values: str) -> None:
    """The env file, in clear."""
    write(home.env_file, "".join(f"{name}={value}\n" for name, value in values.items()), 0o600)


def compose(home: Home, **service: object) -> None:
    """A compose file with the gateway."""
    whole = {"services": {"gateway": {"image": "ghcr.io/berriai/litellm:main", **service}}}
    write(home.project / "compose.yaml", json.dumps(whole))


def unchanged(before: dict[str, tuple[object, ...]], home: Home) -> list[str]:
    """The files that were there and are not as they were; folders may have got new names."""
    after = nodes(home.root)
    return [name for name, node in before.items() if node[3] is not None and after.get(name) != node]


@pytest.fixture
def old_style(home: Home, manager: UserManager) -> Iterator[Home]:
    """A lab made by hand: sops in `.envrc`, a unit of its own, a literal in droid's settings; no playbook."""
    lab = Home(home.root, manager.runtime)
    values = {MASTER: new_key(), SALT: new_key(), "OTHER": "a b"}
    lab.encrypt(values)
    env_file = lab.home / "my lab" / "gateway.env"
    write(env_file, f"{MASTER}={values[MASTER]}\n{SALT}={values[SALT]}\n", 0o600)
    shell = f"# mine\nexport GREETING=hello\nsops -d secrets/global.enc.env > '{env_file}'\ndotenv '{env_file}'\n"
    write(lab.project / ".envrc", shell)
    write(lab.project / "ai" / "litellm-mine.yaml", CONFIG + FROM_ENVIRONMENT)
    entry = {"model": "chat", "displayName": "c", "baseUrl": "http://localhost:4321/v1", "apiKey": values[MASTER]}
    write(lab.home / ".factory" / "settings.json", json.dumps({"customModels": [entry]}), 0o600)
    config = str(lab.project / "ai" / "litellm-mine.yaml").replace("%", "%%")
    command = f'/bin/sleep 1000 --config "{config}" --host 0.0.0.0 --port=4321'
    text = f"[Service]\nEnvironmentFile=-{env_file}\nExecStart={command}\n"
    write(manager.units / "litellm.service", text)
    manager.systemctl("daemon-reload")
    yield lab
    (manager.units / "litellm.service").unlink()
    manager.systemctl("daemon-reload")


def test_a_lab_of_the_old_kind_is_adopted_whole(old_style: Home) -> None:
    """Every file that was there is as it was; the playbook made for it names what was found; no value is shown."""
    before, values = nodes(old_style.root), old_style.values()
    done = old_style.bootstrap()
    assert unchanged(before, old_style) == []
    book = playbook.load(old_style.playbook, {"HOME": str(old_style.home)})
    options = {place.kind: place.options for place in book.places}
    assert options["env-file"]["path"] == str(old_style.home / "my lab" / "gateway.env")
    assert options["litellm"]["url"] == "http://127.0.0.1:4321"
    assert options["litellm"]["config"] == str(old_style.project / "ai" / "litellm-mine.yaml")
    assert options["systemd-unit"]["unit"] == "litellm.service"
    assert not old_style.env_file.exists()
    assert not (old_style.project / ".factory").exists()
    assert not any(value in done.stdout + done.stderr for value in values.values())
    assert "Nothing to make" in old_style.bootstrap().stdout


def test_an_envrc_that_decrypts_is_told_and_left(old_style: Home) -> None:
    """The line that does harm is named, with what would stand in its stead; nothing that stands there is shown."""
    thing = old_style.things()["envrc"]
    assert thing["state"] == "differs"
    assert "rollback is undone" in thing["said"]
    assert thing["diff"] == [
        ".envrc:3: the command that decrypts (sops -d) would be replaced by",
        "+dotenv_if_exists \"$HOME\"/'my lab/gateway.env'",
    ]


def test_a_masked_unit_is_told_as_any_other(old_style: Home, manager: UserManager) -> None:
    """What its file says cannot be read; what is in the project is found all the same."""
    unit = manager.units / "litellm.service"
    unit.unlink()
    unit.symlink_to("/dev/null")
    manager.systemctl("daemon-reload")
    things = old_style.things()
    assert things["host"]["label"] == "systemd: litellm.service"
    assert things["config"]["label"] == "ai/litellm-mine.yaml"


def test_keys_in_clear_are_adopted(home: Home) -> None:
    """Without an encrypted file the env file's keys go into a new one, none is made anew, and the file stays."""
    keys = {MASTER: new_key(), SALT: new_key()}
    plain(home, **keys, OLLAMA_API_KEY="mine")
    before = nodes(home.root)
    done = home.bootstrap()
    assert home.values() == keys
    assert unchanged(before, home) == []
    assert not any(value in done.stdout + done.stderr for value in keys.values())


def test_a_literal_in_the_gateways_config_is_adopted_and_told(home: Home) -> None:
    """The key that the gateway runs with is the one that is encrypted; the literal is for a person to take out."""
    key = new_key()
    write(home.project / "litellm.yaml", f"{CONFIG}general_settings:\n  master_key: {key}\n")
    assert "it stands in litellm.yaml" in home.bootstrap(code=3).stderr  # nobody says that a gateway uses it
    compose(home, command=["--config", "/app/c.yaml"], volumes=["./litellm.yaml:/app/c.yaml"])
    assert "literal, which wins" in home.things()["config"]["said"]
    done = home.bootstrap()
    assert home.values()[MASTER] == key
    assert key not in done.stdout + done.stderr


@pytest.mark.parametrize("empty", [False, True])
def test_a_gap_in_the_encrypted_file_is_filled(home: Home, empty: bool) -> None:
    """What is missing or blank is set; every other line keeps its ciphertext, and nothing is left beside the file."""
    key = new_key()
    home.encrypt({"OTHER": "a b", **({MASTER: ""} if empty else {})})
    plain(home, **{MASTER: key})
    line = next(line for line in home.secret_file.read_text().splitlines() if line.startswith("OTHER="))
    assert home.things()["env-file"]["mend"] == "keyrotor env litellm-master-key"  # it will lack the new salt
    home.bootstrap()
    values = home.values()
    assert (values[MASTER], values["OTHER"]) == (key, "a b")
    assert values[SALT] not in ("", key)
    assert line in home.secret_file.read_text().splitlines()
    assert [path.name for path in home.secret_file.parent.iterdir()] == ["global.enc.env"]


DATABASE = "postgresql://me@localhost/litellm"


@pytest.mark.parametrize("where", ["config", "broken config", "encrypted file", "env file", "compose"])
def test_no_salt_is_made_where_a_database_may_hold_something(home: Home, where: str) -> None:
    """What is stored there is encrypted with the master key: a person is told, and the key is adopted all the same."""
    config = CONFIG + FROM_ENVIRONMENT
    if where == "config":
        config += f"  database_url: {DATABASE}\n"
    if where == "broken config":
        config += "  - : [\n"
    write(home.project / "litellm.yaml", config)
    home.encrypt({MASTER: new_key(), **({"DATABASE_URL": DATABASE} if where == "encrypted file" else {})})
    if where == "env file":
        plain(home, **{MASTER: home.values()[MASTER], "DATABASE_URL": DATABASE})
    if where == "compose":
        service = {"image": "ghcr.io/berriai/litellm:main", "environment": [f"DATABASE_URL={DATABASE}"]}
        write(home.project / "compose.yaml", json.dumps({"services": {"gateway": service}}))
    before = home.secret_file.read_bytes()
    assert home.things()["salt"]["state"] == "by-hand"
    done = home.bootstrap()
    assert SALT not in home.values()
    assert home.secret_file.read_bytes() == before
    assert DATABASE not in done.stdout + done.stderr
    assert MASTER in dotenv(home.env_file.read_text())


def test_a_clients_key_that_differs_is_told_and_not_touched(home: Home) -> None:
    """droid's settings hold another key than the encrypted file: which is right an audit tells."""
    home.encrypt({MASTER: new_key(), SALT: new_key()})
    plain(home, **home.values())
    entry = {"model": "chat", "baseUrl": "http://127.0.0.1:4000/v1/", "apiKey": new_key()}
    write(home.home / ".factory" / "settings.json", json.dumps({"customModels": [entry]}), 0o600)
    before = nodes(home.root)
    droid = home.things()["droid"]
    assert (droid["state"], droid["mend"]) == ("differs", "keyrotor audit litellm-master-key")
    home.bootstrap()
    assert unchanged(before, home) == []


def test_an_env_file_that_cannot_be_read_stops_it(home: Home) -> None:
    """There may be a key in it: nothing is made in its stead, and nothing of it is shown."""
    write(home.env_file, f'{MASTER}="sk-never-closed\n', 0o600)
    before = nodes(home.root)
    done = home.bootstrap(code=3)
    assert "cannot be adopted" in done.stderr
    assert "never-closed" not in done.stderr
    assert nodes(home.root) == before


def test_a_broken_file_that_has_no_key_stops_nothing(home: Home) -> None:
    """A `.env` of somebody else's is not ours to read."""
    write(home.project / ".env", 'X="never closed\n')
    assert home.things()["env-file"]["state"] == "make"


def test_every_env_file_of_a_playbook_is_made(home: Home) -> None:
    """A second one that is absent is made, too; a playbook without any is told."""
    home.bootstrap()
    text = home.playbook.read_text()
    place = '[[place]]\nkind = "env-file"\npath = "~/second.env"\n\n'
    at = text.index("[[place]]", text.index("env-file"))
    home.playbook.write_text(text[:at] + place + text[at:])
    home.bootstrap()
    assert dotenv((home.home / "second.env").read_text()) == home.values()
    begin = text.index("[[place]]", text.index("sops-file"))
    home.playbook.write_text(text[:begin] + text[text.index("[[place]]", begin + 1) :])
    assert home.things()["env-file"]["state"] == "by-hand"
    assert "Nothing to make" in home.bootstrap().stdout


def test_an_identity_that_others_can_read_is_told(home: Home) -> None:
    """Its mode is not ours to change; the command is named."""
    home.encrypt({MASTER: new_key(), SALT: new_key()})
    home.identity.chmod(0o644)
    assert home.things()["identity"]["mend"] == f"chmod 600 {home.identity}"


def test_an_identity_that_is_there_is_copied_into_the_keyring(home: Home) -> None:
    """The encrypted file stays as it is, for the same identity opens it; the file of the identity stays, too."""
    home.encrypt({MASTER: new_key(), SALT: new_key()})
    (home.root / "folder_keyring.py").write_text(BACKEND)
    config = home.home / ".config" / "python_keyring" / "keyringrc.cfg"
    write(config, f"[backend]\ndefault-keyring=folder_keyring.Folder\nkeyring-path={home.root}\n")
    before = nodes(home.root)
    Home(home.root, home.runtime, {"PYTHON_KEYRING_BACKEND": ""}).bootstrap("--age-identity", "keyring")
    assert unchanged(before, home) == []
    assert (home.root / "keyrotor-age-identity").read_text() == home.identity.read_text().strip()


def test_no_new_identity_is_made_beside_an_encrypted_file(home: Home) -> None:
    """It could not open it: one that is asked for is refused, and one that sops finds elsewhere is enough."""
    home.encrypt({MASTER: new_key(), SALT: new_key()})
    assert "for another one already" in home.bootstrap("--age-identity", "~/new.txt", code=3).stderr
    assert not (home.home / "new.txt").exists()
    key = home.identity.read_text().strip()
    home.identity.unlink()
    given = Home(home.root, home.runtime, {"SOPS_AGE_KEY": key})
    assert key not in given.bootstrap().stdout
    assert "Nothing to make" in given.bootstrap().stdout
    assert not home.identity.exists()


def test_an_env_file_that_others_can_read_is_told(home: Home) -> None:
    """The command that mends it is named, and its mode left as it is."""
    keys = {MASTER: new_key(), SALT: new_key()}
    plain(home, **keys)
    home.env_file.chmod(0o644)
    assert home.things()["env-file"]["mend"] == "keyrotor env litellm-master-key"


def test_a_literal_elsewhere_gets_a_place_of_its_own(home: Home) -> None:
    """droid's older file holds the key: the new playbook moves it, too."""
    keys = {MASTER: new_key(), SALT: new_key()}
    plain(home, **keys)
    entry = {"model": "chat", "base_url": "http://localhost:4000/v1", "api_key": keys[MASTER]}
    write(home.home / ".factory" / "config.json", json.dumps({"custom_models": [entry]}), 0o600)
    home.bootstrap()
    places = playbook.load(home.playbook, {"HOME": str(home.home)}).places
    clients = [place.options["path"] for place in places if place.kind == "client-file"]
    assert clients == [str(home.home / ".factory" / name) for name in ("settings.json", "config.json")]


def test_a_gateway_in_a_container_is_recreated(home: Home) -> None:
    """A compose file with the gateway is taken for what keeps it running: its port, its env file, its command."""
    service = {
        "image": "ghcr.io/berriai/litellm:main-stable",
        "env_file": ["./gateway.env"],
        "ports": ["127.0.0.1:4400:4000"],
        "command": ["--config", "/app/config.yaml"],
        "volumes": ["./conf/config.yaml:/app/config.yaml:ro"],
    }
    write(home.project / "docker-compose.yml", json.dumps({"services": {"db": {"image": "x"}, "proxy": service}}))
    write(home.project / "conf" / "config.yaml", CONFIG + FROM_ENVIRONMENT)
    home.bootstrap()
    options = {place.kind: place.options for place in playbook.load(home.playbook, {"HOME": str(home.home)}).places}
    assert options["command"]["put"] == ["docker", "compose", "up", "-d", "--force-recreate", "proxy"]
    assert options["litellm"]["url"] == "http://127.0.0.1:4400"
    assert options["litellm"]["config"] == str(home.project / "conf" / "config.yaml")
    assert options["env-file"]["path"] == str(home.project / "gateway.env")
    assert dotenv((home.project / "gateway.env").read_text()) == home.values()


def test_an_existing_playbook_is_adopted_as_it_is(make_lab: MakeLab, keyrotor: Keyrotor) -> None:
    """A whole lab keeps its playbook under any name, and gets only what it lacks; a rotation goes on to work."""
    lab = make_lab(unit=False)
    mine = lab.playbook.with_name("mine.toml")
    lab.playbook.rename(mine)
    before = nodes(lab.project / "playbooks", lab.project / "secrets", lab.home)
    done = keyrotor(lab, "bootstrap", "--yes")
    assert done.returncode == 0, done.stderr
    assert "= playbooks/mine.toml" in done.stdout
    assert not lab.playbook.exists()
    after = nodes(lab.project / "playbooks", lab.project / "secrets", lab.home)
    assert [name for name, node in before.items() if node[3] is not None and after[name] != node] == []
    assert sorted(path.name for path in lab.project.glob(".*") if path.is_file()) == [
        *(".envrc", ".gitattributes", ".gitignore", ".sops.yaml"),
    ]
    assert keyrotor(lab, "rotate", "--yes").returncode == 0


def test_what_is_owed_comes_first(home: Home) -> None:
    """A run that was not finished is to be finished before anything is made: 22."""
    home.bootstrap()
    text = home.playbook.read_text().replace('"restart-the-gateway"', '"sleep", "60"')
    home.playbook.write_text(text)
    (home.project / ".gitignore").unlink()
    source = playbook.load(home.playbook, {"HOME": str(home.home)}).source
    owe(home, source.file)
    home.bootstrap(code=22)
    home.bootstrap("--dry-run", code=22)
    assert not (home.project / ".gitignore").exists()


def owe(home: Home, file: str) -> None:
    """A run of this file on record that was opened and not closed, as a killed one leaves it."""
    from datetime import UTC, datetime

    from keyrotor.core.machine import Opened
    from keyrotor.core.model import Act, Plan, Row, Source, Value
    from keyrotor.journal import Journal

    row = Row("sops-file", "sops-file", "sops-file", Act.FILE, "file", 60.0)
    source = Source(file, MASTER, "", str(home.project))
    prints = {Value.OLD: "sk-…1", Value.NEW: "sk-…2"}
    plan = Plan("abc123", "litellm-master-key", source, (row,), prints, "12345678", {})
    with Journal.open(home.home / ".local" / "state" / "keyrotor") as journal:
        journal.append("abc123", Opened(plan), datetime.now(UTC))
