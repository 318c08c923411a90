"""The text of a gateway's sample config, and of DROID's entry for a gateway. Pure."""

from __future__ import annotations

import json

MODEL = "mock"

_CONFIG = f"""\
# The gateway's catalogue: which models it offers, and who serves them.
model_list:
  # Answers by itself, without any network, so that everything can be tried. Take it out when you have another one.
  - model_name: {MODEL}
    litellm_params:
      model: openai/{MODEL}
      api_key: none
      mock_response: The gateway is up, and this answer is made up by itself.

  # A model of an Ollama on this machine:
  # - model_name: qwen3
  #   litellm_params:
  #     model: ollama_chat/qwen3:8b
  #     api_base: http://127.0.0.1:11434

  # llama.cpp, vLLM, LM Studio and all else that speaks OpenAI's language:
  # - model_name: local
  #   litellm_params:
  #     model: openai/local
  #     api_base: http://127.0.0.1:8080/v1
  #     api_key: none

  # A provider, whose key you put into the encrypted file beside the others, and its name into `keys` of the playbook:
  # - model_name: claude
  #   litellm_params:
  #     model: anthropic/claude-sonnet-4-5
  #     api_key: os.environ/ANTHROPIC_API_KEY

general_settings:
  # A literal here would win over the environment, and a rotation would change nothing.
  master_key: os.environ/LITELLM_MASTER_KEY
"""


def config() -> str:
    """A gateway config with one model that needs nothing."""
    return _CONFIG


def droid(url: str, variable: str, model: str) -> str:
    """A project's `.factory/settings.json`. No comment, no trailing comma, no BOM: droid ignores the whole file for
    one of the latter two, and it expands `${…}` in `apiKey` only, in the form with braces."""
    return json.dumps({"customModels": [droid_entry(url, variable, model)]}, indent=2, ensure_ascii=False) + "\n"


def droid_entry(url: str, variable: str, model: str) -> dict[str, object]:
    """One entry of `customModels`."""
    return {
        "model": model,
        "displayName": f"Lab {model}",
        "baseUrl": f"{url.rstrip('/')}/v1",
        "apiKey": f"${{{variable}}}",
        "provider": "generic-chat-completion-api",
        "maxOutputTokens": 8192,
    }
