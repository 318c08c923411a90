"""The incident playbook: what it says, what stands where it says nothing, and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from keyrotor import incident_playbook
from keyrotor.errors import KeyrotorError, PlaybookError, RefusedError, UsageError

ROOT = Path(__file__).parents[1]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A project with the shipped playbooks in it."""
    (tmp_path / "lab").mkdir()
    shutil.copytree(ROOT / "playbooks", tmp_path / "lab" / "playbooks")
    return tmp_path


def found(home: Path, name: str | None = None) -> incident_playbook.Response:
    return incident_playbook.find(name, home / "lab", {"HOME": str(home)})


def write(home: Path, text: str, name: str = "incident-response") -> None:
    (home / "lab" / "playbooks" / f"{name}.toml").write_text(text)


def test_the_shipped_one_is_whole(home: Path) -> None:
    """It names the shipped playbook, looks in the home and the project, and contains to loopback."""
    response = found(home)
    assert [book.name for book in response.books] == ["litellm-master-key"]
    assert (response.contain, response.proof) == ("loopback", 75.0)
    assert response.roots == (str(home), str(home / "lab"))
    assert (response.logs, response.notify, response.elsewhere) == ((), (), True)


def test_without_one_every_playbook_of_the_project_is_rotated(home: Path) -> None:
    """Somebody whose key has leaked at night need not write a playbook first."""
    (home / "lab" / "playbooks" / "incident-response.toml").unlink()
    response = found(home)
    assert ([book.name for book in response.books], response.path) == (["litellm-master-key"], "")
    assert (response.contain, response.proof, response.roots) == ("loopback", 75.0, (str(home), str(home / "lab")))


def test_one_that_names_no_playbooks_means_all_of_them(home: Path) -> None:
    """`playbooks` may be left out."""
    write(home, '[incident]\ncontain = "stop"\n')
    assert ([book.name for book in found(home).books], found(home).contain) == (["litellm-master-key"], "stop")


def test_of_several_one_must_be_named(home: Path) -> None:
    """By its file, or by the name that it gives itself."""
    write(home, 'name = "flood"\n[incident]\ncontain = "none"\n', "fire")
    with pytest.raises(UsageError, match="there are several; known: fire, incident-response"):
        found(home)
    assert found(home, "fire").contain == found(home, "flood").contain == "none"
    with pytest.raises(UsageError, match="cannot find incident playbook storm"):
        found(home, "storm")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('[incident]\ncontain = "hide"\n', "contain: unknown 'hide'; allowed: stop, loopback, none"),
        ('[incident]\nproof = "long"\n', "proof: cannot read the duration 'long'"),
        ('[incident]\nproof = "0s"\n', "proof: cannot read the duration '0s'"),
        ("[incident]\nplaybook = []\n", "incident: object contains unknown field `playbook`"),
        ("[incident]\n[sweep]\nroots = 3\n", "sweep.roots: expected `array`"),
        ("[incident]\n[sweeping]\n", "object contains unknown field `sweeping`"),
        ('[incident]\n[sweep]\nroots = ["${NOWHERE}"]\n', "the variable NOWHERE is not set"),
        ('[incident]\nplaybooks = ["none-such"]\n', "there is no none-such"),
        ("[incident\n", "cannot read playbook"),
    ],
)
def test_a_mistake_is_named_with_what_is_allowed(home: Path, text: str, why: str) -> None:
    """Before the first effect, in the words of every other playbook."""
    write(home, text)
    with pytest.raises(KeyrotorError, match="cannot") as error:
        found(home, str(home / "lab" / "playbooks" / "incident-response.toml"))
    assert why in str(error.value)


def test_where_no_encrypted_file_is_there_nothing_can_be_answered(home: Path) -> None:
    """That is the wrong folder, as a clone of keyrotor is. One that cannot be decrypted is there all the same, and of
    several one is enough."""
    books = home / "lab" / "playbooks"
    with pytest.raises(RefusedError) as error:
        incident_playbook.want_a_secret(found(home))
    file = found(home).books[0].source.file
    assert str(error.value) == f"cannot open an incident: {found(home).books[0].path} is of {file}, which is not there"
    assert error.value.hint.startswith("cd ")

    (books / "incident-response.toml").unlink()
    (books / "other.toml").write_text(
        (books / "litellm-master-key.toml")
        .read_text()
        .replace('"litellm-master-key"', '"other"')
        .replace(Path(file).name, "other.enc.env")
    )
    with pytest.raises(RefusedError, match=r"for 2 reasons:\n.*litellm-master-key.toml is of .*\n.*other.toml is of "):
        incident_playbook.want_a_secret(found(home))
    Path(file).parent.mkdir()
    Path(file).write_text("no ciphertext at all")
    incident_playbook.want_a_secret(found(home))


def test_two_playbooks_of_one_name_cannot_be_told_apart(home: Path) -> None:
    """Steps are recorded by their names."""
    books = home / "lab" / "playbooks"
    shutil.copy(books / "litellm-master-key.toml", books / "twin.toml")
    (books / "incident-response.toml").unlink()
    with pytest.raises(PlaybookError, match="two playbooks are called litellm-master-key"):
        found(home)
