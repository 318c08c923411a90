"""Where things are left behind, and what a file is called by its path."""

from __future__ import annotations

from pathlib import Path

import pytest

from keyrotor.sweeping import haunts


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/a/.bash_history", "shell history"),
        ("/home/a/.zsh_history", "shell history"),
        ("/home/a/.histfile", "shell history"),
        ("/home/a/.local/share/fish/fish_history", "shell history"),
        ("/home/a/.python_history", "history of a program"),
        ("/home/a/.psql_history", "history of a program"),
        ("/home/a/.node_repl_history", "history of a program"),
        ("/home/a/.sqlite_history", "history of a program"),
        ("/home/a/.lesshst", "history of a program"),
        ("/home/a/.viminfo", "history of a program"),
        ("/home/a/.local/state/nvim/shada/main.shada", "history of a program"),
        ("/home/a/x/.notes.txt.swp", "editor swap"),
        ("/home/a/x/.notes.txt.swo", "editor swap"),
        ("/home/a/x/.notes.txt.un~", "editor swap"),
        ("/home/a/x/#notes.txt#", "editor swap"),
        ("/home/a/.local/state/nvim/swap//%home%a", "editor swap"),
        ("/home/a/x/notes.txt~", "editor backup"),
        ("/home/a/x/notes.env.bak", "editor backup"),
        ("/home/a/.config/Code/User/History/1/a.json", "editor backup"),
        ("/home/a/.config/Code/Backups/1/file/2", "editor backup"),
        ("/home/a/.cache/JetBrains/PyCharm2024.1/LocalHistory/changes.storageData", "editor backup"),
        ("/home/a/.emacs.d/auto-save-list/.saves-1", "editor backup"),
        ("/home/a/.local/share/Trash/files/x", "trash"),
        ("/mnt/disk/.Trash-1000/files/x", "trash"),
        ("/home/a/.local/share/klipper/history2.lst", "clipboard manager"),
        ("/home/a/.cache/cliphist/db", "clipboard manager"),
        ("/home/a/.local/share/containers/storage/overlay/1/diff/etc/x", "container layer"),
        ("/var/lib/systemd/coredump/core.python.1.zst", "core dump"),
        ("/home/a/x/core.1234", "core dump"),
        ("/home/a/x/server.log", "log"),
        ("/home/a/x/server.log.1.gz", "log"),
        ("/tmp/x", "temporary file"),
        ("/dev/shm/x", "temporary file"),
        ("/run/user/1000/x", "temporary file"),
        ("/home/a/x/settings.json", ""),
        ("/home/a/tmp/settings.json", ""),
        ("/home/a/x/history.py", ""),
        ("/home/a/x/core.py", ""),
    ],
)
def test_a_file_is_named_by_its_path(path: str, kind: str) -> None:
    """What a person calls it."""
    assert haunts.kind(path) == kind


def test_folders_that_variables_name_are_looked_through(tmp_path: Path) -> None:
    """Those that are there, each once; a relative one means nothing."""
    (tmp_path / "history").write_text("x")
    env = {"TMPDIR": str(tmp_path), "HISTFILE": str(tmp_path / "history"), "XDG_CACHE_HOME": str(tmp_path / "gone")}
    found = list(haunts.usual({**env, "TEMP": str(tmp_path), "TMP": "relative"}))
    assert Path("/tmp") in found
    assert [path for path in found if path.is_relative_to(tmp_path)] == [tmp_path, tmp_path / "history"]
