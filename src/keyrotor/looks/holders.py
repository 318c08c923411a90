"""Who holds what: every place that holds neither the present value nor a reference to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from keyrotor.core.findings import Finding
from keyrotor.core.model import Row
from keyrotor.ports import Place, Seen


@dataclass(frozen=True, slots=True)
class Holders:
    rows: Sequence[Row]  # those that hold a value; a door only answers
    places: Mapping[str, Place]

    def findings(self, seen: Seen) -> Iterable[Finding]:
        return ()
