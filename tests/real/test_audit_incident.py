"""What an audit says while an incident is open: that the key has leaked, and never to put it back."""

from __future__ import annotations

import json

import pytest
from on_lab import Keyrotor
from test_audit_record import commit, found, the_only
from test_incident import OPEN, respond
from test_incident_first_aid import FirstAid, empty, put_another

from keyrotor.demo.lab import Lab
from keyrotor.demo.user_systemd import UserManager


@pytest.mark.parametrize(("first_aid", "is_stopped"), [(put_another, False), (empty, True)])
def test_a_leaked_key_that_is_not_replaced(
    clean_lab: Lab, keyrotor: Keyrotor, manager: UserManager, first_aid: FirstAid, is_stopped: bool
) -> None:
    """The env file has something else by first aid, and the gateway is down by the containment: that is no drift for
    `repair`, which would put the leaked key back, and refuses to."""
    respond(clean_lab, "stop" if is_stopped else "none")
    first_aid(clean_lab)
    identity = clean_lab.identity.read_bytes()
    if is_stopped:
        clean_lab.identity.unlink()
    assert keyrotor(clean_lab, *OPEN).returncode == 21
    clean_lab.identity.write_bytes(identity)
    case = json.loads(keyrotor(clean_lab, "incident", "status", "--json").stdout)["incidents"][0]["incident"]
    only = the_only(keyrotor, clean_lab)
    assert (only["id"], only["mend"]) == ("key-leaked", f"keyrotor incident resume {case}")
    assert only["text"] == f"its LITELLM_MASTER_KEY has leaked (incident {case}) and is not replaced"
    for options in (["--dry-run"], ["--yes"]):
        refused = keyrotor(clean_lab, "repair", *options)
        assert (refused.returncode, refused.stdout) == (3, "")
        assert f"has leaked, is not replaced yet, and would be put back ({case})\n" in refused.stderr
        assert f"hint: keyrotor incident resume {case}" in refused.stderr


def test_an_incident_that_waits_for_people(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """Its key is replaced, its task is not done; once it is closed there is nothing to be found. A rollback of its
    run brings the leaked key back, which is told again, until somebody rotates by hand at the least."""
    respond(clean_lab)
    assert keyrotor(clean_lab, *OPEN).returncode == 0
    commit(clean_lab)
    only = the_only(keyrotor, clean_lab)
    assert (only["id"], only["text"].endswith("is open: 1 task for people")) == ("incident-open", True), only
    run = str(json.loads(keyrotor(clean_lab, "log", "--json").stdout)["runs"][-1]["run"])
    assert keyrotor(clean_lab, "rollback", run, "--confirm", run).returncode == 0
    commit(clean_lab)
    assert "key-leaked" in found(keyrotor, clean_lab)
    assert keyrotor(clean_lab, "rotate", "--yes").returncode == 0
    commit(clean_lab)
    assert found(keyrotor, clean_lab) == ["incident-open"]
    assert keyrotor(clean_lab, "incident", "resume").returncode == 0
    commit(clean_lab)
    assert keyrotor(clean_lab, "incident", "close", "--cause", "a fork", "--force", "a test").returncode == 0
    assert found(keyrotor, clean_lab) == []
