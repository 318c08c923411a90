"""`audit --prometheus FILE`: what it never writes over, and two audits that write at once; with real processes."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from keyrotor.boundary import files
from keyrotor.demo.lab import Lab
from keyrotor.errors import PlaceError
from real.on_lab import SRC, Keyrotor, differing, tree

OTHERS = [
    "a playbook",
    "the encrypted file",
    "a folder",
    "a pipe",
    "a socket",
    "-",
    "an empty file",
    "another's metrics",
]


def other(lab: Lab, which: str) -> str:
    """The path of something that is none of our metrics files."""
    path = lab.root / "textfile.prom"
    if which == "a playbook":
        return str(lab.playbook)
    if which == "the encrypted file":
        path.symlink_to(lab.secret_file)
    elif which == "a folder":
        path.mkdir()
    elif which == "a pipe":
        os.mkfifo(path)
    elif which == "a socket":  # in the stead of a device: a test that fails would replace the machine's own
        with socket.socket(socket.AF_UNIX) as made:
            folder = os.open(path.parent, os.O_RDONLY)  # an address is short, and this path is not
            made.bind(f"/proc/self/fd/{folder}/{path.name}")
            os.close(folder)
    elif which == "an empty file":
        path.touch()
    elif which == "another's metrics":
        path.write_text("# HELP node_load1 1m load average.\nnode_load1 1\n")
    return "-" if which == "-" else str(path)


@pytest.mark.parametrize("which", OTHERS)
def test_nothing_but_metrics_of_ours_is_written_over(clean_lab: Lab, keyrotor: Keyrotor, which: str) -> None:
    """A usage error, before anything is looked at: FILE was forgotten, or is not what somebody thought."""
    path = other(clean_lab, which)
    before = tree(clean_lab)
    done = keyrotor(clean_lab, "audit", "--prometheus", path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"keyrotor: cannot write {path}: ")
    assert done.stdout == ""
    assert differing(before, tree(clean_lab)) == []


def test_metrics_of_ours_are_written_again(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """As often as one likes, also where a link points to them."""
    path, link = clean_lab.root / "keyrotor.prom", clean_lab.root / "link.prom"
    link.symlink_to(path)
    for file in (path, path, link):
        assert keyrotor(clean_lab, "audit", "--prometheus", str(file)).returncode == 0
    assert link.is_symlink()
    assert len(list(text_string_to_metric_families(path.read_text()))) > 5


WRITER = """
import sys
from pathlib import Path
from keyrotor.boundary import files
path, word = Path(sys.argv[1]), sys.argv[2].encode()
for _ in range(150):
    files.publish(path, word * 100_000)
"""


def test_two_writers_and_a_reader(tmp_path: Path) -> None:
    """Each content is whole and readable by everybody, neither writer fails, and nothing is left behind."""
    path = tmp_path / "keyrotor.prom"
    files.publish(path, b"a" * 100_000)
    environment = {**os.environ, "PYTHONPATH": str(SRC)}
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), word], env=environment, stderr=subprocess.PIPE, text=True
        )
        for word in ("a", "b")
    ]
    seen: set[tuple[int, int, int]] = set()
    while any(writer.poll() is None for writer in writers):
        with path.open("rb") as file:
            data, mode = file.read(), stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        seen.add((len(data), len(set(data)), mode))
    assert [writer.communicate()[1] for writer in writers] == ["", ""]
    assert seen == {(100_000, 1, 0o644)}
    assert os.listdir(tmp_path) == ["keyrotor.prom"]


def test_what_cannot_be_published_leaves_nothing_behind(tmp_path: Path) -> None:
    """A folder of that name: the sibling that was written is gone."""
    path = tmp_path / "keyrotor.prom"
    path.mkdir()
    with pytest.raises(PlaceError, match="cannot write"):
        files.publish(path, b"x")
    assert os.listdir(tmp_path) == ["keyrotor.prom"]
