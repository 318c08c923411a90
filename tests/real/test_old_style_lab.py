"""A lab that somebody made by hand, in the old style, is adopted without losing anything.

`.envrc` decrypts into the env file in place, the unit does not mind if that is missing, droid has the key as a
literal, and there is no playbook. The gateway is started four times: by hand, by `service install --replace`, by the
rotation, and by `service remove`.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from pathlib import Path

import pyrage
import pytest
from newcomer import SECRET_FILE, Newcomer
from on_lab import stray

KEY = "LITELLM_MASTER_KEY"
CONFIG = "ai/litellm-unified.yaml"
ANSWER = "hand made pong"
ENVRC = """\
# lab
mkdir -p ~/.config/lab-secrets
sops -d secrets/global.enc.env > ~/.config/lab-secrets/litellm.env
set -a
. ~/.config/lab-secrets/litellm.env
set +a
"""
UNIT = """\
[Unit]
Description=LiteLLM

[Service]
EnvironmentFile=-%h/.config/lab-secrets/litellm.env
Environment=LITELLM_LOCAL_MODEL_COST_MAP=True
ExecStart={litellm} --config %h/lab/{config} --port {port}
Restart=on-failure

[Install]
WantedBy=default.target
"""
GATEWAY = f"""\
# made by hand
model_list:
  - model_name: pong
    litellm_params: {{model: openai/pong, api_key: none, mock_response: {ANSWER}}}
general_settings:
  master_key: os.environ/{KEY}
"""
SETTINGS = """\
{{
  // droid
  "customModels": [
    {{
      "model": "pong", "displayName": "Hand made",
      "baseUrl": "{url}/v1", "apiKey": "{key}",
      "provider": "generic-chat-completion-api", "maxOutputTokens": 4096
    }}
  ],
  "theme": "dark"
}}
"""
SOPS = "sops --encrypt --input-type dotenv --output-type dotenv --filename-override secrets/global.enc.env /dev/stdin"
AUTHOR = "git config --global user.name 'Old Hand' && git config --global user.email old@localhost"
DROID = "env FACTORY_AIRGAP_ENABLED=1 droid exec -m custom:Hand-made-0 'say something'"
TIMER = (
    "systemd-run --quiet --user --unit=keyrotor-litellm-master-key --on-calendar=monthly"
    " --timer-property=Persistent=true --working-directory=$PWD keyrotor rotate --if-due --yes"
)


@dataclass(frozen=True, slots=True)
class OldLab:
    """What was there before keyrotor came."""

    person: Newcomer
    key: str = field(repr=False)
    files: dict[str, tuple[int, int, bytes]] = field(repr=False)

    @property
    def unit(self) -> Path:
        return self.person.home / ".config" / "systemd" / "user" / "litellm.service"

    @property
    def settings(self) -> Path:
        return self.person.home / ".factory" / "settings.json"

    def wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + 300
        while self.person.status(self.person.secret()) != 200:
            assert time.monotonic() < deadline, "the gateway does not come up"
            time.sleep(0.1)


def made_by_hand(person: Newcomer) -> OldLab:
    """The lab as it ran for years."""
    identity = pyrage.x25519.Identity.generate()
    key, salt, token = (f"sk-{secrets.token_urlsafe(24)}" for _ in range(3))
    plain = f"# my keys\n{KEY}={key}\nLITELLM_SALT_KEY={salt}\nGRAFANA_TOKEN={token}\n"
    write(person.home / ".config/sops/age/keys.txt", f"{identity}\n", 0o600)
    rules = f"creation_rules:\n  - path_regex: \\.enc\\.env$\n    age: {identity.to_public()}\n"
    write(person.lab / ".sops.yaml", rules)
    write(person.lab / "plain", plain, 0o600)
    (person.lab / "secrets").mkdir()
    person.types(f"{SOPS} < plain > {SECRET_FILE} && rm plain")
    write(person.lab / ".envrc", ENVRC)
    write(person.lab / CONFIG, GATEWAY)
    unit = UNIT.format(litellm=person.programs / "litellm", config=CONFIG, port=person.port)
    write(person.home / ".config/systemd/user/litellm.service", unit)
    write(person.home / ".factory/settings.json", SETTINGS.format(url=person.url, key=key), 0o600)
    person.types(f"{AUTHOR} && git init --quiet && git add --all && git commit --quiet --message 'my lab'")
    person.types("direnv allow && direnv exec . true")
    person.types("systemctl --user daemon-reload && systemctl --user enable --quiet --now litellm.service")
    return OldLab(person, key, person.files(person.lab, person.home / ".config", person.home / ".factory"))


def write(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


@pytest.fixture(scope="module")
def old_lab(newcomer: Newcomer) -> OldLab:
    lab = made_by_hand(newcomer)
    lab.wait_until_it_answers()
    return lab


def test_an_old_style_lab_is_adopted(old_lab: OldLab) -> None:
    """Key, files and unit are kept; the gateway moves under our unit, rotates, and goes back to its own."""
    person = old_lab.person

    # Adopted: what was there is there, byte for byte; what is new is told.
    said = person.types("keyrotor bootstrap --yes lab", folder=person.home)
    assert old_lab.key not in said
    assert "sops -d" in said, "the diff of .envrc"
    after = person.files(person.lab, person.home / ".config", person.home / ".factory")
    assert {name: after.get(name) for name in old_lab.files} == old_lab.files
    assert person.secret() == old_lab.key
    playbook = (person.lab / "playbooks/litellm-master-key.toml").read_text()
    assert person.url in playbook
    assert CONFIG in playbook

    # Replaced: the former unit is kept, and the gateway comes up with the key that it had.
    person.types("keyrotor service install --replace --yes")
    kept = old_lab.unit.with_name("litellm.service.before-keyrotor")
    assert kept.read_bytes().startswith(old_lab.files[".config/systemd/user/litellm.service"][2])
    assert [person.status(old_lab.key), person.status(None)] == [200, 401]
    assert person.found("healthcheck") == []
    person.types("git add --all && git commit --quiet --message 'adopted'")

    # Rotated: droid's own file has the new key, nothing has the old one, and droid answers.
    assert ANSWER in person.types(DROID)
    person.types("keyrotor rotate --yes && git commit --quiet --all --message 'rotated'")
    new = person.secret()
    assert old_lab.settings.read_text() == SETTINGS.format(url=person.url, key=new)
    assert [person.status(key) for key in (new, old_lab.key)] == [200, 400]
    assert stray(person.home, [old_lab.key]) == []
    assert ANSWER in person.types(DROID)

    # Audited: the env file is as readable as `sops -d >` made it, until `keyrotor env` mends that.
    person.types(TIMER)
    assert person.found("audit") == ["readable"]
    person.types("keyrotor env")
    assert person.found("audit") == []

    # The old `.envrc` goes on to work, with the new key.
    assert person.types("direnv exec . sh -c 'printf %s $LITELLM_MASTER_KEY'").endswith(new)

    # Back: the former unit is in its place, and runs with the present key.
    person.types("keyrotor service remove --yes")
    assert old_lab.unit.read_bytes() == old_lab.files[".config/systemd/user/litellm.service"][2]
    assert not kept.exists()
    assert person.types("systemctl --user is-enabled litellm.service").strip() == "enabled"
    old_lab.wait_until_it_answers()
    assert person.status(old_lab.key) == 400
