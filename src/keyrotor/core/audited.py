"""What an audit of one playbook comes to: the key's age, who holds what, and what is wrong. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from keyrotor.core.findings import Finding, Severity, ranked
from keyrotor.core.model import Holds, Outcome, Playbook
from keyrotor.core.recorded import Past

# What a place holds, in an audit's words: there is no run whose two values would be the old and the new one.
HELD = {Holds.OLD: "present", Holds.NEITHER: "other", Holds.REFERS: "refers", Holds.UNKNOWN: "unknown"}
HELD |= {Holds.BOTH: "unknown"}  # a command that says yes to the present value and to one that nobody has


@dataclass(frozen=True, slots=True)
class Held:
    """One place of the playbook, and what it holds."""

    id: str
    kind: str
    label: str
    holds: str  # one of HELD; "" for a door, which only answers, and where nothing could be compared


@dataclass(frozen=True, slots=True)
class Audited:
    """One playbook, and what is wrong with what it names; the worst first."""

    book: Playbook
    at: datetime
    places: tuple[Held, ...]
    fingerprint: str  # of the present value; "" where none is on record, or nothing could be decrypted
    last: Past | None  # the rotation from which the key's age is reckoned
    newest: Past | None  # the newest run of the key, whatever became of it
    owed: tuple[str, ...]  # runs of the encrypted file that were not finished
    due: datetime | None  # None for a key that was never rotated here
    findings: tuple[Finding, ...]

    @property
    def rotated(self) -> datetime | None:
        return self.last.closed if self.last else None

    @property
    def age(self) -> timedelta | None:
        """Never below zero: a clock that was set back is a finding, not a negative age."""
        return max(timedelta(0), self.at - self.rotated) if self.rotated else None

    @property
    def outcome(self) -> Outcome | None:
        return self.newest.outcome if self.newest else None

    @property
    def outage(self) -> float | None:
        return self.last.outage if self.last else None


def all_findings(audited: Iterable[Audited]) -> tuple[Finding, ...]:
    """Those of every playbook, the worst first, each once; what one playbook has explains nothing of another's."""
    return ranked(finding for one in audited for finding in one.findings)


def counts(findings: Iterable[Finding]) -> dict[Severity, int]:
    """How many there are of each severity, the worst first; zero too."""
    told = tuple(findings)
    return {severity: sum(one.severity is severity for one in told) for severity in reversed(Severity)}
