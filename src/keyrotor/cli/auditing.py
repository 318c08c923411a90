"""`audit`: what is wrong with the places that a playbook names."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from keyrotor.cli.shell import json_option, real_world, tell
from keyrotor.errors import Exit, PlaceError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from keyrotor.core.audited import Audited
    from keyrotor.core.findings import Severity
    from keyrotor.ports import World

LEVELS = ("low", "medium", "high", "never")
_COLOURS = {"low": "cyan", "medium": "yellow", "high": "red"}


def _metrics_file(_: click.Context, __: click.Parameter, given: str | None) -> Path | None:
    """The path, if it can be meant: it will be replaced. Raises UsageError."""
    if given is None:
        return None
    from pathlib import Path

    hint = "keyrotor audit --prometheus /var/lib/prometheus/node-exporter/keyrotor.prom"
    if not given.endswith(".prom"):
        raise UsageError(f"cannot write {given}: the textfile collector reads names that end in .prom", hint=hint)
    path = Path(os.path.abspath(given))
    if os.path.exists(path) and not _is_ours(path):
        raise UsageError(f"cannot write {given}: it is there already, and holds no metrics of ours", hint=hint)
    return path


def _is_ours(path: Path) -> bool:
    from keyrotor import metrics
    from keyrotor.boundary import files

    if not os.path.isfile(path):  # a device is not even opened
        return False
    try:
        return metrics.is_ours(files.look(path).data)
    except PlaceError:
        return False


@click.command()
@click.argument("playbook", nargs=-1)
@click.option(
    "--fail-on",
    type=click.Choice(LEVELS),
    default="low",
    show_default=True,
    help="End with 10 only for what is as bad as this, or worse.",
)
@click.option("--prometheus", metavar="FILE", callback=_metrics_file, help="Write metrics for the textfile collector.")
@json_option
def audit(playbook: tuple[str, ...], fail_on: str, prometheus: Path | None, as_json: bool) -> None:
    """Look at every place that holds the key, and at what surrounds it. Touches nothing.

    Without a PLAYBOOK: all of the project's, or the only one there is.
    """
    import gc

    gc.disable()  # it ends soon: collecting on the way costs a tenth of the whole, most of it while modules are read
    from keyrotor import audit as auditing
    from keyrotor import screen, verdicts

    world = real_world(as_json, True)
    audited = auditing.audit(world, playbook)
    code = verdicts.exit_of(audited, fail_on)
    failed = _published(world, prometheus, audited) if prometheus else ""
    if failed:
        screen.Plain(sys.stderr).say(f"keyrotor: {failed}")
        code = Exit.FAILED
    tell(verdicts.as_json(audited, code) if as_json else verdicts.lines_of(audited, _paint))
    sys.exit(code)


def _published(world: World, file: Path, audited: list[Audited]) -> str:
    """Why the metrics could not be written; "" if they are."""
    from keyrotor import metrics

    try:
        world.publish(file, metrics.text_of(audited))
    except PlaceError as error:
        return str(error)
    return ""


def _paint(severity: Severity, word: str) -> str:
    is_plain = "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb" or not sys.stdout.isatty()
    return word if is_plain else click.style(word, fg=_COLOURS[severity], bold=True)
