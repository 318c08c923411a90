"""The providers whose list of models can be asked for at no cost, as LiteLLM 1.106.2 reaches them. Pure.

Read in its source (litellm_core_utils/get_llm_provider_logic.py, llms/): where a model names no `api_base` or
`api_key`, a variable does, and where that is not set either, there is a default or none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

TAGS = "/api/tags"  # Ollama's own list; the others have OpenAI's


@dataclass(frozen=True, slots=True)
class Provider:
    """How a provider is reached where the catalogue does not say."""

    base: str = ""  # "" where LiteLLM has none
    base_variables: tuple[str, ...] = ()
    key_variables: tuple[str, ...] = ()
    wants_key: bool = False  # it lets nobody in without one
    path: str = "/models"  # behind the `api_base`, which ends in /v1 mostly


def _self_hosted(name: str, base: str = "") -> Provider:
    return Provider(base, (f"{name}_API_BASE",), (f"{name}_API_KEY",))


def _hosted(name: str, base: str, *more: str) -> Provider:
    return Provider(base, (f"{name}_API_BASE",), (f"{name}_API_KEY", *more), wants_key=True)


_OLLAMA = Provider("http://localhost:11434", ("OLLAMA_API_BASE",), ("OLLAMA_API_KEY",), path=TAGS)
_DOCKER = Provider(
    "http://localhost:22088/engines/llama.cpp",
    ("DOCKER_MODEL_RUNNER_API_BASE",),
    ("DOCKER_MODEL_RUNNER_API_KEY",),
    path="/v1/models",
)
_OPENAI = Provider("https://api.openai.com/v1", ("OPENAI_BASE_URL", "OPENAI_API_BASE"), ("OPENAI_API_KEY",), True)

PROVIDERS: Mapping[str, Provider] = {
    "ollama": _OLLAMA,
    "ollama_chat": _OLLAMA,
    "openai": _OPENAI,
    "text-completion-openai": _OPENAI,
    "custom_openai": _OPENAI,
    "openai_like": _OPENAI,
    "aiohttp_openai": _OPENAI,
    "hosted_vllm": _self_hosted("HOSTED_VLLM"),
    "vllm": Provider(),  # without an address it is a library in the gateway's own process
    "llamafile": _self_hosted("LLAMAFILE", "http://127.0.0.1:8080/v1"),
    "lm_studio": _self_hosted("LM_STUDIO"),
    "docker_model_runner": _DOCKER,
    "litellm_proxy": _self_hosted("LITELLM_PROXY"),
    "groq": _hosted("GROQ", "https://api.groq.com/openai/v1"),
    "mistral": _hosted("MISTRAL", "https://api.mistral.ai/v1"),
    "xai": _hosted("XAI", "https://api.x.ai/v1"),
    "cerebras": _hosted("CEREBRAS", "https://api.cerebras.ai/v1"),
    "moonshot": _hosted("MOONSHOT", "https://api.moonshot.ai/v1"),
    "nvidia_nim": _hosted("NVIDIA_NIM", "https://integrate.api.nvidia.com/v1"),
    "sambanova": _hosted("SAMBANOVA", "https://api.sambanova.ai/v1"),
    "openrouter": _hosted("OPENROUTER", "https://openrouter.ai/api/v1", "OR_API_KEY"),
    "together_ai": _hosted("TOGETHER_AI", "https://api.together.ai/v1", "TOGETHER_API_KEY", "TOGETHERAI_API_KEY"),
}


def models_address(provider: Provider, base: str) -> str:
    """Where the list of models is, below an `api_base` with or without an endpoint or a slash at its end."""
    base = base.strip().rstrip("/")
    for end in ("/chat/completions", "/completions", "/embeddings"):
        base = base.removesuffix(end)
    if provider.path != TAGS:
        return base + provider.path
    for end in ("/generate", "/chat", "/embed", "/embeddings", "/show", "/tags"):
        base = base.removesuffix("/api" + end)
    return base.removesuffix("/api").removesuffix("/v1").rstrip("/") + TAGS


def root(base: str) -> str:
    """The server behind an `api_base`, without the version of its interface."""
    return base.strip().rstrip("/").removesuffix("/v1")


def is_same_model(wanted: str, there: str) -> bool:
    """Whether a model there is the one wanted; Ollama writes `:latest` behind a name without a tag."""
    return wanted == there or wanted == there.removesuffix(":latest") or wanted.removesuffix(":latest") == there


def shown(base: str) -> str:
    """The address without what may open it: no user, no password, no options."""
    try:
        parts = urlsplit(base)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "an api_base that is no address"
    host = parts.hostname or ""
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}{parts.path.rstrip('/')}"
