"""The page for the night says nothing that is not so: each command in it exists, with these options."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

import incident_record as record
from keyrotor import cli
from keyrotor import incident as incidents
from keyrotor.core import incident
from keyrotor.core.incident_events import Deed, Did, IncidentOpened, Missed, Step, Undone
from keyrotor.errors import Exit

PAGE = (Path(__file__).parents[1] / "docs" / "runbooks" / "incident-response.md").read_text()


def typed() -> list[str]:
    """Every command of ours, in a block or within a line."""
    blocks = [line.strip() for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
    inline = re.findall(r"(?<!`)`([^`\n]+)`(?!`)", re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL))
    return sorted({line for line in [*blocks, *inline] if line.startswith("keyrotor ")})


@pytest.mark.parametrize("line", typed())
def test_every_command_of_the_runbook_can_be_typed(line: str) -> None:
    """It is parsed as the program parses it, by name, options and arguments."""
    words = shlex.split(line.partition(" > ")[0])[1:]
    command: click.Command = cli.main
    context = click.Context(command)
    while isinstance(command, click.Group):
        found = command.get_command(context, words[0])
        assert found, f"no such command: {words[0]}"
        command, words = found, words[1:]
    made = command.make_context("keyrotor", list(words))
    made.close()


def test_every_way_to_contain_can_be_chosen_later() -> None:
    """The runbook names each that `incident resume` knows."""
    command = cli.main.commands["incident"]
    assert isinstance(command, click.Group)
    [contain] = [each for each in command.commands["resume"].params if each.name == "contain"]
    assert isinstance(contain.type, click.Choice)
    named = re.findall(r"^ *keyrotor incident resume --contain (\w+)$", PAGE, re.MULTILINE)
    assert named == list(contain.type.choices)


def test_what_the_runbook_says_of_the_steps_is_so() -> None:
    """Containment is tried again until the lift; what was rolled back is contained, replaced and proven anew."""
    book, failed = record.BOOK, Missed("contain", "why")
    done = {event.step: event for _, event in record.STEPS if isinstance(event, Did)}
    early = incident.fold([IncidentOpened(record.CASE), Did("freeze", ""), failed, done[f"rotate:{book}"]])
    assert incident.next_step(early) == Step(Deed.CONTAIN)
    late = incident.follow(incident.follow(early, done[f"prove:{book}"]), done["lift"])
    assert incident.next_step(late) == Step(Deed.EXPOSURE)
    case = incident.fold([event for _, event in record.STEPS])
    case = incident.follow(case, Undone(f"rotate:{book}", "rolled back"))
    order = []
    while step := incident.next_step(case):
        order.append(step.id)
        case = incident.follow(case, Did(step.id, ""))
    assert order == ["contain", f"rotate:{book}", f"prove:{book}", "lift", "exposure", "sweep"]


@pytest.mark.parametrize("words", ["was rolled back: the leaked key is in force again", "is in force"])
def test_what_it_quotes_is_what_is_said(words: str) -> None:
    """A person looks for the words that stand on the screen."""
    assert words in PAGE
    assert words in (Path(incidents.__file__)).read_text()


@pytest.mark.parametrize("option", re.findall(r"`(--[a-z-]+(?: [^`]+)?)`", PAGE))
def test_every_option_of_the_runbook_is_one_of_open(option: str) -> None:
    """What can be added in the first minute."""
    command = cli.main.commands["incident"]
    assert isinstance(command, click.Group)
    command.commands["open"].make_context("keyrotor", ["--reason", "x", *shlex.split(option)]).close()


def test_the_first_command_is_the_one_to_type() -> None:
    """A person reads no further."""
    assert re.findall(r"```sh\n(.*)\n", PAGE)[0].startswith("keyrotor incident open --reason ")
    assert PAGE.index("```sh") < 400


def test_every_code_of_the_runbook_is_one_of_ours() -> None:
    """And those of an incident are all there."""
    rows = re.findall(r"^\| ([\d, ]+) \|", PAGE, re.MULTILINE)
    codes = {int(code) for row in rows for code in row.split(",")}
    assert codes <= {int(code) for code in Exit}
    assert codes >= {0, 10, 21, 22, 23, 30}


def test_every_step_of_an_incident_is_in_the_runbook() -> None:
    """In their order, as far as they have a heading of their own."""
    headings = re.findall(r"^## (\d+)\. (.*)$", PAGE, re.MULTILINE)
    assert [int(number) for number, _ in headings] == list(range(1, len(headings) + 1))
    words = ["freeze", "contain", "rotate:", "refused", "`lift`", "in the window", "The sweep", "upstream keys"]
    assert [word for word in words if word not in PAGE] == []
