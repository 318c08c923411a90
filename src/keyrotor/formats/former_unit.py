"""What is kept of a unit that stood where ours goes, and what a unit's text starts its program with. Pure.

What is kept is the file as it was and a last line, JSON behind our mark, that says how the unit was.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from keyrotor.errors import RefusedError

KEPT = ".before-keyrotor"  # what is put behind the name of a former unit file that is kept
EDITED = ".edited"  # what is put behind the name of a unit of ours that somebody had changed
_MARK = b"\n# keyrotor service: before it, "
_IN_A_COMMAND = re.compile(r"""(\w+)=["']?([^\s"';]*)""")
_FORMER = re.compile(re.escape(_MARK) + rb"(\{.*\})\n\Z")


@dataclass(frozen=True, slots=True)
class Former:
    """How a unit was that stood there before ours, in systemctl's words."""

    enabled: str
    active: str
    mode: int  # of its file
    elsewhere: str = ""  # its file in another folder, where ours only goes before it; "" if it stood here
    links: tuple[str, ...] = ()  # the folders with a link to it: `timers.target.wants`
    env_files: tuple[str, ...] = ()  # as systemd knew them, paths or patterns

    @property
    def was_active(self) -> bool:
        return self.active in ("active", "activating", "reloading")


@dataclass(frozen=True, slots=True)
class Settings:
    """What a unit's text says of the environment and the folder that its program starts in."""

    literals: dict[str, bytes]
    env_files: tuple[str, ...]
    folder: str


def kept(data: bytes, former: Former) -> bytes:
    """What is kept of a former unit."""
    return data + _MARK + json.dumps(asdict(former)).encode() + b"\n"


def brought_back(data: bytes) -> tuple[bytes, Former]:
    """The former unit's own file, and how the unit was. Raises RefusedError for what `kept` has not made."""
    found = _FORMER.search(data)
    try:
        said = json.loads(found[1]) if found else {}
        former = Former(**{**said, "links": tuple(said["links"]), "env_files": tuple(said["env_files"])})
    except (ValueError, KeyError, TypeError):
        raise RefusedError("cannot tell how the former unit was: the last line of the kept file was changed") from None
    return data[: found.start()] if found else b"", former


def settings(*texts: bytes) -> Settings:
    """What these texts, a unit's and its drop-ins', set; a `KEY=value` in a command counts as well, and last."""
    literals: dict[str, bytes] = {}
    started: dict[str, bytes] = {}
    env_files: list[str] = []
    folder = ""
    for name, value in (each for text in texts for each in _assignments(text)):
        if name == "Environment":
            literals = {**literals, **_words(value)} if value else {}
        elif name == "EnvironmentFile":
            env_files = [*env_files, value.removeprefix("-")] if value else []
        elif name == "WorkingDirectory":
            folder = value
        elif name.startswith("Exec"):
            started |= {key: _bytes(text) for key, text in _IN_A_COMMAND.findall(value)}
    return Settings({**literals, **started}, tuple(env_files), folder)


def _assignments(text: bytes) -> Iterator[tuple[str, str]]:
    """`Name=value` of every line, with a line that ends in a backslash joined to the next one."""
    joined = re.sub(r"\\\r?\n(?:[ \t]*[#;].*\n)*", " ", text.decode("utf-8", "surrogateescape"))
    for line in joined.splitlines():
        name, is_one, value = line.strip().partition("=")
        if is_one and name[:1] not in ("#", ";", "["):
            yield name.strip(), value.strip()


def _words(value: str) -> dict[str, bytes]:
    """The `KEY=value` among the words of a line."""
    try:
        words = shlex.split(value)
    except ValueError:
        words = value.split()
    pairs = (word.partition("=") for word in words)
    return {name: _bytes(text) for name, is_one, text in pairs if is_one}


def _bytes(text: str) -> bytes:
    return text.replace("%%", "%").encode("utf-8", "surrogateescape")
