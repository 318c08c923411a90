"""`sweep` on a real lab: the former key is planted in every hiding place, and every plant is found; no key is shown."""

from __future__ import annotations

import base64
import bz2
import gzip
import hashlib
import io
import json
import lzma
import os
import pty
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from on_lab import SRC, Keyrotor, MakeLab, add_command, edit, new_value

from keyrotor.core.swept import MOST
from keyrotor.demo.build import AUTHOR
from keyrotor.demo.lab import Lab

NOBODY = 65534


def written(value: str) -> dict[str, bytes]:
    """The value in every form that leaks have, by the form's name."""
    raw = value.encode()
    return {
        "as it is": b"x = " + raw + b"\n",
        "bearer": b"Authorization: Bearer " + raw + b"\r\n",
        "basic": b"Authorization: Basic " + base64.b64encode(b"user:" + raw),
        **{f"base64 {shift}": base64.b64encode(b"a" * shift + raw + b"tail") for shift in range(3)},
        "url": b"?key=" + b"".join(b"%%%02X" % byte for byte in raw),
        "json": b'{"k": "' + "".join(f"\\u{byte:04x}" for byte in raw).encode() + b'"}',
        "shell": value.replace("-", "\\x2d").encode(),
        "hex": raw.hex().encode(),
        "sha256": hashlib.sha256(raw).hexdigest().encode(),
        "utf-16": value.encode("utf-16"),
    }


def tarred(name: str, data: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        about = tarfile.TarInfo(name)
        about.size = len(data)
        archive.addfile(about, io.BytesIO(data))
    return out.getvalue()


def zipped(name: str, data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data * 3)
    return out.getvalue()


def files_with(value: str) -> dict[str, bytes]:
    """What is planted in files of a home, by its path there."""
    raw = value.encode()
    return {
        **{f"forms/{name}.txt": data for name, data in written(value).items()},
        "binary.bin": os.urandom(3000) + b"\0" + raw + b"\0" + os.urandom(3000),
        "large.bin": os.urandom(5 << 20) + raw + os.urandom(1 << 20),
        "packed/a.gz": gzip.compress(b"log " + raw),
        "packed/a.bz2": bz2.compress(b"log " + raw),
        "packed/a.xz": lzma.compress(b"log " + raw),
        "packed/a.zip": zipped("inner.txt", raw),
        "packed/a.tar": tarred("inner.gz", gzip.compress(raw)),
        "packed/a.tar.gz": gzip.compress(tarred("inner.txt", raw)),
        ".bash_history": b"export KEY=" + raw,
        ".zsh_history": b": 1700000000:0;curl -H 'Authorization: Bearer " + raw + b"'\n",
        ".local/share/fish/fish_history": b"- cmd: echo " + raw,
        ".python_history": b"key = '" + raw + b"'",
        ".settings.json.swp": b"b0VIM 9.0\0" + raw,
        "settings.json~": raw,
        "#draft.txt#": raw,
        ".vim/undo/%home%x": b"Vim\x9fUnDo\xe5" + raw,
        ".config/Code/User/History/1a2b/x.json": raw,
        ".local/share/Trash/files/old.env": raw,
        ".local/share/klipper/history2.lst": raw,
        "tmp/download": raw,
        f"named-{value}": b"nothing",
        "with space/new\nline 'quote.txt": raw,
    }


def plant(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def git(folder: Path, *words: str, stdin: bytes = b"") -> str:
    done = subprocess.run(
        ["git", *AUTHOR, *words], cwd=folder, input=stdin, capture_output=True, check=True, env=git_env(folder)
    )
    return done.stdout.decode().strip()


def git_env(folder: Path) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": str(folder), "GIT_CONFIG_GLOBAL": "/dev/null"}


def commit(repo: Path, name: str, data: bytes) -> str:
    (repo / name).write_bytes(data)
    git(repo, "add", "--force", name)
    git(repo, "commit", "--quiet", "--no-verify", "-m", f"change {len(name)}")
    return git(repo, "rev-parse", f"HEAD:{name}")


def planted_repository(repo: Path, value: bytes) -> dict[str, str]:
    """A repository that hides the value in every way; the object of each plant, by what git can say of it."""
    repo.mkdir(parents=True)
    git(repo, "init", "--quiet", "--initial-branch=main")
    commit(repo, "readme", b"hello\n")
    removed = commit(repo, "removed.txt", b"a " + value)
    packed = commit(repo, "archive.gz", gzip.compress(b"packed twice " + value))
    git(repo, "rm", "--quiet", "removed.txt", "archive.gz")
    git(repo, "commit", "--quiet", "-m", "nothing to see")
    git(repo, "gc", "--quiet")
    (repo / "readme").write_bytes(b"stashed " + value)
    git(repo, "stash")
    stashed = git(repo, "rev-parse", "stash@{0}:readme")
    (repo / "readme").write_bytes(b"stashed later")
    git(repo, "stash")
    reset = commit(repo, "reset.txt", b"reset " + value)
    git(repo, "reset", "--quiet", "--hard", "HEAD~1")
    lost = git(repo, "hash-object", "-w", "--stdin", stdin=b"lost " + value)
    (repo / "staged.txt").write_bytes(b"staged " + value)
    git(repo, "add", "staged.txt")
    staged = git(repo, "rev-parse", ":staged.txt")
    (repo / "staged.txt").unlink()
    return {
        removed: "a branch or a tag",
        packed: "a branch or a tag",
        stashed: "a stash",
        reset: "the reflog",
        staged: "the index",
        lost: "nothing leads to it",
    }


def timer_env(lab: Lab, programs: Path | None = None) -> dict[str, str]:
    """What a unit's process has, and nothing of a terminal's."""
    kept = ("HOME", "LANG", "XDG_RUNTIME_DIR", "SOPS_AGE_KEY_FILE", "KEYROTOR_SOPS", "KEYROTOR_STATE_DIR")
    env = {name: text for name, text in lab.environment().items() if name in (*kept, "PYTHON_KEYRING_BACKEND")}
    path = os.environ["PATH"]
    return {**env, "PATH": f"{programs}:{path}" if programs else path, "PYTHONPATH": str(SRC)}


def swept(lab: Lab, *arguments: str, programs: Path | None = None, **how: Any) -> subprocess.CompletedProcess[bytes]:
    how.setdefault("input", b"")
    return subprocess.run(
        [sys.executable, "-m", "keyrotor", "sweep", *arguments],
        cwd=lab.project,
        env=timer_env(lab, programs),
        capture_output=True,
        check=False,
        start_new_session=True,
        timeout=100,
        **how,
    )


def shows(done: subprocess.CompletedProcess[bytes], *values: str) -> list[str]:
    """Every stretch of 8 characters of a value that was printed, in any form."""
    said = done.stdout + done.stderr
    needles = [form for value in values for form in written(value).values()]
    pieces = [value[at : at + 8].encode() for value in values for at in range(3, len(value) - 7)]
    return [repr(each) for each in (*needles, *pieces) if each in said]


def hits(done: subprocess.CompletedProcess[bytes]) -> list[dict[str, Any]]:
    assert done.returncode in (0, 10), (done.returncode, done.stderr)
    found: list[dict[str, Any]] = json.loads(done.stdout)["hits"]
    return found


def fake_journal(folder: Path, entries: bytes, *, said: str = "", code: int = 0) -> Path:
    """A `journalctl` that prints these entries: there is no journald where the tests run."""
    folder.mkdir(parents=True)
    (folder / "entries").write_bytes(entries)
    program = folder / "journalctl"
    program.write_text(f'#!/bin/sh\ncat "{folder}/entries"\n[ -z "{said}" ] || echo "{said}" >&2\nexit {code}\n')
    program.chmod(0o755)
    return folder


def entry(message: bytes, unit: str, at: int = 1_700_000_000_000_000) -> bytes:
    fields = (f"__CURSOR=s={at}", f"__REALTIME_TIMESTAMP={at}", "_COMM=python", f"_SYSTEMD_USER_UNIT={unit}")
    body = b"MESSAGE\n" + len(message).to_bytes(8, "little") + message + b"\n"
    return "\n".join(fields).encode() + b"\n" + body + b"\n"


@pytest.fixture
def rotated(lab: Lab, keyrotor: Keyrotor) -> tuple[Lab, str, str]:
    """A lab whose key was just rotated, the former value and the present one."""
    former = lab.current_key()
    assert keyrotor(lab, "rotate", "--yes").returncode == 0
    return lab, former, lab.current_key()


@pytest.fixture
def leaky_process() -> Iterator[Any]:
    started: list[subprocess.Popen[bytes]] = []

    def start(**env: str) -> int:
        started.append(subprocess.Popen(["/bin/sleep", "300"], env=env, start_new_session=True))
        return started[-1].pid

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_every_plant_is_found_and_none_is_shown(
    rotated: tuple[Lab, str, str], tmp_path: Path, leaky_process: Any
) -> None:
    """The former value in files, archives, git, histories, swap files, a process and a journal (a fake one), looked for
    from a timer's environment: each is found, told as what it is, and neither key is printed."""
    lab, former, present = rotated
    files = files_with(former)
    plant(lab.home, files)
    objects = planted_repository(lab.home / "code" / "some repo", former.encode())
    pid = leaky_process(LEAKED=former)
    journal = entry(b"hello", "quiet.service") * 20000 + entry(b"key " + former.encode(), "loud.service") * 3
    programs = fake_journal(tmp_path / "programs", journal)

    done = swept(lab, "--json", str(lab.root), programs=programs)
    found = hits(done)
    assert done.returncode == 10
    leaks = [hit for hit in found if not hit["whose"]]
    for name in files:
        if former in name:
            assert any("named-[redacted]" in hit["where"] for hit in leaks)
            continue
        where = f"{lab.home}/{name}".replace("\n", "\\n")
        assert [hit for hit in leaks if hit["where"].partition(" › ")[0] == where], name
    in_git = {hit["where"].rpartition(":")[2][:12]: hit["note"] for hit in leaks if "/some repo:" in hit["where"]}
    for name, known in objects.items():
        assert known in in_git[name[:12]], (known, in_git)
    assert any(hit["kind"] == "process" and f"process {pid} " in hit["where"] for hit in leaks)
    (said,) = [hit for hit in leaks if hit["kind"] == "journal"]
    assert ("loud.service" in said["where"], said["count"]) == (True, 3)
    notes = {hit["where"].removeprefix(f"{lab.home}/"): hit["note"] for hit in leaks}
    assert notes[".bash_history"].startswith("shell history")
    assert notes[".settings.json.swp"].startswith("editor swap")
    assert {hit["whose"] for hit in found} == {""}, "no false hit among the places"
    assert not json.loads(done.stdout)["doubts"]

    told = swept(lab, str(lab.root), programs=programs)
    assert told.returncode == 10
    assert b"in the systemd journal:" in told.stdout
    assert shows(done, former, present) == shows(told, former, present) == []


def test_the_present_value_in_its_places_is_no_leak(rotated: tuple[Lab, str, str]) -> None:
    """Env file, client file and the gateway's own process hold the present key: told as places, and nothing else is."""
    lab, former, present = rotated
    done = swept(lab, "--value-from", "current", "--json", str(lab.root))
    assert done.returncode == 0, done.stderr
    whose = {hit["whose"] for hit in hits(done)}
    assert {"place env-file", "place client-file", "place systemd-unit"} <= whose
    assert "" not in whose
    assert shows(done, former, present) == []


def test_a_place_that_still_holds_the_former_value_is_drift(rotated: tuple[Lab, str, str]) -> None:
    """It is told apart from leaks, with the command that mends it."""
    lab, former, present = rotated
    edit(lab.settings, present, former)
    done = swept(lab, "--json", "--files-only", str(lab.root))
    (hit,) = hits(done)
    assert (hit["whose"], done.returncode) == ("place client-file", 0)
    assert "keyrotor repair" in hit["note"]


def test_a_forgotten_value_is_looked_for_only_if_it_is_given(rotated: tuple[Lab, str, str], keyrotor: Keyrotor) -> None:
    """Refused with the way to give it; then it is found by what comes on standard input."""
    lab, former, present = rotated
    assert keyrotor(lab, "forget", "--yes").returncode == 0
    refused = swept(lab, "--files-only", str(lab.home))
    assert (refused.returncode, b"forgotten" in refused.stderr) == (3, True)
    assert b"--value-from stdin" in refused.stderr
    plant(lab.home, {"notes": former.encode()})
    given = ("--value-from", "stdin", "--files-only", "--json", str(lab.home))
    done = swept(lab, *given, input=former.encode() + b"\n")
    (hit,) = [hit for hit in hits(done) if not hit["whose"]]
    assert (hit["value"], hit["where"]) == ("given", f"{lab.home}/notes")
    told = {hit["value"] for hit in hits(swept(lab, *given, input=present.encode()))}
    assert told == {"current"}
    assert shows(done, former, present) == []


@pytest.mark.parametrize("value", [b"", b"short", b"with a space in the middle"])
def test_a_value_that_would_be_found_everywhere_is_refused(make_lab: MakeLab, value: bytes) -> None:
    """It is not looked for, and not repeated."""
    lab = make_lab(unit=False, start=False)
    done = swept(lab, "--value-from", "stdin", str(lab.home), input=value)
    assert done.returncode == 3
    assert not value or value not in done.stdout + done.stderr


def test_several_former_values_are_all_looked_for(rotated: tuple[Lab, str, str], keyrotor: Keyrotor) -> None:
    """Each by the run that replaced it; what a run that was rolled back had made counts as well."""
    lab, first, second = rotated
    assert keyrotor(lab, "rotate", "--yes").returncode == 0
    runs = [each["run"] for each in json.loads(keyrotor(lab, "log", "--json").stdout)["runs"]]
    plant(lab.home, {"one": first.encode(), "two": second.encode()})
    found = hits(swept(lab, "--files-only", "--json", str(lab.home)))
    told = {hit["where"].rpartition("/")[2]: hit["value"].removeprefix("former ") for hit in found}
    assert {told["one"], told["two"]} == set(runs)
    third = lab.current_key()
    newest = told["two"]
    assert keyrotor(lab, "rollback", newest, "--yes").returncode == 0
    plant(lab.home, {"three": third.encode()})
    again = hits(swept(lab, "--files-only", "--json", str(lab.home)))
    leaks = {hit["where"].rpartition("/")[2] for hit in again if not hit["whose"]}
    assert leaks == {"one", "two", "three"} - {"two"}, "the second one is the present one again"


def test_after_a_run_that_was_abandoned_the_value_that_is_not_present_is_looked_for(
    lab: Lab, keyrotor: Keyrotor
) -> None:
    """Nobody knows how it ended, but for the encrypted file."""
    former = lab.current_key()
    add_command(lab, "exit 1")
    assert keyrotor(lab, "rotate", "--yes").returncode == 21
    run = json.loads(keyrotor(lab, "log", "--json").stdout)["runs"][0]["run"]
    assert keyrotor(lab, "abandon", run, "--reason", "a test").returncode == 0
    present = lab.current_key()
    name = f"former {run}" if present != former else f"former {run} (new)"
    done = swept(lab, "--files-only", "--json", str(lab.config))
    assert json.loads(done.stdout)["values"] == [name]


# -- hostile and odd ground, without a gateway ------------------------------------------------------------------------


@pytest.fixture
def ground(make_lab: MakeLab) -> tuple[Lab, str]:
    """A lab that does not run, and a value of nobody's."""
    return make_lab(unit=False, start=False), new_value()


def given(lab: Lab, value: str, *arguments: str, **how: Any) -> subprocess.CompletedProcess[bytes]:
    return swept(lab, "--value-from", "stdin", "--json", *arguments, input=value.encode(), **how)


def test_a_root_may_be_a_file_but_not_gone(ground: tuple[Lab, str]) -> None:
    """A file is looked through; a path that is not there is a mistake that is told at once."""
    lab, value = ground
    plant(lab.home, {"one": value.encode(), "other": value.encode()})
    (hit,) = hits(given(lab, value, "--files-only", str(lab.home / "one")))
    assert hit["where"] == f"{lab.home}/one"
    gone = given(lab, value, str(lab.home / "gone"))
    assert (gone.returncode, b"no such file or folder" in gone.stderr) == (2, True)


def test_a_hostile_repository_runs_nothing_and_is_looked_through(ground: tuple[Lab, str]) -> None:
    """Monitor, pager, textconv, filter, remote helper: nothing of it is run, not even to fetch a tree that is missing;
    and the object is found."""
    lab, value = ground
    repo, mark = lab.home / "hostile", lab.home / "was-run"
    repo.mkdir()
    git(repo, "init", "--quiet")
    commit(repo, "first.txt", b"x")
    tree = git(repo, "rev-parse", "HEAD^{tree}")
    (repo / ".gitattributes").write_text("* filter=evil diff=evil\n")
    blob = commit(repo, "a.txt", b"x " + value.encode())
    for key in (
        *("core.fsmonitor", "core.pager", "pager.cat-file", "pager.rev-list", "diff.evil.textconv", "core.sshCommand"),
        *("filter.evil.smudge", "filter.evil.clean", "core.alternateRefsCommand", "core.editor", "diff.external"),
    ):
        git(repo, "config", key, f"touch {mark}; false")
    git(repo, "config", "extensions.partialClone", "evil")
    git(repo, "config", "core.repositoryFormatVersion", "1")
    git(repo, "config", "remote.evil.url", f"ext::touch {mark}")
    git(repo, "config", "protocol.ext.allow", "always")
    git(repo, "config", "remote.evil.promisor", "true")
    (repo / ".git" / "objects" / tree[:2] / tree[2:]).unlink()
    found = hits(given(lab, value, str(repo)))
    assert [hit for hit in found if hit["where"].endswith(f":{blob[:12]}") and "branch" in hit["note"]]
    assert not mark.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another's repository")
def test_another_users_repository_is_told_and_not_read(ground: tuple[Lab, str]) -> None:
    """git refuses it; that is no silence."""
    lab, value = ground
    repo = lab.home / "theirs"
    repo.mkdir()
    git(repo, "init", "--quiet")
    commit(repo, "a.txt", value.encode())
    (repo / "a.txt").unlink()
    for path in (repo, *repo.rglob("*")):
        os.lchown(path, NOBODY, NOBODY)
    done = given(lab, value, "--files-only", str(repo))
    assert hits(done) == []
    (unreadable,) = [each for each in json.loads(done.stdout)["unreadable"] if str(repo) in each]
    assert "another user's" in unreadable


def owned_by_nobody(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        os.lchown(path, NOBODY, NOBODY)


def one_leak(repo: Path, value: str) -> str:
    """A repository that has held the value in one object; its name."""
    repo.mkdir(parents=True)
    git(repo, "init", "--quiet", "--initial-branch=main")
    blob = commit(repo, "a.txt", value.encode())
    (repo / "a.txt").write_text("clean")
    git(repo, "commit", "--quiet", "--all", "-m", "clean")
    return blob[:12]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another's repository")
@pytest.mark.parametrize("how", ["borrows", "points there", "is in another"])
def test_a_repository_that_git_refuses_hides_no_other(ground: tuple[Lab, str], how: str) -> None:
    """Another user's borrows its objects, or says that it is one of its work trees: it is read all the same. And what
    git takes for a part of the one around it is not called read."""
    lab, value = ground
    blob = one_leak(lab.home / "z victim", value)
    other = lab.home / "a hostile"
    if how == "borrows":
        git(lab.home, "clone", "--quiet", "--shared", "z victim", "a hostile")
    elif how == "points there":
        for name in ("objects", "refs"):
            (other / name).mkdir(parents=True)
        plant(other, {"HEAD": b"ref: refs/heads/main\n", "commondir": bytes(lab.home / "z victim" / ".git") + b"\n"})
    else:
        other = lab.home / "z victim" / "inner"
        one_leak(other, value + "x")
        (other / ".git" / "HEAD").write_text("no reference")
    if how != "is in another":
        owned_by_nobody(other)
    done = given(lab, value, "--files-only", str(lab.home))
    assert [hit["where"].rpartition(":")[2] for hit in hits(done) if hit["kind"] == "git"] == [blob]
    told = json.loads(done.stdout)["unreadable"]
    assert [each for each in told if str(other) in each] or how == "points there", told


@pytest.mark.parametrize(
    "name", ["commondir", "config", "HEAD", "objects/info/alternates", "refs/heads/x", f"objects/aa/{'0' * 38}"]
)
def test_a_pipe_in_a_repository_keeps_nobody_waiting(ground: tuple[Lab, str], name: str) -> None:
    """Anybody may plant one where git would open it; what is in other repositories is found."""
    lab, value = ground
    blob, _ = one_leak(lab.home / "good", value), one_leak(lab.home / "trap", value)
    path = lab.home / "trap" / ".git" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    done = given(lab, value, "--files-only", str(lab.home), preexec_fn=lambda: signal.alarm(30))
    found = [hit["where"] for hit in hits(done) if hit["kind"] == "git"]
    assert f"{lab.home}/good:{blob}" in found
    told = json.loads(done.stdout)
    # Without a HEAD it is no repository: all that is in it is looked through as files, and the pipe is counted.
    assert any("/trap" in each for each in told["unreadable"]) or (name == "HEAD" and told["skipped"]), told


def test_what_git_has_not_finished_writing_is_looked_through(ground: tuple[Lab, str]) -> None:
    """An object under a name of git's own, one of a push that was never accepted, and a stray file; a pipe among them
    is opened by nobody."""
    lab, value = ground
    store = lab.home / "repo" / ".git" / "objects"
    (lab.home / "repo").mkdir()
    git(lab.home / "repo", "init", "--quiet")
    loose = zlib.compress(b"blob 99\0" + value.encode())
    names = ("aa/tmp_obj_x", f"tmp_objdir-incoming-y/bb/{'0' * 38}")
    pack = "tmp_objdir-incoming-y/pack/pack-1.pack"
    plant(store, {**dict.fromkeys(names, loose), "stray": value.encode(), pack: b"x"})
    os.mkfifo(store / f"tmp_objdir-incoming-y/bb/{'1' * 38}")
    done = given(lab, value, "--files-only", str(lab.home), preexec_fn=lambda: signal.alarm(30))
    assert {hit["where"] for hit in hits(done)} == {f"{store}/{name}" for name in (*names, "stray")}
    assert [what for what in json.loads(done.stdout)["skipped"] if "packs that git has not finished" in what]


def test_a_zip_behind_a_program_in_git_is_unpacked(ground: tuple[Lab, str]) -> None:
    """A zipapp that was committed."""
    lab, value = ground
    repo = lab.home / "repo"
    repo.mkdir()
    git(repo, "init", "--quiet")
    blob = commit(repo, "app.pyz", b"#!/usr/bin/python3\n" + zipped("inner.txt", value.encode()))
    (repo / "app.pyz").unlink()
    (hit,) = hits(given(lab, value, "--files-only", str(lab.home)))
    assert hit["where"] == f"{repo}:{blob[:12]} › inner.txt"


def test_the_commands_beside_a_hit_in_git_show_it(ground: tuple[Lab, str]) -> None:
    """In a file, a message, an author, a tag, a name: what is offered is typed, and says something."""
    lab, value = ground
    repo = lab.home / "a repo's"
    one_leak(repo, value)
    git(repo, "commit", "--quiet", "--allow-empty", "-m", f"the key is {value}")
    git(repo, "commit", "--quiet", "--allow-empty", "-m", "author", f"--author={value} <a@example.org>")
    git(repo, "tag", "-a", "-m", f"release with {value}", "v1", "HEAD~1")
    commit(repo, f"named-{value}", b"nothing")
    (repo / "sub").mkdir()
    commit(repo, f"sub/{value}", b"nothing")
    found = [hit for hit in hits(given(lab, value, "--files-only", str(repo))) if hit["kind"] == "git"]
    kinds = [hit["note"].split()[0].rstrip(",") for hit in found]
    assert sorted(set(kinds)) == ["blob", "commit", "tag", "tree"], kinds
    assert kinds.count("commit") == 2
    for kind, hit in zip(kinds, found, strict=True):
        for command in hit["note"].partition(": ")[2].split("; "):
            said = subprocess.run(["sh", "-c", command], capture_output=True, check=False, env=git_env(lab.home))
            assert said.stdout.strip(), (kind, command, said.stderr)
            assert value.encode() in said.stdout or "cat-file -p" not in command


def test_no_name_makes_a_leak_look_like_a_place(rotated: tuple[Lab, str, str]) -> None:
    """A file beside the client file whose name goes on as a member's would."""
    lab, former, _ = rotated
    fake = lab.settings.with_name(f"{lab.settings.name} › member")
    fake.write_text(former)
    done = swept(lab, "--json", "--files-only", str(lab.root))
    (hit,) = hits(done)
    assert (hit["where"], hit["whose"], done.returncode) == (str(fake), "", 10)


def test_a_root_that_is_called_by_the_value_is_not_shown(ground: tuple[Lab, str]) -> None:
    """Nor does one whose name is no text end the answer."""
    lab, value = ground
    folder = Path(os.fsdecode(bytes(lab.home) + b"/\xff" + value.encode()))
    plant(folder, {"one": b"nothing"})
    done = given(lab, value, "--files-only", str(folder))
    assert json.loads(done.stdout)["roots"] == [f"{lab.home}/\\xff[redacted]"]
    assert shows(done, value) == []


def test_a_root_that_is_missing_and_called_by_the_value_is_not_shown(ground: tuple[Lab, str]) -> None:
    """Neither in a message nor in JSON; another one is named."""
    lab, value = ground
    for root in (f"gone-{value}", f"gone/{base64.b64encode(value.encode()).decode()}/x"):
        for more in ((), ("--json",)):
            done = swept(lab, "--value-from", "stdin", *more, root, input=value.encode())
            assert (done.returncode, shows(done, value)) == (2, [])
            assert b"cannot look through a root that has the value in its path" in done.stderr
    done = swept(lab, "--value-from", "stdin", "gone", input=value.encode())
    assert (done.returncode, b"cannot look through gone: no such file" in done.stderr) == (2, True)


def test_more_leaks_than_people_read_are_counted(ground: tuple[Lab, str]) -> None:
    """The answer is bounded; a flood of files hides nothing of another kind."""
    lab, value = ground
    plant(lab.home / "flood", {str(number): value.encode() for number in range(MOST + 30)})
    one_leak(lab.home / "repo", value)
    told = json.loads(given(lab, value, "--files-only", str(lab.home)).stdout)
    assert (len(told["hits"]), told["more"], told["leaks"]) == (MOST + 1, 30, MOST + 31)
    done = swept(lab, "--value-from", "stdin", "--files-only", str(lab.home), input=value.encode())
    assert b"and 30 more leaks" in done.stdout


def test_work_trees_and_borrowed_objects_are_looked_through_once(ground: tuple[Lab, str]) -> None:
    """Two work trees, a submodule's repository without its work tree, and a clone that borrows: one hit for each
    object, with the repository that knows it."""
    lab, value = ground
    repo = lab.home / "main"
    repo.mkdir()
    git(repo, "init", "--quiet", "--initial-branch=main")
    blob = commit(repo, "a.txt", value.encode())
    (repo / "a.txt").write_text("clean")
    git(repo, "commit", "--quiet", "--all", "-m", "clean")
    git(repo, "worktree", "add", "--quiet", "-b", "second", str(lab.home / "second tree"))
    git(lab.home, "clone", "--quiet", "--shared", "--bare", str(repo), "borrower.git")
    above = lab.home / "above"
    above.mkdir()
    git(above, "init", "--quiet")
    git(above, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(repo), "sub")
    subprocess.run(["rm", "-rf", above / "sub"], check=True)
    found = [hit for hit in hits(given(lab, value, "--files-only", str(lab.home))) if hit["kind"] == "git"]
    assert {hit["where"].rpartition(":")[2] for hit in found} == {blob[:12]}
    assert len(found) == 2, "the repository with its kin, and the submodule's own copy"
    outside = hits(given(lab, value, "--files-only", str(lab.home / "second tree")))
    assert [hit["kind"] for hit in outside] == ["git"], "a work tree leads to its repository, wherever that is"


def test_a_broken_repository_and_a_repository_without_git_are_told(ground: tuple[Lab, str], tmp_path: Path) -> None:
    """What git cannot read is unreadable, no git at all is a doubt."""
    lab, value = ground
    repo = lab.home / "broken"
    repo.mkdir()
    git(repo, "init", "--quiet")
    blob = commit(repo, "a.txt", value.encode())
    (repo / "a.txt").unlink()
    loose = repo / ".git" / "objects" / blob[:2] / blob[2:]
    loose.chmod(0o600)
    loose.write_bytes(b"not zlib")
    done = given(lab, value, "--files-only", str(repo))
    assert any(str(repo) in each for each in json.loads(done.stdout)["unreadable"]), done.stdout
    nothing = tmp_path / "no programs"
    nothing.mkdir()
    env = {**timer_env(lab), "PATH": str(nothing)}
    argv = [sys.executable, "-m", "keyrotor", "sweep", "--value-from", "stdin", "--json", "--files-only", str(repo)]
    alone = subprocess.run(argv, cwd=lab.home, env=env, input=value.encode(), capture_output=True, check=False)
    assert any("there is no git" in each for each in json.loads(alone.stdout)["doubts"]), alone.stderr


def test_what_cannot_be_read_of_the_journal_is_a_doubt(ground: tuple[Lab, str], tmp_path: Path) -> None:
    """No entry, a refusal, an end in the middle: never the same as nothing found. (A fake journalctl.)"""
    lab, value = ground
    empty = fake_journal(tmp_path / "empty", b"")
    hidden = fake_journal(
        tmp_path / "hidden",
        entry(b"hello", "a.service"),
        said="Hint: You are currently not seeing messages from other users and the system.",
    )
    torn = fake_journal(tmp_path / "torn", entry(value.encode(), "a.service")[:-1], code=1)
    for programs, why in ((empty, "no entry"), (hidden, "may not read"), (torn, "exit code 1")):
        done = given(lab, value, str(lab.config), programs=programs)
        (doubt,) = json.loads(done.stdout)["doubts"]
        assert why in doubt
    assert [hit["kind"] for hit in hits(done)] == ["journal"]


def test_a_stopped_sweep_tells_what_it_has_found(ground: tuple[Lab, str], tmp_path: Path) -> None:
    """Ctrl-C ends it within a second, with its children; what was found so far is told, and that it is not all."""
    lab, value = ground
    programs = fake_journal(tmp_path / "slow", entry(b"hello", "a.service"))
    (programs / "journalctl").write_text(f'#!/bin/sh\necho $$ >"{tmp_path}/pid"\nexec sleep 100\n')
    plant(lab.home, {"one": value.encode()})
    argv = [sys.executable, "-m", "keyrotor", "sweep", "--value-from", "stdin", "--json", str(lab.home)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(argv, cwd=lab.home, env=timer_env(lab, programs), **pipes) as process:  # type: ignore[call-overload]
        process.stdin.write(value.encode())
        process.stdin.close()
        process.stdin = None
        deadline = time.monotonic() + 30
        while not (tmp_path / "pid").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    told = json.loads(out)
    assert (process.returncode, told["stopped"], [hit["where"] for hit in told["hits"]]) == (
        10,
        "SIGINT",
        [f"{lab.home}/one"],
    ), err
    child = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 5
    while Path(f"/proc/{child}/stat").exists() and time.monotonic() < deadline:
        if Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            break
        time.sleep(0.02)
    else:
        assert not Path(f"/proc/{child}").exists()


def test_our_own_process_is_no_hit(ground: tuple[Lab, str]) -> None:
    """The shell that direnv has filled gives us the very value that is looked for."""
    lab, value = ground
    argv = [sys.executable, "-m", "keyrotor", "sweep", "--value-from", "stdin", "--json", str(lab.config)]
    env = {**timer_env(lab), "LITELLM_MASTER_KEY": value}
    done = subprocess.run(argv, cwd=lab.home, env=env, input=value.encode(), capture_output=True, check=False)
    assert hits(done) == []


def test_keyrotors_own_state_is_told_apart(ground: tuple[Lab, str]) -> None:
    """What a killed write has laid aside holds values, and is no leak."""
    lab, value = ground
    plant(lab.state / "aside", {"torn": value.encode()})
    done = given(lab, value, "--files-only", str(lab.root))
    (hit,) = hits(done)
    assert (hit["whose"], done.returncode) == ("keyrotor's own state", 0)


def test_on_a_terminal_a_value_is_asked_for_without_an_echo(ground: tuple[Lab, str]) -> None:
    """The prompt repeats nothing, and the bar tells sizes and names, also of what is called by the value."""
    lab, value = ground
    plant(lab.home, {"one": value.encode(), f"repo-{value}/x": b"x"})
    git(lab.home / f"repo-{value}", "init", "--quiet")
    master, slave = pty.openpty()
    argv = [sys.executable, "-m", "keyrotor", "sweep", "--value-from", "stdin", "--files-only", str(lab.home)]
    env = {**timer_env(lab), "TERM": "xterm", "COLUMNS": "200"}
    process = subprocess.Popen(
        argv, cwd=lab.home, env=env, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
    )
    os.close(slave)
    seen = b""
    try:
        while chunk := os.read(master, 65536):
            if b"Value to look for" in seen + chunk and b"Value to look for" not in seen:
                os.write(master, value.encode() + b"\n")
            seen += chunk
    except OSError:  # the terminal is closed
        pass
    os.close(master)
    assert process.wait(timeout=30) == 10
    assert b"in files:" in seen
    assert b"MiB" in seen or b"KiB" in seen
    assert value[3:11].encode() not in seen
