"""The gateway's catalogue: who serves which model, and whether its fallbacks lead anywhere."""

from __future__ import annotations

import json
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyrotor.errors import FormatError
from keyrotor.formats import catalogue, fallbacks, model_list
from keyrotor.formats.catalogue import Catalogue, includes, is_asked, is_ollama_cloud, merged
from keyrotor.formats.fallbacks import Chain, loops, matches
from keyrotor.formats.providers import PROVIDERS, fault, models_address


def read(text: str) -> Catalogue:
    return catalogue.read(catalogue.parsed(text.encode()))


def one(params: str, more: str = "") -> catalogue.Model:
    [found] = read(f"model_list:\n  - {{model_name: a, litellm_params: {params}}}\n{more}").models
    return found


def faults(settings: str, *names: str) -> list[str]:
    """What is wrong with these fallbacks among models of these names."""
    models = "".join(f"  - {{model_name: '{name}', litellm_params: {{model: openai/x}}}}\n" for name in names)
    found = read(f"model_list:\n{models}{settings}")
    return [*found.faults, *fallbacks.told(found.chains, found.names)]


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


@pytest.mark.parametrize(
    ("key", "is_one"),
    [
        ("gpt-5", True),  # the model is PROVIDER/key
        ("gemini-2.5-pro", True),
        ("vertex_ai/gemini-2.5-pro", True),  # as LiteLLM infers
        ("openai/gemini-2.5-pro", False),
        ("mine/own", True),
        ("own", False),  # nobody's provider
        ("other/gpt-5", False),
        ("openai/*", False),  # no request is for that name
        ("gpt-*", False),
        ("*", True),
    ],
)
def test_a_key_is_one_that_litellm_would_use(key: str, is_one: bool) -> None:
    """By its exact name, without a provider that LiteLLM knows, with one that it infers; and it is no pattern."""
    settings = f"router_settings:\n  fallbacks: [{{'{key}': [a]}}]\n"
    found = faults(settings, "a", "openai/gpt-5", "gemini-2.5-pro", "mine/own")
    assert (found == []) is is_one
    assert is_one or "no pattern" in found[0] or faults(settings, "a", "mine/*", "deepseek/*") == []


@pytest.mark.parametrize(
    "text",
    [
        "router_settings: {fallbacks: [{a: [*y]}]}\n",
        "router_settings: {fallbacks: [{a: *y}]}\n",
        "router_settings: {fallbacks: [{a: [{model: *y}]}]}\n",
        "router_settings: {model_group_alias: [*y]}\n",
        "litellm_settings: {default_fallbacks: [*y]}\n",
        "credential_list: [{credential_name: *y}]\n",
        "model_list: [{model_name: a, model_info: {id: *y}, litellm_params: {model: openai/a}}]\n",
        "model_list: [{model_name: a, litellm_params: {model: openai/a, litellm_credential_name: *y}}]\n",
    ],
)
def test_what_grows_without_bound_is_made_no_text_of(text: str) -> None:
    """Thirty aliases of ten each would be a text of 10**30 letters: it is a fault, at once."""
    aliases = "x0: &x0 [a, a, a, a, a, a, a, a, a, a]\n"
    aliases += "".join(f"x{at}: &x{at} [{', '.join([f'*x{at - 1}'] * 10)}]\n" for at in range(1, 30))
    found = read(aliases + "y: &y [*x29]\n" + text)
    assert found.faults or "litellm_credential_name" in text
    assert all(len(fault) < 120 for fault in found.faults)
    fallbacks.told(found.chains, found.names)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("model_list: foo\n", "model_list is not a list"),
        ("model_list: {a: b}\n", "model_list is not a list"),
        ("include: other.yaml\n", "include is not a list"),
        ("include: [{a: b}]\n", "include has an entry that is no name of a file"),
        ("credential_list: {}\n", "credential_list is not a list"),
        ("router_settings: [a]\n", "router_settings is not a table"),
        ("litellm_settings: text\n", "litellm_settings is not a table"),
        ("general_settings: [a]\n", "general_settings is not a table"),
        ("environment_variables: [a]\n", "environment_variables is not a table"),
        ("litellm_settings: {default_fallbacks: gpt}\n", "default_fallbacks names its fallbacks by something else"),
        ("litellm_settings: {fallbacks: [{a: gpt}]}\n", "fallbacks: a names its fallbacks by something else"),
        ("model_list: [{model_name: a, litellm_params: {model: ollama/a, api_base: 8}}]\n", "its api_base is no text"),
        ("model_list: [{model_name: a, litellm_params: {model: ollama/a, api_key: [k]}}]\n", "its api_key is no text"),
    ],
)
def test_a_wrong_shape_is_a_fault(text: str, told: str) -> None:
    """And is not passed over, as if nothing stood there."""
    [found] = read(text).faults
    assert told in found


@pytest.mark.parametrize("text", ["", "# nothing\n", "text", "[a]", "- {model_name: a}\n", "1"])
def test_what_is_no_table_is_no_catalogue(text: str) -> None:
    """LiteLLM does not start with it."""
    with pytest.raises(FormatError, match="does not start"):
        catalogue.parsed(text.encode())


@pytest.mark.parametrize(
    ("base", "is_one"),
    [
        ("https://ollama.com", True),
        ("https://OLLAMA.com/v1", True),
        ("https://ollama.com:443/api", True),
        ("https://somebody:password@ollama.com", True),
        ("http://ollama.com", False),
        ("http://127.0.0.1:7001?@ollama.com", False),
        ("https://evil.example#@ollama.com", False),
        ("https://evil.example/@ollama.com", False),
        ("https://ollama.com@evil.example", False),
        ("https://[::1", False),
        ("ollama.com", False),
        ("", False),
    ],
)
def test_ollamas_own_address_is_what_a_client_takes_for_it(base: str, is_one: bool) -> None:
    """Its key goes there and nowhere else, and over TLS."""
    assert is_ollama_cloud(base) is is_one


@pytest.mark.parametrize(
    ("base", "why"),
    [
        ("https://h/v1", ""),
        ("http://somebody:password@h:8080/v1", ""),
        ("http://[::1]:11434", ""),
        ("http://h?@ollama.com", "?"),
        ("https://h#@ollama.com", "#"),
        ("https://h\\@ollama.com", "\\"),
        ("https://h/ /v1", "blank"),
        ("https://h\n/v1", "blank"),
        ("https://a@b@h", "no address"),
        ("https://", "no address"),
        ("https://h:99999", "no address"),
        ("127.0.0.1:7001", "neither http:// nor https://"),
        ("localhost", "neither http:// nor https://"),
        ("ftp://h", "neither http:// nor https://"),
    ],
)
def test_an_address_that_clients_may_read_in_two_ways_is_refused(base: str, why: str) -> None:
    """Options, fragments, backslashes, blanks: nothing is sent to any of them."""
    assert why in fault(base)
    assert bool(fault(base)) is bool(why)


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

    def has(wanted: str, there: str) -> bool:
        found = model_list.read(json.dumps({"models": [{"name": there}]}).encode())
        assert found is not None
        return found.has(wanted)

    assert has("llama3", "llama3:latest")
    assert has("llama3:latest", "llama3")
    assert has("llama3:latest", "llama3:latest")
    assert not has("llama3", "llama3:8b")


@given(st.binary(max_size=60) | st.text(alphabet="ab:[]{}-&*<> \n\"'", max_size=60).map(str.encode))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """Nothing but FormatError comes out."""
    with suppress(FormatError):
        found = catalogue.read(catalogue.parsed(data))
        fallbacks.told(found.chains, found.names)


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
    fallbacks.told(found.chains, found.names)
    includes(tree)
    settings = {"router_settings": {"fallbacks": inner, "default_fallbacks": inner, "model_group_alias": inner}}
    fallbacks.told(catalogue.read(settings).chains, frozenset())
