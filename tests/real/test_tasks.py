"""What a rotation leaves to a person: printed, kept in `status`, ticked off by `done`."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from on_lab import Keyrotor, add_place, events, keyrotor_argv, keyrotor_env

from keyrotor.demo.lab import Lab

REFERRING = '{"apiKey": "${LITELLM_MASTER_KEY}"}'


@pytest.fixture
def referring(lab: Lab) -> Path:
    """A client that refers to the variable, and whose process keeps the environment that it was started with."""
    path = lab.root / "referring.json"
    path.write_text(REFERRING)
    add_place(lab, f'kind = "client-file"\nid = "referring"\npath = "{path}"')
    return path


def todo(keyrotor: Keyrotor, lab: Lab) -> list[dict[str, str]]:
    found = json.loads(keyrotor(lab, "status", "--json").stdout)["todo"]
    assert isinstance(found, list)
    return found


def test_what_is_left_to_a_person_stays_open_until_it_is_ticked_off(
    lab: Lab, keyrotor: Keyrotor, referring: Path
) -> None:
    """It is printed with the command that ends it, is in JSON, and is gone after that command, and not before."""
    done = keyrotor(lab, "rotate", "--yes", "--json")
    report = json.loads(done.stdout)
    assert (done.returncode, [task["place"] for task in report["todo"]]) == (0, ["referring"])
    assert str(referring) in report["todo"][0]["text"]
    assert referring.read_text() == REFERRING
    name = report["todo"][0]["id"]
    assert name == f"{report['run']}-1"

    said = keyrotor(lab, "status").stdout
    assert f"to do: {report['todo'][0]['text']}  (then: keyrotor done {name})" in said
    assert todo(keyrotor, lab) == report["todo"]

    ticked = keyrotor(lab, "done", name)
    assert (ticked.returncode, ticked.stdout) == (0, f"done: {report['todo'][0]['text']}\n")
    assert todo(keyrotor, lab) == []
    assert keyrotor(lab, "log", "--verify").returncode == 0

    again = keyrotor(lab, "done", name)
    assert again.returncode == 2
    assert "nothing of that name is left to do" in again.stderr
    assert keyrotor(lab, "done", "abcdef-1").returncode == 2
    assert [kind for _, kind, _ in events(lab)][-1] == "done"

    undone = keyrotor(lab, "rollback")
    assert (undone.returncode, undone.stdout) == (0, "nothing is owed\n")
    assert keyrotor(lab, "rotate", "--yes").returncode == 0


def test_what_is_done_needs_neither_the_project_nor_a_reader(lab: Lab, keyrotor: Keyrotor, referring: Path) -> None:
    """The encrypted file may be elsewhere by then; and `status | true` is no error."""
    name = json.loads(keyrotor(lab, "rotate", "--yes", "--json").stdout)["todo"][0]["id"]
    assert referring.exists()
    lab.secret_file.parent.rename(lab.root / "elsewhere")
    read, write = os.pipe()
    os.close(read)
    status = keyrotor_argv("status")
    left = subprocess.run(
        status, check=False, cwd=lab.project, env=keyrotor_env(lab), stdout=write, stderr=subprocess.PIPE
    )
    os.close(write)
    assert (left.returncode, left.stderr) == (0, b"")
    assert keyrotor(lab, "done", name).returncode == 0


def test_a_later_rotation_asks_anew_and_so_does_a_rollback_by_name(
    lab: Lab, keyrotor: Keyrotor, referring: Path
) -> None:
    """Two rotations leave one task, the newer one's; what was restarted since must be restarted for the old value."""
    runs = [json.loads(keyrotor(lab, "rotate", "--yes", "--json").stdout)["run"] for _ in range(2)]
    assert [task["id"] for task in todo(keyrotor, lab)] == [f"{runs[1]}-1"]
    assert referring.exists()
    assert keyrotor(lab, "rollback", runs[1], "--yes").returncode == 0
    assert [task["id"] for task in todo(keyrotor, lab)] == [f"{runs[1]}-2"]
