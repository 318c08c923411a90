"""`status` and `log`: what the record tells; `done`: what a person adds to it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from keyrotor.cli.shell import json_option, print_json, real_world

if TYPE_CHECKING:
    from keyrotor.chronicle import Told


@click.command()
@json_option
def status(as_json: bool) -> None:
    """Stuck and owed runs first, then the age of every key, and what is left to a person."""
    from keyrotor import chronicle, runs

    world = real_world(as_json, True)
    _tell(chronicle.status(runs.accounts(world), world.now()), as_json)


@click.command()
@click.argument("task", nargs=-1, required=True)
@json_option
def done(task: tuple[str, ...], as_json: bool) -> None:
    """Tick off what a rotation has left to a person; `status` lists it."""
    from keyrotor import chronicle, runs

    world = real_world(as_json, True)
    _tell(chronicle.done([runs.done(world, name) for name in task]), as_json)


@click.command()
@click.argument("run", required=False)
@click.option("--verify", is_flag=True, help="Check the chain of hashes; names the first entry that does not follow.")
@json_option
def log(run: str | None, verify: bool, as_json: bool) -> None:
    """The record: every run, or every event of one RUN."""
    from keyrotor import chronicle, runs

    world = real_world(as_json, True)
    if verify:
        runs.verify(world)
    found = chronicle.log(runs.accounts(world), run)
    whole = ("the record is whole: every entry follows from the one before it",) if verify else ()
    _tell(chronicle.Told((*found.text, *whole), {**found.data, "verified": verify}), as_json)


def _tell(found: Told, as_json: bool) -> None:
    """On stdout, as it was asked for; a reader that has left is no fault of ours."""
    from keyrotor import console, screen

    if as_json:
        print_json(found.as_json())
    else:
        out = screen.Plain(sys.stdout)
        for line in found.lines():
            out.say(line)
    console.hang_up()
