"""The screens: lines for a pipe, a live step list for a terminal.

A screen is fed the same events as the journal, so the two cannot differ. A reader that leaves stops nothing.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import groupby
from typing import IO, TYPE_CHECKING, TextIO, cast

from keyrotor.core import machine, plan
from keyrotor.core.machine import Event, Phase, Run, Step
from keyrotor.core.model import ALREADY, Act, Playbook, Purpose, Row, Value

if TYPE_CHECKING:
    from rich.table import Table

SYMBOLS: Mapping[Step, str] = {
    Step.PENDING: "·",
    Step.MOVING: "▸",
    Step.MOVED: "✓",
    Step.FAILED: "✗",
    Step.PASSED: "–",
}
FIT = 16  # files that a screen shows one by one; the other rows need some of its 24 lines
EXPECTED = ("written", "done", "proven")  # details that say no more than the tick does
_ASCII = str.maketrans({"·": ".", "▸": ">", "✓": "+", "✗": "x", "–": "-", "…": "...", "→": "->"})


def doing(row: Row, value: Value, purpose: Purpose = Purpose.ROTATE) -> str:
    """What putting a row is, in words; a repair puts the present key and proves the former one dead."""
    goal, other = (value, value.other) if purpose is Purpose.ROTATE else ("present", "former")
    match row.act:
        case Act.RESTART:
            return f"restart {row.label} onto the {goal} key"
        case Act.ADMIT:
            return f"prove that {row.label} accepts the {goal} key"
        case Act.RETIRE:
            return f"prove that {row.label} refuses the {other} key"
        case Act.COMMAND:
            return f"run {row.label}"
        case Act.STORE:
            return f"give {row.label} the {goal} key"
        case Act.FILE:
            return f"write {row.label}"


class Deaf(io.TextIOBase):
    """A stream whose reader may leave: a closed pipe or a terminal that hung up stops nothing."""

    def __init__(self, out: TextIO) -> None:
        super().__init__()
        self._out = out

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):
            self._out.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._out.flush()

    def isatty(self) -> bool:
        return self._out.isatty()

    def fileno(self) -> int:
        return self._out.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._out.encoding


class Plain:
    """Lines: one for each thing that was done. For logs, pipes and timers."""

    def __init__(self, out: TextIO, ask: Callable[[str], bool] | None = None) -> None:
        self._out = out
        self._ask = ask  # None: consent was given beforehand
        self._began: dict[str, float] = {}

    def say(self, text: str) -> None:
        """One line. A pipe that was closed stops nothing."""
        print(encodable(text, self._out), file=Deaf(self._out), flush=True)

    def preflight(self, playbook: Playbook, rows: Sequence[Row]) -> None:
        self.say(f"{playbook.name}: looking at {len({row.place for row in rows})} places")

    def skipped(self, row: Row, why: str) -> None:
        self.say(f"  {SYMBOLS[Step.PASSED]} {row.label}: {why}")

    def planned(self, book: Playbook, rows: Sequence[Row]) -> None:
        """What a rotation would do, in its order."""
        self.say(f"{book.name} gives {book.source.key} a new value:")
        for row in rows:
            self.say(f"  {SYMBOLS[Step.PENDING]} {doing(row, Value.NEW)}")
        away = " The gateway will be away for some seconds." if plan.restarts(rows) else ""
        self.say(f"Every place can change, and change back.{away}")

    def consents(self, book: Playbook, rows: Sequence[Row]) -> bool:
        if self._ask is None:
            return True
        self.planned(book, rows)
        return self._ask("Rotate now?")

    def agrees(self, lines: Sequence[str], question: str) -> bool:
        if self._ask is None:
            return True
        for line in lines:
            self.say(line)
        return self._ask(question)

    @contextmanager
    def follow(self, run: Run) -> Iterator[Callable[[Run, Event], None]]:
        self.say(f"run {run.plan.run}: {_direction(run)}")
        yield self._shown

    def _shown(self, run: Run, event: Event) -> None:
        match event:
            case machine.Moving(row_id, _):
                self._began[row_id] = time.monotonic()
            case machine.Moved(row_id, value, detail):
                self._line(run, Step.MOVED, row_id, value, "" if detail in EXPECTED else detail)
            case machine.Failed(row_id, value, reason):
                self._line(run, Step.FAILED, row_id, value, reason.splitlines()[0])
            case machine.Passed(row_id, value, holds):
                self._line(run, Step.PASSED, row_id, value, f"left as it is ({holds})")
            case machine.Drifted(row_id, holds):
                self.say(f"  ! {run.plan.row(row_id).label} holds {holds} now; it is put again")
            case machine.TurnedBack(reason):
                was_told = reason.startswith(tuple(run.marks))
                self.say("turning back" if was_told else f"turning back: {reason.splitlines()[0]}")

    def _line(self, run: Run, step: Step, row_id: str, value: Value, detail: str) -> None:
        began = self._began.pop(row_id, None)
        seconds = time.monotonic() - began if began else 0.0
        spent = f" ({seconds:.1f} s)" if seconds >= 0.1 else ""
        said = f": {detail}" if detail else ""
        self.say(f"  {SYMBOLS[step]} {doing(run.plan.row(row_id), value, run.plan.purpose)}{said}{spent}")


class Live(Plain):
    """The step list on a terminal: what is happening, since when, what comes next, how long the gateway is away."""

    def __init__(self, out: TextIO, ask: Callable[[str], bool] | None, *, colour: bool) -> None:
        super().__init__(out, ask)
        self._colour = colour
        self._run: Run | None = None
        self._since: dict[str, float] = {}
        self._spent: dict[str, float] = {}
        self._restarts: frozenset[str] = frozenset()
        self._away: float | None = None
        self._back: float | None = None

    @contextmanager
    def follow(self, run: Run) -> Iterator[Callable[[Run, Event], None]]:
        from rich.console import Console
        from rich.live import Live as RichLive

        self._run, self._restarts = run, plan.restarts(run.plan.rows)
        console = Console(file=cast("IO[str]", Deaf(self._out)), no_color=not self._colour, highlight=False)
        with RichLive(console=console, refresh_per_second=8, get_renderable=self._table, redirect_stdout=False):
            yield self._noted

    def _noted(self, run: Run, event: Event) -> None:
        now = time.monotonic()
        match event:
            case machine.Moving(row_id, _):
                self._since[row_id] = now
                if row_id in self._restarts and self._away is None:
                    self._away, self._back = now, None
            case machine.Moved(row_id, _, detail):
                self._spent[row_id] = now - self._since.get(row_id, now)
                self._seen_moved(run.plan.row(row_id), detail, now)
            case machine.Failed(row_id, _, _):
                self._spent[row_id] = now - self._since.get(row_id, now)
            case machine.TurnedBack():
                self._spent.clear()
        self._run = run

    def _line_of(self, run: Run, rows: Sequence[Row], now: float) -> tuple[Step, str, float | None]:
        """A row, or many files together: how far they are, in words, and for how long. The worst of them counts."""
        marks = [run.mark(row) for row in rows]
        at, mark = min(enumerate(marks), key=lambda each: _WORST.index(each[1].step))
        detail = mark.reason.splitlines()[0] if mark.step is Step.FAILED and mark.reason else ""
        if len(rows) > 1 and mark.step is not Step.FAILED:
            return mark.step, f"write {len(rows)} files, {sum(one.is_done for one in marks)} done", None
        spent = now - self._since[rows[at].id] if mark.step is Step.MOVING else self._spent.get(rows[at].id)
        text = doing(rows[at], run.goal, run.plan.purpose)
        return mark.step, f"{text}: {detail}" if detail else text, spent

    def _seen_moved(self, row: Row, detail: str, now: float) -> None:
        if row.id in self._restarts and detail == ALREADY:
            self._away = None
        elif row.act is Act.ADMIT and self._away is not None and self._back is None:
            self._back = now - self._away

    def _table(self) -> Table:
        from rich.table import Table
        from rich.text import Text

        assert self._run is not None
        run, now = self._run, time.monotonic()
        table = Table.grid(padding=(0, 1))
        table.add_row("", Text(f"run {run.plan.run}: {_direction(run)}", style="bold"))
        for rows in _grouped(run.plan.rows):
            step, text, spent = self._line_of(run, rows, now)
            table.add_row(
                f" {SYMBOLS[step]}", Text(text, style=_STYLES[step]), "" if spent is None else f"{spent:.1f} s"
            )
        if self._away is not None:
            away = (
                f"gateway was away for {self._back:.1f} s"
                if self._back
                else f"gateway away for {now - self._away:.1f} s"
            )
            table.add_row("", Text(away, style="dim"))
        return table


_WORST = (Step.FAILED, Step.MOVING, Step.PENDING, Step.MOVED, Step.PASSED)


def _grouped(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    """Each row by itself, but for files of which more follow each other than a screen has lines."""
    for is_file, several in groupby(rows, key=lambda row: row.act is Act.FILE):
        together = tuple(several)
        if is_file and len(together) > FIT:
            yield together
        else:
            yield from ((row,) for row in together)


_STYLES: Mapping[Step, str] = {
    Step.PENDING: "dim",
    Step.MOVING: "bold",
    Step.MOVED: "green",
    Step.FAILED: "red",
    Step.PASSED: "dim",
}


def _direction(run: Run) -> str:
    if run.phase is Phase.CLOSED:
        return str(run.outcome)
    if run.plan.purpose is Purpose.REPAIR:
        return "putting the present key everywhere"
    if run.goal is Value.NEW:
        return "rotating to the new key"
    return f"going back to the old key ({run.reason.splitlines()[0] if run.reason else 'asked for'})"


def encodable(text: str, out: TextIO) -> str:
    """The text as the stream can take it."""
    encoding = getattr(out, "encoding", None) or "ascii"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(_ASCII).encode(encoding, "replace").decode(encoding)
    return text
