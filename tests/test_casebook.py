"""Incidents on record: in the same chain as the runs, and never taken for one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from keyrotor.casebook import Casebook
from keyrotor.chain import Chain
from keyrotor.core.incident_events import Began, Case, Did, IncidentClosed, IncidentOpened
from keyrotor.core.response import Contained
from keyrotor.errors import JournalError, UsageError
from keyrotor.journal import Journal

NOW = datetime(2026, 11, 22, 3, tzinfo=UTC)


def case(id: str) -> Case:
    return Case(id, "pushed", NOW.isoformat(), "", "stop", {"a": "/a.toml"}, roots=("/home",))


@pytest.fixture
def state(tmp_path: Path) -> Path:
    with Casebook.open(tmp_path / "state") as book:
        book.append("inc-aaaaaa", IncidentOpened(case("inc-aaaaaa")), NOW)
        book.append("inc-aaaaaa", Began("freeze"), NOW + timedelta(seconds=1))
        book.append("inc-abbbbb", IncidentOpened(case("inc-abbbbb")), NOW + timedelta(seconds=2))
        book.append("inc-abbbbb", IncidentClosed("a fork"), NOW + timedelta(seconds=3))
    return tmp_path / "state"


def test_an_incident_is_read_as_it_was_written(state: Path) -> None:
    """Its case, its events and their times."""
    with Casebook.peek(state) as book:
        first, second = book.dockets()
    assert first.incident.case == case("inc-aaaaaa")
    assert (first.opened, first.closed) == (NOW, None)
    assert second.closed == NOW + timedelta(seconds=3)
    assert [event for _, event in first.timed][1] == Began("freeze")


def test_facts_of_a_step_come_back_as_plain_data(state: Path) -> None:
    """They are kept as JSON, whatever deed they are of."""
    facts = {"gateways": [{"playbook": "a", "unit": "u", "how": "stop", "listened": ["127.0.0.1:4000"]}]}
    with Casebook.open(state) as book:
        book.append("inc-aaaaaa", Did("contain", "stopped", facts, ("start it",)), NOW)
        docket = book.docket("inc-aaaaaa")
    stand = docket.incident.stands["contain"]
    assert (stand.facts, stand.tasks) == (facts, ((1, "start it"),))
    assert Contained(**{**facts["gateways"][0], "listened": ("127.0.0.1:4000",)}).how == "stop"


def test_an_incident_is_found_by_its_beginning_with_or_without_the_prefix(state: Path) -> None:
    """What is typed at night is short."""
    with Casebook.peek(state) as book:
        assert book.docket("aa").id == book.docket("inc-aa").id == "inc-aaaaaa"
        with pytest.raises(UsageError, match="several begin with it: inc-aaaaaa, inc-abbbbb"):
            book.docket("a")
        with pytest.raises(UsageError, match="no such incident"):
            book.docket("c")


def test_no_command_about_runs_takes_an_incident_for_one(state: Path) -> None:
    """None is owed, none is listed, none is found by its id."""
    with Journal.peek(state) as journal:
        assert (journal.accounts(), journal.owed()) == ([], [])
        with pytest.raises(UsageError, match="no such run"):
            journal.account("inc-")
        assert journal.verify().fault is None


def test_an_incident_of_another_version_is_not_guessed_at(state: Path) -> None:
    """An event that this keyrotor does not know is an error with a hint."""
    with Chain.open(state) as chain:
        chain.append("inc-aaaaaa", [("step-skipped", "{}")], NOW)
    with Casebook.peek(state) as book, pytest.raises(JournalError, match="not of this version"):
        book.dockets()


def test_nothing_gets_on_record_that_could_not_be_read_again(state: Path) -> None:
    """The chain only grows: what cannot follow would make the incident unreadable for ever."""
    with Casebook.open(state) as book:
        for event in (Began("freeze"), IncidentClosed("again"), IncidentOpened(case("inc-abbbbb"))):
            with pytest.raises(JournalError):
                book.append("inc-abbbbb", event, NOW)
        assert book.docket("inc-abbbbb").incident.cause == "a fork"
