"""`due`: would a rotation that waits for its time begin now?"""

from __future__ import annotations

import sys

import click

from keyrotor.cli.shell import json_option, playbook_argument, real_world, tell
from keyrotor.errors import Exit


@click.command()
@playbook_argument
@click.option(
    "--or-unknown", is_flag=True, help="End with 0, too, where it cannot be told, or where a person is waited for."
)
@json_option
@click.pass_context
def due(ctx: click.Context, playbook: str | None, or_unknown: bool, as_json: bool) -> None:
    """Say whether `rotate --if-due --resume` would do something now: 0; and if not, why and when next: 1.

    Asks the record and the clock, and nobody else.
    """
    if or_unknown:  # what this is a condition of is to fail loudly, and not to be skipped for years
        ctx.meta["exit_of_error"] = Exit.DONE

    from keyrotor import timer

    found = timer.due(real_world(as_json, True), playbook)
    tell(found.as_json() if as_json else (found.line,))
    sys.exit(Exit.DONE if or_unknown and not found.is_sure_not else found.exit)
