"""The incident playbook: which playbooks to rotate when a key has leaked, how to contain, where to look, whom to tell.

TOML in, `Response` out, or a PlaybookError that names file, table, key and what is allowed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from keyrotor import addressees, playbook, shelf, source
from keyrotor.core import due
from keyrotor.core.addressee import Addressee
from keyrotor.core.model import Playbook
from keyrotor.errors import PlaybookError, refused

CONTAIN = ("stop", "loopback", "none")


class _Incident(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    playbooks: list[str] = []
    contain: str = "loopback"
    proof: str = "75s"  # a key in LiteLLM's cache lives 60 s (litellm.md 1)
    logs: list[str] = []


class _Sweep(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    roots: list[str] = msgspec.field(default_factory=lambda: ["~", "."])
    elsewhere: bool = True


class _Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    incident: _Incident
    name: str = ""
    sweep: _Sweep = msgspec.field(default_factory=_Sweep)
    notify: list[dict[str, Any]] = []


@dataclass(frozen=True, slots=True)
class Response:
    """What is to be done, checked; paths absolute."""

    name: str
    path: str  # "" where there is no incident playbook: then all of the project's are rotated
    books: tuple[Playbook, ...]
    contain: str
    proof: float  # seconds
    roots: tuple[str, ...]
    elsewhere: bool  # whether it is looked for wherever things are left behind, too
    logs: tuple[str, ...]
    notify: tuple[Addressee, ...]


def find(name: str | None, folder: Path, env: Mapping[str, str]) -> Response:
    """The response by that incident playbook, or by the only one there is; without one, what it would say by default.
    Raises PlaybookError, UsageError."""
    path = shelf.find_incident(name, folder, env)
    if path is not None:
        return load(path, env)
    found = shelf.find_all((), folder, env)
    return _response(_Document(incident=_Incident(), name="incident-response"), source.Reader(found[0], env), "", found)


def want_a_secret(response: Response) -> None:
    """Raises RefusedError where the encrypted file of no playbook is there: then this is not the folder of the lab. One
    that cannot be read, or one of several that is gone, is a step that fails; the others are to be done."""
    gone = [f"{book.path} is of {book.source.file}, which is not there" for book in response.books if _is_gone(book)]
    if len(gone) == len(response.books):
        what = "cannot open an incident"
        hint = "cd path/to/the/lab && keyrotor incident open --reason …  (the one whose key has leaked)"
        raise refused(what, gone if len(gone) > 1 else [f"{what}: {gone[0]}"], hint)


def _is_gone(book: Playbook) -> bool:
    try:
        Path(book.source.file).lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:  # whether it is there cannot be known
        return False
    return False


def load(path: Path, env: Mapping[str, str]) -> Response:
    """The response that this file describes. Raises PlaybookError, UsageError."""
    reader = source.Reader(path, env)
    try:
        document = msgspec.convert(source.parsed(path), _Document)
    except msgspec.ValidationError as error:
        said, _, at = str(error).replace("Object", "object").partition(" - at `$")
        key = at.strip("`.")
        raise reader.error(": ".join(part for part in (key, said[0].lower() + said[1:]) if part)) from None
    names = document.incident.playbooks
    found = shelf.find_all(names, Path(reader.project), env)
    return _response(document, reader, str(path), found)


def _response(document: _Document, reader: source.Reader, path: str, found: list[Path]) -> Response:
    asked = document.incident
    if asked.contain not in CONTAIN:
        raise reader.error(f"[incident] contain: unknown {asked.contain!r}; allowed: {', '.join(CONTAIN)}")
    proof = due.seconds(asked.proof)
    if not proof:
        raise reader.error(f"[incident] proof: cannot read the duration {asked.proof!r}; write it as 75s")
    books = tuple(playbook.load(each, reader.env) for each in found)
    twins = sorted({book.name for book in books if [each.name for each in books].count(book.name) > 1})
    if twins:
        raise PlaybookError(f"cannot use {path or found[0].parent}: two playbooks are called {twins[0]}")
    return Response(
        name=document.name or "incident-response",
        path=path,
        books=books,
        contain=asked.contain,
        proof=proof,
        roots=tuple(reader.absolute(root, "[sweep] roots") for root in document.sweep.roots),
        elsewhere=document.sweep.elsewhere,
        logs=tuple(reader.absolute(log, "[incident] logs") for log in asked.logs),
        notify=addressees.read(document.notify, "", reader.error),
    )
