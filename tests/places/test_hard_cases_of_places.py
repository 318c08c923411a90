"""Old values that are hard to put back, keys that merely hold the same, and what a later rotation has written."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from keyrotor.boundary import files
from keyrotor.boundary.plaintext import unseal
from keyrotor.boundary.process import Processes
from keyrotor.boundary.signals import Signals
from keyrotor.boundary.sops import Sops
from keyrotor.boundary.systemd import Systemd
from keyrotor.core.model import Holds, Value
from keyrotor.errors import PlaceError
from keyrotor.places.client_file import ClientFile
from keyrotor.places.command import Command
from keyrotor.places.env_file import EnvFile
from keyrotor.places.sops_file import Encrypted, SopsFile
from keyrotor.places.systemd_unit import SystemdUnit
from keyrotor.secret import Pair, Secret
from places.fake_systemd import UNIT, FakeSystemd
from places.sealed import KEY, Sealed

ODD = [b"sk-abc/def+ghi.jkl:0123456789", b"a@b.example:80/%2F,x=y+z-0_1", b"sk-fernet-like-0123456789==", b"sk-0:1/2.3"]
QUOTED = [b"sk-two words of 2019", b"sk-quote'quote-2019", b'sk-quote"quote-2019', b"sk-hash#hash-2019"]
QUOTED += [b"sk-dollar$HOME-2019", b"sk-back\\slash-2019", b"sk-tick`tick`-2019", "sk-ünïcödé-2019".encode()]

JSON = b'{\n  // as it was\n  "apiKey": "@", "auth": "Bearer @",\n  "theme": "dark"\n}\n'
DOTENV = b"# as it was\r\nexport LITELLM_MASTER_KEY='@' # kept\r\nX=\"Bearer @\"\n"
ENV = b"LITELLM_MASTER_KEY=@\nOTHER=dark\n"


def file_place(folder: Path, kind: str, old: bytes) -> EnvFile | ClientFile:
    """One of the three kinds of file that a value is spliced into, holding the old one."""
    shapes = {"json": JSON, "dotenv": DOTENV, "env-file": ENV}
    path = folder / "file"
    path.write_bytes(shapes[kind].replace(b"@", old))
    path.chmod(0o600)
    return EnvFile(path, KEY, (KEY,)) if kind == "env-file" else ClientFile(path, KEY, kind)


KINDS = pytest.mark.parametrize("kind", ["json", "dotenv", "env-file"])


@KINDS
@pytest.mark.parametrize("old", ODD, ids=range(len(ODD)))
def test_a_value_that_nobody_has_to_quote_comes_back(tmp_path: Path, pair: Pair, kind: str, old: bytes) -> None:
    """New and old again, and every byte is as before; nothing is refused."""
    place, pair = file_place(tmp_path, kind, old), replace(pair, old=Secret(old))
    before = place.path.read_bytes()
    assert place.check(pair) == []
    place.put(Value.NEW, pair)
    assert old not in place.path.read_bytes()
    assert place.holds(pair) is Holds.NEW
    place.put(Value.OLD, pair)
    assert place.path.read_bytes() == before


@KINDS
@pytest.mark.parametrize("old", QUOTED, ids=range(len(QUOTED)))
def test_a_value_that_must_be_quoted_is_refused(tmp_path: Path, pair: Pair, kind: str, old: bytes) -> None:
    """It could be taken out, but not put back: said before the first effect, without the value, never raised."""
    quoted = old.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    place, pair = file_place(tmp_path, kind, quoted), replace(pair, old=Secret(old))
    if kind != "json":
        place.path.write_bytes(b'LITELLM_MASTER_KEY="%b"\n' % quoted)
    if place.holds(pair) is Holds.OLD:
        assert any("must be quoted" in why for why in place.check(pair))
    assert not any(old.decode() in why for why in place.check(pair))


@pytest.mark.parametrize("old", [b"dark", b"sk-1234", b"a-plain-word"])
def test_a_short_value_is_not_looked_for_by_value(tmp_path: Path, pair: Pair, old: bytes) -> None:
    """`"theme": "dark"` is no key: a client file that holds so short a value is refused."""
    place, pair = file_place(tmp_path, "json", old), replace(pair, old=Secret(old))
    (why,) = place.check(pair)
    assert "too short" in why


@pytest.mark.parametrize("name", ["LITELLM_SALT_KEY", "OTHER_TOKEN"])
@pytest.mark.parametrize("kind", ["json", "dotenv"])
def test_another_key_that_holds_the_same_is_kept(tmp_path: Path, pair: Pair, kind: str, name: str) -> None:
    """A salt, and whatever else the encrypted file calls by that name, stays through new and old again."""
    place, old, new = file_place(tmp_path, kind, unseal(pair.old)), unseal(pair.old), unseal(pair.new)
    text = b'{"apiKey": "@", "%b": "#"}\n' if kind == "json" else b"LITELLM_MASTER_KEY=@\n%b=#\n"
    text = (text % name.encode()).replace(b"#", old)
    place.path.write_bytes(text.replace(b"@", old))
    pair = replace(pair, siblings={**pair.siblings, "OTHER_TOKEN": Secret(old)})
    assert place.holds(pair) is Holds.OLD
    place.put(Value.NEW, pair)
    assert place.path.read_bytes() == text.replace(b"@", new)
    place.put(Value.OLD, pair)
    assert place.path.read_bytes() == text.replace(b"@", old)


def test_a_file_in_which_only_the_salt_is_the_same_holds_neither(tmp_path: Path, pair: Pair) -> None:
    """There is nothing of ours in it, so nothing is put."""
    place = file_place(tmp_path, "dotenv", unseal(pair.old))
    place.path.write_bytes(b"LITELLM_SALT_KEY=%b\n" % unseal(pair.old))
    assert place.holds(pair) is Holds.NEITHER


def test_what_is_left_in_comments_is_told(tmp_path: Path, pair: Pair) -> None:
    """How many, and that they were left; a file without any says nothing of it."""
    place, old = file_place(tmp_path, "json", unseal(pair.old)), unseal(pair.old)
    assert place.put(Value.NEW, pair) == "written"
    place.path.write_bytes(b'// %b, or was it %b?\n{"apiKey": "%b"}' % (old, old, old))
    assert place.put(Value.NEW, pair) == "written; 2 more in comments or names, left"
    assert place.path.read_bytes().count(old) == 2


@pytest.fixture
def sops_place(tmp_path: Path, sealed: Sealed) -> SopsFile:
    file = tmp_path / "secrets" / "global.enc.env"
    file.parent.mkdir()
    file.write_bytes(sealed.before)
    run = tmp_path / "run"
    run.mkdir(mode=0o700)
    encrypted = Encrypted(file, KEY, Sops(Processes(), sealed.env), tmp_path)
    return SopsFile(encrypted, {Value.OLD: sealed.before, Value.NEW: sealed.after}, run)


@pytest.mark.parametrize("goal", Value)
def test_a_third_value_is_never_written_over(sops_place: SopsFile, sealed: Sealed, goal: Value) -> None:
    """It is a later rotation's: neither a resume nor a rollback undoes that, whoever asks."""
    file = sops_place.encrypted.path
    sealed.set(file, KEY, b"sk-a-later-rotation-0123456789")
    before = file.read_bytes()
    with pytest.raises(PlaceError, match="neither the old nor the new value"):
        sops_place.put(goal, sealed.pair)
    assert file.read_bytes() == before


@pytest.mark.parametrize("goal", Value)
def test_an_encrypted_file_that_is_gone_is_made_again(sops_place: SopsFile, sealed: Sealed, goal: Value) -> None:
    """Its ciphertext is kept for both values, so a deleted file is no end; it is its owner's alone."""
    file = sops_place.encrypted.path
    file.unlink()
    sops_place.put(goal, sealed.pair)
    assert file.read_bytes() == sops_place.prepared[goal]
    assert file.stat().st_mode & 0o077 == 0
    assert sops_place.holds(sealed.pair) is Holds(goal)
    assert files.sibling_of(file).exists() is False


@pytest.mark.parametrize("goal", Value)
def test_a_unit_that_is_not_loaded_is_started(
    systemd: FakeSystemd, pair: Pair, goal: Value, monkeypatch: pytest.MonkeyPatch
) -> None:
    """systemd has nothing to reset of a unit that it has forgotten, and says so with an error: that is none of ours."""
    program = systemd.bin / "systemctl"
    refusing = 'elif verb == "reset-failed":\n    fail(f"Failed to reset failed state: Unit {name} not loaded.")\n'
    program.write_text(program.read_text().replace('elif verb == "reset-failed":\n', refusing + "elif False:\n"))
    systemd.hold({KEY: unseal(pair[goal])})
    place = SystemdUnit(UNIT, KEY, 10.0, Systemd(Processes(), systemd.env, "user"), time.sleep)
    assert systemd.pid == 0
    place.put(goal, pair)
    assert place.holds(pair) is Holds(goal)


def test_a_command_can_be_hung_up(tmp_path: Path, pair: Pair) -> None:
    """That a run outlives its terminal is its own affair: its children have SIGHUP and SIGPIPE at their defaults."""
    kept = {
        number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE)
    }
    try:
        Signals().listen()
        argv = ["/bin/sh", "-c", f"cat > /dev/null; grep SigIgn /proc/self/status > {tmp_path}/seen"]
        Command("box", argv, [], 10.0, Processes(), {"PATH": os.environ["PATH"]}, tmp_path).put(Value.NEW, pair)
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
    ignored = int((tmp_path / "seen").read_text().split()[1], 16)
    assert [number for number in (signal.SIGHUP, signal.SIGPIPE) if ignored & (1 << (number - 1))] == []
