"""The use case `healthcheck`: ask the doors of a playbook, and what is behind them, how they are."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from keyrotor import playbook, shelf
from keyrotor.core import plan
from keyrotor.core.checkup import Line, State
from keyrotor.core.model import Act, Playbook
from keyrotor.errors import PlaceError, RefusedError, UsageError
from keyrotor.ports import Wanted, World


def healthcheck(
    world: World, name: str | None, wanted: Wanted, told: Callable[[int, int], None]
) -> tuple[Playbook, list[Line]]:
    """A line for each thing asked. `told` hears how many of how many have answered. Raises UsageError, PlaybookError.

    `wanted.within` is the time for all of it, from now on. A file that cannot be decrypted is an ill line like any
    other: all that needs no value is asked all the same.
    """
    began = time.monotonic()
    book = playbook.load(shelf.find(name, world.folder, world.env), world.env)
    doors = [row for row in plan.rows(book) if row.act is Act.ADMIT]
    if not doors:
        hint = "give it a [[place]] of kind litellm, or name another playbook"
        raise UsageError(f"cannot ask {book.name}: it has no litellm place, so there is no door to knock at", hint=hint)
    if wanted.backends and not wanted.catalogue and not any(row.options["config"] for row in doors):
        hint = "keyrotor healthcheck --catalogue FILE"
        raise UsageError(f"cannot ask the backends of {book.name}: its litellm place names no config", hint=hint)
    if wanted.redis_password in (book.source.key, "LITELLM_SALT_KEY", "LITELLM_MASTER_KEY"):
        hint = "name the key of the encrypted file that holds redis' own password"
        raise UsageError(f"cannot send {wanted.redis_password} to redis: it is the gateway's own", hint=hint)
    values, lines = None, []
    world.hurry(wanted.within / 2)  # an identity that waits for a touch leaves time for what needs no value
    try:
        _, values = world.read_secret(book.source)
    except (PlaceError, RefusedError) as error:
        lines = [Line(Path(book.source.file).name, State.ILL, str(error), error.hint)]
    left = max(0.0, began + wanted.within - time.monotonic())
    world.hurry(left)
    return book, [*lines, *world.health(book, values, replace(wanted, within=left), told)]
