"""`audit` of what a client makes of its own file, and `repair --heal` of it, on a real lab.

What droid and Claude Code do there was measured on the real programs (docs/reference/clients.md).
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from keyrotor.boundary import in_place
from keyrotor.demo.build import AUTHOR
from keyrotor.demo.lab import Lab
from real.on_lab import Keyrotor, add_place, differing, doors, edit, events, new_value, tree

KEY = "LITELLM_MASTER_KEY"


@pytest.fixture
def droid_lab(clean_lab: Lab, keyrotor: Keyrotor) -> Lab:
    """A lab in which an audit finds nothing, with every file that droid reads in its playbook."""
    edit(
        clean_lab.playbook, 'kind = "client-file"\npath = "~/.factory/settings.json"\noptional = true', 'kind = "droid"'
    )
    assert findings(keyrotor, clean_lab) == {}
    return clean_lab


def findings(keyrotor: Keyrotor, lab: Lab) -> dict[str, list[str]]:
    """What an audit finds: the place and the text of each, by kind; the present value is in none of it."""
    done = keyrotor(lab, "audit", "--json")
    assert done.returncode in (0, 10), done.stderr
    assert lab.current_key() not in done.stdout + done.stderr
    found: dict[str, list[str]] = {}
    for each in json.loads(done.stdout)["findings"]:
        found.setdefault(each["id"], []).append(f"{each['place']} {each['text']}")
    return found


def legacy(lab: Lab, key: str) -> str:
    """droid's old config.json, with one model of the lab's gateway."""
    return json.dumps({"custom_models": [{"model": "mock", "base_url": f"{lab.url}/v1", "api_key": key}]}, indent=2)


def models(lab: Lab, **model: str) -> str:
    return json.dumps({"customModels": [{"model": "mock", "baseUrl": f"{lab.url}/v1", **model}]}, indent=2)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o600)
    return path


def test_what_droid_makes_of_its_files_is_told(droid_lab: Lab, keyrotor: Keyrotor) -> None:
    """A reference sent as it is, one that is written over, a helper that is dropped, a file that is ignored, values in
    comments, and the stale copy that droid had made in its settings; each once, each by its file."""
    lab, home = droid_lab, droid_lab.home / ".factory"
    former = lab.current_key()
    assert keyrotor(lab, "rotate", "--yes").returncode == 0
    lab.run("git", *AUTHOR, "commit", "--quiet", "--all", "--message", "rotated")
    write(home / "config.json", legacy(lab, f"env:{KEY}"))
    write(home / "settings.local.json", models(lab, apiKey=f"${{{KEY}}}"))
    write(lab.project / ".factory" / "settings.json", models(lab, apiKeyHelper="keyrotor print-key"))
    first, text = lab.settings.read_text().rsplit(lab.current_key(), 1)
    text = f"{first}{former}{text}"
    tail = text.rstrip().removesuffix("}").rstrip()
    lab.settings.write_text(f"// was {former}, is {lab.current_key()}\n{tail},\n}}\n")
    found = findings(keyrotor, lab)
    assert found.pop("client-broken") == [
        f"~/.factory/config.json its custom_models[0].api_key is a reference, env:{KEY}, "
        "that Factory DROID sends as it is"
    ]
    assert [each.split()[0] for each in found.pop("client-writes-back")] == ["~/.factory/settings.local.json"]
    every = json.loads(keyrotor(lab, "audit", "--json").stdout)["findings"]
    assert any(f"keyrotor print-key {lab.playbook}  ;" in each["mend"] for each in every)
    (dropped,) = found.pop("client-drops")
    assert dropped.endswith(".factory/settings.json its apiKeyHelper is dropped by Factory DROID in this file")
    (ignored,) = found.pop("client-ignores")
    assert f"trailing comma in line {len(tail.splitlines()) + 1}" in ignored
    loose = found.pop("value-loose")
    assert [("a former value" in each, "the present value" in each) for each in loose] == [(False, True), (True, False)]
    (stale,) = found.pop("drift-former")
    assert stale.startswith("~/.factory/settings.json ")
    assert found == {}


def test_a_helper_that_stands_beside_the_models_is_dropped_by_droid(droid_lab: Lab, keyrotor: Keyrotor) -> None:
    """In the organisation's file, too; one in a model's own entry works there, and then the other does no harm."""
    org = droid_lab.root / "org.json"
    helper = "keyrotor print-key"
    beside = {**json.loads(models(droid_lab)), "apiKeyHelper": helper}
    for text, is_told in {
        json.dumps(beside): True,
        models(droid_lab, apiKeyHelper=helper): False,
        json.dumps({**json.loads(models(droid_lab, apiKeyHelper=helper)), "apiKeyHelper": helper}): False,
        json.dumps({**json.loads(models(droid_lab, apiKey=f"${{{KEY}}}")), "apiKeyHelper": helper}): False,
    }.items():
        write(org, text)
        env = {"FACTORY_ORG_MANAGED_SETTINGS_LOCAL_PATH": str(org)}
        told = json.loads(keyrotor(droid_lab, "audit", "--json", env=env).stdout)["findings"]
        assert [each["id"] for each in told] == (["client-drops"] if is_told else []), text
        assert not told or "the model's own entry in the file that FACTORY_ORG" in told[0]["mend"]


def test_a_file_of_claude_code_with_a_comment_is_ignored_by_it(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """It reads strict JSON; `${…}` it sends as it is. What is nobody's key there is not told."""
    path = clean_lab.home / ".claude" / "settings.json"
    add_place(clean_lab, 'kind = "claude-code"')
    env = {"ANTHROPIC_BASE_URL": clean_lab.url, "ANTHROPIC_AUTH_TOKEN": clean_lab.current_key()}
    write(path, "// mine\n" + json.dumps({"env": env}))
    assert "comment in line 1" in findings(keyrotor, clean_lab)["client-ignores"][0]
    write(path, json.dumps({"env": {**env, "ANTHROPIC_AUTH_TOKEN": f"${{{KEY}}}"}}))
    assert list(findings(keyrotor, clean_lab)) == ["client-broken"]
    write(path, "// mine\n" + json.dumps({"env": {**env, "ANTHROPIC_AUTH_TOKEN": new_value()}}))
    assert "client-ignores" not in findings(keyrotor, clean_lab)


def test_healing_puts_what_works_in_the_stead_of_what_does_not(droid_lab: Lab, keyrotor: Keyrotor) -> None:
    """The key itself into config.json, a reference into the project's file; what works is left; all of it on record."""
    lab = droid_lab
    config = write(lab.home / ".factory" / "config.json", legacy(lab, f"env:{KEY}"))
    project = write(lab.project / ".factory" / "settings.json", models(lab, apiKey=f"env:{KEY}"))
    local = write(lab.project / ".factory" / "settings.local.json", models(lab, apiKey=f"${{{KEY}}}"))
    before = {path: path.read_text() for path in (config, project, local)}
    seen = tree(lab)
    asked = keyrotor(lab, "repair", "--yes")
    assert asked.returncode == 0, asked.stderr
    assert asked.stdout.count("--heal") == 2
    assert differing(seen, tree(lab)) == []
    told = keyrotor(lab, "repair", "--heal", "--dry-run")
    assert told.returncode == 0, told.stderr
    assert "env:LITELLM_MASTER_KEY does not work there; put in its stead: the key itself" in told.stdout
    assert "put in its stead: ${LITELLM_MASTER_KEY}" in told.stdout
    assert differing(seen, tree(lab)) == []
    done = keyrotor(lab, "repair", "--heal", "--yes")
    assert done.returncode == 0, done.stderr
    assert lab.current_key() not in done.stdout + done.stderr
    reference = f"env:{KEY}"
    assert config.read_text() == before[config].replace(reference, lab.current_key())
    assert project.read_text() == before[project].replace(reference, f"${{{KEY}}}")
    assert local.read_text() == before[local]
    _, _, opened = next(each for each in reversed(events(lab)) if each[1] == "opened")
    assert [row["id"] for row in opened["plan"]["rows"] if row["options"].get("heals")] == [
        "droid:config",
        "droid:project",
    ]
    assert findings(keyrotor, lab).keys() == set()
    assert "nothing to repair" in keyrotor(lab, "repair", "--heal", "--yes").stdout
    former = lab.current_key()
    assert keyrotor(lab, "rotate", "--yes").returncode == 0
    assert lab.current_key() in config.read_text()
    assert doors(lab, lab.current_key(), former) == [200, 400]


def test_a_byte_order_mark_is_taken_out_by_the_command_that_is_told(droid_lab: Lab, keyrotor: Keyrotor) -> None:
    """Byte for byte, through a link, whatever the path."""
    lab = droid_lab
    real, text = lab.root / "dot's files.json", lab.settings.read_bytes()
    lab.settings.rename(real)
    lab.settings.symlink_to(real)
    real.write_bytes(b"\xef\xbb\xbf" + text)
    (told,) = [each for each in json.loads(keyrotor(lab, "audit", "--json").stdout)["findings"]]
    assert told["id"] == "client-ignores"
    lab.run("sh", "-c", told["mend"])
    assert (lab.settings.is_symlink(), real.read_bytes()) == (True, text)
    assert findings(keyrotor, lab) == {}


def test_a_file_that_git_tracks_stops_no_other_from_being_healed(droid_lab: Lab, keyrotor: Keyrotor) -> None:
    """It is told as left, and the audit says the command by which git lets go of it; then it is healed as well."""
    lab = droid_lab
    tracked = write(lab.project / ".factory" / "config.json", legacy(lab, f"env:{KEY}"))
    lab.run("git", "add", "--force", os.fspath(tracked))
    lab.run("git", *AUTHOR, "commit", "--quiet", "--all", "--message", "shared")
    other = write(lab.home / ".factory" / "config.json", legacy(lab, f"env:{KEY}"))
    before = tracked.read_text()
    done = keyrotor(lab, "repair", "--heal", "--yes")
    assert done.returncode == 0, done.stderr
    assert (lab.current_key() in other.read_text(), tracked.read_text()) == (True, before)
    assert f"{tracked}: git tracks it, and only the key itself works there" in done.stdout
    (told,) = [each for each in json.loads(keyrotor(lab, "audit", "--json").stdout)["findings"]]
    heal, _, untrack = told["mend"].partition("  (once git has let go of it:  ")
    assert (told["id"], heal) == ("client-broken", "keyrotor repair litellm-master-key --heal")
    lab.run("sh", "-c", untrack.removesuffix("  )"))
    assert keyrotor(lab, "repair", "--heal", "--yes").returncode == 0
    assert lab.current_key() in tracked.read_text()


def test_the_key_itself_is_not_put_into_a_file_that_git_tracks(droid_lab: Lab, keyrotor: Keyrotor) -> None:
    """Refused before the first effect; a reference may go there."""
    lab = droid_lab
    config = write(lab.project / ".factory" / "config.json", legacy(lab, f"env:{KEY}"))
    lab.run("git", "add", "--force", os.fspath(config))
    lab.run("git", *AUTHOR, "commit", "--quiet", "--all", "--message", "shared")
    seen = tree(lab)
    done = keyrotor(lab, "repair", "--heal", "--yes")
    assert done.returncode == 3
    assert "git tracks it" in done.stderr
    assert "hint: keyrotor audit litellm-master-key" in done.stderr
    assert differing(seen, tree(lab)) == []
    config.unlink()
    project = write(lab.project / ".factory" / "settings.json", models(lab, apiKey=f"env:{KEY}"))
    lab.run("git", "add", "--force", "--all", ".factory")
    lab.run("git", *AUTHOR, "commit", "--quiet", "--all", "--message", "refers")
    done = keyrotor(lab, "repair", "--heal", "--yes")
    assert done.returncode == 0, done.stderr
    assert f"${{{KEY}}}" in project.read_text()


def test_where_the_playbook_says_that_the_key_belongs_any_other_value_is_replaced(
    clean_lab: Lab, keyrotor: Keyrotor
) -> None:
    """It need not be a former one, nor look like a key; where there is no such place the repair is refused."""
    path = write(clean_lab.home / "tool.json", json.dumps({"auth": {"token": "short"}, "other": "short"}))
    add_place(clean_lab, 'kind = "client-file"\npath = "~/tool.json"\nat = ["auth.token"]')
    (told,) = json.loads(keyrotor(clean_lab, "audit", "--json").stdout)["findings"]
    assert (told["id"], told["mend"]) == ("drift-other", "keyrotor repair litellm-master-key")
    assert keyrotor(clean_lab, "repair", "--yes").returncode == 0
    assert json.loads(path.read_text()) == {"auth": {"token": clean_lab.current_key()}, "other": "short"}
    write(path, json.dumps({"other": "short"}))
    done = keyrotor(clean_lab, "repair", "--yes")
    assert done.returncode == 3
    assert "there is no place in it" in done.stderr


def test_a_key_of_somebody_elses_is_never_replaced_by_a_repair(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """Not where no address stands beside it, nor beside another one, nor in a file that merely holds it, too."""
    lab, key, mine = clean_lab, clean_lab.current_key(), new_value()
    foreign = {name: f"sk-proj-{new_value()}" for name in ("beside nothing", "beside another")}
    entries = [
        {"baseUrl": f"{lab.url}/v1", "apiKey": mine},
        {"provider": "openai", "apiKey": foreign["beside nothing"]},
        {"baseUrl": "https://api.openai.com/v1", "apiKey": foreign["beside another"]},
    ]
    listed = write(lab.home / "c.json", json.dumps({"models": entries}))
    besides = write(lab.home / "g.json", json.dumps({"master": key, "same": mine, **foreign}))
    add_place(lab, 'kind = "client-file"\npath = "~/c.json"\nat = ["models[*].apiKey"]\nbeside = "baseUrl"')
    add_place(lab, 'kind = "client-file"\npath = "~/g.json"')
    before = listed.read_text(), besides.read_text()
    told = keyrotor(lab, "repair", "--dry-run")
    assert ("~ " + "~/c.json" in told.stdout, "= " + "~/g.json" in told.stdout) == (True, True)
    assert keyrotor(lab, "repair", "--yes").returncode == 0
    assert listed.read_text() == before[0].replace(mine, key)
    assert besides.read_text() == before[1]
    assert keyrotor(lab, "rotate", "--yes").returncode == 0
    assert besides.read_text() == before[1].replace(key, lab.current_key())
    assert listed.read_text() == before[0].replace(mine, lab.current_key())


def test_a_file_that_others_can_read_is_closed_before_the_key_itself_heals_it(
    droid_lab: Lab, keyrotor: Keyrotor
) -> None:
    """A reference could be read by everybody; an entry that names no gateway is left, and so is another's."""
    lab, url = droid_lab, droid_lab.url
    named = [{"base_url": f"{url}/v1"}, {"base_url": "https://other.example/v1"}, {}]
    text = json.dumps({"custom_models": [{**each, "api_key": f"env:{KEY}"} for each in named]})
    config = write(lab.home / ".factory" / "config.json", text)
    config.chmod(0o644)
    assert [each.split()[2] for each in findings(keyrotor, lab)["client-broken"]] == ["custom_models[0].api_key"]
    done = keyrotor(lab, "repair", "--heal", "--yes")
    assert done.returncode == 0, done.stderr
    assert config.read_text() == text.replace(f"env:{KEY}", lab.current_key(), 1)
    assert config.stat().st_mode & 0o777 == 0o600
    assert findings(keyrotor, lab) == {}


def test_the_key_as_the_default_of_a_reference_is_found(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """It is a literal like any other, that of today and a former one."""
    lab, former = clean_lab, clean_lab.current_key()
    path = write(lab.home / "x.env", f"OPENAI_API_KEY=${{{KEY}:-{former}}}\nB=${{OTHER-{former}}}\n")
    left = write(lab.home / "y.env", f"# ${{{KEY}:-{former}}}\nOPENAI_API_KEY={former}\n")
    for name in ("x", "y"):
        add_place(lab, f'kind = "client-file"\nid = "{name}"\npath = "~/{name}.env"')
    stale = path.read_text()
    done = keyrotor(lab, "rotate", "--yes")
    assert done.returncode == 0, done.stderr
    assert path.read_text() == stale.replace(former, lab.current_key())
    assert left.read_text().count(former) == 1
    path.write_text(stale)
    found = findings(keyrotor, lab)
    assert [each.split()[0] for each in found["drift-former"]] == ["~/x.env"]
    assert [each.split()[0] for each in found["value-loose"]] == ["~/y.env"]


def test_what_a_killed_writer_left_is_told_until_a_repair_has_cleared_it(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """Beside the file, or in the state folder; a torn file is judged by what it becomes, and becomes it."""
    lab, key, former = clean_lab, clean_lab.current_key(), new_value()
    old, new = (json.dumps({"a": value, "b": "x" * 99}).encode() for value in (former, key))
    path = write(lab.home / "x.json", new.decode())
    add_place(lab, 'kind = "client-file"\npath = "~/x.json"\nin_place = true')
    aside = lab.home / ".local/state/keyrotor/aside" / f"{hashlib.sha256(os.fsencode(path)).hexdigest()}.keyrotor"
    beside = path.with_name(".x.json.keyrotor")
    aside.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
    for left, stands in ((beside, new[:20] + old[20:]), (aside, new[:20] + old[20:]), (aside, new)):
        left.write_bytes(in_place.intent(old, new))
        left.chmod(0o600)
        path.write_bytes(stands)
        found = findings(keyrotor, lab)
        assert found == {"left-over": [f"~/x.json a write of it was killed, and left {left}"]}
        done = keyrotor(lab, "repair", "--yes")
        assert done.returncode == 0, done.stderr
        assert (path.read_bytes(), left.exists()) == (new, False)
        assert findings(keyrotor, lab) == {}
