"""`status` and `log`: what the record tells; `done`: what a person adds to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from keyrotor.cli.shell import json_option, real_world, tell

if TYPE_CHECKING:
    from keyrotor.core.head import Verdict
    from keyrotor.core.model import Task
    from keyrotor.proceedings import Standing
    from keyrotor.world import RealWorld

PREFIX = "inc-"  # of an incident's id; core.incident says so, which costs some ms to load


@click.command()
@json_option
def status(as_json: bool) -> None:
    """Runs that are not finished first, then the age of every key, and what is left to a person."""
    from keyrotor import chronicle, proceedings, runs, session

    world = real_world(as_json, True)
    first = proceedings.brief(_open_incidents(world))
    accounts = runs.accounts(world)
    found = chronicle.status(accounts, world.now(), session.at_work(accounts), session.held(accounts))
    tell({**found.as_json(), **first.data} if as_json else (*first.lines(), *found.lines()))


def _open_incidents(world: RealWorld) -> list[Standing]:
    from keyrotor import casebook

    if not casebook.still_open(world.state):
        return []
    from keyrotor import incident  # what an incident needs takes long to load

    return incident.status(world, None)


@click.command()
@click.argument("task", nargs=-1, required=True)
@json_option
def done(task: tuple[str, ...], as_json: bool) -> None:
    """Tick off what a rotation or an incident has left to a person; `status` lists it."""
    from keyrotor import chronicle, runs

    world = real_world(as_json, True)
    ticked = [_ticked(world, name) if name.startswith(PREFIX) else runs.done(world, name) for name in task]
    found = chronicle.done(ticked)
    tell(found.as_json() if as_json else found.lines())


def _ticked(world: RealWorld, name: str) -> Task:
    from keyrotor import incident

    return incident.tick(world, name)


@click.command()
@click.argument("run", required=False)
@click.option("--verify", is_flag=True, help="Check the chain of hashes and its signed head; names the first fault.")
@json_option
def log(run: str | None, verify: bool, as_json: bool) -> None:
    """The record: every run, or every event of one RUN or incident."""
    from keyrotor import casebook, chronicle, proceedings, runs

    world = real_world(as_json, True)
    verdict = _believed(world, as_json) if verify else None
    if run and run.startswith(PREFIX):
        found = proceedings.log(casebook.docket(world.state, run))
    else:
        found = chronicle.log(runs.accounts(world), run)
    if as_json:
        tell({**found.as_json(), "verified": verify, "record": verdict and verdict.as_json()})
    else:
        tell((*found.lines(), *(verdict.lines() if verdict else ())))


def _believed(world: RealWorld, as_json: bool) -> Verdict:
    """The verdict on a record that nothing is wrong with; else what is wrong is told, and the command is over."""
    from keyrotor import chronicle, console, runs

    verdict = runs.verify(world)
    if error := chronicle.disbelief(verdict, world.state):
        if as_json:
            tell({"schema": 1, "verified": False, "record": verdict.as_json()})
        console.complain(console.failed(error), is_unchanged=False)
        click.get_current_context().exit(error.exit)
    return verdict
