"""What kind of machine this is, and who we are on it."""

from __future__ import annotations

import os
import pwd
import socket
import sys


def is_macos() -> bool:
    return sys.platform == "darwin"


def user_id() -> int:
    return os.getuid()


def name() -> str:
    """What it is called in its network."""
    return os.uname().nodename


def who() -> str:
    """user@host; the user by number where it has no name."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
