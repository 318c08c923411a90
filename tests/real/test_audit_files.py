"""`audit` of the encrypted file and of the files that hold the value, with the real git and sops.

Each fault gives its own finding; what looks like one and is none gives nothing.
"""

from __future__ import annotations

import json
import os
import secrets
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from keyrotor import playbook
from keyrotor.boundary.git import Git
from keyrotor.boundary.process import Processes
from keyrotor.demo.build import AUTHOR
from keyrotor.demo.lab import Lab
from keyrotor.errors import PlaceError
from keyrotor.looks.encrypted_file import EncryptedFile
from keyrotor.ports import Seen
from real.on_lab import Keyrotor, add_place, differing, edit, found, new_value, sops_set, tree

KEY = "LITELLM_MASTER_KEY"


def git(lab: Lab, *words: str) -> str:
    return lab.run("git", *AUTHOR, *words)


def commit(lab: Lab) -> None:
    git(lab, "add", "--all")
    git(lab, "commit", "--quiet", "--allow-empty", "--message", "seeded")


def findings(keyrotor: Keyrotor, lab: Lab, **how: Any) -> list[dict[str, str]]:
    """What an audit finds, whole; the present value is in none of it."""
    done = keyrotor(lab, "audit", "--json", **how)
    assert done.returncode in (0, 10), done.stderr
    assert lab.current_key() not in done.stdout + done.stderr
    return list(json.loads(done.stdout)["findings"])


def typed(lab: Lab, finding: dict[str, str]) -> None:
    """What the finding says is typed, up to the words in brackets."""
    command = finding["mend"].partition("  (")[0]
    environment = {**lab.environment(), "SOPS_DISABLE_VERSION_CHECK": "1"}
    environment |= {
        f"GIT_{who}_{what}": "lab@localhost" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    subprocess.run(["sh", "-c", command], cwd=lab.home, env=environment, check=True, capture_output=True)


def sopsed(lab: Lab, finding: dict[str, str]) -> dict[str, str]:
    """The same, with the lab's own sops, which asks nothing."""
    mend = finding["mend"].replace("updatekeys", "updatekeys --yes").replace("&& sops ", f"&& {lab.sops} ")
    return {**finding, "mend": mend}


def identity() -> str:
    """A recipient whose identity nobody has."""
    pyrage = pytest.importorskip("pyrage")
    return str(pyrage.x25519.Identity.generate().to_public())


def rules(lab: Lab) -> Path:
    return lab.project / ".sops.yaml"


def recipient(lab: Lab) -> str:
    """The one that the lab's file is encrypted for."""
    return recipient_of(lab.secret_file)


def recipient_of(path: Path) -> str:
    return next(line.split("=")[1] for line in path.read_text().splitlines() if "map_recipient=" in line)


# -- recipients ------------------------------------------------------------------------------------------------------


def test_a_recipient_that_the_rules_want_and_the_file_lacks(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """Somebody joined, and nobody has given the file to them; what is to be typed mends it."""
    joined = identity()
    edit(rules(clean_lab), recipient(clean_lab), f"{recipient(clean_lab)},{joined}")
    (finding,) = findings(keyrotor, clean_lab)
    assert finding["id"] == "recipients-differ"
    assert f"{joined} is missing" in finding["text"]
    typed(clean_lab, sopsed(clean_lab, finding))
    commit(clean_lab)
    assert found(keyrotor, clean_lab) == []


def test_a_file_that_sops_would_take_for_json(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """By its name; what is to be typed says what it is, for a missing recipient and for a file in clear."""
    named = clean_lab.secret_file.with_name("global.env.enc")
    clean_lab.secret_file.rename(named)
    edit(clean_lab.playbook, "global.enc.env", "global.env.enc")
    has = recipient_of(named)
    rules(clean_lab).write_text(f"creation_rules:\n  - age: {has}\n")
    commit(clean_lab)
    assert "recipients-differ" not in found(keyrotor, clean_lab)
    rules(clean_lab).write_text(f"creation_rules:\n  - age: {has},{identity()}\n")
    seen = {each["id"]: each for each in findings_at(keyrotor, clean_lab)}
    typed(clean_lab, sopsed(clean_lab, seen["recipients-differ"]))
    assert "recipients-differ" not in found(keyrotor, clean_lab)
    types = "--input-type dotenv --output-type dotenv"
    clean_lab.run("sh", "-c", f"SOPS_AGE_KEY_FILE={clean_lab.identity} {clean_lab.sops} decrypt -i {types} {named}")
    seen = {each["id"]: each for each in findings_at(keyrotor, clean_lab)}
    typed(clean_lab, sopsed(clean_lab, seen["file-in-clear"]))
    assert not {"file-in-clear", "not-decrypted"} & set(found(keyrotor, clean_lab))


def findings_at(keyrotor: Keyrotor, lab: Lab) -> list[dict[str, str]]:
    """The same, where the lab does not know its own file any more."""
    return list(json.loads(keyrotor(lab, "audit", "--json").stdout)["findings"])


def test_a_recipient_that_the_rules_no_longer_want(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """Somebody left, and can still read the file."""
    left, joined = recipient(clean_lab), identity()
    edit(rules(clean_lab), left, joined)
    (finding,) = findings(keyrotor, clean_lab)
    assert finding["id"] == "recipients-differ"
    assert f"{joined} is missing, {left} is not wanted there" in finding["text"]


def test_rules_that_want_no_age_at_all(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """The file's recipient is one too many."""
    rules(clean_lab).write_text("creation_rules:\n  - pgp: FBC7B9E2A4F9289AC0C1D4843D16CEE4A27381B4\n")
    assert found(keyrotor, clean_lab) == ["recipients-differ"]


SAME: dict[str, str] = {
    "a second rule that is not reached": "creation_rules:\n  - path_regex: env$\n    age: HERE\n  - age: OTHER\n",
    "a first rule for other files": "creation_rules:\n  - path_regex: \\.yaml$\n    age: OTHER\n  - age: HERE\n",
    "a path below the rules": "creation_rules:\n  - path_regex: ^secrets/global\n    age: HERE\n  - age: OTHER\n",
    "key groups": "creation_rules:\n  - age: OTHER\n    key_groups:\n      - age: [HERE]\n",
    "no matching rule": "creation_rules:\n  - path_regex: ^elsewhere/\n    age: OTHER\n",
    "no rules": "stores: {}\n",
    "other keys as well": "creation_rules:\n  - age: HERE\n    pgp: FBC7B9E2A4F9289AC0C1D4843D16CEE4A27381B4\n",
}


def test_rules_that_want_what_there_is(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """Or that leave the file alone."""
    has, other, ids = recipient(clean_lab), identity(), {}
    for name, text in SAME.items():
        rules(clean_lab).write_text(text.replace("HERE", has).replace("OTHER", other))
        ids[name] = found(keyrotor, clean_lab)
    assert ids == {name: [] for name in SAME}


def test_rules_in_the_folder_of_the_file_do_not_count(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """sops looks from where it runs upward, which is the project, not from the file."""
    (clean_lab.secret_file.parent / ".sops.yaml").write_text(f"creation_rules:\n  - age: {identity()}\n")
    assert found(keyrotor, clean_lab) == []


def test_rules_above_the_project_count(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """Where the project has none itself; the path begins below them."""
    rules(clean_lab).unlink()
    git(clean_lab, "add", "--all")
    above = clean_lab.root / ".sops.yaml"
    above.write_text(f"creation_rules:\n  - path_regex: ^project/secrets/\n    age: {identity()}\n")
    (finding,) = findings(keyrotor, clean_lab)
    assert finding["id"] == "recipients-differ"
    assert str(above) in finding["text"]


@pytest.mark.parametrize("text", ["creation_rules:\n  - path_regex: '('\n", "creation_rules:\n  - age: {a: b}\n"])
def test_rules_that_cannot_be_read_hide_no_other_finding(clean_lab: Lab, keyrotor: Keyrotor, text: str) -> None:
    """It is told that they cannot be read, beside all else. (Rules that are no YAML stop sops itself.)"""
    rules(clean_lab).write_text(text)
    twin = clean_lab.secret_file.with_name("global.env")
    twin.write_text(f"{KEY}={clean_lab.current_key()}\n")
    assert sorted(found(keyrotor, clean_lab)) == ["cannot-look", "twin-beside"]


def test_a_git_that_is_too_slow_hides_no_other_finding(clean_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it tracks is then not known, which is told; the copy beside the file is found all the same."""

    def tracked_lines(*_: object) -> Iterator[tuple[Path, bytes]]:
        raise PlaceError("cannot wait longer for git: not done after 10 s")

    clean_lab.secret_file.with_name("global.env").write_text(f"{KEY}={clean_lab.current_key()}\n")
    monkeypatch.setattr(Git, "tracked_lines", tracked_lines)
    look = EncryptedFile(
        clean_lab.secret_file, clean_lab.project, Git(Processes(), os.environ, clean_lab.secret_file), lambda: []
    )
    seen = Seen(playbook.load(clean_lab.playbook, {}), datetime.now(UTC), None, lambda _: "")
    told = {one.id: one.mend for one in look.findings(seen)}
    assert {"cannot-look", "twin-beside"} <= told.keys()
    assert told["cannot-look"].startswith("keyrotor audit litellm-master-key")


# -- git -------------------------------------------------------------------------------------------------------------


def sops_edit(lab: Lab, key: str = "GRAFANA_TOKEN") -> None:
    lab.run("sh", "-c", sops_set(lab, key, secrets.token_urlsafe(24)))


def test_a_change_that_is_not_committed(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """Found until it is committed, as the finding says."""
    sops_edit(clean_lab)
    (finding,) = findings(keyrotor, clean_lab)
    assert finding["id"] == "file-uncommitted"
    typed(clean_lab, finding)
    assert found(keyrotor, clean_lab) == []


def test_a_change_that_is_staged_only(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """Staged is not committed."""
    sops_edit(clean_lab)
    git(clean_lab, "add", "--all")
    assert found(keyrotor, clean_lab) == ["file-uncommitted"]


def test_a_file_that_git_does_not_track(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """Found until it is added, as the finding says."""
    git(clean_lab, "rm", "--quiet", "--cached", str(clean_lab.secret_file))
    git(clean_lab, "commit", "--quiet", "--message", "forgotten")
    (finding,) = findings(keyrotor, clean_lab)
    assert finding["id"] == "file-untracked"
    typed(clean_lab, finding)
    commit(clean_lab)
    assert found(keyrotor, clean_lab) == []


def test_a_file_that_is_ignored_on_purpose(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """Somebody has said that git is not to have it."""
    (clean_lab.project / ".gitignore").write_text("*.enc.env\n")
    git(clean_lab, "rm", "--quiet", "--cached", str(clean_lab.secret_file))
    commit(clean_lab)
    assert found(keyrotor, clean_lab) == []


def merge_two_edits(lab: Lab) -> None:
    """Two branches with an edit each; the merge stops."""
    git(lab, "checkout", "--quiet", "-b", "theirs")
    sops_edit(lab)
    commit(lab)
    git(lab, "checkout", "--quiet", "-")
    sops_edit(lab)
    commit(lab)
    environment = lab.environment()
    merge = ["git", *AUTHOR, "merge", "theirs"]
    assert subprocess.run(merge, check=False, cwd=lab.project, env=environment, capture_output=True).returncode


def own(ids: list[str]) -> list[str]:
    """Without a present value to compare with, other looks have something to say as well."""
    return [
        each for each in ids if each in {"file-conflict", "file-uncommitted", "file-untracked", "recipients-differ"}
    ]


def test_a_merge_conflict_that_nobody_has_begun_to_end(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """The file cannot be decrypted, and why is told; taking one side, as the finding says, mends both."""
    merge_two_edits(clean_lab)
    done = keyrotor(clean_lab, "audit", "--json")
    seen = {finding["id"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert {"not-decrypted", "file-conflict"} <= seen.keys()
    assert own(list(seen)) == ["file-conflict"]
    typed(clean_lab, seen["file-conflict"])
    commit(clean_lab)
    assert found(keyrotor, clean_lab) == []


def test_a_merge_conflict_without_a_mark_in_the_file(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """It can be decrypted again, and git still waits."""
    merge_two_edits(clean_lab)
    git(clean_lab, "checkout", "--quiet", "--ours", "--", str(clean_lab.secret_file))
    assert found(keyrotor, clean_lab) == ["file-conflict"]


def test_conflict_marks_that_were_committed(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """git knows of no conflict any more; the marks are there all the same."""
    merge_two_edits(clean_lab)
    commit(clean_lab)
    assert own(found(keyrotor, clean_lab)) == ["file-conflict"]


def rename_the_branch(lab: Lab) -> None:
    git(lab, "branch", "--move", "trunk")


def detach(lab: Lab) -> None:
    git(lab, "checkout", "--quiet", "--detach")


def forget_the_repository(lab: Lab) -> None:
    shutil.rmtree(lab.project / ".git")


def give_away(lab: Lab) -> None:
    """To another owner, with every fault that git could tell of."""
    if os.geteuid():
        pytest.skip("only root can give a folder away")
    sops_edit(lab)
    for path in (lab.project, lab.project / ".git"):
        os.chown(path, 12345, 12345)


FINE: dict[str, Callable[[Lab], None]] = {
    "another branch name": rename_the_branch,
    "no branch": detach,
    "no repository": forget_the_repository,
    "another's repository": give_away,
}


@pytest.mark.parametrize("arrange", FINE.values(), ids=FINE.keys())
def test_what_git_knows_nothing_of_is_no_finding(
    clean_lab: Lab, keyrotor: Keyrotor, arrange: Callable[[Lab], None]
) -> None:
    """Nor is a branch of any name."""
    arrange(clean_lab)
    assert found(keyrotor, clean_lab) == []


def test_where_there_is_no_git(clean_lab: Lab, keyrotor: Keyrotor, tmp_path: Path) -> None:
    """No program, no finding, no error."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("systemctl", "loginctl", "sh"):
        if path := shutil.which(name):
            (programs / name).symlink_to(path)
    sops_edit(clean_lab)
    assert found(keyrotor, clean_lab, env={"PATH": str(programs)}) == []


def test_a_file_that_sops_cannot_read_is_still_looked_at(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """CRLF: nothing can be decrypted, and a copy in clear is found by the key's name."""
    twin = clean_lab.secret_file.with_name("global.env")
    twin.write_text(f"{KEY}={clean_lab.current_key()}\n")
    clean_lab.secret_file.write_bytes(clean_lab.secret_file.read_bytes().replace(b"\n", b"\r\n"))
    ids = found(keyrotor, clean_lab)
    assert {"not-decrypted", "twin-beside"} <= set(ids)
    assert own(ids) == []


# -- the file in clear -----------------------------------------------------------------------------------------------


def decrypt_in_place(lab: Lab) -> None:
    """What somebody does for a moment, and forgets."""
    lab.run("sh", "-c", f"SOPS_AGE_KEY_FILE={lab.identity} {lab.sops} decrypt -i {lab.secret_file}")


def in_clear(keyrotor: Keyrotor, lab: Lab) -> dict[str, dict[str, str]]:
    """What is found, by id, where nothing can be decrypted; no mend is empty, none gives the file to git."""
    done = keyrotor(lab, "audit", "--json")
    seen = {finding["id"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert [each for each in seen.values() if not each["mend"].strip()] == []
    assert [each for each in seen.values() if "git commit" in each["mend"] or " add -- " in each["mend"]] == []
    assert not seen.keys() & {"file-uncommitted", "file-untracked", "twin-tracked", "twin-beside"}
    return seen


@pytest.mark.parametrize("standing", ["changed", "committed", "untracked"])
def test_the_file_itself_in_clear(clean_lab: Lab, keyrotor: Keyrotor, standing: str) -> None:
    """Nobody is told to commit it, nor to take it out of git as a copy of itself; what is told encrypts it again."""
    decrypt_in_place(clean_lab)
    if standing == "committed":
        commit(clean_lab)
    elif standing == "untracked":
        git(clean_lab, "rm", "--quiet", "--cached", "-f", str(clean_lab.secret_file))
        git(clean_lab, "commit", "--quiet", "--message", "forgotten")
    seen = in_clear(keyrotor, clean_lab)
    assert "file-in-clear" in seen
    assert "not-decrypted" not in seen  # one fault, one finding
    assert seen["file-in-clear"]["severity"] == "high"
    assert "keyrotor rotate" in seen["file-in-clear"]["mend"]
    typed(clean_lab, sopsed(clean_lab, seen["file-in-clear"]))
    git(clean_lab, "add", "--all")
    commit(clean_lab)
    assert found(keyrotor, clean_lab) == []


def test_a_value_in_clear_in_the_encrypted_file(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """Written there by hand, sops' own lines beside it: sops would not encrypt it twice, and git is not to have it."""
    for key in (KEY, "GRAFANA_TOKEN"):
        before = clean_lab.secret_file.read_bytes()
        lines = clean_lab.secret_file.read_text().splitlines(keepends=True)
        lines = [f"{key}={new_value()}\n" if line.startswith(f"{key}=") else line for line in lines]
        clean_lab.secret_file.write_text("".join(lines))
        seen = in_clear(keyrotor, clean_lab)
        assert "file-in-clear" in seen
        assert seen["file-in-clear"]["mend"].startswith("git -C ")
        assert " log " in seen["file-in-clear"]["mend"]
        clean_lab.secret_file.write_bytes(before)


def test_a_file_that_lost_what_sops_wrote_is_not_to_be_committed(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """Nothing in it is in clear, and nobody can read it ever again."""
    lines = clean_lab.secret_file.read_text().splitlines(keepends=True)
    clean_lab.secret_file.write_text("".join(line for line in lines if not line.startswith("sops_")))
    seen = in_clear(keyrotor, clean_lab)
    assert "not-decrypted" in seen
    assert "file-in-clear" not in seen


def test_a_file_in_clear_under_rules_that_say_nothing_of_it(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """sops must be told for whom it is to encrypt it."""
    decrypt_in_place(clean_lab)
    rules(clean_lab).write_text("creation_rules: []\n")
    assert " --age " in in_clear(keyrotor, clean_lab)["file-in-clear"]["mend"]


# -- copies in clear -------------------------------------------------------------------------------------------------

BESIDE = {
    "global.env": "{key}={value}\n",
    "global.enc.env~": "# secrets\nexport {key}='{value}'\n",
    "global.enc.env.bak": 'OTHER=1\r\n{key} = "{value}"\r\n',
    ".global.enc.env.swp": "b0VIM 9.0\0\x01\x02\0{key}={other}\0OTHER=1\0",
    "another-value.env": "{key}={other}\n",
    "whatever-it-is-called.json": '{{"gateway": "{value}"}}\n',
    "a-comment.example": "# {key}={value}\n",
    "no-text": "\0\udcff\udcfe{value}\0",
    "with-a-BOM.env": "\ufeff{key}={other}\n",
    "it's to be quoted.env": "{key}={value}\n",
}


def text_of(lab: Lab, template: str) -> bytes:
    words = {"key": KEY, "value": lab.current_key(), "other": new_value()}
    return template.format(**words).encode(errors="surrogateescape")


COPIES = {"global.env", "global.enc.env~", "global.enc.env.bak", ".global.enc.env.swp"}


def test_copies_in_clear_beside_the_file(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """Each is found; what is called like the file is shredded, as the finding says, and nothing else is."""
    folder = clean_lab.secret_file.parent
    for name, template in BESIDE.items():
        (folder / name).write_bytes(text_of(clean_lab, template))
    seen = findings(keyrotor, clean_lab)
    assert {(each["id"], each["place"]) for each in seen} == {("twin-beside", str(folder / name)) for name in BESIDE}
    offered = {Path(each["place"]).name for each in seen if "shred" in each["mend"]}
    assert offered == COPIES
    for each in seen:
        if "shred" in each["mend"]:
            typed(clean_lab, each)
        else:
            assert f"take {KEY} out of it" in each["mend"]
            Path(each["place"]).unlink()
    assert [path.name for path in folder.iterdir()] == ["global.enc.env"]
    assert found(keyrotor, clean_lab) == []


def test_a_copy_with_several_names_is_not_shredded(clean_lab: Lab, keyrotor: Keyrotor, tmp_path: Path) -> None:
    """Whatever reads it by the other name would read noise."""
    elsewhere = tmp_path / "in-use.env"
    elsewhere.write_text(f"{KEY}={new_value()}\n")
    os.link(elsewhere, clean_lab.secret_file.with_name("global.env"))
    (finding,) = findings(keyrotor, clean_lab)
    assert (finding["id"], "shred" in finding["mend"]) == ("twin-beside", False)


def test_the_live_env_file_under_another_name_is_no_copy(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """A hard link is the file itself."""
    os.link(clean_lab.env_file, clean_lab.secret_file.with_name("global.env"))
    assert [each for each in found(keyrotor, clean_lab) if each.startswith("twin")] == []


def test_the_env_file_of_another_playbook_is_no_copy(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """It is a place of the project; a third playbook that is broken changes nothing."""
    live = clean_lab.secret_file.with_name("global.env")
    live.write_text(f"{KEY}={clean_lab.current_key()}\n")
    live.chmod(0o600)
    text = clean_lab.playbook.read_text()
    head = text[: text.index("[[place]]", text.index("[[place]]") + 1)]
    head = head.replace('"litellm-master-key"', '"grafana-token"').replace(KEY, "GRAFANA_TOKEN")
    place = '[[place]]\nkind = "env-file"\npath = "secrets/global.env"\n'
    (clean_lab.playbook.parent / "grafana.toml").write_text(head + place)
    (clean_lab.playbook.parent / "broken.toml").write_text("[[")
    commit_all_but(clean_lab, live)
    assert found(keyrotor, clean_lab, "litellm-master-key") == []


def commit_all_but(lab: Lab, path: Path) -> None:
    (lab.project / ".git" / "info").mkdir(exist_ok=True)
    (lab.project / ".git" / "info" / "exclude").write_text(f"{path.name}\n")
    commit(lab)


HARMLESS = {
    ".env.example": "{key}={other}\n",
    "README.md": "{key}={other}\n",
    "placeholders.env": "{key}=<your master key here>\n{key}=sk-your-key-goes-here\n",
    "short.env": "{key}=sk-1234\n",
    ".envrc": 'export {key}="$(sops decrypt --extract x global.enc.env)"\n{key}=${{OTHER_LONG_NAME}}\n',
    "vault.env": "{key}=op://vault/litellm/master-key\n",
    "templates.env": "{key}={{{{ vault_litellm_master_key }}}}\n{key}=%(litellm_master_key)s\n{key}=@MASTER_KEY@\n",
    "names.env": "{key}=__LITELLM_MASTER_KEY__\n{key}=LITELLM_MASTER_KEY_FROM_CI\n{key}=litellm-master-key-v2\n",
    "references.env": "{key}=vault:secret/data/litellm#key\n{key}=/run/secrets/litellm_key\n{key}=file:/run/litellm\n",
    "jinja.env": "{key}='sk-{{{{ litellm_master_key }}}}'\n{key}=sk-${{LITELLM_MASTER_KEY_SUFFIX}}\n",
    "empty.env": "{key}=\n{key}=''\n",
    "other.enc.env": "{key}=ENC[AES256_GCM,data:abcdefgh,iv:abcdefgh,tag:abcdefgh,type:str]\n",
    "other-keys.env": "MY_{key}={other}\n{key}_OLD={other}\n",
    "comment.env": "# {key}={other}\n",
}


def test_what_only_looks_like_a_copy(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """An example, a reference, a placeholder, beside or tracked: nothing that lets anybody in."""
    for name, template in HARMLESS.items():
        clean_lab.secret_file.with_name(name).write_bytes(text_of(clean_lab, template))
    assert findings(keyrotor, clean_lab) == []
    commit(clean_lab)
    assert findings(keyrotor, clean_lab) == []


def test_what_is_too_large_or_no_file_is_passed_over(clean_lab: Lab, keyrotor: Keyrotor, tmp_path: Path) -> None:
    """A huge file, a pipe, a folder, a link to elsewhere: an audit neither reads nor waits for them."""
    folder, value = clean_lab.secret_file.parent, clean_lab.current_key()
    with (folder / "huge.env").open("wb") as huge:
        huge.write(f"{KEY}={value}\n".encode())
        huge.truncate(1 << 32)
    os.mkfifo(folder / "pipe.env")
    (folder / "folder.env").mkdir()
    elsewhere = tmp_path / "elsewhere.env"
    elsewhere.write_text(f"{KEY}={value}\n")
    (folder / "link.env").symlink_to(elsewhere)
    (folder / "broken.env").symlink_to("nowhere")
    assert found(keyrotor, clean_lab) == []


def test_a_copy_among_very_many_files_is_found_by_its_name(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """Those that are called like the file, or like an env file, are read first."""
    folder = clean_lab.secret_file.parent
    for at in range(400):
        (folder / f"a{at}.txt").write_text("x")
    (folder / "zz.env").write_text(f"{KEY}={clean_lab.current_key()}\n")
    assert found(keyrotor, clean_lab) == ["twin-beside"]


TRACKED = [".env", "deploy/prod.env", "deploy/.env.local", "app/.envrc", "global.env.bak", "secrets/notes.txt"]


def test_copies_in_clear_that_git_tracks(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """Anywhere in the repository; those beside the file are found once, as tracked, and again when git has let go."""
    twins = [clean_lab.project / name for name in TRACKED]
    for twin in twins:
        twin.parent.mkdir(parents=True, exist_ok=True)
        twin.write_text(f"export {KEY}={new_value()}\n")
    commit(clean_lab)
    seen = findings(keyrotor, clean_lab)
    assert {(each["id"], each["place"]) for each in seen} == {("twin-tracked", str(twin)) for twin in twins}
    for each in seen:
        typed(clean_lab, each)
    assert found(keyrotor, clean_lab) == ["twin-beside"]


def test_a_tracked_copy_that_was_only_deleted(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """It is in git as long as nobody has told git."""
    twin = clean_lab.project / ".env"
    twin.write_text(f"{KEY}={clean_lab.current_key()}\n")
    commit(clean_lab)
    twin.unlink()
    assert found(keyrotor, clean_lab) == ["twin-tracked"]
    git(clean_lab, "rm", "--quiet", "--cached", ".env")
    assert found(keyrotor, clean_lab) == []


@pytest.mark.parametrize("which", ["the folder is gone", "staged and changed again", "a name with wild cards"])
def test_a_tracked_copy_leaves_git_as_the_finding_says(clean_lab: Lab, keyrotor: Keyrotor, which: str) -> None:
    """Whatever has become of it meanwhile; and nothing else leaves git."""
    twin = clean_lab.project / "old" / ("*.env" if "wild" in which else "it's.env")
    twin.parent.mkdir()
    twin.write_text(f"{KEY}={new_value()}\n")
    (twin.parent / "harmless.env").write_text("A=1\n")
    commit(clean_lab)
    if which == "the folder is gone":
        shutil.rmtree(twin.parent)
    elif which == "staged and changed again":
        twin.write_text(f"{KEY}={new_value()}\n")
        git(clean_lab, "add", "--all")
        twin.write_text("# it is gone\n")
    (finding,) = findings(keyrotor, clean_lab)
    assert finding["id"] == "twin-tracked"
    typed(clean_lab, finding)
    assert found(keyrotor, clean_lab) == []
    assert "old/harmless.env" in git(clean_lab, "ls-files")


def test_an_env_file_elsewhere_that_git_does_not_track(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """What a developer keeps for himself is not searched for; `clients discover` does that."""
    (clean_lab.project / ".env").write_text(f"{KEY}={clean_lab.current_key()}\n")
    assert found(keyrotor, clean_lab) == []


# -- files that hold the value ---------------------------------------------------------------------------------------


def holder(lab: Lab, which: str) -> Path:
    return lab.env_file if which == "env file" else lab.settings


@pytest.mark.parametrize("which", ["env file", "client file"])
def test_a_file_with_the_key_that_others_can_read(clean_lab: Lab, keyrotor: Keyrotor, which: str) -> None:
    """By its mode alone, whatever the folders above; closed as the finding says."""
    kinds = {0o640: ("readable-by-group", "medium"), 0o604: ("readable", "high"), 0o644: ("readable", "high")}
    for mode, kind in kinds.items():
        holder(clean_lab, which).chmod(mode)
        (finding,) = findings(keyrotor, clean_lab)
        assert (finding["id"], finding["severity"]) == kind
        assert ("every user of this machine" in finding["why"]) == (mode != 0o640)
        assert f"(mode {mode:04o})" in finding["text"]
        typed(clean_lab, finding)
        assert found(keyrotor, clean_lab) == []


def test_a_former_key_that_others_can_read(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """Beside the drift."""
    former = clean_lab.settings.read_bytes()
    assert keyrotor(clean_lab, "rotate", "--yes").returncode == 0
    commit(clean_lab)
    clean_lab.settings.write_bytes(former)
    clean_lab.settings.chmod(0o644)
    assert sorted(found(keyrotor, clean_lab)) == ["drift-former", "readable"]


def test_a_key_in_a_comment_that_others_can_read(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """It lets in whoever reads it there."""
    value = clean_lab.current_key()
    text = clean_lab.settings.read_text().replace(value, f"${{{KEY}}}")
    clean_lab.settings.write_text(f"// was {value}\n{text}")
    clean_lab.settings.chmod(0o644)
    assert found(keyrotor, clean_lab) == ["readable", "value-loose"]


def test_a_reference_may_be_read_by_everybody(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """There is nothing to read."""
    edit(clean_lab.settings, clean_lab.current_key(), f"${{{KEY}}}")
    clean_lab.settings.chmod(0o644)
    assert found(keyrotor, clean_lab) == []


def test_a_client_file_behind_a_link_is_judged_by_the_file(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """A link's own mode says nothing."""
    real = clean_lab.home / "dotfiles" / "settings.json"
    real.parent.mkdir()
    clean_lab.settings.rename(real)
    clean_lab.settings.symlink_to(real)
    assert found(keyrotor, clean_lab) == []
    real.chmod(0o644)
    assert found(keyrotor, clean_lab) == ["readable"]


def dotfiles(lab: Lab, *, behind_a_link: bool) -> Path:
    """A repository of the user's own with the client's settings in it."""
    folder = lab.home / "dotfiles" if behind_a_link else lab.settings.parent
    folder.mkdir(exist_ok=True)
    if behind_a_link:
        lab.settings.rename(folder / "settings.json")
        lab.settings.symlink_to(folder / "settings.json")
    lab.run("git", "-C", str(folder), "init", "--quiet", "--template=")
    lab.run("git", "-C", str(folder), "add", "--all")
    return folder


@pytest.mark.parametrize("behind_a_link", [False, True])
def test_a_client_file_with_the_key_that_git_tracks(clean_lab: Lab, keyrotor: Keyrotor, behind_a_link: bool) -> None:
    """In its own repository, be it through a link; no more once there is a reference, or it is not tracked."""
    folder = dotfiles(clean_lab, behind_a_link=behind_a_link)
    (finding,) = findings(keyrotor, clean_lab)
    assert finding["id"] == "client-tracked"
    assert f"${{{KEY}}}" in finding["mend"]
    lab_git = ("git", "-C", str(folder))
    clean_lab.run(*lab_git, "rm", "--quiet", "--cached", "settings.json")
    assert found(keyrotor, clean_lab) == []
    clean_lab.run(*lab_git, "add", "--all")
    edit(clean_lab.settings, clean_lab.current_key(), f"${{{KEY}}}")
    assert found(keyrotor, clean_lab) == []


def test_a_client_file_in_the_repository_of_the_secret(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """One finding, not two: it is a place, so it is no copy."""
    path = clean_lab.project / "client.env"
    path.write_text(f"{KEY}={clean_lab.current_key()}\n")
    path.chmod(0o600)
    add_place(clean_lab, 'kind = "client-file"\npath = "client.env"')
    commit(clean_lab)
    assert found(keyrotor, clean_lab) == ["client-tracked"]


def test_an_env_file_that_git_tracks(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """Not mended by a reference: the file is to leave git, as the finding says."""
    folder = clean_lab.env_file.parent
    clean_lab.run("git", "-C", str(folder), "init", "--quiet", "--template=")
    clean_lab.run("git", "-C", str(folder), "add", "--all")
    (finding,) = findings(keyrotor, clean_lab)
    assert finding["id"] == "twin-tracked"
    assert shlex.quote(str(folder)) in finding["mend"]
    typed(clean_lab, finding)
    assert found(keyrotor, clean_lab) == []


def test_an_env_file_beside_the_encrypted_one_is_no_copy(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """It is where the playbook wants it; a second client in the same folder is none either."""
    client = clean_lab.secret_file.with_name("client.env")
    client.write_text(f"{KEY}={clean_lab.current_key()}\n")
    client.chmod(0o600)
    add_place(clean_lab, 'kind = "client-file"\npath = "secrets/client.env"')
    assert found(keyrotor, clean_lab) == []


# -- all of it -------------------------------------------------------------------------------------------------------


def test_the_looks_touch_nothing(clean_lab: Lab, keyrotor: Keyrotor) -> None:
    """With every fault seeded at once; and the value is in no argument of any child."""
    edit(rules(clean_lab), recipient(clean_lab), identity())
    (clean_lab.project / ".env").write_text(f"{KEY}={clean_lab.current_key()}\n")
    commit(clean_lab)
    clean_lab.secret_file.with_name("global.env").write_text(f"{KEY}={clean_lab.current_key()}\n")
    sops_edit(clean_lab)
    clean_lab.settings.chmod(0o644)
    dotfiles(clean_lab, behind_a_link=False)
    said, argv = clean_lab.root / "gateway" / "argv", clean_lab.root / "programs"
    argv.mkdir()
    (argv / "git").write_text(f'#!/bin/sh\necho "$@" >> {said}\nexec {shutil.which("git")} "$@"\n')
    (argv / "git").chmod(0o700)
    before = tree(clean_lab)
    ids = found(keyrotor, clean_lab, env={"PATH": f"{argv}:{os.environ['PATH']}"})
    wanted = ["client-tracked", "file-uncommitted", "readable", "recipients-differ", "twin-beside", "twin-tracked"]
    assert sorted(ids) == wanted
    assert differing(before, tree(clean_lab)) == []
    assert KEY in said.read_text()
    assert clean_lab.current_key() not in said.read_text()
