"""Which upstream keys could be used through a gateway by whoever had its master key: names, and never a key.

Rules:
1. A key that the catalogue names counts, and so does one that LiteLLM would look for under the provider's own name.
2. The gateway's process decides which variables it has; where we may not look, the encrypted file's names do.
3. What is in the gateway's database has keys of its own, which nobody can list from here: that is said.
The master key also opens LiteLLM's pass-through routes, which use a provider's variable without any model of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from keyrotor.boundary import proc
from keyrotor.boundary.plaintext import is_blank
from keyrotor.core.checkup import Line
from keyrotor.core.model import printable
from keyrotor.core.response import Reached
from keyrotor.errors import PlaceError
from keyrotor.formats.catalogue import REFERENCE, Catalogue, Model
from keyrotor.formats.providers import KNOWN, PROVIDERS
from keyrotor.secret import Secret

SHORTEST = 8  # characters: `none`, `dummy` and the like open nothing
# Read in LiteLLM 1.106.2, where they are other ones than NAME_API_KEY.
_NAMED: Mapping[str, tuple[str, ...]] = {
    "bedrock": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_BEARER_TOKEN_BEDROCK"),
    "sagemaker": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
    "vertex_ai": ("GOOGLE_APPLICATION_CREDENTIALS", "VERTEXAI_CREDENTIALS", "VERTEX_CREDENTIALS"),
    "azure": ("AZURE_API_KEY", "AZURE_OPENAI_API_KEY", "AZURE_AD_TOKEN", "AZURE_CLIENT_SECRET"),
    "gemini": ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    "huggingface": ("HF_TOKEN", "HUGGINGFACE_API_KEY"),
    "cohere": ("COHERE_API_KEY", "CO_API_KEY"),
    "replicate": ("REPLICATE_API_KEY", "REPLICATE_API_TOKEN"),
    "github": ("GITHUB_API_KEY", "GITHUB_TOKEN"),
    "perplexity": ("PERPLEXITYAI_API_KEY", "PERPLEXITY_API_KEY"),
    "fireworks_ai": ("FIREWORKS_API_KEY", "FIREWORKS_AI_API_KEY", "FIREWORKSAI_API_KEY"),
    "watsonx": ("WATSONX_API_KEY", "WATSONX_APIKEY", "WATSONX_ZENAPIKEY", "WX_API_KEY"),
    "cloudflare": ("CLOUDFLARE_API_KEY",),
    "voyage": ("VOYAGE_API_KEY",),
    "deepinfra": ("DEEPINFRA_API_KEY",),
}
_SAME: Mapping[str, str] = {"vertex_ai_beta": "vertex_ai", "sagemaker_chat": "sagemaker", "cohere_chat": "cohere"}
_SAME = {**_SAME, "azure_text": "azure", "anthropic_text": "anthropic", "bedrock_mantle": "bedrock"}


@dataclass(frozen=True, slots=True)
class Reaching:
    """One gateway."""

    playbook: str
    config: Path | None
    variable: str  # that holds its master key
    pid: Callable[[], int]  # of its process; 0 where it does not run, or nobody knows
    read: Callable[[Path | None, Sequence[Path | None]], tuple[list[Line], list[list[Catalogue]]]]  # the catalogues

    def reach(self, values: Mapping[str, Secret]) -> Sequence[Reached]:
        """Each upstream key, by name. Writes nothing. Raises PlaceError where the catalogue cannot be read."""
        lines, (catalogues, *_) = self.read(None, [self.config])
        if self.config and not catalogues:
            raise PlaceError(f"cannot tell what could be reached: {'; '.join(line.said for line in lines)}")
        set_names = self._set(values) | {name for each in catalogues for name, text in each.environment.items() if text}
        found: dict[tuple[str, str], list[str]] = {}
        for catalogue in catalogues:
            for model in catalogue.models:
                for name in self._names(model, set_names - {self.variable}):
                    found.setdefault((model.provider or "unknown", name), []).append(model.name)
        named = {name for _, name in found}
        for provider in sorted(KNOWN):
            for name in conventions(provider):
                if name in set_names and name not in named and provider not in _SAME:
                    found.setdefault((provider, name), [])
                    named.add(name)
        if any(each.may_have_more for each in catalogues):
            found[("unknown", "keys of models in the gateway's database")] = []
        return [
            Reached(self.playbook, provider, name, tuple(dict.fromkeys(map(printable, models))))
            for (provider, name), models in found.items()
        ]

    def _set(self, values: Mapping[str, Secret]) -> frozenset[str]:
        """The names of the variables that the gateway has."""
        if pid := self.pid():
            try:
                return proc.variables(pid)
            except OSError:
                pass
        return frozenset(name for name, secret in values.items() if not is_blank(secret))

    def _names(self, model: Model, set_names: frozenset[str]) -> Iterator[str]:
        """What holds the key that LiteLLM would use for it."""
        if model.is_mocked:
            return  # LiteLLM answers by itself
        if model.key.startswith(REFERENCE):
            yield printable(model.key.removeprefix(REFERENCE))
        elif len(model.key) >= SHORTEST:
            yield f"a literal in {self.config or 'its config'}, model {printable(model.name)}"
        elif not model.key:
            expected = conventions(model.provider)
            there = [name for name in expected if name in set_names]
            is_owed = model.provider in PROVIDERS and PROVIDERS[model.provider].wants_key and not model.base
            yield from there or [f"{name} (not set, as far as can be seen)" for name in expected[:1] if is_owed]


def conventions(provider: str) -> tuple[str, ...]:
    """The variables in which LiteLLM looks for the provider's key where nothing names one."""
    provider = _SAME.get(provider, provider)
    if provider in PROVIDERS:
        return PROVIDERS[provider].key_variables
    if provider in _NAMED:
        return _NAMED[provider]
    return (f"{provider.upper().replace('-', '_')}_API_KEY",) if provider in KNOWN else ()
