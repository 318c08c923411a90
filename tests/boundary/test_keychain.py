"""Where the fingerprint key lives: the keyring where one answers, else a file for its owner alone."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import keyring
import pytest
from keyring.backend import KeyringBackend

from keyrotor.boundary import keychain, plaintext
from keyrotor.boundary.generate import new_key
from keyrotor.boundary.keychain import fingerprint_key, identity
from keyrotor.errors import PlaceError, PlaybookError, RefusedError
from keyrotor.secret import Secret
from places.contract import umask


class Memory(KeyringBackend):
    """A keyring that answers."""

    priority = 1.0

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.kept[service, username] = password


class Broken(Memory):
    """A keyring whose bus has gone."""

    def get_password(self, service: str, username: str) -> str | None:
        raise OSError("no bus")

    def set_password(self, service: str, username: str, password: str) -> None:
        raise OSError("no bus")


class Forgetful(Memory):
    """A keyring that takes everything and keeps nothing."""

    def set_password(self, service: str, username: str, password: str) -> None: ...


@pytest.fixture
def use() -> Iterator[object]:
    """Makes a backend the process's keyring; the former one comes back afterwards."""
    former = keyring.get_keyring()

    def make(backend: KeyringBackend) -> KeyringBackend:
        keyring.set_keyring(backend)
        return backend

    yield make
    keyring.set_keyring(former)


def _fail() -> KeyringBackend:
    from keyring.backends import fail

    return fail.Keyring()


def _null() -> KeyringBackend:
    from keyring.backends import null

    return null.Keyring()


@pytest.mark.parametrize("backend", [_fail, _null, Broken, Forgetful])
def test_without_a_keyring_that_keeps_it_the_key_is_in_a_file(tmp_path: Path, use: object, backend: object) -> None:
    """For its owner alone, under any umask, and the same key again the next time."""
    use(backend())
    fresh = new_key()
    with umask(0):
        assert fingerprint_key(tmp_path, fresh) == fresh
    (file,) = tmp_path.iterdir()
    assert file.stat().st_mode & 0o7777 == 0o600
    assert fingerprint_key(tmp_path, new_key()) == fresh


def test_a_keyring_that_answers_keeps_the_key(tmp_path: Path, use: object) -> None:
    """And no file is made."""
    memory, fresh = use(Memory()), new_key()
    assert fingerprint_key(tmp_path, fresh) == fresh
    assert fingerprint_key(tmp_path, new_key()) == fresh
    assert list(tmp_path.iterdir()) == []
    assert list(memory.kept.values()) == [fresh.hex()]


def test_a_file_wins_over_the_keyring(tmp_path: Path, use: object) -> None:
    """A timer has no keyring; the same value must keep the same fingerprint in both."""
    use(_fail())
    fresh = fingerprint_key(tmp_path, new_key())
    memory = use(Memory())
    memory.set_password(keychain.SERVICE, "fingerprint-key", new_key().hex())
    assert fingerprint_key(tmp_path, new_key()) == fresh


@pytest.mark.parametrize("text", ["", "not hex\n", "é"])
def test_a_broken_key_file_is_told(tmp_path: Path, use: object, text: str) -> None:
    """As one of our own errors, and the file is left for a person to look at."""
    use(_fail())
    fingerprint_key(tmp_path, new_key())
    (file,) = tmp_path.iterdir()
    file.write_text(text)
    with pytest.raises(PlaceError):
        fingerprint_key(tmp_path, new_key())
    assert file.read_text() == text


def test_an_identity_file_is_named_to_sops(tmp_path: Path) -> None:
    """By its path, which the playbook has made absolute; one that is not there is refused."""
    assert identity("") is None
    keys = tmp_path / "keys.txt"
    with pytest.raises(RefusedError, match="no such file"):
        identity(str(keys))
    keys.write_text("")
    made = identity(str(keys))
    assert made is not None
    assert made.variables == {"SOPS_AGE_KEY_FILE": str(keys)}


@pytest.mark.parametrize(
    ("source", "words"), [("keyring", ["keyrotor", "age-identity"]), ("keyring:my lab/age", ["my lab", "age"])]
)
def test_an_identity_in_the_keyring_is_asked_for_by_a_command(source: str, words: list[str]) -> None:
    """The command names where it is, and holds no secret."""
    made = identity(source)
    assert made is not None
    command = shlex.split(made.variables["SOPS_AGE_KEY_CMD"])
    assert command[0] == sys.executable
    assert command[-2:] == words


def test_a_keyring_without_a_user_is_refused() -> None:
    """With how to write it."""
    with pytest.raises(PlaybookError, match="SERVICE/USER"):
        identity("keyring:only-a-service")


def test_an_age_identity_is_kept_once_and_given_back(use: object) -> None:
    """A second one never takes the place of the first: what is encrypted for that one could not be opened any more."""
    use(Memory())
    assert keychain.age_identity("keyring") is None
    keychain.keep_age_identity("keyring", Secret(b"one\n"))
    kept = keychain.age_identity("keyring")
    assert kept is not None
    assert plaintext.is_same(kept, b"one")
    with pytest.raises(RefusedError, match="has an age identity already"):
        keychain.keep_age_identity("keyring", Secret(b"two\n"))
    assert keychain.age_identity("keyring:other/me") is None


@pytest.mark.parametrize("backend", [Broken, Forgetful])
def test_a_keyring_that_does_not_give_it_back_is_refused(use: object, backend: object) -> None:
    """One that is locked is not empty, and one that keeps nothing is no keyring."""
    use(backend())
    with pytest.raises(RefusedError, match="keyring"):
        keychain.keep_age_identity("keyring", Secret(b"one\n"))
