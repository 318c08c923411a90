"""The loop: ask what is next, record the intent, put, record the result. Knows no place by name.

Rules:
1. The intent is durable before the effect, the result after it; a crash between them leaves a place in
   doubt, and a place in doubt is simply put again.
2. Rollback and resume are this same loop.
3. A place that fails in a way nobody foresaw has failed like any other: the run turns back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from keyrotor.core import decide, machine
from keyrotor.core.machine import Event, Phase, Run, Step
from keyrotor.core.model import Act, Holds, Outcome, Row, Value
from keyrotor.errors import InterruptedRun, KeyrotorError, PlaceError, StrangerError, UnprovenError, internal
from keyrotor.ports import Place, Stop
from keyrotor.secret import Pair


@dataclass(frozen=True, slots=True)
class Ending:
    """Where a drive came to rest."""

    run: Run
    outcome: Outcome
    reason: str = ""


class Engine:
    """Drives one run over its places. `record` makes events durable before it returns: all of them, or none."""

    def __init__(
        self, run: Run, places: Mapping[str, Place], pair: Pair, record: Callable[[Sequence[Event]], None], stop: Stop
    ) -> None:
        self._run = run
        self._places = places
        self._pair = pair
        self._record = record
        self._stop = stop
        self._told: dict[str, str] = {}  # row -> what it left to a person, once it was told to read again

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
                reason = f"{machine.SIGNALLED}{asked}"
                if decide.may_turn_back(self._run) and not self._stop.must_stop_now:
                    self._emit(machine.TurnedBack(reason))
                elif self._run.goal is Value.NEW or self._stop.must_stop_now:
                    return Ending(self._run, Outcome.INTERRUPTED, reason)
        return Ending(self._run, self._run.outcome or Outcome.INTERRUPTED, self._run.reason)

    def _carry_out(self, move: decide.Move) -> None:
        match move:
            case decide.Put(row, value):
                self._put(decide.together(self._run, row), value)
            case decide.TurnBack(reason):
                self._emit(machine.TurnedBack(reason))
            case decide.Settle():
                self._settle()
            case decide.Close(outcome):
                self._emit(machine.Closed(outcome))

    def _put(self, rows: Sequence[Row], value: Value) -> None:
        """Put these rows, each after the intents of all of them are on record."""
        if value is Value.OLD:
            rows = self._to_go_back(rows)
        if rows and decide.takes_up(rows[0]):
            if drifted := self._drifted_above(rows[0]):
                self._emit(drifted)
                return
            if decide.begins_outage(self._run, rows[0]) and (spoilt := self._prepared_below(rows[0], value)):
                self._emit(spoilt)
                return
        self._emit(*(machine.Moving(row.id, value) for row in rows))
        results: list[Event] = []
        try:
            for row in rows:
                if results:
                    self._stop.raise_if_asked()  # the first one's turn was asked for before
                results.append(self._result(row, value))
        finally:  # what was done before a signal is done
            self._emit(*results)

    def _to_go_back(self, rows: Sequence[Row]) -> list[Row]:
        """Those that must be put on the way back; the others are passed as they are."""
        seen = [(row, self._look(row)) for row in rows]
        must = [row for row, holds in seen if decide.must_go_back(self._run, row, holds)]
        self._emit(*(machine.Passed(row.id, Value.OLD, holds) for row, holds in seen if row not in must))
        return must

    def _result(self, row: Row, value: Value) -> Event:
        """Put one row."""
        try:
            if decide.is_hopeless(self._run, row):
                raise PlaceError(f"not asked: {row.label} does not accept the {value} key")
            return machine.Moved(row.id, value, self._places[row.id].put(value, self._pair))
        except InterruptedRun:
            raise
        except KeyrotorError as error:
            if isinstance(error, StrangerError) and value is Value.OLD:
                return machine.Passed(row.id, value, Holds.NEITHER)
            return machine.Failed(row.id, value, str(error), unproven=isinstance(error, UnprovenError))
        except Exception as error:  # noqa: BLE001  a bug of ours must not leave the gateway between two keys
            return machine.Failed(row.id, value, str(internal(error)))

    def _prepared_below(self, row: Row, value: Value) -> machine.TurnedBack | None:
        """Work out what the rows below will write, before the outage begins; what cannot be written need not cost one.
        On the way back, and where there is none, each put says for itself what it cannot do."""
        for below in self._run.plan.rows[self._run.plan.rows.index(row) + 1 :]:
            if self._run.mark(below).has_begun:
                continue  # a kill may have left it half written, which its put mends
            try:
                self._places[below.id].prepare(value, self._pair)
            except InterruptedRun:
                raise
            except Exception as error:  # noqa: BLE001  as in a put
                if decide.may_turn_back(self._run):
                    why = error if isinstance(error, KeyrotorError) else internal(error)
                    return machine.TurnedBack(f"{below.id}: {why}")
        return None

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
        """What runs there is told to read again; then the last look. What drifted is put once more; what drifts again,
        or cannot be put, is left to a person."""
        self._stop.is_firm = True
        self._tell()
        tasks = [(row, f"{row.label} holds neither value any more; it is left as it is") for row in self._strangers()]
        for row in decide.to_settle(self._run):
            holds, mark = self._look(row), self._run.mark(row)
            if decide.is_given_up(self._run, row):
                tasks.append((row, f"cannot put {row.label} once more: {mark.reason}"))
            elif holds is Holds.UNKNOWN and row.act is Act.FILE and mark.step is Step.MOVED:
                tasks.append((row, f"{row.label} cannot be read any more: what it holds cannot be told"))
            elif decide.has_drifted(self._run, row, holds):
                if "settle" not in mark.drifts:
                    self._told.pop(row.id, None)
                    self._emit(machine.Drifted(row.id, holds, "settle"))
                    return
                tasks.append((row, f"{row.label} holds {holds} again: something else writes it"))
        self._emit(machine.Settled(self._left_to_do([(row.id, text) for row, text in tasks])))

    def _tell(self) -> None:
        """Make what runs at each place that was put read again, and hear what a person must do there."""
        for row in self._run.plan.rows:
            if row.id in self._told or not self._run.mark(row).was_put:
                continue
            try:
                task = self._places[row.id].after(self._run.goal, self._pair)
                self._told[row.id] = task if self._is_lasting else ""
            except InterruptedRun:
                raise
            except Exception as error:  # noqa: BLE001  the values are in force: nothing here is worth turning back for
                self._told[row.id] = str(error if isinstance(error, KeyrotorError) else internal(error))

    def _left_to_do(self, tasks: Sequence[tuple[str, str]]) -> dict[str, str]:
        """These tasks, and all else that a person must do, by row; what is the same for two is told once."""
        todo = self._run.plan.todo if self._is_lasting else {}
        texts: dict[str, list[str]] = {}
        for row, text in (*self._told.items(), *todo.items(), *tasks):
            texts.setdefault(row, []).extend([text] if text else [])
        told = {"; ".join(said): row for row, said in reversed(texts.items()) if said}
        return {row: text for text, row in reversed(told.items())}

    @property
    def _is_lasting(self) -> bool:
        """Whether people have had time to act on the other value."""
        return self._run.goal is Value.NEW or self._run.reason == machine.ASKED

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

    def _emit(self, *events: Event) -> None:
        """The record first: events that cannot be recorded have not happened."""
        run = self._run
        for event in events:
            run = machine.follow(run, event)
        if events:
            self._record(events)
        self._run = run
