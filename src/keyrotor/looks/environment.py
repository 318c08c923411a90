"""What this process was started with: its variables, its terminal, its language.

Nothing of it stops a rotation by itself, so no line is ill here; but two environments can be compared.
A locale that the machine does not have is `unknown`: Python and sops go on without it, in the language C.
"""

from __future__ import annotations

import locale
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from keyrotor.core.checkup import Check, Line, State

_SHOWN = (  # they hold paths and names
    *("KEYROTOR_SOPS", "KEYROTOR_STATE_DIR", "SOPS_AGE_KEY_FILE", "SOPS_AGE_SSH_PRIVATE_KEY_FILE"),
    *("PATH", "HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"),
    *("PYTHON_KEYRING_BACKEND", "GNUPGHOME", "SSH_AUTH_SOCK", "LANG", "LC_ALL"),
)
_HIDDEN = ("SOPS_AGE_KEY", "SOPS_AGE_KEY_CMD", "SOPS_AGE_SSH_PRIVATE_KEY_CMD")  # they hold a key, or may


def that_matter(env: Mapping[str, str]) -> dict[str, str]:
    """The variables that matter to a rotation; of one that may hold a key only that it is there."""
    told = {name: env[name] for name in _SHOWN if env.get(name)}
    return told | {name: "…" for name in _HIDDEN if env.get(name)}


@dataclass(frozen=True, slots=True)
class Environment:
    env: Mapping[str, str]

    def checks(self) -> Iterator[Check]:
        yield Check("terminal", _terminal)
        yield Check("locale", self._locale)

    def _locale(self) -> Line | str:
        for name in ("LC_ALL", "LANG"):
            if (stated := self.env.get(name)) and not _is_known(stated):
                said = f"{name} is {stated}, which this machine does not have: programs speak the language C"
                return Line("locale", State.UNKNOWN, said)
        encoding = getattr(sys.__stdout__, "encoding", None) or "ascii"
        if encoding.lower().replace("-", "") != "utf8":
            return Line("locale", State.UNKNOWN, f"the encoding is {encoding}, not UTF-8: signs are shown in ASCII")
        return "the encoding is UTF-8"


def _terminal() -> str:
    if sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty():
        return "there is one: a rotation asks first, and Ctrl-C turns it back"
    return "there is none: a rotation needs --yes (a timer's has it)"


def _is_known(name: str) -> bool:
    present = locale.setlocale(locale.LC_CTYPE)
    try:
        locale.setlocale(locale.LC_CTYPE, name)
    except locale.Error:
        return False
    locale.setlocale(locale.LC_CTYPE, present)
    return True
