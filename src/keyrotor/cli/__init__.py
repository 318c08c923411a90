"""The commands: parse, call one use case, print, exit. Holds the only `except KeyrotorError`.

Only click is imported here, and the one command that is asked for; that imports what it needs. So `keyrotor --version`
costs little more than click itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module

import click

from keyrotor import __version__
from keyrotor.cli.shell import Commands

# Where each command is, in its module and under its name there; it is imported once it is asked for.
_HOMES = {
    **dict.fromkeys(("rotate", "resume", "rollback", "abandon", "forget"), "running"),
    **dict.fromkeys(("status", "log", "done"), "record"),
    "plan": "planning",
    "repair": "repair",
    "audit": "auditing",
    "doctor": "doctor",
    "healthcheck": "healthcheck",
    "demo": "demo",
    "bootstrap": "bootstrap",
    "service": "service",
    "timer": "timer",
    "due": "due",
    "env": "env",
    "exec": "exec",
    "print-key": "print_key",
    "clients": "clients",
    "sweep": "sweep",
    "notify": "notify",
    "incident": "incident",
}


class _OnDemand(Mapping[str, click.Command]):
    """The commands by their names."""

    def __getitem__(self, name: str) -> click.Command:
        own = "exec_" if name == "exec" else name.replace("-", "_")
        found = getattr(import_module(f"keyrotor.cli.{_HOMES[name]}"), own)
        assert isinstance(found, click.Command)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(_HOMES)

    def __len__(self) -> int:
        return len(_HOMES)


@click.group(
    cls=Commands,
    commands=_OnDemand(),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="keyrotor")
def main() -> None:
    """Rotate a sops-managed key through every place that holds it, or put all of them back.

    Exit codes: 0 done · 1 failed, nothing changed · 2 usage or playbook · 3 refused by preflight · 10 findings ·
    20 rolled back, old key proven · 21 stuck · 22 interrupted, resume owed · 23 old key not proven dead ·
    30 another run holds the lock.
    """
