"""`env`: the materialised env files."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import click

from keyrotor.cli.shell import json_option, playbook_argument, real_world, tell, tell_settled
from keyrotor.errors import UsageError

if TYPE_CHECKING:
    from keyrotor.materialise import Materialised
    from keyrotor.world import RealWorld


@click.command()
@playbook_argument
@click.option("--check", is_flag=True, help="Only compare: name what differs (10), and write nothing.")
@click.option("--print", "to_print", is_flag=True, help="Print `export NAME='value'` lines for eval; write nothing.")
@click.option("--only", metavar="KEY", multiple=True, help="Only this key; may be given several times.")
@click.option("--force", is_flag=True, help="Let --print show the values on a terminal.")
@json_option
def env(playbook: str | None, check: bool, to_print: bool, only: tuple[str, ...], force: bool, as_json: bool) -> None:
    """Make the env files of PLAYBOOK hold what its encrypted file holds, and keep all else that is in them."""
    if to_print and (check or as_json):
        raise UsageError(f"cannot print the values with {'--check' if check else '--json'}: that shows none")
    if force and not to_print:
        raise UsageError("cannot use --force: it belongs to --print")

    from keyrotor import materialise

    if to_print:
        _want_reader(force)
        _print(real_world(True, True), playbook, only)
        return
    world = real_world(as_json, True)
    done = (materialise.compare if check else materialise.materialise)(world, playbook, only)
    say = tell_settled if done.exit else tell
    if as_json:
        say(done.as_json())
    else:
        _tell(done, say, is_check=check)
    sys.exit(done.exit)


def _want_reader(force: bool) -> None:
    if sys.stdout.isatty() and not force:
        hint = 'eval "$(keyrotor env --print)"   or: keyrotor env --print --force'
        raise UsageError("cannot print the values: this is a terminal, which would show and keep them", hint=hint)


def _print(world: RealWorld, playbook: str | None, only: tuple[str, ...]) -> None:
    from keyrotor import materialise
    from keyrotor.boundary import outlet

    out = getattr(sys.stdout, "buffer", None)
    if out is None:
        raise UsageError("cannot print the values: standard output is closed")
    outlet.say(materialise.shown(world, playbook, only), out)


def _tell(done: Materialised, say: Callable[[Iterable[str]], None], *, is_check: bool) -> None:
    """What was done, on stdout; that nothing had to be, on stderr: an `.envrc` is run again and again."""
    from keyrotor import screen
    from keyrotor.core.materialised import Sheet

    err = screen.Plain(sys.stderr)
    changed = [each for each in done.files if each.state is not Sheet.SAME]
    say(each.line() for each in changed)
    for each in changed:
        for why in each.reasons:
            err.say(f"keyrotor: {why}")
    if not changed:
        err.say(f"{', '.join(each.path for each in done.files)}: unchanged")
    elif done.exit and not any(each.reasons for each in done.files if is_check):
        err.say(f"hint: keyrotor env {done.typed}")
