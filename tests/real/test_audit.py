"""`audit` on a real lab: the clean lab has no finding; each fault that is seeded gives exactly its own; what is told
to a person, a program and Prometheus, and that nothing else is written, nor a value shown."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from keyrotor.cli.auditing import LEVELS
from keyrotor.demo.lab import Lab
from keyrotor.verdicts import FAIL_ON
from real.on_lab import (
    Keyrotor,
    add_place,
    differing,
    edit,
    found,
    keyrotor_argv,
    keyrotor_env,
    new_value,
    spellings,
    tree,
)

NAME = "litellm-master-key"


def samples(path: Path) -> dict[str, float]:
    """Every sample by its name and the last of its labels."""
    families = text_string_to_metric_families(path.read_text())
    return {
        " ".join([sample.name, *(sample.labels[key] for key in ("severity", "outcome") if key in sample.labels)]): (
            sample.value
        )
        for family in families
        for sample in family.samples
    }


def spoil(lab: Lab) -> tuple[str, ...]:
    """Several faults of each severity; every value that is anywhere."""
    present, other = lab.current_key(), new_value()
    edit(lab.env_file, present, other)  # high: drift-other
    lab.state.chmod(0o755)  # medium: state-readable
    with lab.secret_file.open("a") as file:  # low: file-uncommitted
        file.write("# a comment in clear\n")
    values = tuple(lab.current_key(name) for name in ("LITELLM_MASTER_KEY", "LITELLM_SALT_KEY", "GRAFANA_TOKEN"))
    return (*values, other)


SPOILT = ["drift-other", "state-readable", "file-uncommitted"]


def test_a_clean_lab_has_no_finding(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """Nothing found, nothing touched, exit 0."""
    before = tree(clean_lab)
    assert found(keyrotor, clean_lab) == []
    assert differing(before, tree(clean_lab)) == []


def test_nothing_is_made_where_there_is_no_record_yet(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """Neither the state folder nor a fingerprint key; and no run is nothing wrong."""
    shutil.rmtree(clean_lab.state)
    before = tree(clean_lab)
    done = keyrotor(clean_lab, "audit")
    assert (done.returncode, done.stderr) == (0, "")
    assert "was not rotated here yet, due every month" in " ".join(done.stdout.split())
    assert differing(before, tree(clean_lab)) == []


# -- what is told ----------------------------------------------------------------------------------------------------


def test_a_person_reads_it_at_80_columns(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """A line for the playbook, the findings, the worst first, with the command that mends each whole, and counts."""
    head = keyrotor(clean_lab, "audit").stdout
    whole = " ".join(head.split())
    assert re.match(rf"{NAME}: LITELLM_MASTER_KEY is \d+ \w+ old, due in \d+ \w+ \(\d{{4}}-\d\d-01\); ", whole)
    assert "5 places looked at" in whole
    assert head.splitlines()[-1] == "nothing was found"
    spoil(clean_lab)
    done = keyrotor(clean_lab, "audit")
    assert done.returncode == 10
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines if re.match(r"(high|medium|low) ", line)] == ["high", "medium", "low"]
    assert lines[-1] == "3 findings: 1 high, 1 medium, 1 low"
    assert sum("why:" in line for line in lines) == 3
    assert f"mend: chmod -R go-rwx {clean_lab.state}" in done.stdout
    wide = [line for line in lines if len(line) > 80 and not re.search(" mend: (chmod|git) ", line)]
    assert [line for line in wide if not any(len(word) > 60 for word in line.split())] == [], "but for a long path"
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize(("env", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_a_terminal_gets_colours_and_nothing_else_does(clean_lab: Lab, env: dict[str, str], coloured: bool) -> None:
    """Red, yellow and cyan for the three severities, unless NO_COLOR or the terminal says no."""
    spoil(clean_lab)
    ours, theirs = pty.openpty()
    environment = {**keyrotor_env(clean_lab), "TERM": "xterm", **env}
    process = subprocess.Popen(keyrotor_argv("audit"), cwd=clean_lab.project, env=environment, stdout=theirs)
    os.close(theirs)
    told = b""
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        while piece := _piece(terminal.fileno()):
            told += piece
    assert process.wait(timeout=30) == 10
    assert b"3 findings" in told
    for colour in (b"31", b"33", b"36"):
        assert (b"\x1b[" + colour + b"m" in told) is coloured


def _piece(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # the last one on the other side has left
        return b""


def test_a_program_gets_one_object(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """What a person is told, by key; times are in UTC, and the flat list holds every finding."""
    spoil(clean_lab)
    done = keyrotor(clean_lab, "audit", "--json")
    told = json.loads(done.stdout)
    (one,) = told["playbooks"]
    assert (told["exit"], done.returncode) == (10, 10)
    assert [finding["id"] for finding in told["findings"]] == SPOILT
    assert one["findings"] == told["findings"]
    assert (one["playbook"], one["key"], one["outcome"], one["owed"]) == (NAME, "LITELLM_MASTER_KEY", "rotated", [])
    assert (one["file"], one["every"]) == (str(clean_lab.secret_file), "month")
    assert {place["id"]: place["holds"] for place in one["places"]} == {
        "sops-file": "present",
        "env-file": "other",
        "systemd-unit": "present",
        "litellm": None,
        "client-file": "present",
    }
    run = json.loads(keyrotor(clean_lab, "status", "--json").stdout)["keys"][0]
    assert (one["rotated"], one["fingerprint"]) == (run["rotated"], run["fingerprint"])
    assert one["outage"] == json.loads(keyrotor(clean_lab, "log", "--json").stdout)["runs"][-1]["outage"] > 0


def test_no_value_is_ever_told(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """Not to a person, a program or Prometheus, in no spelling, of no key of the file; nor one that drifted."""
    values = spoil(clean_lab)
    clean_lab.settings.write_text(clean_lab.settings.read_text() + " , sk-a-broken-file-with-a-secret")
    metrics = clean_lab.root / "keyrotor.prom"
    told = [keyrotor(clean_lab, "audit", "--prometheus", str(metrics)), keyrotor(clean_lab, "audit", "--json")]
    said = "".join(done.stdout + done.stderr for done in told).encode() + metrics.read_bytes()
    assert b"value-unknown" in said
    assert [value for value in values if any(spelling in said for spelling in spellings(value))] == []
    assert b"sk-a-broken" not in said


# -- exit codes, and which playbooks ---------------------------------------------------------------------------------


def test_every_level_has_its_rank() -> None:
    """The command line takes what the verdict knows."""
    assert tuple(FAIL_ON) == LEVELS


def test_the_exit_code_is_for_what_is_bad_enough(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """All is told whatever the level; only the code differs."""
    clean_lab.state.chmod(0o755)  # medium
    for level, code in {"low": 10, "medium": 10, "high": 0, "never": 0}.items():
        done = keyrotor(clean_lab, "audit", "--json", "--fail-on", level)
        told = json.loads(done.stdout)
        assert (done.returncode, told["exit"]) == (code, code), level
        assert [finding["id"] for finding in told["findings"]] == ["state-readable"]


def test_without_a_name_every_playbook_of_the_project_is_looked_at(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """Several are there: all. One is named: that one, and twice is once. What both find is told once."""
    text = clean_lab.playbook.read_text()
    grafana = text.replace(f'"{NAME}"', '"grafana-token"').replace("LITELLM_MASTER_KEY", "GRAFANA_TOKEN")
    head = grafana[: grafana.index("[[place]]", grafana.index("[[place]]") + 1)]
    (clean_lab.playbook.parent / "grafana.toml").write_text(head)
    clean_lab.state.chmod(0o755)

    def told(*names: str) -> tuple[list[str], list[str]]:
        one = json.loads(keyrotor(clean_lab, "audit", "--json", *names).stdout)
        return [each["playbook"] for each in one["playbooks"]], [each["id"] for each in one["findings"]]

    names, ids = told()
    assert names == ["grafana-token", NAME]
    assert ids.count("state-readable") == 1
    assert told("grafana", "grafana")[0] == ["grafana-token"]
    assert told(NAME) == ([NAME], ["state-readable"])
    assert keyrotor(clean_lab, "audit", "no-such-playbook").returncode == 2


# -- metrics ---------------------------------------------------------------------------------------------------------


def test_the_metrics_are_written_whole_and_for_everybody(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """0644 under any umask, in place of the file that was there, and no other file beside it."""
    folder = clean_lab.root / "textfile"
    folder.mkdir()
    path = folder / "keyrotor.prom"
    assert keyrotor(clean_lab, "audit", "--prometheus", str(path)).returncode == 0
    path.chmod(0o600)
    inode = path.stat().st_ino
    command = 'umask 077; exec "$@"'
    argv = ["/bin/sh", "-c", command, "sh", *keyrotor_argv("audit", "--prometheus", "textfile/keyrotor.prom")]
    done = subprocess.run(
        [*argv, str(clean_lab.playbook)], check=False, cwd=clean_lab.root, env=keyrotor_env(clean_lab)
    )
    assert done.returncode == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert path.stat().st_ino != inode
    assert os.listdir(folder) == ["keyrotor.prom"]
    read = samples(path)
    assert read["keyrotor_last_outcome rotated"] == 1.0
    assert [read[f"keyrotor_findings {severity}"] for severity in ("high", "medium", "low")] == [0.0, 0.0, 0.0]
    assert 0 < read["keyrotor_audit_timestamp_seconds"] - read["keyrotor_key_rotated_timestamp_seconds"] < 600


def test_metrics_that_cannot_be_written_fail_the_audit_and_hide_nothing(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """1, which says why; the findings are printed all the same, and nothing is left behind."""
    clean_lab.state.chmod(0o755)
    file = clean_lab.root / "a-file"
    file.touch()
    for path, why in ((clean_lab.root / "no" / "such.prom", "no such file"), (file / "x.prom", "not a directory")):
        before = tree(clean_lab)
        done = keyrotor(clean_lab, "audit", "--json", "--prometheus", str(path))
        assert done.returncode == 1
        assert f"keyrotor: cannot write {path}: {why}" in done.stderr
        told = json.loads(done.stdout)
        assert (told["exit"], [one["id"] for one in told["findings"]]) == (1, ["state-readable"])
        assert differing(before, tree(clean_lab)) == []


def test_a_file_that_cannot_be_decrypted_still_has_its_metrics(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """Its age is on record, whoever can read it."""
    clean_lab.identity.rename(clean_lab.identity.with_suffix(".away"))
    path = clean_lab.root / "keyrotor.prom"
    assert keyrotor(clean_lab, "audit", "--prometheus", str(path)).returncode == 10
    read = samples(path)
    assert read["keyrotor_findings high"] == 1.0
    assert read["keyrotor_key_age_seconds"] > 0
    assert "keyrotor_key_due_timestamp_seconds" in read


# -- many clients ----------------------------------------------------------------------------------------------------


def test_a_hundred_clients_are_looked_at_one_by_one(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """The one that drifted among many is named."""
    text = clean_lab.settings.read_text()
    for number in range(100):
        path = clean_lab.home / f"client-{number}.json"
        path.write_text(text if number != 57 else text.replace(clean_lab.current_key(), new_value()))
        path.chmod(0o600)
        add_place(clean_lab, f'kind = "client-file"\npath = "~/client-{number}.json"')
    told = json.loads(keyrotor(clean_lab, "audit", "--json").stdout)
    assert [(one["id"], one["place"]) for one in told["findings"]] == [("drift-other", "~/client-57.json")]
    assert len(told["playbooks"][0]["places"]) == 105
