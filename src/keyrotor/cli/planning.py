"""`plan`: what a rotation would do."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from keyrotor.cli.shell import json_option, playbook_argument, real_world, tell, tell_settled

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
    from keyrotor import outlook, preview

    world = real_world(as_json, True)
    seen = preview.preview(world, playbook, to_save=out is not None)
    file = Path(os.path.abspath(world.folder / out.expanduser())) if out else None
    if as_json and seen.error:
        _refuse(seen.error, outlook.as_json(seen))
    lines = outlook.lines(seen, world.folder, world.env.get("HOME", ""))
    if seen.error:
        tell_settled((*lines, *(outlook.ending(seen, out) if seen.owed else ())))
        raise seen.error
    if not as_json:
        tell(lines)
    if file and seen.saved:
        preview.save(world, seen.saved, file)
    tell(outlook.as_json(seen, file) if as_json else outlook.ending(seen, out))


def _refuse(error: KeyrotorError, planned: dict[str, Any]) -> NoReturn:
    """Ends as every refusal does, but with the plan in the one object."""
    from keyrotor import console

    failed = console.failed(error)
    console.complain(failed, is_unchanged=True)
    tell_settled({**console.as_json(failed), **planned})
    sys.exit(error.exit)
