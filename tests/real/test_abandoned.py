"""A run that is abandoned in the middle of a write leaves no value beside the file."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from on_lab import Keyrotor, add_place, keyrotor_env, stray

from keyrotor.demo.lab import Lab

# Dies in the write in place itself, between its first byte and its last.
TORN = """
import os, sys
from keyrotor.boundary import files
def torn(descriptor, data):
    os.write(descriptor, bytes(data)[: len(data) // 2])
    os.kill(os.getpid(), 9)
def overwriting(*arguments):
    files._write_all = torn
    overwrite(*arguments)
overwrite, files._overwrite = files._overwrite, overwriting
sys.argv = ["keyrotor", "rotate", "--yes"]
from keyrotor.cli import main
main()
"""


def test_what_a_killed_write_left_goes_with_the_run(lab: Lab, keyrotor: Keyrotor) -> None:
    """The intent of a write in place holds both contents: `abandon` finishes that write, and nothing is left."""
    path = lab.root / "bound.json"
    path.write_text(json.dumps({"key": lab.current_key()}))
    add_place(lab, f'kind = "client-file"\nid = "bound"\npath = "{path}"\nin_place = true')
    killed = subprocess.run(
        [sys.executable, "-c", TORN], check=False, cwd=lab.project, env=keyrotor_env(lab), capture_output=True
    )
    assert killed.returncode == -9, killed.stderr
    assert any(name.startswith("left over") for name in stray(lab.root, []))

    owed = json.loads(keyrotor(lab, "status", "--json").stdout)["owed"]
    abandoned = keyrotor(lab, "abandon", owed[0]["run"], "--reason", "mended by hand")
    assert abandoned.returncode == 0, abandoned.stderr
    assert stray(lab.root, []) == []
    assert json.loads(Path(path).read_text()) == {"key": lab.current_key()}
