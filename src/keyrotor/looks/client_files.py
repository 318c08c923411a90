"""What a client makes of its own file: a reference that it sends as it is, or writes over; a helper that it drops; a
liberty for which it ignores the whole file. And the values that stand where no rotation goes, in comments and names.

Rules:
1. What a client does is what was measured (core/clients.py); of any other file nothing is said.
2. Whether a variable is set where the client runs cannot be seen from here: of that nothing is said either.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from keyrotor.boundary import files
from keyrotor.boundary.git import Git
from keyrotor.boundary.plaintext import is_telling, unseal
from keyrotor.core import clients
from keyrotor.core.client import File
from keyrotor.core.findings import Finding, found
from keyrotor.core.model import Holds, Row
from keyrotor.errors import PlaceError
from keyrotor.formats import liberties, paths, readers, references, splice
from keyrotor.formats.splice import Leaf
from keyrotor.ports import Client, Place, Seen
from keyrotor.secret import Secret

_MENDS = {"byte order mark": r"LC_ALL=C sed -i --follow-symlinks '1s/^\xEF\xBB\xBF//' {path}"}


@dataclass(frozen=True, slots=True)
class ClientFiles:
    rows: Sequence[Row]  # env files and client files; `options["path"]` is the path
    places: Mapping[str, Place]
    git: Git

    def findings(self, seen: Seen) -> Iterator[Finding]:
        for row in self.rows:
            path = Path(row.options["path"])
            try:
                data = files.look(path).data
            except PlaceError:
                continue  # absent, or not to be read: who holds what is asked of its place
            yield from self._broken(row, seen)
            file = clients.file_of(row.kind, row.options.get("file", ""))
            if file is not None:
                yield from self._ignored(row, file, data, seen)
                yield from self._on_its_level(row, file, data, seen)
            yield from _loose(row, data, seen)

    def _broken(self, row: Row, seen: Seen) -> Iterator[Finding]:
        place = self.places[row.id]
        if isinstance(place, Client) and seen.pair:
            broken = place.broken(seen.pair)
            words = {"title": _title(row), "playbook": seen.book.name, "how": self._how(row) if broken else ""}
            for at, form in broken:
                said = form.replace("NAME", seen.book.source.key)
                yield found("client-broken", row.label, at=at, form=said, **words)

    def _how(self, row: Row) -> str:
        """How a repair heals it; where only the key itself works there, git must have let go of the file before."""
        real = Path(os.path.realpath(row.options["path"]))
        if row.options.get("heal") or not self.git.tracked([real]):
            return "puts what works there"
        return f"once git has let go of it:  {self.git.command_to_untrack(real)}  "

    def _ignored(self, row: Row, file: File, data: bytes, seen: Seen) -> Iterator[Finding]:
        """A file of its own that has nothing of ours is the client's affair."""
        taken = liberties.found(data) if file.strict else {}
        if seen.holds.get(row.id, Holds.NEITHER) is Holds.NEITHER:
            return
        for what, line in taken.items():
            if what in file.strict:
                mend = _MENDS.get(what, "take that out of {path}").format(path=shlex.quote(row.options["path"]))
                yield found("client-ignores", row.label, what=what, line=line, title=_title(row), mend=mend)

    def _on_its_level(self, row: Row, file: File, data: bytes, seen: Seen) -> Iterator[Finding]:
        """What the client does there and not in the same file elsewhere."""
        leaves = (None if row.options.get("is_elsewhere") else _leaves(row, data)) or ()
        words = {"title": _title(row), "instead": file.instead}
        own = _chosen(row, leaves, file.at)
        for leaf in _dropped(file, own, leaves, _chosen(row, leaves, file.drops)):
            yield found("client-drops", row.label, leaf=leaf.key, **words)
        forms = {form for leaf in own for form in references.found(leaf.text, seen.book.source.key)}
        if file.writes_back and forms & set(file.resolves or ()):
            words |= {"into": file.writes_back, "book": shlex.quote(seen.book.path)}
            yield found("client-writes-back", row.label, key=seen.book.source.key, **words)


def _loose(row: Row, data: bytes, seen: Seen) -> Iterator[Finding]:
    """The present value, and former ones, outside of all leaves; with `raw` a rotation takes the present one along."""
    words = {"key": seen.book.source.key, "path": row.options["path"]}
    present = unseal(seen.pair.old) if seen.pair and is_telling(seen.pair.old) else b""
    is_there = bool(present) and not row.options.get("raw") and present in data
    has_former = bool(seen.lineage.superseded(seen.fingerprint))
    leaves = _leaves(row, data) if is_there or has_former else None
    if leaves is None:
        return
    if is_there and (count := splice.raw_hits(data, leaves, present)):
        yield found("value-loose", row.label, which="the present value", count=count, **words)
    for word in sorted(splice.words_in(data)) if has_former else ():
        mark = seen.former(secret) if is_telling(secret := Secret(word)) else ""
        if mark and (count := splice.raw_hits(data, leaves, word)):
            yield found("value-loose", row.label, which=f"a former value ({mark})", count=count, **words)


def _leaves(row: Row, data: bytes) -> tuple[Leaf, ...] | None:
    """None of a file that cannot be read as what it is: its place says so."""
    try:
        return readers.of(row.options.get("format") or readers.of_path(Path(row.options["path"])) or "dotenv")(data)
    except PlaceError:
        return None


def _chosen(row: Row, leaves: Sequence[Leaf], at: Sequence[str]) -> tuple[Leaf, ...]:
    gateways = row.options.get("gateways", ())
    return paths.chosen(leaves, at, row.options.get("beside", "") if gateways else "", gateways) if at else ()


def _dropped(file: File, own: Sequence[Leaf], leaves: Sequence[Leaf], drops: Sequence[Leaf]) -> list[Leaf]:
    """Those of the leaves for whose lack there is no key: no other leaf beside them is one. What stands at the top is
    lacked where no entry has any."""
    having = {_parent(leaf) for leaf in own if leaf.text}
    having |= {_parent(leaf) for leaf in leaves if leaf.key in {each.key for each in drops} and leaf not in drops}
    return [leaf for leaf in drops if _parent(leaf) not in having and not (having and leaf.path in file.drops)]


def _parent(leaf: Leaf) -> str:
    return leaf.path.removesuffix(paths.step(leaf.key))


def _title(row: Row) -> str:
    return clients.CLIENTS[row.kind].title if row.kind in clients.CLIENTS else "its client"
