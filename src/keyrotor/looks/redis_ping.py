"""Redis as a healthcheck asks it: does it answer, and does it let us in."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from keyrotor.boundary import redis_server
from keyrotor.boundary.http import Asking
from keyrotor.boundary.redis_server import Server
from keyrotor.core.checkup import Line, State
from keyrotor.ports import Wanted
from keyrotor.secret import Secret


@dataclass(frozen=True, slots=True)
class Redis:
    server: Server

    async def lines(self, _: Asking) -> list[Line]:
        pinged = await redis_server.ping(self.server)
        state = State.ILL if pinged.fault else State.WELL
        return [Line("redis", state, f"{self.server.shown}: {pinged.fault or 'answers'}", pinged.mend)]

    def late(self, allowed: float) -> list[Line]:
        return [Line("redis", State.ILL, f"{self.server.shown}: no answer within {round(allowed, 1):g} s")]


def asks(wanted: Wanted, values: Mapping[str, Secret] | None, file: Path) -> list[Redis | Line]:
    """What is to be asked, if anything, or why it cannot be; `values` None where nothing could be decrypted."""
    if wanted.redis is None:
        return []
    server, key = redis_server.server(wanted.redis), wanted.redis_password
    if server is None:
        return [Line("redis", State.ILL, "cannot read the address; it is like redis://USER:PASSWORD@HOST:6379/0")]
    if not key:
        return [Redis(server)]
    if values is None:
        return [Line("redis", State.SKIPPED, f"{server.shown}: not asked: {key} could not be decrypted")]
    if key not in values:
        mend = f"sops edit {shlex.quote(str(file))}  (add {shlex.quote(key)}=…)"
        return [Line("redis", State.ILL, f"{server.shown}: not asked: no {key} in the encrypted file", mend)]
    return [Redis(replace(server, password=values[key]))]
