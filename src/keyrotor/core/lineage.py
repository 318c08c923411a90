"""The values that a key has had, by their fingerprints: which one is present, which are former. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from keyrotor.core.machine import Run
from keyrotor.core.model import Outcome, Source, Value


@dataclass(frozen=True, slots=True)
class Lineage:
    """What the record knows of one key's values, as far as their fingerprints can be compared."""

    present: str = ""  # the fingerprint of what the last run left everywhere; "" if none did
    run: str = ""  # that run
    formers: Mapping[str, str] = field(default_factory=dict)  # fingerprint -> the run that replaced it
    leaked: frozenset[str] = frozenset()  # formers that an incident replaced: they may never come back
    is_partial: bool = False  # there are runs whose fingerprints were made with another key


def lineage(runs: Iterable[Run], source: Source, fingerprint_key: str) -> Lineage:
    """From the runs on record, oldest first. Only fingerprints of one key can be compared."""
    present, last, is_partial = "", "", False
    formers: dict[str, str] = {}
    leaked: set[str] = set()
    for run in runs:
        if (run.plan.source.file, run.plan.source.key) != (source.file, source.key) or run.outcome not in _LEFT:
            continue
        if run.plan.fingerprint_key != fingerprint_key:
            is_partial = True
            continue
        left = _LEFT[run.outcome]
        present, last = run.plan.fingerprints[left], run.plan.run
        replaced = run.plan.fingerprints[left.other]
        if replaced:
            formers.setdefault(replaced, run.plan.run)
        formers.pop(present, None)
        if run.plan.no_return and left is Value.NEW:
            leaked.add(replaced)
    return Lineage(present, last, formers, frozenset(leaked), is_partial)


# Which of a run's two values it left everywhere. One that was abandoned left nobody knows what.
_LEFT: Mapping[Outcome | None, Value] = {
    Outcome.ROTATED: Value.NEW,
    Outcome.OLD_ALIVE: Value.NEW,
    Outcome.REPAIRED: Value.NEW,
    Outcome.ROLLED_BACK: Value.OLD,
}
