"""All that there is and all that is to be made, in the order in which it is made.

The order: an identity before what is encrypted for it, the encrypted file before what is read from it, the playbook
before the env file, which it names. Whatever a run that was killed has left is what the next one finds and keeps.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from keyrotor.boundary import files, writable
from keyrotor.boundary.git import root_of
from keyrotor.boundary.process import found as program
from keyrotor.core.founding import MASTER, Asked, State, Step, Survey, Thing
from keyrotor.errors import FormatError, RefusedError
from keyrotor.formats import envrc, gateway_config
from keyrotor.founding import books, client, env_file, gateway, identity, project, secret_file
from keyrotor.founding.gateway import Gateway
from keyrotor.founding.ground import Book, Ground, is_same

_SECRET_FILE = "secrets/global.enc.env"  # noqa: S105  a path
_OURS = (".sops.yaml", ".gitattributes", ".gitignore", ".envrc", ".factory/settings.json")
_FOLDERS = ("secrets", "playbooks")


def look(ground: Ground, asked: Asked, typed_in: Path) -> Survey:
    """Reads only. Raises RefusedError for what cannot be made here, or cannot be opened."""
    _want_ground(ground)
    book = books.adopted(ground)
    home, shell = str(ground.home), ground.text(ground.folder / ".envrc")
    decrypting = envrc.decrypting(shell, home)
    found = gateway.look(ground, asked, book)
    told = [*(each.target for each in decrypting), *envrc.loaded(shell, home)]
    env = env_file.look(ground, found.env_files, [each for each in told if "$" not in each])
    who = identity.look(ground, asked, book.playbook.source.identity if book else "")
    path = _secret_file(ground, book, [each.encrypted for each in decrypting])
    who = identity.of_existing(who, path) if files.exists(path) else who
    rules = project.rules(ground, who, path)
    secret = secret_file.look(ground, path, found, env, who)
    droid = client.entries(ground, found.url, secret.present)
    name = book.playbook.name if book else books.NAME
    where = books.path_of(ground, book)
    envs = [env_file.at(ground, each) for each in book.paths("env-file")] if book else [env]
    steps = [
        who.step,
        rules,
        *secret.steps,
        project.attributes(ground),
        project.ignored(ground),
        *(project.shell(ground, each.path, who) for each in envs[:1]),
        project.config(ground, found, _reasons(ground, found)),
        books.step(ground, book, found, secret, env, who, client.uncovered(ground, droid)),
        *(env_file.step(ground, each, secret.keys, secret.present, where, name) for each in envs),
        *([] if envs else [env_file.unnamed(ground.typed(where))]),
        books.incident_step(ground, name),
        client.step(ground, found, droid, name),
        found.step,
    ]
    steps = [*_second_names(ground, steps), *steps]
    return Survey(tuple(steps), str(path), found.host, found.why, _next(ground, found, steps, typed_in))


def _second_names(ground: Ground, steps: list[Step]) -> list[Step]:
    """A run that was killed between giving a new file its name and taking away the one it was written under left it
    with both."""
    paths = [ground.absolute(step.thing.label) for step in steps]
    twins = [files.sibling_of(path) for path in paths if is_same(path, files.sibling_of(path))]

    def make() -> None:
        for twin in twins:
            files.remove(twin)

    label = ", ".join(map(ground.typed, twins))
    return [Step(Thing("second-names", label, State.MAKE, "removed: a killed run left it"), make)] if twins else []


def _want_ground(ground: Ground) -> None:
    """Raises RefusedError where nothing can be made, or sops is missing or too old."""
    refusals = writable.absent_refusals(ground.folder / "any")
    if os.path.lexists(ground.folder) and not ground.folder.is_dir():
        refusals = [f"cannot make a lab in {ground.folder}: it is not a folder"]
    if refusals:
        raise RefusedError(refusals[0].replace(f"{ground.folder / 'any'}", f"a lab in {ground.folder}"))
    ground.sops("").want_version()


def _secret_file(ground: Ground, book: Book | None, told: list[str]) -> Path:
    """The encrypted file: the playbook's, the usual one, the one that `.envrc` decrypts, or one that has the key."""
    if book:
        return Path(book.playbook.source.file)
    usual = ground.folder / _SECRET_FILE
    candidates = [usual, *(ground.absolute(text) for text in told if text and "$" not in text)]
    candidates += sorted((ground.folder / "secrets").glob("*.enc.env"))
    there = [path for path in candidates if files.exists(path)]
    named = [path for path in there if f"{MASTER}=".encode() in (ground.read(path) or b"")]
    if usual in there:
        return usual
    return (named or there[:1] or [usual])[0]


def _reasons(ground: Ground, found: Gateway) -> list[str]:
    """Why the gateway would not take the key from the environment; a salt that is missing has a line of its own."""
    assert found.config is not None
    data = ground.read(found.config)
    if data is None:
        return []
    try:
        config = gateway_config.read(data, str(found.config), lambda at: ground.read(Path(at)))
    except FormatError as error:
        return [f"cannot read it: {error}"]
    has_database = not found.sets.isdisjoint(gateway_config.DATABASE_VARIABLES)
    return config.refusals(MASTER, has_database=has_database, has_salt=True)


def _next(ground: Ground, found: Gateway, steps: list[Step], typed_in: Path) -> tuple[str, ...]:
    """The commands that a person types next."""
    commands = []
    if ground.folder != typed_in:
        commands.append(f"cd {shlex.quote(str(ground.folder))}")
    made = [step.thing.label for step in steps if step.thing.state is State.MAKE]
    assert found.config is not None
    names = [*_OURS, *_FOLDERS, ground.typed(found.config)]
    ours = " ".join(
        shlex.quote(name) for name in names if name in made or name in _FOLDERS or files.exists(ground.folder / name)
    )
    repository = root_of(ground.folder / "any") if files.exists(ground.folder) else None
    if repository is None:
        commands.append(f"git init && git add {ours} && git commit -m 'a lab'")
    elif any(step.thing.state is State.MAKE for step in steps):
        commands.append(f"git add {ours} && git commit -m 'a lab'")
    if program("direnv", ground.env):
        commands.append("direnv allow")
    if found.host == "systemd" and not found.is_there:
        commands.append("keyrotor service install")
    return (*commands, "keyrotor doctor", "keyrotor rotate")
