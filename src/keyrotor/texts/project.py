"""The text of a project's own files: sops' rules, git's, direnv's. Pure.

Rules:
1. A path stands in a text so that it means the same in another home: below HOME it is written by `$HOME`.
2. What stands in a file already is looked for line by line; nothing of it is ever repeated elsewhere.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

_RECIPIENT = re.compile(r"\bage1[^\s\"',#]*")
_HEADING = re.compile(r"\A(?:#[^\n]*\n)*")

ATTRIBUTES = ("*.enc.env text eol=lf",)
_ATTRIBUTES = "# sops cannot read an encrypted dotenv file with CRLF line ends.\n"

IGNORED = (
    *(".env", ".env.*", "*.env", "!*.enc.env", "!.env.example"),
    ".*.keyrotor*",
    *("keys.txt", "*.age"),
    ".factory/settings.local.json",
)
_IGNORE = """\
# Plain text of secrets stays out of git. `*.enc.env` is encrypted, and belongs in.
.env
.env.*
*.env
!*.enc.env
!.env.example
# An age identity opens all that is encrypted for it.
keys.txt
*.age
# What a keyrotor that was killed leaves beside a file until its next run.
.*.keyrotor*
# What droid keeps for this machine alone.
.factory/settings.local.json
"""

_ENVRC = """\
# The gateway's keys, as `keyrotor` keeps them in this file. One `direnv allow` is enough: a rotation changes the file
# and not this text. The next prompt has the new key.
"""
_SOPS = "# Where sops finds the age identity.\n"


def rules(template: str, recipients: Sequence[str]) -> str:
    """`.sops.yaml` for these age recipients, by the shipped one."""
    head = "# Which files sops encrypts, and for whom: the public halves of the age identities that open them.\n"
    body = _HEADING.sub("", template)
    return head + _RECIPIENT.sub(lambda _: ",".join(recipients), body)


def attributes() -> str:
    return _ATTRIBUTES + "".join(f"{line}\n" for line in ATTRIBUTES)


def ignored() -> str:
    return _IGNORE


def missing(text: str, wanted: Sequence[str]) -> list[str]:
    """The wanted lines that the text has not."""
    has = {" ".join(line.split()) for line in text.splitlines()}
    return [line for line in wanted if line not in has]


def envrc(env_file: str, home: str, exports: Sequence[tuple[str, str]] = ()) -> str:
    """`.envrc`: the materialised file into the shell's environment; `exports` are set before."""
    told = "".join(f"export {name}={word(value, home)}\n" for name, value in exports)
    return _ENVRC + envrc_line(env_file, home) + "\n" + (_SOPS + told if told else "")


def envrc_line(env_file: str, home: str) -> str:
    return f"dotenv_if_exists {word(env_file, home)}"


def word(text: str, home: str) -> str:
    """A path as a word for bash; below the home by `$HOME`."""
    inside = text.removeprefix(home.rstrip("/") + "/")
    if home in ("", "/") or inside == text:
        return shlex.quote(text)
    return '"$HOME"/' + shlex.quote(inside)
