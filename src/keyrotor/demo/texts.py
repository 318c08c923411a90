"""The text of the files that a lab is made of. Pure functions, one for each file."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

SOPS_YAML = """\
creation_rules:
  - path_regex: secrets/.*\\.enc\\.env$
    age: age1…
"""
COMMENT = "# The lab's secrets. Look with: sops decrypt secrets/global.enc.env"
ENV_FILE = ".config/lab-secrets/litellm.env"
SETTINGS = ".factory/settings.json"
# No look-up of model prices over the network, no `.env` found beside the virtual environment.
ENVIRONMENT = ("LITELLM_LOCAL_MODEL_COST_MAP=True", "LITELLM_MODE=PRODUCTION")
CONFIG = "ai/backend/ai-backend-unified/config/litellm-unified.yaml"


def sops_yaml(template: str, recipient: str) -> str:
    """The project's own rules, for the lab's recipient."""
    return re.sub(r"\bage1[^\s\"',#]*", recipient, template)


def dotenv(secrets: Mapping[str, str]) -> str:
    return "".join(f"{name}={value}\n" for name, value in secrets.items())


def gateway_config(model: str, answer: str) -> str:
    return f"""\
model_list:
  - model_name: {model}
    litellm_params:
      model: openai/{model}
      api_key: none
      mock_response: {answer}
general_settings:
  master_key: os.environ/LITELLM_MASTER_KEY
"""


def settings(url: str, key: str, model: str) -> str:
    """A client's file with the key as a literal, twice, between things that must stay as they are."""
    entries = ",\n".join(_custom_model(url, key, model, name) for name in ("Lab mock", "Lab mock, large"))
    return f"""\
{{
  // Models of the lab's gateway. keyrotor changes the keys and nothing else.
  "customModels": [
{entries}
  ],
  "theme": "dark" /* as it was */
}}
"""


def _custom_model(url: str, key: str, model: str, name: str) -> str:
    entry = {
        "model": model,
        "displayName": name,
        "baseUrl": f"{url}/v1",
        "apiKey": key,
        "provider": "generic-chat-completion-api",
        "maxOutputTokens": 4096,
    }
    return "\n".join("    " + line for line in json.dumps(entry, indent=2).splitlines())


def unit(command: Sequence[str], *, env_file: Path, home: Path, log: Path, stop_within: int, extra: str = "") -> str:
    """The gateway's unit. No `-` before the env file: a missing one must be an error, not an open door."""
    return f"""\
[Unit]
Description=LiteLLM gateway of a keyrotor lab

[Service]
EnvironmentFile={_specified(env_file)}
Environment={" ".join(ENVIRONMENT)} {_word(f"HOME={home}", dollars="$")}
ExecStart={" ".join(map(_word, command))}
UMask=0077
Restart=on-failure
RestartSec=1
TimeoutStopSec={stop_within}
StandardOutput=append:{_specified(log)}
StandardError=append:{_specified(log)}
{extra}"""


def _specified(path: Path) -> str:
    return str(path).replace("%", "%%")


def _word(text: str, dollars: str = "$$") -> str:
    """One word of a unit file: quoted, with nothing left for systemd to expand."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", dollars)
    return f'"{escaped}"'


def unit_place(name: str, within: str) -> str:
    return f"""\
[[place]]
kind   = "systemd-unit"
unit   = "{name}"
scope  = "user"
within = "{within}"
"""


def command_place(name: str, put: Sequence[str], holds: Sequence[str], within: str) -> str:
    """The place that stands where the unit would: the two commands get the value on stdin."""
    return f"""\
[[place]]
kind   = "command"
id     = "{name}"
put    = {_array(put)}
holds  = {_array(holds)}
within = "{within}"
"""


def _array(words: Sequence[str]) -> str:
    return json.dumps(list(words), ensure_ascii=False)


def playbook(runner: str, runner_id: str, url: str, within: str) -> str:
    """The lab's playbook; `runner` is the entry of what restarts the gateway."""
    return f"""\
# Rotate the LiteLLM gateway's master key. Places are moved top to bottom.
name  = "litellm-master-key"
every = "month"

[secret]
file     = "secrets/global.enc.env"
key      = "LITELLM_MASTER_KEY"
generate = {{ kind = "token", prefix = "sk-", bytes = 32 }}

[[place]]
kind = "sops-file"

[[place]]
kind = "env-file"
path = "~/{ENV_FILE}"
keys = ["LITELLM_MASTER_KEY", "LITELLM_SALT_KEY"]

{runner}
[[place]]
kind   = "litellm"
unit   = "{runner_id}"
url    = "{url}"
config = "{CONFIG}"
within = "{within}"

[[place]]
kind = "client-file"
path = "~/{SETTINGS}"
optional = true
"""
