"""The sops binary: its version, decrypting, and setting one value on a copy.

Rules:
1. sops never gets the live file to write: it truncates in place (facts: Go's os.Create, no fsync).
2. The value travels as JSON on stdin; neither argv nor environment ever holds it.
3. What sops says on stderr can hold plaintext, so it is never shown: errors are told by exit code.
4. Both types are always given; an unmatched extension would change the output format.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from keyrotor.boundary.process import Done, environment
from keyrotor.errors import PlaceError, RefusedError

if TYPE_CHECKING:
    from keyrotor.secret import Secret

OLDEST = (3, 11, 0)  # the first release whose `set` reads the value from stdin (2025-09-28)
_INSTALL = f"install sops {'.'.join(map(str, OLDEST))} or later, or name it in KEYROTOR_SOPS"
_TYPES = ("--input-type", "dotenv", "--output-type")

_WHY = {
    1: "it is not an encrypted dotenv file that sops can read, or a .sops.yaml above it is broken",
    2: "sops could not read it",
    3: "sops could not write it",
    4: "the value cannot be written in a dotenv file",
    7: "the key's name cannot be addressed",
    25: "a value in it was tampered with, or stands in clear",
    100: "there is no such file",
    51: "its checksum does not match: values were added, moved or removed without sops",
    128: "no age identity here can decrypt it",
}
_NO_IDENTITY = 128
_HINT = {
    1: "sops decrypt {path} > /dev/null  (says more; it may print values)",
    25: "git log -p -- {path}  (if nobody you know did this, treat it as an incident)",
    51: "git log -p -- {path}  (a merge of two edits does this; take one side and set the other again)",
    128: "export SOPS_AGE_KEY_FILE=…  (or put the identity in ~/.config/sops/age/keys.txt)",
}


@dataclass(frozen=True, slots=True)
class Identity:
    """Where sops finds the age identity, when the playbook says so; else sops looks where it always does."""

    variables: Mapping[str, str]

    @property
    def hint(self) -> str:
        """What mends it where it opens nothing; it stands above the variable of the same name."""
        if file := self.variables.get("SOPS_AGE_KEY_FILE"):
            return f"ls -l {shlex.quote(file)}  (the [secret] identity of the playbook: is it the right one?)"
        command = self.variables.get("SOPS_AGE_KEY_CMD", "")
        return f"{command} > /dev/null  (the [secret] identity of the playbook: does the keyring give it?)"


class Runner(Protocol):
    """What runs sops: `Processes`, or `Quick`."""

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        stdin: bytes = b"",
        cwd: Path | None = None,
        within: float = 60.0,
    ) -> Done:
        """Run to the end. Raises PlaceError."""


class Sops:
    """One sops binary in one environment."""

    def __init__(self, processes: Runner, env: Mapping[str, str], identity: Identity | None = None) -> None:
        self._processes = processes
        self._program = env.get("KEYROTOR_SOPS") or "sops"
        self._env = environment(env, "GNUPGHOME", "SSH_AUTH_SOCK", prefixes=("SOPS_AGE_", "PYTHON_KEYRING_"))
        self._env |= {"SOPS_DISABLE_VERSION_CHECK": "1", "SOPS_EDITOR": "false", "EDITOR": "false"}
        self._env |= identity.variables if identity else {}
        self._identity = identity

    def want_version(self) -> str:
        """Its version. Raises RefusedError without a sops that can read a value from stdin. Asks the network nothing.

        It comes before any other call: an old sops takes `set` for the name of a file to edit.
        """
        try:
            done = self._processes.run([self._program, "--version", "--disable-version-check"], env=self._env)
        except PlaceError as error:
            raise RefusedError(str(error), hint=_INSTALL) from None
        found = re.match(rb"sops (\d+)\.(\d+)\.(\d+)", done.out)
        if found is None:
            raise RefusedError(f"cannot use {self._program}: it does not say which version it is", hint=_INSTALL)
        version = tuple(int(part) for part in found.groups())
        said = ".".join(map(str, version))
        if version < OLDEST:
            raise RefusedError(f"cannot use sops {said}: `sops set` must read the value from stdin", hint=_INSTALL)
        return said

    def hint_if_missing(self, cwd: Path) -> str:
        """How to get a sops, where there is none."""
        from keyrotor.boundary.process import found

        return "" if found(self._program, self._env, cwd) else _INSTALL

    def decrypt(self, path: Path, cwd: Path, called: Path | None = None) -> dict[str, Secret]:
        """Every value in the file, verbatim. Raises PlaceError in our own words; `called` is its name in them."""
        argv = [self._program, "decrypt", *_TYPES, "json", str(path)]
        done = self._processes.run(argv, env=self._env, cwd=cwd)
        self._want_done(done, "decrypt", called or path)

        from keyrotor.boundary.plaintext import seal_all  # here, so that sops can be started before it is imported

        try:
            return seal_all(json.loads(done.out))
        except (ValueError, AttributeError):
            raise PlaceError(f"cannot decrypt {called or path}: sops answered with something else") from None

    def set_value(self, copy: Path, key: str, secret: Secret, cwd: Path, called: Path | None = None) -> None:
        """Put the value under the key of this copy; the copy's other values keep their ciphertext."""
        from keyrotor.boundary.plaintext import unseal

        argv = [self._program, "set", "--idempotent", *_TYPES, "dotenv", "--value-stdin"]
        done = self._processes.run(
            [*argv, str(copy), json.dumps([key])],
            env=self._env,
            cwd=cwd,
            stdin=json.dumps(unseal(secret).decode()).encode(),
        )
        self._want_done(done, "encrypt", called or copy)

    def encrypt(self, values: Mapping[str, Secret], path: Path, project: Path) -> bytes:
        """The ciphertext of a file with these values, by the rules of the project for this path, proven to open here.

        Writes nothing. Raises PlaceError.
        """
        from keyrotor.boundary.plaintext import unseal

        plain = json.dumps({key: unseal(secret).decode() for key, secret in values.items()}).encode()
        named = ["--filename-override", os.path.relpath(path, project), "--input-type", "json"]
        argv = [self._program, "encrypt", *named, "--output-type", "dotenv", "/dev/stdin"]
        done = self._processes.run(argv, env=self._env, cwd=project, stdin=plain)
        if done.code == 1:
            raise PlaceError(f"cannot encrypt {path}: no rule of a .sops.yaml in {project} or above covers it")
        self._want_done(done, "encrypt", path)
        argv = [self._program, "decrypt", *_TYPES, "json", "/dev/stdin"]
        again = self._processes.run(argv, env=self._env, cwd=project, stdin=done.out)
        self._want_done(again, "decrypt", path)
        if json.loads(again.out) != json.loads(plain):
            raise PlaceError(f"cannot trust what sops wrote: {path} reads back differently")
        return done.out

    def _want_done(self, done: Done, verb: str, path: Path) -> None:
        if done.code:
            why = _WHY.get(done.code, f"sops ended with exit code {done.code}")
            hint = _HINT.get(done.code, "").format(path=shlex.quote(str(path)))
            if done.code == _NO_IDENTITY and self._identity:
                hint = self._identity.hint
            raise PlaceError(f"cannot {verb} {path}: {why}", hint=hint)
