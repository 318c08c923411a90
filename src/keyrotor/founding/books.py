"""The project's playbooks: the one for the gateway's key is adopted as it is, or made from the shipped one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from keyrotor import playbook, shelf, shipped
from keyrotor.core.founding import MASTER, State, Step, Thing
from keyrotor.errors import PlaybookError
from keyrotor.founding.env_file import EnvFile
from keyrotor.founding.gateway import Gateway
from keyrotor.founding.ground import Book, Ground
from keyrotor.founding.identity import Identity
from keyrotor.founding.keys import KEYS
from keyrotor.founding.secret_file import SecretFile
from keyrotor.texts import playbooks as texts

NAME = "litellm-master-key"
INCIDENT = "incident-response"


def adopted(ground: Ground) -> Book | None:
    """The playbook for the key that is there; the first of several by name. Raises PlaybookError for a broken one that
    may be it."""
    found = []
    for path in sorted((ground.folder / "playbooks").glob("*.toml")):
        if shelf.is_incident(path):
            continue
        try:
            book = playbook.load(path, ground.env)
        except PlaybookError:
            if path.stem == NAME or MASTER in _text(path):
                raise
            continue
        if book.source.key == MASTER:
            found.append(Book(path, book))
    if not found:
        return None
    return Book(found[0].path, found[0].playbook, tuple(each.path for each in found[1:]))


def _text(path: Path) -> str:
    """What stands in it; of one that cannot be read nobody knows that it does not name the key."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return MASTER


def path_of(ground: Ground, book: Book | None) -> Path:
    return book.path if book else ground.folder / "playbooks" / f"{NAME}.toml"


def step(
    ground: Ground,
    book: Book | None,
    gateway: Gateway,
    config: Path,
    secret: SecretFile,
    env_files: Sequence[EnvFile],
    identity: Identity,
    clients: Sequence[Path],
) -> Step:
    """The playbook for the key."""
    path = path_of(ground, book)
    if book:
        more = f"; so is {', '.join(each.name for each in book.others)}" if book.others else ""
        return Step(Thing("playbook", ground.typed(path), State.KEEP, f"it rotates {MASTER}{more}"))
    lab = texts.Rotation(
        file=ground.typed(secret.path),
        env_file=ground.typed(env_files[0].path),
        url=gateway.url,
        config=ground.typed(config),
        identity=identity.source,
        unit=gateway.unit,
        scope=gateway.scope,
        command=gateway.command,
        clients=[ground.typed(each) for each in clients],
        keys=names(secret),
    )
    text = texts.rotation(shipped.playbook(NAME).read_text(), lab)
    return ground.new_file("playbook", path, text, f"rotates {MASTER} once a month")


def names(secret: SecretFile) -> tuple[str, ...]:
    """The keys that an env file is to have: the gateway's two, and all else that the encrypted file has for it."""
    return (*KEYS, *secret.others)


def incident_step(ground: Ground, name: str) -> Step:
    """The incident playbook, under whatever name."""
    path = ground.folder / "playbooks" / f"{INCIDENT}.toml"
    for there in sorted(path.parent.glob("*.toml")):
        if shelf.is_incident(there):
            return Step(Thing("incident", ground.typed(there), State.KEEP))
    if ground.exists(path):
        return Step(Thing("incident", ground.typed(path), State.KEEP))
    text = texts.incident(shipped.playbook(INCIDENT).read_text(), name, ["~", "."])
    return ground.new_file("incident", path, text, "what is to be done when a key has leaked")
