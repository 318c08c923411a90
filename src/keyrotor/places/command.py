"""A place that the user's own commands know how to put and to look at; they get the value on stdin only.

`put` must be safe after nothing, after half, and twice, like every put. `holds` says by its exit code
whether the value on its stdin is there: 0 yes, 1 no, anything else: cannot be told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from keyrotor.boundary.plaintext import unseal
from keyrotor.boundary.process import Done, Processes, environment, found
from keyrotor.core.model import ALREADY, Holds, Value
from keyrotor.core.preview import Change
from keyrotor.errors import PlaceError
from keyrotor.secret import Pair, Secret

_ANSWER = {0: True, 1: False}


@dataclass(frozen=True, slots=True)
class Command:
    id: str
    argv: Sequence[str]
    holds_argv: Sequence[str]
    within: float
    processes: Processes
    env: Mapping[str, str]
    project: Path

    def check(self, pair: Pair) -> list[str]:
        if any(unseal(pair.old) in word.encode() for word in (*self.argv, *self.holds_argv)):
            return [f"cannot run {self.id}: its command line holds the key itself; let it read the key from stdin"]
        programs = [argv[0] for argv in (self.argv, self.holds_argv) if argv]
        missing = [program for program in programs if found(program, self.env, self.project) is None]
        return [f"cannot run {program}: no such program" for program in missing]

    def holds(self, pair: Pair) -> Holds:
        if not self.holds_argv:
            return Holds.UNKNOWN
        answers = {value: _ANSWER.get(self._run(self.holds_argv, value, pair).code) for value in Value}
        if None in answers.values():
            return Holds.UNKNOWN
        return Holds.seen(old=bool(answers[Value.OLD]), new=bool(answers[Value.NEW]))

    def put(self, goal: Value, pair: Pair) -> str:
        if self.holds(pair) is Holds(goal):
            return ALREADY
        done = self._run(self.argv, goal, pair)
        if done.code:
            raise PlaceError(f"cannot put the {goal} value: {self.argv[0]} ended with exit code {done.code}")
        holds = self.holds(pair)
        if holds not in (Holds(goal), Holds.UNKNOWN):
            raise PlaceError(f"cannot put the {goal} value: {self.argv[0]} ended well, but the place holds {holds}")
        return "done"

    def prepare(self, goal: Value, pair: Pair) -> None:
        """Nothing: a put is quick."""

    def after(self, goal: Value, pair: Pair) -> str:
        return ""

    def shows(self) -> list[Secret]:
        return []

    def changes(self, pair: Pair) -> list[Change]:
        return [Change(text=f"runs {self.argv[0]} with the new value on its stdin; what that changes it alone knows")]

    def inputs(self) -> list[Path]:
        programs = [found(argv[0], self.env, self.project) for argv in (self.argv, self.holds_argv) if argv]
        return [Path(program) for program in programs if program]

    def _run(self, argv: Sequence[str], value: Value, pair: Pair) -> Done:
        env = {**environment(self.env), "KEYROTOR_PLACE": self.id, "KEYROTOR_VALUE": value}
        return self.processes.run(argv, env=env, stdin=unseal(pair[value]), cwd=self.project, within=self.within)
