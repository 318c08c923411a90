"""All that there is and all that is to be made, in the order in which it is made.

The order: an identity before what is encrypted for it, the encrypted file before what is read from it, the playbook
before the env file, which it names. Whatever a run that was killed has left is what the next one finds and keeps.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from keyrotor import shelf
from keyrotor.boundary import files, writable
from keyrotor.boundary.git import root_of
from keyrotor.boundary.plaintext import seal_all
from keyrotor.boundary.process import found as program
from keyrotor.core.founding import Asked, State, Step, Survey, Thing
from keyrotor.errors import RefusedError
from keyrotor.founding import books, client, config, direnv, env_file, gateway, identity, keys, project, secret_file
from keyrotor.founding.config import Config
from keyrotor.founding.direnv import Shell
from keyrotor.founding.env_file import EnvFile
from keyrotor.founding.gateway import Gateway
from keyrotor.founding.ground import Book, Ground, is_same
from keyrotor.founding.identity import Identity
from keyrotor.founding.keys import KEYS, Known
from keyrotor.founding.secret_file import SecretFile
from keyrotor.secret import Secret

_NOT_FOR_GIT = ("identity", "env-file", "second-names")


def look(ground: Ground, asked: Asked, typed_in: Path) -> Survey:
    """Reads only. Raises RefusedError, PlaybookError for what cannot be told; once the encrypted file is known, what
    cannot be made is told by the survey."""
    _want_ground(ground)
    book = books.adopted(ground)
    shell = direnv.look(ground)
    path = secret_file.path_of(ground, book, shell.encrypted)
    try:
        return _Look(ground, asked, book, shell, path).survey(typed_in)
    except RefusedError as error:
        return Survey((), str(path), "", "", refused=error)


def _want_ground(ground: Ground) -> None:
    """Raises RefusedError where nothing can be made, or sops is missing or too old."""
    refusals = writable.absent_refusals(ground.folder / "any")
    if os.path.lexists(ground.folder) and not ground.folder.is_dir():
        refusals = [f"cannot make a lab in {ground.folder}: it is not a folder"]
    if refusals:
        raise RefusedError(refusals[0].replace(f"{ground.folder / 'any'}", f"a lab in {ground.folder}"))
    if above := ground.lab_of(ground.folder):
        hint = f"keyrotor bootstrap {shlex.quote(str(above))}"
        raise RefusedError(f"cannot make a lab in {ground.folder}: it is inside of the lab in {above}", hint=hint)
    ground.sops("").want_version()


class _Look:
    """One look at everything, part by part."""

    def __init__(self, ground: Ground, asked: Asked, book: Book | None, shell: Shell, path: Path) -> None:
        self.ground, self.asked, self.book, self.shell, self.path = ground, asked, book, shell, path
        self.where = books.path_of(ground, book)
        self.name = book.playbook.name if book else books.NAME
        has_others = shelf.has_others(self.where, ground.folder, ground.env)
        self.named = f" {shlex.quote(self.where.stem)}" if has_others else ""
        self.install = f"keyrotor service install{self.named}"

    def survey(self, typed_in: Path) -> Survey:
        """Raises RefusedError."""
        ground, book = self.ground, self.book
        found = gateway.look(ground, self.asked, book)
        others = self.shell.of_others(self.path)
        read = env_file.look(ground, found.env_files, self.shell.env_files, others)
        conf = config.look(ground, found)
        who = identity.look(ground, self.asked, book.playbook.source.identity if book else "")
        who = identity.of_existing(who, self.path, self.asked) if ground.exists(self.path) else who
        rules = project.rules(ground, who, self.path, self.asked.again)
        if not ground.exists(self.path) and rules.make is None:
            secret_file.want_rules_that_work(ground, self.path, who)
        own = secret_file.held(ground, self.path, who)
        known = self._known(own, found, read, conf)
        secret = secret_file.look(ground, self.path, own, known, who, (self._audit, self.asked.again))
        envs = [env_file.at(ground, each) for each in book.paths("env-file")] if book else read[:1]
        steps = self._steps(found, envs, conf, who, rules, secret)
        _want_writable(ground, steps)
        steps = [*_second_names(ground, steps), *steps]
        return Survey(tuple(steps), str(self.path), found.host, found.why, self._next(found, steps, typed_in))

    @property
    def _audit(self) -> str:
        if self.book:
            return f"keyrotor audit {self.name}  (tells which one the gateway runs with; then put that one into both)"
        return f"leave the one that the gateway runs with, in both; then: {self.asked.again}"

    def _known(self, own: dict[str, Secret], found: Gateway, read: Sequence[EnvFile], conf: Config) -> Known:
        """All that is seen anywhere, the encrypted file first. What a shell has may be of before the last rotation:
        it counts only where there is nothing else."""
        ground = self.ground
        known = keys.sealed(ground.typed(self.path), own, is_adopted=True)
        for each in read:
            known += env_file.known(ground, each)
        known += conf.known + found.known + self.shell.known
        known += secret_file.elsewhere(ground, self.path, self.shell.encrypted)
        variables = {name: text for name, text in ground.env.items() if text}
        for key in KEYS:
            if key in variables and key not in own:
                known += keys.sealed(f"the variable ${key} of this shell", seal_all({key: variables[key]}))
        return known + Known(variables=frozenset(variables))

    def _steps(
        self, found: Gateway, envs: Sequence[EnvFile], conf: Config, who: Identity, rules: Step, secret: SecretFile
    ) -> list[Step]:
        ground, book, where = self.ground, self.book, self.where
        droid = client.entries(ground, found.url, secret.present)
        names = secret.keys if book else (*secret.keys, *secret.others)
        return [
            who.step,
            rules,
            *secret.steps,
            project.attributes(ground),
            project.ignored(ground),
            *(direnv.step(ground, self.shell, each.path, who) for each in envs[:1]),
            config.step(ground, conf),
            books.step(ground, book, found, conf.path, secret, envs, who, client.uncovered(ground, droid)),
            *(env_file.step(ground, each, names, secret.present, where, self.name) for each in envs),
            *([] if envs else [env_file.unnamed(ground.typed(where))]),
            books.incident_step(ground, self.name),
            client.step(ground, found.url, conf.path, droid, self.name),
            found.step(self.install),
        ]

    def _next(self, found: Gateway, steps: Sequence[Step], typed_in: Path) -> tuple[str, ...]:
        """The commands that a person types next."""
        things = [step.thing for step in steps]
        commands = [f"cd {shlex.quote(str(self.ground.folder))}"] if self.ground.folder != typed_in else []
        commands += _to_commit(self.ground, steps, self.path)
        is_new_shell = any(thing.id == "envrc" and thing.state is State.MAKE for thing in things)
        commands += ["direnv allow"] if is_new_shell and program("direnv", self.ground.env) else []
        by_hand = [thing for thing in things if thing.state is State.BY_HAND and thing.mend != self.install]
        commands += dict.fromkeys(each.mend for each in by_hand if each.mend.startswith("keyrotor env "))
        if found.host == "systemd" and not found.is_there:
            commands.append(self.install)
        elif found.host == "systemd" and not found.has_socket and found.scope == "user":
            commands.append(f"{self.install} --replace")
        commands.append(f"keyrotor doctor{self.named}")
        return (*commands, *([] if by_hand else [f"keyrotor rotate{self.named}"]))


def _to_commit(ground: Ground, steps: Sequence[Step], secret: Path) -> list[str]:
    """What makes git keep what is made, and the encrypted file: each by its name, and nothing that was there, for that
    may hold a value in clear."""
    made = [Path(step.path) for step in steps if step.path and step.thing.id not in _NOT_FOR_GIT]
    inside = [path for path in dict.fromkeys([*made, secret]) if path.is_relative_to(ground.folder)]
    names = [str(path.relative_to(ground.folder)) for path in inside] if made else []
    repository = root_of(ground.folder / "any") if ground.folder.is_dir() else None
    ignored = ground.ignored(names) if repository and names else frozenset()
    words = " ".join(shlex.quote(name) for name in names if name not in ignored)
    init = "" if repository else "git init && "
    return [f"{init}git add {words} && git commit -m 'a lab'"] if words else []


def _want_writable(ground: Ground, steps: Sequence[Step]) -> None:
    """Raises RefusedError where a file could not be made: nothing is, then."""
    for path in (Path(step.path) for step in steps if step.make and step.path):
        refusals = writable.refusals(path) if ground.exists(path) else writable.absent_refusals(path)
        if refusals:
            raise RefusedError(refusals[0])


def _second_names(ground: Ground, steps: Sequence[Step]) -> list[Step]:
    """A run that was killed between giving a new file its name and taking away the one it was written under left it
    with both."""
    paths = [ground.absolute(step.thing.label) for step in steps]
    twins = [files.sibling_of(path) for path in paths if is_same(path, files.sibling_of(path))]

    def make() -> None:
        for twin in twins:
            files.remove(twin)

    label = ", ".join(map(ground.typed, twins))
    return [Step(Thing("second-names", label, State.MAKE, "removed: a killed run left it"), make)] if twins else []
