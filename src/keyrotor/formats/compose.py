"""A docker compose file: the service that is the LiteLLM gateway. Pure: bytes in, facts out."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from keyrotor.formats import gateway_config, unit_exec

NAMES = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")  # in docker's own order
OVERRIDES = tuple(name.replace(".y", ".override.y") for name in NAMES)  # what docker reads besides
_VARIABLE = re.compile(r"(?<!\$)\$(?:\{(\w+)\}|(\w+))")


@dataclass(frozen=True, slots=True)
class Service:
    """What the file says of the gateway. "" and (): nothing."""

    name: str
    env_files: tuple[str, ...]
    url: str
    config: str  # on this machine
    sets: frozenset[str]  # variables that it gives a value
    literals: Mapping[str, str] = field(default_factory=dict, repr=False)  # those whose value stands there
    elsewhere: str = ""  # what else says something of it


def litellm(data: bytes, variables: Mapping[str, str] = MappingProxyType({})) -> Service | None:
    """The service that runs LiteLLM, these variables put into its paths. Raises FormatError."""
    tree = gateway_config.tree(data)
    services = tree.get("services") if isinstance(tree, dict) else None
    tables = {str(name): each for name, each in _table(services).items() if isinstance(each, dict)}
    names = [name for name, each in tables.items() if _runs_litellm(each)]
    names += [name for name, each in tables.items() if _is_called_litellm(name, each)]
    for each in tables.values():
        each.update({key: _put_in(each.get(key), variables) for key in ("env_file", "volumes")})
    return _service(names[0], tables[names[0]], _elsewhere(tree, tables[names[0]], names)) if names else None


def _service(name: str, service: Mapping[str, Any], elsewhere: str) -> Service:
    told = unit_exec.told(_words(service.get("command")))
    literals = _literals(service.get("environment"))
    return Service(
        name,
        tuple(_env_files(service.get("env_file"))),
        _url(service.get("ports"), told.port or unit_exec.PORT),
        _on_host(service.get("volumes"), told.config or literals.get(unit_exec.CONFIG_VARIABLE, "")),
        frozenset(_variables(service.get("environment"))),
        literals,
        elsewhere,
    )


def _runs_litellm(service: Mapping[str, Any]) -> bool:
    """By its image, which is the last part of a name, or its command."""
    said = (str(service.get("image") or "").rpartition("/")[2], *_words(service.get("command"))[:1])
    return any("litellm" in word.lower() for word in said)


def _is_called_litellm(name: str, service: Mapping[str, Any]) -> bool:
    """A name tells nothing of a service that says what it runs: `litellm-db` is a database."""
    return "litellm" in name.lower() and not service.get("image") and not service.get("command")


def _elsewhere(tree: Mapping[str, Any], service: Mapping[str, Any], names: Sequence[str]) -> str:
    if tree.get("include"):
        return "it includes other files"
    if service.get("extends"):
        return "it extends another service"
    if len(names) > 1:
        return f"it has several: {', '.join(names)}"
    if any("$" in path for path in _env_files(service.get("env_file"), are_all=True)):
        return "it has an env_file by a variable"
    return ""


def _put_in(said: Any, variables: Mapping[str, str]) -> Any:
    """A text, or all texts in a list or a table, with what is known of `$NAME` and `${NAME}`."""
    if isinstance(said, str):
        return _VARIABLE.sub(lambda found: variables.get(found[1] or found[2], found[0]), said)
    if isinstance(said, list):
        return [_put_in(each, variables) for each in said]
    return {key: _put_in(each, variables) for key, each in said.items()} if isinstance(said, dict) else said


def _table(said: Any) -> Mapping[Any, Any]:
    return said if isinstance(said, dict) else {}


def _words(said: Any) -> list[str]:
    if isinstance(said, list):
        return [str(word) for word in said]
    try:
        return shlex.split(said) if isinstance(said, str) else []
    except ValueError:
        return []


def _env_files(said: Any, *, are_all: bool = False) -> list[str]:
    entries = said if isinstance(said, list) else [said]
    paths = [entry.get("path") if isinstance(entry, dict) else entry for entry in entries]
    return [path for path in paths if isinstance(path, str) and (are_all or "$" not in path)]


def _variables(said: Any) -> list[str]:
    entries = list(said) if isinstance(said, dict | list) else []
    return [str(entry).partition("=")[0] for entry in entries]


def _literals(said: Any) -> dict[str, str]:
    """The variables whose value stands there: neither one that is handed on nor one with a reference in it."""
    entries = said if isinstance(said, list) else []
    pairs = said.items() if isinstance(said, dict) else [str(entry).partition("=")[::2] for entry in entries]
    return {str(name): str(value) for name, value in pairs if value not in (None, "") and "$" not in str(value)}


def _url(said: Any, inside: int) -> str:
    """The address on this machine that leads to the port inside."""
    for entry in said if isinstance(said, list) else []:
        if isinstance(entry, dict):
            host, port, target = (str(entry.get(key) or "") for key in ("host_ip", "published", "target"))
        else:
            found = re.fullmatch(r"(?:(?P<host>.+):)?(?P<port>\d+):(?P<target>\d+)(?:/tcp)?", str(entry))
            host, port, target = (found["host"] or "", found["port"], found["target"]) if found else ("", "", "")
        if port.isdigit() and target == str(inside):
            return unit_exec.address(host, int(port))
    return ""


def _on_host(said: Any, inside: str) -> str:
    """The file on this machine that the container sees at that path."""
    for entry in said if isinstance(said, list) else []:
        if isinstance(entry, dict):
            source, target = str(entry.get("source") or ""), str(entry.get("target") or "")
        else:
            source, _, target = str(entry).partition(":")
            target = target.partition(":")[0]
        if inside and target and source.startswith((".", "/", "~")):
            if target == inside:
                return source
            if inside.startswith(target.rstrip("/") + "/"):
                return source.rstrip("/") + inside[len(target.rstrip("/")) :]
    return ""
