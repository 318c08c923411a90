"""`print-key`: the present key, for a program's helper command."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from keyrotor.cli.shell import playbook_argument
from keyrotor.errors import UsageError

if TYPE_CHECKING:
    from keyrotor.ports import World


@click.command("print-key")
@playbook_argument
@click.option("--force", is_flag=True, help="Print it on a terminal, too.")
def print_key(playbook: str | None, force: bool) -> None:
    """Print the key that the encrypted file holds now, and nothing else.

    For a client's helper command (apiKeyHelper, auth.command, a credential helper): name PLAYBOOK by its whole path
    there, for a helper is run in any folder. A key that a run has replaced is not printed (3).
    """
    gc.disable()  # nothing that we make is garbage before we end
    out = getattr(sys.stdout, "buffer", None)
    if out is None:
        raise UsageError("cannot print the key: standard output is closed")
    if out.isatty() and not force:
        hint = "keyrotor print-key --force   or, for a program: keyrotor exec -- COMMAND"
        raise UsageError("cannot print the key: this is a terminal, which would show and keep it", hint=hint)

    from keyrotor import handover
    from keyrotor.boundary import outlet
    from keyrotor.boundary.quick import CoreDumps

    CoreDumps()
    env, folder = dict(os.environ), _folder(playbook)

    def world() -> World:
        from keyrotor.boundary.signals import Signals
        from keyrotor.screen import Plain
        from keyrotor.world import RealWorld

        return RealWorld(env, folder, Plain(sys.stderr), Signals())

    outlet.say_alone(*handover.key(env, folder, playbook, world), out.fileno())
    gc.freeze()


def _folder(playbook: str | None) -> Path:
    """The current folder; one that is gone is no matter where the playbook is named by its whole path."""
    try:
        return Path.cwd()
    except OSError:
        if playbook and os.path.isabs(os.path.expanduser(playbook)):
            return Path("/")
        raise UsageError("cannot start: the current folder is gone", hint="cd  (to one that is there)") from None
