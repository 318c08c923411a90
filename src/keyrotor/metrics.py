"""What an audit tells Prometheus: the text of a file for the node exporter's textfile collector. Pure.

Only families are made, never the package's own gauges: those would write files of their own where a variable in the
environment (PROMETHEUS_MULTIPROC_DIR) says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from keyrotor.core.audited import Audited, counts
from keyrotor.core.model import Outcome

if TYPE_CHECKING:
    from prometheus_client.core import Metric

# Name -> what it says, in the order of the file (docs/reference/metrics.md).
METRICS: Mapping[str, str] = {
    "keyrotor_key_age_seconds": "Age of the key at the time of the audit. None for a key that was never rotated here.",
    "keyrotor_key_rotated_timestamp_seconds": "When the key was last rotated.",
    "keyrotor_key_due_timestamp_seconds": "From when on the key is due to be rotated.",
    "keyrotor_last_outcome": "1 for what became of the newest run of the key, 0 for every other outcome.",
    "keyrotor_last_outage_seconds": "How long the gateway was away in the last rotation. None without a restart.",
    "keyrotor_runs_owed": "Runs of the encrypted file that were not finished.",
    "keyrotor_findings": "What the audit found, by severity.",
    "keyrotor_audit_timestamp_seconds": "When the audit looked.",
}
OUTCOMES = (
    *(Outcome.ROTATED, Outcome.REPAIRED, Outcome.ROLLED_BACK, Outcome.OLD_ALIVE),
    *(Outcome.STUCK, Outcome.INTERRUPTED, Outcome.ABANDONED),
)
_BEGIN = b"# HELP keyrotor_key_age_seconds "
Sample = tuple[str, Mapping[str, str], float]


def is_ours(data: bytes) -> bool:
    """Whether a file begins as `text_of` makes it begin, in this version or another."""
    return data.startswith(_BEGIN)


def text_of(audited: Sequence[Audited]) -> bytes:
    """The whole file, in Prometheus' text format."""
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry()
    registry.register(_Families(audited))
    return generate_latest(registry)


class _Families:
    """Gives the registry what it asks for."""

    def __init__(self, audited: Sequence[Audited]) -> None:
        self._audited = audited

    def collect(self) -> Iterable[Metric]:
        from prometheus_client.core import GaugeMetricFamily

        samples = [sample for one in self._audited for sample in _samples(one)]
        if self._audited:
            samples.append(("keyrotor_audit_timestamp_seconds", {}, self._audited[0].at.timestamp()))
        for name, says in METRICS.items():
            family = GaugeMetricFamily(name, says)
            for _, labels, number in (sample for sample in samples if sample[0] == name):
                family.add_sample(name, dict(labels), number)
            yield family


def _samples(one: Audited) -> list[Sample]:
    # The name alone tells no two playbooks apart that call themselves the same: only the file does.
    labels = {"playbook": one.book.name, "file": one.book.path, "key": one.book.source.key}
    given = {
        "keyrotor_key_age_seconds": one.age.total_seconds() if one.age is not None else None,
        "keyrotor_key_rotated_timestamp_seconds": _timestamp(one.rotated),
        "keyrotor_key_due_timestamp_seconds": _timestamp(one.due),
        "keyrotor_last_outage_seconds": one.outage,
        "keyrotor_runs_owed": len(one.owed),
    }
    samples: list[Sample] = [(name, labels, float(number)) for name, number in given.items() if number is not None]
    for outcome in OUTCOMES if one.outcome else ():
        samples.append(("keyrotor_last_outcome", {**labels, "outcome": outcome}, float(one.outcome is outcome)))
    for severity, count in counts(one.findings).items():
        samples.append(("keyrotor_findings", {**labels, "severity": severity}, float(count)))
    return samples


def _timestamp(moment: datetime | None) -> float | None:
    return moment.timestamp() if moment else None
