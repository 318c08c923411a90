"""The drill of the runbook, on a lab: its commands as they stand there, and a report that says what is so."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from pathlib import Path

from on_lab import Keyrotor, MakeLab, stray

RUNBOOK = Path(__file__).parents[2] / "docs" / "runbooks" / "incident-response.md"
# Three seconds of proof are for a gateway without a cache; and nothing but the project is looked through.
PLAYBOOK = """\
[incident]
playbooks = ["litellm-master-key"]
proof = "3s"
[sweep]
roots = ["."]
elsewhere = false
"""


def drill() -> list[str]:
    """The commands of the drill, in their order."""
    text = RUNBOOK.read_text().partition("## Drill it\n")[2]
    return text.partition("```sh\n")[2].partition("```")[0].splitlines()


def test_the_drill_of_the_runbook_is_passed(make_lab: MakeLab, keyrotor: Keyrotor) -> None:
    """The old key is dead, the plant is found, the evidence has the hashes of the report; neither key is anywhere."""
    lab = make_lab()
    (lab.project / "playbooks" / "incident-response.toml").write_text(PLAYBOOK)
    old, name, done = lab.current_key(), "", ""
    for line in drill():
        words = shlex.split(line.replace("inc-4c81d2", name))
        if words[0] == "rm":
            report = json.loads(keyrotor(lab, "incident", "report", "--json").stdout)
            (lab.project / words[1]).unlink()
            continue
        ended = keyrotor(lab, *words[1 : words.index(">") if ">" in words else None])
        assert ended.returncode == 0, (line, ended.stdout, ended.stderr)
        if ">" in words:
            (lab.project / words[-1]).write_text(ended.stdout)
        else:
            done += ended.stdout + ended.stderr
        name = name or "".join(re.findall(r"^(inc-\w+) is open", ended.stdout, re.MULTILINE)[:1])
    assert (report["incident"], report["fate"], report["reason"]) == (name, "dead", "a drill")
    assert str(lab.project / "planted.txt") in [leak["where"] for leak in report["leaks"]]
    [folder] = report["evidence"]["folders"]
    exhibits = {each["name"]: each["sha256"] for each in report["evidence"]["exhibits"]}
    assert exhibits
    assert {each: hashlib.sha256(Path(folder, each).read_bytes()).hexdigest() for each in exhibits} == exhibits
    new = lab.current_key()
    assert not [key for key in (old, new) if key in done + json.dumps(report)]
    assert stray(lab.root, [old]) == []
    assert stray(lab.root, [new], besides=(lab.env_file, lab.settings)) == []
    assert [lab.status(new), lab.status(old)] == [200, 400]
    closed = keyrotor(lab, "incident", "report", name)
    assert "Cause | a drill |" in closed.stdout
    assert (lab.project / "drill.html").read_text().count("The old key is dead") == 2
