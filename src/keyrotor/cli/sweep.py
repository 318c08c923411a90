"""`sweep`: where a value has leaked."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from keyrotor.cli.shell import json_option, real_world, tell, typed

if TYPE_CHECKING:
    from pathlib import Path

    from keyrotor.screen import Plain
    from keyrotor.secret import Secret
    from keyrotor.world import RealWorld

    Told = Callable[[str, int, int], None]

_LARGEST = 64 * 1024  # bytes of a value that is given
_QUIET = 10.0  # seconds between two lines of what nobody watches


@click.command()
@click.argument("root", nargs=-1)
@click.option("--playbook", metavar="PLAYBOOK", help="Whose value; without it the only one there is.")
@click.option(
    "--value-from",
    type=click.Choice(("former", "current", "stdin")),
    default="former",
    show_default=True,
    help="Look for every value that closed runs have replaced and that is kept, the present one, or one that you give.",
)
@click.option("--files-only", is_flag=True, help="Leave out the journal and the processes.")
@json_option
def sweep(root: tuple[str, ...], playbook: str | None, value_from: str, files_only: bool, as_json: bool) -> None:
    """Look for a value, in every form, wherever it may have leaked (10). Writes nothing, prints nothing of it.

    In files below every ROOT (without one: the home, the project, folders for what is temporary), in every object of
    the git repositories there, in the systemd journal, and in the environments of processes.
    """
    given = _given() if value_from == "stdin" else None

    from keyrotor import screen
    from keyrotor import sweep as sweeping

    world = real_world(as_json, True)
    wish = sweeping.Wish(value_from, given, root, files_only)
    with _progress(world) as told:
        found = sweeping.look_for(world, playbook, wish, told)
    tell(found.as_json() if as_json else found.lines())
    if found.is_alive and not as_json:
        hint = "keyrotor incident open --reason …  (rotates at once, and proves the leaked key dead)"
        screen.Plain(sys.stderr).say(f"hint: {hint}")
    sys.exit(found.exit)


def _given() -> Secret:
    from keyrotor.boundary.plaintext import given

    if sys.stdin is not None and sys.stdin.isatty():
        return given(typed("Value to look for", hide_input=True).encode())
    return given(sys.stdin.buffer.read(_LARGEST) if sys.stdin is not None else b"")


@contextmanager
def _progress(world: RealWorld) -> Iterator[Callable[[Sequence[Path]], Told]]:
    """Makes what hears how the sweep goes on: a bar on a terminal, a line now and then for anybody else."""
    from keyrotor import console, screen

    err = screen.Deaf(sys.stderr)
    if not console.is_terminal(sys.stderr) or os.environ.get("TERM") == "dumb":
        yield lambda _: _lines(screen.Plain(sys.stderr))
        return

    from typing import IO, cast

    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn, TransferSpeedColumn

    shown = Console(file=cast("IO[str]", err), no_color="NO_COLOR" in os.environ, highlight=False)
    columns = (BarColumn(24), DownloadColumn(binary_units=True), TransferSpeedColumn(), TimeElapsedColumn())
    text = TextColumn("{task.description}", markup=False)
    with Progress(*columns, text, console=shown, transient=True, refresh_per_second=8) as bar:

        def made(roots: Sequence[Path]) -> Told:
            task = bar.add_task("counting files", total=None)
            _, size = world.weight(roots)
            bar.update(task, total=size)

            def told(what: str, files: int, done: int) -> None:
                # How much git and the journal hold nobody knows before.
                is_known = what in ("files", "processes")
                bar.update(task, completed=done, total=max(size, done) if is_known else None)
                bar.update(task, description=f"{files:,} files" if is_known else what)

            return told

        yield made


def _lines(out: Plain) -> Told:
    from keyrotor.sweep import as_size

    said = time.monotonic()

    def told(what: str, files: int, size: int) -> None:
        nonlocal said
        if time.monotonic() - said >= _QUIET:
            said = time.monotonic()
            out.say(f"looking through {what}: {files:,} files, {as_size(size)} so far")

    return told
