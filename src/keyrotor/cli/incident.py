"""`incident open`, `resume`, `status`, `close` and `report`: what is done when a key has leaked."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

import click

from keyrotor.cli.incident_report import report
from keyrotor.cli.shell import is_interactive, json_option, real_world, tell, tell_settled, want_consent, yes_option
from keyrotor.errors import Exit

if TYPE_CHECKING:
    from keyrotor.proceedings import Standing

case_argument = click.argument("case", metavar="[INCIDENT]", required=False)


@click.group()
def incident() -> None:
    """The key has leaked: keep evidence, contain, replace it with no grace, prove it dead, find where it lies."""


incident.add_command(report)


@incident.command("open")
@click.argument("playbook", required=False)
@click.option("--reason", required=True, help="What happened; goes into the record. Never the key itself.")
@click.option(
    "--contain",
    type=click.Choice(["stop", "loopback", "none"]),
    help="How strangers are kept from the gateway meanwhile; else what the incident playbook says.",
)
@click.option("--detected-at", metavar="TIME", default="", help="When it was noticed; else now.")
@click.option("--exposed-since", metavar="TIME", default="", help="Since when others may have the key, if you know it.")
@click.option("--another", is_flag=True, help="The key that an open incident has made has leaked as well.")
@yes_option
@json_option
def begin(
    playbook: str | None, reason: str, contain: str | None, detected_at: str, exposed_since: str,
    another: bool, yes: bool, as_json: bool,
) -> None:  # fmt: skip
    """Open an incident by PLAYBOOK, an incident playbook, and do its steps one after the other.

    Killed at any point, it goes on with `keyrotor incident resume`.
    """
    want_consent(yes or is_interactive(), "keyrotor incident open --reason … --yes")

    from keyrotor import incident as incidents
    from keyrotor.opening import Wish

    wish = Wish(reason, playbook, contain or "", detected_at, exposed_since, another)
    found = incidents.begin(real_world(as_json, yes), wish)
    if found is None:
        tell({"schema": 1, "incidents": []} if as_json else ["not agreed to; nothing was changed"])
        sys.exit(Exit.FAILED)
    _end([found], as_json)


@incident.command()
@case_argument
@click.option(
    "--contain",
    type=click.Choice(["stop", "loopback", "none"]),
    help="How strangers are kept from the gateway from now on; else as before.",
)
@click.option("--exposed-since", metavar="TIME", default="", help="Since when others may have the key, known by now.")
@json_option
def resume(case: str | None, contain: str | None, exposed_since: str, as_json: bool) -> None:
    """Go on with the INCIDENT that is open: what failed is tried again, what was killed is done again."""
    from keyrotor import incident as incidents

    found = incidents.resume(real_world(as_json, True), case, contain or "", exposed_since)
    _end([found] if found else [], as_json, "no incident is open")


@incident.command()
@case_argument
@json_option
def status(case: str | None, as_json: bool) -> None:
    """Say how the INCIDENT stands, or all that are open: each step, and what is left to a person. Touches nothing."""
    from keyrotor import incident as incidents

    _end(incidents.status(real_world(as_json, True), case), as_json, say=tell)


@incident.command()
@case_argument
@click.option("--cause", required=True, help="How the key could leak; goes into the record.")
@click.option("--force", "forced", metavar="WHY", default="", help="Close it though something is open, and record why.")
@json_option
def close(case: str | None, cause: str, forced: str, as_json: bool) -> None:
    """Close the INCIDENT, and forget the leaked value for good. Refused while a step or a task is open."""
    from keyrotor import incident as incidents
    from keyrotor import proceedings

    told = proceedings.closed(incidents.close(real_world(as_json, True), case, cause, forced))
    tell(told.as_json() if as_json else told.lines())


def _end(
    found: list[Standing],
    as_json: bool,
    none: str = "no incident is on record",
    say: Callable[..., None] = tell_settled,
) -> NoReturn:
    from keyrotor import proceedings

    told = proceedings.status(found, none)
    say(told.as_json() if as_json else told.lines())
    sys.exit(max((standing.exit for standing in found), default=Exit.DONE))
