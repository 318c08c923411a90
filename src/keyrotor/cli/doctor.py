"""`doctor`: can a rotation run here, and as the timer would run it?"""

from __future__ import annotations

import sys

import click

from keyrotor.cli.shell import json_option, playbook_argument, real_world, tell


@click.command()
@playbook_argument
@click.option("--as-timer", is_flag=True, help="Look in the environment that the timer will have.")
@json_option
def doctor(playbook: str | None, as_timer: bool, as_json: bool) -> None:
    """Say whether a rotation of PLAYBOOK can run here, and how to mend what is in its way. Touches nothing."""
    from keyrotor import checklist
    from keyrotor import doctor as examining
    from keyrotor.core import checkup

    world = real_world(as_json, True)
    seen = examining.as_timer(world, playbook) if as_timer else examining.doctor(world, playbook)
    besides = {"as_timer": as_timer, "state": seen.state, "environment": dict(seen.environment)}
    where = "as the timer runs it" if as_timer else "here"
    well = f"a rotation can run {where}"
    tell(checkup.as_json(seen.lines, **besides) if as_json else checklist.lines_of(seen.lines, well))
    sys.exit(checkup.exit_of(seen.lines))
