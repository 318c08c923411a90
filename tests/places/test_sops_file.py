"""The encrypted file as a place, with the real sops and a real age identity."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest

from keyrotor.boundary import files
from keyrotor.boundary.plaintext import unseal
from keyrotor.boundary.process import Processes
from keyrotor.boundary.sops import Sops
from keyrotor.core.model import Holds, Value
from keyrotor.errors import PlaceError
from keyrotor.places.sops_file import Encrypted, SopsFile
from places.contract import PlaceContract, Scene, tree, whole
from places.sealed import KEY, Sealed

OTHER = b"sk-somebody-elses-" + secrets.token_urlsafe(12).encode()


class SopsScene(Scene):
    shows: ClassVar = frozenset({Holds.OLD, Holds.NEW, Holds.NEITHER, Holds.UNKNOWN})

    def __init__(self, root: Path, sealed: Sealed, env: dict[str, str] | None = None) -> None:
        self.root, self.sealed, self.pair = root, sealed, sealed.pair
        self.file = root / "secrets" / "global.enc.env"
        self.file.parent.mkdir()
        (root / "run").mkdir(mode=0o700)
        self.use(env or sealed.env)

    def use(self, env: dict[str, str]) -> None:
        """The place, with sops in this environment."""
        encrypted = Encrypted(self.file, KEY, Sops(Processes(), env), self.root)
        prepared = {Value.OLD: self.sealed.before, Value.NEW: self.sealed.after}
        self.place = SopsFile(encrypted, prepared, self.root / "run")

    def show(self, holds: Holds) -> None:
        files.clear_leftover(self.file)
        self.file.unlink(missing_ok=True)
        for left in (self.root / "run").iterdir():
            left.unlink()
        shown = {Holds.NEW: self.sealed.after, Holds.UNKNOWN: b"<<<<<<< HEAD\n"}.get(holds, self.sealed.before)
        self.file.write_bytes(shown)
        self.file.chmod(0o640)
        if holds is Holds.NEITHER:
            self.sealed.set(self.file, KEY, OTHER)

    def edited(self, value_shown: Value) -> None:
        """The file with this value, and somebody else's edit in it."""
        self.show(Holds(value_shown))
        self.sealed.set(self.file, "GRAFANA_TOKEN", OTHER)


@pytest.fixture
def scene(tmp_path: Path, sealed: Sealed) -> SopsScene:
    root = tmp_path / "world"
    root.mkdir()
    return SopsScene(root, sealed)


@pytest.fixture
def fake_sops(tmp_path: Path, sealed: Sealed) -> Callable[[str], dict[str, str]]:
    """Makes a sops of Python lines; `real(*args, stdin)` in it is the real one. Gives the environment to use it."""

    def make(lines: str) -> dict[str, str]:
        program = tmp_path / "bin" / "sops"
        program.parent.mkdir(exist_ok=True)
        program.write_text(
            f"#!{os.path.realpath(sys.executable)} -IS\n"
            "import subprocess, sys\n"
            "args = sys.argv[1:]\n"
            "verb, file = args[0], next((a for a in args if a.endswith('.env')), '')\n"
            "stdin = sys.stdin.buffer.read() if '--value-stdin' in args else b''\n"
            "def real(*args, stdin=b''):\n"
            f"    done = subprocess.run([{str(sealed.binary)!r}, *args], input=stdin, capture_output=True)\n"
            "    sys.stdout.buffer.write(done.stdout)\n"
            "    return done.returncode\n" + lines
        )
        program.chmod(0o700)
        return {**sealed.env, "KEYROTOR_SOPS": str(program)}

    return make


class TestContract(PlaceContract):
    @pytest.fixture
    def scene(self, scene: SopsScene) -> SopsScene:
        return scene


@pytest.mark.parametrize("goal", list(Value))
@pytest.mark.parametrize("held", list(Value))
def test_somebody_elses_edit_is_kept_and_the_goal_reached(scene: SopsScene, goal: Value, held: Value) -> None:
    """A file that is no longer ours by hash ends on the goal with their edit in it."""
    scene.edited(held)
    assert scene.place.holds(scene.pair) is Holds(held)
    scene.place.put(goal, scene.pair)
    assert scene.place.holds(scene.pair) is Holds(goal)
    assert scene.sealed.get(scene.file, "GRAFANA_TOKEN") == OTHER
    assert scene.sealed.get(scene.file, KEY) == unseal(scene.pair[goal])


def test_somebody_elses_edit_is_told(scene: SopsScene) -> None:
    """The row says that an edit was met and kept."""
    scene.edited(Value.OLD)
    assert "edit kept" in scene.place.put(Value.NEW, scene.pair)


def test_a_second_put_on_an_edited_file_changes_nothing(scene: SopsScene) -> None:
    """Also where the file is not ours by hash, a value that is there already is not written again."""
    scene.edited(Value.OLD)
    scene.place.put(Value.NEW, scene.pair)
    before = tree(scene.file.parent)
    scene.place.put(Value.NEW, scene.pair)
    assert tree(scene.file.parent) == before


def test_an_edit_between_the_look_and_the_rename_is_kept(scene: SopsScene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody who writes while we are about to rename does not lose the edit."""
    scene.show(Holds.OLD)
    real, edits = files.replace, [OTHER]

    def replace(seen: files.Look, data: bytes, **how: bool) -> None:
        if edits:
            scene.sealed.set(scene.file, "GRAFANA_TOKEN", edits.pop())
        real(seen, data, **how)

    monkeypatch.setattr(files, "replace", replace)
    scene.place.put(Value.NEW, scene.pair)
    assert scene.sealed.get(scene.file, "GRAFANA_TOKEN") == OTHER
    assert scene.sealed.get(scene.file, KEY) == unseal(scene.pair.new)


@pytest.mark.parametrize("goal", list(Value))
def test_a_file_that_is_ours_by_hash_needs_no_sops(
    scene: SopsScene, fake_sops: Callable[[str], dict[str, str]], goal: Value
) -> None:
    """A lost age identity, or a sops that always fails, cannot keep a rollback from the file."""
    scene.use(fake_sops("sys.exit(128)"))
    scene.show(Holds(goal.other))
    scene.place.put(goal, scene.pair)
    assert scene.place.holds(scene.pair) is Holds(goal)


MANGLERS = {
    "changes another value": "real(*args[:-2], file, '[\"GRAFANA_TOKEN\"]', stdin=b'\"changed-by-a-bad-sops\"')",
    "appends a key": "real(*args[:-2], file, '[\"ANOTHER\"]', stdin=b'\"appended\"')",
    "writes the value in clear": (
        "import json, re\n"
        "    text = open(file).read()\n"
        f"    open(file, 'w').write(re.sub('{KEY}=.*', '{KEY}=' + json.loads(stdin), text))"
    ),
    "sets another value": f"real(*args[:-2], file, '[\"{KEY}\"]', stdin=b'\"sk-not-what-was-asked\"')",
    "lets somebody else read it": (
        "text = open(file).read()\n    open(file, 'w').write(text.replace('map_recipient=age1', 'map_recipient=age2'))"
    ),
    "does nothing": "pass",
    "empties the file": "open(file, 'w').close()",
    "drops a line": (
        "text = open(file).readlines()\n    open(file, 'w').writelines(l for l in text if 'GRAFANA' not in l)"
    ),
    "keeps half a file": "text = open(file).read()\n    open(file, 'w').write(text[: len(text) // 2])",
}


@pytest.mark.parametrize("mangled", MANGLERS)
def test_what_sops_mangles_never_becomes_the_file(
    scene: SopsScene, fake_sops: Callable[[str], dict[str, str]], mangled: str
) -> None:
    """A sops that ends with 0 but does something else is caught before the rename."""
    also = "" if mangled == "does nothing" else "    real(*args, stdin=stdin)\n"
    mangles = f"if verb == 'set':\n{also}    {MANGLERS[mangled]}\n    sys.exit(0)\n"
    scene.use(fake_sops(f"{mangles}sys.exit(real(*args, stdin=stdin))\n"))
    scene.edited(Value.OLD)
    before = tree(scene.file.parent)
    with pytest.raises(PlaceError) as raised:
        scene.place.put(Value.NEW, scene.pair)
    after = tree(scene.file.parent)
    assert {name: entry for name, entry in after.items() if name != "."} == {
        name: entry for name, entry in before.items() if name != "."
    }
    assert unseal(scene.pair.new).decode() not in str(raised.value)


def test_sops_never_works_on_the_live_file(scene: SopsScene, fake_sops: Callable[[str], dict[str, str]]) -> None:
    """`sops set` truncates in place, so it only ever gets a copy in the run's own folder."""
    log = scene.root.parent / "argv"
    scene.use(fake_sops(f"open({str(log)!r}, 'a').write(repr(args) + chr(10))\nsys.exit(real(*args, stdin=stdin))"))
    scene.edited(Value.OLD)
    scene.place.put(Value.NEW, scene.pair)
    sets = [line for line in log.read_text().splitlines() if line.startswith("['set'")]
    assert sets
    assert not any(str(scene.file) in line for line in sets)
    assert all(str(scene.root / "run") in line for line in sets)
    for secret in (scene.pair.old, scene.pair.new):
        assert unseal(secret).decode() not in log.read_text()


CODES = {
    1: "not an encrypted dotenv file",
    2: "could not read",
    3: "could not write",
    4: "cannot be written in a dotenv file",
    7: "cannot be addressed",
    25: "tampered",
    51: "checksum",
    128: "no age identity",
    99: "exit code 99",
}


@pytest.mark.parametrize("verb", ["decrypt", "set"])
@pytest.mark.parametrize("code", CODES)
def test_a_failing_sops_is_told_in_our_own_words(
    scene: SopsScene, fake_sops: Callable[[str], dict[str, str]], code: int, verb: str
) -> None:
    """Each exit code has a sentence of ours, naming the file; what sops says on stderr can hold plaintext."""
    marker = "sk-" + secrets.token_urlsafe(24)
    fails = f"if verb == {verb!r}:\n    print({marker!r}, file=sys.stderr)\n    sys.exit({code})\n"
    scene.use(fake_sops(fails + "sys.exit(real(*args, stdin=stdin))"))
    scene.edited(Value.OLD)
    before = scene.file.read_bytes()
    with pytest.raises(PlaceError) as raised:
        scene.place.put(Value.NEW, scene.pair)
    said = f"{raised.value} {raised.value.hint}"
    assert CODES[code] in said
    assert str(scene.file) in said
    assert marker not in said + repr(raised.value) + repr(raised.value.__context__) + repr(raised.value.__cause__)
    assert scene.file.read_bytes() == before


@pytest.mark.parametrize("code", [25, 51, 128])
def test_a_fault_that_a_person_can_mend_has_a_hint(
    scene: SopsScene, fake_sops: Callable[[str], dict[str, str]], code: int
) -> None:
    """Tampering, a bad merge and a missing identity each name the next command."""
    scene.use(fake_sops(f"sys.exit({code})"))
    scene.edited(Value.OLD)
    with pytest.raises(PlaceError) as raised:
        scene.place.put(Value.NEW, scene.pair)
    assert raised.value.hint
    assert "{path}" not in raised.value.hint


def test_real_tampering_is_told_as_tampering(scene: SopsScene) -> None:
    """The real sops and a file whose values were swapped: nothing is written, and it is said why."""
    scene.edited(Value.OLD)
    text = scene.file.read_text()
    key, salt = (
        next(line for line in text.splitlines() if line.startswith(name)) for name in (KEY, "LITELLM_SALT_KEY")
    )
    scene.file.write_text(text.replace(key, f"{KEY}={salt.partition('=')[2]}"))
    before = scene.file.read_bytes()
    with pytest.raises(PlaceError, match="tampered"):
        scene.place.put(Value.NEW, scene.pair)
    assert scene.file.read_bytes() == before


def test_a_removed_line_is_told_as_a_checksum_fault(scene: SopsScene) -> None:
    """A value taken out without sops leaves a checksum that does not match."""
    scene.edited(Value.OLD)
    kept = [line for line in scene.file.read_text().splitlines(True) if not line.startswith("GRAFANA")]
    scene.file.write_text("".join(kept))
    with pytest.raises(PlaceError, match="checksum"):
        scene.place.put(Value.NEW, scene.pair)


def test_a_lost_identity_is_told(scene: SopsScene, tmp_path: Path) -> None:
    """Without an identity the edited file cannot be opened: unknown, and refused with a hint."""
    empty = tmp_path / "empty"
    empty.mkdir()
    scene.use({**scene.sealed.env, "SOPS_AGE_KEY_FILE": str(empty / "none"), "HOME": str(empty)})
    scene.edited(Value.OLD)
    assert scene.place.holds(scene.pair) is Holds.UNKNOWN
    with pytest.raises(PlaceError, match="identity"):
        scene.place.put(Value.NEW, scene.pair)


def test_a_link_to_the_file_is_kept(scene: SopsScene, sealed: Sealed) -> None:
    """The link goes on leading to the file, which has the new content."""
    scene.show(Holds.OLD)
    real = scene.root / "real.env"
    scene.file.rename(real)
    scene.file.symlink_to(real)
    before = whole(scene.root)
    scene.place.put(Value.NEW, scene.pair)
    assert scene.file.is_symlink()
    assert real.read_bytes() == sealed.after
    scene.place.put(Value.OLD, scene.pair)
    assert whole(scene.root) == before


REFUSALS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "CRLF": (lambda data: data.replace(b"\n", b"\r\n"), "CRLF"),
    "conflict markers": (lambda data: b"<<<<<<< HEAD\n" + data, "conflict"),
    "plaintext": (lambda data: b"LITELLM_MASTER_KEY=abc\n", "not encrypted"),
    "no key": (lambda data: data.replace(KEY.encode(), b"SOMETHING_ELSE"), "no key"),
    "twice": (lambda data: next(x for x in data.splitlines(True) if x.startswith(KEY.encode())) + data, "2 times"),
}


@pytest.mark.parametrize("fault", REFUSALS)
def test_a_file_that_sops_must_not_touch_is_refused_without_it(
    scene: SopsScene, fake_sops: Callable[[str], dict[str, str]], fault: str
) -> None:
    """What can be known of the ciphertext is judged before sops is called at all."""
    log = scene.root.parent / "called"
    scene.use(fake_sops(f"open({str(log)!r}, 'w').close()\nsys.exit(1)"))
    mangle, said = REFUSALS[fault]
    scene.show(Holds.OLD)
    scene.file.write_bytes(mangle(scene.sealed.before))
    assert any(said in why for why in scene.place.encrypted.refusals())
    with pytest.raises(PlaceError, match=said):
        scene.place.put(Value.NEW, scene.pair)
    assert not log.exists()


def test_an_empty_value_is_no_value(scene: SopsScene) -> None:
    """A key whose value is blank cannot be the old key of a rotation."""
    scene.show(Holds.OLD)
    scene.sealed.set(scene.file, KEY, b"   ")
    with pytest.raises(PlaceError, match="is empty"):
        scene.place.encrypted.values()


def test_the_amended_copy_differs_in_the_one_value_only(scene: SopsScene) -> None:
    """What `amended` gives back has the new value, and every other one as it was, by the real sops."""
    scene.show(Holds.OLD)
    copy = scene.root / "run" / "copy.env"
    amended = scene.place.encrypted.amended(scene.sealed.before, Value.NEW, scene.pair, copy)
    scene.file.write_bytes(amended)
    assert scene.sealed.get(scene.file, KEY) == unseal(scene.pair.new)
    for name, secret in scene.pair.siblings.items():
        assert scene.sealed.get(scene.file, name) == unseal(secret)
