"""What a gateway's unit or agent says of the gateway: its config, its host and port, its variables. Pure.

Rules:
1. The text of a unit is its own and its drop-ins' after it: of ExecStart= the last one counts.
2. What a shell or a script does in the end is not told by its command line: then there is no config.
"""

from __future__ import annotations

import plistlib
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from xml.parsers.expat import ExpatError

PORT = 4000  # where LiteLLM listens if nothing else is said
CONFIG_VARIABLE = "CONFIG_FILE_PATH"
_SHELLS = re.compile(r"(?:.*/)?(?:ba|da|z|k|fi)?sh|.*\.sh")


@dataclass(frozen=True, slots=True)
class Told:
    """What is told. "" and None: nothing."""

    config: str = ""
    host: str = ""
    port: int | None = None
    folder: str = ""  # that it is started in
    assigned: Mapping[str, str] = field(default_factory=dict, repr=False)  # variables, and their values

    @property
    def url(self) -> str:
        """Where it answers to this machine; "" where nothing is said of it."""
        return address(self.host, self.port or PORT) if self.config or self.port else ""


def address(host: str, port: int) -> str:
    """How this machine reaches it: one that listens everywhere listens on loopback, too."""
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "[::1]", "localhost": "127.0.0.1"}.get(host, host)  # noqa: S104  an address is read, not listened on
    return f"http://[{host}]:{port}" if ":" in host and not host.startswith("[") else f"http://{host}:{port}"


def arguments(text: str, home: str) -> list[str]:
    """The words of the unit's last ExecStart=, the specifiers that mean a path put in."""
    commands = _settings(text, "ExecStart")
    return [word.replace("$$", "$") for word in _words(commands[-1].lstrip("@-:+!"), home)] if commands else []


def of_unit(text: str, socket: str, home: str) -> Told:
    """What a unit says, and the socket unit that holds its port; "" where there is none."""
    words = arguments(text, home)
    said = told(words)
    listens = re.findall(r"^[ \t]*ListenStream[ \t]*=[ \t]*(?:(\S+):)?(\d+)[ \t]*\r?$", socket, re.MULTILINE)
    if listens:
        said = replace(said, host=listens[-1][0].strip("[]"), port=int(listens[-1][1]))
    variables: dict[str, str] = {}
    for line in _settings(text, "Environment"):
        variables = {**variables, **_assigned(_words(line, home))} if line else {}
    variables |= _assigned(words)  # `env NAME=value litellm …`
    folder = "".join(_words(next(reversed(_settings(text, "WorkingDirectory")), "").lstrip("-"), home))
    folder = home if folder == "~" else folder
    return replace(said, config=said.config or variables.get(CONFIG_VARIABLE, ""), folder=folder, assigned=variables)


def of_agent(data: bytes) -> tuple[str, Told]:
    """The label of a launchd agent, and what its file says; "" for one that cannot be read."""
    try:
        said = plistlib.loads(data)
        label, variables = str(said["Label"]), said.get("EnvironmentVariables") or {}
        assigned = {str(name): str(value) for name, value in variables.items()}
        words = [str(word) for word in said.get("ProgramArguments") or []]
    except (ExpatError, ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError):
        return "", Told()
    found = told(words)
    config = found.config or assigned.get(CONFIG_VARIABLE, "")
    return label, replace(found, config=config, folder=str(said.get("WorkingDirectory") or "/"), assigned=assigned)


def _settings(text: str, name: str) -> list[str]:
    """What stands behind each `name=`, in their order."""
    whole = re.sub(r"\\\r?\n", " ", text)
    found = re.findall(rf"^[ \t]*{name}[ \t]*=[ \t]*([^\r\n]*)", whole, re.MULTILINE)
    return [line.strip() for line in found]


def _words(line: str, home: str) -> list[str]:
    try:
        words = shlex.split(line)
    except ValueError:
        return []
    known = {"%h": home, "%%": "%"}
    return [re.sub(r"%.", lambda found: known.get(found[0], found[0]), word) for word in words]


def _assigned(words: Sequence[str]) -> dict[str, str]:
    pairs = (word.partition("=") for word in words)
    return {name: value for name, equals, value in pairs if equals and re.fullmatch(r"[A-Za-z_]\w*", name)}


def told(words: Sequence[str]) -> Told:
    """What a command line of LiteLLM says; what a shell is given says nothing of a config."""
    said = {name: value for names in _OPTIONS for name, value in _said(words, names)}
    port = said.get("port", "")
    config = "" if words and _SHELLS.fullmatch(words[0]) else said.get("config", "")
    return Told(config, said.get("host", ""), int(port) if port.isdigit() else None)


_OPTIONS: Sequence[Mapping[str, str]] = ({"--config": "config", "-c": "config"}, {"--host": "host"}, {"--port": "port"})


def _said(words: Sequence[str], names: Mapping[str, str]) -> list[tuple[str, str]]:
    found = []
    for at, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name in names and (equals or at + 1 < len(words)):
            found.append((names[name], value if equals else words[at + 1]))
    return found
