"""What an audit says while an incident is open: that the key has leaked, and never to put it back."""

from __future__ import annotations

import json

import pytest
from on_lab import Keyrotor, add_place, found, new_value
from test_audit_record import commit, the_only
from test_incident import OPEN, respond
from test_incident_first_aid import FirstAid, empty, put_another

from keyrotor.demo.lab import Lab
from keyrotor.demo.user_systemd import UserManager


def others_too(lab: Lab, keyrotor: Keyrotor) -> None:
    """Another playbook of the key, and another path to the same one, are told of the leak as well."""
    lab.playbook.with_name("other.toml").write_text(lab.playbook.read_text())
    link = lab.project.with_name("link")
    link.symlink_to(lab.project)
    for name in ("other", str(link / "playbooks" / lab.playbook.name)):
        assert found(keyrotor, lab, name) == ["key-leaked"], name
    lab.playbook.with_name("other.toml").unlink()
    link.unlink()


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
    others_too(clean_lab, keyrotor)
    for options in (["--dry-run"], ["--yes"]):
        refused = keyrotor(clean_lab, "repair", *options)
        assert (refused.returncode, refused.stdout) == (3, "")
        assert f"has leaked, is not replaced yet, and would be put back ({case})\n" in refused.stderr
        assert f"hint: keyrotor incident resume {case}" in refused.stderr


def test_what_the_rotation_has_left_to_people_is_counted(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """A client that could not follow: the incident cannot be closed before somebody has put the key there."""
    respond(clean_lab)
    client = clean_lab.home / "client.json"
    client.write_text(f'{{"key": "{new_value()}"}}')
    add_place(clean_lab, f'kind = "client-file"\nid = "late"\npath = "{client}"')
    assert keyrotor(clean_lab, *OPEN).returncode == 0
    findings = json.loads(keyrotor(clean_lab, "audit", "--json").stdout)["findings"]
    (told,) = [one["text"] for one in findings if one["id"] == "incident-open"]
    assert told.endswith("is open: 2 tasks for people")


def test_an_incident_that_waits_for_people(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """Its key is replaced, its task is not done; once it is closed there is nothing to be found. A rollback of its
    run brings the leaked key back, which is told again, until somebody rotates by hand at the least. A stale checkout
    is told, too, and how to undo it; that the leaked value count again is not offered."""
    respond(clean_lab)
    assert keyrotor(clean_lab, *OPEN).returncode == 0
    clean_lab.run("git", "checkout", "--quiet", "HEAD", "--", "secrets")
    first = json.loads(keyrotor(clean_lab, "audit", "--json").stdout)["findings"][0]
    assert (first["id"], "--accept-former" in first["mend"]) == ("leak-revived", False)
    clean_lab.run("/bin/sh", "-c", first["mend"].partition("  (")[0])
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
