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
    doubtful: Mapping[str, str] = field(default_factory=dict)  # of a run that was abandoned: either may be present
    leaked: frozenset[str] = frozenset()  # formers that an incident replaced: they may never come back
    is_partial: bool = False  # there are runs whose fingerprints were made with another key

    def is_by_hand(self, mark: str) -> bool:
        """Whether a value with this fingerprint was put by hand: it is not what the last run left everywhere."""
        return bool(mark and self.present) and mark != self.present

    def superseded(self, mark: str) -> Mapping[str, str]:
        """The former values, now that the present one has this fingerprint: one that was put by hand makes the
        recorded one former."""
        return {**self.formers, self.present: self.run} if self.is_by_hand(mark) else self.formers


def lineage(runs: Iterable[Run], source: Source, fingerprint_key: str) -> Lineage:
    """From the runs on record, oldest first. Only fingerprints of one key can be compared."""
    told = _Told()
    for run in runs:
        if not run.plan.source.is_of(source):
            continue
        if run.plan.fingerprint_key != fingerprint_key:
            told.is_partial = told.is_partial or run.outcome is not None
            continue
        told.hear(run)
    return Lineage(told.present, told.run, told.formers, told.doubtful, frozenset(told.leaked), told.is_partial)


class _Told:
    """What the runs have told so far."""

    def __init__(self) -> None:
        self.present, self.run = "", ""
        self.formers: dict[str, str] = {}
        self.doubtful: dict[str, str] = {}
        self.leaked: set[str] = set()
        self.is_partial = False

    def hear(self, run: Run) -> None:
        marks = run.plan.fingerprints
        if not run.has_way_back:  # whatever a repair set out to replace is former, whatever became of it
            self._leave_behind([marks[Value.OLD], *run.plan.stale], run.plan.run)
        if run.outcome is Outcome.ABANDONED and run.has_way_back:
            self._doubt(run)
        elif run.outcome in _LEFT:
            self._settle(run, _LEFT[run.outcome])

    def _settle(self, run: Run, left: Value) -> None:
        present, other = run.plan.fingerprints[left], run.plan.fingerprints[left.other]
        # What was present before, or might have been, and was replaced by hand, is former as well.
        self._leave_behind([self.present, *self.doubtful, other], run.plan.run)
        self.present, self.run, self.doubtful = present, run.plan.run, {}
        self.formers.pop(present, None)
        if run.plan.incident and left is Value.NEW:
            self.leaked.add(other)

    def _doubt(self, run: Run) -> None:
        """Abandoned: a person has mended it, in one direction or the other."""
        self._leave_behind([self.present], run.plan.run)
        self.present, self.run = "", ""
        for mark in run.plan.fingerprints.values():
            self.doubtful[mark] = run.plan.run
            self.formers.pop(mark, None)

    def _leave_behind(self, marks: Iterable[str], run: str) -> None:
        for mark in filter(None, marks):
            self.formers.setdefault(mark, run)


# Which of a run's two values it left everywhere.
_LEFT: Mapping[Outcome | None, Value] = {
    Outcome.ROTATED: Value.NEW,
    Outcome.OLD_ALIVE: Value.NEW,
    Outcome.REPAIRED: Value.NEW,
    Outcome.ROLLED_BACK: Value.OLD,
}
