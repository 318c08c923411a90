"""`clients discover`: who holds the key, and what the playbook does not know of."""

from __future__ import annotations

import sys

import click

from keyrotor.cli.shell import json_option, playbook_argument, print_json, real_world


@click.group()
def clients() -> None:
    """The programs that send the key to the gateway."""


@clients.command()
@playbook_argument
@click.option("--root", metavar="DIR", multiple=True, help="Look through this folder, too; may be given several times.")
@click.option("--write", is_flag=True, help="Add the entries to the playbook, at its end.")
@json_option
def discover(playbook: str | None, root: tuple[str, ...], write: bool, as_json: bool) -> None:
    """Find who holds PLAYBOOK's key or refers to it, and print the entries that the playbook lacks (10).

    Looks where the known clients keep their settings, and below every --root.
    """
    from keyrotor import console, screen
    from keyrotor import discover as discovering

    world = real_world(as_json, True)
    found = discovering.discover(world, playbook, root, write=write)
    err = screen.Plain(sys.stderr)
    for doubt in found.doubts:
        err.say(f"keyrotor: {doubt}")
    if as_json:
        print_json(found.as_json())
    else:
        out = screen.Plain(sys.stdout)
        for line in found.lines():
            out.say(line)
        if found.exit:
            err.say(f"hint: keyrotor clients discover {found.typed}{discovering.roots_as_typed(root)} --write")
    console.hang_up()
    sys.exit(found.exit)
