"""The signed head of the record, by the real program on a lab: who signs, who finds what was cut off, who goes on."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from typing import Any

from keyrotor.demo.lab import Lab
from real.on_lab import Keyrotor, found


def verified(keyrotor: Keyrotor, lab: Lab, code: int = 0) -> dict[str, Any]:
    done = keyrotor(lab, "log", "--verify", "--json")
    assert done.returncode == code, done.stderr
    told = json.loads(done.stdout)
    assert told["verified"] == (code == 0)
    return dict(told["record"])


def test_a_record_that_was_cut_off_is_found_and_keeps_no_rotation_back(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """Its head is signed by each rotation; `log --verify`, audit and doctor say what is missing; a rotation says
    that it does not sign such a record, and what was done is found afterwards as before."""
    lab = clean_lab
    before = verified(keyrotor, lab)
    assert before["signed"] == before["entries"] > 10
    assert keyrotor(lab, "rotate", "--yes").returncode == 0
    record = verified(keyrotor, lab)
    assert record["signed"] == record["entries"] > before["entries"]
    assert record["key"] == before["key"]
    human = keyrotor(lab, "log", "--verify").stdout
    assert f"{record['entries']} of {record['entries']} entries are signed by key {record['key'][:16]}" in human

    with contextlib.closing(sqlite3.connect(lab.state / "journal.sqlite3")) as database, database:
        database.execute("DELETE FROM events WHERE seq > ?", (before["entries"],))
    fault = verified(keyrotor, lab, 1)["fault"]
    assert (fault["flaw"], fault["seq"]) == ("truncated", before["entries"] + 1)
    told = keyrotor(lab, "log", "--verify")
    assert told.stdout == ""
    assert f"entries {before['entries'] + 1} to {record['entries']} are missing" in told.stderr
    assert "record-broken" in found(keyrotor, lab)
    doctor = json.loads(keyrotor(lab, "doctor", "--json").stdout)
    assert [line["name"] for line in doctor["lines"] if line["state"] == "ill"] == ["record"]

    head = (lab.state / "head.json").read_bytes()
    done = keyrotor(lab, "rotate", "--yes")
    assert done.returncode == 0, done.stderr
    assert "the head of the record is not signed: " in done.stdout
    assert (lab.state / "head.json").read_bytes() == head
    assert verified(keyrotor, lab, 1)["fault"]["flaw"] == "rewritten"
