"""The how-to pages: what stands in them is read as its own tools read it, and their playbooks rotate a real lab.

There is neither docker nor launchd here: a script stands in for the one program of each page, and does with the lab's
unit what that would do with the gateway.
"""

from __future__ import annotations

import os
import plistlib
import re
import subprocess
from pathlib import Path

import pytest
from on_lab import Keyrotor, MakeLab, stray
from ruamel.yaml import YAML

from keyrotor.demo.lab import Lab

PAGES = Path(__file__).parents[2] / "docs" / "how-to"
DOCKER = """\
#!/bin/sh -e
export XDG_RUNTIME_DIR={runtime}
case "$*" in
"compose up --detach --force-recreate --no-deps litellm") exec systemctl --user restart {unit} ;;
"compose exec -T litellm sh -c "*)
  shift 4
  pid=$(systemctl --user show --property=MainPID --value {unit})
  LITELLM_MASTER_KEY=$(tr '\\0' '\\n' < /proc/$pid/environ | sed -n 's/^LITELLM_MASTER_KEY=//p')
  export LITELLM_MASTER_KEY
  exec "$@" ;;
esac
exit 64
"""
LAUNCHCTL = """\
#!/bin/sh -e
[ "$*" = "kickstart -k gui/$(id -u)/local.litellm" ] || exit 64
XDG_RUNTIME_DIR={runtime} exec systemctl --user restart {unit}
"""


def block(page: str, language: str) -> str:
    """The page's one block of that language."""
    [found] = re.findall(rf"```{language}\n(.*?)```", (PAGES / f"{page}.md").read_text(), re.DOTALL)
    return str(found)


def with_playbook(lab: Lab, page: str, program: str, script: str) -> dict[str, str]:
    """The lab with the page's playbook, and the PATH on which the stand-in is found."""
    text = block(page, "toml").replace("http://127.0.0.1:4000", lab.url)
    lab.playbook.write_text(text.replace('"litellm.yaml"', f'"{lab.config.relative_to(lab.project)}"'))
    programs = lab.root / "programs"
    programs.mkdir()
    (programs / program).write_text(script.format(runtime=lab.runtime, unit=lab.unit))
    (programs / program).chmod(0o755)
    return {"PATH": f"{programs}:{lab.environment()['PATH']}"}


@pytest.mark.parametrize(
    ("page", "program", "script"), [("containers", "docker", DOCKER), ("macos", "launchctl", LAUNCHCTL)]
)
def test_the_playbook_of_the_page_rotates(
    make_lab: MakeLab, keyrotor: Keyrotor, page: str, program: str, script: str
) -> None:
    """Planned, rotated and rolled back; the key is at every place, and the old one is nowhere."""
    lab = make_lab()
    env = with_playbook(lab, page, program, script)
    plan = keyrotor(lab, "plan", env=env)
    assert plan.returncode == 0, plan.stderr
    old = lab.current_key()
    done = keyrotor(lab, "rotate", "--yes", env=env)
    assert done.returncode == 0, done.stdout
    new = lab.current_key()
    assert [lab.status(new), lab.status(old)] == [200, 400]
    assert stray(lab.root, [old]) == []
    run = keyrotor(lab, "log", env=env).stdout[:6]
    back = keyrotor(lab, "rollback", run, "--yes", env=env)
    assert back.returncode == 0, back.stdout
    assert [lab.status(new), lab.status(old)] == [400, 200]


def test_the_service_of_the_page_has_no_key_of_its_own() -> None:
    """The compose file parses; a key can come from the env file alone, and the port is loopback's."""
    service = YAML(typ="safe").load(block("containers", "yaml"))["services"]["litellm"]
    assert service["env_file"] == ["${HOME}/.config/lab-secrets/litellm.env"]
    assert not [name for name in service["environment"] if "KEY" in name]
    assert service["ports"] == ["127.0.0.1:4000:4000"]
    assert service["environment"]["LITELLM_LOCAL_MODEL_COST_MAP"] == "True"


def test_the_agent_of_the_page_starts_with_the_key_or_not_at_all(tmp_path: Path) -> None:
    """The property list parses; its shell line gives LiteLLM what the env file holds, quoted values too."""
    agent = plistlib.loads(block("macos", "xml").encode())
    assert agent["Label"] == "local.litellm"
    assert agent["Umask"] == 0o077
    program = tmp_path / "litellm" / "bin" / "litellm"
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$LITELLM_MASTER_KEY" "$OTHER" "$@"\n')
    program.chmod(0o755)
    env = {"HOME": str(tmp_path), "PATH": os.defpath}
    without = subprocess.run(agent["ProgramArguments"], check=False, env=env, capture_output=True, text=True)
    assert (without.returncode != 0, without.stdout) == (True, "")
    env_file = tmp_path / ".config" / "lab-secrets" / "litellm.env"
    env_file.parent.mkdir(parents=True)
    env_file.write_text("LITELLM_MASTER_KEY=sk-a_b-c\nOTHER='two words $x'\n")
    said = subprocess.run(agent["ProgramArguments"], check=True, env=env, capture_output=True, text=True).stdout
    config = f"{tmp_path}/lab/litellm.yaml"
    assert said.splitlines() == [
        *("sk-a_b-c", "two words $x", "--config", config, "--host", "127.0.0.1", "--port", "4000")
    ]
