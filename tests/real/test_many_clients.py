"""A thousand client files: all of them, or none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from on_lab import Keyrotor, add_command, stray

from keyrotor.demo.lab import Lab

COUNT, FAILING = 1000, 700


@pytest.fixture
def clients(lab: Lab) -> Path:
    """The folder of so many clients, each a place of the playbook."""
    folder = lab.home / "clients"
    folder.mkdir()
    text = lab.settings.read_text()
    places = []
    for number in range(COUNT):
        path = folder / f"{number:03}.json"
        path.write_text(text)
        path.chmod(0o600)
        places.append(f'\n[[place]]\nkind = "client-file"\nid = "c{number}"\npath = "~/clients/{path.name}"\n')
    lab.playbook.write_text(lab.playbook.read_text() + "".join(places))
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_a_thousand_files_are_written_and_one_that_fails_puts_all_of_them_back(
    lab: Lab, keyrotor: Keyrotor, clients: Path
) -> None:
    """File 700 becomes a folder once the gateway runs with the new key: every other is as before, byte for byte."""
    before, old = contents(clients), lab.current_key()
    path = clients / f"{FAILING:03}.json"
    wrecking = lab.root / "wrecking"
    wrecking.touch()
    away = f'[ -e {wrecking} ] && [ "$KEYROTOR_VALUE" = new ] && mv {path} {path}.aside && mkdir {path}'
    again = f'[ "$KEYROTOR_VALUE" = old ] && [ -d {path} ] && rmdir {path} && mv {path}.aside {path}'
    add_command(lab, f"{away}; {again}; true", before="client-file")

    done = keyrotor(lab, "rotate", "--yes", "--json")
    report = json.loads(done.stdout)
    assert (done.returncode, report["outcome"]) == (20, "rolled-back"), done.stderr
    assert report["reason"].startswith(f"c{FAILING}: ")
    assert contents(clients) == before
    assert lab.current_key() == old
    assert lab.status(old) == 200

    wrecking.unlink()
    done = keyrotor(lab, "rotate", "--yes")
    assert done.returncode == 0, done.stderr
    new = lab.current_key().encode()
    assert contents(clients) == {name: data.replace(old.encode(), new) for name, data in before.items()}
    assert stray(lab.root, [old]) == []
