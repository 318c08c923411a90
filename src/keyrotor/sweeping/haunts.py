"""Where values are left behind by accident, besides homes and projects; and what a file is, by its path."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

# Folders for what is not kept, and those where crashes are: here others' files lie, too.
_OF_ALL = ("/tmp", "/var/tmp", "/dev/shm", "/var/lib/systemd/coredump", "/var/crash")  # noqa: S108  looked at only
# What programs are told by variables to use in the stead of a home's folders.
_BY_VARIABLE = (
    *("TMPDIR", "TMP", "TEMP", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"),
    *("XDG_STATE_HOME", "HISTFILE", "PYTHON_HISTORY", "LESSHISTFILE", "SQLITE_HISTORY", "NODE_REPL_HISTORY"),
    *("PSQL_HISTORY", "MYSQL_HISTFILE", "VIMINIT_DIR", "DOCKER_CONFIG"),
)
_KINDS = tuple(
    (what, re.compile(pattern))
    for what, pattern in (
        (
            "shell history",
            r"/(\.(bash|zsh|sh|ksh|ash|dash|tcsh|history)_?history|\.histfile|\.zhistory|\.history|fish_history"
            r"|ConsoleHost_history\.txt|nushell/history\.(txt|sqlite3\S*)|\.bash_sessions/.*|\.zsh_sessions/.*)$",
        ),
        ("history of a program", r"/(\.?[a-z0-9_.-]+[_-]history|\.lesshst|\.viminfo|main\.shada|\.node_repl_history)$"),
        (
            "editor swap",
            r"/(\..*\.sw[a-p]|#[^/]*#|\.#[^/]*|[^/]*\.un~|\.~lock\.[^/]*)$|/nvim/(swap|undo)/|/\.vim/undo/",
        ),
        (
            "editor backup",
            r"/(User/History|Backups|LocalHistory|auto-save-list|\.?backups?|nvim/backup|\.vim/backup)/"
            r"|/[^/]+(~|\.(bak|orig|old|save|backup))$",
        ),
        ("trash", r"/(\.?Trash(-\d+)?|trash)/"),
        ("clipboard manager", r"/(klipper|clipman|cliphist|copyq|gpaste|parcellite|clipit|greenclip)[^/]*(/|$)"),
        ("container layer", r"/(containers/storage|docker/(overlay2|aufs|volumes)|containerd)/"),
        ("core dump", r"/(systemd/coredump|crash)/|/core(\.\d+)?$"),
        ("log", r"/[^/]+\.log(\.\d+)?(\.(gz|xz|zst|bz2))?$"),
        ("temporary file", r"^/(var/)?tmp/|^/dev/shm/|^/run/user/\d+/"),
    )
)


def usual(env: Mapping[str, str]) -> Iterator[Path]:
    """Those of the places outside of a home that are there."""
    named = (env.get(name, "") for name in _BY_VARIABLE)
    own = f"/run/user/{os.getuid()}"
    for path in dict.fromkeys((*_OF_ALL, own, *named)):
        if os.path.isabs(path) and os.path.exists(path):
            yield Path(path)


def kind(path: str) -> str:
    """What lies at such a path: "shell history", "editor swap", …; "" for any other file."""
    return next((what for what, pattern in _KINDS if pattern.search(path)), "")
