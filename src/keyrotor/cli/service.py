"""`service install`, `service status` and `service remove`: the gateway's unit, and the socket that holds its port."""

from __future__ import annotations

import sys

import click

from keyrotor.cli.shell import (
    dry_option,
    end_install,
    is_interactive,
    json_option,
    playbook_argument,
    real_world,
    tell,
    want_consent,
    yes_option,
)

system_option = click.option("--system", is_flag=True, help="The unit is one of the system's, as the playbook says.")


@click.group()
def service() -> None:
    """The gateway's systemd unit, and the socket that holds its port while it restarts."""


@service.command()
@playbook_argument
@system_option
@click.option("--replace", is_flag=True, help="Put it in place of a unit that is there, which is kept.")
@click.option(
    "--socket/--no-socket",
    default=None,
    help="With a socket unit; or without, and refuse connections during a restart. Default: as it is.",
)
@click.option("--litellm", metavar="PATH", default="", help="LiteLLM's program; else litellm from PATH.")
@dry_option
@yes_option
@json_option
def install(
    playbook: str | None,
    system: bool,
    replace: bool,
    socket: bool | None,
    litellm: str,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Make the unit and the socket of PLAYBOOK's gateway, and wait until it accepts the present key.

    If it does not, everything is put back as it was.
    """
    want_consent(dry_run or yes or is_interactive(), "keyrotor service install --yes")

    from keyrotor import service as serving
    from keyrotor.core.serving import Wish

    wish = Wish(is_system=system, replace=replace, socket=socket, litellm=litellm)
    world = real_world(as_json, yes or dry_run)
    if dry_run:
        end_install(*serving.to_install(world, playbook, wish), as_json=as_json)
    end_install(None, serving.install(world, playbook, wish), as_json=as_json)


@service.command()
@playbook_argument
@system_option
@dry_option
@yes_option
@json_option
def remove(playbook: str | None, system: bool, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Stop and remove what `service install` has made for PLAYBOOK, and bring back what stood there before."""
    want_consent(dry_run or yes or is_interactive(), "keyrotor service remove --yes")

    from keyrotor import service as serving
    from keyrotor.core.serving import Wish

    wish, world = Wish(is_system=system), real_world(as_json, yes or dry_run)
    if dry_run:
        end_install(*serving.to_remove(world, playbook, wish), as_json=as_json)
    end_install(None, serving.remove(world, playbook, wish), as_json=as_json)


@service.command("status")
@playbook_argument
@system_option
@json_option
def show(playbook: str | None, system: bool, as_json: bool) -> None:
    """Say how the unit and the socket of PLAYBOOK's gateway stand. Touches nothing."""
    from keyrotor import checklist
    from keyrotor import service as serving
    from keyrotor.core import checkup
    from keyrotor.core.serving import Wish

    world = real_world(as_json, True)
    book, unit, lines = serving.status(world, playbook, Wish(is_system=system))
    of = {"playbook": book.name, "unit": unit.label, "scope": unit.options["scope"]}
    tell(checkup.as_json(lines, **of) if as_json else checklist.lines_of(lines, "all is well"))
    sys.exit(checkup.exit_of(lines))
