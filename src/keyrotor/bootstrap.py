"""The use case `bootstrap`: a lab where there is none, and what is missing where there is one.

Rules:
1. Everything is looked at before anything is made, and looked at again under the lock: what was agreed to is what is
   made.
2. Each thing is made whole or not at all, and each is found by the next look: being killed between two does no harm.
3. Nothing that is there is written, but for a key that the encrypted file lacks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from keyrotor.core.founding import Asked, State, Survey, count
from keyrotor.errors import Exit, InterruptedRun, KeyrotorError, RefusedError
from keyrotor.ports import World
from keyrotor.session import locked, want_nothing_owed


class Outcome(StrEnum):
    """How it ended."""

    MADE = "made"
    NOTHING = "nothing-to-make"
    PLANNED = "planned"  # a dry run
    DECLINED = "declined"


@dataclass(frozen=True, slots=True)
class Founded:
    """What was found, and what became of it."""

    asked: Asked
    survey: Survey
    outcome: Outcome

    @property
    def exit(self) -> Exit:
        return Exit.FAILED if self.outcome is Outcome.DECLINED else Exit.DONE

    def lines(self) -> list[str]:
        """The last word: what became of it, and what to type next."""
        made = count(self.survey.things, State.MAKE)
        things = f"{made} thing{'s' if made != 1 else ''}"
        but = ", but for what is to be done by hand" if count(self.survey.things, State.BY_HAND) else ""
        said = {
            Outcome.MADE: f"Made {things}.",
            Outcome.NOTHING: f"Nothing to make: all that a lab needs is there{but}.",
            Outcome.PLANNED: f"{things} to make. Nothing was changed.",
            Outcome.DECLINED: "Not agreed to. Nothing was changed.",
        }[self.outcome]
        if self.outcome not in (Outcome.MADE, Outcome.NOTHING):
            return [said]
        return [said, *(["Next:"] if self.survey.next else []), *(f"  {command}" for command in self.survey.next)]

    def as_json(self) -> dict[str, Any]:
        """The one object that `bootstrap --json` prints (docs/reference/json.md)."""
        return {
            "schema": 1,
            "exit": int(self.exit),
            "outcome": self.outcome,
            "folder": self.asked.folder,
            "host": self.survey.host,
            "why": self.survey.why,
            "things": [thing.as_json() for thing in self.survey.things],
            "next": list(self.survey.next),
        }


def lines_of(asked: Asked, survey: Survey) -> list[str]:
    """What there is and what would be made, a line for each thing."""
    return [f"A lab in {asked.folder}", *(line for thing in survey.things for line in thing.lines())]


def look(world: World, asked: Asked) -> Founded:
    """What would be made. Writes nothing."""
    survey = world.survey(asked)
    _want_possible(world, survey)
    outcome = Outcome.PLANNED if count(survey.things, State.MAKE) else Outcome.NOTHING
    return Founded(asked, survey, outcome)


def bootstrap(world: World, asked: Asked, told: Callable[[Founded], None]) -> Founded:
    """Make what is missing. `told` hears what was found where nobody is asked. Raises KeyrotorError."""
    found = look(world, asked)
    if found.outcome is Outcome.NOTHING:
        told(found)
        return found
    if not world.screen.agrees(lines_of(asked, found.survey), "Make these?"):
        return Founded(asked, found.survey, Outcome.DECLINED)
    told(found)
    file = Path(found.survey.secret_file)
    world.make_folder(Path(asked.folder), 0o755)
    world.make_folder(file.parent)  # the lock is held on it
    with locked(world, file):
        again = world.survey(asked)
        _want_possible(world, again)
        if _agreed(again) != _agreed(found.survey):
            raise RefusedError(f"cannot make a lab in {asked.folder}: it was changed meanwhile", hint=asked.again)
        _make(world, again, asked.again)
    return Founded(asked, found.survey, Outcome.MADE)


def _want_possible(world: World, survey: Survey) -> None:
    """Raises OwedError for a run that is to be finished first: places differ in the midst of one. Else RefusedError."""
    want_nothing_owed(world, Path(survey.secret_file))
    if survey.refused:
        raise survey.refused


def _agreed(survey: Survey) -> list[tuple[str, str, State]]:
    return [(thing.id, thing.label, thing.state) for thing in survey.things]


def _make(world: World, survey: Survey, again: str) -> None:
    """Each step in its order. Raises KeyrotorError, which says that what was made stays."""
    for step in survey.steps:
        if step.make is None:
            continue
        try:
            world.stop.raise_if_asked()
            step.make()
        except InterruptedRun as by:
            why = f"interrupted by {by}; what was made before {step.thing.label} stays"
            raise KeyrotorError(why, hint=again) from None
        except KeyrotorError as error:
            hint = f"{error.hint}; then {again}" if error.hint else again
            raise KeyrotorError(f"{error}; what was made before it stays", hint=hint) from None
