"""`exec`: a program with the secrets in its environment."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

import click

from keyrotor.errors import UsageError


@click.command(name="exec", context_settings={"allow_interspersed_args": False})
@click.option("--playbook", metavar="PLAYBOOK", help="Whose encrypted file; may be left out where there is only one.")
@click.option("--only", metavar="KEY", multiple=True, help="Only this value; may be given several times.")
@click.option("--env-file", is_flag=True, help="Read the materialised env file, and open nothing encrypted.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND [ARGUMENT]...")
def exec_(playbook: str | None, only: tuple[str, ...], env_file: bool, command: tuple[str, ...]) -> None:
    """Run COMMAND with every value of the encrypted file in its environment, and nothing else changed.

    It takes keyrotor's place: its signals, terminal and exit code are its own. 127: there is no such program;
    126: it cannot be run.
    """
    gc.disable()  # nothing that we make is garbage before the program takes our place (2 ms)

    from keyrotor.boundary.quick import CoreDumps

    dumps = CoreDumps()
    try:
        folder = Path.cwd()
    except OSError:
        raise UsageError("cannot start: the current folder is gone", hint="cd  (to one that is there)") from None
    env = dict(os.environ)
    if env_file:
        from keyrotor import materialise
        from keyrotor.boundary import outlet
        from keyrotor.boundary.signals import Signals
        from keyrotor.screen import Plain
        from keyrotor.world import RealWorld

        said = Plain(sys.stderr)
        held = materialise.held(RealWorld(env, folder, said, Signals()), playbook, only)
        for doubt in held.doubts:
            said.say(f"keyrotor: {doubt}")
        outlet.become(command, held.values, dumps)

    from keyrotor import handover

    handover.hand_over(command, env, folder, playbook, only, dumps)
