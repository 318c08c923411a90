"""What an audit tells Prometheus, read back by Prometheus' own parser."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from keyrotor import metrics
from keyrotor.core.audited import Audited
from keyrotor.core.findings import found
from keyrotor.core.machine import Closed, Event, Moving, Opened, Run, Settled, fold
from keyrotor.core.model import Act, Outcome, Plan, Playbook, Row, Source, Value
from keyrotor.core.recorded import Past
from keyrotor.core.report import EXITS

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
SOURCE = Source(file="/lab/global.enc.env", key="LITELLM_MASTER_KEY", identity="", project="/lab")
LABELS = {"playbook": 'a "playbook"\\', "file": "/lab/a.toml", "key": "LITELLM_MASTER_KEY"}
PAGE = Path(__file__).parents[1] / "docs" / "reference" / "metrics.md"


def book(name: str = LABELS["playbook"], path: str = "/lab/a.toml") -> Playbook:
    return Playbook(name, path, SOURCE, "month", 0.0, {}, ())


def past(outcome: Outcome | None, outage: float | None = 6.5) -> Past:
    """A run that was closed ten days ago; None: it is owed."""
    row = Row("file", "file", "sops-file", Act.FILE, "a file", 60.0)
    prints = {Value.OLD: "A", Value.NEW: "B"}
    plan = Plan("7a7fd1", "a playbook", SOURCE, (row,), prints, "mine", {})
    events: list[Event] = [Opened(plan), Moving("file", Value.NEW)]
    run: Run = fold([*events, Settled(), Closed(outcome)] if outcome else events)
    closed = NOW - timedelta(days=10)
    return Past(run, 1, closed, closed if outcome else None, outage)


def audited(**changed: Any) -> Audited:
    one = past(Outcome.ROTATED)
    whole = Audited(book(), NOW, (), "", one, one, (), NOW + timedelta(days=8), ())
    return replace(whole, **changed)


def read(*those: Audited) -> dict[tuple[str, str], float]:
    """Every sample by its name and by what is told beside playbook and key."""
    samples = {}
    for family in text_string_to_metric_families(metrics.text_of(those).decode()):
        assert family.type == "gauge"
        for sample in family.samples:
            besides = {key: text for key, text in sample.labels.items() if key not in LABELS}
            if sample.name != "keyrotor_audit_timestamp_seconds":
                assert sample.labels == {**LABELS, **besides}
            samples[sample.name, ",".join(besides.values())] = sample.value
    return samples


def test_everything_that_an_audit_knows_is_a_sample() -> None:
    """Age, due time, last rotation, outcome, outage, runs owed, findings of each severity, the audit's own time."""
    findings = (
        found("readable", "a file", key="K", mode="0644", path="/a"),
        found("key-weak", "a file", key="K", playbook="p"),
        found("fingerprints-lost", "a file", playbook="p"),
    )
    assert read(audited(findings=findings, owed=("7a7fd1",))) == {
        ("keyrotor_key_age_seconds", ""): 864000.0,
        ("keyrotor_key_rotated_timestamp_seconds", ""): (NOW - timedelta(days=10)).timestamp(),
        ("keyrotor_key_due_timestamp_seconds", ""): (NOW + timedelta(days=8)).timestamp(),
        **{("keyrotor_last_outcome", outcome): float(outcome == "rotated") for outcome in metrics.OUTCOMES},
        ("keyrotor_last_outage_seconds", ""): 6.5,
        ("keyrotor_runs_owed", ""): 1.0,
        ("keyrotor_findings", "high"): 2.0,
        ("keyrotor_findings", "medium"): 0.0,
        ("keyrotor_findings", "low"): 1.0,
        ("keyrotor_audit_timestamp_seconds", ""): NOW.timestamp(),
    }


def test_a_key_that_was_never_rotated_here_has_no_age() -> None:
    """No sample is better than a zero that looks like a fresh key; counts are there all the same."""
    samples = read(audited(last=None, newest=None, due=None))
    assert {name for name, _ in samples} == {
        "keyrotor_runs_owed",
        "keyrotor_findings",
        "keyrotor_audit_timestamp_seconds",
    }


def test_a_rotation_without_a_restart_has_no_outage() -> None:
    """None was measured."""
    one = past(Outcome.ROTATED, None)
    assert ("keyrotor_last_outage_seconds", "") not in read(audited(last=one, newest=one))


def test_a_run_that_is_owed_is_the_last_outcome() -> None:
    """`interrupted`, beside the age of the rotation before it."""
    samples = read(audited(newest=past(None), owed=("7a7fd1",)))
    assert samples["keyrotor_last_outcome", "interrupted"] == 1.0
    assert samples["keyrotor_last_outcome", "rotated"] == 0.0
    assert samples["keyrotor_key_age_seconds", ""] == 864000.0


def test_an_age_is_never_below_zero() -> None:
    """A clock that was set back is a finding; a negative age would look like no alarm ever."""
    assert read(audited(at=NOW - timedelta(days=20)))["keyrotor_key_age_seconds", ""] == 0.0


def test_every_outcome_of_a_run_has_its_sample() -> None:
    """All but those of a command that opened no run."""
    unopened = {Outcome.NOT_DUE, Outcome.NOTHING_CHANGED, Outcome.REFUSED, Outcome.BUSY}
    assert set(metrics.OUTCOMES) == set(EXITS) - unopened


def test_several_playbooks_stand_in_one_file() -> None:
    """Each name is told once, with a sample for each playbook."""
    text = metrics.text_of([audited(), audited(book=book("another"))]).decode()
    families = list(text_string_to_metric_families(text))
    assert [family.name for family in families] == list(metrics.METRICS)
    assert len(next(one for one in families if one.name == "keyrotor_runs_owed").samples) == 2
    assert len(next(one for one in families if one.name == "keyrotor_audit_timestamp_seconds").samples) == 1


def test_two_playbooks_of_one_name_are_told_apart() -> None:
    """Prometheus refuses a whole file in which one series stands twice."""
    text = metrics.text_of([audited(), audited(book=book(path="/other/a.toml"))]).decode()
    series = [
        (sample.name, *sorted(sample.labels.items()))
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    ]
    assert len(series) > 20
    assert len(series) == len(set(series))


def test_what_was_written_is_known_again() -> None:
    """With findings or without, and of nothing at all; nothing else is."""
    assert metrics.is_ours(metrics.text_of([audited()]))
    assert metrics.is_ours(metrics.text_of([]))
    others = (b"", b"# HELP node_load1 1m load average.\n", b'name = "a playbook"\n', b"# HELP keyrotor")
    assert [other for other in others if metrics.is_ours(other)] == []


def test_no_file_is_made_where_the_environment_asks_for_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PROMETHEUS_MULTIPROC_DIR makes the package's own gauges write files; nothing of ours does."""
    import subprocess
    import sys

    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    code = "from keyrotor import metrics; print(metrics.text_of([]).decode())"
    done = subprocess.run([sys.executable, "-c", code], env=dict(os.environ), capture_output=True, check=True)
    assert b"keyrotor_runs_owed" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_every_metric_is_in_the_reference() -> None:
    """metrics.md has a row for each, with what it says; and each outcome."""
    text = PAGE.read_text()
    for name, says in metrics.METRICS.items():
        assert f"| `{name}` |" in text, name
        assert says in text, name
    assert [outcome for outcome in metrics.OUTCOMES if f"`{outcome}`" not in text] == []
