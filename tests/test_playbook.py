"""Playbooks: what is read, what is refused and how, and how one is found."""

from __future__ import annotations

import re
import secrets
from pathlib import Path

import pytest

from keyrotor.core import plan
from keyrotor.core.model import Act, Row
from keyrotor.errors import Exit, PlaybookError, UsageError
from keyrotor.places.client_file import format_of
from keyrotor.playbook import load
from keyrotor.shelf import find
from keyrotor.tables import PLACES

ROOT = Path(__file__).parents[1]
ENV = {"HOME": "/home/somebody"}

HEAD = """\
name = "a"
every = "month"
[secret]
file = "secrets/global.enc.env"
key = "LITELLM_MASTER_KEY"
"""
SOPS = '[[place]]\nkind = "sops-file"\n'
ENV_FILE = '[[place]]\nkind = "env-file"\npath = "lab.env"\n'
UNIT = '[[place]]\nkind = "systemd-unit"\nunit = "litellm.service"\n'
DOOR = '[[place]]\nkind = "litellm"\nurl = "http://127.0.0.1:4000"\n'
CLIENT = '[[place]]\nkind = "client-file"\npath = "settings.json"\n'
WHOLE = HEAD + SOPS + ENV_FILE + UNIT + DOOR + CLIENT


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "playbooks").mkdir(parents=True)
    return folder


def write(project: Path, text: str, name: str = "a.toml") -> Path:
    path = project / "playbooks" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def refused(project: Path, text: str) -> str:
    path = write(project, text)
    with pytest.raises(PlaybookError) as raised:
        load(path, ENV)
    assert str(path) in str(raised.value)
    assert raised.value.exit is Exit.USAGE
    return str(raised.value)


def test_the_shipped_playbook_loads() -> None:
    """What travels in the wheel is what the reference shows: six rows, the refusing one last."""
    book = load(ROOT / "playbooks" / "litellm-master-key.toml", ENV)
    assert book.name == "litellm-master-key"
    assert [row.id for row in plan.rows(book)] == [
        "sops-file",
        "env-file",
        "systemd-unit",
        "litellm:accepts",
        "client-file",
        "litellm:refuses",
    ]
    assert [row.act for row in plan.rows(book)][3::2] == [Act.ADMIT, Act.RETIRE]
    assert book.places[4].optional


def test_the_example_of_the_interface_loads(project: Path) -> None:
    """As it stands in interface.md, with every key that it uses."""
    interface = ROOT.parent / "shared" / "design" / "interface.md"
    if interface.exists():
        text = re.search(r"```toml\n(.*?)```", interface.read_text(), re.DOTALL)[1]
    else:
        text = (ROOT / "playbooks" / "litellm-master-key.toml").read_text()
    book = load(write(project, text), ENV)
    assert book.source.key == "LITELLM_MASTER_KEY"
    assert book.places[1].options["path"] == "/home/somebody/.config/lab-secrets/litellm.env"
    assert book.places[1].options["keys"] == ["LITELLM_MASTER_KEY", "LITELLM_SALT_KEY"]
    assert book.places[3].within == 120.0
    assert dict(book.generate) == {"kind": "token", "prefix": "sk-", "bytes": 32}


def test_what_is_left_out_has_a_default(project: Path) -> None:
    """Ids are the kind, numbered when repeated; a week of keeping; a minute for a file, two for a restart."""
    more = CLIENT.replace("settings.json", "b.json")
    book = load(write(project, WHOLE + more), ENV)
    assert [place.id for place in book.places] == [
        "sops-file",
        "env-file",
        "systemd-unit",
        "litellm",
        "client-file",
        "client-file-2",
    ]
    assert (book.every, book.keep) == ("month", 7 * 86400)
    assert [place.within for place in book.places[:4]] == [60, 60, 120, 120]
    assert book.places[2].options["scope"] == "user"


def test_paths_start_at_the_project(project: Path) -> None:
    """Relative ones, `~` and `${VAR}`."""
    text = WHOLE.replace('"lab.env"', '"${LAB}/x.env"').replace('"settings.json"', '"~/settings.json"')
    book = load(write(project, text), {**ENV, "LAB": "/srv/lab"})
    assert book.source.file == str(project.resolve() / "secrets/global.enc.env")
    assert book.places[1].options["path"] == "/srv/lab/x.env"
    assert book.places[4].options["path"] == "/home/somebody/settings.json"


def test_the_encrypted_file_is_known_by_its_real_path(project: Path, tmp_path: Path) -> None:
    """Two links to one file are one secret, with one lock."""
    (tmp_path / "real").mkdir()
    (project / "secrets").symlink_to(tmp_path / "real")
    book = load(write(project, WHOLE), ENV)
    assert book.source.file == str((tmp_path / "real" / "global.enc.env").resolve())


BAD = {
    "an unknown kind": (HEAD + SOPS + '[[place]]\nkind = "sops_file"\n', ["place 2", "sops_file", *PLACES]),
    "no kind": (HEAD + SOPS + '[[place]]\npath = "x"\n', ["place 2", "no kind", *PLACES]),
    "a kind that is no text": (HEAD + SOPS + "[[place]]\nkind = 3\n", ["place 2"]),
    "a missing key": (HEAD + SOPS + '[[place]]\nkind = "env-file"\n', ["place 2 (env-file)", "path"]),
    "a misspelt key": (
        HEAD + SOPS + ENV_FILE + "optionel = true\n",
        ["place 2 (env-file)", "optionel", "optional", "keys"],
    ),
    "a misspelt top key": ('evry = "month"\n' + WHOLE, ["evry", "every", "keep"]),
    "a misspelt secret key": (WHOLE.replace("key =", "identiy = 'x'\nkey ="), ["identiy", "identity"]),
    "a missing secret key": (WHOLE.replace('key = "LITELLM_MASTER_KEY"\n', ""), ["key"]),
    "a wrong type": (HEAD + SOPS + ENV_FILE + 'keys = "A"\n', ["place 2 (env-file)", "keys"]),
    "no places": (HEAD, ["place"]),
    "an empty list of places": ("place = []\n" + HEAD, ["no [[place]]"]),
    "twin ids": (HEAD + SOPS + ENV_FILE + 'id = "x"\n' + CLIENT + 'id = "x"\n', ["id x"]),
    "a twin of a default id": (HEAD + SOPS + ENV_FILE + 'id = "sops-file"\n', ["id sops-file"]),
    "a bad duration": (
        HEAD + SOPS + ENV_FILE + 'within = "soon"\n',
        ["place 2 (env-file): within", "soon", "s, m, h, d"],
    ),
    "a duration of nothing": (HEAD + SOPS + ENV_FILE + 'within = "0s"\n', ["within"]),
    "a negative duration": (HEAD + SOPS + ENV_FILE + 'within = "-5s"\n', ["within"]),
    "a bad keep": ('keep = "7"\n' + WHOLE, ["keep", "'7'"]),
    "a bad every": (WHOLE.replace('"month"', '"monthly"'), ["every", "monthly", "week"]),
    "a salt key": (
        WHOLE.replace('key = "LITELLM_MASTER_KEY"', 'key = "LITELLM_SALT_KEY"'),
        ["LITELLM_SALT_KEY", "cannot be rotated"],
    ),
    "a key that is no variable": (WHOLE.replace('"LITELLM_MASTER_KEY"', '"A KEY"'), ["variable"]),
    "an unset variable": (
        HEAD + SOPS + ENV_FILE.replace("lab.env", "${NOT_SET}/x"),
        ["place 2 (env-file): path", "NOT_SET"],
    ),
    "an unset variable in the secret": (WHOLE.replace("secrets/", "${NOT_SET}/"), ["[secret] file", "NOT_SET"]),
    "an unknown client format": (
        HEAD + SOPS + CLIENT + 'format = "xml"\n',
        ["place 2 (client-file)", "xml", "json, dotenv, yaml, toml, ini, text"],
    ),
    "an unknown scope": (HEAD + SOPS + UNIT + 'scope = "root"\n', ["place 2 (systemd-unit)", "root", "user, system"]),
    "an unknown key kind": (
        WHOLE.replace("[[place]]", "generate = { kind = 'dice' }\n[[place]]", 1),
        ["generate", "dice", "token", "rsa"],
    ),
    "a misspelt recipe": (
        WHOLE.replace("[[place]]", "generate = { byte = 3 }\n[[place]]", 1),
        ["generate", "byte", "bytes"],
    ),
    "an empty command": (HEAD + SOPS + '[[place]]\nkind = "command"\nput = []\n', ["place 2 (command): put"]),
    "an empty reload": (HEAD + SOPS + CLIENT + "reload = []\n", ["place 2 (client-file): reload: an empty command"]),
    "a reload of no program": (HEAD + SOPS + CLIENT + 'reload = [""]\n', ["reload: an empty command"]),
    "leaves that are none": (
        HEAD + SOPS + CLIENT + 'at = ["a..b"]\n',
        ["place 2 (client-file): at", "'a..b'", "write it as"],
    ),
    "beside nothing": (HEAD + SOPS + CLIENT + 'beside = "baseUrl"\n', ["beside: it needs `at`"]),
    "beside the address of no gateway": (
        HEAD + SOPS + CLIENT + 'at = ["key"]\nbeside = "baseUrl"\n',
        ["place client-file: beside: no gateway is known; name one by a `litellm` place, or by `gateways`"],
    ),
    "a gateway that is no address": (
        WHOLE + 'gateways = ["litellm:4000"]\n',
        ["place 5 (client-file): gateways: not an"],
    ),
    "a format for a client that is known": (HEAD + SOPS + '[[place]]\nkind = "droid"\nformat = "json"\n', ["'format'"]),
    "a compose project without its file": (HEAD + SOPS + '[[place]]\nkind = "docker-compose"\n', ["path"]),
    "a task that is not told": (HEAD + SOPS + '[[place]]\nkind = "by-hand"\n', ["place 2 (by-hand)", "task"]),
    "one file twice": (
        HEAD + SOPS + CLIENT + '[[place]]\nkind = "droid"\npath = "./x/../settings.json"\n',
        ["place droid: path: place client-file is that file already"],
    ),
    "no sops file": (HEAD + ENV_FILE, ["sops-file"]),
    "two sops files": (HEAD + SOPS + SOPS, ["exactly one", "2"]),
    "a place before the sops file": (HEAD + ENV_FILE + SOPS, ["env-file", "first"]),
    "a proof before its unit": (HEAD + SOPS + DOOR + UNIT, ["litellm", "before any"]),
    "a proof without a unit": (HEAD + SOPS + DOOR, ["litellm"]),
    "a proof of a unit below it": (HEAD + SOPS + UNIT + DOOR + 'unit = "later"\n' + UNIT + 'id = "later"\n', ["later"]),
    "an env file after its unit": (HEAD + SOPS + UNIT + ENV_FILE, ["env-file", "systemd-unit"]),
    "a place that is no table": ('place = ["sops-file"]\n' + HEAD, ["place"]),
    "a secret that is no table": ('secret = "x"\nname = "a"\n' + SOPS, ["secret"]),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_faulty_playbook_is_refused_where_it_is_wrong(project: Path, fault: str) -> None:
    """One message names the file, the place, the key, and what is allowed; nothing was done."""
    text, words = BAD[fault]
    said = refused(project, text)
    assert [word for word in words if word not in said] == [], said


@pytest.mark.parametrize("who", ["admin:{}@", ":{}@", "{}@"])
def test_an_address_with_a_password_in_it_is_refused(project: Path, who: str) -> None:
    """An address is shown everywhere: in a plan, in the record, in metrics. The error does not show it."""
    password = secrets.token_hex(8)
    said = refused(project, WHOLE.replace("http://", "http://" + who.format(password)))
    assert "(litellm): url: not an address" in said
    assert password not in said


@pytest.mark.parametrize("text", ["name = \n", WHOLE + "[[place\n", 'name = "a"\nname = "b"\n'])
def test_what_is_no_toml_is_told_with_its_line(project: Path, text: str) -> None:
    """And column, as the reader says."""
    assert re.search(r"line \d+, column \d+", refused(project, text))


def test_bytes_that_are_no_text_are_told(project: Path) -> None:
    """A binary file is no playbook."""
    path = write(project, "")
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PlaybookError, match="cannot read"):
        load(path, ENV)


def test_a_playbook_that_is_not_there_is_told(project: Path) -> None:
    """Also a folder under that name."""
    for path in (project / "no.toml", project / "playbooks"):
        with pytest.raises(PlaybookError, match="cannot read"):
            load(path, ENV)


def test_a_client_whose_format_cannot_be_told_is_refused() -> None:
    """A path without a known suffix needs `format`."""
    with pytest.raises(PlaybookError, match="json, dotenv"):
        format_of(Path("/x/config"), "")


# --- clients whose files are known -----------------------------------------------------------------------------


def rows_of(project: Path, *places: str, **env: str) -> dict[str, Row]:
    book = load(write(project, WHOLE + "".join(places)), {**ENV, **env})
    return {row.id: row for row in plan.rows(book)}


DROID = '[[place]]\nkind = "droid"\n'


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("sub/.factory/settings.json", "project"),
        ("sub/.factory/config.json", "project-config"),
        ("/elsewhere/settings.json", "settings"),
        ("/elsewhere/odd.json", "settings"),
        (".factory/settings.json", "project"),
    ],
)
def test_of_a_clients_files_the_one_is_taken_whose_path_ends_so(project: Path, path: str, name: str) -> None:
    """In any project's folder droid does what it does in this one's; else the name alone tells."""
    assert rows_of(project, DROID + f'path = "{path}"\n')["droid"].options["file"] == name


def test_a_label_has_nothing_that_would_garble_a_terminal(project: Path) -> None:
    """A path may have it, one that stands there and one that a variable gives; what is shown of it has not."""
    text = '[[place]]\nkind = "client-file"\nid = "odd"\npath = "/a\\u001b]0;x\\u0007.json"\n'
    rows = rows_of(project, text, DROID, FACTORY_RUNTIME_SETTINGS_PATH="/b\x1b.json")
    assert (rows["odd"].label, rows["odd"].options["path"]) == ("/a\ufffd]0;x\ufffd.json", "/a\x1b]0;x\x07.json")
    assert rows["droid:runtime"].label == "/b\ufffd.json"


def test_a_client_is_a_row_for_each_file_that_it_may_have(project: Path) -> None:
    """Optional, known to be no more than possible, and with all that is needed to finish a run."""
    rows = rows_of(project, DROID, 'raw = true\nwithin = "5s"\n')
    found = {row.id: row.label for row in rows.values() if row.place == "droid"}
    assert found == {
        "droid:settings": "~/.factory/settings.json",
        "droid:local": "~/.factory/settings.local.json",
        "droid:config": "~/.factory/config.json",
        "droid:project": str(project / ".factory/settings.json"),
        "droid:project-local": str(project / ".factory/settings.local.json"),
        "droid:project-config": str(project / ".factory/config.json"),
        "droid:org": "/etc/factory/settings.json",
        "droid:fragment": "~/.factory/config.d/lab-litellm.json",
    }
    row = rows["droid:config"]
    assert (row.kind, row.act, row.optional, row.within) == ("droid", Act.FILE, True, 5)
    wanted = {"implied": True, "path": "/home/somebody/.factory/config.json", "format": "json", "raw": True}
    wanted |= {"at": ["custom_models[*].api_key"], "beside": "base_url", "resolves": [], "heal": "", "todo": ""}
    assert wanted.items() <= {**row.options, "gateways": None}.items()
    assert row.options["gateways"] == ["http://127.0.0.1:4000"]
    assert list(rows)[-1] == "litellm:refuses"


@pytest.mark.parametrize("kind", ["droid", "client-file"])
def test_a_client_may_know_the_gateway_by_further_addresses(project: Path, kind: str) -> None:
    """A container by the name of another one; without a `litellm` place these alone are ours."""
    more = 'at = ["key"]\nbeside = "baseUrl"\n' if kind == "client-file" else ""
    client = f'[[place]]\nkind = "{kind}"\npath = "x.json"\n{more}gateways = ["http://litellm:4000"]\n'
    for doors, wanted in ((ENV_FILE + UNIT + DOOR, ["http://127.0.0.1:4000"]), ("", [])):
        book = load(write(project, HEAD + SOPS + doors + client), ENV)
        (row,) = (row for row in plan.rows(book) if row.kind == kind)
        assert row.options["gateways"] == [*wanted, "http://litellm:4000"]


@pytest.mark.parametrize("folder", ["", "elsewhere", "./x"])
def test_a_folder_of_xdg_that_is_not_absolute_does_not_count(project: Path, folder: str) -> None:
    """As its specification says."""
    text = HEAD + SOPS + '[[place]]\nkind = "goose"\n'
    rows = plan.rows(load(write(project, text), {**ENV, "XDG_CONFIG_HOME": folder}))
    paths = {row.options["path"] for row in rows if row.kind == "goose"}
    assert paths == {f"/home/somebody/.config/goose/{name}.yaml" for name in ("config", "secrets")}


def test_variables_lead_to_more_files_or_to_others(project: Path) -> None:
    """XDG's have a default, all others count where they are set."""
    rows = rows_of(project, DROID, FACTORY_RUNTIME_SETTINGS_PATH="/run/a b.json")
    assert rows["droid:runtime"].options["path"] == "/run/a b.json"
    assert "droid:org-local" not in rows
    crush = '[[place]]\nkind = "crush"\n'
    assert rows_of(project, crush)["crush:config"].options["path"] == "/home/somebody/.config/crush/crush.json"
    rows = rows_of(project, crush, XDG_CONFIG_HOME="/c", XDG_DATA_HOME="/d")
    assert [rows[f"crush:{name}"].options["path"] for name in ("config", "data")] == [
        "/c/crush/crush.json",
        "/d/crush/crush.json",
    ]


def test_a_file_with_two_names_is_one_row(project: Path, tmp_path: Path) -> None:
    """By a link, by a variable, or because the playbook names it itself."""
    home = tmp_path / "home"
    (home / "dotfiles").mkdir(parents=True)
    (home / ".factory").symlink_to(home / "dotfiles")
    (home / ".factory/settings.json").write_text("{}")
    (project / ".factory").symlink_to(home / "dotfiles")
    named = f'[[place]]\nkind = "client-file"\nid = "mine"\npath = "{home}/dotfiles/settings.json"\n'
    more = {"HOME": str(home), "FACTORY_RUNTIME_SETTINGS_PATH": f"{home}/.factory/config.json"}
    rows = rows_of(project, DROID, named, **more)
    assert [row.id for row in rows.values() if row.place == "droid"] == [
        "droid:local",
        "droid:config",
        "droid:org",
        "droid:fragment",
    ]
    book = load(write(project, WHOLE + DROID + named), {**ENV, **more})
    assert book.places[5].options["shares"]
    assert not load(write(project, WHOLE + DROID), ENV).places[5].options["shares"]


def test_a_path_is_one_file_of_the_client(project: Path) -> None:
    """What is known of the file of that name holds for it; `optional` is the author's."""
    row = rows_of(project, DROID, 'path = "x/config.json"\n')["droid"]
    assert (row.label, row.optional) == ("x/config.json", False)
    assert row.options["path"] == str(project / "x/config.json")
    assert row.options["at"] == ["custom_models[*].api_key"]
    assert not row.options.get("implied")


def test_what_is_left_to_do_is_the_authors_to_say(project: Path) -> None:
    """Else what is known of the client; a command that reloads it leaves nothing."""
    claude = '[[place]]\nkind = "claude-code"\n'

    def todo(more: str) -> str:
        return str(rows_of(project, claude, more)["claude-code:settings"].options["todo"])

    assert todo("").startswith("restart every claude")
    assert todo('reload = ["pkill", "claude"]\n') == ""
    assert todo('reload = ["true"]\ntodo = "look at it"\n') == todo('todo = "look at it"\n') == "look at it"


def test_a_compose_project_is_made_anew(project: Path) -> None:
    """By a command that names its folder, however it is called; another one may be said."""
    compose = '[[place]]\nkind = "docker-compose"\npath = "open web/.env"\n'
    row = rows_of(project, compose)["docker-compose"]
    folder = str(project / "open web")
    assert row.options["reload"] == ["docker", "compose", "--project-directory", folder, "up", "--detach"]
    assert (row.options["format"], row.options["todo"]) == ("dotenv", "")
    other = rows_of(project, compose, 'reload = ["podman", "up"]\n')["docker-compose"]
    assert other.options["reload"] == ["podman", "up"]


def test_what_only_a_person_reaches_is_no_file(project: Path) -> None:
    """It is told, not looked at."""
    rows = rows_of(project, '[[place]]\nkind = "by-hand"\ntask = "tell Ann"\n[[place]]\nkind = "zed"\n')
    assert {rows[name].act for name in ("by-hand", "zed")} == {Act.STORE}
    assert rows["by-hand"].options["task"] == "tell Ann"


# --- finding one -----------------------------------------------------------------------------------------------


def test_the_only_playbook_needs_no_name(project: Path) -> None:
    """From anywhere below the project."""
    path = write(project, WHOLE)
    (project / "a" / "b").mkdir(parents=True)
    assert find(None, project / "a" / "b", ENV) == path


def test_the_nearest_project_counts(project: Path) -> None:
    """A project in a project is the one meant; a `.sops.yaml` makes one too."""
    write(project, WHOLE)
    inner = write(project / "inner", WHOLE, "b.toml")
    assert find(None, project / "inner", ENV) == inner
    (project / "bare").mkdir()
    (project / "bare" / ".sops.yaml").write_text("")
    with pytest.raises(UsageError, match="cannot find a playbook"):
        find(None, project / "bare", ENV)


def test_a_playbook_is_found_by_the_name_it_gives_itself(tmp_path: Path) -> None:
    """What keyrotor prints in a hint is that name; a file of the name goes first, one that cannot be read is passed."""
    folder = tmp_path / "playbooks"
    folder.mkdir()
    for file, text in (("master.toml", 'name = "litellm"'), ("b.toml", 'name = "master"'), ("c.toml", "not = toml =")):
        (folder / file).write_text(text)
    assert find("litellm", tmp_path, ENV) == folder / "master.toml"
    assert find("master", tmp_path, ENV) == folder / "master.toml"
    with pytest.raises(UsageError, match="there is no other"):
        find("other", tmp_path, ENV)


def test_a_name_is_looked_for_in_the_project_then_in_the_users_folder(project: Path, tmp_path: Path) -> None:
    """`$XDG_CONFIG_HOME/keyrotor/playbooks`, else `~/.config/…`."""
    here = write(project, WHOLE)
    for env, shelf in (
        ({"HOME": str(tmp_path)}, tmp_path / ".config"),
        ({"HOME": "/x", "XDG_CONFIG_HOME": str(tmp_path / "xdg")}, tmp_path / "xdg"),
    ):
        users = write(shelf / "keyrotor", WHOLE, "mine.toml")
        write(shelf / "keyrotor", WHOLE, "a.toml")
        assert find("mine", project, env) == users
        assert find("a", project, env) == here


@pytest.mark.parametrize("name", ["playbooks/a.toml", "./playbooks/a.toml", "a.toml"])
def test_a_path_is_taken_as_it_is(project: Path, name: str) -> None:
    """Relative to where the command was typed."""
    path = write(project, WHOLE)
    folder = project / "playbooks" if name == "a.toml" else project
    assert find(name, folder, ENV) == path
    assert find(str(path), Path("/"), ENV) == path


def test_several_playbooks_want_a_name(project: Path) -> None:
    """The error names all of them."""
    write(project, WHOLE)
    write(project, WHOLE, "b.toml")
    with pytest.raises(UsageError, match="a, b") as raised:
        find(None, project, ENV)
    assert raised.value.exit is Exit.USAGE


@pytest.mark.parametrize("name", ["c", "./c.toml", "playbooks/c.toml"])
def test_a_playbook_that_is_not_found_is_told(project: Path, name: str) -> None:
    """With where it was looked for, or by its path."""
    write(project, WHOLE)
    with pytest.raises(UsageError, match="c"):
        find(name, project, ENV)


def test_without_any_project_it_is_told(tmp_path: Path) -> None:
    """No playbooks folder here or above, and none at home."""
    with pytest.raises(UsageError, match="cannot find a playbook"):
        find(None, tmp_path, {"HOME": str(tmp_path)})
