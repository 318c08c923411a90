"""Which upstream keys could be used through a gateway: by its real catalogue files and a real process's variables."""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from keyrotor.boundary.plaintext import seal_all
from keyrotor.core.response import Reached
from keyrotor.deeds.reach import Reaching
from keyrotor.errors import PlaceError
from keyrotor.looks import catalogues

LITERAL = f"gsk-{secrets.token_urlsafe(16)}"
CONFIG = f"""\
include: [more.yaml]
model_list:
  - model_name: by-name
    litellm_params: {{model: openai/gpt-4o, api_key: os.environ/WORK_OPENAI_KEY}}
  - model_name: by-name-too
    litellm_params: {{model: openai/gpt-4o-mini, api_key: os.environ/WORK_OPENAI_KEY}}
  - model_name: literal
    litellm_params: {{model: groq/llama, api_key: {LITERAL}}}
  - model_name: by-convention
    litellm_params: {{model: anthropic/claude-x}}
  - model_name: local
    litellm_params: {{model: ollama/qwen, api_base: "http://localhost:11434"}}
  - model_name: dummy
    litellm_params: {{model: openai/x, api_base: "http://localhost:1/v1", api_key: none}}
  - model_name: mock
    litellm_params: {{model: openai/mock, api_key: os.environ/MOCK_KEY, mock_response: hi}}
  - model_name: cloud
    litellm_params: {{model: bedrock/claude}}
  - model_name: unset
    litellm_params: {{model: mistral/large}}
general_settings: {{master_key: os.environ/LITELLM_MASTER_KEY, store_model_in_db: true}}
"""
MORE = (
    "model_list:\n  - model_name: included\n    litellm_params: {model: xai/grok, api_key: os.environ/XAI_TEAM_KEY}\n"
)
SET = ("ANTHROPIC_API_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "DEEPSEEK_API_KEY", "LITELLM_MASTER_KEY")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "more.yaml").write_text(MORE)
    (tmp_path / "config.yaml").write_text(CONFIG)
    return tmp_path / "config.yaml"


@pytest.fixture
def process() -> Iterator[int]:
    """A process with a gateway's variables, one of them empty."""
    env = {name: secrets.token_urlsafe(12) for name in SET} | {"GEMINI_API_KEY": ""}
    argv = [sys.executable, "-IS", "-c", "print('up', flush=True); input()"]
    with subprocess.Popen(argv, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout
        child.stdout.readline()  # before, it has still our own environment
        yield child.pid
        child.communicate(b"\n")


def reached(config: Path | None, pid: int, values: Mapping[str, str] | None = None) -> dict[str, Reached]:
    reaching = Reaching("pb", config, "LITELLM_MASTER_KEY", lambda: pid, catalogues.read)
    return {each.name: each for each in reaching.reach(seal_all(values or {}))}


def test_every_upstream_key_is_named_and_none_is_shown(config: Path, process: int) -> None:
    """By reference, as a literal, by the provider's own variable, in a file that is included; with its models."""
    found = reached(config, process)
    told = {name: (each.provider, each.models) for name, each in found.items()}
    assert told == {
        "WORK_OPENAI_KEY": ("openai", ("by-name", "by-name-too")),
        f"a literal in {config}, model literal": ("groq", ("literal",)),
        "ANTHROPIC_API_KEY": ("anthropic", ("by-convention",)),
        "AWS_ACCESS_KEY_ID": ("bedrock", ("cloud",)),
        "AWS_SECRET_ACCESS_KEY": ("bedrock", ("cloud",)),
        "MISTRAL_API_KEY (not set, as far as can be seen)": ("mistral", ("unset",)),
        "XAI_TEAM_KEY": ("xai", ("included",)),
        "DEEPSEEK_API_KEY": ("deepseek", ()),
        "keys of models in the gateway's database": ("unknown", ()),
    }
    assert LITERAL not in str(found)


def test_where_the_process_is_not_known_the_encrypted_files_names_count(config: Path) -> None:
    """It is down, or another user's."""
    found = reached(config, 0, {"ANTHROPIC_API_KEY": "x" * 20, "OPENROUTER_API_KEY": "y" * 20, "GROQ_API_KEY": ""})
    assert {"ANTHROPIC_API_KEY", "OPENROUTER_API_KEY"} <= found.keys()
    assert "AWS_ACCESS_KEY_ID" not in found
    assert "GROQ_API_KEY" not in found


def test_without_a_config_the_variables_alone_are_told(process: int) -> None:
    """The pass-through routes need no model."""
    assert {"ANTHROPIC_API_KEY", "DEEPSEEK_API_KEY"} <= reached(None, process).keys()
    assert "LITELLM_MASTER_KEY" not in reached(None, process)


def test_a_config_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    """Not an empty list."""
    (tmp_path / "config.yaml").write_text("model_list: [\n")
    with pytest.raises(PlaceError, match="cannot tell what could be reached"):
        reached(tmp_path / "config.yaml", 0)
