"""The catalogue of clients: that it hangs together, and that its page tells all of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from keyrotor.core import clients, plan
from keyrotor.core.clients import CLIENTS, OPAQUE, Client, File, Form
from keyrotor.formats import paths, readers, references
from keyrotor.tables import PLACES

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "clients.md"


def files() -> Iterator[tuple[str, File]]:
    return ((kind, file) for kind, client in CLIENTS.items() for file in client.files)


@pytest.mark.parametrize("client", list(CLIENTS.values()), ids=list(CLIENTS))
def test_no_client_reads_a_file_under_two_names(client: Client) -> None:
    """A row is known by its name, and a file by its path."""
    assert len({file.name for file in client.files}) == len(client.files)
    assert len({file.path for file in client.files}) == len(client.files)


@pytest.mark.parametrize(("kind", "file"), list(files()))
def test_what_is_known_of_a_file_can_be_used(kind: str, file: File) -> None:
    """Its format has a reader, its leaves are paths, what heals it works there, and what stands beside is asked for."""
    assert file.format in clients.FORMATS, kind
    assert all(map(clients.is_path, (*file.at, *file.names)))
    assert file.heal is None or file.heal in (file.resolves or ())
    assert not file.beside or file.at
    assert clients.is_client(kind)


def test_the_words_for_formats_and_forms_are_those_of_their_readers() -> None:
    """The core may not know the formats; they say the same all the same."""
    assert clients.FORMATS == readers.FORMATS
    assert sorted(Form) == sorted(references.FORMS)


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("customModels[*].apiKey", True),
        ("providers.*.api_key", True),
        ("LITELLM_MASTER_KEY", True),
        ("openai-api-key", True),
        ('provider["a.b \\" c"].key', True),
        ("*", True),
        ("[0].key", True),
        ("a[*][1]", True),
        ("", False),
        (".a", False),
        ("a.", False),
        ("a..b", False),
        ("a b", False),
        ("a[x]", False),
        ("a[", False),
        ("$.a", False),
        ("a\n", False),
    ],
)
def test_a_path_is_told_from_what_is_none(text: str, is_one: bool) -> None:
    """As the reader of paths tells it, in which a malformed one would find nothing in silence."""
    assert clients.is_path(text) is is_one
    assert not is_one or paths.is_pattern(text)


def test_every_kind_has_a_table_and_an_act() -> None:
    """A client that is in the catalogue can be written in a playbook."""
    for kind in (*CLIENTS, *OPAQUE):
        assert kind in PLACES
        assert kind in plan.ACTS
    assert not CLIENTS.keys() & OPAQUE.keys()


def told() -> dict[str, str]:
    """The lines of the page's tables of files: `kind:name` -> the rest of its line."""
    return dict(re.findall(r"^\| `([a-z-]+:[a-z-]+)` \|(.*)$", PAGE.read_text(), re.MULTILINE))


def test_every_file_of_every_client_is_in_the_page_as_it_is() -> None:
    """Path, format, leaves, gateway, references and what heals them; and no file that there is not."""
    assert told() == {f"{kind}:{file.name}": line(file) for kind, file in files()}


def test_every_client_is_in_the_page_with_what_is_left_to_do() -> None:
    """Also those that only a person can change, with what that person must do."""
    text = PAGE.read_text()
    for kind, client in CLIENTS.items():
        row = re.search(rf"^\| `{kind}` \| {client.title} \|(.*)$", text, re.MULTILINE)
        assert row, kind
        assert row[1] == f" {client.todo or '–'} | {client.todo_referring or '–'} |"
    for kind, task in OPAQUE.items():
        assert f"\n| `{kind}` | {task} |\n" in text
    for _, file in files():
        assert not file.todo or file.todo in text


def test_every_form_of_reference_is_in_the_page() -> None:
    """With a line of its own."""
    assert [form for form in Form if f"\n| `{form}` |" not in PAGE.read_text()] == []


def line(file: File) -> str:
    """A file's line in the page, behind its name."""
    resolves = "?" if file.resolves is None else codes(*file.resolves) or "none"
    cells = (codes(file.path), file.format, codes(*file.at, *file.names) or "any", codes(file.beside) or "–")
    return "".join(f" {cell} |" for cell in (*cells, resolves, codes(file.heal or "") or "–"))


def codes(*texts: str) -> str:
    return " ".join(f"`{text}`" for text in texts if text)


if __name__ == "__main__":
    for kind, file in files():
        print(f"| `{kind}:{file.name}` |{line(file)}")
    for kind, client in CLIENTS.items():
        print(f"| `{kind}` | {client.title} | {client.todo or '–'} | {client.todo_referring or '–'} |")
    for kind, task in OPAQUE.items():
        print(f"| `{kind}` | {task} |")
