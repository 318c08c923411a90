"""The pages say what the program does: every command, key, event, exit code, JSON key and module is in them.

`python tests/test_docs.py` makes the state diagram in docs/explanation/architecture.md again.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import sqlite3
import subprocess
import textwrap
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest

from keyrotor import (
    addressees,
    bootstrap,
    chain,
    chronicle,
    cli,
    console,
    discover,
    journal,
    materialise,
    outlook,
    playbook,
    service,
    sweep,
    tables,
    telling,
    timer,
    verdicts,
)
from keyrotor.boundary.generate import Recipe
from keyrotor.cli import doctor, notify
from keyrotor.core import addressee, checkup, discovered, due, founding, incident_events, machine, model, notice, report
from keyrotor.core.due import seconds
from keyrotor.core.machine import EVENTS, TRANSITIONS, Phase
from keyrotor.core.materialised import Compared
from keyrotor.errors import Exit
from keyrotor.notifiers import command as notifying_command

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
SOURCE = ROOT / "src" / "keyrotor"
ARCHITECTURE = DOCS / "explanation" / "architecture.md"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
DIAGRAM = re.compile(r"```mermaid\n.*?```\n", re.DOTALL)


def page(name: str) -> str:
    return (DOCS / name).read_text()


def section(text: str, heading: str) -> str:
    """What stands under a heading, down to the next one of its level or above; "" if there is no such heading."""
    level = len(heading) - len(heading.lstrip("#"))
    found = re.search(rf"^{re.escape(heading)}\n(.*?)(?=^#{{1,{level}}} |\Z)", text, re.DOTALL | re.MULTILINE)
    return found[1] if found else ""


def rows(text: str) -> dict[str, str]:
    """The table rows of a text by the code or number that their first cell begins with."""
    found = re.findall(r"^\| (?:`([^`]+)`[^|]*|(\d+)) *\|(.*)$", text, re.MULTILINE)
    return {code or number: rest for code, number, rest in found}


def first_cell(row: str) -> str:
    """The cell beside the one that names the row."""
    return row.partition("|")[0]


def commands(group: click.Group = cli.main, above: str = "keyrotor") -> Iterator[tuple[str, click.Command]]:
    """Every command by its whole name, groups and all."""
    for name, command in group.commands.items():
        yield f"{above} {name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{above} {name}")


def diagram(transitions: Mapping[tuple[Phase, type[Any]], Phase]) -> str:
    """The state diagram as a mermaid block, one arrow for each pair of phases, in the order of the table."""
    names = {kind: name for name, kind in EVENTS.items()}
    arrows: dict[tuple[Phase, Phase], list[str]] = {}
    for (before, event), after in transitions.items():
        arrows.setdefault((before, after), []).append(names[event])
    lines = ["```mermaid", "stateDiagram-v2"]
    for (before, after), events in arrows.items():
        lines.append(f"    {'[*]' if before is Phase.UNOPENED else before} --> {after}: {', '.join(events)}")
    ends = {after for _, after in arrows} - {before for before, _ in arrows}
    lines += [f"    {phase} --> [*]" for phase in Phase if phase in ends]
    return "\n".join([*lines, "```", ""])


def json_keys(of: Callable[..., Any] | object) -> set[str]:
    """The keys of every dict that this code writes down."""
    if isinstance(of, click.Command):
        assert of.callback
        of = inspect.unwrap(of.callback)
    tree = ast.parse(textwrap.dedent(inspect.getsource(of)))  # type: ignore[arg-type]
    written = (node.keys for node in ast.walk(tree) if isinstance(node, ast.Dict))
    return {
        key.value for keys in written for key in keys if isinstance(key, ast.Constant) and isinstance(key.value, str)
    }


def in_code(key: str, text: str) -> bool:
    return f"`{key}`" in text


@pytest.mark.parametrize(("name", "command"), [*commands(), ("keyrotor", cli.main)])
def test_every_command_and_option_is_in_the_reference(name: str, command: click.Command) -> None:
    """cli.md has a section for each command, with its arguments, its options and their defaults."""
    heading = f"## `{name}`"
    found = section(page("reference/cli.md"), heading)
    assert found, f"cli.md has no section {heading}"
    for parameter in command.params:
        if isinstance(parameter, click.Argument):
            assert in_code(parameter.human_readable_name, found), f"{name}: {parameter.human_readable_name}"
            continue
        spelt = next(spelling for spelling in parameter.opts if spelling.startswith("--"))
        row = next((rest for key, rest in rows(found).items() if key.split()[0] == spelt), None)
        assert row is not None, f"{name}: {spelt} has no row"
        if isinstance(parameter, click.Option) and parameter.show_default:
            assert in_code(str(parameter.default), first_cell(row)), f"{name}: the default of {spelt}"
        if isinstance(parameter.type, click.Choice):
            assert all(in_code(str(choice), row) for choice in parameter.type.choices)


def fields(struct: type[msgspec.Struct]) -> Iterator[tuple[str, str]]:
    """Each key of a table in the playbook, with its default as the page writes it."""
    for field in msgspec.structs.fields(struct):
        is_made = not field.required and field.default is msgspec.NODEFAULT
        default = field.default_factory() if is_made else field.default
        yield field.encode_name, "required" if field.required else as_written(default)


def as_written(default: Any) -> str:
    empty = default in ("", [], {})
    return "–" if empty else f"`{str(default).lower()}`" if isinstance(default, bool | int) else f'`"{default}"`'


# Kinds that take the same keys are told together.
SHARED = {tables.Client: "### The clients that are known", tables.Opaque: "### Clients out of reach"}


@pytest.mark.parametrize(
    ("heading", "keys"),
    [
        ("## The top of the file", list(fields(tables.Document))),
        ("## `[secret]`", list(fields(tables.Secret))),
        ("### `generate`", [(field.name, as_written(field.default)) for field in dataclasses.fields(Recipe)]),
        ("### Every place", list(fields(tables.Place))),
        *((SHARED.get(struct, f"### `{kind}`"), list(fields(struct))) for kind, struct in tables.PLACES.items()),
        ("### Every notify", list(fields(addressees.Notify))),
    ],
)
def test_every_playbook_key_is_in_the_reference(heading: str, keys: list[tuple[str, str]]) -> None:
    """playbook.md names every key of every table, with its default; what every place takes stands once."""
    text = page("reference/playbook.md")
    found, common = rows(section(text, heading)), rows(section(text, "### Every place"))
    for key, default in keys:
        row = found.get(key) or common.get(key)
        assert row is not None, f"{heading}: {key}"
        assert default in row, f"{heading}: the default of {key} is {default}"


@pytest.mark.parametrize(("kind", "struct"), addressees.KINDS.items())
def test_every_way_to_tell_people_is_in_the_reference(kind: str, struct: type[msgspec.Struct]) -> None:
    """By its keys in playbook.md, and by a section of its own in notify.md; with all that it may be told of."""
    text = page("reference/playbook.md")
    found, common = rows(section(text, f"### Notify: `{kind}`")), rows(section(text, "### Every notify"))
    assert [key for key, default in fields(struct) if default not in (found.get(key) or common.get(key) or "")] == []
    assert in_code(f'"{kind}"', common["kind"])
    assert [word for word in addressee.CHOICES if not in_code(f'"{word}"', common["on"])] == []
    assert [word for word in addressee.CHOICES if word not in rows(page("reference/notify.md"))] == []
    assert section(page("reference/notify.md"), f"### `{kind}`")


def test_every_key_of_a_notice_is_in_the_reference() -> None:
    """And every variable that a command is told."""
    text = page("reference/notify.md")
    said = notice.of_test(notice.Scene("", "", ""))
    assert list(rows(section(text, "## The JSON"))) == list(said.as_json())
    assert [name for name in notifying_command._told(said) if not in_code(name, section(text, "### `command`"))] == []


def test_every_kind_of_place_is_in_the_reference() -> None:
    """By its own heading, or in the section that it shares with others."""
    text = page("reference/playbook.md")
    for kind, struct in tables.PLACES.items():
        found = section(text, SHARED.get(struct, f"### `{kind}`"))
        assert found, kind
        assert struct not in SHARED or in_code(kind, found), kind


def test_every_allowed_word_of_a_playbook_is_in_the_reference() -> None:
    """A key whose value is one of a few words has all of them in its row."""
    text = page("reference/playbook.md")
    for (table, key), words in playbook.CHOICES.items():
        row = rows(section(text, f"### `{table}`"))[key]
        assert [word for word in words if not in_code(f'"{word}"', row)] == []


@pytest.mark.parametrize(("heading", "events"), [("## Events", EVENTS), ("## Incidents", incident_events.EVENTS)])
def test_every_event_and_its_fields_are_in_the_journal_page(heading: str, events: Mapping[str, type]) -> None:
    """journal.md has a row for each event of a run and of an incident, with the event's fields in their order."""
    found = rows(section(page("reference/journal.md"), heading))
    for name, event in events.items():
        assert name in found, name
        told = re.findall(r"`(.*?)`", first_cell(found[name]))
        assert told == [field.name for field in dataclasses.fields(event)], name


@pytest.mark.parametrize(
    ("heading", "record"), [("### The plan", model.Plan), ("### A row", model.Row), ("### The source", model.Source)]
)
def test_every_field_of_the_plan_is_in_the_journal_page(heading: str, record: type) -> None:
    """What `opened` keeps of the plan is told field by field."""
    found = rows(section(page("reference/journal.md"), heading))
    assert [field.name for field in dataclasses.fields(record) if field.name not in found] == []


def test_every_table_and_column_of_the_journal_is_in_its_page() -> None:
    """journal.md shows the schema as the program makes it."""
    database = sqlite3.connect(":memory:")
    try:
        database.executescript(";".join(chain.TABLES))
        names = [row[0] for row in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        made = [(name, row[1]) for name in names for row in database.execute(f"PRAGMA table_info({name})")]
    finally:
        database.close()
    text = section(page("reference/journal.md"), "## Tables")
    told, table = [], ""
    for name, column in re.findall(r"^\| (?:`(\w+)`)? ?\| `(\w+)` \|", text, re.MULTILINE):
        table = name or table
        told.append((table, column))
    assert told == made
    assert f"`user_version` is `{journal.SCHEMA}`" in text


@pytest.mark.parametrize("where", ["docs/reference/exit-codes.md", "README.md"])
def test_every_exit_code_is_in_the_tables(where: str) -> None:
    """Both tables have a row for each code, and none that does not exist."""
    found = {key for key in rows((ROOT / where).read_text()) if key.isdigit()}
    assert found == {str(int(code)) for code in Exit}


def test_every_outcome_is_in_the_tables() -> None:
    """exit-codes.md says how each outcome ends, json.md that it can be there."""
    outcomes = rows(section(page("reference/exit-codes.md"), "## Outcomes"))
    for outcome, code in report.EXITS.items():
        assert re.search(rf"\b{int(code)}\b", outcomes.get(outcome, "")), outcome
        assert in_code(outcome, page("reference/json.md")), outcome


@pytest.mark.parametrize(
    ("heading", "of"),
    [
        ("## `rotate`, `repair`, `resume`, `rollback`, `abandon`", console.as_json),
        ("## `plan`", outlook.as_json),
        ("## `plan`", outlook.counts),
        ("## `plan`", outlook._place),
        ("## `status`", chronicle.status),
        ("## `status`", chronicle._age),
        ("## `log`", chronicle.log),
        ("## `log`", chronicle._run_data),
        ("## `audit`", verdicts.as_json),
        ("## `audit`", verdicts._playbook),
        ("## `doctor`", checkup.as_json),
        ("## `doctor`", doctor),
        ("## `healthcheck`", checkup.as_json),
        ("## `env`", materialise.Materialised.as_json),
        ("## `env`", Compared.as_json),
        ("## `service install`, `service remove`", service.Told.as_json),
        ("## `service status`", checkup.as_json),
        ("## `timer install`, `timer remove`", timer.Told.as_json),
        ("## `timer status`", checkup.as_json),
        ("## `due`", due.Asked.as_json),
        ("## `clients discover`", discover.Discovered.as_json),
        ("## `sweep`", sweep.Sweep.as_json),
        ("## `clients discover`", discovered.Holder.as_json),
        ("## `bootstrap`", bootstrap.Founded.as_json),
        ("## `notify`", notify._as_json),
        ("## `notify`", telling.Told.as_json),
        ("## `bootstrap`", founding.Thing.as_json),
    ],
)
def test_every_json_key_is_in_its_section(heading: str, of: Callable[..., Any]) -> None:
    """json.md names each key that the code writes down, where it belongs."""
    keys = json_keys(of) - {"schema"}
    found = section(page("reference/json.md"), heading)
    assert keys
    assert [key for key in sorted(keys) if not in_code(key, found)] == []


@pytest.mark.parametrize("words", [machine.Step, machine.Phase, model.Act, model.Holds])
def test_every_word_for_a_state_is_in_the_glossary(words: type[Enum]) -> None:
    """The glossary has each word that the record, the screen or JSON uses for a state."""
    assert [word.value for word in words if not in_code(word.value, page("reference/glossary.md"))] == []


def test_the_diagram_is_made_from_the_table() -> None:
    """The page shows TRANSITIONS as they are; `python tests/test_docs.py` makes it so."""
    assert DIAGRAM.findall(ARCHITECTURE.read_text()) == [diagram(TRANSITIONS)], "run: python tests/test_docs.py"


def test_every_module_has_a_room() -> None:
    """The table of rooms names each module, and none that is not there."""
    modules = {str(path.relative_to(SOURCE)) for path in SOURCE.rglob("*.py") if path.name != "__init__.py"}
    named = {key for key in rows(section(ARCHITECTURE.read_text(), "## The rooms")) if key.endswith(".py")}
    assert named == modules


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(path: Path) -> None:
    """A link to a file finds it, a link to a heading finds that too."""
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", without_code(path.read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def anchors(path: Path) -> set[str]:
    """The names that a forge gives the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", without_code(path.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_is_reached_from_the_index() -> None:
    """docs/README.md links every page below it."""
    linked = {(DOCS / link).resolve() for link in re.findall(r"\]\(([^)#\s]+)", page("README.md"))}
    assert [str(path) for path in DOCS.rglob("*.md") if path.name != "README.md" and path not in linked] == []


def test_no_page_shows_a_key_or_a_path_of_the_machine_it_was_made_on() -> None:
    """Keys are masked as `sk-…`; transcripts are of labs whose folders anybody could have."""
    revealing = re.compile(
        r"sk-[A-Za-z0-9_-]{8,}|AGE-SECRET-KEY-1[A-Z0-9]|/w[o]rk/|/root/|/tmp/|ENC\[AES256_GCM,data:[A-Za-z0-9+/]{8}"
    )
    assert {
        str(path.relative_to(ROOT)): found for path in PAGES if (found := revealing.findall(path.read_text()))
    } == {}


def test_the_shipped_playbook_loads() -> None:
    """The playbook that travels with the program is one that it can read, and the one the reference shows."""
    path = ROOT / "playbooks" / "litellm-master-key.toml"
    assert playbook.load(path, {"HOME": "/home/you"}).name == "litellm-master-key"
    assert f"```toml\n{path.read_text()}```" in page("reference/playbook.md")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_playbook_in_a_page_loads(path: Path, tmp_path: Path) -> None:
    """Every example of a whole playbook is one that the program can read."""
    (tmp_path / ".sops.yaml").touch()
    for at, text in enumerate(re.findall(r"```toml\n(.*?)```", path.read_text(), re.DOTALL)):
        if re.search(r"^name\s*=", text, re.MULTILINE):
            (tmp_path / f"{at}.toml").write_text(text)
            loaded = playbook.load(tmp_path / f"{at}.toml", {"HOME": "/home/you"})
            assert seconds("7d") == loaded.keep


def test_the_make_targets_of_the_readme_exist() -> None:
    """Each `make X` that the README names is a target."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z]+)", (ROOT / "README.md").read_text(), re.MULTILINE))
    assert {"demo", "test"} <= named <= targets


def make_the_diagram() -> None:
    text = ARCHITECTURE.read_text()
    ARCHITECTURE.write_text(DIAGRAM.sub(lambda _: diagram(TRANSITIONS), text))


if __name__ == "__main__":
    make_the_diagram()
    subprocess.run(["git", "diff", "--stat", "--", str(ARCHITECTURE)], check=False)  # what has changed, if anything
