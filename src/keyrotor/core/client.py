"""What a client is: the files that it reads its key from, and what it does with a reference there. Pure data; the
clients are in `clients`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Form(StrEnum):
    """How a file may refer to the variable instead of holding its value; `NAME` stands for the variable."""

    BRACED = "${NAME}"
    DOLLAR = "$NAME"
    ENV = "env:NAME"
    CURLY = "{env:NAME}"
    SECRETS = "${{ secrets.NAME }}"
    LITELLM = "os.environ/NAME"
    COMMAND = "$(command)"


@dataclass(frozen=True, slots=True)
class File:
    """A file that a client reads."""

    name: str  # what it is called beside the client's other files: the row is `droid:settings`
    path: str  # `~/…`, `/…`, `${VARIABLE}/…`; else below the project
    format: str
    at: tuple[str, ...] = ()  # the leaves that are its key: `customModels[*].apiKey`, `providers.*.api_key`
    beside: str = ""  # the leaf beside the key that says which gateway the key is for; "": none does
    names: tuple[str, ...] = ()  # the leaves that hold the bare name of the variable that the program reads
    resolves: tuple[Form, ...] | None = None  # any other reference is sent as it is; None: nobody has looked
    heal: Form | None = None  # what works in the stead of a reference that is sent as it is; None: only the value does
    todo: str = ""  # what a person must do once another key stands in it; "": as the client says
    strict: tuple[str, ...] = ()  # the liberties of JSON for which the program ignores the whole file
    drops: tuple[str, ...] = ()  # the leaves that it takes from other files, and not from this one
    writes_back: str = ""  # the file into which it writes in clear what a reference here resolves to; "": none
    instead: str = ""  # the file that it takes such leaves from, and writes nothing of back


@dataclass(frozen=True, slots=True)
class Client:
    """A program that sends the key."""

    title: str
    files: tuple[File, ...]
    todo: str = ""  # what a person must do once another key stands in its file; "": it takes that up by itself
    todo_referring: str = ""  # the same, once the variable that it refers to has another value
