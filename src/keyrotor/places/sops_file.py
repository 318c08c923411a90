"""The encrypted file: swapped whole for a prepared one, or amended where somebody else has edited it.

Rules:
1. The live file is replaced by rename; sops works on copies in the run's own folder.
2. A file that is ours by hash needs no decrypting, so that a lost identity cannot block a rollback.
3. Every copy that sops wrote is decrypted and compared, key by key, before it may become the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from keyrotor.boundary import files, writable
from keyrotor.boundary.plaintext import are_same, is_blank
from keyrotor.boundary.sops import Sops
from keyrotor.core.model import ALREADY, Holds, Value
from keyrotor.core.preview import Change
from keyrotor.errors import PlaceError
from keyrotor.formats import encrypted_dotenv
from keyrotor.secret import Pair, Secret


@dataclass(frozen=True, slots=True)
class Encrypted:
    """One encrypted file, one key in it, and the sops that can open it."""

    path: Path
    key: str
    sops: Sops
    project: Path  # where sops runs: it looks for .sops.yaml from there upward

    def refusals(self) -> list[str]:
        """Every reason, found without any key, why sops must not be let near the file."""
        try:
            data = files.look(self.path).data
        except PlaceError as error:
            return [str(error)]
        return [f"cannot use {self.path}: {why}" for why in encrypted_dotenv.refusals(data, self.key)]

    def values(self) -> dict[str, Secret]:
        """Every value in the live file. Raises PlaceError."""
        found = self.sops.decrypt(self.path, self.project)
        if self.key not in found or is_blank(found[self.key]):
            raise PlaceError(f"cannot use {self.path}: its {self.key} is empty")
        return found

    def values_of(self, copy: Path) -> dict[str, Secret]:
        """Every value in a copy of the file."""
        return self.sops.decrypt(copy, self.project, self.path)

    def amended(self, data: bytes, goal: Value, pair: Pair, copy: Path) -> bytes:
        """The ciphertext `data` with the goal under the key, proven to differ in nothing else.

        `copy` is where sops may work. Raises PlaceError, also where the key holds a third value: that is a later
        rotation's, not ours to undo.
        """
        files.remove(copy)
        files.create(copy, data)
        before = self.values_of(copy)
        if not any(are_same(before[self.key], pair[value]) for value in Value):
            raise PlaceError(f"cannot write {self.path}: its {self.key} is neither the old nor the new value")
        return self._set(data, before, pair[goal], copy)

    def prepared(self, data: bytes, pair: Pair, copy: Path) -> bytes:
        """The same towards the new value, for `data` that is known to hold the old one."""
        files.create(copy, data)
        return self._set(data, {**pair.siblings, self.key: pair.old}, pair.new, copy)

    def _set(self, data: bytes, before: Mapping[str, Secret], secret: Secret, copy: Path) -> bytes:
        self.sops.set_value(copy, self.key, secret, self.project, self.path)
        amended, after = files.look(copy).data, self.values_of(copy)
        if changed := encrypted_dotenv.others_changed(data, amended, self.key):
            raise PlaceError(f"cannot trust what sops wrote: {', '.join(changed)} changed too")
        same = before.keys() == after.keys() and all(are_same(before[k], after[k]) for k in before if k != self.key)
        if not same or not are_same(after[self.key], secret):
            raise PlaceError(f"cannot trust what sops wrote: {self.key} or another value reads back differently")
        return amended


@dataclass(frozen=True, slots=True)
class SopsFile:
    """`prepared` maps each value to ciphertext that holds it; before a run is opened there is only the old one."""

    encrypted: Encrypted
    prepared: Mapping[Value, bytes]
    folder: Path  # the run's own
    is_source: bool = False  # a repair's: the value is read from it, and it is never written

    def check(self, pair: Pair) -> list[str]:
        return writable.refusals(self.encrypted.path)

    def holds(self, pair: Pair) -> Holds:
        if not files.exists(self.encrypted.path):
            return Holds.NEITHER
        try:
            if ours := self._ours(files.look(self.encrypted.path).data):
                return Holds(ours)
            found = self.encrypted.values().get(self.encrypted.key)
        except PlaceError:
            return Holds.UNKNOWN
        if found is None:
            return Holds.NEITHER
        is_old = not self.is_source and are_same(found, pair.old)
        return Holds.seen(old=is_old, new=are_same(found, pair.new))

    def put(self, goal: Value, pair: Pair) -> str:
        if self.is_source:
            return self._compare(goal, pair)
        was_theirs = False

        def edit(data: bytes) -> bytes:
            nonlocal was_theirs
            ours = self._ours(data)
            if ours is goal:
                return data
            was_theirs = ours is None
            return self._on_theirs(data, goal, pair) if ours is None else self.prepared[goal]

        if not files.exists(self.encrypted.path):
            files.create(self.encrypted.path, self.prepared[goal])
        wrote = files.update(self.encrypted.path, edit)
        if self.holds(pair) is not Holds(goal):
            raise PlaceError(f"cannot write {self.encrypted.path}: it does not read back as the {goal} value")
        return ("written, and somebody else's edit kept" if was_theirs else "written") if wrote else ALREADY

    def prepare(self, goal: Value, pair: Pair) -> None:
        """Nothing: a put is quick."""

    def after(self, goal: Value, pair: Pair) -> str:
        return ""

    def shows(self) -> list[Secret]:
        return []  # an audit reads it before it looks at any place

    def changes(self, pair: Pair) -> list[Change]:
        changing = encrypted_dotenv.changing(files.look(self.encrypted.path).data, self.encrypted.key)
        said = {"sops_lastmodified": "the time of the change", "sops_mac": "the checksum"}
        return [Change(name, line, text=said.get(name, "encrypted anew")) for line, name in changing]

    def inputs(self) -> list[Path]:
        return [self.encrypted.path]

    def _compare(self, goal: Value, pair: Pair) -> str:
        """What a repair does with it: nothing, as long as the value that it puts is still the one that stands there."""
        if self.holds(pair) is not Holds(goal):
            why = "it does not hold the value any more that this repair puts"
            raise PlaceError(f"cannot go on: {self.encrypted.path}: {why} (abandon the run, then repair again)")
        return ALREADY

    def _ours(self, data: bytes) -> Value | None:
        prepared = self.prepared
        ours = (value for value in prepared if not self.is_source or value is Value.NEW)
        return next((value for value in ours if prepared[value] == data), None)

    def _on_theirs(self, data: bytes, goal: Value, pair: Pair) -> bytes:
        if refusals := encrypted_dotenv.refusals(data, self.encrypted.key):
            raise PlaceError(f"cannot use {self.encrypted.path}: {refusals[0]}")
        return self.encrypted.amended(data, goal, pair, self.folder / "theirs.env")
