"""`healthcheck`: how the gateway and what is behind it are."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import click

from keyrotor.cli.shell import json_option, playbook_argument, real_world, tell
from keyrotor.errors import UsageError


@click.command()
@playbook_argument
@click.option("--redis", metavar="URL", help="Ping this redis too: redis://, rediss:// or unix://.")
@click.option("--redis-password", metavar="KEY", help="The key of the encrypted file that holds redis' password.")
@click.option("--backends", is_flag=True, help="Ask every backend of the gateway's catalogue, and check fallbacks.")
@click.option("--catalogue", type=click.Path(path_type=Path), metavar="FILE", help="Another catalogue; --backends too.")
@click.option("--within", default="20s", show_default=True, help="What has not answered by then is ill.")
@json_option
def healthcheck(
    playbook: str | None,
    redis: str | None,
    redis_password: str | None,
    backends: bool,
    catalogue: Path | None,
    within: str,
    as_json: bool,
) -> None:
    """Ask the gateway without a key, with a bogus one and with the present one. Writes nothing."""
    from keyrotor import checklist, console
    from keyrotor import healthcheck as asking
    from keyrotor.core import checkup
    from keyrotor.core.due import seconds
    from keyrotor.ports import Wanted
    from keyrotor.secret import Secret

    if not (allowed := seconds(within)):
        raise UsageError(f"cannot read the duration {within!r}: write a number with s, m, h, d or w")
    for option, given in (("--redis", redis), ("--redis-password", redis_password)):
        if given is not None and not given.strip():
            raise UsageError(f"cannot use {option} without anything behind it", hint="is its variable set?")
    if redis_password and not redis:
        raise UsageError(
            "cannot use --redis-password alone", hint=f"add --redis URL to --redis-password {redis_password}"
        )
    world = real_world(as_json, True)
    wanted = Wanted(
        within=allowed,
        redis=Secret(redis.encode("utf-8", "surrogateescape")) if redis is not None else None,
        redis_password=redis_password or "",
        backends=backends or catalogue is not None,
        catalogue=world.folder / catalogue if catalogue else None,
    )
    progress = _progress() if console.is_terminal(sys.stderr) and not as_json else _silent
    book, lines = asking.healthcheck(world, playbook, wanted, progress)
    tell(checkup.as_json(lines, playbook=book.name) if as_json else checklist.lines_of(lines, "all is well"))
    sys.exit(checkup.exit_of(lines))


def _silent(_done: int, _all: int) -> None: ...


def _progress() -> Callable[[int, int], None]:
    """A line on standard error that tells how many have answered, and is gone when all have."""
    from keyrotor.screen import Deaf

    err = Deaf(sys.stderr)

    def told(done: int, every: int) -> None:
        err.write("\r\x1b[K" if done == every else f"\r{done} of {every} have answered")
        err.flush()

    return told
