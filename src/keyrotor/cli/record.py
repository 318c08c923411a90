"""`status` and `log`: what the record tells."""

from __future__ import annotations

import click

from keyrotor.cli.shell import json_option, print_json, real_world


@click.command()
@json_option
def status(as_json: bool) -> None:
    """Stuck and owed runs first, then the age of every key."""
    from keyrotor import chronicle, runs

    world = real_world(as_json, True)
    found = chronicle.status(runs.accounts(world), world.now())
    print_json(found.as_json()) if as_json else click.echo("\n".join(found.lines()))


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
    print_json({**found.as_json(), "verified": verify}) if as_json else click.echo("\n".join(found.lines()))
    if verify and not as_json:
        click.echo("the record is whole: every entry follows from the one before it")
