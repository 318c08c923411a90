"""What a lab is made on, put together for `bootstrap`. Imported by that command only."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path

from keyrotor import playbook
from keyrotor.boundary import generate, keychain, machine
from keyrotor.boundary.sops import Sops
from keyrotor.core import plan
from keyrotor.core.founding import MASTER, Asked, Survey
from keyrotor.core.model import Value
from keyrotor.errors import UsageError
from keyrotor.founding import survey as surveying
from keyrotor.founding.ground import Ground
from keyrotor.places.env_file import EnvFile
from keyrotor.secret import Pair, Secret
from keyrotor.world.parts import Parts


def survey(parts: Parts, asked: Asked, now: datetime) -> Survey:
    """A lab in the wished folder, as it is and as it is to be."""
    ground = Ground(
        folder=Path(asked.folder),
        home=_home(parts),
        env=parts.env,
        now=now,
        processes=parts.processes,
        manager=parts.manager,
        sops=lambda source: Sops(parts.processes, parts.env, keychain.identity(source)),
        materialise=partial(_materialise, parts),
        may_stand=_may_stand,
        tracked=lambda path: bool(parts.repository(path).tracked([Path(os.path.realpath(path))])),
        ignored=lambda names: parts.repository(Path(asked.folder) / "any").ignored(names),
        is_macos=machine.is_macos(),
        user_id=machine.user_id(),
    )
    return surveying.look(ground, asked, parts.folder)


def _home(parts: Parts) -> Path:
    home = parts.env.get("HOME", "")  # sops needs it as well
    if not os.path.isabs(home):
        raise UsageError("cannot tell where the age identity is to be: there is no HOME", hint="export HOME=…")
    return Path(os.path.normpath(home))


def _may_stand(name: str, secret: Secret) -> bool:
    """Whether an env file may have this value under this name, so that all who read it read the same."""
    return not EnvFile(Path("/absent") / "any", MASTER, (name,)).compared({name: secret}).unwritable


def _materialise(parts: Parts, path: Path) -> None:
    """The env files of this playbook, by the places' own put, with what the encrypted file holds now."""
    book = playbook.load(path, parts.env)
    source, rows = book.source, plan.rows(book)
    values = parts.encrypted(source).values()
    present = Pair.read(values, source.key, Secret(generate.bogus_key()))
    pair = Pair(present.new, present.old, present.siblings)  # what is put is the present value
    absent = [
        replace(row, options={**row.options, "keys": [key for key in row.options["keys"] if key in values]})
        for row in rows
        if row.kind == "env-file" and not os.path.exists(row.options["path"])
    ]  # a salt that a person has yet to set is no reason to leave the gateway without its key
    for place in parts.places(absent, source, {}, parts.state).values():
        place.put(Value.NEW, pair)
