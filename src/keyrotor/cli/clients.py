"""`clients discover`: who holds the key, and what the playbook does not know of."""

from __future__ import annotations

import sys

import click

from keyrotor.cli.shell import json_option, playbook_argument, real_world, tell


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
    from keyrotor import discover as discovering
    from keyrotor import screen

    world = real_world(as_json, True)
    found = discovering.discover(world, playbook, root, write=write)
    err = screen.Plain(sys.stderr)
    for doubt in found.doubts:
        err.say(f"keyrotor: {doubt}")
    tell(found.as_json() if as_json else found.lines())
    if found.exit and not as_json:
        err.say(f"hint: keyrotor clients discover {found.typed}{discovering.roots_as_typed(root)} --write")
    sys.exit(found.exit)
