"""Evidence of a real lab is kept before anything is changed, and holds no value in any form."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import subprocess
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from on_incident import KEYS, Scene, Stage, mode, staged
from on_lab import Keyrotor, MakeLab, spellings

from incident_record import CASE
from keyrotor.boundary import files
from keyrotor.boundary.plaintext import unseal
from keyrotor.boundary.signals import Signals
from keyrotor.casefile import CaseFile
from keyrotor.core.incident import Incident
from keyrotor.core.response import Frozen
from keyrotor.demo.lab import Lab
from keyrotor.demo.user_systemd import UserManager
from keyrotor.errors import PlaceError
from keyrotor.secret import Secret
from keyrotor.world import RealWorld
from keyrotor.world.responding import responder


@pytest.fixture
def stage(make_lab: MakeLab, manager: UserManager, tmp_path: Path) -> Iterator[Stage]:
    yield from staged(make_lab, manager, tmp_path)


def frozen(scene: Scene, *logs: Path, is_blind: bool = False, values: Mapping[str, Secret] | None = None) -> Frozen:
    freezing = scene.deeds(is_blind=is_blind).freezing
    freezing = replace(freezing, secrets=values) if values else freezing
    since = datetime.now(UTC) - timedelta(hours=1)
    return freezing.freeze(scene.lab.state / "incidents" / "inc-1" / "evidence", since, logs)


def leaky(value: str) -> str:
    """A log that has told the value in many ways."""
    forms = [
        f"GET /v1/models Authorization: Bearer {value}",
        f"Authorization: Basic {base64.b64encode(f'user:{value}'.encode()).decode()}",
        f"url ?key={urllib.parse.quote(value, safe='')} and %{' %'.join(f'{byte:02X}' for byte in value.encode())}",
        f"hex {value.encode().hex()}",
        f"id {hashlib.sha256(value.encode()).hexdigest()}",
        json.dumps({"key": value, "wide": "".join(f"\\u{ord(sign):04x}" for sign in value)}),
        f"cut off: {value[:12]} and the rest: {value[12:]}",
    ]
    return "\n".join(forms) + "\n"


def kept_bytes(found: Frozen) -> bytes:
    return b"".join((Path(found.folder) / each.name).read_bytes() for each in found.exhibits)


def test_no_byte_of_a_key_is_in_what_is_kept(stage: Stage, tmp_path: Path) -> None:
    """The unit's own log, an access log and a packed one have told every value in several forms; all else is there."""
    scene = stage("--host 127.0.0.1 --port {port}")
    values = {name: scene.lab.current_key(name) for name in KEYS}
    told = "".join(leaky(value) for value in values.values()) + "10.0.0.9 GET /key/generate 200 sk-somebodyelses1234\n"
    scene.lab.log.write_text(told)
    access, packed = tmp_path / "access log\n.txt", tmp_path / "access.log.2.gz"
    access.write_text(told)
    packed.write_bytes(gzip.compress(told.encode()))
    before = os.umask(0)
    try:
        found = frozen(scene, access, packed)
    finally:
        os.umask(before)
    whole = kept_bytes(found)
    assert whole.count(b"10.0.0.9 GET /key/generate 200") == 3
    assert b"somebodyelses" not in whole
    for value in values.values():
        for spelling in (*spellings(value), value[:12].encode(), value[12:].encode(), value.encode("utf-16-le")):
            assert spelling not in whole
        assert hashlib.sha256(value.encode()).hexdigest().encode() not in whole
    folder = Path(found.folder)
    assert mode(folder) == 0o700
    assert {mode(each) for each in folder.iterdir()} == {0o600}
    for each in found.exhibits:
        data = (folder / each.name).read_bytes()
        assert (each.sha256, each.size) == (hashlib.sha256(data).hexdigest(), len(data))


def test_places_are_witnessed_by_a_salted_imprint(stage: Stage) -> None:
    """Each with mode, owner and time; of a file that holds the key alone no plain hash is kept."""
    scene = stage("--host 127.0.0.1 --port {port}")
    found = frozen(scene)
    env = next(each for each in found.places if each.place == "env-file")
    assert (env.mode, env.owner.split(":")[0] != "", env.changed != "") == ("0600", True, True)
    assert env.imprint == scene.world.imprint(scene.lab.env_file, found.salt)
    assert env.imprint != hashlib.sha256(scene.lab.env_file.read_bytes()).hexdigest()
    assert str(scene.manager.units / scene.unit) in {each.label for each in found.places}
    told = json.loads((Path(found.folder) / "places.json").read_text())
    assert told["encrypted_file"]["sha256"] == hashlib.sha256(scene.lab.secret_file.read_bytes()).hexdigest()


def test_git_the_unit_and_its_listeners_are_kept(stage: Stage) -> None:
    """Heads, stashes, moves and the file's commits; what systemd says but no value; where it listens."""
    scene = stage("--host 127.0.0.1 --port {port}")
    head = scene.lab.run("git", "rev-parse", "HEAD").strip()
    found = frozen(scene)
    folder = Path(found.folder)
    git = (folder / "git.txt").read_text()
    assert git.count(head) >= 3
    assert "a lab" in git
    shown = (folder / f"unit-{scene.unit}.txt").read_text()
    assert f"Id={scene.unit}" in shown
    assert "\nEnvironment=" not in shown
    listening = (folder / f"listeners-{scene.unit}.txt").read_text()
    assert f"listens at 127.0.0.1:{scene.lab.port}" in listening
    assert f"process {scene.pid()}" in listening


def test_nothing_that_the_repository_names_is_run(stage: Stage, tmp_path: Path) -> None:
    """Signature programs, monitors, pagers and transports of its own are left alone."""
    scene = stage("--host 127.0.0.1 --port {port}")
    ran = tmp_path / "ran"
    trap = tmp_path / "trap"
    trap.write_text(f"#!/bin/sh\ntouch {ran}\n")
    trap.chmod(0o755)
    for name in ("gpg.program", "gpg.ssh.program", "core.fsmonitor", "core.pager", "core.sshCommand", "diff.external"):
        scene.lab.run("git", "config", name, str(trap))
    scene.lab.run("git", "config", "log.showSignature", "true")
    head, _, message = scene.lab.run("git", "cat-file", "commit", "HEAD").partition("\n\n")
    signature = "gpgsig -----BEGIN PGP SIGNATURE-----\n \n AAAA\n -----END PGP SIGNATURE-----"
    signed = scene.lab.run(
        *("git", "hash-object", "-t", "commit", "-w", "--stdin"), stdin=f"{head}\n{signature}\n\n{message}"
    )
    scene.lab.run("git", "update-ref", "HEAD", signed.strip())
    scene.lab.run("git", "log", "-1")
    assert ran.exists()
    ran.unlink()
    assert "git.txt" in {each.name for each in frozen(scene).exhibits}
    assert not ran.exists()


def test_what_is_kept_stays_and_what_was_missing_is_added(stage: Stage, tmp_path: Path) -> None:
    """A second freeze, after a kill or later, completes the first one and overwrites nothing."""
    scene = stage("--host 127.0.0.1 --port {port}")
    log = tmp_path / "later.log"
    first = frozen(scene, log)
    assert any("later.log" in why for why in first.missing)
    before = {each.name: each.sha256 for each in first.exhibits}
    scene.lab.log.write_text("somebody wiped the log\n")
    log.write_text("now it is there\n")
    second = frozen(scene, log)
    after = {each.name: each.sha256 for each in second.exhibits}
    assert {name: after[name] for name in before} == before
    assert len(after) == len(before) + 1
    assert (second.salt, second.places) == (first.salt, first.places)
    assert not any("later.log" in why for why in second.missing)


def test_killed_in_the_middle_it_is_completed(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was whole stays, under one name; the half that was being written is made again."""
    scene = stage("--host 127.0.0.1 --port {port}")
    create = files.create
    made: list[Path] = []

    def dying(path: Path, data: bytes, mode: int = 0o600) -> None:
        if len(made) == 2:
            files.sibling_of(path).write_bytes(data[:3])
            raise KeyboardInterrupt
        create(path, data, mode)
        os.link(path, files.sibling_of(path))  # where the kill comes between the two names of what is whole
        made.append(path)

    monkeypatch.setattr(files, "create", dying)
    with pytest.raises(KeyboardInterrupt):
        frozen(scene)
    monkeypatch.undo()
    found = frozen(scene)
    assert {each.name for each in found.exhibits} >= {path.name for path in made}
    assert {each.name for each in Path(found.folder).iterdir()} == {each.name for each in found.exhibits}


SETTINGS = {"WORKERS": "1", "PORT": "40001", "STREAM": "false", "LEVEL": "INFO"}
DATABASE = "postgresql://llm:hunter-two@127.0.0.1:5432/litellm"


def set_in(lab: Lab, values: Mapping[str, str]) -> None:
    """Put more values into the encrypted file, as a person does."""
    argv = [lab.sops, "set", "--input-type", "dotenv", "--output-type", "dotenv", "--value-stdin", str(lab.secret_file)]
    env = {**lab.environment(), "SOPS_DISABLE_VERSION_CHECK": "1"}
    for name, value in values.items():
        subprocess.run([*argv, f'["{name}"]'], input=json.dumps(value).encode(), env=env, check=True)


def test_what_is_no_secret_stays_and_what_is_one_goes(stage: Stage, tmp_path: Path) -> None:
    """Settings beside the key take nothing of the evidence: imprints, ids, addresses, times and paths are whole. A
    short password is hidden, and so is the key, present and former, however short."""
    scene = stage("--host 127.0.0.1 --port {port}")
    folder = str(scene.lab.project)
    set_in(scene.lab, {**SETTINGS, "FOLDER": folder, "DATABASE_URL": DATABASE, "PASSWORD": "hunter2"})
    log = tmp_path / "access.log"
    line = f"2026-11-22T01:11:41 INFO 203.0.113.7:40001 GET {folder}/x stream=false workers=1"
    log.write_text(f"{line} pass=hunter2 {DATABASE} hunter-two@ former=old1 {scene.lab.current_key()}\n")
    values = scene.world.read_secret(scene.deeds().freezing.source, to_set=False)[1]
    values = {**values, "LITELLM_MASTER_KEY before run 1": Secret(b"old1")}
    found = frozen(scene, log, values=values)
    (kept,) = [(Path(found.folder) / each.name).read_text() for each in found.exhibits if "access" in each.name]
    assert kept.startswith(line)
    assert not [each for each in ("hunter2", "hunter-two", "old1", scene.lab.current_key()) if each in kept]
    places, listeners, git = (
        (Path(found.folder) / name).read_text() for name in ("places.json", f"listeners-{scene.unit}.txt", "git.txt")
    )
    assert "[redacted]" not in places + listeners
    assert json.loads(places)["salt"] == found.salt
    assert f"listens at 127.0.0.1:{scene.lab.port}\n" in listeners
    assert git.count(scene.lab.run("git", "rev-parse", "HEAD").strip()) >= 3
    assert found.places[0].imprint == scene.world.imprint(scene.lab.secret_file, found.salt)


def test_the_former_keys_are_told_from_the_values_beside_them(lab: Lab, keyrotor: Keyrotor) -> None:
    """By their names, as an incident gives them: they are hidden wherever the present one is."""
    old = lab.current_key()
    assert keyrotor(lab, "rotate", "--yes").returncode == 0
    world = RealWorld(lab.environment(), lab.project, None, Signals())  # type: ignore[arg-type]
    case = replace(CASE, playbooks={"litellm-master-key": str(lab.playbook)})
    file = CaseFile(world, Incident(case))
    values = file.all_values("litellm-master-key")
    freezing = responder(world, file.book("litellm-master-key"), (), values).freezing
    assert {unseal(each).decode() for each in freezing._keys()} == {old, lab.current_key()}


def test_the_journal_is_kept_where_there_is_one(stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """journald cannot run here: a stand-in for journalctl prints a line with the key, and is asked for the window."""
    scene = stage("--host 127.0.0.1 --port {port}")
    program, asked = tmp_path / "journalctl", tmp_path / "asked"
    program.write_text(
        f'#!/bin/sh\necho "$@" > {asked}\necho "2026-11-22T01:02:03 host litellm[1]: key {scene.lab.current_key()}"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    found = frozen(scene)
    journal = (Path(found.folder) / f"journal-{scene.unit}.txt").read_text()
    assert journal == "2026-11-22T01:02:03 host litellm[1]: key [redacted]\n"
    assert f"--unit={scene.unit}" in asked.read_text()
    assert "--since=@" in asked.read_text()


def test_a_large_log_keeps_its_end_and_says_so(stage: Stage, tmp_path: Path) -> None:
    """No more than 16 MiB of it."""
    scene = stage("--host 127.0.0.1 --port {port}")
    log = tmp_path / "large.log"
    with log.open("wb") as file:
        file.truncate(40 * 1024 * 1024)
        file.seek(0, os.SEEK_END)
        file.write(b"\nthe last line\n")
    found = next(each for each in frozen(scene, log).exhibits if "large.log" in each.name)
    data = (scene.lab.state / "incidents" / "inc-1" / "evidence" / found.name).read_bytes()
    assert data.startswith(b"[keyrotor: the first ")
    assert data.endswith(b"the last line\n")
    assert found.size < 17 * 1024 * 1024


def test_without_the_values_no_log_is_kept(stage: Stage, tmp_path: Path) -> None:
    """What cannot be redacted is not kept, which is told; the imprints are."""
    scene = stage("--host 127.0.0.1 --port {port}")
    log = tmp_path / "access.log"
    log.write_text(scene.lab.current_key())
    found = frozen(scene, log, is_blind=True)
    assert {each.name for each in found.exhibits} == {"places.json", f"listeners-{scene.unit}.txt"}
    assert any("could be decrypted" in why for why in found.missing)


def test_where_nothing_can_be_written_the_step_fails(stage: Stage) -> None:
    """There is a file in the stead of the folder."""
    scene = stage("--host 127.0.0.1 --port {port}")
    scene.lab.state.mkdir(parents=True, exist_ok=True)
    (scene.lab.state / "incidents").write_text("")
    with pytest.raises(PlaceError, match="cannot make"):
        frozen(scene)
