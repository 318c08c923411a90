"""Where it is not certain what the present key or salt is, `keyrotor bootstrap` makes none; and what it shows, and what
it tells to type, gives no value away."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pyrage import x25519

from keyrotor.demo.user_systemd import UserManager
from real.in_home import MASTER, SALT, Home, nodes, write
from real.test_bootstrap_adopts import CONFIG, FROM_ENVIRONMENT, compose, new_key, plain

KEY, OTHER = new_key(), new_key()
DATABASE = "DATABASE_URL=postgresql://me@localhost/litellm"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home with a project folder; nobody's systemd answers."""
    for name in ("home", "lab"):
        (tmp_path / name).mkdir()
    (tmp_path / "run").mkdir(mode=0o700)
    return Home(tmp_path, tmp_path / "run")


@pytest.fixture
def unit(home: Home, manager: UserManager) -> Iterator[Callable[..., Home]]:
    """Makes a `litellm.service` of these lines, and a home in which that systemd answers."""
    path = manager.units / "litellm.service"

    def made(*lines: str, **drop_in: str) -> Home:
        write(path, "\n".join(["[Service]", *lines, ""]))
        for name, text in drop_in.items():
            write(manager.units / "litellm.service.d" / f"{name}.conf", f"[Service]\n{text}\n")
        manager.systemctl("daemon-reload")
        return Home(home.root, manager.runtime)

    yield made
    for each in (*(manager.units / "litellm.service.d").glob("*"), path):
        each.unlink(missing_ok=True)
    manager.systemctl("daemon-reload")


def env_file(home: Home, name: str, *lines: str) -> Path:
    write(home.project / name, "".join(f"{line}\n" for line in lines), 0o600)
    return home.project / name


def config(home: Home, text: str = "", name: str = "litellm.yaml") -> Path:
    write(home.project / name, CONFIG + FROM_ENVIRONMENT + text)
    return home.project / name


def refused(home: Home, *said: str, **how: object) -> None:
    """It ends with 3, has made nothing, says where, and shows no value."""
    before = nodes(home.root)
    done = home.bootstrap(code=3, **how)
    assert nodes(home.root) == before
    assert all(word in done.stderr for word in said), done.stderr
    assert not any(value in done.stdout + done.stderr for value in (KEY, OTHER))


# -- a key, or a salt, beside one that is there


def from_env_files(home: Home) -> None:
    env_file(home, "s.env", f"{SALT}={KEY}", DATABASE)
    env_file(home, "m.env", f"{MASTER}={OTHER}")
    compose(home, env_file=["m.env", "s.env"])


def from_the_project(home: Home) -> None:
    home.encrypt({MASTER: OTHER})
    env_file(home, ".env", f"{SALT}={KEY}")


def beside_the_usual(home: Home) -> None:
    plain(home, **{MASTER: OTHER})
    env_file(home, ".env", f"{SALT}={KEY}", DATABASE)


def by_a_variable(home: Home) -> None:
    write(home.project / ".envrc", 'dotenv "$PWD"/own.env\n')
    env_file(home, "own.env", f"{MASTER}={OTHER}", f"{SALT}={KEY}")


@pytest.mark.parametrize("made", [from_env_files, from_the_project, beside_the_usual, by_a_variable])
def test_a_salt_is_adopted_from_whatever_env_file_has_it(home: Home, made: Callable[[Home], None]) -> None:
    """Not only from the one that has the master key, and whatever database is configured."""
    made(home)
    home.bootstrap()
    assert (home.values()[MASTER], home.values()[SALT]) == (OTHER, KEY)


def test_every_file_of_a_unit_is_read(unit: Callable[..., Home], home: Home) -> None:
    """The salt is in one, the master key in another; its config lies where it is started."""
    paths = [env_file(home, "s.env", f"{SALT}={KEY}", DATABASE), env_file(home, "m.env", f"{MASTER}={OTHER}")]
    config(home, name="own/c.yaml")
    lines = [f"EnvironmentFile={path}" for path in paths]
    lab = unit(f"WorkingDirectory={home.project / 'own'}", *lines, "ExecStart=/bin/sleep 9 --config c.yaml")
    assert lab.things()["config"]["label"] == "own/c.yaml"
    lab.bootstrap()
    assert (lab.values()[MASTER], lab.values()[SALT]) == (OTHER, KEY)
    env_file(home, "s.env", f"{SALT}={OTHER}")  # with a playbook, too
    refused(lab, SALT, "s.env")


def in_two_env_files(home: Home) -> str:
    plain(home, **{MASTER: KEY})
    env_file(home, ".env", f"{MASTER}={OTHER}")
    return ".env hold two different values"


def in_the_encrypted_file_and_an_env_file(home: Home) -> str:
    home.encrypt({MASTER: KEY, SALT: KEY})
    plain(home, **{MASTER: KEY, SALT: OTHER})
    return "secrets/global.enc.env and ~/.config/lab-secrets/litellm.env hold two different values"


def in_a_broken_env_file(home: Home) -> str:
    env_file(home, ".env", f"{SALT}={KEY}", "not a line")
    return "what it holds cannot be adopted"


def with_a_database_in_a_broken_file(home: Home) -> str:
    env_file(home, ".env", DATABASE, "not a line")
    return "what it holds cannot be adopted"


def in_compose(home: Home) -> str:
    compose(home, command="--config /c", volumes=[f"{config(home)}:/c"], environment={MASTER: KEY, SALT: "$X"})
    return "it stands in compose.yaml"


def in_compose_and_otherwise(home: Home) -> str:
    plain(home, **{MASTER: OTHER})
    return in_compose(home).replace("it stands in ", "")


def in_the_configs_variables(home: Home) -> str:
    config(home, f"environment_variables: {{{SALT}: {KEY}}}\n")
    return "it stands in litellm.yaml, in its environment_variables"


def in_the_config_by_another_name(home: Home) -> str:
    write(home.project / "litellm.yaml", CONFIG + "general_settings: {master_key: os.environ/PROXY_KEY}\n")
    return "it stands in litellm.yaml, by another name"


def in_envrc(home: Home) -> str:
    write(home.project / ".envrc", f"x=1\nexport {MASTER}='{KEY}'\n")
    return "it stands in .envrc:2"


def in_envrc_by_a_command(home: Home) -> str:
    write(home.project / ".envrc", f"export {MASTER}=$(pass litellm)\n")
    return "it stands in .envrc:1"


def in_another_encrypted_file(home: Home) -> str:
    home.encrypt({MASTER: KEY})
    text = home.secret_file.read_text().replace(MASTER, SALT)
    write(home.secret_file.with_name("more.enc.env"), text)
    return "it stands in secrets/more.enc.env"


def in_an_encrypted_file_of_another_kind(home: Home) -> str:
    write(home.project / "secrets" / "litellm.enc.yaml", f"{MASTER}: ENC[x]\nsops: {{}}\n")
    return "it stands in secrets/litellm.enc.yaml"


def in_several_encrypted_files(home: Home) -> str:
    home.encrypt({MASTER: KEY})
    home.secret_file.rename(home.secret_file.with_name("one.enc.env"))
    write(home.secret_file.with_name("two.enc.env"), home.secret_file.with_name("one.enc.env").read_text())
    return "secrets/one.enc.env and secrets/two.enc.env have one"


def by_an_unknown_variable(home: Home) -> str:
    write(home.project / ".envrc", "\nsops -d secrets/x.enc.env > $NOBODY_KNOWS/x.env\n")
    return "which file .envrc:2 means"


def by_a_script_in_envrc(home: Home) -> str:
    write(home.project / ".envrc", "source $NOBODY_KNOWS/keys.sh\n")
    return ".envrc:1 runs a file that cannot be told"


def by_a_reference(home: Home) -> str:
    env_file(home, ".env", f"{MASTER}=${{MYKEY}}")
    return f"what {MASTER} is in {home.project}/.env"


def by_a_command_in_an_env_file(home: Home) -> str:
    env_file(home, ".env", f"{MASTER}='$(sops -d x)'")
    return f"what {MASTER} is in {home.project}/.env"


def by_an_escape(home: Home) -> str:
    env_file(home, ".env", f'{SALT}="sk-a\\$b"')
    return f"what {SALT} is in {home.project}/.env"


def by_an_override(home: Home) -> str:
    compose(home, command="--config /c", volumes=[f"{config(home)}:/c"])
    write(home.project / "compose.override.yaml", "services: {}\n")
    return "compose.override.yaml is there, too"


def by_a_config_that_nobody_names(home: Home) -> str:
    compose(home)
    return "nothing says which config the gateway uses"


def in_a_json_file_that_envrc_decrypts(home: Home) -> str:
    write(home.project / "secrets" / "all.json", f'{{"{MASTER}": "ENC[x]", "sops": {{}}}}')
    write(home.project / ".envrc", "sops -d secrets/all.json > .env\n")
    return "it stands in secrets/all.json"


def in_what_a_unit_reads_that_nobody_tells(home: Home) -> str:
    write(home.home / ".config" / "systemd" / "user" / "litellm.service", "[Service]\nEnvironmentFile=/x\n")
    return "the user's systemd does not answer here"


def behind_a_link_to_nothing(home: Home) -> str:
    home.env_file.parent.mkdir(parents=True)
    home.env_file.symlink_to(home.root / "gone")
    return "it is a link to nothing"


def encrypted_behind_a_link_to_nothing(home: Home) -> str:
    home.secret_file.parent.mkdir(parents=True)
    home.secret_file.symlink_to(home.root / "gone")
    return "it is a link to nothing"


def git_lines_behind_a_link_to_nothing(home: Home) -> str:
    (home.project / ".gitattributes").symlink_to(home.root / "gone")
    return "it is a link to nothing"


def in_a_playbook_that_is_broken(home: Home) -> str:
    write(home.project / "playbooks" / "mine.toml", f'[secret]\nkey = "{MASTER}"\n')
    return "mine.toml"


@pytest.mark.parametrize(
    "made",
    [
        *(in_two_env_files, in_the_encrypted_file_and_an_env_file, in_a_broken_env_file, in_compose),
        *(with_a_database_in_a_broken_file, in_compose_and_otherwise, in_the_configs_variables),
        *(in_the_config_by_another_name, in_envrc, in_envrc_by_a_command, in_another_encrypted_file),
        *(in_an_encrypted_file_of_another_kind, in_several_encrypted_files, by_an_unknown_variable),
        *(by_a_script_in_envrc, by_a_reference, by_a_command_in_an_env_file, by_an_escape, by_an_override),
        *(by_a_config_that_nobody_names, behind_a_link_to_nothing, encrypted_behind_a_link_to_nothing),
        *(git_lines_behind_a_link_to_nothing, in_a_json_file_that_envrc_decrypts),
        in_what_a_unit_reads_that_nobody_tells,
    ],
)
def test_no_key_is_made_beside_one_that_may_be_there(home: Home, made: Callable[[Home], str]) -> None:
    """It is told where one stands, nothing is made, and nothing of it is shown."""
    refused(home, made(home))


def test_a_key_of_the_shell_is_a_key(home: Home) -> None:
    """Where there is no other; one that is the same as the env file's is fine, and so is a stale one beside the
    encrypted file."""
    mine = Home(home.root, home.runtime, {MASTER: KEY})
    refused(mine, f"the variable ${MASTER} of this shell")
    plain(home, **{MASTER: KEY})
    mine.bootstrap()
    assert home.values()[MASTER] == KEY
    assert "Nothing to make" in Home(home.root, home.runtime, {MASTER: OTHER}).bootstrap().stdout


def test_a_broken_playbook_for_the_key_is_mended_first(home: Home) -> None:
    """No second one is made beside it."""
    name = in_a_playbook_that_is_broken(home)
    assert name in home.bootstrap(code=2).stderr
    assert not home.secret_file.exists()


def test_the_encrypted_file_that_has_the_key_is_the_one(home: Home) -> None:
    """The usual one has other secrets only."""
    home.encrypt({MASTER: KEY, SALT: OTHER})
    home.secret_file.rename(home.secret_file.with_name("litellm.enc.env"))
    write(home.secret_file, home.secret_file.with_name("litellm.enc.env").read_text().replace("LITELLM", "X"))
    assert home.things()["encrypted-file"]["label"] == "secrets/litellm.enc.env"


def test_what_is_made_of_another_encrypted_file_is_no_env_file_of_this_one(home: Home) -> None:
    """It would be written over at every prompt."""
    write(home.project / "secrets" / "tls.json", '{"sops": {}}')
    write(home.project / ".envrc", "sops -d secrets/tls.json > tls.env\ndotenv tls.env\n")
    assert home.things()["env-file"]["label"] == "~/.config/lab-secrets/litellm.env"


@pytest.mark.parametrize(
    ("lines", "drop_in", "why"),
    [
        (["ExecStart=/bin/bash run_litellm.sh --config {config}"], "", "nothing says which config the gateway uses"),
        (["ExecStart=/bin/sleep 9 --config {config}"], "ExecStart=\nExecStart=/bin/bash -lc 'x --config {config}'", ""),
        (
            ["ExecStart=/bin/sleep 9 --config {config}", f"Environment={MASTER}={KEY}"],
            "",
            "Environment= of",
        ),
        (["ExecStart=/bin/sleep 9 --config {config}"], f"Environment={MASTER}={KEY}", "Environment= of"),
        (["ExecStart=/bin/sleep 9 --config gone.yaml"], "", "is not there"),
    ],
    ids=["another program", "a drop-in's program", "a key", "a drop-in's key", "no config"],
)
def test_no_key_is_made_beside_a_units(
    unit: Callable[..., Home], home: Home, lines: list[str], drop_in: str, why: str
) -> None:
    """What a script does, a drop-in says, or a variable of the unit holds may be the present key; then the salt is for
    a person, too."""
    path = config(home)
    filled = [line.format(config=path) for line in lines]
    lab = unit(*filled, **({"own": drop_in.format(config=path)} if drop_in else {}))
    refused(lab, why or "nothing says which config the gateway uses")
    plain(home, **{MASTER: KEY})
    if KEY not in f"{lines}{drop_in}":
        assert lab.things()["salt"]["state"] == "by-hand"
    else:
        lab.bootstrap()
        assert lab.values()[MASTER] == KEY


def test_a_lab_is_made_in_no_other_lab(home: Home) -> None:
    """Neither below one, nor on the unit of one; the other one is named."""
    home.bootstrap()
    below = home.project / "ai"
    for arguments, folder in ((["bootstrap", "--yes"], below), (["bootstrap", "--yes", str(below / "x")], home.root)):
        assert f"keyrotor bootstrap {home.project}" in home.run(*arguments, code=3, folder=folder).stderr


def test_a_unit_of_another_lab_is_left_to_it(unit: Callable[..., Home], home: Home) -> None:
    """Its keys are not those of a second one."""
    home.bootstrap()
    sample = home.project / "ai/backend/ai-backend-unified/config/litellm-unified.yaml"
    for line in (f"ExecStart=/bin/sleep 9 --config {sample}", f"WorkingDirectory={home.project}"):
        lab = unit(line)
        done = lab.run("bootstrap", "--yes", str(home.root / "second"), code=3)
        assert f"it runs the gateway of the lab in {home.project}" in done.stderr
        assert not (home.root / "second").exists()


def test_a_guessed_config_is_no_example(home: Home) -> None:
    """Nor anything else that is no gateway's; and a database in any of several counts."""
    for name in ("docs/litellm-example.yaml", "litellm.sample.yml"):
        write(home.project / name, f"general_settings: {{master_key: {KEY}}}\n")
    write(home.project / "litellm-chart.yaml", "replicas: 1\n")
    assert home.things()["config"]["state"] == "make"
    config(home)
    config(home, "  database_url: postgresql://x\n", "deep/litellm-two.yaml")
    assert home.things()["config"]["label"] == "litellm.yaml"
    plain(home, **{MASTER: KEY})
    salt = home.things()["salt"]
    assert salt["mend"] == f"sops edit {home.secret_file}"
    subprocess.run(["sh", "-n", "-c", salt["mend"]], check=True)


# -- what is shown, and what is to be typed


@pytest.mark.parametrize(
    "line",
    [
        "export PW=${PW:-hunter2}; sops -d secrets/global.enc.env > ~/x.env",
        "mysql -phunter2; sops -d secrets/global.enc.env > ~/x.env",
        "curl -H 'Authorization: Bearer hunter2'; sops -d secrets/global.enc.env > ~/x.env",
        "if ! sops -d secrets/global.enc.env > ~/x.env; then hunter2; fi",
    ],
)
def test_nothing_of_an_envrc_is_shown(home: Home, line: str) -> None:
    """Whatever stands beside the command may be a value; only where it stands is told, and what would replace it."""
    home.encrypt({MASTER: KEY, SALT: OTHER})
    write(home.project / ".envrc", f"{line}\n")
    done = home.bootstrap()
    assert "hunter2" not in done.stdout + done.stderr
    assert ".envrc:1: the command that decrypts" in done.stdout
    assert "+dotenv_if_exists" in done.stdout


def next_of(home: Home, *arguments: str) -> list[str]:
    done = home.run("bootstrap", str(home.project), "--dry-run", "--json", *arguments)
    return list(json.loads(done.stdout)["next"])


def typed(home: Home, *commands: str) -> str:
    names = {f"GIT_{who}_{what}": "x" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    env = {**home.env, **names}
    done = subprocess.run(
        ["sh", "-ec", "\n".join(commands)], check=False, cwd=home.project, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_only_what_is_made_is_committed(home: Home) -> None:
    """Each by its name, as the commands are typed: nothing that was there, no env file, no identity, nothing that git
    ignores."""
    home.make_identity()
    write(home.project / ".factory" / "settings.json", "{}")
    write(home.project / "secrets" / "mine.env", f"X={KEY}\n")
    write(home.project / ".gitignore", "playbooks/incident-response.toml\n")
    config(home)
    typed(home, "git init -q")
    done = home.bootstrap()
    (command,) = [line.strip() for line in done.stdout.splitlines() if "git add" in line]
    typed(home, command)
    committed = typed(home, "git ls-files").split()
    assert committed == [".envrc", ".gitattributes", "playbooks/litellm-master-key.toml", "secrets/global.enc.env"]
    assert not [line for line in next_of(home) if "git" in line]


def test_in_a_new_lab_the_commands_can_be_typed(home: Home) -> None:
    """Without a repository one is made first; neither the env file nor the identity gets into it."""
    lab = Home(home.root, home.runtime, {"SOPS_AGE_KEY_FILE": str(home.home / "k.txt")})
    write(lab.project / ".envrc", "dotenv .env\n")
    (command,) = [line.strip() for line in lab.bootstrap().stdout.splitlines() if "git add" in line]
    typed(lab, command)
    committed = typed(lab, "git ls-files").split()
    assert "secrets/global.enc.env" in committed
    assert not {".env", ".envrc"} & set(committed)


def test_what_git_would_give_away_is_told(home: Home) -> None:
    """An identity in the project, and an env file that git tracks in clear."""
    plain(home, **{MASTER: KEY, SALT: OTHER})
    write(home.project / "keys.txt", f"{x25519.Identity.generate()}\n", 0o600)
    env_file(home, ".env", f"{MASTER}={KEY}", f"{SALT}={OTHER}")
    home.env_file.unlink()
    typed(home, "git init -q", "git add .env")
    things = Home(home.root, home.runtime, {"SOPS_AGE_KEY_FILE": str(home.project / "keys.txt")}).things()
    assert things["identity"]["state"] == things["env-file"]["state"] == "by-hand"
    assert "git tracks it" in things["env-file"]["said"]
    typed(home, things["env-file"]["mend"])


# -- half-made labs


@pytest.mark.parametrize("case", ["another", "regex", "new"])
def test_rules_that_would_not_work_are_refused_first(home: Home, case: str) -> None:
    """For somebody else, or leaving a value in clear: no identity is made for a file that cannot be."""
    home.make_identity()
    rules, stranger = home.project / ".sops.yaml", str(x25519.Identity.generate().to_public())
    if case == "regex":
        rules.write_text(rules.read_text() + "    encrypted_regex: '^NOTHING$'\n")
    else:
        mine = rules.read_text().rpartition("age: ")[2].strip()
        rules.write_text(rules.read_text().replace(mine, stranger))
    if case == "new":
        home.identity.unlink()
    refused(home, ".sops.yaml")


def test_any_of_several_identities_will_do(home: Home) -> None:
    """The rules are for the second one."""
    home.make_identity()
    home.identity.write_text(f"{x25519.Identity.generate()}\n{home.identity.read_text()}")
    home.bootstrap()
    assert set(home.values()) == {MASTER, SALT}


def test_what_else_is_encrypted_reaches_the_env_file(home: Home) -> None:
    """The playbook that is made names it; what no env file may hold is left out."""
    home.encrypt({"OPENAI_API_KEY": OTHER, MASTER: KEY, SALT: OTHER, "LINES": "a\nb", "EMPTY": ""})
    home.bootstrap()
    places = tomllib.loads(home.playbook.read_text())["place"]
    assert places[1]["keys"] == [MASTER, SALT, "OPENAI_API_KEY"]
    assert f"OPENAI_API_KEY={OTHER}" in home.env_file.read_text()


def test_a_hint_is_the_whole_command(home: Home) -> None:
    """With the folder and the options, from wherever it is typed."""
    place, url = str(home.root / "a lab"), "http://127.0.0.1:4100"
    done = home.run("bootstrap", place, "--url", url, code=2, folder=home.home)
    assert f"keyrotor bootstrap '{place}' --url {url} --yes" in done.stderr


def test_the_commands_name_a_playbook_that_is_not_alone(home: Home) -> None:
    """And while something is left to be done by hand, no rotation is offered."""
    write(home.home / ".config" / "keyrotor" / "playbooks" / "other.toml", "name = 'other'\n")
    commands = next_of(home)
    assert "keyrotor doctor litellm-master-key" in commands
    assert not [command for command in commands if "rotate" in command]


def test_an_adopted_unit_is_offered_a_socket(unit: Callable[..., Home], home: Home) -> None:
    """And an env file that others can read its mend; .envrc was not made here, so it is not to be allowed."""
    config(home)
    plain(home, **{MASTER: KEY, SALT: OTHER})
    home.env_file.chmod(0o644)
    write(home.project / ".envrc", "x=1\n")
    lab = unit(f"EnvironmentFile={home.env_file}", f"ExecStart=/bin/sleep 9 --config {config(home)}")
    commands = next_of(lab)
    assert "keyrotor service install --replace" in commands
    assert "keyrotor env litellm-master-key" in commands
    assert "direnv allow" not in commands


def test_an_identity_where_only_this_shell_looks_is_named(home: Home) -> None:
    """A timer has no XDG_CONFIG_HOME."""
    lab = Home(home.root, home.runtime, {"XDG_CONFIG_HOME": str(home.home / "xdg")})
    lab.bootstrap()
    assert 'identity = "~/xdg/sops/age/keys.txt"' in home.playbook.read_text()
    assert "SOPS_AGE_KEY_FILE" in (home.project / ".envrc").read_text()
    assert "Nothing to make" in home.bootstrap().stdout


def test_an_empty_file_of_identities_is_none(home: Home) -> None:
    """It is said so, and none is made elsewhere."""
    write(home.identity, "# nothing\n", 0o600)
    refused(home, "it holds no identity")


def test_what_cannot_be_written_is_refused_first(home: Home) -> None:
    """A file that is in the way of a folder, though it is needed last."""
    write(home.project / ".factory", "a file")
    refused(home, "is not a folder")


def test_an_incident_playbook_of_any_name_is_one(home: Home) -> None:
    """No second one is made."""
    home.bootstrap()
    there = home.project / "playbooks" / "incident-response.toml"
    there.rename(there.with_name("fire.toml"))
    assert home.things()["incident"]["label"] == "playbooks/fire.toml"


def test_a_playbook_that_is_there_is_not_asked_past(home: Home) -> None:
    """Another address, or another host, is refused; the same is fine. One without any gateway is told."""
    home.bootstrap()
    home.bootstrap("--url", "http://127.0.0.1:4000")
    assert "says http://127.0.0.1:4000" in home.bootstrap("--url", "http://127.0.0.1:5", code=3).stderr
    assert "says a command" in home.bootstrap("--host", "systemd", code=3).stderr
    text = home.playbook.read_text()
    begin, end = text.index('[[place]]\nkind   = "command"'), text.index('[[place]]\nkind = "client-file"')
    home.playbook.write_text(text[:begin] + text[end:])
    assert home.things()["host"]["state"] == "by-hand"


def test_a_reader_that_leaves_is_no_fault(home: Home) -> None:
    """As with `| head -1`."""
    read, write_end = os.pipe()
    os.close(read)
    words = [sys.executable, "-m", "keyrotor", "bootstrap", str(home.project), "--dry-run"]
    done = subprocess.run(words, env=home.env, stdout=write_end, stderr=subprocess.PIPE, cwd=home.root, check=False)
    os.close(write_end)
    assert done.stderr == b""
