"""A server's list of models, as Ollama or as OpenAI writes it. Pure: bytes in, names out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from keyrotor.formats.providers import tagless


@dataclass(frozen=True, slots=True)
class ModelList:
    """The names are data of somebody else's: they are compared, and not shown."""

    tagless: frozenset[str]
    owners: frozenset[str]  # llama.cpp and vLLM say here who they are
    count: int

    def has(self, wanted: str) -> bool:
        """Whether a model there is the one wanted, by its name with or without `:latest`."""
        return tagless(wanted) in self.tagless


def read(body: bytes) -> ModelList | None:
    """None where it is no list of models."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    entries = found.get("data", found.get("models")) if isinstance(found, dict) else found
    if not isinstance(entries, list):
        return None
    tables = [entry for entry in entries if isinstance(entry, dict)]
    names = [entry.get(key) for entry in tables for key in ("id", "name", "model")]
    names += [alias for entry in tables for alias in _texts(entry.get("aliases"))]
    owners = [entry.get("owned_by") for entry in tables]
    return ModelList(frozenset(map(tagless, _texts(names))), frozenset(_texts(owners)), len(tables))


def _texts(found: Any) -> list[str]:
    return [each for each in found if isinstance(each, str)] if isinstance(found, list) else []
