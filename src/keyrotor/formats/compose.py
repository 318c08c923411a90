"""A docker compose file: the service that is the LiteLLM gateway. Pure: bytes in, facts out."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from keyrotor.formats import gateway_config, unit_exec

NAMES = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")  # in docker's own order


@dataclass(frozen=True, slots=True)
class Service:
    """What the file says of the gateway. "" and (): nothing."""

    name: str
    env_files: tuple[str, ...]
    url: str
    config: str  # on this machine
    sets: frozenset[str]  # variables that it gives a value


def litellm(data: bytes) -> Service | None:
    """The first service that runs LiteLLM, by its image, its command or its name. Raises FormatError."""
    tree = gateway_config.tree(data)
    services = tree.get("services") if isinstance(tree, dict) else None
    for name, service in (services if isinstance(services, dict) else {}).items():
        if isinstance(service, dict) and _is_litellm(str(name), service):
            words = _words(service.get("command"))
            told = unit_exec.told(words)
            return Service(
                str(name),
                tuple(_env_files(service.get("env_file"))),
                _url(service.get("ports"), told.port or unit_exec.PORT),
                _on_host(service.get("volumes"), told.config),
                frozenset(_variables(service.get("environment"))),
            )
    return None


def _is_litellm(name: str, service: Mapping[str, Any]) -> bool:
    said = (name, str(service.get("image") or "").rpartition("/")[2], *_words(service.get("command"))[:1])
    return any("litellm" in word.lower() for word in said)


def _words(said: Any) -> list[str]:
    if isinstance(said, list):
        return [str(word) for word in said]
    try:
        return shlex.split(said) if isinstance(said, str) else []
    except ValueError:
        return []


def _env_files(said: Any) -> list[str]:
    entries = said if isinstance(said, list) else [said]
    paths = [entry.get("path") if isinstance(entry, dict) else entry for entry in entries]
    return [path for path in paths if isinstance(path, str) and "$" not in path]


def _variables(said: Any) -> list[str]:
    entries = list(said) if isinstance(said, dict | list) else []
    return [str(entry).partition("=")[0] for entry in entries]


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
