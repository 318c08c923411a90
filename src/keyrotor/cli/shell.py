"""What every command does: take the common options, build the world, ask, print, end."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from io import StringIO
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

import click

from keyrotor.boundary.signals import be_ended_by_ctrl_c, interruptible
from keyrotor.errors import InterruptedRun, KeyrotorError, RefusedError, UsageError, internal

if TYPE_CHECKING:
    from keyrotor.core.report import Report
    from keyrotor.core.serving import Installed, Intent
    from keyrotor.world import RealWorld


class Commands(click.Group):
    """Turns what went wrong into one sentence, one hint and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        # Somebody may start us with these closed; then nobody listens, and that stops nothing.
        sys.stdout, sys.stderr = sys.stdout or StringIO(), sys.stderr or StringIO()
        be_ended_by_ctrl_c()
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
        tell_settled(console.as_json(failed))
    ctx.exit(ctx.meta.get("exit_of_error", error.exit))


def _as_json(ctx: click.Context, _: click.Parameter, value: bool) -> bool:
    ctx.meta["json"] = value
    return value


json_option = click.option(
    "--json", "as_json", is_flag=True, callback=_as_json, help="Print one JSON object on stdout."
)
dry_option = click.option("--dry-run", is_flag=True, help="Show what would be done, and change nothing.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask first.")
playbook_argument = click.argument("playbook", required=False)


def real_world(as_json: bool, yes: bool) -> RealWorld:
    from pathlib import Path

    from keyrotor import console, screen
    from keyrotor.boundary.process import keep_out_of_core_dumps
    from keyrotor.boundary.signals import Signals
    from keyrotor.world import RealWorld

    keep_out_of_core_dumps()
    asked = None if yes else ask
    shown: screen.Plain
    if as_json:
        shown = screen.Plain(sys.stderr, asked)
    elif console.is_terminal(sys.stdout) and os.environ.get("TERM") != "dumb":
        shown = screen.Live(sys.stdout, asked, colour="NO_COLOR" not in os.environ)
    else:
        shown = screen.Plain(sys.stdout, asked)
    stop = Signals(shown.say)
    stop.listen()
    try:
        folder = Path.cwd()
    except OSError:
        raise UsageError("cannot start: the current folder is gone", hint="cd  (to one that is there)") from None
    return RealWorld(dict(os.environ), folder, shown, stop)


def telling(
    world: RealWorld, verb: str, playbook: str | None, work: Callable[[], Report], *, by_run: bool = False
) -> Report:
    """What the command comes to; whoever is to hear of it is told. `by_run`: the run says of which playbook it is."""
    try:
        report = work()
    except (click.ClickException, click.exceptions.Exit, click.Abort):
        raise  # who was asked has gone: they know
    except Exception as error:
        from keyrotor import screen

        for note in _told(world, verb, playbook, error, by_run=by_run):
            screen.Plain(sys.stderr).say(f"note: {note}")
        raise
    return replace(report, notes=(*report.notes, *_told(world, verb, playbook, report, by_run=by_run)))


def _told(world: RealWorld, verb: str, playbook: str | None, ended: Report | Exception, *, by_run: bool) -> list[str]:
    if not by_run and not _names_somebody(world, playbook):
        return []
    from keyrotor.telling import Asked, after

    # A terminal's programs may have been started by systemd, too.
    is_alone = "INVOCATION_ID" in world.env and not any(map(_is_terminal, (sys.stdin, sys.stdout, sys.stderr)))
    try:
        return after(world, Asked(verb, playbook, by_run, is_alone), ended)
    except Exception as error:  # noqa: BLE001  the command is over, and what it came to stands
        return [f"cannot tell anybody: {internal(error)}"]


def _names_somebody(world: RealWorld, playbook: str | None) -> bool:
    """Whether the playbook may name somebody who is to be told: few do, and to tell costs 30 ms more."""
    from keyrotor import shelf

    try:
        return "notify" in shelf.find(playbook, world.folder, world.env).read_text()
    except (KeyrotorError, OSError, ValueError):
        return True  # then it is told of that


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and not stream.closed and stream.isatty()


def end(report: Report, as_json: bool) -> None:
    from keyrotor import console

    tell_settled(console.as_json(report) if as_json else console.last_word(report))
    sys.exit(report.exit)


def tell(said: Mapping[str, Any] | Iterable[str]) -> None:
    """The whole answer on stdout, one object or lines. Raises KeyrotorError where it cannot be written; a reader that
    has left is no fault of ours."""
    from keyrotor import console, screen

    if isinstance(said, Mapping):
        print_json(said)
    else:
        _write("".join(f"{screen.encodable(line, sys.stdout)}\n" for line in said))
    console.hang_up()


def tell_settled(said: Mapping[str, Any] | Iterable[str]) -> None:
    """The same, where it is settled how the command ends: the exit code tells that, and what cannot be written does not
    change it."""
    from keyrotor import screen

    try:
        tell(said)
    except KeyrotorError as error:
        screen.Plain(sys.stderr).say(f"keyrotor: {error}")


def end_install(intent: Intent | None, told: Installed, *, as_json: bool) -> NoReturn:
    """How an install or a removal ended; `intent` is what a dry run would do."""
    before = intent.lines if intent and not intent.is_none else ()
    tell(told.as_json() if as_json else (*before, *told.lines()))
    sys.exit(told.exit)


def print_json(found: object) -> None:
    """One object. Raises KeyrotorError where it cannot be written; a reader that left is no fault of ours."""
    import json

    answer = json.dumps(found, ensure_ascii=False, indent=2)
    if not _is_unicode(sys.stdout) or not _is_utf8(answer):
        answer = json.dumps(found, indent=2)  # all of it in ASCII
    _write(answer + "\n")


def _write(answer: str) -> None:
    try:
        print(answer, end="", flush=True)
    except BrokenPipeError:
        sys.stdout = StringIO()
    except OSError as error:
        sys.stdout = StringIO()
        raise KeyrotorError(f"cannot write the answer: {(error.strerror or '').lower()}") from None


def _is_unicode(out: TextIO) -> bool:
    return (getattr(out, "encoding", None) or "").lower().replace("-", "") == "utf8"


def _is_utf8(text: str) -> bool:
    """Whether it can be written as UTF-8: a file may be named with a byte that cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_interactive() -> bool:
    return sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()


def want_consent(can: bool, command: str) -> None:
    if not can:
        raise UsageError("cannot ask before the first effect: there is no terminal", hint=command)


def ask(question: str) -> bool:
    try:
        with interruptible():
            return click.confirm(question)
    except click.Abort:
        return False


def typed(question: str, **how: Any) -> str:
    """What a person types. Raises click.Abort for one who does not want to."""
    with interruptible():
        return str(click.prompt(question, **how))
