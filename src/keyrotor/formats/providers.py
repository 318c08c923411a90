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


# Every provider that LiteLLM 1.106.2 knows (`litellm.provider_list`): a fallback's key may leave it out.
KNOWN = frozenset(
    """
    a2a a2a_agent ai21 ai21_chat aiml aiohttp_openai amazon_nova anthropic anthropic_text apertis assemblyai
    auto_router aws_polly aws_textract azure azure_ai azure_speech azure_text baseten bedrock bedrock_mantle
    black_forest_labs bytez cerebras charity_engine chatgpt chutes clarifai cloudflare codestral cognition cohere
    cohere_chat cometapi compactifai cortecs cursor custom custom_openai darkbloom dashscope databricks datarobot
    deepgram deepinfra deepseek docker_model_runner dotprompt edenai elevenlabs empower fal_ai featherless_ai
    fireworks_ai friendliai galadriel gdc gemini gigachat github github_copilot gradient_ai groq helicone heroku
    hosted_vllm huggingface humanloop hyperbolic inception infinity jina_ai lambda_ai langflow langfuse langgraph
    lemonade libertai litellm_agent litellm_proxy llamafile lm_studio manus maritalk meta meta_llama milvus
    minimax mistral modelscope mongodb moonshot morph nadir nano-gpt nebius neosantara nlp_cloud novita nscale
    nvidia_nim nvidia_riva oci ollama ollama_chat oobabooga openai openai_like openrouter ovhcloud parasail
    perplexity petals pg_vector pinstripes poe predibase prism publicai qwen_ai_platform qwencloud ragflow recraft
    reducto reka replicate runwayml s3_vectors sagemaker sagemaker_chat sagemaker_nova sail sambanova sap scaleway
    scx-ai snowflake soniox stability strands_decider synthetic tencent tensormesh text-completion-codestral
    text-completion-inception text-completion-openai together_ai topaz transcribe triton typesafe v0 valkey
    vercel_ai_gateway vertex_ai vertex_ai_beta vllm volcengine voyage wandb watsonx watsonx_text xai xiaomi_mimo
    xinference zai
    """.split()  # noqa: SIM905  a list of 166 quoted words would be harder to compare
)
# Whom LiteLLM infers from a name without a provider. It has a list of thousands; these are how their names begin.
_INFERRED: Mapping[str, tuple[str, ...]] = {
    "openai": ("gpt-", "o1", "o3", "o4", "chatgpt-", "text-embedding-", "dall-e", "whisper-", "tts-"),
    "anthropic": ("claude-",),
    "vertex_ai": ("gemini-",),
}


def inferred(model: str) -> str:
    """Who serves a model whose name has no provider; "" where it does not tell."""
    return next((provider for provider, begins in _INFERRED.items() if model.startswith(begins)), "")


def fault(base: str) -> str:
    """Why nothing is sent to this `api_base`: a client may take it for another address than we do. "" if it is well."""
    if any(char <= " " or char == "\x7f" for char in base):
        return "it has a blank in it"
    if found := next((char for char in "?#\\" if char in base), ""):
        return f"it has a {found} in it"
    try:
        parts = urlsplit(base)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "it is no address"
    if parts.scheme not in ("http", "https"):
        return "it begins with neither http:// nor https://"
    return "it is no address" if not host or parts.netloc.count("@") > 1 else ""


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


def tagless(model: str) -> str:
    """The name without `:latest`, which Ollama writes behind one without a tag."""
    return model.removesuffix(":latest")


def shown(base: str) -> str:
    """The address without what may open it: no user, no password, no options."""
    try:
        parts = urlsplit(base)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "an api_base that is no address"
    host = parts.hostname or ""
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}{parts.path.rstrip('/')}"
