"""`status` and `log`: what the record tells; `done`: what a person adds to it."""

from __future__ import annotations

import click

from keyrotor.cli.shell import json_option, real_world, tell


@click.command()
@json_option
def status(as_json: bool) -> None:
    """Stuck and owed runs first, then the age of every key, and what is left to a person."""
    from keyrotor import chronicle, runs

    world = real_world(as_json, True)
    found = chronicle.status(runs.accounts(world), world.now())
    tell(found.as_json() if as_json else found.lines())


@click.command()
@click.argument("task", nargs=-1, required=True)
@json_option
def done(task: tuple[str, ...], as_json: bool) -> None:
    """Tick off what a rotation has left to a person; `status` lists it."""
    from keyrotor import chronicle, runs

    world = real_world(as_json, True)
    found = chronicle.done([runs.done(world, name) for name in task])
    tell(found.as_json() if as_json else found.lines())


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
    tell({**found.as_json(), "verified": verify} if as_json else (*found.lines(), *whole))
