"""Notices: what a command's end is called, who wants to hear of it, and what is said."""

from __future__ import annotations

import json

import pytest

from keyrotor.core import notice
from keyrotor.core.addressee import CHOICES, USUAL, Addressee, Occasion
from keyrotor.core.model import Outcome, Task
from keyrotor.core.notice import Scene
from keyrotor.core.report import EXITS, Report
from keyrotor.errors import Exit

SCENE = Scene("host", "2026-01-01T00:00:00+00:00", "book", "KEY")
TASK = Task("abc123-1", "zed", "paste it")


def of(outcome: Outcome, exit: Exit | None = None, todo: tuple[Task, ...] = (), hint: str = "") -> notice.Notice:
    report = Report(outcome, EXITS[outcome] if exit is None else exit, "book", "abc123", todo=todo, hint=hint)
    return notice.of_report(SCENE, "rotate", report, ["a line"])


@pytest.mark.parametrize(
    ("outcome", "exit", "todo", "occasions", "title", "hint"),
    [
        (Outcome.ROTATED, None, (), "success", "book is rotated", ""),
        (Outcome.ROTATED, None, (TASK,), "tasks success", "book is rotated; something is left to do", "done abc123-1"),
        (Outcome.REPAIRED, None, (), "success", "book is repaired", ""),
        (Outcome.ROLLED_BACK, None, (), "failure", "cannot rotate book: rolled back", "rotate book"),
        (Outcome.ROLLED_BACK, Exit.DONE, (), "success", "book is rolled back", ""),
        (Outcome.STUCK, None, (), "stuck failure", "book is stuck: a person is needed", "resume abc123"),
        (Outcome.INTERRUPTED, None, (), "failure", "book is not finished: a run is owed", "resume abc123"),
        (Outcome.OLD_ALIVE, None, (), "old-alive failure", "the old key of book may still be accepted", "rotate book"),
        (Outcome.OLD_ALIVE, None, (TASK,), "old-alive failure tasks", "…; something is left to do", "rotate book"),
        (Outcome.REFUSED, None, (), "failure", "cannot rotate book: refused, nothing was changed", ""),
        (Outcome.NOTHING_CHANGED, Exit.USAGE, (), "failure", "cannot rotate book", ""),
        (Outcome.BUSY, None, (), "failure", "cannot rotate book", ""),
    ],
)
def test_an_end_is_called_by_its_name(
    outcome: Outcome, exit: Exit | None, todo: tuple[Task, ...], occasions: str, title: str, hint: str
) -> None:
    """What it is about, what it is called, and the command to go on."""
    found = of(outcome, exit, todo)
    assert [str(each) for each in found.occasions] == occasions.split()
    assert found.title == title or (title.startswith("…") and found.title.endswith(title[1:]))
    assert found.hint == (f"keyrotor {hint}" if hint else "")


def test_every_code_that_is_no_success_is_a_failure() -> None:
    """Nobody who wants to hear of failures misses one that has a name of its own."""
    for outcome, code in EXITS.items():
        is_failure = Occasion.FAILURE in of(outcome).occasions
        assert is_failure == (code is not Exit.DONE), outcome


def test_what_an_error_says_to_type_stands_above_what_its_outcome_would() -> None:
    """An owed run's hint names both ways out."""
    assert of(Outcome.INTERRUPTED, hint="keyrotor resume a   or   …").hint == "keyrotor resume a   or   …"


def test_each_wants_what_it_is_named_for() -> None:
    """By default all but successes; a test reaches everybody."""
    usual = Addressee("desktop", "the desktop", USUAL, 1.0)
    assert {each for each in Occasion if usual.wants((each,))} == {*CHOICES, Occasion.TEST} - {Occasion.SUCCESS}
    pager = Addressee("desktop", "the desktop", (Occasion.STUCK,), 1.0)
    assert pager.wants(of(Outcome.STUCK).occasions)
    assert not pager.wants(of(Outcome.ROLLED_BACK).occasions)
    assert Addressee("desktop", "", (Occasion.TASKS,), 1.0).wants(of(Outcome.ROTATED, todo=(TASK,)).occasions)
    assert Addressee("desktop", "", (Occasion.SUCCESS,), 1.0).wants(of(Outcome.ROTATED, todo=(TASK,)).occasions)


def test_an_address_is_not_shown_by_chance() -> None:
    """Neither a `repr` nor a traceback's locals have it."""
    assert "token" not in repr(Addressee("webhook", "https://host", USUAL, 1.0, {"url": "https://host/token"}))


def test_a_notice_says_all_of_it_as_text_too() -> None:
    """`text` is what chat programs show: title, lines, where and when."""
    told = of(Outcome.STUCK, todo=(TASK,)).as_json()
    assert told["text"] == f"{told['title']}\na line\nhost, {SCENE.at}"
    assert (told["event"], told["exit"], told["run"], told["key"]) == ("stuck", 21, "abc123", "KEY")
    assert told["tasks"] == [{"id": "abc123-1", "place": "zed", "text": "paste it"}]
    json.dumps(told)
    untold = notice.of_test(SCENE).as_json()
    assert (untold["run"], untold["outcome"], untold["exit"]) == (None, None, None)


@pytest.mark.parametrize(
    ("result", "code", "status", "said", "exit"),
    [
        ("exit-code", "exited", "2", "it ended with exit code 2", 2),
        ("signal", "killed", "KILL", "it was ended by SIGKILL", None),
        ("core-dump", "dumped", "ABRT", "it was ended by SIGABRT", None),
        ("timeout", "killed", "TERM", "it took too long, and was ended", None),
        ("oom-kill", "killed", "KILL", "it was ended, for memory was short", None),
        ("start-limit-hit", "", "", "it failed too often, and is not started again by itself", None),
        ("something-new", "", "", "systemd says: something-new", None),
        ("", "", "", "systemd does not say how", None),
    ],
)
def test_systemds_words_for_an_end_are_told_in_plain_ones(
    result: str, code: str, status: str, said: str, exit: int | None
) -> None:
    """Each way in which a service can fail; an older systemd tells nothing."""
    told = {"MONITOR_SERVICE_RESULT": result, "MONITOR_EXIT_CODE": code, "MONITOR_EXIT_STATUS": status}
    found = notice.of_fate(SCENE, told, (), "", is_stuck=False)
    assert (found.lines[0], found.exit, found.hint) == (said, exit, "keyrotor status")


def test_a_service_that_left_a_stuck_run_is_told_as_stuck() -> None:
    """With the command to go on."""
    found = notice.of_fate(SCENE, {"MONITOR_UNIT": "a.service"}, ["STUCK: run abc123"], "abc123", is_stuck=True)
    assert (found.event, found.title, found.hint) == (Occasion.STUCK, "a.service failed", "keyrotor resume abc123")
    assert found.lines[1:] == ("STUCK: run abc123",)
