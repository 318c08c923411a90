"""What a plan says of a row, and what makes a saved one stale."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace

import pytest

from keyrotor.core.model import Act, Row
from keyrotor.core.preview import KIND, SCHEMA, Change, Line, Saved, State, differences, shown_path, state_of

PLAN = Saved(
    kind=KIND,
    schema=SCHEMA,
    keyrotor="1.0",
    made="2026-01-01T00:00:00+00:00",
    playbook="book",
    path="/book.toml",
    places=(Line("client", "client-file", "file", "~/client.json", "changes"),),
    skipped={},
    salt="00",
    digests={"/book.toml": "a", "/client.json": "b", "/absent.json": ""},
    newest="r1",
)


def row(act: Act) -> Row:
    return Row("id", "place", "kind", act, "the place", 1.0)


@pytest.mark.parametrize(
    ("act", "why", "reasons", "state"),
    [
        (Act.FILE, "", (), State.CHANGES),
        (Act.RESTART, "", (), State.CHANGES),
        (Act.COMMAND, "", (), State.CHANGES),
        (Act.ADMIT, "", (), State.PROVES),
        (Act.RETIRE, "", (), State.PROVES),
        (Act.FILE, "absent", (), State.NOTHING),
        (Act.FILE, "refers to KEY; restart what reads it", (), State.BY_HAND),
        (Act.FILE, "has another key, or none", (), State.BY_HAND),
        (Act.RESTART, "", ("cannot",), State.CANNOT),
        (Act.ADMIT, "", ("cannot",), State.CANNOT),
    ],
)
def test_a_row_is_in_one_state(act: Act, why: str, reasons: tuple[str, ...], state: State) -> None:
    """Left out, hindered, a proof, or a change."""
    assert state_of(row(act), why, reasons) is state


def test_a_plan_holds_while_nothing_has_changed() -> None:
    """When it was made does not count."""
    assert differences(PLAN, replace(PLAN, made="2027-01-01T00:00:00+00:00")) == []


@pytest.mark.parametrize(
    ("present", "named"),
    [
        ({"digests": {**PLAN.digests, "/client.json": "c"}}, ["/client.json has changed"]),
        ({"digests": {**PLAN.digests, "/client.json": ""}}, ["/client.json is gone"]),
        ({"digests": {**PLAN.digests, "/absent.json": "d"}}, ["/absent.json is there now"]),
        ({"digests": {**PLAN.digests, "/drop-in.conf": "e"}}, ["/drop-in.conf was not looked at"]),
        ({"digests": {"/book.toml": "a", "/absent.json": ""}}, ["/client.json is not looked at any more"]),
        ({"places": ()}, ["the places that it would change are others"]),
        ({"skipped": {"client": "absent"}}, ["the places that it would change are others"]),
        ({"newest": "r2"}, ["run r2 was made since"]),
        ({"newest": ""}, ["its last run is gone"]),
        ({"keyrotor": "2.0"}, ["it was made by keyrotor 1.0, this is 2.0"]),
        (
            {"digests": {**PLAN.digests, "/book.toml": "x", "/client.json": "y"}, "newest": "r2"},
            ["/book.toml has changed", "/client.json has changed", "run r2 was made since"],
        ),
    ],
)
def test_everything_that_has_changed_is_named(present: dict[str, object], named: list[str]) -> None:
    """Each by its own name, all at once."""
    assert differences(PLAN, replace(PLAN, **present)) == named  # type: ignore[arg-type]


def test_a_sentence_is_no_span() -> None:
    """Only what has bytes of its own is shown as a difference."""
    assert Change("key", 1, 1, 4, 9, 5).is_span
    assert not Change("sops_mac", 8, text="the checksum").is_span


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("$", "$"),
        ("[3]", "[3]"),
        ("a", "a"),
        ("models[0].apiKey", "models[0].apiKey"),
        ("env.ANTHROPIC_AUTH_TOKEN", "env.ANTHROPIC_AUTH_TOKEN"),
        ("w" * 32, "w" * 32),
        ("w" * 33, "[…]"),
        ('["https://bob:hunter2@h/"].apiKey', "[…].apiKey"),
        ('a["0"].b', "a[…].b"),
        (r'a["\"].b[\"]"].c', "a[…].c"),
        ("größe.key", "[…].key"),
        ("a.sk-abc.b", "a[…].b"),
        ("info.secret.x", "info[…].x"),
        ("a]b", "[…]"),
        ("", ""),
    ],
)
def test_only_plain_short_keys_of_a_path_are_shown(path: str, shown: str) -> None:
    """Each other step is hidden whole, and what is no path at all; a place in a list is no key."""
    assert shown_path(path, "secret".__eq__) == shown


@pytest.mark.parametrize(
    "made",
    [
        lambda: "ghp_" + secrets.token_hex(18),
        lambda: "a1" + secrets.token_hex(8),
        lambda: "glpat-aB1" + secrets.token_urlsafe(15),
        lambda: "aB1-" + "-".join(secrets.token_hex(2) for _ in range(3)),
    ],
)
def test_a_key_that_looks_random_is_hidden(made: Callable[[], str]) -> None:
    """It may be somebody's token."""
    word = made()
    assert shown_path(f"a.{word}.apiKey", lambda _: False) == "a[…].apiKey"
