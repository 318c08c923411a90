"""What a plan says, as data; and a saved plan held against the present.

Owns: `Change` (what one put would change, without a value), which keys of a path may be shown, `State`, `Saved` and
what has changed since. Pure.
A saved plan holds no value: the contents that it was made from stand in it as keyed digests, the salt beside them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from keyrotor.core.model import Row

SCHEMA = 1
KIND = "keyrotor plan"  # what tells a saved plan from any other JSON file

HIDDEN = "[…]"
_STEP = re.compile(r"\.?(?P<word>[^.\[\]]+)|\[(?P<index>[0-9]+)\]|" + r'\["[^"\\]*(?:\\.[^"\\]*)*"\]')
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,31}|\$")  # `$` is a document that is one value
_TELLING = 16  # characters from which on a word may be a key of somebody's: LiteLLM wants as many of a virtual key


def shown_path(path: str, is_secret: Callable[[str], bool]) -> str:
    """The path of a leaf with `[…]` for every key that is no plain short word: somebody's secret may be a key there."""
    steps = list(_STEP.finditer(path))
    if "".join(step[0] for step in steps) != path:
        return HIDDEN
    return "".join(step[0] if _may_be_shown(step, is_secret) else HIDDEN for step in steps)


def _may_be_shown(step: re.Match[str], is_secret: Callable[[str], bool]) -> bool:
    word = step["word"]
    if word is None:
        return step["index"] is not None
    return bool(_WORD.fullmatch(word)) and not word.startswith("sk-") and not _is_odd(word) and not is_secret(word)


def _is_odd(word: str) -> bool:
    """Whether it may be a random text: letters and digits in one long run, or all three kinds in a long word."""
    kinds = ("[a-z]", "[A-Z]", "[0-9]")
    runs = re.findall(rf"[A-Za-z0-9]{{{_TELLING},}}", word)
    is_mixed = any(re.search("[A-Za-z]", run) and re.search("[0-9]", run) for run in runs)
    return is_mixed or (len(word) >= _TELLING and all(re.search(kind, word) for kind in kinds))


class State(StrEnum):
    """What a rotation would do with a row."""

    CHANGES = "changes"
    PROVES = "proves"
    NOTHING = "nothing"  # an optional place that is absent
    BY_HAND = "by-hand"  # a person must look, restart or reload something
    CANNOT = "cannot"


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that a put of the new value would change: a span of bytes, or, where it is none, a sentence."""

    path: str = ""  # of the leaf; without a value in it
    line: int = 0  # 0: not one line
    column: int = 0
    start: int = 0  # bytes, half open; start == end: no span
    end: int = 0
    after: int | None = None  # bytes that stand there then; None: not known
    text: str = ""
    by_hand: bool = False  # not changed by us: what a person must do besides

    @property
    def is_span(self) -> bool:
        return self.end > self.start


@dataclass(frozen=True, slots=True)
class Planned:
    """One row of a plan: what would become of it, and why."""

    row: Row
    state: State
    why: str = ""  # why it is left out
    reasons: tuple[str, ...] = ()  # why it cannot
    changes: tuple[Change, ...] = ()


def state_of(row: Row, why: str, reasons: Sequence[str]) -> State:
    """What a rotation would do with a row that preflight has looked at."""
    if why:
        return State.NOTHING if why == "absent" else State.BY_HAND
    if reasons:
        return State.CANNOT
    return State.PROVES if row.act.is_proof else State.CHANGES


@dataclass(frozen=True, slots=True)
class Line:
    """One row as a saved plan keeps it."""

    id: str
    kind: str
    act: str
    label: str
    state: str


def line_of(row: Row, state: State) -> Line:
    return Line(row.id, row.kind, str(row.act), row.label, str(state))


@dataclass(frozen=True, slots=True)
class Saved:
    """A plan in a file, with everything by which it can be told whether it still holds."""

    kind: str
    schema: int
    keyrotor: str  # the version that made it
    made: str  # ISO 8601, UTC
    playbook: str
    path: str
    places: tuple[Line, ...]
    skipped: Mapping[str, str]
    salt: str
    digests: Mapping[str, str]  # path -> salted digest; "" where there was no file
    newest: str  # the newest run on record for this key; "" where there was none


def differences(saved: Saved, present: Saved) -> list[str]:
    """What has changed since the plan was saved, each by its name."""
    found = [_difference(path, saved.digests, present.digests) for path in {**saved.digests, **present.digests}]
    if (saved.places, saved.skipped) != (present.places, present.skipped):
        found.append("the places that it would change are others")
    if saved.newest != present.newest:
        found.append(f"run {present.newest} was made since" if present.newest else "its last run is gone")
    if saved.keyrotor != present.keyrotor:
        found.append(f"it was made by keyrotor {saved.keyrotor}, this is {present.keyrotor}")
    return [one for one in found if one]


def _difference(path: str, before: Mapping[str, str], now: Mapping[str, str]) -> str:
    if before.get(path) == now.get(path):
        return ""
    if path not in before or path not in now:
        return f"{path} was not looked at" if path not in before else f"{path} is not looked at any more"
    return f"{path} {'is there now' if not before[path] else 'has changed' if now[path] else 'is gone'}"
