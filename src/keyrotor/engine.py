"""The loop: ask what is next, record the intent, put, record the result. Knows no place by name.

Rules:
1. The intent is durable before the effect, the result after it; a crash between them leaves a place in
   doubt, and a place in doubt is simply put again.
2. Rollback and resume are this same loop.
3. A place that fails in a way nobody foresaw has failed like any other: the run turns back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from keyrotor.core import decide, machine
from keyrotor.core.machine import Event, Phase, Run, Step
from keyrotor.core.model import Act, Holds, Outcome, Row, Value
from keyrotor.errors import InterruptedRun, KeyrotorError, PlaceError, UnprovenError, internal
from keyrotor.ports import Place, Stop
from keyrotor.secret import Pair


@dataclass(frozen=True, slots=True)
class Ending:
    """Where a drive came to rest."""

    run: Run
    outcome: Outcome
    reason: str = ""


class Engine:
    """Drives one run over its places. `record` makes an event durable before it returns."""

    def __init__(
        self, run: Run, places: Mapping[str, Place], pair: Pair, record: Callable[[Event], None], stop: Stop
    ) -> None:
        self._run = run
        self._places = places
        self._pair = pair
        self._record = record
        self._stop = stop

    def drive(self) -> Ending:
        """Go on until the run is closed, stuck or interrupted. Raises JournalError when nothing can be recorded."""
        while self._run.is_owed:
            self._stop.is_firm = self._stop.is_firm or self._run.phase is not Phase.FORWARD
            move = decide.next_move(self._run)
            if isinstance(move, decide.Halt):
                return Ending(self._run, move.outcome, move.reason)
            try:
                self._stop.raise_if_asked()
                self._carry_out(move)
            except InterruptedRun as asked:
                reason = f"interrupted by {asked}"
                if decide.may_turn_back(self._run) and not self._stop.must_stop_now:
                    self._emit(machine.TurnedBack(reason))
                elif self._run.goal is Value.NEW or self._stop.must_stop_now:
                    return Ending(self._run, Outcome.INTERRUPTED, reason)
        return Ending(self._run, self._run.outcome or Outcome.INTERRUPTED, self._run.reason)

    def _carry_out(self, move: decide.Move) -> None:
        match move:
            case decide.Put(row, value):
                self._put(row, value)
            case decide.TurnBack(reason):
                self._emit(machine.TurnedBack(reason))
            case decide.Settle():
                self._settle()
            case decide.Close(outcome):
                self._emit(machine.Closed(outcome))

    def _put(self, row: Row, value: Value) -> None:
        if value is Value.OLD and not decide.must_go_back(self._run, row, holds := self._look(row)):
            self._emit(machine.Passed(row.id, value, holds))
            return
        if decide.takes_up(row) and (drifted := self._drifted_above(row)):
            self._emit(drifted)
            return
        self._emit(machine.Moving(row.id, value))
        try:
            if decide.is_hopeless(self._run, row):
                raise PlaceError(f"not asked: {row.label} does not accept the {value} key")
            detail = self._places[row.id].put(value, self._pair)
        except InterruptedRun:
            raise
        except KeyrotorError as error:
            self._emit(machine.Failed(row.id, value, str(error), unproven=isinstance(error, UnprovenError)))
        except Exception as error:  # noqa: BLE001  a bug of ours must not leave the gateway between two keys
            self._emit(machine.Failed(row.id, value, str(internal(error))))
        else:
            self._emit(machine.Moved(row.id, value, detail))

    def _drifted_above(self, row: Row) -> machine.Drifted | None:
        """The first place above, once each, that was moved and no longer holds the goal."""
        for above in self._run.plan.rows:
            if above.id == row.id:
                return None
            if above.act is Act.FILE and "restart" not in self._run.mark(above).drifts:
                holds = self._look(above)
                if decide.has_drifted(self._run, above, holds):
                    return machine.Drifted(above.id, holds, "restart")
        return None

    def _settle(self) -> None:
        """The last look. What drifted is put once more; what drifts again is left to a person."""
        self._stop.is_firm = True
        tasks = {row.id: f"{row.label} holds neither value; this run never moved it" for row in self._strangers()}
        for row in decide.to_settle(self._run):
            holds = self._look(row)
            if not decide.has_drifted(self._run, row, holds):
                continue
            if "settle" not in self._run.mark(row).drifts:
                self._emit(machine.Drifted(row.id, holds, "settle"))
                return
            tasks[row.id] = f"{row.label} holds {holds} again: something else writes it"
        self._emit(machine.Settled(tasks))

    def _strangers(self) -> list[Row]:
        """The places that were left on the way back because what they hold is somebody else's."""
        marks = ((row, self._run.mark(row)) for row in self._run.plan.rows)
        return [row for row, mark in marks if mark.step is Step.PASSED and mark.detail == Holds.NEITHER]

    def _look(self, row: Row) -> Holds:
        try:
            return self._places[row.id].holds(self._pair)
        except InterruptedRun:
            raise
        except Exception:  # noqa: BLE001  a look that fails, in whatever way, has seen nothing
            return Holds.UNKNOWN

    def _emit(self, event: Event) -> None:
        """The record first: an event that cannot be recorded has not happened."""
        run = machine.follow(self._run, event)
        self._record(event)
        self._run = run
