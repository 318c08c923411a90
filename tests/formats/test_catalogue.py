"""The gateway's catalogue: who serves which model, and whether its fallbacks lead anywhere."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyrotor.errors import FormatError
from keyrotor.formats import catalogue
from keyrotor.formats.catalogue import Catalogue, Chain, chain_faults, includes, is_asked, loops, matches, merged
from keyrotor.formats.providers import PROVIDERS, is_same_model, models_address


def read(text: str) -> Catalogue:
    return catalogue.read(catalogue.parsed(text.encode()))


def one(params: str, more: str = "") -> catalogue.Model:
    [found] = read(f"model_list:\n  - {{model_name: a, litellm_params: {params}}}\n{more}").models
    return found


def faults(settings: str, *names: str) -> list[str]:
    """What is wrong with these fallbacks among models of these names."""
    models = "".join(f"  - {{model_name: '{name}', litellm_params: {{model: openai/x}}}}\n" for name in names)
    found = read(f"model_list:\n{models}{settings}")
    return [*found.faults, *chain_faults(found, found.names)]


@pytest.mark.parametrize(
    ("params", "provider", "name"),
    [
        ("{model: openai/gpt-5}", "openai", "gpt-5"),
        ("{model: ollama/llama3:8b}", "ollama", "llama3:8b"),
        ("{model: ollama_chat/qwen}", "ollama_chat", "qwen"),
        ("{model: hosted_vllm/org/model}", "hosted_vllm", "org/model"),
        ("{model: openrouter/openai/gpt-5}", "openrouter", "openai/gpt-5"),
        ("{model: gpt-5}", "openai", "gpt-5"),
        ("{model: claude-sonnet}", "", "claude-sonnet"),
        ("{model: own, api_base: 'http://127.0.0.1:8080/v1'}", "openai", "own"),
        ("{model: org/model, custom_llm_provider: openai}", "openai", "org/model"),
        ("{model: openai/model, custom_llm_provider: openai}", "openai", "model"),
        ("{model: openai/m, api_base: 'https://ollama.com'}", "ollama", "m"),
        ("{model: openai/m, api_base: 'https://ollama.com/v1'}", "openai", "m"),
        ("{model: openai/m, api_base: 'https://ollama.com.evil.example'}", "openai", "m"),
        ("{model: 'openai/*'}", "openai", "*"),
    ],
)
def test_a_model_tells_who_serves_it(params: str, provider: str, name: str) -> None:
    """By its prefix, by what is stated, by its address."""
    found = one(params)
    assert (found.provider, found.model) == (provider, name)


def test_address_and_key_are_taken_as_they_stand() -> None:
    """Also from a named credential, which the entry's own words win over."""
    found = one("{model: openai/m, api_base: os.environ/BASE, api_key: os.environ/KEY}")
    assert (found.base, found.key) == ("os.environ/BASE", "os.environ/KEY")
    credentials = (
        "credential_list:\n  - {credential_name: c, credential_values: {api_base: http://one, api_key: a-key}}\n"
    )
    found = one("{model: openai/m, litellm_credential_name: c, api_base: http://two}", credentials)
    assert (found.base, found.key) == ("http://two", "a-key")


def test_a_key_is_in_no_representation() -> None:
    """A literal key must not come along in a traceback or a failed assert."""
    found = read("model_list:\n  - {model_name: a, litellm_params: {model: openai/m, api_key: marker}}\n")
    found_too = read("environment_variables: {KEY: marker}\n")
    assert "marker" not in repr(found) + repr(found_too)


def test_anchors_and_merge_keys_are_resolved() -> None:
    """The entry's own words win over the merged ones."""
    found = read(
        "x: &local {api_base: 'http://127.0.0.1:11434', api_key: none}\n"
        "model_list:\n"
        "  - model_name: a\n    litellm_params: {<<: *local, model: ollama/a}\n"
        "  - model_name: b\n    litellm_params:\n      <<: *local\n      model: ollama/b\n      api_key: other\n"
    )
    assert [(model.base, model.key) for model in found.models] == [
        ("http://127.0.0.1:11434", "none"),
        ("http://127.0.0.1:11434", "other"),
    ]


def test_what_cannot_be_asked_is_known() -> None:
    """A mock, a provider without a free list, the vllm that is a library."""
    assert is_asked(one("{model: ollama/m}"))
    assert is_asked(one("{model: vllm/m, api_base: 'http://127.0.0.1:8000/v1'}"))
    assert not is_asked(one("{model: vllm/m}"))
    assert not is_asked(one("{model: bedrock/m}"))
    assert not is_asked(one("{model: ollama/m, mock_response: pong}"))
    assert not is_asked(one("{model: ollama/m, mock_response: ''}"))


@pytest.mark.parametrize(
    "entry", ["text", "{}", "{model_name: a}", "{model_name: 1, litellm_params: {model: m}}", "null"]
)
def test_an_entry_that_is_no_model_is_a_fault(entry: str) -> None:
    """The others are read all the same."""
    found = read(f"model_list:\n  - {entry}\n  - {{model_name: b, litellm_params: {{model: ollama/b}}}}\n")
    assert [model.name for model in found.models] == ["b"]
    assert found.faults == ("entry 1 of model_list has no model_name, or no model in its litellm_params",)


@pytest.mark.parametrize("section", ["router_settings", "litellm_settings"])
@pytest.mark.parametrize("setting", ["fallbacks", "context_window_fallbacks", "content_policy_fallbacks"])
def test_a_fallback_to_nobody_is_a_fault(section: str, setting: str) -> None:
    """In each of the settings, wherever they stand; and so is one of nobody."""
    text = f"{section}:\n  {setting}: [{{a: [b, c]}}, {{d: [a]}}]\n"
    assert faults(text, "a", "b") == [
        f"{setting}: a falls back to c, which is not in model_list",
        f"{setting}: d has a fallback, and is not in model_list",
    ]


def test_default_fallbacks_are_looked_at() -> None:
    """They may name a model that has them itself: LiteLLM does not fall back to the one that failed."""
    text = "litellm_settings:\n  default_fallbacks: [a, z]\n"
    assert faults(text, "a", "b") == ["default_fallbacks: every model falls back to z, which is not in model_list"]


@pytest.mark.parametrize(
    "text",
    [
        "router_settings: {fallbacks: [{a: [b]}, {b: []}]}\n",
        "router_settings: {fallbacks: [{a: b}]}\n",
        "router_settings: {fallbacks: [{a: [{model: b, messages: []}]}]}\n",
        "router_settings: {fallbacks: [{'*': [a]}]}\n",
        "router_settings: {fallbacks: [{a: ['openai/new']}]}\n",
        "router_settings: {fallbacks: [{openai/a: [b]}]}\n",
        "router_settings: {fallbacks: [{a: [other]}], model_group_alias: {other: b}}\n",
        "router_settings: {fallbacks: null}\n",
        "router_settings: {fallbacks: [{a: [b]}, {b: [c]}, {a: [c]}]}\n",
    ],
)
def test_what_leads_somewhere_is_no_fault(text: str) -> None:
    """Names, tables that name one, patterns, aliases, a key with its provider before it, two ways to one end."""
    assert faults(text, "a", "b", "c", "openai/*") == []


@pytest.mark.parametrize("setting", ["{a: [b]}", "[a]", "[{a: [b], b: [a]}]", "text"])
def test_what_litellm_does_not_start_with_is_a_fault(setting: str) -> None:
    """A table for a list, a name for a table, two keys in one."""
    [found] = faults(f"router_settings:\n  fallbacks: {setting}\n", "a", "b")
    assert found.startswith("fallbacks ")


@pytest.mark.parametrize(
    ("chains", "found"),
    [
        ("a>b b>a", ["a b a"]),
        ("a>a", ["a a"]),
        ("a>b b>c c>b", ["b c b"]),
        ("a>b,c b>d c>d", []),
        ("a>b b>a c>d d>e e>c", ["a b a", "c d e c"]),
        ("a>b b>c c>a a>c", ["a b c a"]),
        ("a>z", []),
    ],
)
def test_each_loop_is_found_once(chains: str, found: list[str]) -> None:
    """From wherever it is entered; of several through the same fallbacks, one."""
    rows = [row.split(">") for row in chains.split()]
    told = loops([Chain("fallbacks", model, tuple(targets.split(","))) for model, targets in rows])
    assert [" ".join(loop) for loop in told] == found


def test_a_long_chain_is_no_trouble() -> None:
    """Nothing recurses."""
    chains = [Chain("fallbacks", str(at), (str(at + 1),)) for at in range(20_000)]
    assert loops(chains) == []
    assert len(loops([*chains, Chain("fallbacks", "20000", ("0",))])) == 1


@given(st.dictionaries(st.integers(0, 7), st.lists(st.integers(0, 7), max_size=3), max_size=8))
def test_a_loop_is_told_exactly_where_there_is_one(graph: dict[int, list[int]]) -> None:
    """Each told one is one, and without any there is an order in which all falls downward."""
    found = loops([Chain("fallbacks", str(one), tuple(map(str, others))) for one, others in graph.items()])
    for loop in found:
        assert loop[0] == loop[-1]
        assert all(int(after) in graph[int(before)] for before, after in pairwise(loop))
    left = {one: set(others) for one, others in graph.items()}
    while any(not (others & left.keys()) for others in left.values()):
        left = {one: others for one, others in left.items() if others & left.keys()}
    assert bool(found) == bool(left)


@pytest.mark.parametrize(
    ("pattern", "name", "is_matched"),
    [
        ("*", "anything", True),
        ("openai/*", "openai/gpt-5", True),
        ("openai/*", "ollama/gpt-5", False),
        ("*-mini", "gpt-5-mini", True),
        ("*-mini", "gpt-5-mini-2026", True),  # as LiteLLM: re.match
        ("a*b*c", "a-b-c", True),
        ("a*b*c", "a-c-b", False),
        ("a.c*", "abc", False),
    ],
)
def test_a_pattern_matches_as_in_litellm(pattern: str, name: str, is_matched: bool) -> None:
    """A star is anything, and nothing else is special."""
    assert matches(pattern, name) is is_matched


def test_included_files_are_merged_as_in_litellm() -> None:
    """Lists are appended, everything else is replaced."""
    tree = catalogue.parsed(b"include: [b.yaml]\nmodel_list: [1]\nrouter_settings: {a: 1}\n")
    other = catalogue.parsed(b"model_list: [2]\nrouter_settings: {b: 1}\n")
    assert includes(tree) == ["b.yaml"]
    assert merged(tree, other) == {"include": [], "model_list": [1, 2], "router_settings": {"b": 1}}


@pytest.mark.parametrize(
    ("provider", "base", "address"),
    [
        ("ollama", "http://h:11434", "http://h:11434/api/tags"),
        ("ollama", "http://h:11434/", "http://h:11434/api/tags"),
        ("ollama", "http://h:11434/v1/", "http://h:11434/api/tags"),
        ("ollama_chat", "http://h:11434/api/chat", "http://h:11434/api/tags"),
        ("ollama", "https://ollama.com", "https://ollama.com/api/tags"),
        ("ollama", "https://ollama.com/api", "https://ollama.com/api/tags"),
        ("openai", "http://h:8080/v1", "http://h:8080/v1/models"),
        ("openai", "http://h:8080/v1/chat/completions", "http://h:8080/v1/models"),
        ("docker_model_runner", "http://h/engines/llama.cpp", "http://h/engines/llama.cpp/v1/models"),
        ("hosted_vllm", "http://h:8000/v1/", "http://h:8000/v1/models"),
    ],
)
def test_the_list_of_models_is_where_the_provider_has_it(provider: str, base: str, address: str) -> None:
    """However the address is written."""
    assert models_address(PROVIDERS[provider], base) == address


def test_latest_is_the_tag_of_a_name_without_one() -> None:
    """And of no other."""
    assert is_same_model("llama3", "llama3:latest")
    assert is_same_model("llama3:latest", "llama3")
    assert not is_same_model("llama3", "llama3:8b")


@given(st.binary(max_size=60) | st.text(alphabet="ab:[]{}-&*<> \n\"'", max_size=60).map(str.encode))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """Nothing but FormatError comes out."""
    with suppress(FormatError):
        found = catalogue.read(catalogue.parsed(data))
        chain_faults(found, found.names)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["model_name", "litellm_params", "model", "a", "fallbacks"]), inner, max_size=3
            )
        ),
        max_leaves=12,
    )
)
def test_any_table_is_read(inner: object) -> None:
    """Whatever stands where something else should be is a fault, or passed over."""
    keys = ("model_list", "router_settings", "litellm_settings", "credential_list", "environment_variables", "include")
    tree = dict.fromkeys(keys, inner)
    found = catalogue.read(tree)
    chain_faults(found, found.names)
    includes(tree)
    settings = {"router_settings": {"fallbacks": inner, "default_fallbacks": inner, "model_group_alias": inner}}
    chain_faults(catalogue.read(settings), frozenset())
