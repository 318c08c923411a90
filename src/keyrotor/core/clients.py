"""The clients of a gateway: where each looks for its key, what it does with a reference there, when it reads again.

Pure data, one row for each client; code only where a row is not enough. Facts and how they were measured:
docs/reference/clients.md. The paths are those of Linux.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from keyrotor.core.client import Client as Client  # noqa: PLC0414  everybody knows them by this module
from keyrotor.core.client import File as File  # noqa: PLC0414  as above
from keyrotor.core.client import Form as Form  # noqa: PLC0414  as above

FORMATS: Final = ("json", "dotenv", "yaml", "toml", "ini", "text")  # formats/readers.py has a reader for each

_NAME = r"[^\W\d][\w-]*"
_INDEX = r'\[(?:\*|\d+|"(?:[^"\\]|\\.)*")\]'
_PATH = re.compile(rf"(?:\*|{_NAME}|{_INDEX})(?:\.(?:\*|{_NAME})|{_INDEX})*")


def _restart(program: str, why: str = "it has read its files when it was started") -> str:
    return f"restart every {program} that runs: {why}"


_FROZEN = "its environment is from before"


# Measured with droid 0.225.2, config.json and settings.local.json included.
_DROID_STRICT = ("byte order mark", "trailing comma")
_DROID_INSTEAD = "the model's own entry in the file that FACTORY_ORG_MANAGED_SETTINGS_LOCAL_PATH names"


def _droid(name: str, path: str, *, is_watched: bool = True) -> File:
    """Settings of droid's, on whichever level; it takes a helper from a model's entry in those of the
    organisation, and from nowhere else."""
    is_written = name in ("settings", "local")
    return File(
        name,
        path,
        "json",
        at=("customModels[*].apiKey",),
        beside="baseUrl",
        resolves=(Form.BRACED,),
        heal=None if is_written else Form.BRACED,  # it would not be a reference for long
        todo="" if is_watched else _restart("droid", "nobody has seen it take up another key from there"),
        strict=_DROID_STRICT,
        drops=("apiKeyHelper",) if name.startswith("org") else ("apiKeyHelper", "customModels[*].apiKeyHelper"),
        writes_back="~/.factory/settings.json" if is_written else "",
        instead=_DROID_INSTEAD,
    )


def _droid_legacy(name: str, path: str) -> File:
    """The old config.json, in which droid expands nothing."""
    at = ("custom_models[*].api_key",)
    return File(name, path, "json", at=at, beside="base_url", resolves=(), strict=_DROID_STRICT)


def _claude(name: str, path: str) -> File:
    at = ("env.ANTHROPIC_AUTH_TOKEN", "env.ANTHROPIC_API_KEY")
    strict = ("comment", "trailing comma")
    return File(name, path, "json", at=at, beside="ANTHROPIC_BASE_URL", resolves=(), strict=strict)


def _codex(name: str, folder: str) -> tuple[File, File]:
    providers = "model_providers.*"
    config = File(
        f"{name}config",
        f"{folder}/config.toml",
        "toml",
        at=(f"{providers}.experimental_bearer_token",),
        beside="base_url",
        names=(f"{providers}.env_key", f"{providers}.env_http_headers.*"),
    )
    return config, File(f"{name}auth", f"{folder}/auth.json", "json", at=("OPENAI_API_KEY",))


def _opencode(name: str, path: str) -> File:
    at = ("provider.*.options.apiKey",)
    return File(name, path, "json", at=at, beside="baseURL", resolves=(Form.CURLY,), heal=Form.CURLY)


def _crush(name: str, path: str) -> File:
    forms = (Form.DOLLAR, Form.BRACED, Form.COMMAND)
    at = ("providers.*.api_key",)
    return File(name, path, "json", at=at, beside="base_url", resolves=forms, heal=Form.DOLLAR)


def _aider(name: str, folder: str) -> tuple[File, File]:
    env = File(f"{name}env", f"{folder}.env", "dotenv", at=("OPENAI_API_KEY", "LITELLM_PROXY_API_KEY"))
    at = ("openai-api-key", "api-key", "api-key[*]", "set-env", "set-env[*]")
    return env, File(f"{name}conf", f"{folder}.aider.conf.yml", "yaml", at=at)


def _goose(name: str) -> File:
    path = f"${{XDG_CONFIG_HOME}}/goose/{name}.yaml"
    return File(name, path, "yaml", at=("OPENAI_API_KEY", "LITELLM_API_KEY"))


CLIENTS: Mapping[str, Client] = {
    "droid": Client(
        title="Factory DROID",
        files=(
            _droid("settings", "~/.factory/settings.json"),
            _droid("local", "~/.factory/settings.local.json"),
            _droid_legacy("config", "~/.factory/config.json"),
            _droid("project", ".factory/settings.json"),
            _droid("project-local", ".factory/settings.local.json"),
            _droid_legacy("project-config", ".factory/config.json"),
            _droid("runtime", "${FACTORY_RUNTIME_SETTINGS_PATH}", is_watched=False),
            _droid("org", "/etc/factory/settings.json", is_watched=False),
            _droid("org-local", "${FACTORY_ORG_MANAGED_SETTINGS_LOCAL_PATH}", is_watched=False),
            File(
                "fragment",
                "~/.factory/config.d/lab-litellm.json",
                "json",
                todo="make again what is made from it: droid itself never reads it",
            ),
        ),
        todo_referring="restart every droid that has the key from its environment, which is from before",
    ),
    "claude-code": Client(
        title="Claude Code",
        files=(
            _claude("settings", "~/.claude/settings.json"),
            _claude("settings-elsewhere", "${CLAUDE_CONFIG_DIR}/settings.json"),
            _claude("project", ".claude/settings.json"),
            _claude("project-local", ".claude/settings.local.json"),
            _claude("managed", "/etc/claude-code/managed-settings.json"),
        ),
        todo=_restart("claude"),
    ),
    "codex": Client(
        title="Codex CLI",
        files=(*_codex("", "~/.codex"), *_codex("elsewhere-", "${CODEX_HOME}")),
        todo=_restart("codex"),
        todo_referring=_restart("codex", _FROZEN),
    ),
    "opencode": Client(
        title="opencode",
        files=(
            _opencode("config", "${XDG_CONFIG_HOME}/opencode/opencode.json"),
            _opencode("config-jsonc", "${XDG_CONFIG_HOME}/opencode/opencode.jsonc"),
            _opencode("elsewhere", "${OPENCODE_CONFIG}"),
            _opencode("project", "opencode.json"),
            _opencode("project-jsonc", "opencode.jsonc"),
            _opencode("folder", ".opencode/opencode.json"),
            _opencode("folder-jsonc", ".opencode/opencode.jsonc"),
            File("auth", "${XDG_DATA_HOME}/opencode/auth.json", "json", at=("*.key",)),
        ),
        todo=_restart("opencode"),
        todo_referring=_restart("opencode", _FROZEN),
    ),
    "continue": Client(
        title="Continue",
        files=(
            File(
                "config",
                "~/.continue/config.yaml",
                "yaml",
                at=("models[*].apiKey",),
                beside="apiBase",
                resolves=(Form.SECRETS,),
                heal=Form.SECRETS,
            ),
            File("config-json", "~/.continue/config.json", "json", at=("models[*].apiKey",), beside="apiBase"),
            File("env", "~/.continue/.env", "dotenv"),
        ),
        todo=f"{_restart('cn')}; and reload the windows of the editor in which it is",
        todo_referring=f"{_restart('cn', _FROZEN)}; and the editor in which it is",
    ),
    "aider": Client(
        title="aider",
        files=(*_aider("", "~/"), *_aider("project-", ""), File("oauth", "~/.aider/oauth-keys.env", "dotenv")),
        todo=_restart("aider"),
        todo_referring=_restart("aider", _FROZEN),
    ),
    "llm": Client(
        title="llm",
        files=(
            File("keys", "${XDG_CONFIG_HOME}/io.datasette.llm/keys.json", "json", at=("*",)),
            File("keys-elsewhere", "${LLM_USER_PATH}/keys.json", "json", at=("*",)),
        ),
    ),
    "crush": Client(
        title="Crush",
        files=(
            _crush("config", "${XDG_CONFIG_HOME}/crush/crush.json"),
            _crush("data", "${XDG_DATA_HOME}/crush/crush.json"),
            _crush("project", "crush.json"),
            _crush("project-hidden", ".crush.json"),
            _crush("folder", ".crush/crush.json"),
            _crush("system", "/etc/crush/crush.json"),
        ),
        todo=_restart("crush"),
        todo_referring=_restart("crush", _FROZEN),
    ),
    "goose": Client(
        title="goose",
        files=(_goose("config"), _goose("secrets")),
        todo=_restart("goose"),
        todo_referring=_restart("goose", _FROZEN),
    ),
    "librechat": Client(
        title="LibreChat",
        files=(
            File(
                "config",
                "librechat.yaml",
                "yaml",
                at=("endpoints.custom[*].apiKey",),
                beside="baseURL",
                resolves=(Form.BRACED,),
                heal=Form.BRACED,
            ),
            File("env", ".env", "dotenv"),
        ),
        todo="restart LibreChat; a key that a user has entered there is in its database, out of reach",
        todo_referring="restart LibreChat, with its .env read anew",
    ),
    "direnv": Client(
        title="direnv",
        files=(File("envrc", ".envrc", "text"),),
        todo_referring="direnv reload, in each shell that is open there: it watches only what `dotenv` loads",
    ),
    "docker-compose": Client(
        title="Docker Compose",
        files=(File("env", ".env", "dotenv"),),
        todo_referring="docker compose up --detach, where the variable has its new value: `restart` keeps the old one",
    ),
}

# Clients that keep the key where no program but their own reaches it: what a person must do there.
OPAQUE: Mapping[str, str] = {
    "zed": "enter the present key in Zed's settings of the provider: it is kept in the keychain of the system",
    "cline": "enter the present key in the settings of Cline: VS Code keeps it in its own secret storage",
    "roo": "enter the present key in the settings of Roo Code: VS Code keeps it in its own secret storage",
    "kilo": "enter the present key in the settings of Kilo Code: VS Code keeps it in its own secret storage",
    "copilot": "enter the present key in Copilot's list of models: VS Code keeps it in its own secret storage",
}


def is_client(kind: str) -> bool:
    """Whether places of this kind are files of a client."""
    return kind == "client-file" or kind in CLIENTS


def is_own(kind: str, at: Sequence[str]) -> bool:
    """Whether the playbook itself says where in the file the key belongs."""
    return kind == "client-file" and bool(at)


def is_path(text: str) -> bool:
    """Whether it names leaves of a file: `customModels[*].apiKey`, `providers.*.api_key`, `a["odd key"][0]`."""
    return _PATH.fullmatch(text) is not None


def options(kind: str, file: File) -> dict[str, object]:
    """What a row keeps of a client's known file: enough to finish a run without this page."""
    return {
        "file": file.name,
        "format": file.format,
        "at": list(file.at),
        "beside": file.beside,
        "names": list(file.names),
        "resolves": None if file.resolves is None else [str(form) for form in file.resolves],
        "heal": str(file.heal or ""),
        "todo_referring": CLIENTS[kind].todo_referring,
    }


def file_of(kind: str, name: str) -> File | None:
    """The client's file of that name; None for a file of which nothing is known."""
    return next((file for file in files_of(kind) if file.name == name), None)


def files_of(kind: str) -> Sequence[File]:
    """The files of a client; none for a kind that is no client."""
    return CLIENTS[kind].files if kind in CLIENTS else ()
