"""Every client that is known: its place, as a playbook makes it, on a file as its program writes one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from keyrotor import playbook
from keyrotor.boundary.plaintext import unseal
from keyrotor.boundary.signals import Signals
from keyrotor.core import plan
from keyrotor.core.clients import CLIENTS, OPAQUE, Form
from keyrotor.core.model import Act, Holds, Row, Value
from keyrotor.places.client_file import ClientFile
from keyrotor.ports import Place
from keyrotor.secret import Pair
from keyrotor.world.parts import Parts
from places.sealed import KEY

BOM = b"\xef\xbb\xbf"
GATEWAY = b"http://127.0.0.1:4000/v1"

# As the programs write them, with `@` for the key: by hand, with comments and all, or by themselves, without.
DROID = (
    BOM
    + b'{\r\n\t// droid ignores a file with a trailing comma; we do not\r\n\t"logoAnimation": "off",\r\n'
    + b'\t"customModels": [\r\n\t\t{ "displayName": "lab", "model": "mock", "baseUrl": "%b", "apiKey": "@",'
    + b' "provider": "generic-chat-completion-api", "maxOutputTokens": 16384, },\r\n\t],\r\n}'
) % GATEWAY
DROID_LEGACY = b'{"custom_models": [{"model": "mock", "base_url": "%b", "api_key": "@"}]}' % GATEWAY
CLAUDE = b"""{
  "env": {
    "ANTHROPIC_BASE_URL": "http://127.0.0.1:4000",
    "ANTHROPIC_AUTH_TOKEN": "@"
  },
  "permissions": {"allow": ["Bash(ls:*)"]}
}
"""
CODEX = (
    b"""\
model = "mock"
model_provider = "lab"

[model_providers.lab]   # the gateway
base_url = "%b"
experimental_bearer_token = "@"
wire_api = 'chat'
"""
    % GATEWAY
)
OPENCODE = (
    b"""{
  "$schema": "https://opencode.ai/config.json",
  "provider": {
    "lab-1": { "npm": "@ai-sdk/openai-compatible", /* ours */
      "options": { "baseURL": "%b", "apiKey": "KEY" }, },
  },
}
""".replace(b"KEY", b"\0")
    .replace(b"@ai", b"\1ai")
    .replace(b"\0", b"@")
    % GATEWAY
)
CONTINUE = (
    b"""\
name: lab
models:
  - name: mock
    provider: openai
    apiBase: %b
    apiKey: @
  - {name: other, apiKey: "nobody's", apiBase: https://elsewhere.example}
"""
    % GATEWAY
)
CRUSH = b'{"$schema":"x","providers":{"lab":{"type":"openai","base_url":"%b","api_key":"@"}}}' % GATEWAY
ENV = b"# aider\nexport OPENAI_API_KEY='@'\nOPENAI_API_BASE=%b\n" % GATEWAY
LIBRECHAT = b"version: 1.2.1\nendpoints:\n  custom:\n    - name: lab\n      apiKey: '@'\n      baseURL: %b\n" % GATEWAY
JSON_KEY = b'{\n  "%b": "@"\n}\n'

FILES: dict[str, bytes] = {
    "droid:settings": DROID,
    "droid:local": DROID,
    "droid:config": DROID_LEGACY,
    "droid:project": DROID,
    "droid:project-local": DROID,
    "droid:project-config": DROID_LEGACY,
    "droid:runtime": DROID,
    "droid:org": DROID,
    "droid:org-local": DROID,
    "droid:fragment": b'{"litellm": {"url": "http://127.0.0.1:4000", "key": "@"}}\n',
    **dict.fromkeys((f"claude-code:{file.name}" for file in CLIENTS["claude-code"].files), CLAUDE),
    "codex:config": CODEX,
    "codex:auth": JSON_KEY % b"OPENAI_API_KEY",
    "codex:elsewhere-config": CODEX,
    "codex:elsewhere-auth": JSON_KEY % b"OPENAI_API_KEY",
    **dict.fromkeys((f"opencode:{file.name}" for file in CLIENTS["opencode"].files), OPENCODE),
    "opencode:auth": b'{"lab": {"type": "api", "key": "@"}}',
    "continue:config": CONTINUE,
    "continue:config-json": b'{"models": [{"apiKey": "@", "apiBase": "%b"}]}' % GATEWAY,
    "continue:env": b"LITELLM_MASTER_KEY=@\n",
    "aider:env": ENV,
    "aider:project-env": ENV,
    "aider:conf": b"# aider\nopenai-api-key: @\napi-key:\n- openai=@\n",
    "aider:project-conf": b"set-env: [OPENAI_API_KEY=@]\n",
    "aider:oauth": ENV,
    "llm:keys": b'{\n  "// Note": "This file stores secret API credentials.",\n  "litellm": "@"\n}\n',
    "llm:keys-elsewhere": JSON_KEY % b"litellm",
    **dict.fromkeys((f"crush:{file.name}" for file in CLIENTS["crush"].files), CRUSH),
    "goose:config": b"GOOSE_PROVIDER: litellm\nLITELLM_HOST: http://127.0.0.1:4000\nLITELLM_API_KEY: @\n",
    "goose:secrets": b"OPENAI_API_KEY: '@'\n",
    "librechat:config": LIBRECHAT,
    "librechat:env": ENV,
    "docker-compose:env": b"COMPOSE_PROJECT_NAME=lab\nLITELLM_MASTER_KEY=@\n",
}
# One for each program: what it does with a reference. Some forms want quotes.
PROGRAMS = {
    "droid:settings": DROID,
    "droid:config": DROID_LEGACY,
    "claude-code:settings": CLAUDE,
    "codex:config": CODEX,
    "opencode:config": OPENCODE,
    "continue:config": CONTINUE.replace(b"apiKey: @", b'apiKey: "@"'),
    "crush:config": CRUSH,
    "librechat:config": LIBRECHAT,
}
WRITTEN = {form: form.replace("NAME", KEY).encode() for form in Form if form is not Form.COMMAND}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    (tmp_path / "project" / "playbooks").mkdir(parents=True)
    return tmp_path / "home"


def row_of(home: Path, kind: str, name: str, more: str = "") -> Row:
    """The row of this file, in a playbook that says no more than the kind."""
    path = home.parent / "project" / "playbooks" / "a.toml"
    path.write_text(f"""name = "a"
[secret]
file = "s.env"
key = "{KEY}"
[[place]]
kind = "sops-file"
[[place]]
kind = "command"
put = ["true"]
[[place]]
kind = "litellm"
url = "http://127.0.0.1:4000"
[[place]]
kind = "{kind}"
{more}
""")
    variables = ("FACTORY_RUNTIME_SETTINGS_PATH", "FACTORY_ORG_MANAGED_SETTINGS_LOCAL_PATH", "OPENCODE_CONFIG")
    folders = ("CLAUDE_CONFIG_DIR", "CODEX_HOME", "LLM_USER_PATH")
    env = {"HOME": str(home), **{name: str(home / name.lower()) for name in (*variables, *folders)}}
    rows = plan.rows(playbook.load(path, env))
    return next(row for row in rows if row.id == (f"{kind}:{name}" if name else kind))


def place_of(home: Path, name: str, data: bytes, mode: int = 0o644) -> ClientFile:
    """Its place, with this in the file; one that is the system's lies in the home here."""
    kind, _, file = name.partition(":")
    if kind == "docker-compose":
        row = row_of(home, kind, "", 'path = "web/.env"\nreload = ["true"]')
    else:
        row = row_of(home, kind, file)
    path = Path(row.options["path"])
    if path.is_relative_to("/etc"):
        path = home / path.relative_to("/")
        row = replace(row, options={**row.options, "path": str(path)})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.chmod(mode)
    place = built(home, row)
    assert isinstance(place, ClientFile)
    return place


def built(home: Path, row: Row) -> Place:
    source = playbook.load(home.parent / "project" / "playbooks" / "a.toml", {"HOME": str(home)}).source
    return Parts({"HOME": str(home)}, home, Signals()).places([row], source, {}, home)[row.id]


def filled(data: bytes, value: bytes) -> bytes:
    return data.replace(b"@", value).replace(b"\1", b"@")


def test_every_file_of_the_catalogue_is_tried_here() -> None:
    """But for direnv's, which is no client's file to write."""
    assert FILES.keys() == {
        f"{kind}:{file.name}" for kind, client in CLIENTS.items() for file in client.files if kind != "direnv"
    }


@pytest.mark.parametrize("name", FILES)
def test_a_file_as_its_client_writes_it_is_found_spliced_and_proven(home: Path, pair: Pair, name: str) -> None:
    """By what the kind alone says; one token changes, the mode stays, and back again it is as before."""
    data = FILES[name]
    place = place_of(home, name, filled(data, unseal(pair.old)))
    assert place.holds(pair) is Holds.OLD
    assert place.check(pair) == []
    for value in (Value.NEW, Value.OLD):
        place.prepare(value, pair)
        place.put(value, pair)
        assert place.path.read_bytes() == filled(data, unseal(pair[value]))
        assert place.holds(pair) is Holds(value)
    assert place.path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("form", WRITTEN)
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_reference_stays_and_is_told_where_its_client_sends_it(home: Path, pair: Pair, name: str, form: Form) -> None:
    """A file that refers is skipped whatever the form; one that the program does not resolve is broken."""
    place = place_of(home, name, filled(PROGRAMS[name], WRITTEN[form]))
    assert place.holds(pair) is Holds.REFERS
    assert place.check(pair) == []
    kind, _, file = name.partition(":")
    known = next(each for each in CLIENTS[kind].files if each.name == file)
    sent = known.resolves is not None and form not in known.resolves
    assert [said for _, said in place.broken(pair)] == ([form] if sent else [])
    assert place.path.read_bytes() == filled(PROGRAMS[name], WRITTEN[form])


def test_what_is_broken_is_told_by_its_path(home: Path, pair: Pair) -> None:
    """The seed's config.json: droid sends `env:NAME` as it is."""
    place = place_of(home, "droid:config", filled(DROID_LEGACY, WRITTEN[Form.ENV]))
    assert place.broken(pair) == [("custom_models[0].api_key", Form.ENV)]


def test_a_reference_for_another_gateway_is_none_of_ours(home: Path, pair: Pair) -> None:
    """Its address says so; one that has none could be ours."""
    other = DROID_LEGACY.replace(GATEWAY, b"https://elsewhere.example/v1")
    place = place_of(home, "droid:config", filled(other, WRITTEN[Form.ENV]))
    assert (place.holds(pair), place.broken(pair)) == (Holds.NEITHER, [])
    place = place_of(home, "droid:config", filled(DROID_LEGACY.replace(b"base_url", b"x"), WRITTEN[Form.ENV]))
    assert place.holds(pair) is Holds.REFERS


def test_a_reference_where_no_key_belongs_is_none(home: Path, pair: Pair) -> None:
    """A mention of the variable in a description makes a file no client of it."""
    place = place_of(home, "droid:settings", b'{"description": "set ${%b} first"}' % KEY.encode())
    assert place.holds(pair) is Holds.NEITHER


def test_a_literal_where_no_key_belongs_is_replaced_all_the_same(home: Path, pair: Pair) -> None:
    """The value is looked for everywhere: droid may have copied it."""
    data = b'{"copied": ["@"]}'
    place = place_of(home, "droid:settings", filled(data, unseal(pair.old)))
    place.put(Value.NEW, pair)
    assert place.path.read_bytes() == filled(data, unseal(pair.new))


CODEX_HELPER = f'''model_providers.lab.base_url = "{GATEWAY.decode()}"
model_providers.lab.auth.command = "/a b/keyrotor"
model_providers.lab.auth.args = ["print-key", "/lab/it.toml"]
'''


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("codex:config", f'[model_providers.lab]\nbase_url = "{GATEWAY.decode()}"\nenv_key = "{KEY}"\n'),
        ("codex:config", f'[model_providers.lab.env_http_headers]\nx-litellm-key = "{KEY}"\n'),
        ("droid:org-local", '{"customModels": [{"apiKeyHelper": "/usr/bin/keyrotor print-key"}]}'),
        ("claude-code:settings", '{"apiKeyHelper": "keyrotor print-key litellm"}'),
        ("crush:config", '{"providers": {"lab": {"api_key": "$(keyrotor print-key)"}}}'),
        ("codex:config", CODEX_HELPER),
        (
            "codex:config",
            CODEX_HELPER.replace("/a b/keyrotor", "env").replace("[", '["KEYROTOR_SOPS=/s", "keyrotor", '),
        ),
    ],
)
def test_a_client_may_refer_without_a_dollar(home: Path, pair: Pair, name: str, text: str) -> None:
    """By the bare name of the variable, or by a command that asks us."""
    assert place_of(home, name, text.encode()).holds(pair) is Holds.REFERS


@pytest.mark.parametrize(
    ("name", "text", "does"),
    [
        ("codex:config", CODEX_HELPER, True),
        ("claude-code:settings", '{"apiKeyHelper": "keyrotor print-key litellm"}', True),
        ("codex:config", f'{CODEX_HELPER}model_providers.other.env_key = "{KEY}"\n', False),
        ("crush:config", '{"providers": {"lab": {"api_key": "$(keyrotor print-key)"}}}', False),
        ("droid:settings", f'{{"customModels": [{{"apiKey": "${{{KEY}}}"}}]}}', False),
        ("codex:config", "not toml", False),
    ],
)
def test_a_client_that_asks_us_follows_by_itself(home: Path, name: str, text: str, does: bool) -> None:
    """Not one that asks at its start only, nor one that has the variable besides: these must be started again."""
    assert place_of(home, name, text.encode()).follows() is does


def test_the_name_of_another_variable_is_no_reference(home: Path, pair: Pair) -> None:
    """Codex may have its key from there."""
    text = b'[model_providers.lab]\nenv_key = "OPENAI_API_KEY"\n'
    assert place_of(home, "codex:config", text).holds(pair) is Holds.NEITHER


@pytest.mark.parametrize("data", [b"{not json", b"\xff\xfe\x00"])
def test_a_broken_file_with_nothing_of_ours_is_nobodys_hindrance(home: Path, pair: Pair, data: bytes) -> None:
    """Its client may have such a file; it is not refused for what has nothing to do with the key."""
    assert place_of(home, "droid:settings", data).holds(pair) is Holds.NEITHER
    for ours in (unseal(pair.old), KEY.encode()):
        assert place_of(home, "droid:settings", data + ours).holds(pair) is Holds.UNKNOWN


@pytest.mark.parametrize("kind", OPAQUE)
def test_what_only_a_person_reaches_is_told_to_one(home: Path, pair: Pair, kind: str) -> None:
    """A put does nothing and says so; the task is told for either value."""
    row = row_of(home, kind, "")
    assert row.act is Act.STORE
    place = built(home, row)
    assert (place.check(pair), place.holds(pair), place.shows()) == ([], Holds.UNKNOWN, [])
    place.prepare(Value.NEW, pair)
    assert place.put(Value.NEW, pair) == "left to a person"
    assert [place.after(value, pair) for value in Value] == [OPAQUE[kind]] * 2
    assert [change.by_hand for change in place.changes(pair)] == [True]


def test_a_task_of_ones_own_takes_the_place_of_what_is_known(home: Path, pair: Pair) -> None:
    """For a client that is known, and for whatever else."""
    for kind in ("zed", "by-hand"):
        place = built(home, row_of(home, kind, "", 'task = "tell Ann"'))
        assert place.after(Value.NEW, pair) == "tell Ann"
