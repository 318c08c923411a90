"""docs/reference/json-schema.json describes what `--json` really prints on a lab; a key that is missing is told."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from keyrotor.core.checkup import State
from keyrotor.core.findings import Severity
from keyrotor.core.machine import Step
from keyrotor.core.model import Act, Outcome
from keyrotor.core.preview import State as Planned
from keyrotor.demo.lab import Lab
from keyrotor.errors import Exit
from real.on_lab import Keyrotor, MakeLab, add_command, add_place, edit

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "reference" / "json-schema.json").read_text())
COMMANDS = [option["$ref"].rpartition("/")[2] for option in SCHEMA["anyOf"]]


def validator(of: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator({**SCHEMA, "anyOf": [{"$ref": f"#/$defs/{of}"}]})


def want(of: str, told: dict[str, Any]) -> None:
    """It is such an object, and of none of its keys is nothing said."""
    validator(of).validate(told)
    assert unknown(SCHEMA["$defs"][of], told) == []


def unknown(schema: dict[str, Any], told: Any, where: str = "") -> list[str]:
    """The keys that the schema does not name, wherever in the object."""
    while "$ref" in schema:
        schema = SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]]
    if isinstance(told, list):
        return [found for one in told for found in unknown(schema.get("items", {}), one, f"{where}[]")]
    if not isinstance(told, dict) or "properties" not in schema:
        return []
    named = schema["properties"]
    here = [f"{where}.{key}" for key in told if key not in named]
    return here + [found for key in told if key in named for found in unknown(named[key], told[key], f"{where}.{key}")]


def parts(told: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every key of the object."""
    if isinstance(told, dict):
        for key, inner in told.items():
            yield (*path, key)
            yield from parts(inner, (*path, key))
    elif isinstance(told, list) and told:
        yield from parts(told[0], (*path, 0))


def without(told: dict[str, Any], path: tuple[Any, ...]) -> dict[str, Any]:
    made = copy.deepcopy(told)
    inner: Any = made
    for key in path[:-1]:
        inner = inner[key]
    del inner[path[-1]]
    return made


# Below these the keys are names of things: places, variables.
NAMES = ("tasks", "skipped", "environment", "fingerprints")


def printed(keyrotor: Keyrotor, lab: Lab, *arguments: str, code: int = 0) -> dict[str, Any]:
    done = keyrotor(lab, *arguments, "--json")
    assert done.returncode == code, (done.stdout, done.stderr)
    return dict(json.loads(done.stdout))


def test_the_schema_is_one() -> None:
    """It is a JSON Schema of draft 2020-12, and every definition is used."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    text = json.dumps(SCHEMA)
    assert [name for name in SCHEMA["$defs"] if f'"#/$defs/{name}"' not in text] == []


@pytest.mark.parametrize(
    ("words", "schema"),
    [
        (Outcome, SCHEMA["$defs"]["outcome"]),
        (Exit, SCHEMA["$defs"]["exit"]),
        (Severity, SCHEMA["$defs"]["severity"]),
        (State, SCHEMA["$defs"]["line"]["properties"]["state"]),
        (Act, SCHEMA["$defs"]["planned"]["properties"]["act"]),
        (Planned, SCHEMA["$defs"]["planned"]["properties"]["state"]),
    ],
)
def test_every_word_of_a_closed_list_is_in_the_schema(words: Any, schema: dict[str, Any]) -> None:
    """Words that the program adds are added there."""
    assert {word.value for word in words} == set(schema["enum"])


def test_every_state_of_a_place_is_in_the_schema() -> None:
    """Those of a row, and `skipped`."""
    places = SCHEMA["$defs"]["run"]["properties"]["places"]["items"]
    assert set(places["properties"]["state"]["enum"]) == {*Step, "skipped"}


def test_what_is_printed_is_what_the_schema_says(make_lab: MakeLab, keyrotor: Keyrotor) -> None:
    """Every command, well and ill, on one lab; and without any one of its keys it would not be."""
    lab = make_lab()
    add_place(lab, 'kind = "by-hand"\ntask = "tell Ann"')
    told: list[tuple[str, dict[str, Any]]] = [
        ("audit", printed(keyrotor, lab, "audit", "--fail-on", "never")),
        ("status", printed(keyrotor, lab, "status")),
        ("plan", printed(keyrotor, lab, "plan")),
        ("run", printed(keyrotor, lab, "rotate", "--yes")),
        ("run", printed(keyrotor, lab, "rotate", "--yes", "--if-due")),
        ("run", printed(keyrotor, lab, "rotate", code=2)),
        ("run", printed(keyrotor, lab, "repair", "--yes")),
        ("doctor", printed(keyrotor, lab, "doctor")),
        ("healthcheck", printed(keyrotor, lab, "healthcheck")),
        ("log", printed(keyrotor, lab, "log")),
        ("status", printed(keyrotor, lab, "status")),
    ]
    run = told[-2][1]["runs"][0]["run"]
    told.append(("log-of-a-run", printed(keyrotor, lab, "log", run, "--verify")))
    told.append(("done", printed(keyrotor, lab, "done", f"{run}-1")))
    told.append(("run", printed(keyrotor, lab, "log", "no-such-run", code=2)))
    told.append(("service-status", printed(keyrotor, lab, "service", "status", code=10)))
    told.append(("timer", printed(keyrotor, lab, "timer", "install", "--dry-run")))
    told.append(("timer-status", printed(keyrotor, lab, "timer", "status", code=10)))
    told.append(("due", printed(keyrotor, lab, "due", code=1)))
    told.append(("bootstrap", printed(keyrotor, lab, "bootstrap", "--dry-run")))
    told.append(("clients-discover", printed(keyrotor, lab, "clients", "discover")))
    looked = printed(keyrotor, lab, "sweep", "--value-from", "current", "--files-only", str(lab.home))
    told.append(("sweep", looked))
    edit(lab.env_file, lab.current_key(), "sk-something-else-than-the-key")
    told.append(("env", printed(keyrotor, lab, "env", "--check", code=10)))
    told.append(("dry-repair", printed(keyrotor, lab, "repair", "--dry-run")))
    told.append(("audit", printed(keyrotor, lab, "audit", "--fail-on", "never")))
    refused = printed(keyrotor, lab, "plan", code=3)
    told.append(("plan", refused))
    told.append(("run", printed(keyrotor, lab, "repair", "--yes")))
    lab.playbook.write_text(f'{lab.playbook.read_text()}\n[[notify]]\nkind = "command"\nrun = ["true"]\n')
    told.append(("notify", printed(keyrotor, lab, "notify", "--test")))
    add_command(lab, "exit 1")
    told.append(("run", printed(keyrotor, lab, "rotate", "--yes", code=21)))
    told.append(("audit", printed(keyrotor, lab, "audit", "--fail-on", "never")))
    told.append(("status", printed(keyrotor, lab, "status")))
    (lab.state / "head.json").unlink()
    told.append(("log-broken", printed(keyrotor, lab, "log", "--verify", code=1)))
    # tests/real/test_service.py, tests/test_inquest.py and tests/real/test_incident.py have these.
    elsewhere = {"service", "incident-report", "incident", "incident-closed", "log-of-an-incident"}
    assert {of for of, _ in told} == set(COMMANDS) - elsewhere
    for of, one in told:
        if of == "plan" and "outcome" in one:  # a refused plan: the keys of a run besides
            validator(of).validate(one)
            continue
        want(of, one)
        for path in parts(one):
            if not set(path[:-1]) & set(NAMES):
                assert not validator(of).is_valid(without(one, path)), (of, path)


def test_a_value_of_another_type_is_not_valid(make_lab: MakeLab, keyrotor: Keyrotor) -> None:
    """The schema says what each key holds, not only that it is there."""
    told = printed(keyrotor, make_lab(), "audit", "--fail-on", "never")
    for key, other in {"exit": "0", "audited": "yesterday", "playbooks": {}, "schema": 2}.items():
        assert not validator("audit").is_valid({**told, key: other}), key
    assert validator("audit").is_valid({**told, "added": "later"})
