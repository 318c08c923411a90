"""`bootstrap`: from nothing to a lab, or an existing lab adopted."""

from __future__ import annotations

import os
import shlex
import sys

import click

from keyrotor.cli.shell import is_interactive, json_option, real_world, tell, want_consent, yes_option


@click.command()
@click.argument("dir", required=False)
@click.option(
    "--age-identity", metavar="FILE", default="", help="Keep the age identity in this file, or in the `keyring`."
)
@click.option(
    "--host",
    type=click.Choice(["systemd", "compose", "launchd", "command"]),
    default=None,
    help="What keeps the gateway running; else what fits here.",
)
@click.option("--url", default="", help="Where the gateway answers.")
@click.option("--dry-run", is_flag=True, help="Show what would be made, and make nothing.")
@yes_option
@json_option
def bootstrap(
    dir: str | None, age_identity: str, host: str | None, url: str, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Make a lab in DIR, or what is missing of one: identity, rules, encrypted file, playbooks, env file.

    Whatever is there is adopted and kept, keys included.
    """
    from keyrotor import bootstrap as founding
    from keyrotor import screen
    from keyrotor.core.founding import Asked

    world = real_world(as_json, yes or dry_run)
    place = os.path.realpath(world.folder / os.path.expanduser(dir or "."))
    url = url.rstrip("/")
    command = _typed(place, host or "", url)
    again = f"{command} --age-identity {shlex.quote(age_identity)}" if age_identity else command
    asked = Asked(place, age_identity, host or "", url, command, again)
    out = screen.Plain(sys.stderr if as_json else sys.stdout)

    def told(found: founding.Founded) -> None:
        if yes or dry_run or found.outcome is founding.Outcome.NOTHING:
            for line in founding.lines_of(asked, found.survey):
                out.say(line)

    if not yes and not dry_run and not is_interactive():
        want_consent(founding.look(world, asked).outcome is founding.Outcome.NOTHING, f"{again} --yes")
    if dry_run:
        found = founding.look(world, asked)
        told(found)
    else:
        found = founding.bootstrap(world, asked, told)
    tell(found.as_json() if as_json else found.lines())
    sys.exit(found.exit)


def _typed(place: str, host: str, url: str) -> str:
    """The command as it is typed again, from wherever."""
    words = ["keyrotor", "bootstrap", place, *(["--host", host] if host else []), *(["--url", url] if url else [])]
    return shlex.join(words)
