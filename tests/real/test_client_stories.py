"""Clients that hold the key, each proven with the real program: before a rotation, after it, after a rollback.

droid asks the real LiteLLM, which answers in a stream; llm and direnv need no more than the embedded gateway.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import stat
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from on_lab import (
    Keyrotor,
    MakeLab,
    add_place,
    doors,
    edit,
    events,
    found,
    keyrotor_argv,
    keyrotor_env,
    missing,
    stray,
)

from keyrotor.demo.build import build
from keyrotor.demo.gateway import ANSWER, MODEL
from keyrotor.demo.lab import Lab
from keyrotor.demo.user_systemd import UserManager

KEY = "LITELLM_MASTER_KEY"
REFERENCE = f"${{{KEY}}}"
HOW_TO = Path(__file__).parents[2] / "docs" / "how-to" / "clients.md"
ORG = "FACTORY_ORG_MANAGED_SETTINGS_LOCAL_PATH"


@dataclass(frozen=True, slots=True)
class Droid:
    """The real droid in a lab's project, with no account and no network but the lab's gateway."""

    program: Path
    lab: Lab

    def run(
        self, *arguments: str, through: Sequence[str] = (), env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*through, str(self.program), *arguments],
            check=False,
            cwd=self.lab.project,
            env=keyrotor_env(self.lab, FACTORY_AIRGAP_ENABLED="1", **(env or {})),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
        )

    def answers(self, name: str, *, through: Sequence[str] = (), env: Mapping[str, str] | None = None) -> bool:
        """Whether the model of this name answers; droid is the judge, not the gateway's log."""
        done = self.run("exec", "-m", f"custom:{name.replace(' ', '-')}-0", "say something", through=through, env=env)
        return done.returncode == 0 and ANSWER in done.stdout

    def says(self, env: Mapping[str, str]) -> dict[str, bool]:
        """Which of the set-ups works now."""
        stale = {"HOME": str(self.lab.root / "stale")}
        asked = {
            "a literal": lambda: self.answers("Lab mock", env=env),
            "a reference": lambda: self.answers("By reference", through=keyrotor_argv("exec", "--"), env=env),
            "a helper": lambda: self.answers("By helper", env=env),
            "a literal that nobody rotates": lambda: self.answers("Lab mock", env=stale),
        }
        with ThreadPoolExecutor() as threads:
            waiting = {what: threads.submit(ask) for what, ask in asked.items()}
            return {what: each.result() for what, each in waiting.items()}


@pytest.fixture(scope="module")
def proxy(private_manager: UserManager | str, litellm: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One real LiteLLM for the tests of this module."""
    if isinstance(private_manager, str):
        missing(private_manager)
    folder = tmp_path_factory.mktemp("clients") / "lab"
    lab = build(folder, manager=private_manager, litellm=litellm, unit_lines="TimeoutStopSec=2\n")
    try:
        lab.start()
        lab.wait_until_healthy(300)
        yield lab
    finally:
        lab.stop()


def of_droid(lab: Lab) -> None:
    """The playbook says `droid` where it said which file."""
    edit(lab.playbook, 'kind = "client-file"\npath = "~/.factory/settings.json"\noptional = true\n', 'kind = "droid"\n')


def model(lab: Lab, name: str, **key: str) -> str:
    """Settings of one model at the lab's gateway."""
    entry = {"model": MODEL, "displayName": name, "baseUrl": f"{lab.url}/v1", **key}
    rest = {"provider": "generic-chat-completion-api", "maxOutputTokens": 4096}
    return json.dumps({"customModels": [{**entry, **rest}]}, indent=2)


def as_told(lab: Lab, name: str) -> str:
    """The settings of an organisation that the how-to page tells to write, for this lab and this keyrotor."""
    [found] = re.findall(r"### Factory DROID\n.*?```json\n(.*?)```", HOW_TO.read_text(), re.DOTALL)
    text = (
        str(found).replace("http://127.0.0.1:4000", lab.url).replace("qwen3-coder", MODEL).replace('"Lab"', f'"{name}"')
    )
    [told] = re.findall(r'"apiKeyHelper": ("[^"]*")', text)
    return text.replace(told, json.dumps(shlex.join(keyrotor_argv("print-key", str(lab.playbook)))))


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def test_droid_answers_before_and_after_a_rotation_and_after_a_rollback(
    proxy: Lab, droid: Path, keyrotor: Keyrotor
) -> None:
    """With a literal in its settings, with a reference through `exec`, with the helper that the how-to page tells."""
    lab, client = proxy, Droid(droid, proxy)
    of_droid(lab)
    project = write(lab.project / ".factory" / "settings.json", model(lab, "By reference", apiKey=REFERENCE))
    org = write(lab.root / "org.json", as_told(lab, "By helper"))
    shutil.copytree(lab.home / ".factory", lab.root / "stale" / ".factory")
    env, old = {ORG: str(org)}, lab.current_key()
    texts = {path: path.read_bytes() for path in (lab.settings, project, org)}
    every = dict.fromkeys(("a literal", "a reference", "a helper", "a literal that nobody rotates"), True)
    assert client.says(env) == every

    done = keyrotor(lab, "rotate", "--yes", env=env)
    assert done.returncode == 0, done.stderr
    new = lab.current_key()
    assert doors(lab, new, old) == [200, 400]
    assert client.says(env) == {**every, "a literal that nobody rotates": False}
    assert {path: path.read_bytes() for path in texts} == {
        path: text.replace(old.encode(), new.encode()) for path, text in texts.items()
    }
    shutil.rmtree(lab.root / "stale" / ".factory" / "cache", ignore_errors=True)
    assert stray(lab.home, [old]) == []
    assert stray(lab.root, [new], besides=(lab.env_file, lab.settings)) == []

    done = keyrotor(lab, "rollback", events(lab)[-1][0], "--yes", env=env)
    assert done.returncode == 0, done.stderr
    assert doors(lab, old, new) == [200, 400]
    assert client.says(env) == every
    assert {path: path.read_bytes() for path in texts} == texts
    assert stray(lab.root, [new]) == []


def test_a_config_json_that_droid_does_not_resolve_is_diagnosed_and_mended(
    proxy: Lab, droid: Path, keyrotor: Keyrotor
) -> None:
    """`env:LITELLM_MASTER_KEY` is sent as it stands: the audit says so, and `repair --heal` puts what works."""
    lab, client = proxy, Droid(droid, proxy)
    if 'kind = "droid"' not in lab.playbook.read_text():
        of_droid(lab)
    lab.settings.unlink()
    seed = {
        "custom_models": [
            {
                "model_display_name": "Seed",
                "model": MODEL,
                "base_url": f"{lab.url}/v1",
                "api_key": f"env:{KEY}",
                "provider": "generic-chat-completion-api",
                "max_tokens": 4096,
            }
        ]
    }
    config = write(lab.home / ".factory" / "config.json", json.dumps(seed, indent=2) + "\n")
    before = config.read_text()
    fed = keyrotor_argv("exec", "--")
    assert not client.answers("Seed", through=fed), "droid resolves it by now"
    assert "client-broken" in found(keyrotor, lab)

    done = keyrotor(lab, "repair", "--heal", "--yes")
    assert done.returncode == 0, done.stderr
    assert client.answers("Seed", through=fed)
    assert config.read_text() == before.replace(f"env:{KEY}", lab.current_key())
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    assert "client-broken" not in found(keyrotor, lab)


def test_the_copy_that_droid_writes_is_rotated_too(make_lab: MakeLab, droid: Path, keyrotor: Keyrotor) -> None:
    """droid puts the value in the stead of a reference whenever it saves its settings; the next rotation has it."""
    lab = make_lab(unit=False)
    of_droid(lab)
    client, old = Droid(droid, lab), lab.current_key()
    write(lab.settings, f"// mine\n{model(lab, 'Mine', apiKey=REFERENCE)}\n")
    market = write(lab.root / "market" / ".factory-plugin" / "marketplace.json", '{"name": "lab", "plugins": []}')
    add = ("plugin", "marketplace", "add", str(market.parents[1]))
    done = client.run(*add, through=keyrotor_argv("exec", "--"))
    assert done.returncode == 0, done.stderr
    copy = lab.settings.read_text()
    assert (old in copy, REFERENCE in copy) == (True, False), "droid leaves a reference alone by now"

    done = keyrotor(lab, "rotate", "--yes")
    assert done.returncode == 0, done.stderr
    new = lab.current_key()
    assert lab.settings.read_text() == copy.replace(old, new)
    assert stray(lab.root, [old]) == []


def test_direnv_allows_what_it_allowed_and_loads_the_new_key(make_lab: MakeLab, keyrotor: Keyrotor) -> None:
    """`.envrc` is not touched, so that it needs no new approval; what it names has the new key at the next load."""
    if not (direnv := shutil.which("direnv")):
        missing("no direnv")
    lab = make_lab(unit=False)
    add_place(lab, 'kind = "direnv"\n')
    envrc = write(lab.project / ".envrc", f"dotenv {shlex.quote(str(lab.env_file))}\n", 0o644)
    load = (direnv, "exec", ".", "printenv", KEY)
    with pytest.raises(subprocess.CalledProcessError):
        subprocess.run(load, check=True, cwd=lab.project, env=lab.environment(), capture_output=True)
    lab.run(direnv, "allow")
    old, before = lab.current_key(), (envrc.read_bytes(), envrc.stat())
    assert lab.run(*load).strip() == old

    done = keyrotor(lab, "rotate", "--yes")
    assert done.returncode == 0, done.stderr
    assert (envrc.read_bytes(), envrc.stat().st_ino) == (before[0], before[1].st_ino)
    assert lab.run(*load).strip() == lab.current_key() != old

    done = keyrotor(lab, "rollback", events(lab)[-1][0], "--yes")
    assert done.returncode == 0, done.stderr
    assert lab.run(*load).strip() == old


def test_a_shell_that_is_open_has_the_new_key_or_is_told_of(make_lab: MakeLab, keyrotor: Keyrotor) -> None:
    """direnv reads `.envrc` again where a file that it watches has changed; else a task says what does it."""
    if not (direnv := shutil.which("direnv")):
        missing("no direnv")
    lab = make_lab(unit=False)
    add_place(lab, 'kind = "direnv"\n')
    file, ask = shlex.quote(str(lab.env_file)), shlex.join(keyrotor_argv("print-key"))
    for number, (line, is_watched) in enumerate(
        {
            f"dotenv {file}": True,
            f"watch_file {file}; set -a; . {file}": True,
            f"set -a; . {file}": False,
            f"export {KEY}=$({ask})": False,
        }.items()
    ):
        write(lab.project / ".envrc", f"{line}\n", 0o644)
        lab.run(direnv, "allow")
        shell = lab.environment()
        prompt(direnv, lab, shell)
        assert shell[KEY] == lab.current_key(), line
        os.utime(lab.env_file, (number + 1, number + 1))  # direnv looks at whole seconds
        prompt(direnv, lab, shell)
        done = keyrotor(lab, "rotate", "--yes")
        assert done.returncode == 0, done.stderr
        prompt(direnv, lab, shell)
        assert (shell[KEY] == lab.current_key(), "direnv reload" in done.stdout) == (is_watched, not is_watched), line
        lab.run(direnv, "reload")
        prompt(direnv, lab, shell)
        assert shell[KEY] == lab.current_key(), line


def prompt(direnv: str, lab: Lab, shell: dict[str, str]) -> None:
    """What direnv's hook does at the prompt of a shell with this environment."""
    env = {**shell, "PYTHONPATH": keyrotor_env(lab)["PYTHONPATH"]}
    done = subprocess.run(
        [direnv, "export", "json"], check=True, cwd=lab.project, env=env, capture_output=True, text=True
    )
    for name, said in json.loads(done.stdout or "{}").items():
        shell.pop(name, None) if said is None else shell.update({name: said})


def test_llm_sends_the_key_that_its_file_got(make_lab: MakeLab, llm: Path, keyrotor: Keyrotor) -> None:
    """It reads keys.json at every call; a key of somebody else's in it stays."""
    lab = make_lab(unit=False)
    add_place(lab, 'kind = "llm"\n')
    folder, old = lab.home / ".config" / "io.datasette.llm", lab.current_key()
    models = [{"model_id": "lab", "model_name": MODEL, "api_base": f"{lab.url}/v1", "api_key_name": "litellm"}]
    write(folder / "extra-openai-models.yaml", json.dumps(models))  # JSON is YAML
    keys = write(folder / "keys.json", json.dumps({"// Note": "not a key", "litellm": old, "openai": "sk-another"}))
    before = keys.read_text()

    def answers() -> bool:
        line = [str(llm), "--no-log", "--no-stream", "-m", "lab", "say something"]
        done = subprocess.run(
            line, check=False, env=lab.environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        return (done.returncode, done.stdout.strip()) == (0, ANSWER)

    assert answers()
    done = keyrotor(lab, "rotate", "--yes")
    assert done.returncode == 0, done.stderr
    assert keys.read_text() == before.replace(old, lab.current_key())
    assert answers()
    keys.write_text(before)
    assert not answers(), "the answers are the key's doing"
