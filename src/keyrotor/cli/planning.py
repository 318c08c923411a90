"""`plan`: what a rotation would do."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from keyrotor.cli.shell import json_option, playbook_argument, print_json, real_world

if TYPE_CHECKING:
    from keyrotor.errors import KeyrotorError


@click.command()
@playbook_argument
@click.option(
    "--out",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Save the plan, for `rotate --plan FILE`; replaces a saved plan and no other file.",
)
@json_option
def plan(playbook: str | None, out: Path | None, as_json: bool) -> None:
    """Show what a rotation would do, after the same preflight. Touches nothing but the FILE of --out."""
    from keyrotor import outlook, preview, screen

    world = real_world(as_json, True)
    seen = preview.preview(world, playbook, to_save=out is not None)
    file = Path(os.path.abspath(world.folder / out.expanduser())) if out else None
    if as_json and seen.error:
        _refuse(seen.error, outlook.as_json(seen))
    if not as_json:
        shown = screen.Plain(sys.stdout)
        for line in outlook.lines(seen, world.folder, world.env.get("HOME", "")):
            shown.say(line)
    if seen.owed:
        for line in outlook.ending(seen, out):
            shown.say(line)
    if seen.error:
        raise seen.error
    if file and seen.saved:
        preview.save(world, seen.saved, file)
    if as_json:
        print_json(outlook.as_json(seen, file))
        return
    for line in outlook.ending(seen, out if file else None):
        shown.say(line)


def _refuse(error: KeyrotorError, planned: dict[str, Any]) -> NoReturn:
    """Ends as every refusal does, but with the plan in the one object."""
    from keyrotor import console

    failed = console.failed(error)
    console.complain(failed, is_unchanged=True)
    print_json({**console.as_json(failed), **planned})
    sys.exit(error.exit)
