"""The gateway's catalogue: which models it offers, who serves them, and whom it falls back to. Pure.

The catalogue is LiteLLM's config. Its rules, read in the source of LiteLLM 1.106.2: `include` adds files, whose lists
are appended and whose other values win; a model is `provider/name`; a `*` in a model name stands for anything; a
fallback is a list of tables with one key each; `router_settings` wins over `litellm_settings`.
What is no such thing is told as a fault, not raised: one bad entry must not hide the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from keyrotor.formats import gateway_config
from keyrotor.formats.providers import PROVIDERS

REFERENCE = "os.environ/"
FALLBACKS = ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks")
_OPENAI_NAMES = ("gpt-", "o1", "o3", "o4", "chatgpt-", "text-embedding-", "dall-e", "whisper-", "tts-")


@dataclass(frozen=True, slots=True)
class Model:
    """One entry of `model_list`. What is not said is ""."""

    name: str  # what clients call it
    model: str  # what its backend calls it
    provider: str
    base: str  # an address, or a reference to one
    key: str = field(repr=False)  # a value, or a reference to one
    is_mocked: bool = False  # LiteLLM answers by itself


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What there is to ask, and what is wrong with it already."""

    models: tuple[Model, ...]
    names: frozenset[str]  # everything that a fallback may name: models, their ids, aliases
    chains: tuple[Chain, ...]
    faults: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)  # what the file itself sets for the gateway


@dataclass(frozen=True, slots=True)
class Chain:
    """One fallback: whom to ask where a model fails."""

    setting: str
    model: str  # "*": any that has no chain of its own
    targets: tuple[str, ...]


def parsed(data: bytes) -> dict[str, Any]:
    """The file as a table. Raises FormatError."""
    found = gateway_config.tree(data)
    return found if isinstance(found, dict) else {}


def includes(tree: Mapping[str, Any]) -> list[str]:
    """The files that it takes in, as it names them."""
    return [entry for entry in _list(tree.get("include")) if isinstance(entry, str)]


def merged(tree: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """The table with what another file adds: lists are appended, everything else is replaced."""
    both = {key: [*tree[key], *other[key]] for key in other if _are_lists(tree.get(key), other[key])}
    return {**tree, **other, **both, "include": []}


def _are_lists(one: Any, other: Any) -> bool:
    return isinstance(one, list) and isinstance(other, list)


def read(tree: Mapping[str, Any]) -> Catalogue:
    """What the table offers."""
    faults: list[str] = []
    entries = _entries(tree, faults)
    credentials = {
        str(each.get("credential_name")): _table(each.get("credential_values"))
        for each in _list(tree.get("credential_list"))
        if isinstance(each, dict)
    }
    models = tuple(_model(entry, credentials) for entry in entries)
    router = _table(tree.get("router_settings"))
    aliases = {str(name) for name in _table(router.get("model_group_alias"))}
    ids = {str(_table(entry.get("model_info")).get("id", "")) for entry in entries}
    chains = tuple(_chains(router, faults)) + tuple(_chains(_table(tree.get("litellm_settings")), faults))
    sets = _table(tree.get("environment_variables")).items()
    return Catalogue(
        models=models,
        names=frozenset({model.name for model in models} | aliases | (ids - {""})),
        chains=tuple(dict.fromkeys(chains)),
        faults=tuple(faults),
        environment={str(name): text for name, text in sets if isinstance(text, str)},
    )


def _entries(tree: Mapping[str, Any], faults: list[str]) -> list[dict[str, Any]]:
    """The entries of `model_list` that are models."""
    found = []
    for at, entry in enumerate(_list(tree.get("model_list")), 1):
        said = entry if isinstance(entry, dict) else {}
        model = _table(said.get("litellm_params")).get("model")
        if isinstance(said.get("model_name"), str) and isinstance(model, str) and model:
            found.append(said)
        else:
            faults.append(f"entry {at} of model_list has no model_name, or no model in its litellm_params")
    return found


def _model(entry: Mapping[str, Any], credentials: Mapping[str, Mapping[str, Any]]) -> Model:
    said = _table(entry["litellm_params"])
    said = {**credentials.get(str(said.get("litellm_credential_name")), {}), **said}
    provider, name = _provider(said["model"], _text(said.get("custom_llm_provider")))
    base = _text(said.get("api_base")) or _text(said.get("base_url"))
    if not provider and base:
        provider = "openai"  # a bare name at an address of one's own
    if provider == "openai" and is_ollama_cloud(base) and not base.rstrip("/").endswith("/v1"):
        provider = "ollama"
    key = _text(said.get("api_key"))
    return Model(entry["model_name"], name, provider, base, key, is_mocked=said.get("mock_response") is not None)


def _provider(model: str, stated: str) -> tuple[str, str]:
    """Who serves it, and under which name; "" where the name does not tell."""
    prefix, slash, rest = model.partition("/")
    if stated:
        return stated, rest if slash and prefix == stated else model
    if slash:
        return prefix, rest
    return ("openai" if model.startswith(_OPENAI_NAMES) else ""), model


def is_ollama_cloud(base: str) -> bool:
    host = base.partition("://")[2].partition("/")[0].rpartition("@")[2].partition(":")[0]
    return host.lower() in ("ollama.com", "www.ollama.com")


def is_asked(model: Model) -> bool:
    """Whether there is somebody who can be asked for it at no cost."""
    return not model.is_mocked and model.provider in PROVIDERS and (model.provider != "vllm" or bool(model.base))


# -- fallbacks ---------------------------------------------------------------------------------------------------------


def _chains(settings: Mapping[str, Any], faults: list[str]) -> Iterator[Chain]:
    for setting in FALLBACKS:
        entries = settings.get(setting)
        if entries is not None and not isinstance(entries, list):
            faults.append(f"{setting} is not a list of tables, without which LiteLLM does not start")
        for entry in _list(entries):
            if not isinstance(entry, dict) or len(entry) != 1:
                faults.append(f"{setting} has an entry that is not a table with one key")
                continue
            [(model, targets)] = entry.items()
            yield Chain(setting, str(model), _targets(targets))
    if generic := _list(settings.get("default_fallbacks")):
        yield Chain("default_fallbacks", "*", _targets(generic))


def _targets(found: Any) -> tuple[str, ...]:
    """The models to fall back to: names, or tables that name one."""
    named = [found] if isinstance(found, str) else _list(found)
    return tuple(str(_table(each).get("model", "")) if isinstance(each, dict) else str(each) for each in named)


def chain_faults(catalogue: Catalogue, names: frozenset[str]) -> list[str]:
    """One fault for each name in a chain that is nobody's, and for each loop."""
    found = []
    for chain in catalogue.chains:
        if chain.model != "*" and not _is_known(chain.model, names, is_key=True):
            found.append(f"{chain.setting}: {chain.model} has a fallback, and is not in model_list")
        whose = "every model" if chain.model == "*" else chain.model
        found += [
            f"{chain.setting}: {whose} falls back to {target}, which is not in model_list"
            for target in dict.fromkeys(chain.targets)
            if not _is_known(target, names, is_key=False)
        ]
    for setting in FALLBACKS:
        mine = [chain for chain in catalogue.chains if chain.setting == setting]
        found += [f"{setting}: {' → '.join(loop)} is a loop" for loop in loops(mine)]
    return found


def _is_known(name: str, names: frozenset[str], *, is_key: bool) -> bool:
    """Whether a chain's name is that of a model. LiteLLM heeds a key with or without the provider before it."""
    if name in names or any("*" in pattern and matches(pattern, name) for pattern in names):
        return True
    bare = name.partition("/")[2] or name
    return is_key and any(bare == (other.partition("/")[2] or other) for other in names)


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


def _list(found: Any) -> list[Any]:
    return found if isinstance(found, list) else []


def _table(found: Any) -> Mapping[str, Any]:
    return found if isinstance(found, dict) else {}


def _text(found: Any) -> str:
    return found.strip() if isinstance(found, str) else ""
