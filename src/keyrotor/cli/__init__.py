"""The commands: parse, call one use case, print, exit. Holds the only `except KeyrotorError`.

Only click is imported here; each command imports what it needs, so that `keyrotor --version` costs little
more than click itself.
"""

from __future__ import annotations

import click

from keyrotor import __version__
from keyrotor.cli.auditing import audit
from keyrotor.cli.bootstrap import bootstrap
from keyrotor.cli.demo import demo
from keyrotor.cli.doctor import doctor
from keyrotor.cli.env import env
from keyrotor.cli.exec import exec_
from keyrotor.cli.healthcheck import healthcheck
from keyrotor.cli.planning import plan
from keyrotor.cli.record import log, status
from keyrotor.cli.repair import repair
from keyrotor.cli.running import abandon, forget, resume, rollback, rotate
from keyrotor.cli.service import service
from keyrotor.cli.shell import Commands


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="keyrotor")
def main() -> None:
    """Rotate a sops-managed key through every place that holds it, or put all of them back.

    Exit codes: 0 done · 1 failed, nothing changed · 2 usage or playbook · 3 refused by preflight · 10 findings ·
    20 rolled back, old key proven · 21 stuck · 22 interrupted, resume owed · 23 old key not proven dead ·
    30 another run holds the lock.
    """


for command in (
    *(rotate, plan, repair, resume, rollback, abandon, forget, status, log),
    *(audit, doctor, healthcheck, demo, bootstrap, service, env, exec_),
):
    main.add_command(command)
