"""What kind of machine this is, and who we are on it."""

from __future__ import annotations

import os
import sys


def is_macos() -> bool:
    return sys.platform == "darwin"


def user_id() -> int:
    return os.getuid()
