"""Playbooks: what is read, what is refused and how, and how one is found."""

from __future__ import annotations

import re
import secrets
from pathlib import Path

import pytest

from keyrotor.core import plan
from keyrotor.core.model import Act
from keyrotor.errors import Exit, PlaybookError, UsageError
from keyrotor.places.client_file import format_of
from keyrotor.playbook import PLACES, load
from keyrotor.shelf import find

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
        HEAD + SOPS + CLIENT + 'format = "toml"\n',
        ["place 2 (client-file)", "toml", "json, dotenv"],
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
