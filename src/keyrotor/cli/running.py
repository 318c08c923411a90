"""The commands that change something, and those that end what was begun."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from keyrotor.cli.planning import plan
from keyrotor.cli.shell import (
    ask,
    end,
    is_interactive,
    json_option,
    playbook_argument,
    real_world,
    tell,
    telling,
    typed,
    want_consent,
    yes_option,
)
from keyrotor.errors import Exit, UsageError

if TYPE_CHECKING:
    from keyrotor.journal import Account
    from keyrotor.secret import Secret


@click.command()
@playbook_argument
@click.option("--dry-run", is_flag=True, help="Look at everything and change nothing (same as `plan`).")
@click.option(
    "--plan",
    "saved",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Rotate by the plan that `plan --out FILE` saved, if everything is still as it was.",
)
@click.option("--if-due", is_flag=True, help="Rotate only if the playbook's `every` and `window` say that it is time.")
@click.option(
    "--resume", "goes_on", is_flag=True, help="Finish a run that was interrupted, in the stead of another one."
)
@yes_option
@click.option("--reason", default="", help="Why; goes into the record.")
@click.option("--value-stdin", is_flag=True, help="Take the new value from standard input (needs --yes).")
@click.option("--commit", is_flag=True, help="Commit the encrypted file, alone, after success.")
@json_option
@click.pass_context
def rotate(
    ctx: click.Context, playbook: str | None, dry_run: bool, saved: Path | None, if_due: bool, goes_on: bool, yes: bool,
    reason: str, value_stdin: bool, commit: bool, as_json: bool,
) -> None:  # fmt: skip
    """Give every place of PLAYBOOK a new value, prove it, or put all of them back, proven."""
    if dry_run:
        if saved:
            raise UsageError("cannot rotate by a plan and change nothing: give --dry-run or --plan")
        ctx.invoke(plan, playbook=playbook, as_json=as_json)
        return
    if goes_on and (saved or value_stdin):
        raise UsageError(
            "cannot go on with a run by another plan or value: leave --resume out, or --plan, --value-stdin"
        )
    want_consent(yes or (not value_stdin and is_interactive()), "keyrotor rotate --yes")
    value = _value_from_stdin() if value_stdin else None

    from keyrotor import app

    world = real_world(as_json, yes)
    file = world.folder / saved.expanduser() if saved else None
    wish = app.Wish(if_due, commit, reason, value, file, goes_on)
    by_run = saved is not None and playbook is None
    end(telling(world, "rotate", playbook, lambda: app.rotate(world, playbook, wish), by_run=by_run), as_json)


@click.command()
@click.argument("run", required=False)
@click.option("--set", "settings", multiple=True, metavar="PLACE.within=TIME", help="Wait longer at a place.")
@json_option
def resume(run: str | None, settings: tuple[str, ...], as_json: bool) -> None:
    """Finish the run that is owed, in its present direction."""
    from keyrotor import runs

    within = dict(_within(setting) for setting in settings)
    world = real_world(as_json, True)
    end(telling(world, "resume", None, lambda: runs.resume(world, run, within), by_run=True), as_json)


@click.command()
@click.argument("run", required=False)
@yes_option
@click.option("--confirm", metavar="RUN", default="", help="The run's id once more, where its former key has leaked.")
@json_option
def rollback(run: str | None, yes: bool, confirm: str, as_json: bool) -> None:
    """End all old: an owed run without asking, or the newest closed RUN by name."""
    from keyrotor import runs
    from keyrotor.core.ways import brings_back_leaked

    def consents(account: Account) -> bool:
        if brings_back_leaked(account.run):
            return _is_typed(account, confirm)
        want_consent(yes or is_interactive(), f"keyrotor rollback {account.id} --yes")
        return yes or ask(f"Run {account.id} ended {account.run.outcome}. Put the former key back everywhere?")

    world = real_world(as_json, True)
    end(telling(world, "roll back", None, lambda: runs.rollback(world, run, consents), by_run=True), as_json)


@click.command()
@click.argument("run")
@click.option("--reason", required=True, help="What a person did to mend it; goes into the record.")
@json_option
def abandon(run: str, reason: str, as_json: bool) -> None:
    """Close a stuck RUN as it is, after a person has mended it."""
    from keyrotor import runs

    end(runs.abandon(real_world(as_json, True), run, reason), as_json)


@click.command()
@click.argument("run", required=False)
@yes_option
def forget(run: str | None, yes: bool) -> None:
    """Drop the former value's ciphertext of a closed RUN, or of every closed run. It can never be rolled back then."""
    from keyrotor.forgetting import forget as forget_runs

    if run is None and not yes:
        want_consent(is_interactive(), "keyrotor forget --yes  (or name the run)")
        if not ask("No closed run can be rolled back then. Forget the former value of every one?"):
            sys.exit(Exit.FAILED)
    forgotten = forget_runs(real_world(False, True), run)
    tell([f"forgotten: {', '.join(forgotten)}" if forgotten else "nothing to forget"])


def _is_typed(account: Account, confirm: str) -> bool:
    """Whether the person means it: the key that comes back is one that others have."""
    if confirm:
        return confirm == account.id
    case = account.run.plan.incident
    want_consent(
        is_interactive(), f"keyrotor rollback {account.id} --confirm {account.id}  ({case}: its key has leaked)"
    )
    click.echo(f"The former key has leaked ({case}): whoever has it could use the gateway again.")
    return typed("Type the run's id to bring it back", default="", show_default=False) == account.id


def _value_from_stdin() -> Secret:
    from keyrotor.boundary.plaintext import given

    if sys.stdin.isatty():
        return given(typed("New value", hide_input=True).encode())
    return given(sys.stdin.buffer.read())


def _within(setting: str) -> tuple[str, float]:
    from keyrotor.core.due import seconds

    place, _, rest = setting.partition(".")
    key, _, text = rest.partition("=")
    found = seconds(text)
    if key != "within" or not found:
        raise UsageError(f"cannot read --set {setting}: write it as PLACE.within=180s")
    return place, found
