"""`clients discover`: whoever holds the key, or refers to it, is found; the playbook is added to and not disturbed.

On real sops and git. No gateway runs: discovering needs none.
"""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import Any

import pytest
from on_lab import Keyrotor, MakeLab, StartKeyrotor, differing, tree

from keyrotor import playbook
from keyrotor.demo.lab import Lab

KEY = "LITELLM_MASTER_KEY"


@pytest.fixture
def lab(make_lab: MakeLab) -> Lab:
    """The files of a lab; no gateway runs."""
    return make_lab(unit=False, start=False)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def found(keyrotor: Keyrotor, lab: Lab, *words: str, code: int = 10, **how: Any) -> dict[str, Any]:
    """What is printed as JSON: the holders by their paths from the lab's folder on, and all else. It shows no key."""
    done = keyrotor(lab, "clients", "discover", "--json", *words, **how)
    assert done.returncode == code, done.stderr
    assert lab.current_key() not in done.stdout + done.stderr
    told = json.loads(done.stdout)
    return {**told, "holders": {os.path.relpath(each["path"], lab.root): each for each in told["holders"]}}


def entry(told: dict[str, Any], path: str) -> str:
    """The entry that is to be added for this file."""
    return str(told["entries"][told["holders"][path]["entry"]])


def test_a_lab_with_its_own_clients_needs_nothing(lab: Lab, keyrotor: Keyrotor) -> None:
    """What the playbook covers is told, its env file and the encrypted file are no clients; nothing is written."""
    before = tree(lab)
    told = found(keyrotor, lab, "--root", str(lab.root), "--write", code=0)
    settings = told["holders"]["home/.factory/settings.json"]
    assert (settings["present"], settings["covered"], settings["entry"]) == (2, "client-file", None)
    holding = [path for path, each in told["holders"].items() if each["present"]]
    assert holding == ["home/.factory/settings.json"]
    assert (told["entries"], told["wrote"], told["exit"]) == ([], False, 0)
    assert told["skipped"]["folders of version control, packages and caches"] == 1
    assert differing(before, tree(lab)) == []


def test_the_known_clients_are_found_where_they_look(lab: Lab, keyrotor: Keyrotor) -> None:
    """Each becomes one entry, without a path; droid's `env:` in config.json is told to be broken."""
    key, url = lab.current_key(), lab.url
    droid = {"custom_models": [{"base_url": f"{url}/v1", "api_key": f"env:{KEY}"}]}
    write(lab.home / ".factory" / "config.json", json.dumps(droid))
    provider = f'[model_providers.lab]\nbase_url = "{url}/v1"\nexperimental_bearer_token = "{key}"\n'
    write(lab.home / ".codex" / "config.toml", provider)
    options = {"baseURL": f"{url}/v1", "apiKey": f"{{env:{KEY}}}"}
    write(lab.home / ".config" / "opencode" / "opencode.json", json.dumps({"provider": {"lab": {"options": options}}}))
    write(lab.project / "crush.json", json.dumps({"providers": {"lab": {"base_url": url, "api_key": f"${KEY}"}}}))
    told = found(keyrotor, lab)
    holders = told["holders"]
    assert told["entries"] == [f'[[place]]\nkind = "{kind}"' for kind in ("droid", "codex", "opencode", "crush")]
    legacy = holders["home/.factory/config.json"]
    assert (legacy["refers"], legacy["broken"]) == (["env:NAME"], ["env:NAME"])
    assert holders["home/.codex/config.toml"]["present"] == 1
    opencode = holders["home/.config/opencode/opencode.json"]
    assert (opencode["refers"], opencode["broken"]) == (["{env:NAME}"], [])
    assert holders["project/crush.json"]["refers"] == ["$NAME"]


def test_a_key_for_another_gateway_is_not_called_broken(lab: Lab, keyrotor: Keyrotor) -> None:
    """Only the leaf beside our gateway's address is judged by what its program does."""
    droid = {"custom_models": [{"base_url": "https://other.example/v1", "api_key": f"env:{KEY}"}]}
    write(lab.home / ".factory" / "config.json", json.dumps(droid))
    assert found(keyrotor, lab)["holders"]["home/.factory/config.json"]["broken"] == []


def test_write_adds_the_entries_and_leaves_every_byte_before_them(lab: Lab, keyrotor: Keyrotor) -> None:
    """What is added makes the playbook cover all; a second time there is nothing to add, and nothing is written."""
    odd = lab.home / 'it\'s a 100% $odd né "folder"'
    write(odd / "settings.yaml", f"# {lab.current_key()}\nkey: {lab.current_key()}\n")
    write(odd / "run.sh", f"export A={lab.current_key()}\n")
    write(
        lab.project / "inner" / ".factory" / "settings.json",
        f'{{"customModels": [{{"apiKey": "{lab.current_key()}"}}]}}',
    )
    lab.playbook.write_bytes(lab.playbook.read_bytes().replace(b"\n", b"\r\n").rstrip())
    before, covered = lab.playbook.read_bytes(), playbook.load(lab.playbook, lab.environment()).places
    roots = ("--root", str(odd), "--root", str(lab.project))
    told = found(keyrotor, lab, *roots, "--write", code=0)
    assert told["wrote"]
    after = lab.playbook.read_bytes()
    assert after.startswith(before)
    assert after.count(b"\r\n") == after.count(b"\n")
    places = playbook.load(lab.playbook, lab.environment()).places
    assert places[: len(covered)] == covered
    more = [(place.kind, place.options["path"], place.optional) for place in places[len(covered) :]]
    assert more == [
        ("client-file", str(odd / "run.sh"), False),
        ("client-file", str(odd / "settings.yaml"), False),
        ("droid", str(lab.project / "inner" / ".factory" / "settings.json"), False),
    ]
    stamp = lab.playbook.stat().st_mtime_ns
    again = found(keyrotor, lab, *roots, "--write", code=0)
    assert (again["entries"], again["wrote"]) == ([], False)
    assert [each["covered"] is None for each in again["holders"].values() if each["present"]] == [False] * 4
    assert lab.playbook.stat().st_mtime_ns == stamp
    assert keyrotor(lab, "clients", "discover", *roots).stdout.endswith("nothing to add\n")


def test_a_playbook_that_cannot_be_added_to_is_left(lab: Lab, keyrotor: Keyrotor) -> None:
    """Its places stand in one line: a table at its end would be no TOML. Refused (3), untouched, with what to do."""
    write(lab.home / ".codex" / "auth.json", json.dumps({"OPENAI_API_KEY": lab.current_key()}))
    text = f'name = "it"\nplace = [{{kind = "sops-file"}}]\n[secret]\nfile = "secrets/global.enc.env"\nkey = "{KEY}"\n'
    lab.playbook.write_text(text)
    refused = keyrotor(lab, "clients", "discover", "--write")
    assert (refused.returncode, lab.playbook.read_text()) == (3, text)
    assert "hint: make each of its places a [[place]] of its own, then: keyrotor clients discover" in refused.stderr
    assert found(keyrotor, lab)["entries"] == [f'[[place]]\nkind = "{kind}"' for kind in ("droid", "codex")]


def test_former_keys_are_told_by_their_fingerprints(lab: Lab, keyrotor: Keyrotor) -> None:
    """A file that was forgotten in a rotation, and one that holds both."""
    lab.playbook.write_text(
        f'name = "it"\n[secret]\nfile = "secrets/global.enc.env"\nkey = "{KEY}"\n[[place]]\nkind = "sops-file"\n'
    )
    old = lab.current_key()
    assert keyrotor(lab, "rotate", "--yes").returncode == 0
    write(lab.home / "x" / "both.json", json.dumps({"a": old, "b": f"Bearer {old}", "c": lab.current_key()}))
    (lab.home / "x" / "escaped.json").write_text(f'{{"a": "\\u0073{old[1:]}"}}')
    (lab.home / "x" / "note.txt").write_text(f"an other key: sk-{secrets.token_urlsafe(20)}\n")
    told = found(keyrotor, lab, "--root", str(lab.home / "x"))
    both, escaped = (told["holders"][f"home/x/{name}.json"] for name in ("both", "escaped"))
    assert (both["present"], both["former"]) == (1, 2)
    assert (escaped["present"], escaped["former"]) == (0, 1)
    assert "home/x/note.txt" not in told["holders"]
    assert told["holders"]["home/.factory/settings.json"]["former"] == 2
    assert old not in json.dumps(told)
    assert any("keyrotor repair it" in note for note in both["notes"])


def test_where_nothing_can_be_decrypted_references_are_found_still(lab: Lab, keyrotor: Keyrotor) -> None:
    """And it is said that the value could not be looked for."""
    write(lab.project / "opencode.json", json.dumps({"provider": {"a": {"options": {"apiKey": f"{{env:{KEY}}}"}}}}))
    lab.identity.rename(lab.root / "away")
    done = keyrotor(lab, "clients", "discover", "--json")
    told = json.loads(done.stdout)
    assert done.returncode == 10
    assert [each["refers"] for each in told["holders"]] == [["{env:NAME}"]]
    assert "the present value cannot be looked for, references can: " in told["doubts"][0]
    assert told["doubts"][0] in done.stderr


def test_what_is_not_looked_at_is_told(lab: Lab, keyrotor: Keyrotor) -> None:
    """Packages, large and binary files are counted; loops, pipes, links that lead nowhere end nothing."""
    root, key = lab.home / "x", lab.current_key()
    write(root / "node_modules" / "a.json", f'"{key}"')
    write(root / "own" / "pyvenv.cfg", "")
    write(root / "own" / "a.json", f'"{key}"')
    write(root / "large.txt", f"{key}\n" + "x" * 1024 * 1024)
    (root / "binary.txt").write_bytes(b"\0" + key.encode())
    (root / "loop").symlink_to(root)
    (root / "nowhere").symlink_to("/no/such")
    os.mkfifo(root / "pipe")
    write(root / "real.txt", key)
    (root / "also.txt").symlink_to("real.txt")
    (root / "twin.txt").hardlink_to(root / "real.txt")
    (root / ".a.json.keyrotor").write_text(key)
    (root / "\udcff.txt").write_text(key)
    (root / "${HOME}.txt").write_text(key)
    (root / ".bash_history").write_text(f"curl {key}")
    (root / f"{key}.txt").write_text(key)
    told = found(keyrotor, lab, "--root", str(root), "--root", str(root))
    holders = {path.removeprefix("home/x/"): each for path, each in told["holders"].items()}
    assert told["skipped"] == {
        "folders of version control, packages and caches": 2,
        "files larger than 1 MiB": 1,
        "binary files": 1,
        "links to folders": 1,
    }
    assert "also.txt" in holders  # by the first of its names
    assert not {"twin.txt", "real.txt", ".a.json.keyrotor"} & set(holders)
    hindered = {name for name, each in holders.items() if each["hindrance"]}
    assert hindered == {".bash_history", "${HOME}.txt", "\ufffd.txt", "[redacted].txt"}


def test_what_cannot_be_read_is_named(lab: Lab, keyrotor: Keyrotor) -> None:
    """It stops nothing; here a link that leads to itself, which not even root can follow."""
    write(lab.home / "x" / "a.json", "{}").with_name("b.json").symlink_to("b.json")
    told = found(keyrotor, lab, "--root", str(lab.home / "x"), code=0)
    assert told["unreadable"] == [f"{lab.home}/x/b.json: too many levels of symbolic links"]
    assert "cannot read " in keyrotor(lab, "clients", "discover", "--root", str(lab.home / "x")).stdout


def test_a_file_that_git_tracks_is_told(lab: Lab, keyrotor: Keyrotor) -> None:
    """A commit would take the key along."""
    path = write(lab.project / "tracked.json", f'"{lab.current_key()}"')
    write(lab.project / "untracked.json", f'"{lab.current_key()}"')
    lab.run("git", "add", str(path))
    told = found(keyrotor, lab, "--root", str(lab.project))
    notes = [" ".join(told["holders"][f"project/{name}.json"]["notes"]) for name in ("tracked", "untracked")]
    assert ["git tracks it" in note for note in notes] == [True, False]


def test_a_file_that_chezmoi_makes_is_told(lab: Lab, keyrotor: Keyrotor, tmp_path: Path) -> None:
    """Its next `apply` would bring the former key back. (chezmoi is no package of Debian's: a script stands for it.)"""
    write(lab.home / "a.json", f'"{lab.current_key()}"')
    write(lab.home / "b.json", f'"{lab.current_key()}"')
    program = write(
        tmp_path / "bin" / "chezmoi", "#!/bin/sh\ncase $2 in */a.json) echo /src/private_a.json;; *) exit 1; esac\n"
    )
    program.chmod(0o755)
    path = f"{program.parent}:{lab.environment()['PATH']}"
    told = found(keyrotor, lab, *(f"--root={lab.home}/{name}.json" for name in "ab"), env={"PATH": path})
    notes = [" ".join(told["holders"][f"home/{name}.json"]["notes"]) for name in "ab"]
    assert ["chezmoi makes it from /src/private_a.json" in note for note in notes] == [True, False]


def test_stores_that_cannot_be_looked_into_are_proposed(lab: Lab, keyrotor: Keyrotor) -> None:
    """Zed where its settings name the gateway; an editor's extensions are only told, for they may use any."""
    config = lab.home / ".config"
    (config / "Code" / "User" / "globalStorage" / "saoudrizwan.claude-dev").mkdir(parents=True)
    zed = write(config / "zed" / "settings.json", '{"api_url": "http://127.0.0.1:1/v1"}')
    assert found(keyrotor, lab, code=0)["maybe"] == ["cline"]
    zed.write_text(f'{{"language_models": {{"openai": {{"api_url": "http://localhost:{lab.port}/v1"}}}}}}')
    assert found(keyrotor, lab)["entries"] == ['[[place]]\nkind = "zed"']
    assert "cline: is in use here" in keyrotor(lab, "clients", "discover", "--write").stdout
    assert found(keyrotor, lab, code=0)["maybe"] == ["cline"]


def test_one_of_several_clients_is_told_by_what_lies_beside_the_file(lab: Lab, keyrotor: Keyrotor) -> None:
    """A project's `.env` may be compose's, LibreChat's or aider's; where nothing tells it is nobody's."""
    text = f"OPENAI_API_KEY={lab.current_key()}\n"
    for name, beside in {"a": "compose.yaml", "b": "librechat.yaml", "c": ".aider.conf.yml", "d": "x"}.items():
        write(lab.home / "x" / name / ".env", text)
        write(lab.home / "x" / name / beside, "{}")
    told = found(keyrotor, lab, "--root", str(lab.home / "x"))
    kinds = [told["holders"][f"home/x/{name}/.env"]["kind"] for name in "abcd"]
    assert kinds == ["docker-compose", "librechat", "aider", "client-file"]
    assert entry(told, "home/x/a/.env") == '[[place]]\nkind = "docker-compose"\npath = "~/x/a/.env"'
    assert entry(told, "home/x/d/.env").endswith('format = "dotenv"')


def test_a_file_that_a_variable_names_is_added_by_its_path(lab: Lab, keyrotor: Keyrotor) -> None:
    """A timer may not have the variable."""
    write(lab.home / "codex" / "auth.json", json.dumps({"OPENAI_API_KEY": lab.current_key()}))
    told = found(keyrotor, lab, env={"CODEX_HOME": str(lab.home / "codex")})
    assert told["entries"] == ['[[place]]\nkind = "codex"\npath = "~/codex/auth.json"']


def test_a_file_that_its_reader_refuses_is_told(lab: Lab, keyrotor: Keyrotor) -> None:
    """A known client's is to be mended first; of any other only its name was wrong, and it is text."""
    broken = f'{{"OPENAI_API_KEY": "{lab.current_key()}"'
    write(lab.home / ".codex" / "auth.json", broken)
    write(lab.home / "x" / "lines.json", f'{{"a": "{lab.current_key()}"}}\n{{"a": 1}}\n')
    told = found(keyrotor, lab, "--root", str(lab.home / "x"))
    assert "mend it first" in told["holders"]["home/.codex/auth.json"]["hindrance"]
    assert entry(told, "home/x/lines.json").endswith('format = "text"')


def test_what_a_person_reads_names_the_files_and_no_value(lab: Lab, keyrotor: Keyrotor) -> None:
    """With the variable's own name in a reference, the entry as it is typed, and the command that adds it."""
    write(lab.home / ".codex" / "auth.json", json.dumps({"OPENAI_API_KEY": lab.current_key()}))
    done = keyrotor(lab, "clients", "discover", "litellm-master-key", "--root", str(lab.home / ".codex"))
    assert done.returncode == 10
    assert "~/.codex/auth.json: holds the present key\n  to add: codex\n" in done.stdout
    assert f'to add to {lab.playbook}:\n\n[[place]]\nkind = "codex"\n' in done.stdout
    hint = f"hint: keyrotor clients discover litellm-master-key --root {lab.home / '.codex'} --write"
    assert hint in done.stderr
    assert lab.current_key() not in done.stdout + done.stderr


def test_a_playbook_that_is_changed_meanwhile_is_looked_at_again(
    lab: Lab, keyrotor: Keyrotor, start_keyrotor: StartKeyrotor
) -> None:
    """Two at once: one adds, and the other is told so, or finds nothing to add; no entry is there twice."""
    write(lab.home / "a.json", json.dumps({"k": lab.current_key()}))
    words = ("clients", "discover", "--root", str(lab.home / "a.json"), "--write")
    both = [start_keyrotor(lab, *words) for _ in range(2)]
    told = [(*process.communicate(), process.returncode) for process in both]
    assert lab.playbook.read_text().count("a.json") == 1
    late = [err for _, err, code in told if code == 3]
    again = f"was changed meanwhile\nnow: nothing was changed\nhint: keyrotor {' '.join(words[:2])} "
    assert all(again in err for err in late), late


def test_a_playbook_that_is_read_only_is_left(lab: Lab, keyrotor: Keyrotor) -> None:
    """Whoever has made it so did not mean it to be replaced, which its owner could."""
    write(lab.home / ".codex" / "auth.json", json.dumps({"OPENAI_API_KEY": lab.current_key()}))
    lab.playbook.chmod(0o444)
    before = lab.playbook.read_bytes()
    refused = keyrotor(lab, "clients", "discover", "--write")
    assert (refused.returncode, lab.playbook.read_bytes()) == (3, before)
    assert f"it is read-only (chmod u+w {lab.playbook})" in refused.stderr


def test_a_playbook_with_a_byte_order_mark_is_told_how_to_lose_it(lab: Lab, keyrotor: Keyrotor) -> None:
    """TOML allows none."""
    text = lab.playbook.read_bytes()
    lab.playbook.write_bytes(b"\xef\xbb\xbf" + text)
    refused = keyrotor(lab, "clients", "discover")
    assert (refused.returncode, "byte order mark" in refused.stderr) == (2, True)
    lab.run("sh", "-c", refused.stderr.partition("hint: ")[2])
    assert lab.playbook.read_bytes() == text


def test_what_the_next_rotation_will_refuse_is_told(lab: Lab, keyrotor: Keyrotor) -> None:
    """A literal in an `.envrc`, which keyrotor never writes, is told at the end."""
    write(lab.project / ".envrc", f"export {KEY}={lab.current_key()}\n")
    assert found(keyrotor, lab)["refusals"] == []
    done = keyrotor(lab, "clients", "discover", "--write")
    told = f"cannot write {lab.project}/.envrc: direnv would block it once it has changed; put `dotenv {lab.env_file}` "
    told += "there in the stead of the key, then: direnv allow"
    assert f"! the next rotation is refused until this is mended: {told}\n" in done.stdout
    refused = keyrotor(lab, "rotate", "--yes")
    assert (refused.returncode, told in refused.stderr) == (3, True)


def test_a_repair_is_advised_where_it_would_reach_the_file(lab: Lab, keyrotor: Keyrotor) -> None:
    """A file that no place covers is to be added before."""
    droid = {"custom_models": [{"base_url": f"{lab.url}/v1", "api_key": f"env:{KEY}"}]}
    write(lab.home / ".factory" / "config.json", json.dumps(droid))
    write(lab.project / "x.json", json.dumps({"k": lab.current_key()}))
    heal = "keyrotor repair litellm-master-key --heal  (puts what its program understands)"
    assert found(keyrotor, lab)["holders"]["home/.factory/config.json"]["notes"] == [f"add it first, then: {heal}"]
    found(keyrotor, lab, "--write", code=0)
    assert found(keyrotor, lab, code=0)["holders"]["home/.factory/config.json"]["notes"] == [heal]


@pytest.mark.parametrize("home", ["", "/"])
def test_without_a_home_a_path_is_written_out(lab: Lab, keyrotor: Keyrotor, home: str) -> None:
    """`~` would lead nowhere."""
    path = write(lab.root / "a.json", json.dumps({"k": lab.current_key()}))
    told = found(keyrotor, lab, "--root", str(path), env={"HOME": home})
    assert entry(told, "a.json") == f'[[place]]\nkind = "client-file"\npath = "{path}"\nformat = "json"'


def test_a_variable_with_the_same_value_is_another_keys(lab: Lab, keyrotor: Keyrotor) -> None:
    """In a text that sets several, each is its own variable's."""
    write(lab.home / "x" / "run.json", json.dumps({"run": f"env LITELLM_SALT_KEY={lab.current_key()} x"}))
    assert "home/x/run.json" not in found(keyrotor, lab, "--root", str(lab.home / "x"), code=0)["holders"]


def test_a_root_that_nobody_may_enter_is_an_error(lab: Lab, keyrotor: Keyrotor) -> None:
    """As one that leads to itself, which not even root can follow."""
    (lab.home / "loop").symlink_to("loop")
    refused = keyrotor(lab, "clients", "discover", "--root", str(lab.home / "loop" / "x"))
    assert refused.returncode == 2
    assert f"cannot look through {lab.home}/loop/x: too many levels of symbolic links" in refused.stderr


def test_a_root_that_is_not_there_is_an_error(lab: Lab, keyrotor: Keyrotor) -> None:
    """It was mistyped."""
    refused = keyrotor(lab, "clients", "discover", "--root", "no/such")
    assert (refused.returncode, "cannot look through no/such" in refused.stderr) == (2, True)


def test_another_keys_value_is_not_taken_for_the_key(lab: Lab, keyrotor: Keyrotor) -> None:
    """A salt that happens to be the same is never rotated, and so no client's."""
    write(lab.home / "x" / "a.json", json.dumps({"LITELLM_SALT_KEY": lab.current_key()}))
    assert "home/x/a.json" not in found(keyrotor, lab, "--root", str(lab.home / "x"), code=0)["holders"]
