"""`audit`: what is wrong with the places that a playbook names."""

from __future__ import annotations

import sys

import click

from keyrotor.cli.shell import json_option, print_json, real_world
from keyrotor.errors import Exit


@click.command()
@click.argument("playbook", nargs=-1)
@json_option
def audit(playbook: tuple[str, ...], as_json: bool) -> None:
    """Look at every place that holds the key, and at what surrounds it. Touches nothing."""
    from dataclasses import asdict

    from keyrotor import audit as auditing

    audited = auditing.audit(real_world(as_json, True), playbook)
    findings = [finding for one in audited for finding in one.findings]
    if as_json:
        print_json({"schema": 1, "findings": [asdict(finding) for finding in findings]})
    else:
        for finding in findings:
            click.echo(f"{finding.severity}  {finding.place}: {finding.text}")
    sys.exit(Exit.FINDINGS if findings else Exit.DONE)
