"""Whom the gateway falls back to where a model fails, and whether that leads anywhere. Pure.

The rules, read in the source of LiteLLM 1.106.2 (router_utils/fallback_event_handlers.py): a chain is a table with one
key and a list of models. The key is used for a model of exactly that name, or of `PROVIDER/key` with a provider that
LiteLLM knows, or for a model without one where the key has the provider that LiteLLM infers. The lone `*` is any model;
in a longer key it is a letter like any other. The targets are gone through one by one: of a text, letter by letter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keyrotor.formats.providers import KNOWN, inferred

SETTINGS = ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks")


@dataclass(frozen=True, slots=True)
class Chain:
    """One fallback: whom to ask where a model fails."""

    setting: str
    model: str  # "*": any that has no chain of its own
    targets: tuple[str, ...]


def called(found: Any) -> str | None:
    """The text of a name; None for what can be none, which is never made a text of: it may be a table of tables."""
    if isinstance(found, bool) or not isinstance(found, (str, int)):
        return None
    return str(found)


def read(settings: Mapping[str, Any], faults: list[str]) -> Iterator[Chain]:
    """The chains in these settings; what is none is added to the faults."""
    for setting in SETTINGS:
        entries = settings.get(setting)
        if entries is None:
            continue
        if not isinstance(entries, list):
            faults.append(f"{setting} is not a list of tables, without which LiteLLM does not start")
            continue
        for entry in entries:
            if not isinstance(entry, dict) or len(entry) != 1:
                faults.append(f"{setting} has an entry that is not a table with one key")
                continue
            [(key, targets)] = entry.items()
            if (model := called(key)) is None:
                faults.append(f"{setting} has an entry whose key is no name of a model")
                continue
            yield Chain(setting, model, _targets(f"{setting}: {model}", targets, faults))
    if (generic := settings.get("default_fallbacks")) is not None:
        yield Chain("default_fallbacks", "*", _targets("default_fallbacks", generic, faults))


def _targets(whose: str, found: Any, faults: list[str]) -> tuple[str, ...]:
    """The models to fall back to: names, or tables that name one."""
    if not isinstance(found, list):
        faults.append(f"{whose} names its fallbacks by something else than a list")
        return ()
    named = [called(each.get("model") if isinstance(each, dict) else each) for each in found]
    if None in named:
        faults.append(f"{whose} has a fallback that is no name of a model")
    return tuple(name for name in named if name is not None)


def told(chains: Sequence[Chain], names: frozenset[str]) -> list[str]:
    """One fault for each name in a chain that is nobody's, and for each loop."""
    found, known = [], Names(names)
    for chain in chains:
        if chain.model != "*" and "*" in chain.model:
            found.append(f"{chain.setting}: {chain.model} has a fallback, and no model is called so: it is no pattern")
        elif chain.model != "*" and not known.has_key(chain.model):
            found.append(f"{chain.setting}: {chain.model} has a fallback, and is not in model_list")
        whose = "every model" if chain.model == "*" else chain.model
        found += [
            f"{chain.setting}: {whose} falls back to {target}, which is not in model_list"
            for target in dict.fromkeys(chain.targets)
            if not known.has(target)
        ]
    for setting in SETTINGS:
        mine = [chain for chain in chains if chain.setting == setting]
        found += [f"{setting}: {' → '.join(loop)} is a loop" for loop in loops(mine)]
    return found


class Names:
    """Everything that a model may be called by."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(names)
        self._patterns = tuple(name for name in self._names if "*" in name)

    def has(self, name: str) -> bool:
        """Whether a request for it is served."""
        return name in self._names or any(matches(pattern, name) for pattern in self._patterns)

    def has_key(self, key: str) -> bool:
        """Whether there is a model for which LiteLLM would use the chain of this key."""
        if self.has(key) or any(self.has(f"{provider}/{key}") for provider in KNOWN):
            return True
        provider, slash, bare = key.partition("/")
        return bool(slash) and inferred(bare) == provider and self.has(bare)


def matches(pattern: str, name: str) -> bool:
    """Whether a pattern with `*` covers the name. As in LiteLLM, what follows the pattern's end does not matter."""
    first, *rest = pattern.split("*")
    if not name.startswith(first):
        return False
    at = len(first)
    for piece in rest:
        found = name.find(piece, at)
        if found < 0:
            return False
        at = found + len(piece)
    return True


def loops(chains: Sequence[Chain]) -> list[tuple[str, ...]]:
    """The loops among the chains, each once; the last name is the first. Of several that share a part, one at least."""
    targets: dict[str, tuple[str, ...]] = {}
    for chain in chains:
        targets[chain.model] = targets.get(chain.model, ()) + chain.targets
    found: dict[frozenset[str], tuple[str, ...]] = {}
    done: set[str] = set()
    for start, nexts in targets.items():
        path, walks = {start: 0} if start not in done else {}, [iter(nexts)]
        while path:
            following = next(walks[-1], None)
            if following is None:
                walks.pop()
                done.add(path.popitem()[0])
            elif following in path:
                loop = (*list(path)[path[following] :], following)
                found.setdefault(frozenset(loop), loop)
            elif following in targets and following not in done:
                path[following] = len(path)
                walks.append(iter(targets[following]))
    return list(found.values())
