"""The use cases of `service`: the gateway's unit, and the socket that holds its port, installed, looked at, removed.

An install has an end: the gateway accepts the present key, or everything is again as it was. No value is written; the
lock is taken all the same, for a run may be restarting this very unit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote
from typing import Any

from keyrotor import playbook, shelf
from keyrotor.core import plan
from keyrotor.core.checkup import Line
from keyrotor.core.model import Act, Holds, Playbook, Row, Value
from keyrotor.core.serving import SAID, Intent, Wish
from keyrotor.errors import Exit, InterruptedRun, KeyrotorError, PlaceError, RefusedError, StuckError, UsageError
from keyrotor.ports import Place, Service, World
from keyrotor.preflight import told_as_refusal
from keyrotor.secret import Pair, Secret
from keyrotor.session import locked, want_nothing_owed


@dataclass(frozen=True, slots=True)
class Subject:
    """What of a playbook its gateway's unit is made from."""

    book: Playbook
    rows: tuple[Row, ...]
    unit: Row
    door: Row
    env_files: tuple[Row, ...]
    wish: Wish
    others: tuple[str, ...]  # the units of the playbook's other gateways

    def service(self, world: World) -> Service:
        """The two units. Raises RefusedError."""
        try:
            return world.service(self.book, self.unit, self.door, self.env_files, self.wish)
        except PlaceError as error:
            raise RefusedError(str(error), hint=error.hint) from None

    def intends(self, intent: Intent) -> Intent:
        """The same, with a word on what it is not about."""
        first = (
            f"the playbook names other gateways too; only the first one's unit is made, not {', '.join(self.others)}"
        )
        return replace(intent, notes=(*intent.notes, first)) if self.others else intent


@dataclass(frozen=True, slots=True)
class Told:
    """How an install or a removal ended."""

    playbook: str
    action: str
    outcome: str
    intent: Intent
    exit: Exit = Exit.DONE
    seconds: float | None = None  # until the gateway accepted the present key; None where nobody asked it

    def lines(self) -> list[str]:
        """What a person reads at the end."""
        took = f"; the gateway accepts the present key after {self.seconds:.1f} s" if self.seconds is not None else ""
        return [f"{self.intent.unit}: {SAID[self.outcome]}{took}", *(f"note: {note}" for note in self.intent.notes)]

    def as_json(self) -> Mapping[str, Any]:
        """The one object that --json prints (docs/reference/json.md)."""
        return {
            "schema": 1,
            "playbook": self.playbook,
            "action": self.action,
            "outcome": self.outcome,
            "exit": int(self.exit),
            "unit": self.intent.unit,
            "scope": self.intent.scope,
            "seconds": None if self.seconds is None else round(self.seconds, 3),
            "files": [{"path": path, "state": str(state)} for path, state in self.intent.files.items()],
            "notes": list(self.intent.notes),
        }


def to_install(world: World, name: str | None, wish: Wish) -> tuple[Intent, Told]:
    """What an install would do. Changes nothing. Raises what refuses it."""
    subject = _subject(world, name, wish)
    want_nothing_owed(world, Path(subject.book.source.file))
    intent = subject.intends(_refusing(subject.service(world).to_install))
    return intent, Told(subject.book.name, "install", "nothing-to-do" if intent.is_none else "dry-run", intent)


def install(world: World, name: str | None, wish: Wish) -> Told:
    """Install both units, and wait until the gateway accepts the present key. Raises what refuses it, before the first
    effect; afterwards PlaceError, with everything as it was, or StuckError."""
    subject = _subject(world, name, wish)
    book, file = subject.book, Path(subject.book.source.file)
    with locked(world, file):
        want_nothing_owed(world, file)
        service = subject.service(world)
        intent = subject.intends(_refusing(lambda: _tidied(service).to_install()))
        pair, door = _present(world, subject)
        began = time.monotonic()
        if intent.is_none:
            try:
                _prove(door, pair)
            except PlaceError as error:
                status = f"systemctl --{intent.scope} status {intent.unit}"
                raise PlaceError(f"{error}\nnow: nothing was changed; it stands as it is to be", hint=status) from None
            return Told(book.name, "install", "nothing-to-do", intent, seconds=time.monotonic() - began)
        if not world.screen.agrees(intent.lines, "Install now?"):
            return Told(book.name, "install", "not-agreed", intent, Exit.FAILED)
        began = time.monotonic()
        try:
            service.install()
            _prove(door, pair)
        except (PlaceError, InterruptedRun) as error:
            world.stop.stand_firm("putting everything back")
            why = _why(f"cannot install {intent.unit}", error)
            raise _undone(subject, service, intent, lambda: _prove(door, pair), why) from None
        return Told(book.name, "install", "installed", intent, seconds=time.monotonic() - began)


def to_remove(world: World, name: str | None, wish: Wish) -> tuple[Intent, Told]:
    """What a removal would do. Changes nothing. Raises what refuses it."""
    subject = _subject(world, name, wish)
    want_nothing_owed(world, Path(subject.book.source.file))
    service = subject.service(world)
    intent = _refusing(lambda: service.to_remove(lambda: _value(world, subject)))
    return intent, Told(subject.book.name, "remove", "nothing-to-do" if intent.is_none else "dry-run", intent)


def remove(world: World, name: str | None, wish: Wish) -> Told:
    """Take away what an install has made, and bring back what stood before it. Raises what refuses it, PlaceError."""
    subject = _subject(world, name, wish)
    book, file = subject.book, Path(subject.book.source.file)
    with locked(world, file):
        want_nothing_owed(world, file)
        service = subject.service(world)
        intent = _refusing(lambda: _tidied(service).to_remove(lambda: _value(world, subject)))
        if intent.is_none:
            return Told(book.name, "remove", "nothing-to-do", intent)
        if not world.screen.agrees(intent.lines, "Remove now?"):
            return Told(book.name, "remove", "not-agreed", intent, Exit.FAILED)
        proof, unproven = _proof(world, subject) if intent.was_active else (None, "")
        began = time.monotonic()
        world.stop.stand_firm("finishing the removal")  # half removed helps nobody, and it takes a moment
        try:
            removed = service.remove()
        except (PlaceError, InterruptedRun) as error:
            why = _why(f"cannot remove {intent.unit}", error)
            now = "now: it may be half removed, or what stood there before may not be up again"
            raise StuckError(f"{why}\n{now}", hint=f"{wish.command('remove')}  (again)") from None
        proof = proof if removed.is_started else None
        try:
            if proof:
                _prove(proof[1], proof[0])
        except (PlaceError, InterruptedRun) as error:
            why = _why(f"cannot prove the former {intent.unit}", error)
            now = "now: ours is removed; the unit of before stands there again, and is not proven"
            raise StuckError(f"{why}\n{now}", hint=f"systemctl --{intent.scope} status {intent.unit}") from None
        seconds = time.monotonic() - began if proof else None
        notes = (*intent.notes, *removed.notes, *([unproven] if unproven and removed.is_started else []))
        return Told(book.name, "remove", "removed", replace(intent, notes=notes), seconds=seconds)


def _proof(world: World, subject: Subject) -> tuple[tuple[Pair, Place] | None, str]:
    """What proves the former unit up again; or why it cannot be proven, which keeps nobody from removing ours."""
    try:
        return _present(world, subject), ""
    except RefusedError as error:
        return None, f"the unit that is started again is not proven: {error}"


def _value(world: World, subject: Subject) -> Secret | None:
    """The present value; None where it cannot be read."""
    source = subject.book.source
    try:
        return told_as_refusal(lambda: world.read_secret(source, to_set=False))[1].get(source.key)
    except RefusedError:
        return None


def status(world: World, name: str | None, wish: Wish) -> tuple[Playbook, Row, Sequence[Line]]:
    """A line for each thing that keeps the gateway up. Changes nothing. Raises RefusedError, PlaceError."""
    subject = _subject(world, name, wish)
    return subject.book, subject.unit, subject.service(world).status()


def _subject(world: World, name: str | None, wish: Wish) -> Subject:
    """Raises PlaybookError, UsageError."""
    book = playbook.load(shelf.find(name, world.folder, world.env), world.env)
    rows = plan.rows(book)
    found = [(row, plan.unit_of(rows, row)) for row in rows if row.act is Act.ADMIT]
    doors = [(door, unit) for door, unit in found if unit and unit.act is Act.RESTART]
    if not doors:
        hint = "give it a [[place]] of kind systemd-unit, and below it one of kind litellm"
        raise UsageError(f"cannot tell the gateway's unit from {book.name}: it names none", hint=hint)
    door, unit = doors[0]
    scope = unit.options["scope"]
    if wish.is_system != (scope == "system"):
        meant = "system" if wish.is_system else "user"
        change = f'scope = "{meant}"  (in {book.path}, place {unit.place})'
        hint = change if wish.is_system else f"add --system, or {change}"
        raise UsageError(f"cannot use the {meant}'s systemd: {unit.label} is a unit of the {scope}'s", hint=hint)
    above = rows[: rows.index(unit)]
    env_files = tuple(row for row in above if row.kind == "env-file")
    others = tuple(dict.fromkeys(other.label for _, other in doors if other.id != unit.id))
    return Subject(book, rows, unit, door, env_files, replace(wish, book=quote(name or book.name)), others)


def _tidied(service: Service) -> Service:
    """The same, once what killed ones have left is cleared away. Raises PlaceError."""
    service.tidy()
    return service


def _refusing(look: Callable[[], Intent]) -> Intent:
    """What would be done. Raises RefusedError where it must not be."""
    try:
        intent = look()
    except PlaceError as error:
        raise RefusedError(str(error), hint=error.hint) from None
    intent.want_possible()
    return intent


def _present(world: World, subject: Subject) -> tuple[Pair, Place]:
    """The present value, and the door that must accept it. Raises RefusedError where the unit would be started with
    another one."""
    book = subject.book
    ciphertext, values = told_as_refusal(lambda: world.read_secret(book.source, to_set=False))
    pair = Pair.read(values, book.source.key, world.decoy())
    places = world.places(subject.rows, book.source, {Value.OLD: ciphertext}, world.state)
    for row in subject.env_files:
        holds = places[row.id].holds(pair)
        if holds is not Holds.OLD and not (row.optional and holds is Holds.NEITHER):
            why = f"{row.label} does not hold the present {book.source.key}, with which the gateway is to start"
            verb = "repair" if places[row.id].shows() else "env"  # a repair adds nothing to a file that has no key
            hint = f"keyrotor {verb} {subject.wish.book}"
            raise RefusedError(f"cannot go on with {subject.unit.label}: {why}", hint=hint)
    return pair, places[subject.door.id]


def _prove(door: Place, pair: Pair) -> None:
    """Wait until the gateway accepts the present key. Raises PlaceError."""
    try:
        door.put(Value.OLD, pair)
    except PlaceError as error:
        raise PlaceError(str(error).replace("the old key", "the present key", 1), hint=error.hint) from None


def _why(what: str, error: PlaceError | InterruptedRun) -> str:
    return str(error) if isinstance(error, PlaceError) else f"{what}: interrupted by {error}"


def _undone(subject: Subject, service: Service, intent: Intent, prove: Callable[[], None], why: str) -> KeyrotorError:
    """What is raised once everything is as it was before an install that failed; proven where a gateway ran then."""
    remove = subject.wish.command("remove")
    try:
        service.undo()
        if intent.was_active:
            prove()
    except (PlaceError, InterruptedRun) as another:
        now = f"now: not everything is as it was before: {_why('the undoing', another)}"
        again = subject.wish.command("install", *(["--replace"] if subject.wish.replace else []))
        return StuckError(f"{why}\n{now}", hint=f"{again}  (again)   or   {remove}")
    if intent.keeps_former and not intent.was_active:
        now = "now: everything is as it was before, and the unit of before the first install, which is kept, is not up"
        return KeyrotorError(f"{why}\n{now}", hint=f"{remove}  (brings it back)")
    proven = ", and the gateway that ran then accepts the present key again" if intent.was_active else ""
    return KeyrotorError(f"{why}\nnow: everything is as it was before{proven}")
