"""`timer install`, `timer status` and `timer remove`: what wakes a rotation when it is due."""

from __future__ import annotations

import sys

import click

from keyrotor.cli.shell import (
    dry_option,
    end_install,
    is_interactive,
    json_option,
    playbook_argument,
    real_world,
    tell,
    want_consent,
    yes_option,
)

system_option = click.option(
    "--system", is_flag=True, help="The timer is one of the system's, as the gateway's unit is."
)


@click.group()
def timer() -> None:
    """The systemd timer that rotates a key when it is due."""


@timer.command()
@playbook_argument
@click.option(
    "--every", default="", metavar="PERIOD", help="Write this `every` into the playbook: month, week, 30d, 12h."
)
@click.option("--at", default="", metavar="HH:MM", help="When it wakes. Default: as it is installed, else 04:00.")
@system_option
@dry_option
@yes_option
@json_option
def install(playbook: str | None, every: str, at: str, system: bool, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Make the timer of PLAYBOOK, and start it. It wakes daily, and rotates when the playbook's `every` says so.

    Rotates nothing now.
    """
    want_consent(dry_run or yes or is_interactive(), "keyrotor timer install --yes")

    from keyrotor import timer as timing
    from keyrotor.core.timing import Wish

    wish, world = Wish(is_system=system, every=every, at=at), real_world(as_json, yes or dry_run)
    if dry_run:
        end_install(*timing.to_install(world, playbook, wish), as_json=as_json)
    end_install(None, timing.install(world, playbook, wish), as_json=as_json)


@timer.command()
@playbook_argument
@system_option
@dry_option
@yes_option
@json_option
def remove(playbook: str | None, system: bool, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Stop and remove what `timer install` has made for PLAYBOOK, also if that is gone.

    A timer's own name, keyrotor-NAME.timer, does as well.
    """
    want_consent(dry_run or yes or is_interactive(), "keyrotor timer remove --yes")

    from keyrotor import timer as timing
    from keyrotor.core.timing import Wish

    wish, world = Wish(is_system=system), real_world(as_json, yes or dry_run)
    if dry_run:
        end_install(*timing.to_remove(world, playbook, wish), as_json=as_json)
    end_install(None, timing.remove(world, playbook, wish), as_json=as_json)


@timer.command("status")
@playbook_argument
@system_option
@json_option
def show(playbook: str | None, system: bool, as_json: bool) -> None:
    """Say how the timer of PLAYBOOK stands, when it wakes next, and what it would do. Touches nothing."""
    from keyrotor import checklist
    from keyrotor import timer as timing
    from keyrotor.core import checkup
    from keyrotor.core.timing import Wish

    world = real_world(as_json, True)
    book, unit, lines = timing.status(world, playbook, Wish(is_system=system))
    of = {"playbook": book.name, "unit": unit, "scope": "system" if system else "user"}
    of |= {"every": book.every, "window": book.window}
    tell(checkup.as_json(lines, **of) if as_json else checklist.lines_of(lines, "all is well"))
    sys.exit(checkup.exit_of(lines))
