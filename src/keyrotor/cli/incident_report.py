"""`incident report`: what the record knows of an incident, as a page."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import click

from keyrotor.cli.shell import json_option, print_json, real_world, tell
from keyrotor.errors import UsageError

_SUFFIXES = {".html": "html", ".htm": "html", ".md": "md", ".markdown": "md", ".json": "json"}


@click.command()
@click.argument("case", metavar="[INCIDENT]", required=False)
@click.option(
    "--format",
    "form",
    type=click.Choice(["html", "md", "json"]),
    help="What it is written in; else what FILE ends in, or Markdown.",
)
@click.option(
    "--out",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write it into a private file; replaces another report and no other file.",
)
@json_option
def report(case: str | None, form: str | None, out: Path | None, as_json: bool) -> None:
    """Tell all that is known of the INCIDENT, or of the newest one, and all that is not. Touches nothing but FILE."""
    form = form or _form_of(out)

    from keyrotor import inquest

    world = real_world(as_json or form == "json", True)
    found = inquest.report(world, case)
    if out is not None:
        file = Path(os.path.abspath(world.folder / out.expanduser()))
        inquest.save(world, found, form, file)
    if as_json or (form == "json" and out is None):
        print_json(inquest.as_json(found))
    elif out is None:
        tell(inquest.rendered(found, form).splitlines())
    else:
        tell([f"the report of {found.id} is in {file}"])
    sys.exit(0)


def _form_of(out: Path | None) -> str:
    """What a file of that name is written in. Raises UsageError where its name does not tell."""
    if out is None:
        return "md"
    form = _SUFFIXES.get(out.suffix.lower())
    if form is None:
        hint = f"keyrotor incident report --format html --out {shlex.quote(str(out))}"
        raise UsageError(f"cannot tell from its name what {out} is to be written in", hint=hint)
    return form
