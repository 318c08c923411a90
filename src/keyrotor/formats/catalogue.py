"""The gateway's catalogue: which models it offers, who serves them, and whom it falls back to. Pure.

The catalogue is LiteLLM's config. Its rules, read in the source of LiteLLM 1.106.2: `include` adds files, whose lists
are appended and whose other values win; a model is `provider/name`; a `*` in a model name stands for anything;
`router_settings` wins over `litellm_settings`.
What is no such thing is told as a fault, not raised: one bad entry must not hide the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from keyrotor.errors import FormatError
from keyrotor.formats import fallbacks, gateway_config
from keyrotor.formats.fallbacks import Chain, called
from keyrotor.formats.providers import PROVIDERS, inferred

REFERENCE = "os.environ/"
_TABLES = ("general_settings", "router_settings", "litellm_settings", "environment_variables")
_LISTS = ("model_list", "credential_list", "include")


@dataclass(frozen=True, slots=True)
class Model:
    """One entry of `model_list`. What is not said is ""."""

    name: str  # what clients call it
    model: str  # what its backend calls it
    provider: str
    base: str  # an address, or a reference to one
    key: str = field(repr=False)  # a value, or a reference to one
    is_mocked: bool = False  # LiteLLM answers by itself
    stated: str = ""  # the provider, where an option names it
    shown: str = ""  # what is shown in the stead of `model`, where that is a variable's value
    is_faulty: bool = False  # LiteLLM cannot reach it, which a fault says

    @property
    def told(self) -> str:
        return self.shown or self.model


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What there is to ask, and what is wrong with it already."""

    models: tuple[Model, ...]
    names: frozenset[str]  # everything that a fallback may name: models, their ids, aliases
    chains: tuple[Chain, ...]
    faults: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)  # what the file itself sets for the gateway
    master_key: str = field(default="", repr=False)  # a value, or a reference to one
    may_have_more: bool = False  # models, in the gateway's database


def parsed(data: bytes) -> dict[str, Any]:
    """The file as a table. Raises FormatError."""
    found = gateway_config.tree(data)
    if not isinstance(found, dict):
        what = "empty" if found is None else "no table"
        raise FormatError(f"it is {what}, with which LiteLLM does not start", 1, 1)
    return found


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
    faults = list(_misshapen(tree))
    entries = _entries(tree, faults)
    credentials = _credentials(tree, faults)
    models = tuple(_model(at, entry, credentials, faults) for at, entry in entries)
    router, general = _table(tree.get("router_settings")), _table(tree.get("general_settings"))
    if not isinstance(router.get("model_group_alias"), (dict, type(None))):
        faults.append("model_group_alias is not a table")
    aliases = _named(_table(router.get("model_group_alias")), "model_group_alias has a name that is none", faults)
    infos = (_table(entry.get("model_info")).get("id") for _, entry in entries)
    ids = _named(
        (each for each in infos if each is not None), "model_info has an id that is neither text nor number", faults
    )
    chains = (*fallbacks.read(router, faults), *fallbacks.read(_table(tree.get("litellm_settings")), faults))
    sets = _table(tree.get("environment_variables")).items()
    return Catalogue(
        models=models,
        names=frozenset({model.name for model in models} | aliases | ids),
        chains=tuple(dict.fromkeys(chains)),
        faults=tuple(dict.fromkeys(faults)),
        environment={name: text for name, text in sets if isinstance(name, str) and isinstance(text, str)},
        master_key=_text(general.get("master_key")),
        may_have_more=general.get("store_model_in_db") is True,
    )


def _misshapen(tree: Mapping[str, Any]) -> Iterator[str]:
    """What stands where LiteLLM wants a table or a list, and is none."""
    for names, kind, shape in ((_TABLES, dict, "table"), (_LISTS, list, "list")):
        for name in names:
            if not isinstance(tree.get(name), (kind, type(None))):
                yield f"{name} is not a {shape}, without which LiteLLM does not start"
    if not all(isinstance(each, str) for each in _list(tree.get("include"))):
        yield "include has an entry that is no name of a file"


def _named(found: Iterable[Any], fault: str, faults: list[str]) -> set[str]:
    names = [called(each) for each in found]
    faults += [fault] if None in names else []
    return {name for name in names if name}


def _credentials(tree: Mapping[str, Any], faults: list[str]) -> dict[str, Mapping[str, Any]]:
    """The named credentials."""
    found = {}
    for at, each in enumerate(_list(tree.get("credential_list")), 1):
        name = called(_table(each).get("credential_name"))
        if name is None:
            faults.append(f"entry {at} of credential_list has no credential_name")
        else:
            found[name] = _table(each.get("credential_values"))
    return found


def _entries(tree: Mapping[str, Any], faults: list[str]) -> list[tuple[int, dict[str, Any]]]:
    """The entries of `model_list` that are models, each with its number."""
    found = []
    for at, entry in enumerate(_list(tree.get("model_list")), 1):
        said = entry if isinstance(entry, dict) else {}
        model = _table(said.get("litellm_params")).get("model")
        if isinstance(said.get("model_name"), str) and isinstance(model, str) and model:
            found.append((at, said))
        else:
            faults.append(f"entry {at} of model_list has no model_name, or no model in its litellm_params")
    return found


def _model(at: int, entry: Mapping[str, Any], credentials: Mapping[str, Mapping[str, Any]], faults: list[str]) -> Model:
    said = _table(entry["litellm_params"])
    said = {**credentials.get(called(said.get("litellm_credential_name")) or "", {}), **said}
    wrong = [name for name in ("api_base", "base_url", "api_key") if not isinstance(said.get(name), (str, type(None)))]
    faults += [f"entry {at} of model_list: its {name} is no text" for name in wrong]
    base = _text(said.get("api_base")) or _text(said.get("base_url"))
    key, stated = _text(said.get("api_key")), _text(said.get("custom_llm_provider"))
    is_mocked = said.get("mock_response") is not None
    model = Model(entry["model_name"], said["model"], "", base, key, is_mocked, stated, is_faulty=bool(wrong))
    return model if said["model"].startswith(REFERENCE) else served(model, said["model"])


def served(model: Model, text: str) -> Model:
    """The model with whom its name tells to serve it; `text` is what its `model` says, or the variable named there."""
    provider, name = _provider(text, model.stated)
    if not provider and model.base:
        provider = "openai"  # a bare name at an address of one's own
    if provider == "openai" and is_ollama_cloud(model.base) and not model.base.rstrip("/").endswith("/v1"):
        provider = "ollama"
    return replace(model, provider=provider, model=name, shown="" if text == model.model else model.model)


def _provider(model: str, stated: str) -> tuple[str, str]:
    """Who serves it, and under which name; "" where the name does not tell."""
    prefix, slash, rest = model.partition("/")
    if stated:
        return stated, rest if slash and prefix == stated else model
    if slash:
        return prefix, rest
    return ("openai" if inferred(model) == "openai" else ""), model


def is_ollama_cloud(base: str) -> bool:
    """Whether the address is Ollama's own: by what a client takes for its host, and over TLS."""
    try:
        found = urlsplit(base)
    except ValueError:
        return False
    return found.scheme == "https" and found.hostname in ("ollama.com", "www.ollama.com")


def is_asked(model: Model) -> bool:
    """Whether there is somebody who can be asked for it at no cost."""
    return not model.is_mocked and model.provider in PROVIDERS and (model.provider != "vllm" or bool(model.base))


def _list(found: Any) -> list[Any]:
    return found if isinstance(found, list) else []


def _table(found: Any) -> Mapping[str, Any]:
    return found if isinstance(found, dict) else {}


def _text(found: Any) -> str:
    return found.strip() if isinstance(found, str) else ""
