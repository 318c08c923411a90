"""What an env file is beside the encrypted file that it is made from: by the names of keys, never by a value. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum


class Sheet(StrEnum):
    """How an env file stands, or what became of it."""

    SAME = "same"  # it holds what the encrypted file holds
    DIFFERS = "differs"
    ABSENT = "absent"
    MADE = "made"  # it was absent
    WRITTEN = "written"  # some of its values were replaced or added
    MENDED = "mended"  # only its mode was wrong


@dataclass(frozen=True, slots=True)
class Compared:
    """One env file, key by key."""

    path: str
    state: Sheet
    missing: Sequence[str] = ()  # keys that it lacks
    differing: Sequence[str] = ()  # keys with another value, or written so that readers differ in it
    mode: int | None = None  # None: it is absent
    reasons: Sequence[str] = ()  # why it cannot be made to hold what it should
    unwritable: Sequence[str] = ()  # keys with a value that no quotes hold

    @property
    def is_open(self) -> bool:
        """Whether others than its owner and its group may look into it."""
        return bool((self.mode or 0) & 0o007)

    def afterwards(self) -> Compared:
        """The same, once it was made to hold what it should."""
        if self.state is Sheet.ABSENT:
            return replace(self, state=Sheet.MADE)
        if self.state is Sheet.SAME:
            return self
        return replace(self, state=Sheet.WRITTEN if self.missing or self.differing else Sheet.MENDED)

    def line(self) -> str:
        """It in one line, for a person."""
        told = [f"{', '.join(self.differing)} {_VERB[self.state][0]}" if self.differing else ""]
        told += [f"{', '.join(self.missing)} {_VERB[self.state][1]}" if self.missing else ""]
        told += [f"mode {self.mode:04o} {_VERB[self.state][2]}" if self.is_open else ""]
        return f"{self.path}: {'; '.join(filter(None, told)) or _ALONE[self.state]}"

    def as_json(self) -> dict[str, object]:
        """One of the `files` of `env --json` (docs/reference/json.md)."""
        return {
            "path": self.path,
            "state": str(self.state),
            "missing": list(self.missing),
            "differing": list(self.differing),
            "reasons": list(self.reasons),
            "mode": None if self.mode is None else f"{self.mode:04o}",
        }


# What is said of keys that differ, of keys that are missing, and of a mode.
_LOOKED = ("not as in the encrypted file", "missing", "lets others read it")
_DONE = ("replaced", "added", "taken from others")
_VERB = {state: _DONE if state in (Sheet.MADE, Sheet.WRITTEN, Sheet.MENDED) else _LOOKED for state in Sheet}
_ALONE = {
    Sheet.SAME: "unchanged",
    Sheet.DIFFERS: "not as it should be",  # it lacks a key that the encrypted file lacks, too
    Sheet.ABSENT: "absent",
    Sheet.MADE: "made",
}
