"""The commands: parse, call one use case, print, exit. Holds the only `except KeyrotorError`.

Only click is imported here; each command imports what it needs, so that `keyrotor --version` costs little
more than click itself.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import click

from keyrotor import __version__
from keyrotor.errors import Exit, InterruptedRun, KeyrotorError, RefusedError, UsageError, internal

if TYPE_CHECKING:
    from keyrotor.core.report import Report
    from keyrotor.journal import Account
    from keyrotor.secret import Secret
    from keyrotor.world import RealWorld


class Commands(click.Group):
    """Turns what went wrong into one sentence, one hint and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyrotorError as error:
            _tell(error, ctx)
        except InterruptedRun as asked:
            _tell(KeyrotorError(f"interrupted by {asked} before the first effect; nothing was changed"), ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:  # noqa: BLE001  no traceback: what it shows is not ours to choose
            _tell(internal(error), ctx)


def _tell(error: KeyrotorError, ctx: click.Context) -> NoReturn:
    from keyrotor import console

    failed = console.failed(error)
    console.complain(failed, is_unchanged=isinstance(error, RefusedError))
    if ctx.meta.get("json", False):
        _print_json(console.as_json(failed))
    ctx.exit(error.exit)


def _as_json(ctx: click.Context, _: click.Parameter, value: bool) -> bool:
    ctx.meta["json"] = value
    return value


json_option = click.option(
    "--json", "as_json", is_flag=True, callback=_as_json, help="Print one JSON object on stdout."
)
yes_option = click.option("--yes", is_flag=True, help="Do not ask first.")
playbook_argument = click.argument("playbook", required=False)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="keyrotor")
def main() -> None:
    """Rotate a sops-managed key through every place that holds it, or put all of them back.

    Exit codes: 0 done · 1 failed, nothing changed · 2 usage or playbook · 3 refused by preflight · 10 findings ·
    20 rolled back, old key proven · 21 stuck · 22 interrupted, resume owed · 23 old key not proven dead ·
    30 another run holds the lock.
    """


@main.command()
@playbook_argument
@click.option("--dry-run", is_flag=True, help="Look at everything and change nothing (same as `plan`).")
@click.option("--if-due", is_flag=True, help="Rotate only if the playbook's `every` says that it is time.")
@yes_option
@click.option("--reason", default="", help="Why; goes into the record.")
@click.option("--value-stdin", is_flag=True, help="Take the new value from standard input (needs --yes).")
@click.option("--commit", is_flag=True, help="Commit the encrypted file, alone, after success.")
@json_option
@click.pass_context
def rotate(
    ctx: click.Context, playbook: str | None, dry_run: bool, if_due: bool, yes: bool, reason: str, value_stdin: bool,
    commit: bool, as_json: bool,
) -> None:  # fmt: skip
    """Give every place of PLAYBOOK a new value, prove it, or put all of them back, proven."""
    if dry_run:
        ctx.invoke(plan, playbook=playbook, as_json=as_json)
        return
    _want_consent(yes or (not value_stdin and _is_interactive()), "keyrotor rotate --yes")
    value = _value_from_stdin() if value_stdin else None

    from keyrotor import app

    world = _world(as_json, yes)
    _end(app.rotate(world, playbook, app.Wish(if_due, commit, reason, value)), as_json)


@main.command()
@playbook_argument
@json_option
def plan(playbook: str | None, as_json: bool) -> None:
    """Show what a rotation would do, after the same preflight. Touches nothing."""
    from keyrotor import app, screen

    world = _world(as_json, True)
    book, ready, owed = app.plan_rotation(world, playbook)
    if as_json:
        rows = [{"id": r.id, "kind": r.kind, "act": r.act, "label": r.label} for r in ready.rows]
        _print_json(
            {"schema": 1, "playbook": book.name, "places": rows, "skipped": dict(ready.skipped), "owed": owed or None}
        )
        return
    out = screen.Plain(sys.stdout)
    out.planned(book, ready.rows)
    out.say(f"First run {owed} must be finished: keyrotor resume {owed}" if owed else "A rotation can run.")
    out.say("Nothing was changed.")


@main.command()
@click.argument("run", required=False)
@click.option("--set", "settings", multiple=True, metavar="PLACE.within=TIME", help="Wait longer at a place.")
@json_option
def resume(run: str | None, settings: tuple[str, ...], as_json: bool) -> None:
    """Finish the run that is owed, in its present direction."""
    from keyrotor import runs

    within = dict(_within(setting) for setting in settings)
    _end(runs.resume(_world(as_json, True), run, within), as_json)


@main.command()
@click.argument("run", required=False)
@yes_option
@json_option
def rollback(run: str | None, yes: bool, as_json: bool) -> None:
    """End all old: an owed run without asking, or the newest closed RUN by name."""
    from keyrotor import runs

    def consents(account: Account) -> bool:
        _want_consent(yes or _is_interactive(), f"keyrotor rollback {account.id} --yes")
        return yes or _ask(f"Run {account.id} ended {account.run.outcome}. Put the former key back everywhere?")

    _end(runs.rollback(_world(as_json, True), run, consents), as_json)


@main.command()
@click.argument("run")
@click.option("--reason", required=True, help="What a person did to mend it; goes into the record.")
@json_option
def abandon(run: str, reason: str, as_json: bool) -> None:
    """Close a stuck RUN as it is, after a person has mended it."""
    from keyrotor import runs

    _end(runs.abandon(_world(as_json, True), run, reason), as_json)


@main.command()
@click.argument("run", required=False)
@yes_option
def forget(run: str | None, yes: bool) -> None:
    """Drop the former value's ciphertext of a closed RUN, or of every closed run. It can never be rolled back then."""
    from keyrotor import runs

    if run is None and not yes:
        _want_consent(_is_interactive(), "keyrotor forget --yes  (or name the run)")
        if not _ask("No closed run can be rolled back then. Forget the former value of every one?"):
            sys.exit(Exit.FAILED)
    forgotten = runs.forget(_world(False, True), run)
    click.echo(f"forgotten: {', '.join(forgotten)}" if forgotten else "nothing to forget")


@main.command()
@json_option
def status(as_json: bool) -> None:
    """Stuck and owed runs first, then the age of every key."""
    from keyrotor import chronicle, runs

    world = _world(as_json, True)
    found = chronicle.status(runs.accounts(world), world.now())
    _print_json(found.as_json()) if as_json else click.echo("\n".join(found.lines()))


@main.command()
@click.argument("run", required=False)
@click.option("--verify", is_flag=True, help="Check the chain of hashes; names the first entry that does not follow.")
@json_option
def log(run: str | None, verify: bool, as_json: bool) -> None:
    """The record: every run, or every event of one RUN."""
    from keyrotor import chronicle, runs

    world = _world(as_json, True)
    if verify:
        runs.verify(world)
    found = chronicle.log(runs.accounts(world), run)
    _print_json({**found.as_json(), "verified": verify}) if as_json else click.echo("\n".join(found.lines()))
    if verify and not as_json:
        click.echo("the record is whole: every entry follows from the one before it")


@main.command()
@click.option("--gateway", type=click.Choice(["embedded", "litellm"]), default="embedded", show_default=True)
@click.option("--litellm", "program", envvar="KEYROTOR_LITELLM", help="The litellm program, for --gateway litellm.")
@click.option("--keep", is_flag=True, help="Leave the lab's folder behind.")
def demo(gateway: str, program: str | None, keep: bool) -> None:
    """A whole rotation in a throw-away lab, and one whose gateway never comes back and which rolls back."""
    from keyrotor import shipped
    from keyrotor.demo import story

    sys.exit(story.tell(gateway, program, keep, shipped.rules()))


def _world(as_json: bool, yes: bool) -> RealWorld:
    from pathlib import Path

    from keyrotor import console, screen
    from keyrotor.boundary.process import keep_out_of_core_dumps
    from keyrotor.boundary.signals import Signals
    from keyrotor.world import RealWorld

    keep_out_of_core_dumps()
    ask = None if yes else _ask
    shown: screen.Plain
    if as_json:
        shown = screen.Plain(sys.stderr, ask)
    elif console.is_terminal(sys.stdout) and os.environ.get("TERM") != "dumb":
        shown = screen.Live(sys.stdout, ask, colour="NO_COLOR" not in os.environ)
    else:
        shown = screen.Plain(sys.stdout, ask)
    stop = Signals(shown.say)
    stop.listen()
    return RealWorld(dict(os.environ), Path.cwd(), shown, stop)


def _end(report: Report, as_json: bool) -> None:
    from keyrotor import console, screen

    if as_json:
        _print_json(console.as_json(report))
    else:
        out = screen.Plain(sys.stdout)
        for line in console.last_word(report):
            out.say(line)
    console.hang_up()
    sys.exit(report.exit)


def _print_json(found: object) -> None:
    import json

    from keyrotor import screen

    screen.Plain(sys.stdout).say(json.dumps(found, ensure_ascii=False, indent=2))


def _is_interactive() -> bool:
    return sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()


def _want_consent(can: bool, command: str) -> None:
    if not can:
        raise UsageError("cannot ask before the first effect: there is no terminal", hint=command)


def _ask(question: str) -> bool:
    from keyrotor.boundary.signals import asking

    try:
        with asking():
            return click.confirm(question)
    except click.Abort:
        return False


def _value_from_stdin() -> Secret:
    from keyrotor.boundary.plaintext import given

    if sys.stdin.isatty():
        return given(click.prompt("New value", hide_input=True).encode())
    return given(sys.stdin.buffer.read())


def _within(setting: str) -> tuple[str, float]:
    from keyrotor.core.due import seconds

    place, _, rest = setting.partition(".")
    key, _, text = rest.partition("=")
    found = seconds(text)
    if key != "within" or not found:
        raise UsageError(f"cannot read --set {setting}: write it as PLACE.within=180s")
    return place, found
