"""`.envrc`: what it tells of the lab, and the one that is made where there is none."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from keyrotor.core.founding import MASTER, State, Step, Thing
from keyrotor.errors import RefusedError
from keyrotor.formats import envrc
from keyrotor.formats.envrc import Decrypting, Named
from keyrotor.founding import keys
from keyrotor.founding.ground import Ground
from keyrotor.founding.identity import Identity
from keyrotor.founding.keys import Known
from keyrotor.texts import project as texts

_NAME = ".envrc"
_HARM = "it decrypts into the env file at every prompt: a decrypt that fails empties it, and a rollback is undone"


@dataclass(frozen=True, slots=True)
class Shell:
    """What it says. Paths are absolute."""

    is_there: bool
    env_files: tuple[Path, ...]  # that it writes or loads
    loaded: tuple[Path, ...]
    encrypted: tuple[Path, ...]
    written: tuple[tuple[Path | None, Path], ...]  # what is decrypted into which file
    harmful: tuple[Decrypting, ...]
    known: Known

    def of_others(self, secret_file: Path) -> tuple[Path, ...]:
        """The files that it makes from other encrypted files: no env files of this one, though a key may be in them."""
        return tuple(target for encrypted, target in self.written if encrypted not in (None, secret_file))


def look(ground: Ground) -> Shell:
    """Raises RefusedError where a file that it names cannot be told."""
    data = ground.read(ground.folder / _NAME)
    text = (data or b"").decode(errors="replace")
    variables = {**ground.env, "HOME": str(ground.home), "PWD": str(ground.folder)}
    decrypting, loaded = envrc.decrypting(text, variables), envrc.loaded(text, variables)
    into = [Named(each.line, each.target) for each in decrypting if each.target != ""]
    from_ = [Named(each.line, each.encrypted) for each in decrypting if each.encrypted != ""]
    sourced = envrc.sourced(text, variables)
    doubts = [f"{_NAME}:{each.line} runs a file that cannot be told" for each in sourced if each.path is None]
    doubts += [f"{_NAME}:{each.line} decrypts what cannot be told" for each in decrypting if each.encrypted == ""]
    known = Known(doubts=tuple(doubts))
    for said in envrc.assigned(text, variables):
        if said.value != "":
            known += keys.literals(f"{_NAME}:{said.line}", {said.name: said.value})
    return Shell(
        data is not None,
        _paths(ground, [*into, *loaded, *(each for each in sourced if each.path is not None)]),
        _paths(ground, loaded),
        _paths(ground, from_),
        tuple(
            (ground.absolute(each.encrypted) if each.encrypted else None, ground.absolute(each.target))
            for each in decrypting
            if each.target
        ),
        tuple(each for each in decrypting if each.target != ""),
        known,
    )


def _paths(ground: Ground, named: list[Named]) -> tuple[Path, ...]:
    for each in named:
        if each.path is None:
            why = "it depends on what is not known here"
            hint = "write the path out, or: export the variable in it, and try again"
            raise RefusedError(f"cannot tell which file {_NAME}:{each.line} means: {why}", hint=hint)
    return tuple(dict.fromkeys(ground.absolute(each.path) for each in named if each.path))


def step(ground: Ground, found: Shell, env_file: Path, identity: Identity) -> Step:
    """Makes it where it is absent; nothing that stands in one that is there is shown, for it may be a value."""
    line = texts.envrc_line(str(env_file), str(ground.home))
    if not found.is_there:
        text = texts.envrc(str(env_file), str(ground.home), identity.exports)
        return ground.new_file("envrc", ground.folder / _NAME, text, "loads the env file by direnv")
    if found.harmful:
        first, *others = (each.line for each in found.harmful)
        told = [f"{_NAME}:{first}: the command that decrypts (sops -d) would be replaced by", f"+{line}"]
        told += [f"{_NAME}:{other}: the command that decrypts (sops -d) would go" for other in others]
        return Step(Thing("envrc", _NAME, State.DIFFERS, _HARM, diff=tuple(told)))
    if env_file not in found.loaded:
        return Step(Thing("envrc", _NAME, State.DIFFERS, f"it does not load {MASTER} by direnv", diff=(f"+{line}",)))
    return Step(Thing("envrc", _NAME, State.KEEP))
