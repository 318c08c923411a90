"""`repair`: the present value in every place that does not hold it."""

from __future__ import annotations

import sys

import click

from keyrotor.cli.shell import (
    end,
    is_interactive,
    json_option,
    playbook_argument,
    print_json,
    real_world,
    want_consent,
    yes_option,
)


@click.command()
@playbook_argument
@click.option("--dry-run", is_flag=True, help="Show what would be put, and change nothing.")
@click.option(
    "--accept-former",
    metavar="FINGERPRINT",
    default="",
    help="Let this former value, which the file holds, count.",
)
@yes_option
@click.option("--reason", default="", help="Why; goes into the record.")
@json_option
def repair(playbook: str | None, dry_run: bool, accept_former: str, yes: bool, reason: str, as_json: bool) -> None:
    """Put the value that the encrypted file holds into every place of PLAYBOOK that does not hold it, and prove it."""
    want_consent(dry_run or yes or is_interactive(), "keyrotor repair --yes")

    from keyrotor import repair as repairing
    from keyrotor import screen

    wish = repairing.Wish(accept_former, reason)
    world = real_world(as_json, yes or dry_run)
    if not dry_run:
        end(repairing.repair(world, playbook, wish), as_json)
    found = repairing.look(world, playbook, wish)
    if as_json:
        print_json(found.as_json())
        return
    out = screen.Plain(sys.stdout)
    for line in (*found.lines(), "Nothing was changed."):
        out.say(line)
