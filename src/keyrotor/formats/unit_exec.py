"""What a gateway's unit says of the gateway: its config, its host and port. Pure: the unit's text in, facts out."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

PORT = 4000  # where LiteLLM listens if nothing else is said


@dataclass(frozen=True, slots=True)
class Told:
    """What a command line of LiteLLM tells. "" and None: nothing."""

    config: str = ""
    host: str = ""
    port: int | None = None

    @property
    def url(self) -> str:
        """Where it answers to this machine; "" where the command line says nothing of it."""
        return address(self.host, self.port or PORT) if self.config or self.port else ""


def address(host: str, port: int) -> str:
    """How this machine reaches it: one that listens everywhere listens on loopback, too."""
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "[::1]", "localhost": "127.0.0.1"}.get(host, host)  # noqa: S104  an address is read, not listened on
    return f"http://[{host}]:{port}" if ":" in host and not host.startswith("[") else f"http://{host}:{port}"


def arguments(text: str, home: str) -> list[str]:
    """The words of the unit's last ExecStart=, the specifiers that mean a path put in."""
    whole = re.sub(r"\\\r?\n", " ", text)
    commands = re.findall(r"^[ \t]*ExecStart[ \t]*=[ \t]*([^\r\n]*)", whole, re.MULTILINE)
    if not commands:
        return []
    try:
        words = shlex.split(commands[-1].lstrip("@-:+!"))
    except ValueError:
        return []
    known = {"%h": home, "%%": "%"}
    return [re.sub(r"%.", lambda found: known.get(found[0], found[0]), word).replace("$$", "$") for word in words]


def of_unit(text: str, socket: str, home: str) -> Told:
    """What a unit says, and the socket unit that holds its port; "" where there is none."""
    said = told(arguments(text, home))
    listens = re.findall(r"^[ \t]*ListenStream[ \t]*=[ \t]*(?:(\S+):)?(\d+)[ \t]*\r?$", socket, re.MULTILINE)
    if listens:
        said = replace(said, host=listens[-1][0].strip("[]"), port=int(listens[-1][1]))
    return said if said.config else replace(said, config=_variable(text, "CONFIG_FILE_PATH"))


def _variable(text: str, name: str) -> str:
    """What the unit's own Environment= sets."""
    lines = re.findall(r"^[ \t]*Environment[ \t]*=[ \t]*([^\r\n]*)", text, re.MULTILINE)
    for line in reversed(lines):
        try:
            words = shlex.split(line)
        except ValueError:
            continue
        for word in reversed(words):
            if word.startswith(f"{name}="):
                return word.removeprefix(f"{name}=").replace("%%", "%")
    return ""


def told(words: Sequence[str]) -> Told:
    """What a command line of LiteLLM says."""
    said = {name: value for names in _OPTIONS for name, value in _said(words, names)}
    port = said.get("port", "")
    return Told(said.get("config", ""), said.get("host", ""), int(port) if port.isdigit() else None)


_OPTIONS: Sequence[Mapping[str, str]] = ({"--config": "config", "-c": "config"}, {"--host": "host"}, {"--port": "port"})


def _said(words: Sequence[str], names: Mapping[str, str]) -> list[tuple[str, str]]:
    found = []
    for at, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name in names and (equals or at + 1 < len(words)):
            found.append((names[name], value if equals else words[at + 1]))
    return found
