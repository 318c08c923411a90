"""`demo`: a rotation, and one that rolls back, in a throw-away lab."""

from __future__ import annotations

import sys

import click


@click.command()
@click.option("--gateway", type=click.Choice(["embedded", "litellm"]), default="embedded", show_default=True)
@click.option("--litellm", "program", envvar="KEYROTOR_LITELLM", help="The litellm program, for --gateway litellm.")
@click.option("--keep", is_flag=True, help="Leave the lab's folder behind.")
def demo(gateway: str, program: str | None, keep: bool) -> None:
    """A whole rotation in a throw-away lab, and one whose gateway never comes back and which rolls back."""
    from keyrotor import shipped
    from keyrotor.boundary.signals import interruptible
    from keyrotor.demo import story

    with interruptible():
        sys.exit(story.tell(gateway, program, keep, shipped.rules()))
