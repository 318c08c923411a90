"""Who holds what: every place that holds neither the present value nor a reference to it.

What each holds was asked before; here the places say what else stands there, and it is compared with all former values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from keyrotor.boundary import files
from keyrotor.core import clients
from keyrotor.core.findings import Finding, found
from keyrotor.core.model import Act, Holds, Row
from keyrotor.ports import Place, Seen


@dataclass(frozen=True, slots=True)
class Holders:
    rows: Sequence[Row]  # those that hold a value; a door only answers
    places: Mapping[str, Place]

    def findings(self, seen: Seen) -> Iterator[Finding]:
        for row in self.rows:
            if row.id in seen.holds:
                yield from self._of(row, seen.holds[row.id], seen)

    def _of(self, row: Row, holds: Holds, seen: Seen) -> Iterator[Finding]:
        place, words = self.places[row.id], {"key": seen.book.source.key, "playbook": seen.book.name}
        formers = sorted({mark for secret in place.shows() if (mark := seen.former(secret))} if _knows(seen) else ())
        for mark in formers:
            yield found("drift-former", row.label, fingerprint=mark, **words)
        if formers or holds in (Holds.OLD, Holds.REFERS):
            return
        is_told = holds in (Holds.UNKNOWN, Holds.BOTH)
        why = self.places[row.id].check(seen.pair) if is_told and seen.pair else []  # once: a store may be slow
        if self._is_excused(row, holds, why):
            return
        if is_told:
            yield found("value-unknown", row.label, hint=self._hint(row, seen, why), **words)
        elif row.act is Act.FILE and not files.exists(Path(row.options["path"])):
            yield found("drift-absent", row.label, mend=_mend(row, _ABSENT, seen), **words)
        else:
            yield found("drift-other", row.label, mend=_mend(row, _OTHER, seen), **words)

    def _is_excused(self, row: Row, holds: Holds, why: Sequence[str]) -> bool:
        """Whether nothing is asked of the place: what a unit holds is told by its own look, and an optional place need
        not be there. An env file that names the variable is there, whatever value it has, and so is a client's file in
        which something stands where the key belongs."""
        if row.act is Act.RESTART and holds is Holds.UNKNOWN:
            return True
        if row.act is Act.STORE and holds is Holds.UNKNOWN and not row.options.get("recorded"):
            return not why  # it answers, and shows nobody a value
        is_named = row.kind == "env-file" or _is_own(row)
        is_there = is_named and len(self.places[row.id].shows()) > 0
        return row.optional and holds is Holds.NEITHER and not is_there

    def _hint(self, row: Row, seen: Seen, why: Sequence[str]) -> str:
        """How to find out what the place holds."""
        if row.act is Act.COMMAND and not row.options.get("holds"):
            return f"give place {row.id} a `holds` command, in {seen.book.path}"
        if row.act is Act.COMMAND:
            return f"mend the `holds` command of place {row.id}: it must end with 0 for yes, 1 for no"
        if row.act is Act.STORE:
            return why[0] if why else f"keyrotor rotate {seen.book.name}  (something else has written it since)"
        return f"mend the file: {why[0]}" if why else f"keyrotor plan {seen.book.name}"


def _is_own(row: Row) -> bool:
    """Whether the playbook itself says where in the client's file the key belongs."""
    return clients.is_own(row.kind, row.options.get("at", ()))


def _knows(seen: Seen) -> bool:
    """Whether there is any former value to be found."""
    return bool(seen.lineage.superseded(seen.fingerprint))


# What a repair cannot put: it makes no file of a client's, and finds the place for a key only by a former one.
_ABSENT = "start the client once, so that it makes {path}; or take the place out of {book}"
_OTHER = "put the present {key} into {path} once: none there is known to be a former one"


def _mend(row: Row, by_hand: str, seen: Seen) -> str:
    if not clients.is_client(row.kind) or (_is_own(row) and by_hand is _OTHER):
        return f"keyrotor repair {seen.book.name}"
    return by_hand.format(path=row.options["path"], key=seen.book.source.key, book=seen.book.path)
