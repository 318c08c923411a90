"""Who holds a key, or refers to it: what `clients discover` finds, and the entries by which a playbook covers it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from keyrotor.core import clients
from keyrotor.core.model import Playbook, printable

_WITH_PATH: Final = ("client-file", "docker-compose")  # kinds that look nowhere by themselves


@dataclass(frozen=True, slots=True)
class Holder:
    """A file in which the key, or a reference to it, was found; never what stands there."""

    path: str  # absolute
    written: str  # as it is written in a playbook, and shown; "" where it cannot be
    kind: str  # the client that reads it; `client-file`: none is known to
    format: str
    is_known: bool = False  # whether a place of that kind finds it by itself
    present: int = 0  # how often the present value stands there
    former: int = 0  # how often a former one
    loose: int = 0  # how many of these stand in comments or names, where nothing is rewritten
    refers: tuple[str, ...] = ()  # the forms of its references
    broken: tuple[str, ...] = ()  # those of them that its program sends as they are
    covered: str = ""  # the row of the playbook that it is
    hindrance: str = ""  # why a playbook cannot cover it
    notes: tuple[str, ...] = ()

    @property
    def is_to_add(self) -> bool:
        """Whether the playbook should name it: a key is to be rewritten there, or a client reads the variable there."""
        if self.covered or self.hindrance:
            return False
        return self.present + self.former > self.loose or (bool(self.refers) and self.kind != "client-file")

    def lines(self, key: str) -> Iterator[str]:
        """It, as a person reads it; `key` is the variable."""
        yield f"{printable(self.written) or self.path}: {', '.join(self._held(key))}"
        if self.covered:
            yield f"  covered: place {self.covered}"
        elif self.hindrance:
            yield f"  cannot be covered: {self.hindrance}"
        elif not self.is_to_add:
            yield "  no place needed: nothing is to be rewritten there"
        else:
            yield f"  to add: {self.kind}"
        yield from (f"  {note}" for note in self.notes)

    def _held(self, key: str) -> Iterator[str]:
        if self.present:
            yield f"holds the present key{_times(self.present)}"
        if self.former:
            yield f"holds a former key{_times(self.former)}"
        if self.loose:
            every = self.present + self.former
            yield "in a comment or a name" if every == 1 else f"{self.loose} of these in comments or names"
        for form in self.refers:
            said = form.replace("NAME", key)
            yield f"broken: {said} is sent as it is" if form in self.broken else f"refers by {said}"

    def as_json(self, entry: int | None) -> dict[str, object]:
        """`entry`: which of the entries to add covers it."""
        return {
            "path": self.path,
            "kind": self.kind,
            "present": self.present,
            "former": self.former,
            "loose": self.loose,
            "refers": list(self.refers),
            "broken": list(self.broken),
            "covered": self.covered or None,
            "entry": entry,
            "hindrance": self.hindrance,
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True)
class Hunted:
    """All that was found, and what was not looked at."""

    holders: tuple[Holder, ...]
    stores: tuple[str, ...] = ()  # kinds of clients.OPAQUE that name a gateway of the playbook
    maybe: tuple[str, ...] = ()  # those that are in use here, for whichever gateway
    skipped: Mapping[str, int] = field(default_factory=dict)  # what -> how many
    unreadable: tuple[str, ...] = ()  # files and folders, each with why
    doubt: str = ""  # why the present value was not looked for


@dataclass(frozen=True, slots=True)
class Entry:
    """A place that is to be added to a playbook."""

    kind: str
    path: str = ""
    format: str = ""
    id: str = ""  # "": as the kind is called

    def lines(self) -> list[str]:
        keys = {"kind": self.kind, "id": self.id, "path": self.path, "format": self.format}
        return ["[[place]]", *(f"{key} = {_quoted(text)}" for key, text in keys.items() if text)]


def entry_of(holder: Holder) -> Entry | None:
    """The entry that covers this file, by itself or with the other files of its client."""
    if not holder.is_to_add:
        return None
    if holder.is_known and holder.kind not in _WITH_PATH:
        return Entry(holder.kind)
    return Entry(holder.kind, holder.written, holder.format if holder.kind == "client-file" else "")


def entries(book: Playbook, hunted: Hunted) -> tuple[Entry, ...]:
    """Every entry that the playbook lacks, each once, by names that it has not given yet."""
    wanted = [entry for holder in hunted.holders if (entry := entry_of(holder))]
    wanted += [Entry(kind) for kind in hunted.stores if kind not in {place.kind for place in book.places}]
    return tuple(_named(dict.fromkeys(wanted), book))


def _named(wanted: Iterable[Entry], book: Playbook) -> Iterator[Entry]:
    """A place without a name is called by its kind, numbered: where that is taken, it gets another."""
    taken = {place.id for place in book.places}
    kinds = [place.kind for place in book.places]
    for entry in wanted:
        kinds.append(entry.kind)
        count = kinds.count(entry.kind)
        called = entry.kind if count == 1 else f"{entry.kind}-{count}"
        is_free = called not in taken
        while called in taken:
            count += 1
            called = f"{entry.kind}-{count}"
        taken.add(called)
        yield entry if is_free else replace(entry, id=called)


def appended(data: bytes, wanted: Sequence[Entry]) -> bytes:
    """The playbook with these entries at its end, in its own line ends; every byte before them as it was."""
    end = b"\r\n" if data.count(b"\r\n") * 2 > data.count(b"\n") else b"\n"
    lines = [line for entry in wanted for line in ("", *entry.lines())]
    start = b"" if data.endswith(b"\n") or not data else end
    return data + start + b"".join(line.encode() + end for line in lines)


def may_be_written(path: str) -> bool:
    """Whether a playbook can name this path: `${…}` would be expanded there, and it is UTF-8."""
    return "${" not in path and not any("\ud800" <= char <= "\udfff" for char in path)


def todo_of(kind: str) -> str:
    return clients.OPAQUE[kind]


def _times(count: int) -> str:
    return f" {count} times" if count > 1 else ""


def _quoted(text: str) -> str:
    """A basic string of TOML."""
    made = (f"\\{char}" if char in '"\\' else char if char.isprintable() else f"\\U{ord(char):08x}" for char in text)
    return f'"{"".join(made)}"'
