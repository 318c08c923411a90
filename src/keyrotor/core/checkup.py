"""A row of lines, each well or not, and how to mend it: what `doctor` and `healthcheck` find. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from keyrotor.errors import Exit


class State(StrEnum):
    """`well`; `ill`: must be mended; `unknown`: could not be told, which is no fault; `skipped`: not asked."""

    WELL = "well"
    ILL = "ill"
    UNKNOWN = "unknown"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that was looked at."""

    name: str  # what was looked at, in a word or two
    state: State
    said: str  # what was seen; never a value
    mend: str = ""  # the command to type, where it is ill
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Check:
    """Something that can be looked at, and is not touched."""

    name: str
    look: Callable[[], Line | str]  # says what was seen where it is well; raises an error of ours where it is ill
    mend: str = ""  # where the error has no hint
    needs: tuple[str, ...] = ()  # the lines without which there is nothing to look at


@dataclass(frozen=True, slots=True)
class Examined:
    """What a doctor saw in one environment."""

    lines: tuple[Line, ...]
    environment: Mapping[str, str]  # the variables that matter to a rotation; of a value only that there is one
    state: str  # the folder of the record


def exit_of(lines: Iterable[Line]) -> Exit:
    """10 if anything is ill."""
    return Exit.FINDINGS if any(line.state is State.ILL for line in lines) else Exit.DONE


def as_json(lines: Iterable[Line], **besides: Any) -> Mapping[str, Any]:
    """The one object that --json prints (docs/reference/json.md)."""
    told = tuple(lines)
    return {
        "schema": 1,
        **besides,
        "exit": int(exit_of(told)),
        "lines": [
            {
                "name": line.name,
                "state": str(line.state),
                "said": line.said,
                "mend": line.mend,
                "seconds": round(line.seconds, 3),
            }
            for line in told
        ],
    }
