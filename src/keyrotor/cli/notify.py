"""`notify`: who is told how a playbook's commands end; a test of that; and what a failed service could not tell."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from keyrotor.cli.shell import json_option, playbook_argument, real_world, tell
from keyrotor.errors import Exit, UsageError

if TYPE_CHECKING:
    from keyrotor.telling import Told


@click.command()
@playbook_argument
@click.option("--test", "is_test", is_flag=True, help="Send everybody a notice, and say whether it arrived.")
@click.option("--failed", is_flag=True, help="Tell of a service that failed; for the unit of its OnFailure=.")
@json_option
def notify(playbook: str | None, is_test: bool, failed: bool, as_json: bool) -> None:
    """Who is told how the commands of PLAYBOOK end, and of what. Sends nothing, unless asked to."""
    from keyrotor import telling

    if is_test and failed:
        raise UsageError("cannot send a test and tell of a failure: give --test or --failed")
    world = real_world(as_json, True)
    if failed:
        known, told = telling.failed(world, playbook, os.environ)
    else:
        known = telling.named(world, playbook)
        if is_test and not known.addressees:
            raise UsageError(f"cannot test whom {known.name} tells: it names nobody", hint="give it a [[notify]]")
        told = telling.tested(world, known) if is_test else []
    code = Exit.FAILED if any(each.fault for each in told) else Exit.DONE
    if as_json:
        everybody = told or [telling.Told(each, is_wanted=False) for each in known.addressees]
        tell(_as_json(known.name, code, everybody))
    elif is_test or failed:
        tell(_line(each) for each in told if each.state != "left-out")
    else:
        to = [f"{each.label}: {', '.join(each.on)}" for each in known.addressees]
        tell(to or [f"{known.name} tells nobody"])
    sys.exit(code)


def _line(told: Told) -> str:
    return told.fault or f"told {told.addressee.label} ({told.seconds:.1f} s)"


def _as_json(playbook: str, code: Exit, told: Sequence[Told]) -> dict[str, Any]:
    return {"schema": 1, "playbook": playbook, "exit": int(code), "addressees": [each.as_json() for each in told]}
