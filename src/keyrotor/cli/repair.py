"""`repair`: the present value in every place that does not hold it."""

from __future__ import annotations

from collections.abc import Mapping

import click

from keyrotor.cli.shell import (
    end,
    is_interactive,
    json_option,
    playbook_argument,
    real_world,
    tell,
    telling,
    want_consent,
    yes_option,
)


@click.command()
@playbook_argument
@click.option("--dry-run", is_flag=True, help="Show what would be put, and change nothing.")
@click.option(
    "--accept-former",
    metavar="FINGERPRINT",
    default="",
    help="Let this former value, which the file holds, count.",
)
@click.option("--heal", is_flag=True, help="Put what works in the stead of references that a client sends as they are.")
@yes_option
@click.option("--reason", default="", help="Why; goes into the record.")
@json_option
def repair(
    playbook: str | None, dry_run: bool, accept_former: str, heal: bool, yes: bool, reason: str, as_json: bool
) -> None:
    """Put the value that the encrypted file holds into every place of PLAYBOOK that does not hold it, and prove it."""
    if not (dry_run or yes):
        typed: dict[str, str | bool] = {"--accept-former": accept_former, "--heal": heal, "--reason": reason}
        typed["--json"] = as_json
        want_consent(is_interactive(), _again(playbook, typed))

    from keyrotor import repair as repairing

    wish = repairing.Wish(accept_former, reason, heal)
    world = real_world(as_json, yes or dry_run)
    if not dry_run:
        end(telling(world, "repair", playbook, lambda: repairing.repair(world, playbook, wish)), as_json)
    found = repairing.look(world, playbook, wish)
    tell(found.as_json() if as_json else (*found.lines(), "Nothing was changed."))


def _again(playbook: str | None, typed: Mapping[str, str | bool]) -> str:
    """The same command, with the consent that no terminal can give."""
    import shlex

    words = [word for option, said in typed.items() if said for word in (option, *([] if said is True else [said]))]
    return shlex.join(["keyrotor", "repair", *filter(None, [playbook]), *map(str, words), "--yes"])
