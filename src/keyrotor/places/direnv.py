"""direnv's `.envrc`: looked at, and never written, for direnv blocks one that has changed until a person allows it.

What it loads may change without that, and is a reference here. At the next prompt direnv reads it again only where a
file has changed that it watches: what `dotenv`, `source_env` or `watch_file` names. Else a shell that is open keeps the
old key.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from keyrotor.boundary import files
from keyrotor.boundary.plaintext import unseal
from keyrotor.core.model import ALREADY, Holds, Value
from keyrotor.core.preview import Change
from keyrotor.errors import PlaceError
from keyrotor.formats import envrc, references, splice
from keyrotor.secret import Pair, Secret

_LOADS_DEFAULT = re.compile(r"^\s*dotenv(?:_if_exists)?\s*(?:#.*)?$", re.MULTILINE)  # `.env` in the same folder
_RUNS_US = b"keyrotor env"  # it makes the env files, or prints what is in them


@dataclass(frozen=True, slots=True)
class Direnv:
    path: Path
    key: str
    env_files: Sequence[Path]  # the playbook's: what they hold is ours
    env: Mapping[str, str]

    def check(self, pair: Pair) -> list[str]:
        try:
            data = files.look(self.path).data
        except PlaceError as error:
            return [str(error)]
        if not any(splice.raw_hits(data, (), unseal(value)) for value in pair.others(Value.NEW)):
            return []
        loads = f"dotenv {shlex.quote(str(self.env_files[0]))}" if self.env_files else "dotenv FILE"
        why = "direnv would block it once it has changed"
        return [f"cannot write {self.path}: {why}; put `{loads}` there in the stead of the key, then: direnv allow"]

    def holds(self, pair: Pair) -> Holds:
        try:
            data = files.look(self.path).data
        except PlaceError:
            return Holds.UNKNOWN if files.exists(self.path) else Holds.NEITHER
        old = any(splice.raw_hits(data, (), unseal(value)) for value in pair.others(Value.NEW))
        found = Holds.seen(old=old, new=bool(splice.raw_hits(data, (), unseal(pair.new))))
        return Holds.REFERS if found is Holds.NEITHER and self._refers(data) else found

    def put(self, goal: Value, pair: Pair) -> str:
        if self.holds(pair) is Holds(goal):
            return ALREADY
        raise PlaceError(f"cannot write {self.path}: direnv would block it once it has changed")

    def prepare(self, goal: Value, pair: Pair) -> None:
        """Nothing: it is never written."""

    def after(self, goal: Value, pair: Pair) -> str:
        return ""

    def shows(self) -> list[Secret]:
        return []

    def broken(self, pair: Pair) -> list[tuple[str, str]]:
        return []

    def changes(self, pair: Pair) -> list[Change]:
        return []

    def inputs(self) -> list[Path]:
        return [self.path]

    def follows(self) -> bool:
        """Whether direnv reads it again by itself, for it watches one of our env files."""
        try:
            text = files.look(self.path).data.decode(errors="replace")
        except PlaceError:
            return False
        return bool(self._ours(text, envrc.watched(text, self._variables())))

    def _refers(self, data: bytes) -> bool:
        """Whether it loads one of our env files, asks us for the key, or passes the variable on; or gives it what is no
        literal."""
        text, variables = data.decode(errors="replace"), self._variables()
        loads = self._ours(text, [*envrc.loaded(text, variables), *envrc.sourced(text, variables)])
        assigned = any(said.name == self.key and said.value is None for said in envrc.assigned(text, variables))
        asks = references.prints_key(data) or _RUNS_US in data
        return bool(loads) or assigned or asks or bool(references.found(data, self.key))

    def _ours(self, text: str, named: Sequence[envrc.Named]) -> set[str]:
        """Those of our env files that are among the named ones."""
        here = str(self.path.parent)
        found = {os.path.realpath(os.path.join(here, each.path)) for each in named if each.path}
        found |= {os.path.join(path, ".env") for path in found if os.path.isdir(path)}
        found |= {os.path.realpath(os.path.join(here, ".env"))} if _LOADS_DEFAULT.search(text) else set()
        return found & {os.path.realpath(path) for path in self.env_files}

    def _variables(self) -> Mapping[str, str]:
        return {**self.env, "PWD": str(self.path.parent)}
