"""`plan`: what a rotation would do."""

from __future__ import annotations

import sys

import click

from keyrotor.cli.shell import json_option, playbook_argument, print_json, real_world


@click.command()
@playbook_argument
@json_option
def plan(playbook: str | None, as_json: bool) -> None:
    """Show what a rotation would do, after the same preflight. Touches nothing."""
    from keyrotor import app, screen

    world = real_world(as_json, True)
    book, ready, owed = app.plan_rotation(world, playbook)
    if as_json:
        rows = [{"id": r.id, "kind": r.kind, "act": r.act, "label": r.label} for r in ready.rows]
        print_json(
            {"schema": 1, "playbook": book.name, "places": rows, "skipped": dict(ready.skipped), "owed": owed or None}
        )
        return
    out = screen.Plain(sys.stdout)
    out.planned(book, ready.rows)
    out.say(f"First run {owed} must be finished: keyrotor resume {owed}" if owed else "A rotation can run.")
    out.say("Nothing was changed.")
